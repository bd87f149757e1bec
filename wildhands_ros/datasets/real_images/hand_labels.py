"""Self-training labels of the 3D network: keypoints, joints and masks of hands in photographs whose boxes are known.

The estimator sees each box twice: in the photograph, and in its mirror image, turned by 12 degrees. Where keypoints and
side agree, they become labels; where the fitted hands agree too, so do their joints. The camera of a photograph is
unknown, and a typical field of view is assumed: it affects the joints relative to the wrist little, but distances
entirely. Joints are therefore only meant relative to the wrist, and the hand's position, pose and shape get no label.

A mask is what GrabCut (Rother et al., SIGGRAPH 2004) finds when it starts from the fitted mesh, if it still agrees with
that mesh.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from ...config import TOPIC, EstimatorConfig
from ...detection.landmarks import MIDDLE_MCP, WRIST
from ...estimator import Estimator
from ...geometry.boxes import box_iou
from ...geometry.camera import Camera
from ...geometry.masks import mask_iou, mesh_mask
from ...io.errors import InputError
from ...io.files import OutputFile
from ...types import Detection, HandEstimate, Side
from .label_files import coco, labelled, spread_evenly
from .reader import BoxedImage, read_boxed_images
from .self_labels import View, views

LEAST_SCORE = 0.5
"""Presence that each view must have."""
_VIEWS = (0, 4)
"""Of ``self_labels.views``: the photograph, and its mirror image turned by 12 degrees."""
_STEADY = 0.025
"""Maximum mean distance of each view's keypoints from the label's, relative to the longer side of the box."""
_STEADY_JOINTS = 0.008
"""Metres; maximum mean distance of each view's joints from the label's, all relative to the wrist."""
_FITTED = 0.04
"""Maximum reprojection error of a fit whose joints and mesh are used, relative to the longer side of the box."""
_IN_BOX = 0.5
"""Minimum IoU of the keypoints' box and the known one."""
MASK_AGREEMENT = 0.8
"""Minimum IoU of a mask and the fitted mesh."""
_SIDE, _MARGIN = 200, 0.3
"""Size in pixels at which masks are computed, and margin around the box, relative to its longer side."""
_SURE, _POSSIBLE = 0.05, 0.08
"""What lies within the mesh by more than the first is hand, and what lies outside of it by more than the second is not;
relative to the longer side of the box."""
_ITERATIONS = 4


class HandLabel(NamedTuple):
    """What is known about a hand in a photograph."""

    box: np.ndarray
    """(4,) pixels, as annotated."""
    side: Side
    keypoints: np.ndarray
    """(21, 2) pixels."""
    joints: np.ndarray | None
    """(21, 3) metres in the frame of a typical camera; None if the views disagree."""
    mask: np.ndarray | None
    """(H, W) bool; None if the mesh and the image disagree."""


class HandLabeller:
    """Labels the hands in known boxes with the bundled networks. Not thread-safe."""

    def __init__(self) -> None:
        self._estimator = Estimator(EstimatorConfig(detector=TOPIC))

    def __call__(self, image: np.ndarray, box: np.ndarray, side: Side | None) -> HandLabel | None:
        """Label one hand.

        Args:
            image: (H, W, 3) uint8 RGB.
            box: (4,) its box in pixels.
            side: Its side, if that is known.

        Returns:
            The label; None if the views disagree.
        """
        height, width = image.shape[:2]
        chosen = [views(width, height)[i] for i in _VIEWS]
        seen: list[tuple[View, HandEstimate, np.ndarray]] = []
        for view in chosen:
            shown = Detection(_box_in(view, box), None)
            hands = self._estimator(view.of(image), Camera.guess(width, height), detections=[shown]).hands
            if not hands or hands[0].score < LEAST_SCORE or hands[0].keypoints is None:
                return None
            seen.append((view, hands[0], _to_photograph(view, hands[0].keypoints)))
        sides = {hand.side.other if view.is_mirrored else hand.side for view, hand, _ in seen}
        if side is not None:
            sides.add(side)
        points = np.array([points for _, _, points in seen])
        keypoints, size = np.median(points, axis=0), float((box[2:] - box[:2]).max())
        found = np.concatenate([keypoints.min(axis=0), keypoints.max(axis=0)])
        if len(sides) > 1 or _spread(points, keypoints) > _STEADY * size or box_iou(found, box) < _IN_BOX:
            return None
        if max(hand.reprojection_error for _, hand, _ in seen) > _FITTED:
            return HandLabel(box, sides.pop(), keypoints, None, None)
        joints = np.array([_in_camera(view, hand.joints) for view, hand, _ in seen])
        wrists, relative = joints[:, :1], joints - joints[:, :1]
        mean, joints_label = relative.mean(axis=0), None
        if _spread(relative, mean) < _STEADY_JOINTS:
            joints_label = mean + wrists[0]
        whole = seen[0][1]
        faces = self._estimator.faces[whole.side]
        return HandLabel(box, sides.pop(), keypoints, joints_label, hand_mask(image, box, whole, faces))


def hand_mask(image: np.ndarray, box: np.ndarray, hand: HandEstimate, faces: np.ndarray) -> np.ndarray | None:
    """Segment a hand, starting from its mesh.

    Args:
        image: (H, W, 3) uint8 RGB, of a typical camera.
        box: (4,) the hand's box.
        hand: Its estimate.
        faces: (F, 3) triangles of its mesh.

    Returns:
        (H, W) bool; None if the result disagrees with the mesh, or the image cuts the hand off.
    """
    height, width = image.shape[:2]
    size = float((box[2:] - box[:2]).max())
    if (hand.joints_2d < 0).any() or (hand.joints_2d >= [width, height]).any():
        return None
    corner = np.maximum(np.floor(box[:2] - _MARGIN * size), 0).astype(int)
    end = np.minimum(np.ceil(box[2:] + _MARGIN * size), [width, height]).astype(int)
    scale = _SIDE / (end - corner).max()
    affine = np.column_stack([scale * np.eye(2), -scale * corner])
    small = tuple(np.round(scale * (end - corner)).astype(int).tolist())
    pixels = cv2.warpAffine(image, affine, small, flags=cv2.INTER_AREA)
    mesh = mesh_mask(hand.vertices, faces, Camera.guess(width, height).transformed(affine, *small))
    wrist, towards = (hand.joints_2d[i] @ affine[:, :2].T + affine[:, 2] for i in (WRIST, MIDDLE_MCP))
    grid = np.stack(np.meshgrid(np.arange(small[0]), np.arange(small[1])), axis=-1)
    is_arm = (grid - wrist) @ (towards - wrist) < 0
    possible = cv2.dilate(mesh.astype(np.uint8), _disc(_POSSIBLE * scale * size)).astype(bool)
    sure = cv2.erode(mesh.astype(np.uint8), _disc(_SURE * scale * size)).astype(bool)
    state = np.where(mesh, cv2.GC_PR_FGD, np.where(possible, cv2.GC_PR_BGD, cv2.GC_BGD)).astype(np.uint8)
    # An arm has the colour of the hand, so it must not teach what the background looks like.
    state[is_arm] = cv2.GC_PR_FGD
    state[sure] = cv2.GC_FGD
    if not (state == cv2.GC_BGD).any() or not sure.any():
        return None
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)
    no_box = (0, 0, 0, 0)  # The initial state says where the hand is.
    cv2.grabCut(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), state, no_box, *models, _ITERATIONS, cv2.GC_INIT_WITH_MASK)
    found = np.isin(state, (cv2.GC_FGD, cv2.GC_PR_FGD)) & possible
    # Nothing in the image shows where the hand ends and the arm begins: there, the mesh is all that is known.
    found = np.where(is_arm, mesh, found)
    if mask_iou(found, mesh) < MASK_AGREEMENT:
        return None
    inverse = cv2.invertAffineTransform(affine)
    whole = cv2.warpAffine(found.astype(np.uint8) * 255, inverse, (width, height), flags=cv2.INTER_LINEAR)
    return whole > 127


def label_hands(folder: Path, output: Path, limit: int | None = None, workers: int = 1) -> str:
    """Label the hands in a folder of boxed images and write one COCO-style file.

    Only images that may be trained on are labelled: with a licence, and not of the splits "validation" and "test".

    Args:
        folder: The photographs; see ``datasets.real_images``.
        output: The file. ``annotations`` of the training's source ``photographs`` names it.
        limit: Label at most this many images, spread evenly over the folder.
        workers: Number of processes.

    Returns:
        What was labelled, in one sentence.

    Raises:
        ValueError: There is no hand to label, or ``limit`` is not positive.
        OSError: The file cannot be written.
    """
    known = read_boxed_images(folder).images
    usable = [image for image in known if image.is_for_training and image.hands_boxed and image.hands]
    images = spread_evenly(usable, limit)
    if not images:
        raise InputError(f"{folder}: there is no image with boxes of hands that may be trained on")
    with OutputFile(output) as file:
        content = coco(list(labelled(partial(_label_image, folder), images, workers)))
        file.write_text(json.dumps(content), encoding="utf-8")
    annotations = content["annotations"]
    total = sum(not hand.ignore for image in images for hand in image.hands)
    return (
        f"labelled {len(annotations)} of {total} hands in {len(images)} images: "
        f"{sum('joint_cam' in entry for entry in annotations)} with joints, "
        f"{sum('segmentation' in entry for entry in annotations)} with masks"
    )


def _label_image(folder: Path, image: BoxedImage) -> dict:
    """Return the COCO-style entries of an image; its name is relative to ``folder``."""
    try:
        pixels = image.load()
    except (ValueError, OSError) as error:
        return {"error": str(error)}
    height, width = pixels.shape[:2]
    labels = [_labeller()(pixels, hand.box, hand.side) for hand in image.hands if not hand.ignore]
    entry = {
        "file_name": image.path.relative_to(folder).as_posix(),
        "width": width,
        "height": height,
        "license": f"see LICENCES.md, {image.source}",
        "annotation_origin": "self-training",
    }
    return {"image": entry, "annotations": [_annotation(label) for label in labels if label is not None]}


@lru_cache(maxsize=1)
def _labeller() -> HandLabeller:
    return HandLabeller()


def _annotation(label: HandLabel) -> dict:
    annotation: dict = {
        "bbox": [round(float(value), 2) for value in (*label.box[:2], *(label.box[2:] - label.box[:2]))],
        "hand_type": label.side.value,
        "keypoints": np.column_stack([np.round(label.keypoints, 2), np.full(21, 2)]).ravel().tolist(),
    }
    if label.joints is not None:
        annotation["joint_cam"] = np.round(1000 * label.joints, 1).tolist()
    if label.mask is not None:
        contours, _ = cv2.findContours(label.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        annotation["segmentation"] = [contour.ravel().tolist() for contour in contours if len(contour) > 2]
    return annotation


def _box_in(view: View, box: np.ndarray) -> np.ndarray:
    """Return the (4,) box around a box of the photograph in a view."""
    corners = np.array([[x, y] for x in box[::2] for y in box[1::2]]) @ view.affine[:, :2].T + view.affine[:, 2]
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)])


def _to_photograph(view: View, points: np.ndarray) -> np.ndarray:
    return (points - view.affine[:, 2]) @ np.linalg.inv(view.affine[:, :2]).T


def _in_camera(view: View, joints: np.ndarray) -> np.ndarray:
    """Convert (21, 3) joints of a view that was turned or mirrored about the image's centre to the photograph's
    camera."""
    return np.column_stack([joints[:, :2] @ np.linalg.inv(view.affine[:, :2]).T, joints[:, 2]])


def _spread(values: Sequence[np.ndarray] | np.ndarray, mean: np.ndarray) -> float:
    """Return the largest mean distance of any view's (N, D) points from ``mean``."""
    return float(np.linalg.norm(np.asarray(values) - mean, axis=-1).mean(axis=-1).max())


def _disc(radius: float) -> np.ndarray:
    side = 2 * max(1, round(radius)) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
