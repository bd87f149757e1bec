"""Turns cached features into the inputs of one variant's network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...geometry.camera import Camera
from ...network.config import IMAGE_SIZE, CameraDecoding
from ...network.crop_geometry import frame_affine
from ...network.kpe import kpe_values
from ...training.targets import Targets
from .features import MASK_SIZE, FeatureSet
from .variants import Variant, View


@dataclass(frozen=True)
class Inputs:
    """Inputs of all hands of a set, as in ``WildHands.forward``."""

    kpe: Tensor
    focal: Tensor
    anchor: Tensor
    turn: Tensor


def variant_inputs(features: FeatureSet, variant: Variant) -> Inputs:
    """Compute what the variant's network is told about the location of the crops."""
    network, is_crop = variant.network, variant.view is View.CROP
    cameras = [_frame_camera(features.camera(image)) for image in range(features.num_images)]
    half = IMAGE_SIZE / 2
    fake = Camera.pinhole(half, half, half, half, IMAGE_SIZE, IMAGE_SIZE)
    kpe, focal, anchor = [], [], []
    for index, corners in zip(features["image_index"], features["corners"], strict=True):
        camera, affine = cameras[index]
        corners = corners @ affine[:, :2].T + affine[:, 2]
        seen = fake if network.fake_intrinsics else camera.undistorted() if variant.pinhole_angles else camera
        kpe.append(kpe_values(network.encoding, seen, corners, network.kpe_map_size))
        if network.camera is CameraDecoding.FRAME:
            focal.append(camera.focal)
            anchor.append(np.zeros(2))
        else:
            focal.append(camera.focal * IMAGE_SIZE / np.linalg.norm(corners[2] - corners[0]))
            ray = camera.rays(corners.mean(axis=0))
            anchor.append(ray[:2] / ray[2])
    turn = torch.from_numpy(features["turn"])
    return Inputs(_floats(kpe), _floats(focal), _floats(anchor), turn if is_crop else torch.zeros_like(turn))


def batch_targets(features: FeatureSet, inputs: Inputs, rows: np.ndarray, has_3d: np.ndarray) -> Targets:
    """Collect the labels of some hands: joints, pose, shape and camera if ``has_3d``, else masks and grasps."""

    def take(name: str) -> Tensor:
        return torch.from_numpy(features[name][rows])

    _, images = np.unique(features["image_index"][rows], return_inverse=True)
    lab = torch.from_numpy(has_3d)
    flags: dict[str, Any] = (
        {flag: lab for flag in ("has_j2d", "has_j3d", "has_pose", "has_beta", "has_cam")} if has_3d.any() else {}
    )
    labels: dict[str, Any] = {
        name: take(name) for name in ("joints_2d", "joints_3d", "rotations", "betas", "translation") if has_3d.any()
    }
    if not has_3d.all():
        labels |= {"grasp": take("grasp"), "mask": take("mask").float() / 255}
        flags |= {"has_grasp": ~lab, "has_mask": ~lab}
    index = torch.from_numpy(rows)
    return Targets(
        is_right=take("is_right"),
        image_index=torch.from_numpy(images.reshape(-1)),
        num_images=int(images.max()) + 1,
        focal=inputs.focal[index],
        anchor=inputs.anchor[index],
        turn=inputs.turn[index],
        k=take("k"),
        **labels,
        **flags,
    )


def trunk_features(features: FeatureSet, view: View, rows: np.ndarray) -> Tensor:
    """Return the trunk's features (B, 1152, 7, 7) of the crops or of the whole images."""
    found = (
        features["features"][rows] if view is View.CROP else features["image_features"][features["image_index"][rows]]
    )
    return torch.from_numpy(found).float()


def mask_camera(k: Tensor) -> Tensor:
    """Scale intrinsics (B, 3, 3) from the pixels of the crop to those of its mask."""
    scale = MASK_SIZE / IMAGE_SIZE
    shrink = k.new_tensor([[scale, 0, 0.5 * scale - 0.5], [0, scale, 0.5 * scale - 0.5], [0, 0, 1]])
    return shrink @ k


def joined(sets: list[FeatureSet]) -> FeatureSet:
    """Concatenate sets; only arrays that all of them have are kept."""
    names = set.intersection(*(set(features.arrays) for features in sets))
    first = np.cumsum([0, *(features.num_images for features in sets)])
    shifted = [features["image_index"] + start for features, start in zip(sets, first, strict=False)]
    arrays = {name: np.concatenate([features[name] for features in sets]) for name in names - {"image_index"}}
    return FeatureSet({**arrays, "image_index": np.concatenate(shifted)})


def _frame_camera(camera: Camera) -> tuple[Camera, np.ndarray]:
    """Return the camera of the image padded and resized to 224 x 224 pixels, and the (2, 3) affine map to it."""
    affine = frame_affine(camera.width, camera.height)
    return camera.transformed(affine, IMAGE_SIZE, IMAGE_SIZE), affine


def _floats(values: list) -> Tensor:
    return torch.from_numpy(np.stack(values).astype(np.float32))
