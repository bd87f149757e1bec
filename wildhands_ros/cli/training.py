"""Commands that train networks and make training data: ``train``, ``train-detector``, ``synth`` and ``self-label``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .exit_codes import EXIT_OK
from .options import add_workers_option

if TYPE_CHECKING:
    from .options import Subparsers


def add_commands(commands: Subparsers) -> None:
    """Adds ``train``, ``train-detector``, ``synth`` and ``self-label``."""
    resumable = "the checkpoints so far are kept: run the same command again to resume"
    train = commands.add_parser("train", help="train a network; run the same command again to resume")
    _add_training_options(train, "config/training/default.yaml", "optimizer.lr=1e-4")
    train.set_defaults(run=_train, ends_promptly=True, if_interrupted=resumable)

    detector = commands.add_parser(
        "train-detector", help="train the hand detector; run the same command again to resume"
    )
    _add_training_options(detector, "config/training/detector.yaml", "lr=1e-3")
    detector.set_defaults(run=_train_detector, ends_promptly=True, if_interrupted=resumable)

    synth = commands.add_parser("synth", help="render images of the synthetic world, with annotations")
    synth.add_argument("output", type=Path, metavar="FOLDER")
    synth.add_argument(
        "--world", default="lab", metavar="NAME", help="preset of the world: lab, wild, ...; default: lab"
    )
    synth.add_argument("--split", default="test", choices=("train", "val", "test"), help="default: test")
    synth.add_argument("--count", type=int, default=1000, metavar="N", help="number of frames; default: 1000")
    synth.add_argument("--seed", type=int, default=0, help="default: 0, as in the public benchmark")
    add_workers_option(synth)
    kept = "the images so far are kept, but there are no annotations of them"
    synth.set_defaults(run=_synth, ends_promptly=True, if_interrupted=kept)

    label = commands.add_parser(
        "self-label",
        help="label the hands of photographs on which the detector agrees in many views, for self-training",
    )
    label.add_argument("folder", type=Path, metavar="FOLDER", help="photographs, or a folder of boxed images")
    label.add_argument("--output", type=Path, required=True, metavar="JSON", help="COCO-style file to write")
    label.add_argument("--limit", type=int, metavar="N", help="label N images, spread evenly; default: all")
    label.add_argument(
        "--hands",
        action="store_true",
        help="label the hands that have boxes with keypoints, joints and masks, to train the 3D network with",
    )
    add_workers_option(label)
    label.set_defaults(run=_self_label, ends_promptly=True, if_interrupted="no labels were written")


def _add_training_options(parser: argparse.ArgumentParser, example_file: str, example_setting: str) -> None:
    parser.add_argument("config", type=Path, metavar="CONFIG", help=f"configuration file, such as {example_file}")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help=f"settings that override those of the file, such as {example_setting}",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", help="default: training_output/ and the name of the configuration"
    )


def _train(args: argparse.Namespace) -> int:
    from ..training.main import run

    return run(args.config, args.output, args.overrides)


def _train_detector(args: argparse.Namespace) -> int:
    from ..training.detector.main import run

    return run(args.config, args.output, args.overrides)


def _synth(args: argparse.Namespace) -> int:
    from ..synthetic.config import world_config
    from ..synthetic.main import write_split

    world = world_config(args.world, args.split, args.seed)
    print(f"wrote {write_split(world, args.count, args.output, args.workers)}")
    return EXIT_OK


def _self_label(args: argparse.Namespace) -> int:
    if args.hands:
        from ..datasets.real_images.hand_labels import label_hands as label
    else:
        from ..datasets.real_images.self_labels import label_folder as label

    print(label(args.folder, args.output, args.limit, args.workers))
    return EXIT_OK
