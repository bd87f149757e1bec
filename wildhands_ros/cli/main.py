"""The ``wildhands`` command. Subcommands import what they need when they run: help is instant and needs neither torch nor ROS."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .. import __version__
from .exit_codes import EXIT_INCOMPLETE, EXIT_INTERRUPTED, EXIT_OK, EXIT_USER_ERROR
from .recording import add_commands

if TYPE_CHECKING:
    from ..config import EstimatorConfig
    from ..estimator import Estimator
    from ..io.camera_files import Intrinsics
    from ..io.sources import Frame, FrameSource

_SEARCH_WINDOWS = 2
"""What is found in a file must not depend on how busy the machine is; each takes a core about 25 ms."""
EXIT_CODES = """\
exit codes: 0 done; 1 done, but part of the input could not be read (named on stderr); 2 not done, with the reason on stderr.
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line and returns the exit code."""
    args = _parse(arguments)
    try:
        return args.run(args)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone, as in `wildhands ... | head`; keep Python's exit from writing to it once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except (ValueError, OSError, ImportError) as error:
        print(f"wildhands: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_USER_ERROR


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    """The arguments; settings of ``train`` may also follow an option, which argparse does not let positional arguments do."""
    parser = _parser()
    args, rest = parser.parse_known_args(arguments)
    if args.run in (_train, _train_detector) and not any(word.startswith("-") for word in rest):
        args.overrides, rest = [*args.overrides, *rest], []
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return args


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wildhands", description="3D hands in the frame of a calibrated camera.", epilog=EXIT_CODES
    )
    parser.add_argument("--version", action="version", version=f"wildhands {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    estimate = commands.add_parser(
        "estimate", help="find the hands in an image, a folder of images or a video", epilog=EXIT_CODES
    )
    estimate.add_argument("input", metavar="INPUT", help="image, folder of images, or video")
    _add_camera_options(estimate)
    estimate.add_argument(
        "--json", type=Path, metavar="OUT", help="write the hands: metres, pixels of the input, MediaPipe joint order"
    )
    estimate.add_argument(
        "--overlay", type=Path, metavar="OUT", help="draw the hands: an image, a folder or an .mp4, as INPUT is"
    )
    _add_estimator_options(estimate)
    estimate.set_defaults(run=_estimate)

    importer = commands.add_parser(
        "import-checkpoint", help="convert the published WildHands checkpoint, running no code that is in it"
    )
    importer.add_argument("file", type=Path, metavar="FILE", help="the published wildhands.ckpt")
    importer.add_argument(
        "--output", type=Path, metavar="OUT", help="default: the user's data folder, where --checkpoint released looks"
    )
    importer.set_defaults(run=_import_checkpoint)

    export = commands.add_parser("export-onnx", help="write a network as ONNX, for ONNX Runtime or TensorRT")
    export.add_argument(
        "output", type=Path, metavar="OUT", help="an .onnx file; its inputs and outputs: wildhands_ros/runtime/graph.py"
    )
    export.add_argument(
        "--checkpoint", default="default", metavar="NAME", help="'default', 'released' or a path; default: default"
    )
    export.set_defaults(run=_export_onnx)

    quantize = commands.add_parser(
        "quantize", help="make a network's int8 form, once, for --precision int8, and measure what it costs"
    )
    quantize.add_argument(
        "--checkpoint", default="default", metavar="NAME", help="'default', 'released' or a path; default: default"
    )
    quantize.add_argument(
        "--count", type=int, default=300, metavar="N", help="pictures to quantize for, and to measure on; default: 300"
    )
    quantize.set_defaults(run=_quantize)

    demo = commands.add_parser("demo", help="run the ROS 2 node on a stream and record its topics")
    demo.add_argument(
        "input", nargs="?", metavar="INPUT", help="video, folder of images or camera number; default: the clip in demo/"
    )
    demo.set_defaults(run=_demo)

    soak = commands.add_parser("soak", help="run the ROS 2 node under overload with a fault every few seconds")
    soak.add_argument("--minutes", type=float, default=30.0, metavar="N", help="default: 30")
    soak.add_argument("--json", type=Path, metavar="OUT", help="write the report too")
    soak.set_defaults(run=_soak)

    costs = commands.add_parser(
        "node-costs", help="measure what the ROS 2 node's services, markers, transforms and idleness cost"
    )
    costs.add_argument("--json", type=Path, metavar="OUT", help="write the figures too")
    costs.set_defaults(run=_node_costs)
    add_commands(commands, _add_camera_options, _add_estimator_options, _estimator_config)

    bench = commands.add_parser(
        "bench", help="measure how fast everything is here: stages, networks, the node over DDS, its peers"
    )
    bench.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help="stages, default, released (networks), end_to_end, peers; hands_curve, cameras_curve; default: all but the curves",
    )
    bench.add_argument("--seconds", type=_seconds, default=30.0, metavar="S", help="of every stream; default: 30")
    bench.add_argument("--json", type=Path, metavar="OUT", help="write the figures")
    bench.set_defaults(run=_bench)

    synth = commands.add_parser("synth", help="write pictures of the synthetic world with their annotations")
    synth.add_argument("output", type=Path, metavar="FOLDER")
    synth.add_argument("--world", default="lab", metavar="NAME", help="lab, wild or another preset; default: lab")
    synth.add_argument("--split", default="test", choices=("train", "val", "test"), help="default: test")
    synth.add_argument("--count", type=int, default=1000, metavar="N", help="number of frames; default: 1000")
    synth.add_argument("--seed", type=int, default=0, help="default: 0, the public benchmark's")
    synth.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="processes; default: one a core"
    )
    synth.set_defaults(run=_synth)

    train = commands.add_parser("train", help="train a network; the same command goes on after an interruption")
    train.add_argument("config", type=Path, metavar="CONFIG", help="a file such as config/training/default.yaml")
    train.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="settings that differ from the file's, such as optimizer.lr=1e-4",
    )
    train.add_argument(
        "--output", type=Path, metavar="FOLDER", help="default: training_output/ and the configuration's name"
    )
    train.set_defaults(run=_train)

    detector = commands.add_parser(
        "train-detector", help="train the hand detector; the same command goes on after an interruption"
    )
    detector.add_argument("config", type=Path, metavar="CONFIG", help="a file such as config/training/detector.yaml")
    detector.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="settings that differ from the file's, such as lr=1e-3"
    )
    detector.add_argument(
        "--output", type=Path, metavar="FOLDER", help="default: training_output/ and the configuration's name"
    )
    detector.set_defaults(run=_train_detector)

    evaluate = commands.add_parser("evaluate", help="measure the estimates").add_subparsers(
        metavar="SUITE", required=True
    )
    photos = evaluate.add_parser("photos", help="against annotated photographs (COCO-style json beside the images)")
    photos.add_argument("input", type=Path, metavar="FOLDER")
    synthetic = evaluate.add_parser("synthetic", help="against the synthetic world, of which everything is known")
    synthetic.add_argument("--preset", default="lab", metavar="NAME", help="lab, wild or another world; default: lab")
    synthetic.add_argument("--split", default="test", choices=("train", "val", "test"), help="default: test")
    synthetic.add_argument("--count", type=int, default=1000, metavar="N", help="number of pictures; default: 1000")
    synthetic.add_argument("--seed", type=int, default=0, help="default: 0, the public benchmark's")
    dataset = evaluate.add_parser("dataset", help="against a real data set in its published format")
    dataset.add_argument("name", metavar="NAME", help="arctic, h2o, freihand, ...; an unknown one lists all")
    dataset.add_argument("input", type=Path, metavar="ROOT", help="the data set's folder")
    dataset.add_argument("--split", help="default: the one for tests")
    dataset.add_argument("--count", type=int, metavar="N", help="only so many pictures, spread evenly; default: all")
    video = evaluate.add_parser(
        "video", help="on a video without truth: how many frames have hands, reprojection, jitter, speed"
    )
    video.add_argument("input", type=Path, metavar="FILE")
    detection = evaluate.add_parser(
        "detection", help="detectors side by side, on synthetic frames and annotated photographs"
    )
    detection.add_argument(
        "--photos", type=Path, metavar="FOLDER", help="photographs with COCO-style boxes of all their hands"
    )
    detection.add_argument("--boxes", type=Path, metavar="JSON", help="the boxes, where they do not lie in the folder")
    detection.add_argument(
        "--count", type=int, default=200, metavar="N", help="number of synthetic frames; default: 200"
    )
    detection.add_argument("--seed", type=int, default=0, help="default: 0, the public benchmark's")
    detection.add_argument(
        "--detectors",
        nargs="+",
        default=["mediapipe", "own", "auto"],
        metavar="NAME",
        help="default: mediapipe own auto",
    )
    detection.add_argument("--json", type=Path, metavar="OUT", help="write the figures too")
    detection.set_defaults(run=_evaluate_detection)
    suites = (
        (photos, _evaluate_photos),
        (synthetic, _evaluate_synthetic),
        (dataset, _evaluate_dataset),
        (video, _evaluate_video),
    )
    for command, run in suites:
        command.add_argument("--json", type=Path, metavar="OUT", help="write the figures too")
        if command is not video:
            command.add_argument(
                "--picture", type=Path, metavar="OUT", help="draw how the errors are distributed, as .png, .svg or .pdf"
            )
        _add_estimator_options(command)
        command.set_defaults(run=run)
    _add_camera_options(video)

    jitter = commands.add_parser(
        "jitter", help="how steady hands are in a video, as single frames and smoothed, and what lag that costs"
    )
    jitter.add_argument("input", type=Path, metavar="VIDEO")
    jitter.add_argument("--json", type=Path, metavar="OUT", help="write the figures too")
    _add_camera_options(jitter)
    _add_estimator_options(jitter)
    jitter.set_defaults(run=_jitter)

    view = commands.add_parser("view", help="see a stream's hands in a browser (needs viser)")
    view.add_argument("input", metavar="INPUT", help="video, folder of images, image or camera number")
    view.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="to listen on; 0.0.0.0 for all machines; default: this machine",
    )
    view.add_argument("--port", type=int, default=8080, metavar="N", help="default: 8080, or the next that is free")
    view.add_argument("--no-browser", action="store_true", help="do not open one")
    _add_camera_options(view)
    _add_estimator_options(view)
    view.set_defaults(run=_view)

    ablate = commands.add_parser("ablate", help="train and compare small networks that lack a part of the method each")
    ablate.add_argument(
        "--minutes",
        type=float,
        default=60,
        metavar="M",
        help="about what two cores take for all rows with 3 seeds; default: 60",
    )
    ablate.add_argument("--seeds", type=int, default=3, metavar="K", help="runs of each row; default: 3")
    ablate.add_argument(
        "--rows", nargs="+", default=[], metavar="NAME", help="sparse, no_kpe, no_mask, dense, ...; default: all"
    )
    ablate.add_argument("--json", type=Path, metavar="OUT", help="write means and deviations")
    ablate.add_argument("--table", type=Path, metavar="OUT", help="write the tables, as docs/ablations.md shows them")
    ablate.add_argument(
        "--cache", type=Path, metavar="FOLDER", help="what is kept to go on from; default: the user's cache folder"
    )
    ablate.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="processes; default: one a core"
    )
    ablate.set_defaults(run=_ablate)
    return parser


def _add_camera_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--camera-info",
        type=Path,
        metavar="YAML",
        help="calibration in ROS's camera_info format, for unrectified images",
    )
    group.add_argument(
        "--fov", type=float, metavar="DEG", help="horizontal field of view in degrees, where there is no calibration"
    )


def _add_estimator_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint",
        default="auto",
        metavar="NAME",
        help="network: 'default' (in the box), 'released' (imported before), 'none' (only the keypoint fit) or a path; default: auto, "
        "the default weights unless --hand-model is a folder",
    )
    parser.add_argument(
        "--hand-model",
        default="auto",
        metavar="open|FOLDER",
        help="'open' (in the box), or a folder with MANO's files; default: the checkpoint's, or else the open one",
    )
    parser.add_argument(
        "--hand-length",
        type=_hand_length,
        default=0.0,
        metavar="M",
        help="metres from wrist to middle fingertip of the user's stretched hand; halves the depth's uncertainty",
    )
    parser.add_argument(
        "--no-fit", action="store_true", help="the network's estimates as they are, not fitted to keypoints"
    )
    parser.add_argument(
        "--detector", default="auto", choices=("auto", "own", "mediapipe"), help="who finds the hands; default: auto"
    )
    parser.add_argument("--max-hands", type=int, default=2, metavar="N", help="default: 2")
    parser.add_argument(
        "--device", default="auto", help="torch device of the network; default: a GPU where there is one"
    )
    parser.add_argument("--runtime", default="auto", help="what runs the network: torch or openvino; default: auto")
    parser.add_argument(
        "--precision",
        default="auto",
        help="of the network: float32, bfloat16 or int8 (after wildhands quantize); default: auto",
    )


def _hand_length(text: str) -> float:
    length = float(text)
    if not 0.1 <= length <= 0.3:
        raise argparse.ArgumentTypeError(f"{text} is no hand's length: give metres, between 0.1 and 0.3")
    return length


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.5 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text}: give seconds, between 0.5 and 3600")
    return seconds


def _estimate(args: argparse.Namespace) -> int:
    from ..io.files import OutputFile
    from ..io.images import InputError
    from ..io.sources import CameraSource, open_source
    from ..visualization.overlay_writers import overlay_for
    from .results import Results

    source = open_source(args.input)
    if isinstance(source, CameraSource):
        raise InputError(f"estimate reads files; for a live camera run: wildhands demo {args.input}")
    if args.json and args.overlay and args.json.resolve() == args.overlay.resolve():
        raise InputError(f"{args.json}: --json and --overlay name the same file")
    cameras = _Cameras(_intrinsics(args))
    results = Results()
    frames = hands = 0
    seconds = 0.0
    with ExitStack() as outputs:
        # Outputs first: what cannot be written shows before the work.
        json_file = outputs.enter_context(OutputFile(args.json)) if args.json else None
        overlay = outputs.enter_context(overlay_for(source, args.overlay)) if args.overlay else None
        estimator = _make_estimator(args)
        if overlay:
            from ..visualization.overlay import draw_frame

            faces = estimator.faces
        for frame in _progress(source):
            camera, origin = cameras(frame)
            start = time.perf_counter()
            estimate = estimator(frame.image, camera, frame.stamp)
            seconds += time.perf_counter() - start
            frames, hands = frames + 1, hands + len(estimate.hands)
            results.add(estimate, frame.name, frame.stamp, origin)
            if overlay:
                overlay.write(draw_frame(frame.image, estimate, faces), frame.name)
        if json_file:
            results.write(json_file, source.problems)
    for problem in source.problems:
        print(f"wildhands: {problem}", file=sys.stderr)
    unreadable = f", {len(source.problems)} problems" if source.problems else ""
    print(f"{frames} frames, {hands} hands, {frames / seconds:.1f} frames/s{unreadable}")
    for path in filter(None, (args.json, args.overlay)):
        print(f"wrote {path}")
    return EXIT_INCOMPLETE if source.problems else EXIT_OK


def _import_checkpoint(args: argparse.Namespace) -> int:
    from ..network.import_checkpoint import import_checkpoint

    print(import_checkpoint(args.file, args.output))
    return EXIT_OK


def _export_onnx(args: argparse.Namespace) -> int:
    from ..hand_model.asset import open_hands
    from ..io.files import OutputFile
    from ..network.checkpoint import load_model
    from ..runtime.graph import mean_pose
    from ..runtime.onnx import export_onnx

    loaded = load_model(args.checkpoint)
    with OutputFile(args.output) as file:
        export_onnx(loaded.model, mean_pose(loaded.assets or open_hands()), file)
    print(f"wrote {args.output}")
    return EXIT_OK


def _quantize(args: argparse.Namespace) -> int:
    from ..evaluation.int8 import quantize_checkpoint

    return quantize_checkpoint(args.checkpoint, args.count)


def _demo(args: argparse.Namespace) -> int:
    from ..ros.demo.main import run_demo

    return run_demo(args.input)


def _soak(args: argparse.Namespace) -> int:
    from ..ros.soak.main import run_soak

    return run_soak(args.minutes, args.json)


def _node_costs(args: argparse.Namespace) -> int:
    from ..ros.soak.costs import measure_costs

    return measure_costs(args.json)


def _bench(args: argparse.Namespace) -> int:
    from ..ros.benchmark.main import PARTS, run_bench

    if unknown := sorted(set(args.parts) - set(PARTS)):
        raise ValueError(f"unknown part {', '.join(unknown)}; known: {', '.join(PARTS)}")
    return run_bench(args.parts, args.seconds, args.json)


def _synth(args: argparse.Namespace) -> int:
    from ..synthetic.config import world_config
    from ..synthetic.main import write_split

    print(
        f"wrote {write_split(world_config(args.world, args.split, args.seed), args.count, args.output, args.workers)}"
    )
    return EXIT_OK


def _train(args: argparse.Namespace) -> int:
    from ..training.main import run

    return run(args.config, args.output, args.overrides)


def _train_detector(args: argparse.Namespace) -> int:
    from ..training.detector.main import run

    return run(args.config, args.output, args.overrides)


def _evaluate_photos(args: argparse.Namespace) -> int:
    from ..evaluation.main import evaluate_photo_folder

    return evaluate_photo_folder(_make_estimator(args), args.input, args.json, args.picture)


def _evaluate_synthetic(args: argparse.Namespace) -> int:
    from ..evaluation.main import evaluate_synthetic

    return evaluate_synthetic(
        _make_estimator(args), args.preset, args.split, args.seed, args.count, args.json, args.picture
    )


def _evaluate_dataset(args: argparse.Namespace) -> int:
    from ..evaluation.main import evaluate_dataset

    return evaluate_dataset(
        _make_estimator(args), args.name, args.input, args.split, args.count, args.json, args.picture
    )


def _evaluate_video(args: argparse.Namespace) -> int:
    from ..evaluation.main import evaluate_video_file

    return evaluate_video_file(_make_estimator(args), args.input, _intrinsics(args), args.json)


def _jitter(args: argparse.Namespace) -> int:
    from ..evaluation.main import measure_video_jitter

    return measure_video_jitter(_make_estimator(args), args.input, _intrinsics(args), args.json)


def _view(args: argparse.Namespace) -> int:
    from ..estimator import Estimator
    from ..io.sources import open_source
    from ..visualization.view_stream import view_stream

    source, cameras = open_source(args.input), _Cameras(_intrinsics(args))
    # A camera does not wait.
    estimator = Estimator(replace(_estimator_config(args), search_windows=None))
    view_stream(estimator, source, lambda frame: cameras(frame)[0], args.host, args.port, not args.no_browser)
    return EXIT_OK


def _evaluate_detection(args: argparse.Namespace) -> int:
    from ..evaluation.detection import evaluate_detection

    return evaluate_detection(args.photos, args.boxes, args.count, args.seed, args.detectors, args.json)


def _ablate(args: argparse.Namespace) -> int:
    from ..evaluation.ablation.main import AblationSize, run
    from ..io.paths import cache_folder

    folder = args.cache or cache_folder() / "ablation"
    return run(
        AblationSize.for_minutes(args.minutes), args.seeds, args.rows, folder, args.workers, args.json, args.table
    )


class _Cameras:
    """Each frame's camera; says on stderr, once for each image size, when the intrinsics are guessed or scaled."""

    def __init__(self, intrinsics: Intrinsics):
        self._intrinsics = intrinsics
        self._sizes: dict[tuple[int, int], tuple] = {}

    def __call__(self, frame: Frame) -> tuple:
        from ..geometry.calibration import CalibrationError, IntrinsicsSource
        from ..io.camera_files import guess_warning

        height, width = frame.image.shape[:2]
        if (width, height) not in self._sizes:
            try:
                camera, origin = self._intrinsics.camera(width, height)
            except CalibrationError as error:
                raise CalibrationError(f"{frame.name}: {error}") from error
            if origin is IntrinsicsSource.GUESS:
                print(f"wildhands: warning: {guess_warning(camera)}", file=sys.stderr)
            if origin is IntrinsicsSource.CAMERA_INFO_SCALED:
                print(
                    f"wildhands: note: {frame.name} is {width}x{height}: the calibration is scaled to it",
                    file=sys.stderr,
                )
            self._sizes[width, height] = camera, origin
        return self._sizes[width, height]


def _intrinsics(args: argparse.Namespace) -> Intrinsics:
    from ..io.camera_files import Intrinsics, load_calibration

    return Intrinsics(load_calibration(args.camera_info) if args.camera_info else None, args.fov)


def _make_estimator(args: argparse.Namespace) -> Estimator:
    from ..estimator import Estimator

    return Estimator(_estimator_config(args))


def _estimator_config(args: argparse.Namespace) -> EstimatorConfig:
    from ..config import EstimatorConfig

    return EstimatorConfig(
        checkpoint=args.checkpoint,
        detector=args.detector,
        search_windows=_SEARCH_WINDOWS,
        hand_model=args.hand_model,
        max_hands=args.max_hands,
        hand_length=args.hand_length,
        refine=not args.no_fit,
        device=args.device,
        runtime=args.runtime,
        precision=args.precision,
    )


def _progress(source: FrameSource) -> Iterator[Frame] | Iterable[Frame]:
    """The source's frames, with a bar on stderr when a person watches."""
    if not sys.stderr.isatty():
        return source
    from tqdm import tqdm

    return tqdm(source, total=source.count, unit="frame", file=sys.stderr, leave=False)


if __name__ == "__main__":
    sys.exit(main())
