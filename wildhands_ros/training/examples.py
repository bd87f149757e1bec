"""Turns labelled images into training examples: augmented crops, the network's other inputs, and labels in the crops'
terms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from ..datasets.labels import LabelledHand, LabelledImage, Supervision
from ..datasets.usable_labels import Skipped
from ..detection.landmarks import MIDDLE_MCP, WRIST, hand_turn
from ..geometry.boxes import rotated_square
from ..geometry.camera import Camera
from ..geometry.undistort import Rectifier, boxes_between
from ..hand_model.asset import HandAsset
from ..hand_model.joints import MEDIAPIPE_TO_MANO
from ..network.config import IMAGE_SIZE, Preprocessing, WildHandsConfig
from ..network.crop_geometry import (
    MIN_RAY_Z,
    CropGeometry,
    crop_geometry,
    fit_crop_pinhole,
    frame_affine,
    released_camera,
    usable_boxes,
)
from ..network.crop_pixels import cut_crops, hide_outside
from ..types import Grasp, ManoParameters, Side
from .config import AugmentationConfig

MIN_BOX_SIDE = 4.0
"""Pixels; nothing can be recognised in a smaller box."""


@dataclass(frozen=True, eq=False)
class HandExample:
    """One crop with its targets. Names, units and frames are those of ``NetworkInput`` and ``Targets``."""

    name: str
    is_right: bool
    crop: np.ndarray
    """(224, 224, 3) uint8"""
    affine: np.ndarray
    """(2, 3) see ``CropGeometry.affines``."""
    kpe: np.ndarray
    focal: float
    anchor: np.ndarray
    turn: float
    k: np.ndarray
    """(3, 3)"""
    targets: dict[str, np.ndarray]
    """The targets that exist, by their names in ``Targets``; unknown joints are NaN."""


@dataclass(frozen=True, eq=False)
class ImageExample:
    """The hands of one image."""

    hands: list[HandExample]
    camera: Camera
    image: np.ndarray | None = None
    """(224, 224, 3) uint8 the whole image, if the network sees it."""
    is_real: bool = False
    """Whether it is a photograph without labels."""


class CropBox(NamedTuple):
    """Where a crop is cut out, before ``crop_scale`` is applied."""

    box: np.ndarray
    """(4,) pixels; only its centre and its longer side count."""
    turn: float
    """Radians, see ``crop_geometry``."""

    @property
    def side(self) -> float:
        return float((self.box[2:] - self.box[:2]).max())


RenderCrop = Callable[[np.ndarray, Side], tuple[np.ndarray, np.ndarray]]
"""Renders a crop: from the (2, 3) map of a scene's pixels to the crop's, and a hand's side, to the (224, 224, 3) uint8
crop and the (224, 224) bool mask of that hand."""


class ExampleMaker:
    """Makes the examples for one network."""

    def __init__(
        self, network: WildHandsConfig, augmentation: AugmentationConfig, assets: dict[Side, HandAsset]
    ) -> None:
        """
        Args:
            network: The network's configuration.
            augmentation: The random changes.
            assets: The network's hand model.
        """
        self._network, self._augmentation, self._assets = network, augmentation, assets
        self._rectifier = Rectifier()

    def from_image(self, image: LabelledImage, rng: np.random.Generator) -> tuple[ImageExample | None, list[Skipped]]:
        """Load an image and cut out its hands.

        Args:
            image: With hands as ``usable_hands`` returns them.
            rng: Decides all augmentation.

        Returns:
            The example, or None without usable hands; and the hands that the network could not see, which are left out.

        Raises:
            DatasetError: The image or a mask cannot be loaded.
        """
        hands, supervision = list(image.hands), image.supervision
        learns_masks = Supervision.MASK in supervision
        masks = [hand.load_mask() if learns_masks and hand.load_mask is not None else None for hand in hands]
        pixels, camera, hands, to_mask = self._roll(image.load_image(), image.camera, hands, rng)
        label_camera = camera
        if self._is_released:
            pixels, camera = self._rectifier(pixels, label_camera)
            if camera is not label_camera:
                boxes = boxes_between(np.array([hand.box for hand in hands]), label_camera, camera)
                hands = [replace(hand, box=box) for hand, box in zip(hands, boxes, strict=True)]
        chosen, skipped = self._choose_crops(image.name, camera, hands, rng)
        if not chosen:
            return None, skipped
        geometry = self._geometry(camera, list(chosen.values()), image.encode_camera)
        cut = cut_crops(pixels, geometry, self._network.full_image_trunk)
        gains = self._gains(rng)
        examples = []
        for row, index in enumerate(chosen):
            k = self._k(geometry, row)
            targets = self._targets(hands[index], supervision, k, label_camera)
            if (mask := masks[index]) is not None:
                targets["mask"] = _mask_in_crop(mask, image.camera, k, to_mask)
            crop = _tint(cut.crops[row], gains)
            examples.append(_example(image.name, hands[index], crop, geometry, row, k, targets))
        frame = None if cut.frame is None else _tint(cut.frame, gains)
        return ImageExample(examples, camera, frame), skipped

    def from_scene(
        self, image: LabelledImage, render: RenderCrop, rng: np.random.Generator
    ) -> tuple[ImageExample | None, list[Skipped]]:
        """Render the hands of a scene straight into their crops.

        Args:
            image: The scene's labels; its pixels are not used.
            render: Renders the crops and their masks.
            rng: Decides all augmentation.

        Returns:
            As ``from_image``.

        Raises:
            ValueError: The network has released preprocessing, which does not use such crops.
        """
        if self._is_released:
            raise ValueError(
                "the synthetic world renders crops of full resolution; network.preprocessing must be full_resolution"
            )
        camera, hands = image.camera, image.hands
        chosen, skipped = self._choose_crops(image.name, camera, hands, rng)
        if not chosen:
            return None, skipped
        geometry = self._geometry(camera, list(chosen.values()), image.encode_camera)
        gains = self._gains(rng)
        examples = []
        for row, index in enumerate(chosen):
            hand, affine = hands[index], geometry.affines[row]
            crop, mask = render(affine, _side(hand))
            crop = hide_outside(crop, affine, camera.width, camera.height, replicate=True)
            k = self._k(geometry, row)
            targets = self._targets(hand, image.supervision, k, camera)
            if Supervision.MASK in image.supervision:
                # The mask is not clipped to the image: beyond its edge, too, a scene's masks are known.
                crop_camera = camera.transformed(affine, IMAGE_SIZE, IMAGE_SIZE)
                targets["mask"] = _mask_in_crop(mask, crop_camera, k, np.eye(3))
            examples.append(_example(image.name, hand, _tint(crop, gains), geometry, row, k, targets))
        frame = None
        if self._network.full_image_trunk:
            affine = frame_affine(camera.width, camera.height)
            frame, _ = render(affine, _side(hands[0]))
            frame = _tint(hide_outside(frame, affine, camera.width, camera.height, replicate=False), gains)
        return ImageExample(examples, camera, frame), skipped

    def unlabelled(self, name: str, pixels: np.ndarray, crop_box: CropBox) -> ImageExample:
        """Cut a crop out of a photograph without labels, as if it showed a right hand; the camera is a typical one."""
        camera = Camera.guess(pixels.shape[1], pixels.shape[0])
        geometry = self._geometry(camera, [crop_box], encode_camera=True)
        cut = cut_crops(pixels, geometry, self._network.full_image_trunk)
        hand = LabelledHand(crop_box.box, Side.RIGHT)
        gains = np.ones(3)
        example = _example(name, hand, _tint(cut.crops[0], gains), geometry, 0, self._k(geometry, 0), {})
        return ImageExample([example], camera, None if cut.frame is None else _tint(cut.frame, gains), is_real=True)

    @property
    def _is_released(self) -> bool:
        return self._network.preprocessing is Preprocessing.RELEASED

    def _gains(self, rng: np.random.Generator) -> np.ndarray:
        """(3,) factors of the colour channels."""
        return rng.uniform(1 - self._augmentation.colour, 1 + self._augmentation.colour, 3)

    def _choose_crops(
        self, name: str, camera: Camera, hands: Sequence[LabelledHand], rng: np.random.Generator
    ) -> tuple[dict[int, CropBox], list[Skipped]]:
        """Crops of the hands that can be seen, by the hand's index."""
        crops = [self._choose_crop(hand, rng) for hand in hands]
        usable = usable_boxes(camera, np.array([crop.box for crop in crops]))
        chosen, skipped = {}, []
        for index, (hand, crop, good) in enumerate(zip(hands, crops, usable, strict=True)):
            if good and crop.side >= MIN_BOX_SIDE:
                chosen[index] = crop
            else:
                skipped.append(Skipped("hand outside the image or too small", f"{name}, {_side(hand).value} hand"))
        return chosen, skipped

    def _choose_crop(self, hand: LabelledHand, rng: np.random.Generator) -> CropBox:
        options = self._augmentation
        shift = rng.uniform(-options.box_shift, options.box_shift, 2)
        scale = (1 + options.box_scale) ** rng.uniform(-1, 1)
        wobble = np.radians(options.turn_degrees) * rng.standard_normal()
        box, turn, points = hand.box, 0.0, hand.keypoints
        if self._network.upright:
            # Without keypoints the hand is assumed to be upright: in egocentric views, fingers mostly point up.
            turn = wobble
            if points is not None and np.isfinite(points[[WRIST, MIDDLE_MCP]]).all():
                turn += hand_turn(points)
                box = rotated_square(points, turn)
        side = (box[2:] - box[:2]).max()
        middle = (box[:2] + box[2:]) / 2 + shift * side
        half = scale * (box[2:] - box[:2]) / 2
        return CropBox(np.concatenate([middle - half, middle + half]), turn)

    def _geometry(self, camera: Camera, crops: Sequence[CropBox], encode_camera: bool) -> CropGeometry:
        network = self._network if encode_camera else replace(self._network, fake_intrinsics=True)
        boxes = np.array([crop.box for crop in crops])
        turns = None if self._is_released else np.array([crop.turn for crop in crops])
        return crop_geometry(camera, boxes, network, network.preprocessing, turns)

    def _k(self, geometry: CropGeometry, row: int) -> np.ndarray:
        """(3, 3) matrix of the image in which 2D labels and masks are compared: the whole one, as in the reference, or
        the crop."""
        if self._is_released:
            return released_camera(geometry.camera).k
        return fit_crop_pinhole(geometry.camera, geometry.affines[row])

    def _roll(
        self, pixels: np.ndarray, camera: Camera, hands: list[LabelledHand], rng: np.random.Generator
    ) -> tuple[np.ndarray, Camera, list[LabelledHand], np.ndarray]:
        """Roll the camera about its axis by chance; also returns the (3, 3) rotation from the new camera frame to the
        original one."""
        options = self._augmentation
        chance, deviation = (
            rng.random(),
            rng.standard_normal(),
        )  # always both, so that later draws do not depend on them
        if chance >= options.roll_probability:
            return pixels, camera, hands, np.eye(3)
        angle = float(np.radians(options.roll_degrees * np.clip(deviation, -2, 2)))
        center = camera.k[:2, 2]
        rotation = Rotation.from_rotvec([0, 0, angle]).as_matrix()
        affine = np.column_stack([rotation[:2, :2], center - rotation[:2, :2] @ center])
        size = camera.width, camera.height
        rolled = camera.transformed(affine, *size)
        if camera.is_pinhole and np.array_equal(camera.rotation, np.eye(3)):
            rolled = replace(rolled, k=rolled.k @ rotation.T)
        else:
            rolled = replace(rolled, rotation=camera.rotation @ rotation.T)
        hands = [_roll_labels(hand, angle, affine, self._assets[_side(hand)]) for hand in hands]
        return cv2.warpAffine(pixels, affine, size), rolled, hands, rotation.T

    def _targets(
        self, hand: LabelledHand, supervision: frozenset[Supervision], k: np.ndarray, camera: Camera
    ) -> dict[str, np.ndarray]:
        """All targets but the mask; ``camera`` is that of the image in whose pixels the hand is labelled."""
        targets: dict[str, np.ndarray] = {}
        if hand.keypoints is not None and Supervision.KEYPOINTS in supervision:
            # Through the rays, so that the pixels are those of the pinhole ``k`` for any lens.
            rays = camera.rays(hand.keypoints)
            rays = np.where(rays[:, 2:] > MIN_RAY_Z, rays, np.nan)
            targets["joints_2d"] = ((rays / rays[:, 2:]) @ k.T)[list(MEDIAPIPE_TO_MANO), :2]
        if hand.joints is not None and Supervision.JOINTS in supervision:
            targets["joints_3d"] = hand.joints[list(MEDIAPIPE_TO_MANO)]
        if isinstance(hand.mano, ManoParameters):
            if Supervision.POSE in supervision:
                targets["rotations"] = _relative_rotations(hand.mano, self._assets[_side(hand)].hands_mean)
            if Supervision.BETAS in supervision:
                targets["betas"] = hand.mano.betas
            if Supervision.CAMERA in supervision and hand.mano.transl[2] > 0:
                targets["translation"] = hand.mano.transl
        if hand.grasp not in (None, Grasp.UNKNOWN) and Supervision.GRASP in supervision:
            targets["grasp"] = np.array(int(hand.grasp))
        return targets


def _example(
    image_name: str,
    hand: LabelledHand,
    crop: np.ndarray,
    geometry: CropGeometry,
    row: int,
    k: np.ndarray,
    targets: dict[str, np.ndarray],
) -> HandExample:
    return HandExample(
        name=f"{image_name}, {_side(hand).value} hand",
        is_right=hand.side is Side.RIGHT,
        crop=crop,
        affine=geometry.affines[row],
        kpe=geometry.kpe[row],
        focal=float(geometry.focal[row]),
        anchor=geometry.anchor[row],
        turn=float(geometry.turn[row]),
        k=k,
        targets=targets,
    )


def _side(hand: LabelledHand) -> Side:
    if hand.side is None:
        raise ValueError("training needs to know which hand it is: select hands with usable_hands")
    return hand.side


def _roll_labels(hand: LabelledHand, angle: float, affine: np.ndarray, asset: HandAsset) -> LabelledHand:
    """Apply a roll of the camera to a hand's labels; the mask remains that of the image before the roll.

    Args:
        hand: If it has ``ManoParameters``, they are of ``asset``.
        angle: Radians by which the image content turns, clockwise as seen.
        affine: (2, 3) the same turn as a map of pixels.
        asset: The hand model of this side.
    """
    turn = Rotation.from_rotvec([0, 0, angle])
    mano = hand.mano
    if isinstance(mano, ManoParameters):
        rest_wrist = asset.J_regressor[0] @ (asset.v_template + asset.shapedirs[..., : len(mano.betas)] @ mano.betas)
        mano = replace(
            mano,
            transl=turn.apply(rest_wrist + mano.transl) - rest_wrist,
            global_orient=(turn * Rotation.from_rotvec(mano.global_orient)).as_rotvec(),
        )
    points = hand.keypoints
    if points is None:
        points = np.array([(x, y) for x in hand.box[::2] for y in hand.box[1::2]])
    points = points @ affine[:, :2].T + affine[:, 2]
    return replace(
        hand,
        box=np.concatenate([np.nanmin(points, axis=0), np.nanmax(points, axis=0)]),
        keypoints=None if hand.keypoints is None else points,
        joints=None if hand.joints is None else turn.apply(hand.joints),
        mano=mano,
    )


def _tint(pixels: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Multiply the channels of (H, W, 3) colours in 0..255, uint8 or float32, by (3,) factors; returns uint8."""
    return np.round(255 * (pixels / np.float32(255) * np.float32(gains)).clip(0, 1)).astype(np.uint8)


def _relative_rotations(mano: ManoParameters, mean_pose: np.ndarray) -> np.ndarray:
    """(16, 3, 3) rotations as the network predicts them, see ``network.model.decode_pose``."""
    vectors = np.concatenate([mano.global_orient, mano.hand_pose - mean_pose]).reshape(-1, 3)
    return Rotation.from_rotvec(vectors).as_matrix()


def _mask_in_crop(mask: np.ndarray, camera: Camera, k: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Resample a mask to what a pinhole of 224 pixels sees.

    Args:
        mask: (H, W) bool, of ``camera``'s image.
        camera: The mask's camera.
        k: (3, 3) matrix of the pinhole.
        rotation: (3, 3) from the pinhole's frame to the camera's.

    Returns:
        (224, 224) bool.
    """
    grid = np.stack(np.meshgrid(np.arange(IMAGE_SIZE), np.arange(IMAGE_SIZE)), axis=-1)
    directions = np.concatenate([grid, np.ones_like(grid[..., :1])], axis=-1) @ np.linalg.inv(k).T
    pixels = np.nan_to_num(camera.project(directions @ rotation.T), nan=-1e4).astype(np.float32)
    values, x, y = mask.astype(np.uint8), pixels[..., 0], pixels[..., 1]
    return cv2.remap(values, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT) > 0
