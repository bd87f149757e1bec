"""Exports demonstrations to a LeRobotDataset (format v3.0) with the lerobot library."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..io.files import output_folder
from ..io.images import InputError
from .demonstrations import Demonstration, ExportSummary, world_of
from .features import (
    CONTACT_NAMES,
    OBJECT_CONTACT_NAMES,
    QUALITY_NAMES,
    STATE_NAMES,
    VISIBILITY_NAMES,
    WORLD_NAMES,
    contact,
    object_contact,
    quality,
    visibility,
)
from .message import Message

USABLE = [QUALITY_NAMES.index("right.usable"), QUALITY_NAMES.index("left.usable")]
INTRINSICS = ("fx", "fy", "cx", "cy")
INTRINSICS_SOURCES = ("camera_info", "camera_info_scaled", "field_of_view", "guess")
"""Names of the values of ``intrinsics_source`` in ``wildhands_ros/msg/HandArray``."""


@dataclass(frozen=True)
class _Layout:
    """What all episodes of a dataset have in common."""

    fps: int
    image_shape: tuple[int, ...]
    action_names: tuple[str, ...]
    has_world: bool
    depth_shape: tuple[int, ...] | None
    """None without depth images."""

    def check(self, first: _Layout, episode: str) -> None:
        """Raises InputError if an episode does not have the layout of the first one."""
        for name, value, expected in (
            ("frame rate (set --fps)", self.fps, first.fps),
            ("image size", self.image_shape, first.image_shape),
            ("action", self.action_names, first.action_names),
            ("hands in a fixed frame (annotate with --frame)", self.has_world, first.has_world),
            ("depth images", self.depth_shape, first.depth_shape),
        ):
            if value != expected:
                raise InputError(
                    f"{episode} differs from the first episode in the {name}: {value} instead of {expected}"
                )


def export_lerobot(demonstrations: Iterable[Demonstration], folder: Path, repo_id: str, camera: str) -> ExportSummary:
    """Writes a dataset.

    The features are ``observation.images.<camera>``, ``observation.state``, ``observation.intrinsics``,
    ``observation.stamp`` (nanoseconds of the recording's clock), ``observation.usable``, ``observation.quality``,
    ``observation.visibility``, ``observation.contact``, ``observation.object_contact``, ``observation.world`` if there
    are hands in a fixed frame,
    ``observation.depth.<camera>`` (uint16 millimetres, 0 where unknown) if depth images are exported, and ``action``.
    The file meta/wildhands.json contains the complete calibration.

    Args:
        demonstrations: the episodes.
        folder: the new folder.
        repo_id: name of the dataset, such as me/cups.
        camera: name of the camera.

    Raises:
        InputError: there is nothing to export, or the episodes have different frame rates, image sizes or actions.
        ImportError: lerobot is not installed.
    """
    try:
        from lerobot.datasets.lerobot_dataset import LeRobotDataset
    except ImportError as error:
        raise ImportError(
            f"lerobot cannot be imported ({error}): run `make lerobot` and then .venv-lerobot/bin/wildhands, or use an "
            "environment with lerobot (docs/imitation_learning.md)"
        ) from error
    with output_folder(folder) as partial:
        return _write(LeRobotDataset, demonstrations, partial, repo_id, camera)


def _write(
    dataset_type: Any, demonstrations: Iterable[Demonstration], partial: Path, repo_id: str, camera: str
) -> ExportSummary:
    """Writes a dataset of a class of lerobot, which is not installed where types are checked, to a new folder."""
    dataset = first = None
    about: dict[str, object] = {}
    notes: list[str] = []
    episodes = frames = 0
    for episode in demonstrations:
        notes += episode.notes
        for sample in episode.samples:
            image = sample.image()
            depth = sample.depth() if sample.depth is not None else None
            depth_shape = depth.shape if depth is not None else None
            layout = _Layout(episode.fps, image.shape, episode.action_names, episode.has_world, depth_shape)
            if dataset is None or first is None:
                about, first = _about(sample.hands, camera), layout
                dataset = dataset_type.create(
                    repo_id,
                    layout.fps,
                    _features(camera, layout),
                    root=partial,
                    robot_type="human_hands",
                    use_videos=True,
                )
            layout.check(first, f"episode {episodes} ({episode.task!r})")
            k = sample.hands.k
            dataset.add_frame(
                {
                    f"observation.images.{camera}": image,
                    "observation.state": sample.state,
                    "observation.intrinsics": np.array([k[0], k[4], k[2], k[5]], np.float32),
                    "observation.stamp": np.array([sample.stamp], np.int64),
                    "observation.usable": quality(sample.hands.hands)[USABLE].astype(bool),
                    "observation.quality": quality(sample.hands.hands),
                    "observation.visibility": visibility(sample.hands.hands),
                    "observation.contact": contact(sample.hands.hands),
                    "observation.object_contact": object_contact(sample.hands.hands),
                    **({"observation.world": world_of(sample)} if layout.has_world else {}),
                    **({f"observation.depth.{camera}": depth} if depth is not None else {}),
                    "action": sample.action,
                    "task": episode.task,
                }
            )
        if dataset is not None:
            dataset.save_episode()
        episodes, frames = episodes + 1, frames + len(episode.samples)
    if dataset is None:
        raise InputError("there is no episode to export")
    dataset.finalize()
    (partial / "meta" / "wildhands.json").write_text(json.dumps(about, indent=2) + "\n")
    return ExportSummary(episodes, frames, notes)


def _features(camera: str, layout: _Layout) -> dict[str, dict[str, object]]:
    def vector(names: tuple[str, ...], dtype: str = "float32") -> dict[str, object]:
        return {"dtype": dtype, "shape": (len(names),), "names": list(names)}

    depth: dict[str, object] = {"dtype": "uint16", "shape": layout.depth_shape, "names": ["height", "width"]}
    return {
        f"observation.images.{camera}": {
            "dtype": "video",
            "shape": layout.image_shape,
            "names": ["height", "width", "channels"],
        },
        "observation.state": vector(STATE_NAMES),
        "observation.intrinsics": vector(INTRINSICS),
        "observation.stamp": vector(("nanoseconds",), "int64"),
        "observation.usable": vector(("right", "left"), "bool"),
        "observation.quality": vector(QUALITY_NAMES, "int64"),
        "observation.visibility": vector(VISIBILITY_NAMES),
        "observation.contact": vector(CONTACT_NAMES),
        "observation.object_contact": vector(OBJECT_CONTACT_NAMES),
        **({"observation.world": vector(WORLD_NAMES)} if layout.has_world else {}),
        **({f"observation.depth.{camera}": depth} if layout.depth_shape is not None else {}),
        "action": vector(layout.action_names),
    }


def _about(hands: Message, camera: str) -> dict[str, object]:
    """Returns what the numbers mean: camera, frame, hand model and units."""
    return {
        "camera": {
            "name": camera,
            "frame": hands.header.frame_id,
            "width": int(hands.width),
            "height": int(hands.height),
            "k": np.asarray(hands.k).tolist(),
            "distortion_model": hands.distortion_model,
            "d": np.asarray(hands.d).tolist(),
            "intrinsics_source": dict(enumerate(INTRINSICS_SOURCES)).get(hands.intrinsics_source, "unknown"),
        },
        "hand_model": hands.hand_model,
        "units": "metres and radians in the camera's optical frame (x right, y down, z forward); "
        "quaternions x, y, z, w",
        "joints": "MediaPipe order; MANO's hand_pose in MANO order, the mean pose included",
    }
