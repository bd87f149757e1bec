"""WildHands for ROS 2: 3D hands in the frame of a calibrated camera."""

import pkgutil

# The generated messages (wildhands_ros.msg) are installed beside, not inside, a source checkout: merge both folders into one package.
__path__ = pkgutil.extend_path(__path__, __name__)

__version__ = "0.1.0"
