"""The ``wildhands`` command: parses the arguments and calls the command's handler.

Handlers import what they need when they run, so that ``--help`` is instant and needs neither torch nor ROS.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import nullcontext

from .. import __version__
from ..io.progress import warn
from . import estimate, evaluation, network, recording, ros, training, view
from .exit_codes import EXIT_INTERRUPTED, EXIT_OK, EXIT_USER_ERROR
from .interrupts import prompt_end
from .ros_environment import foreign_ros, prepare_middleware

EXIT_CODES = """\
exit codes: 0 success; 1 some of the input could not be read (listed on stderr); 2 failure (the reason is on stderr).
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line and returns the exit code."""
    args = parse(arguments)
    try:
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wildhands", description="3D hands in the frame of a calibrated camera.", epilog=EXIT_CODES
    )
    parser.add_argument("--version", action="version", version=f"wildhands {__version__}")
    # Commands without these settings end by themselves, or have nothing to say.
    parser.set_defaults(needs_middleware=False, ends_promptly=False, if_interrupted="")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for group in (estimate, view, ros, recording, evaluation, training, network):
        group.add_commands(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
