"""Where the demo's clip is."""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory


def demo_folder() -> Path:
    """demo/ of the repository, or of the installed package."""
    beside = Path(__file__).resolve().parents[3] / "demo"
    return beside if beside.is_dir() else Path(get_package_share_directory("wildhands_ros"), "demo")
