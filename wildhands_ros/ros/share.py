"""Location of the package's data files: in the repository, or in the share folder of an installed package."""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory


def share_folder(name: str) -> Path:
    """Returns the path of a folder such as ``demo`` or ``config``."""
    in_repository = Path(__file__).resolve().parents[2] / name
    return in_repository if in_repository.is_dir() else Path(get_package_share_directory("wildhands_ros"), name)
