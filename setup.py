"""Packaging for pip: the library and the command. `colcon build` uses CMakeLists.txt, which also builds messages."""

import re
from pathlib import Path

from setuptools import Extension, find_packages, setup

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
    # Makes an editable install a plain entry of sys.path, so that the built messages can be merged into the package
    # (see wildhands_ros/__init__.py).
    package_dir={"": "."},
    # Without a C compiler the package is installed without it, and NumPy takes longer for the same results.
    ext_modules=[
        Extension(
            "wildhands_ros._native",
            [
                "native/module.c",
                "native/crops.c",
                "native/fit_solver.c",
                "native/half_linear.c",
                "native/ray_distances.c",
                "native/rotations.c",
                "native/surface.c",
            ],
            depends=["native/hand_math.h", "native/native.h"],
            extra_compile_args=[
                "-O3",
                "-fno-math-errno",
                "-fno-trapping-math",
                "-fno-signed-zeros",
                "-fassociative-math",
            ],
            optional=True,
        )
    ],
    package_data={
        "wildhands_ros": [
            "py.typed",
            "**/*.pyi",
            "**/*.npz",
            "**/*.json",
            "**/*.md",
            "**/*.txt",
            "**/*.tsv",
            "**/*.onnx",
            "teleop/robots/*",
        ],
    },
    install_requires=[
        "numpy",
        # The smallest of the OpenCV wheels, and the only one without system libraries. Beside another cv2, install with
        # --no-deps (docs/installation.md). OpenCV 5 lacks undistortPointsIter.
        "opencv-python-headless<5",
        "onnxruntime",
        "openvino",
        "pyyaml",
        "safetensors",
        "scipy",
        "threadpoolctl",
        "tqdm",
    ],
    extras_require={
        "mano": ["smplx"],
        "assets": ["anny==0.6.2"],
        "bags": ["cv-bridge", "mcap", "rosbags"],
        # Newer versions of pyarrow fail to import with numpy 1.
        "export": ["h5py", "pyarrow<22"],
        # PyTorch runs the networks on a GPU, and checkpoints that have not been exported to ONNX.
        "gpu": ["torch", "torchvision"],
        "int8": ["nncf"],
        "lerobot": ["cv-bridge", "lerobot>=0.4", "mcap", "rosbags"],
        # For comparison, and as the initialisation of training. Later wheels lack the networks; this one pins numpy 1,
        # protobuf 4 and an OpenCV of its own: give it an environment of its own.
        "mediapipe": ["mediapipe==0.10.21"],
        "onnx": ["onnx", "torch", "torchvision"],
        "plots": ["matplotlib"],
        "ray": ["ray[data]"],
        # dex-retargeting imports six without depending on it.
        "teleop": ["dex-retargeting", "six"],
        # A robot for teleoperation, in `wildhands demo --robot`.
        "simulation": ["dex-retargeting", "mujoco", "numba", "six"],
        "train": ["numba", "onnx", "tensorboard", "torch", "torchvision"],
        "view": ["viser"],
        "test": [
            "build",
            "hypothesis",
            "matplotlib",
            "mypy",
            "nncf",
            "numba",
            "onnx",
            "pytest",
            "pytest-xdist",
            "ruff",
            "scipy-stubs",
            "smplx",
            "tensorboard",
            "torch",
            "torchvision",
            "types-PyYAML",
            "types-tqdm",
        ],
    },
    entry_points={"console_scripts": ["wildhands = wildhands_ros.cli.program:main"]},
)
