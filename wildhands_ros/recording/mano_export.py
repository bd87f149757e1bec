"""Exports the hands of annotated bags as parameters of MANO, whose files the user has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..config import OPEN
from ..hand_model.asset import open_hands
from ..hand_model.mano_files import load_hands
from ..io.errors import InputError, foreign_bytes
from ..io.files import OutputFile
from ..types import ManoParameters, Side
from .bags import Bag
from .demonstrations import KIND
from .mano_fit import ManoFitter, OpenHand
from .message import SIDE_OF_VALUE, Message, message_stamp

_PARAMETERS = ("transl", "global_orient", "hand_pose", "betas")


@dataclass(frozen=True)
class ManoSummary:
    """What was exported."""

    hands: int
    vertex_error: float
    """Mean distance in metres of MANO's vertices to the open hand's surface."""
    worst: float
    """The largest such mean of one hand."""


def export_mano(bags: Sequence[Path], topic: str, mano_folder: str, file: Path) -> ManoSummary:
    """Writes an .npz file with one row per hand.

    The arrays are ``bag`` (name), ``stamp`` (nanoseconds), ``side``, ``track``, ``usable``, ``transl`` (3),
    ``global_orient`` (3), ``hand_pose`` (45), ``betas`` (10), and ``vertex_error`` in metres; parameters are those of
    smplx with ``flat_hand_mean=True``, in the frame of the topic.

    Args:
        bags: Annotated bags.
        topic: Topic of the hands, such as /hands or /hands/world.
        mano_folder: Folder with MANO's files.
        file: The new file.

    Raises:
        InputError: There are no hands, they are not of the open hand model, or MANO's files cannot be used.
    """
    fitter = ManoFitter(open_hands(), load_hands(mano_folder))
    with OutputFile(file) as partial:  # what cannot be written is found before the work
        rows = [(path.stem, *row) for path in bags for row in _hands(path, topic)]
        if not rows:
            raise InputError(f"{', '.join(map(str, bags))}: no hands on {topic}: run wildhands annotate first")
        hands = [hand for *_, hand in rows]
        fitted = fitter(hands)
        errors = np.array([each.vertex_error for each in fitted])
        columns = {
            "bag": np.array([name for name, *_ in rows]),
            "stamp": np.array([stamp for _, stamp, *_ in rows], np.int64),
            "side": np.array([hand.side.value for hand in hands]),
            "track": np.array([str(message.id) for _, _, message, _ in rows]),
            "usable": np.array([bool(message.usable) for _, _, message, _ in rows]),
            **{name: np.stack([getattr(each.mano, name) for each in fitted]) for name in _PARAMETERS},
            "vertex_error": errors,
        }
        with partial.open("wb") as output:
            np.savez(output, **columns)  # type: ignore[arg-type, unused-ignore]  # numpy 2: allow_pickle
    return ManoSummary(len(hands), float(errors.mean()), float(errors.max()))


def _hands(path: Path, topic: str) -> list[tuple[int, Message, OpenHand]]:
    """Returns the hands of a bag with their stamps and messages. Those of unknown side are left out.

    Raises:
        InputError: They are of another hand model, or their messages have impossible values.
    """
    found = []
    with Bag(path) as bag, foreign_bytes(path, KIND):
        wanted = [connection for connection in bag.connections if connection.topic == topic]
        for connection, received, data in bag.messages(wanted) if wanted else ():
            message = bag.read(connection, data)
            if message.hands and message.hand_model != open_hands()[Side.RIGHT].name:
                raise InputError(
                    f"{path}: its hands are of the model {message.hand_model!r}; MANO is fitted to those of the model "
                    f"{OPEN!r} (wildhands annotate --hand-model {OPEN})"
                )
            for hand in message.hands:
                if hand.side in SIDE_OF_VALUE:
                    mano = ManoParameters.from_message(hand.mano)
                    stamp = message_stamp(message.header, received)
                    found.append((stamp, hand, OpenHand(SIDE_OF_VALUE[hand.side], mano, f"{path}/{hand.id}")))
    return found
