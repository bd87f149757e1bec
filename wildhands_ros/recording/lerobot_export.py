"""Demonstrations to a LeRobotDataset (format v3.0), written by the lerobot library itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..io.images import InputError
from .demonstrations import Demonstration
from .features import STATE_NAMES

INTRINSICS = ("fx", "fy", "cx", "cy")


def export_lerobot(
    found: Iterable[Demonstration], folder: Path, repo_id: str, camera: str
) -> tuple[int, int, list[str]]:
    """Writes the new ``folder``; returns the numbers of episodes and frames, and notes on what is missing.

    Features: ``observation.images.<camera>``, ``observation.state``, ``observation.intrinsics``, ``observation.stamp`` (nanoseconds of the
    recording's clock), ``action``. The camera's whole calibration is in meta/wildhands.json.

    :raises InputError: nothing to export, or episodes that differ in rate, size or action.
    :raises ImportError: lerobot is not installed.
    """
    try:
        from lerobot.datasets.lerobot_dataset import LeRobotDataset
    except ImportError as error:
        raise ImportError(
            f"lerobot cannot be used here ({error}): run `make lerobot` and then .venv-lerobot/bin/wildhands, or use an environment with "
            "lerobot (docs/imitation_learning.md)"
        ) from error
    if folder.exists():
        raise FileExistsError(f"{folder} exists already; remove it, or give another --output")
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    dataset, about, notes, frames = None, {}, [], 0
    for number, episode in enumerate(found):
        notes += episode.notes
        for sample in episode.samples:
            image = sample.image()
            if dataset is None:
                about = _about(sample.hands, camera)
                features = _features(camera, image.shape, episode.action_names)
                dataset = LeRobotDataset.create(
                    repo_id, episode.fps, features, root=partial, robot_type="human_hands", use_videos=True
                )
                first = episode, image.shape
            _check(episode, image.shape, *first, number)
            k = sample.hands.k
            dataset.add_frame(
                {
                    f"observation.images.{camera}": image,
                    "observation.state": sample.state,
                    "observation.intrinsics": np.array([k[0], k[4], k[2], k[5]], np.float32),
                    "observation.stamp": np.array([sample.stamp], np.int64),
                    "action": sample.action,
                    "task": episode.task,
                }
            )
        dataset.save_episode()
        frames += len(episode.samples)
    if dataset is None:
        raise InputError("there is no episode to export")
    dataset.finalize()
    (partial / "meta" / "wildhands.json").write_text(json.dumps(about, indent=2) + "\n")
    partial.rename(folder)
    return number + 1, frames, notes


def _features(camera: str, shape: tuple[int, ...], action_names: tuple[str, ...]) -> dict:
    def vector(names: tuple[str, ...], kind: str = "float32") -> dict:
        return {"dtype": kind, "shape": (len(names),), "names": list(names)}

    return {
        f"observation.images.{camera}": {"dtype": "video", "shape": shape, "names": ["height", "width", "channels"]},
        "observation.state": vector(STATE_NAMES),
        "observation.intrinsics": vector(INTRINSICS),
        "observation.stamp": vector(("nanoseconds",), "int64"),
        "action": vector(action_names),
    }


def _about(hands, camera: str) -> dict:
    """What the numbers mean: camera, frame, hand model."""
    return {
        "camera": {
            "name": camera,
            "frame": hands.header.frame_id,
            "width": int(hands.width),
            "height": int(hands.height),
            "k": np.asarray(hands.k).tolist(),
            "distortion_model": hands.distortion_model,
            "d": np.asarray(hands.d).tolist(),
            "intrinsics_source": ("camera_info", "camera_info_scaled", "field_of_view", "guess")[
                hands.intrinsics_source
            ],
        },
        "hand_model": hands.hand_model,
        "units": "metres and radians in the camera's optical frame (x right, y down, z forward); quaternions x, y, z, w",
        "joints": "MediaPipe order; MANO's hand_pose in MANO order, the mean pose included",
    }


def _check(
    episode: Demonstration, shape: tuple[int, ...], first: Demonstration, first_shape: tuple[int, ...], number: int
) -> None:
    """A data set has one rate, one size of pictures and one kind of action."""
    for name, one, other in (
        ("rate", episode.fps, first.fps),
        ("size of its pictures", shape, first_shape),
        ("action", episode.action_names, first.action_names),
    ):
        if one != other:
            hint = " (set --fps)" if name == "rate" else ""
            raise InputError(
                f"episode {number} ({episode.task!r}) differs from the first in its {name}: {one}, not {other}{hint}"
            )
