"""Exports demonstrations to one Parquet or HDF5 file, without the images: they are in the bag under the same stamps."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..io.files import OutputFile
from ..io.images import InputError
from . import openxr
from .demonstrations import Demonstration, ExportSummary, world_of
from .features import (
    CONTACT_NAMES,
    OBJECT_CONTACT_NAMES,
    QUALITY_NAMES,
    SIDES,
    STATE_NAMES,
    VISIBILITY_NAMES,
    WORLD_NAMES,
    best_hand,
    contact,
    object_contact,
    quality,
    visibility,
)


def export_parquet(demonstrations: Iterable[Demonstration], file: Path) -> ExportSummary:
    """Writes a Parquet table with one row per frame.

    The columns are episode, frame, task, stamp (nanoseconds), and a column for each number of state, action, quality,
    visibility, contact, object_contact, and world if the bags have hands in a fixed frame; see ``features``.

    Raises:
        InputError: there is nothing to export, or the episodes have different actions.
        ImportError: pyarrow is not installed.
    """
    import pyarrow as pa
    from pyarrow import parquet

    with OutputFile(file) as partial:  # what cannot be written is found before the work
        episodes = _collected(demonstrations)
        table = pa.table(_columns(episodes)).replace_schema_metadata({"fps": str(episodes[0].fps)})
        parquet.write_table(table, partial)
    return _summary(episodes)


def export_hdf5(demonstrations: Iterable[Demonstration], file: Path) -> ExportSummary:
    """Writes an HDF5 file with one group per episode.

    The groups ``/data/demo_<n>`` hold the arrays ``state``, ``action``, ``quality``, ``visibility``, ``contact``,
    ``object_contact``, ``stamp``, and ``world`` if the bags have hands in a fixed frame, and the attributes ``task``
    and ``fps``. The names of the numbers are attributes of ``/data``, such as ``state_names``. ``openxr/right/poses``
    (T, 26, 7) and ``flags`` (T, 26) are OpenXR's joints; see ``openxr``.

    Raises:
        InputError: there is nothing to export, or the episodes have different actions.
        ImportError: h5py is not installed.
    """
    import h5py

    with OutputFile(file) as partial:
        episodes = _collected(demonstrations)
        content = io.BytesIO()  # on a full disk, HDF5 would end the process with SIGSEGV
        with h5py.File(content, "w") as output:
            data = output.create_group("data")
            data.attrs["state_names"], data.attrs["action_names"] = list(STATE_NAMES), list(episodes[0].action_names)
            data.attrs["openxr_joints"] = list(openxr.JOINTS)
            for name, (names, _) in _extras(episodes[0]).items():
                data.attrs[f"{name}_names"] = list(names)
            for number, episode in enumerate(episodes):
                group = data.create_group(f"demo_{number}")
                group.attrs["task"], group.attrs["fps"] = episode.task, episode.fps
                group["state"], group["action"] = _stack(episode, "state"), _stack(episode, "action")
                group["stamp"] = np.array([sample.stamp for sample in episode.samples], np.int64)
                for name, (_, values) in _extras(episode).items():
                    group[name] = values
                for side, value in SIDES.items():
                    group[f"openxr/{side}/poses"], group[f"openxr/{side}/flags"] = _openxr(episode, value)
        partial.write_bytes(content.getbuffer())
    return _summary(episodes)


def _columns(episodes: list[Demonstration]) -> dict[str, object]:
    state, action = (np.concatenate([_stack(episode, name) for episode in episodes]) for name in ("state", "action"))
    lengths = [len(episode.samples) for episode in episodes]
    return {
        "episode": np.repeat(np.arange(len(episodes)), lengths),
        "frame": np.concatenate([np.arange(length) for length in lengths]),
        "task": [episode.task for episode in episodes for _ in episode.samples],
        "stamp": np.array([sample.stamp for episode in episodes for sample in episode.samples], np.int64),
        **{f"state.{name}": state[:, place] for place, name in enumerate(STATE_NAMES)},
        **{f"action.{name}": action[:, place] for place, name in enumerate(episodes[0].action_names)},
        **_extra_columns(episodes),
    }


def _extra_columns(episodes: list[Demonstration]) -> dict[str, np.ndarray]:
    columns = {}
    extras = [_extras(episode) for episode in episodes]
    for key, (names, _) in extras[0].items():
        values = np.concatenate([each[key][1] for each in extras])
        columns.update({f"{key}.{name}": values[:, place] for place, name in enumerate(names)})
    return columns


def _extras(episode: Demonstration) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """Returns names and (T, N) values of what an episode has besides state and action."""
    samples = episode.samples
    extras = {
        "quality": (QUALITY_NAMES, np.stack([quality(sample.hands.hands) for sample in samples])),
        "visibility": (VISIBILITY_NAMES, np.stack([visibility(sample.hands.hands) for sample in samples])),
        "contact": (CONTACT_NAMES, np.stack([contact(sample.hands.hands) for sample in samples])),
        "object_contact": (
            OBJECT_CONTACT_NAMES,
            np.stack([object_contact(sample.hands.hands) for sample in samples]),
        ),
    }
    if episode.has_world:
        extras["world"] = WORLD_NAMES, np.stack([world_of(sample) for sample in samples])
    return extras


def _openxr(episode: Demonstration, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the (T, 26, 7) poses and (T, 26) flags of OpenXR's joints of one side, zero without a hand."""
    count = len(episode.samples), len(openxr.JOINTS)
    poses, flags = np.zeros((*count, 7), np.float32), np.zeros(count, np.uint8)
    for number, sample in enumerate(episode.samples):
        found = best_hand(sample.hands.hands, side)
        if found is not None and np.isfinite(found.joints).all():
            poses[number], flags[number] = openxr.message_joints(found)
    return poses, flags


def _collected(demonstrations: Iterable[Demonstration]) -> list[Demonstration]:
    episodes = list(demonstrations)
    if not episodes:
        raise InputError("there is no episode to export")
    if len({episode.action_names for episode in episodes}) > 1:
        raise InputError("the episodes have different actions; export them separately")
    if len({episode.has_world for episode in episodes}) > 1:
        raise InputError(
            "only some of the bags have hands in a fixed frame: annotate all of them with --frame, or export separately"
        )
    return episodes


def _summary(episodes: list[Demonstration]) -> ExportSummary:
    notes = [note for episode in episodes for note in episode.notes]
    return ExportSummary(len(episodes), sum(len(episode.samples) for episode in episodes), notes)


def _stack(episode: Demonstration, name: str) -> np.ndarray:
    return np.stack([getattr(sample, name) for sample in episode.samples])
