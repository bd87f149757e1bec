"""The ``wildhands`` command: parses the arguments and calls the command's handler.

Handlers import what they need when they run, so that ``--help`` is instant and needs neither torch nor ROS.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from .. import __version__
from ..io.progress import warn
from . import estimate, evaluation, network, recording, ros, training, view
from .exit_codes import EXIT_INTERRUPTED, EXIT_OK, EXIT_USER_ERROR
from .interrupts import prompt_end
from .ros_environment import foreign_ros, prepare_middleware

OUTPUTS = {"json", "overlay", "output", "picture", "table"}
"""Arguments that name files and folders to write."""

EXIT_CODES = """\
exit codes: 0 success; 1 some of the input could not be read (listed on stderr); 2 failure (the reason is on stderr).
"""


class _Parser(argparse.ArgumentParser):
    """Refuses empty paths, which unset variables of a script become; ``Path("")`` would be the current folder."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self.register("type", Path, _path)


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("the path is empty; is a variable not set?")
    return Path(text)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line and returns the exit code."""
    args = parse(arguments)
    try:
        _check_outputs(args)
        prepare_middleware(args.needs_middleware)
        with prompt_end(args.if_interrupted) if args.ends_promptly else nullcontext():
            return args.run(args)
    except KeyboardInterrupt:
        if args.if_interrupted:
            warn(f"interrupted: {args.if_interrupted}")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone, as in `wildhands ... | head`. Python would write to it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except (ValueError, OSError, ImportError) as error:
        explanation = foreign_ros(error) if isinstance(error, ImportError) else ""
        warn(explanation or " ".join(str(error).split()))
        return EXIT_USER_ERROR


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parses the arguments; ``run`` of the result is the command's handler.

    The KEY=VALUE settings of the training commands may also follow an option, which argparse does not allow for
    positional arguments.
    """
    parser = _parser()
    args, rest = parser.parse_known_args(arguments)
    if hasattr(args, "overrides") and not any(word.startswith("-") for word in rest):
        args.overrides, rest = [*args.overrides, *rest], []
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return args


def _check_outputs(args: argparse.Namespace) -> None:
    """Refuses outputs that would replace an input, and links that lead in a circle.

    Raises:
        ValueError: an output is also an input.
        OSError: a link leads to itself.
    """
    for values in vars(args).values():
        for value in values if isinstance(values, list) else [values]:
            if isinstance(value, (str, Path)) and os.path.islink(value):
                with suppress(FileNotFoundError):
                    os.stat(value)
    paths = {
        name: [Path(value) for value in (values if isinstance(values, list) else [values]) if _is_file_or_folder(value)]
        for name, values in vars(args).items()
    }
    for name in OUTPUTS & paths.keys():
        for output in paths.pop(name):
            if any(output.samefile(path) for inputs in paths.values() for path in inputs):
                raise ValueError(f"{output} is an input, which the output would replace: give another name")


def _is_file_or_folder(value: object) -> bool:
    return isinstance(value, (str, Path)) and (os.path.isfile(value) or os.path.isdir(value))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="wildhands", description="3D hands in the frame of a calibrated camera.", epilog=EXIT_CODES)
    parser.add_argument("--version", action="version", version=f"wildhands {__version__}")
    # Commands without these settings end by themselves, or have nothing to say.
    parser.set_defaults(needs_middleware=False, ends_promptly=False, if_interrupted="")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for group in (estimate, view, ros, recording, evaluation, training, network):
        group.add_commands(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
