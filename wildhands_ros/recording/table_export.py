"""Exports demonstrations to one Parquet or HDF5 file, without the images: they are in the bag under the same stamps."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..io.files import OutputFile
from ..io.images import InputError
from .demonstrations import Demonstration, ExportSummary
from .features import STATE_NAMES


def export_parquet(demonstrations: Iterable[Demonstration], file: Path) -> ExportSummary:
    """Writes a Parquet table with one row per frame.

    The columns are episode, frame, task, stamp (nanoseconds), and a float32 column for each number of state and action.

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

    The groups ``/data/demo_<n>`` hold the arrays ``state``, ``action`` and ``stamp``, and the attributes ``task`` and
    ``fps``. The names of the numbers in ``state`` and ``action`` are attributes of ``/data``.

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
            for number, episode in enumerate(episodes):
                group = data.create_group(f"demo_{number}")
                group.attrs["task"], group.attrs["fps"] = episode.task, episode.fps
                group["state"], group["action"] = _stack(episode, "state"), _stack(episode, "action")
                group["stamp"] = np.array([sample.stamp for sample in episode.samples], np.int64)
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
    }


def _collected(demonstrations: Iterable[Demonstration]) -> list[Demonstration]:
    episodes = list(demonstrations)
    if not episodes:
        raise InputError("there is no episode to export")
    if len({episode.action_names for episode in episodes}) > 1:
        raise InputError("the episodes have different actions; export them separately")
    return episodes


def _summary(episodes: list[Demonstration]) -> ExportSummary:
    notes = [note for episode in episodes for note in episode.notes]
    return ExportSummary(len(episodes), sum(len(episode.samples) for episode in episodes), notes)


def _stack(episode: Demonstration, name: str) -> np.ndarray:
    return np.stack([getattr(sample, name) for sample in episode.samples])
