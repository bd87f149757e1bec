"""Commands that use ROS 2 nodes: ``demo``, ``bench``, ``soak``, ``node-costs``, ``calibrate-...``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .exit_codes import NO_FIGURES
from .options import add_camera_options, intrinsics

if TYPE_CHECKING:
    from .options import Subparsers


def add_commands(commands: Subparsers) -> None:
    """Adds these commands."""
    demo = commands.add_parser("demo", help="run the ROS 2 node on a stream and record its topics")
    demo.add_argument(
        "input",
        nargs="?",
        metavar="INPUT",
        help="video, folder of images or camera number; default: the bundled demo clip",
    )
    demo.add_argument(
        "--depth",
        action="store_true",
        help="instead of the node: errors on the bundled clip with a depth camera beside those without (needs the "
        "extra train)",
    )
    demo.add_argument(
        "--robot",
        action="store_true",
        help="a simulated robot arm with a hand follows the right hand (needs the extra simulation)",
    )
    demo.set_defaults(run=_demo, needs_middleware=True)

    bench = commands.add_parser(
        "bench", help="measure the speed on this machine: stages, networks, the node over DDS, and comparable nodes"
    )
    bench.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help="stages, default, released (networks), end_to_end, peers, hands_curve, cameras_curve, depth (fit to depth "
        "images), fusion (of three cameras), annotation (of recordings), stills; default: the first five",
    )
    bench.add_argument(
        "--seconds", type=_seconds, metavar="S", help="duration of each stream; default: 30, with --quick 2"
    )
    bench.add_argument(
        "--quick",
        action="store_true",
        help="stages, node and MediaPipe only, in short streams: half a minute, for a first impression",
    )
    bench.add_argument(
        "--photographs", type=Path, metavar="DIR", help="photographs for stills; default: images of the demo clip"
    )
    bench.add_argument("--json", type=Path, metavar="OUT", help="also write the figures to a file")
    bench.set_defaults(run=_bench, needs_middleware=True, if_interrupted=NO_FIGURES)

    soak = commands.add_parser("soak", help="run the ROS 2 node under overload and inject a fault every few seconds")
    soak.add_argument(
        "--minutes",
        type=float,
        default=30.0,
        metavar="N",
        help="duration, but each load and fault at least once; default: 30",
    )
    soak.add_argument(
        "--load-seconds",
        type=_seconds,
        default=10.0,
        metavar="S",
        help="duration of each load, such as 1000 messages a second; default: 10",
    )
    soak.add_argument("--json", type=Path, metavar="OUT", help="also write the report to a file")
    soak.set_defaults(run=_soak, needs_middleware=True, if_interrupted=NO_FIGURES)

    costs = commands.add_parser(
        "node-costs", help="measure the cost of the ROS 2 node's services, markers and transforms, and of an idle node"
    )
    costs.add_argument("--json", type=Path, metavar="OUT", help="also write the figures to a file")
    costs.set_defaults(run=_node_costs, needs_middleware=True, if_interrupted=NO_FIGURES)

    hand = commands.add_parser(
        "calibrate-hand", help="measure the length of a person's hand and save it by name, for the parameter hand"
    )
    hand.add_argument("name", metavar="NAME", help="name of the person: letters, digits, - and _")
    hand.add_argument(
        "--topic",
        default="hands",
        help="hands of a node with a depth camera, or of wildhands_fusion; default: hands",
    )
    hand.add_argument(
        "--side", choices=("right", "left", "both"), default="right", help="which hand is shown; default: right"
    )
    hand.add_argument(
        "--seconds", type=_seconds, default=30.0, metavar="S", help="longest duration of the measurement; default: 30"
    )
    hand.add_argument(
        "--images",
        type=Path,
        nargs="+",
        default=[],
        metavar="PHOTO",
        help="instead of a topic: photographs of the flat hand on a table, beside a sheet of A4 paper or a marker",
    )
    hand.add_argument(
        "--marker",
        type=float,
        metavar="METRES",
        help="side of the ArUco marker beside the hand; default: a sheet of A4",
    )
    add_camera_options(hand)
    hand.set_defaults(run=_calibrate_hand, needs_middleware=True, if_interrupted="no length was saved")

    cameras = commands.add_parser(
        "calibrate-cameras", help="refine the poses of several cameras by the hands that they see together"
    )
    cameras.add_argument(
        "cameras", nargs="+", metavar="CAMERA", help="names of the cameras: hands arrive on CAMERA/hands"
    )
    cameras.add_argument(
        "--extrinsics", type=Path, metavar="FILE", help="poses of the cameras to start from; default: TF, with --frame"
    )
    cameras.add_argument("--frame", default="", metavar="NAME", help="common frame, if the poses come from TF")
    cameras.add_argument("--output", type=Path, required=True, metavar="FILE", help="file to write")
    cameras.add_argument(
        "--seconds", type=_seconds, default=30.0, metavar="S", help="duration of the measurement; default: 30"
    )
    cameras.set_defaults(run=_calibrate_cameras, needs_middleware=True, if_interrupted="nothing was written")


def _demo(args: argparse.Namespace) -> int:
    if args.depth:
        from ..evaluation.clip_depth import describe_clip, evaluate_clip
        from ..ros.share import share_folder

        if args.input is not None:
            raise ValueError("--depth runs on the bundled clip, whose depth is known: leave INPUT out")
        print(describe_clip(evaluate_clip(share_folder("demo") / "clip.mp4", range(0, 10**6, 3))))
        return 0
    if args.robot:
        from ..ros.demo.robot import run_robot_demo

        return run_robot_demo(args.input)
    from ..ros.demo.main import run_demo

    return run_demo(args.input)


def _bench(args: argparse.Namespace) -> int:
    from ..ros.benchmark.main import PARTS, run_bench

    if unknown := sorted(set(args.parts) - set(PARTS)):
        raise ValueError(f"unknown part {', '.join(unknown)}; the parts are: {', '.join(PARTS)}")
    return run_bench(args.parts, args.seconds, args.json, args.quick, args.photographs)


def _soak(args: argparse.Namespace) -> int:
    from ..ros.soak.main import run_soak

    return run_soak(args.minutes, args.load_seconds, args.json)


def _node_costs(args: argparse.Namespace) -> int:
    from ..ros.soak.costs import measure_costs

    return measure_costs(args.json)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.5 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text}: give seconds, between 0.5 and 3600")
    return seconds


def _calibrate_cameras(args: argparse.Namespace) -> int:
    from ..ros.fusion.calibration import run_calibration

    if len(args.cameras) < 2:
        raise ValueError("calibrate-cameras needs the names of at least two cameras")
    return run_calibration(args.cameras, args.extrinsics, args.frame, args.output, args.seconds)


def _calibrate_hand(args: argparse.Namespace) -> int:
    from ..types import Side

    sides = tuple(Side) if args.side == "both" else (Side(args.side),)
    if args.images:
        if len(sides) > 1:
            raise ValueError("photographs show one hand: give --side right or --side left")
        from ..evaluation.hand_photos import measure_photos

        return measure_photos(args.name, sides[0], args.images, intrinsics(args), args.marker)
    from ..ros.fusion.hand_wizard import learn_from_node

    return learn_from_node(args.name, args.topic, sides, args.seconds)
