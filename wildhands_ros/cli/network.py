"""Commands that convert networks: ``import-checkpoint``, ``export-onnx`` and ``quantize``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..io.progress import busy
from .exit_codes import EXIT_OK

if TYPE_CHECKING:
    from .options import Subparsers


NO_NETWORK = "no network was written"


def add_commands(commands: Subparsers) -> None:
    """Adds ``import-checkpoint``, ``export-onnx`` and ``quantize``."""
    importer = commands.add_parser(
        "import-checkpoint", help="convert the published WildHands checkpoint, without executing code in it"
    )
    importer.add_argument("file", type=Path, metavar="FILE", help="the published wildhands.ckpt")
    importer.add_argument(
        "--output",
        type=Path,
        metavar="OUT",
        help="default: the user's data folder, where --checkpoint released finds it",
    )
    importer.set_defaults(run=_import_checkpoint, ends_promptly=True, if_interrupted=NO_NETWORK)

    export = commands.add_parser("export-onnx", help="export a network to ONNX, for ONNX Runtime or TensorRT")
    export.add_argument(
        "output",
        type=Path,
        metavar="OUT",
        help="an .onnx file; wildhands_ros/runtime/signature.py documents its inputs and outputs",
    )
    _add_checkpoint_option(export)
    export.set_defaults(run=_export_onnx, ends_promptly=True, if_interrupted=NO_NETWORK)

    quantize = commands.add_parser(
        "quantize", help="make the int8 version of a network for --precision int8, and measure its accuracy"
    )
    _add_checkpoint_option(quantize)
    quantize.add_argument(
        "--count",
        type=int,
        default=300,
        metavar="N",
        help="number of images for calibration, and again for the measurement; default: 300",
    )
    quantize.set_defaults(run=_quantize, ends_promptly=True, if_interrupted=NO_NETWORK)


def _add_checkpoint_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint", default="default", metavar="NAME", help="'default', 'released' or a path; default: default"
    )


def _import_checkpoint(args: argparse.Namespace) -> int:
    with busy(f"importing {args.file}"):
        from ..network.import_checkpoint import import_checkpoint

        report = import_checkpoint(args.file, args.output)
    print(report)
    return EXIT_OK


def _export_onnx(args: argparse.Namespace) -> int:
    with busy("exporting the network"):
        from ..hand_model.asset import open_hands
        from ..network.checkpoint import load_model
        from ..runtime.onnx import export_onnx
        from ..runtime.signature import mean_pose

        loaded = load_model(args.checkpoint)
        export_onnx(loaded.model, mean_pose(loaded.assets or open_hands()), args.output)
    print(f"wrote {args.output}")
    return EXIT_OK


def _quantize(args: argparse.Namespace) -> int:
    from ..evaluation.int8 import quantize_checkpoint

    return quantize_checkpoint(args.checkpoint, args.count)
