"""Demonstrations to plain files: one Parquet table, or one HDF5 file. Without pictures, which stay in the bag under the same stamps."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..io.files import OutputFile
from ..io.images import InputError
from .demonstrations import Demonstration
from .features import STATE_NAMES


def export_parquet(found: Iterable[Demonstration], file: Path) -> tuple[int, int, list[str]]:
    """One row a frame: episode, frame, task, stamp (nanoseconds), and a float32 column for each number of state and action.

    Returns the numbers of episodes and frames, and notes on what is missing.

    :raises InputError: nothing to export, or episodes whose actions differ.
    :raises ImportError: pyarrow is not installed.
    """
    import pyarrow as pa
    from pyarrow import parquet

    episodes, notes = _collect(found)
    state, action = (np.concatenate([_stack(episode, name) for episode in episodes]) for name in ("state", "action"))
    lengths = [len(episode.samples) for episode in episodes]
    columns = {
        "episode": pa.array(np.repeat(np.arange(len(episodes)), lengths)),
        "frame": pa.array(np.concatenate([np.arange(length) for length in lengths])),
        "task": pa.array([episode.task for episode in episodes for _ in episode.samples]),
        "stamp": pa.array([sample.stamp for episode in episodes for sample in episode.samples], pa.int64()),
        **{f"state.{name}": pa.array(state[:, place]) for place, name in enumerate(STATE_NAMES)},
        **{f"action.{name}": pa.array(action[:, place]) for place, name in enumerate(episodes[0].action_names)},
    }
    with OutputFile(file) as partial:
        parquet.write_table(pa.table(columns).replace_schema_metadata({"fps": str(episodes[0].fps)}), partial)
    return len(episodes), sum(lengths), notes


def export_hdf5(found: Iterable[Demonstration], file: Path) -> tuple[int, int, list[str]]:
    """Groups /data/demo_<n> with ``state``, ``action``, ``stamp`` and the attributes ``task`` and ``fps``; names are attributes of /data.

    Returns the numbers of episodes and frames, and notes on what is missing.

    :raises InputError: nothing to export, or episodes whose actions differ.
    :raises ImportError: h5py is not installed.
    """
    import h5py

    episodes, notes = _collect(found)
    with OutputFile(file) as partial, h5py.File(partial, "w") as output:
        data = output.create_group("data")
        data.attrs["state_names"], data.attrs["action_names"] = list(STATE_NAMES), list(episodes[0].action_names)
        for number, episode in enumerate(episodes):
            group = data.create_group(f"demo_{number}")
            group.attrs["task"], group.attrs["fps"] = episode.task, episode.fps
            group["state"], group["action"] = _stack(episode, "state"), _stack(episode, "action")
            group["stamp"] = np.array([sample.stamp for sample in episode.samples], np.int64)
    return len(episodes), sum(len(episode.samples) for episode in episodes), notes


def _collect(found: Iterable[Demonstration]) -> tuple[list[Demonstration], list[str]]:
    episodes = list(found)
    if not episodes:
        raise InputError("there is no episode to export")
    if len({episode.action_names for episode in episodes}) > 1:
        raise InputError("the episodes differ in their actions: export them apart")
    return episodes, [note for episode in episodes for note in episode.notes]


def _stack(episode: Demonstration, name: str) -> np.ndarray:
    return np.stack([getattr(sample, name) for sample in episode.samples])
