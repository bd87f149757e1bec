"""Options that several commands share, and what is built from them: cameras and estimators."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..io.progress import LOADING, busy

if TYPE_CHECKING:
    from ..config import EstimatorConfig
    from ..estimator import Estimator
    from ..io.camera_files import Intrinsics

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # the type has no public name

SEARCH_WINDOWS = 2
"""Fixed, because the hands found in a file must not depend on how busy the machine is. A window takes about 25 ms on
one core."""
MAX_HANDS = 2
"""Default of ``--max-hands``."""


def add_workers_option(parser: argparse.ArgumentParser) -> None:
    """Adds ``--workers``, a number of processes."""
    parser.add_argument(
        "--workers",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="number of processes; default: one per core",
    )


def add_size_option(parser: argparse.ArgumentParser) -> None:
    """Adds ``--max-megapixels``."""
    parser.add_argument(
        "--max-megapixels",
        type=_megapixels,
        default=50_000_000,  # image_headers.MAX_PIXELS, which --help does not import
        metavar="M",
        dest="max_pixels",
        help="size above which images are refused before they are decoded; default: 50",
    )


def add_camera_options(parser: argparse.ArgumentParser) -> None:
    """Adds ``--camera-info`` and ``--fov``, which exclude each other."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--camera-info",
        type=Path,
        metavar="YAML",
        help="calibration file of ROS, OpenCV or Kalibr (docs/calibration.md); the images must be unrectified",
    )
    group.add_argument(
        "--fov", type=float, metavar="DEG", help="horizontal field of view in degrees, if there is no calibration file"
    )


def add_estimator_options(
    parser: argparse.ArgumentParser, max_hands: int | None = MAX_HANDS, max_hands_default: str = str(MAX_HANDS)
) -> None:
    """Adds the options that ``estimator_config`` reads.

    Args:
        parser: the command's parser.
        max_hands: default of ``--max-hands``; None if the command decides itself.
        max_hands_default: how the help describes that default.
    """
    parser.add_argument(
        "--checkpoint",
        default="auto",
        metavar="NAME",
        help="network weights: 'default' (bundled), 'released' (see import-checkpoint), 'none' (keypoint fit only) or "
        "a path; default: auto, which is the bundled weights unless --hand-model is a folder",
    )
    parser.add_argument(
        "--hand-model",
        default="auto",
        metavar="open|FOLDER",
        help="'open' (bundled) or a folder with the MANO files; default: the checkpoint's model, else the open one",
    )
    parser.add_argument(
        "--hand-length",
        type=_hand_length,
        default=0.0,
        metavar="M",
        help="length of the user's stretched hand in metres, from the wrist to the middle fingertip; halves the "
        "uncertainty of the depth",
    )
    parser.add_argument(
        "--no-fit", action="store_true", help="report the network's prediction without fitting it to the keypoints"
    )
    parser.add_argument(
        "--detector", default="auto", choices=("auto", "own", "mediapipe"), help="hand detector; default: auto"
    )
    parser.add_argument(
        "--max-hands",
        type=int,
        default=max_hands,
        metavar="N",
        help=f"maximum number of hands per image; default: {max_hands_default}",
    )
    parser.add_argument("--device", default="auto", help="torch device of the network; default: a GPU if there is one")
    parser.add_argument(
        "--runtime", default="auto", help="what runs the network: openvino, onnxruntime or torch; default: auto"
    )
    parser.add_argument(
        "--precision",
        default="auto",
        help="precision of the network: float32, bfloat16 or int8 (after wildhands quantize); default: auto",
    )


def intrinsics(args: argparse.Namespace) -> Intrinsics:
    """Reads the camera options.

    Raises:
        CalibrationError: the calibration file is not usable.
        OSError: it cannot be read.
    """
    from ..io.camera_files import Intrinsics, load_calibration

    return Intrinsics(load_calibration(args.camera_info) if args.camera_info else None, args.fov)


def estimator_config(args: argparse.Namespace) -> EstimatorConfig:
    """Reads the estimator options."""
    from ..config import EstimatorConfig, SearchWindows

    return EstimatorConfig(
        checkpoint=args.checkpoint,
        detector=args.detector,
        search=SearchWindows(SEARCH_WINDOWS),
        hand_model=args.hand_model,
        max_hands=args.max_hands,
        hand_length=args.hand_length,
        refine=not args.no_fit,
        device=args.device,
        runtime=args.runtime,
        precision=args.precision,
    )


def make_estimator(args: argparse.Namespace) -> Estimator:
    """Builds an estimator from the estimator options."""
    with busy(LOADING):
        from ..estimator import Estimator

        return Estimator(estimator_config(args))


def _megapixels(text: str) -> int:
    """Returns a number of pixels."""
    pixels = 1e6 * float(text)
    if not 1 <= pixels <= 2**40:
        raise argparse.ArgumentTypeError(f"{text} is not a size of images: give megapixels, such as 50")
    return round(pixels)


def _hand_length(text: str) -> float:
    length = float(text)
    if not 0.1 <= length <= 0.3:
        raise argparse.ArgumentTypeError(f"{text} is not the length of a hand: give metres, between 0.1 and 0.3")
    return length
