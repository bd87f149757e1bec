"""Saved lengths of persons' hands, by name. The files are YAML::

    right: {length: 0.187, stddev: 0.003}
    left: {length: 0.188, stddev: 0.004}

Lengths are in metres, from the wrist to the tip of the middle finger.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import yaml

from ..types import HandLength, Side
from .errors import InputError
from .files import OutputFile
from .paths import config_folder
from .yaml_files import YamlFileError, load_yaml

SHORTEST, LONGEST = 0.08, 0.28
"""Range of lengths in metres, children included."""


def hands_folder() -> Path:
    """Returns the folder of the files: ``$XDG_CONFIG_HOME/wildhands/hands``, usually in ``~/.config``."""
    return config_folder() / "hands"


def hand_file(name: str) -> Path:
    """Returns the file of a person.

    Raises:
        InputError: The name is not a word of letters, digits, - and _.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise InputError(f"the name of a hand may have letters, digits, - and _, not {name[:80]!r}")
    return hands_folder() / f"{name}.yaml"


def load_hand(name: str) -> dict[Side, HandLength]:
    """Returns the saved lengths of a person's hands.

    Raises:
        InputError: There is no such file, or it does not hold lengths of hands.
    """
    path = hand_file(name)
    try:
        content = load_yaml(path)
    except FileNotFoundError as error:
        others = ", ".join(sorted(file.stem for file in path.parent.glob("*.yaml"))) or "none"
        raise InputError(f"{path} does not exist; saved hands: {others} (wildhands calibrate-hand {name})") from error
    except (YamlFileError, OSError) as error:
        raise InputError(f"{path}: {error}") from error
    lengths = {}
    for side in Side:
        value = content.get(side.value) if isinstance(content, dict) else None
        if value is not None:
            lengths[side] = _length(path, side, value)
    if not lengths:
        raise InputError(f"{path} has neither a right nor a left hand")
    return lengths


def save_hand(name: str, lengths: Mapping[Side, HandLength]) -> str:
    """Saves the lengths of a person's hands; those of sides that are not given are kept.

    Returns:
        A sentence that tells what was saved.

    Raises:
        InputError: The name cannot be used, there is nothing to save, or it is not the length of a hand.
        OSError: The file cannot be written.
    """
    path = hand_file(name)
    if not lengths:
        raise InputError("no length of a hand is known yet: show the hand to a depth camera or to two cameras")
    for side, length in lengths.items():
        _check(name, side, length)
    both = {**(load_hand(name) if path.exists() else {}), **lengths}
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        side.value: {"length": round(length.metres, 5), "stddev": round(length.stddev, 5)}
        for side, length in both.items()
    }
    with OutputFile(path) as partial:
        partial.write_text(yaml.safe_dump(content))
    texts = [f"{side.value} {1000 * own.metres:.0f} +- {1000 * own.stddev:.0f} mm" for side, own in lengths.items()]
    return f"saved {', '.join(texts)} to {path}"


def _length(path: Path, side: Side, value: object) -> HandLength:
    numbers = [value.get(key) for key in ("length", "stddev")] if isinstance(value, dict) else []
    if len(numbers) != 2 or not all(isinstance(number, int | float) for number in numbers):
        raise InputError(f"{path}: the {side.value} hand needs the numbers length and stddev, in metres")
    try:
        length = HandLength(*(float(number) for number in numbers if isinstance(number, int | float)))
    except OverflowError as error:
        raise InputError(f"{path}: a number of the {side.value} hand is too large for a length in metres") from error
    _check(path, side, length)
    return length


def _check(where: Path | str, side: Side, length: HandLength) -> None:
    if not (SHORTEST < length.metres < LONGEST and 0 < length.stddev < LONGEST):
        raise InputError(
            f"{where}: the length of the {side.value} hand is {length.metres:g} +- {length.stddev:g} m; hands are "
            f"{SHORTEST} to {LONGEST} m long"
        )
