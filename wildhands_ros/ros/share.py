"""Files beside the code: in the repository, or where the package is installed."""

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory


def share_folder(name: str) -> Path:
    """Such as demo/ or config/."""
    beside = Path(__file__).resolve().parents[2] / name
    return beside if beside.is_dir() else Path(get_package_share_directory("wildhands_ros"), name)


def hand_over_large_images() -> None:
    """Has Fast DDS do so in this process and its children, unless the user has profiles of their own; before rclpy.init."""
    for variable in ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"):
        os.environ.setdefault(variable, str(share_folder("config") / "fastdds_large_images.xml"))
