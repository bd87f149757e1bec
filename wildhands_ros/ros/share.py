"""Files beside the code: in the repository, or where the package is installed."""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory


def share_folder(name: str) -> Path:
    """Such as demo/ or config/."""
    beside = Path(__file__).resolve().parents[2] / name
    return beside if beside.is_dir() else Path(get_package_share_directory("wildhands_ros"), name)
