"""From a labelled picture to the network's inputs and the labels in their terms, with random changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from scipy.spatial.transform import Rotation
from torch import Tensor

from ..datasets.labels import LabelledHand, LabelledImage, Supervision
from ..detection.landmarks import MIDDLE_MCP, WRIST, hand_turn
from ..geometry.boxes import rotated_square
from ..geometry.camera import Camera
from ..geometry.undistort import Rectifier, boxes_between
from ..hand_model.asset import HandAsset
from ..hand_model.joints import MEDIAPIPE_TO_MANO
from ..network.config import IMAGE_SIZE, Preprocessing, WildHandsConfig
from ..network.preprocessing import NetworkInput, preprocess, released_camera, usable_boxes
from ..network.trunks import TRUNKS
from ..network.warp import cut_off
from ..types import Grasp, ManoParameters, Side
from .config import AugmentationConfig
from .usable_labels import Skipped

LEAST_BOX = 4.0
"""Pixels; of a smaller box there is nothing to see."""
_LEAST_Z = 0.05
"""Of unit rays: what lies further off the axis has no place in a pinhole's picture."""
_CROP_POINTS = np.array([(x, y) for x in (0.3, 0.5, 0.7) for y in (0.3, 0.5, 0.7)])
"""Of a crop's width and height: where its pinhole is to agree with its lens."""


@dataclass(frozen=True, eq=False)
class HandExample:
    """One crop with its labels; the names and frames are those of ``NetworkInput`` and ``Targets``."""

    name: str
    is_right: bool
    crop: np.ndarray
    """(224, 224, 3) uint8"""
    kpe: np.ndarray
    focal: float
    anchor: np.ndarray
    turn: float
    k: np.ndarray
    """(3, 3)"""
    labels: dict[str, np.ndarray]
    """By names as in ``Targets``, those that there are; joints that are not known are NaN."""


@dataclass(frozen=True, eq=False)
class Picture:
    """The hands of one image."""

    hands: list[HandExample]
    image: np.ndarray | None
    """(224, 224, 3) uint8 the whole image, where the network sees it."""
    is_real: bool = False
    """Whether it is a photograph without labels."""


@dataclass(frozen=True, eq=False)
class Window:
    """Where a hand is cut out."""

    index: int
    """Which hand it is."""
    box: np.ndarray
    """(4,) pixels; only its centre and its longer side count."""
    turn: float
    """Radians, as in ``preprocess``."""

    @property
    def side(self) -> float:
        return float((self.box[2:] - self.box[:2]).max())

    def affine(self, crop_scale: float) -> np.ndarray:
        """(2, 3) from the image's pixels to the crop's."""
        cosine, sine = np.cos(self.turn), np.sin(self.turn)
        linear = IMAGE_SIZE / (crop_scale * self.side) * np.array([[cosine, sine], [-sine, cosine]])
        return np.column_stack([linear, (IMAGE_SIZE - 1) / 2 - linear @ (self.box[:2] + self.box[2:]) / 2])


Drawing = Callable[[np.ndarray, Side], tuple[np.ndarray, np.ndarray]]
"""From the (2, 3) map of a scene's pixels to those of a crop, and a hand's side, to the (224, 224, 3) uint8 crop and the (224, 224) bool
mask of that hand."""


class PictureMaker:
    """Makes examples for one network. ``assets`` are its hand model."""

    def __init__(
        self, network: WildHandsConfig, augmentation: AugmentationConfig, assets: dict[Side, HandAsset]
    ) -> None:
        self._network, self._augmentation = network, augmentation
        self._assets = assets
        self._rectifier = Rectifier()

    def make(self, labelled: LabelledImage, rng: np.random.Generator) -> tuple[Picture, list[Skipped]]:
        """Load the image and cut out its hands; hands that the network could not see are left out, with the reason.

        The hands are those that ``usable_hands`` returns. Raises ``DatasetError`` if the image or a mask cannot be loaded.
        """
        hands, supervision = list(labelled.hands), labelled.supervision
        masks = [
            None if hand.load_mask is None or Supervision.MASK not in supervision else hand.load_mask()
            for hand in hands
        ]
        image, camera, hands, to_mask = self._roll(labelled.load_image(), labelled.camera, hands, rng)
        label_camera = camera
        if self._network.preprocessing is Preprocessing.RELEASED:
            image, camera = self._rectifier(image, label_camera)
            if camera is not label_camera:
                boxes = boxes_between(np.array([hand.box for hand in hands]), label_camera, camera)
                hands = [replace(hand, box=box) for hand, box in zip(hands, boxes, strict=True)]
        windows, skipped = self._windows(labelled.name, camera, hands, rng)
        if not windows:
            return Picture([], None), skipped
        inputs = self._inputs(image, camera, windows, labelled.encode_camera)
        gains = rng.uniform(1 - self._augmentation.colour, 1 + self._augmentation.colour, 3)
        examples = []
        for row, window in enumerate(windows):
            hand = hands[window.index]
            k = self._k(camera, window)
            labels = self._labels(hand, supervision, k, label_camera)
            if (mask := masks[window.index]) is not None:
                labels["mask"] = _mask_in_crop(mask, labelled.camera, k, to_mask)
            crop = self._colours(inputs.crops[row], gains)
            examples.append(_example(labelled.name, hand.side, crop, inputs, row, k, labels))
        return Picture(examples, None if inputs.images is None else self._colours(inputs.images[0], gains)), skipped

    def render(self, labelled: LabelledImage, draw: Drawing, rng: np.random.Generator) -> tuple[Picture, list[Skipped]]:
        """The same for a scene that ``draw`` renders straight into the crops, with the masks of its hands.

        Raises ValueError for a network with released preprocessing, which sees no such crops.
        """
        if self._network.preprocessing is Preprocessing.RELEASED:
            raise ValueError(
                "the synthetic world renders crops of full resolution; network.preprocessing must be full_resolution"
            )
        camera, hands, supervision = labelled.camera, labelled.hands, labelled.supervision
        windows, skipped = self._windows(labelled.name, camera, hands, rng)
        if not windows:
            return Picture([], None), skipped
        inputs = self._inputs(np.zeros((camera.height, camera.width, 3), np.uint8), camera, windows, encode_camera=True)
        gains = rng.uniform(1 - self._augmentation.colour, 1 + self._augmentation.colour, 3)
        examples = []
        for row, window in enumerate(windows):
            hand = hands[window.index]
            affine = window.affine(self._network.crop_scale)
            # The mask stays whole: of a hand at the picture's edge, all is known here.
            crop, mask = draw(affine, hand.side)
            crop = cut_off(crop, affine, camera.width, camera.height, replicate=True)
            k = self._k(camera, window)
            labels = self._labels(hand, supervision, k, camera)
            if Supervision.MASK in supervision:
                labels["mask"] = _mask_in_crop(mask, camera.transformed(affine, IMAGE_SIZE, IMAGE_SIZE), k, np.eye(3))
            crop = _tinted(crop / np.float32(255), gains)
            examples.append(_example(labelled.name, hand.side, crop, inputs, row, k, labels))
        frame = None
        if self._network.full_image_trunk:
            affine = frame_window(camera.width, camera.height).affine(1.0)
            frame, _ = draw(affine, hands[0].side)
            frame = _tinted(
                cut_off(frame, affine, camera.width, camera.height, replicate=False) / np.float32(255), gains
            )
        return Picture(examples, frame), skipped

    def unlabelled(self, name: str, image: np.ndarray, window: Window) -> Picture:
        """What a window of a photograph shows, which a right hand stands in for; the camera is a typical one."""
        height, width = image.shape[:2]
        camera = Camera.guess(width, height)
        inputs = self._inputs(image, camera, [window], encode_camera=True)
        crop = self._colours(inputs.crops[0], np.ones(3))
        example = _example(name, Side.RIGHT, crop, inputs, 0, self._k(camera, window), {})
        return Picture(
            [example], None if inputs.images is None else self._colours(inputs.images[0], np.ones(3)), is_real=True
        )

    def _windows(
        self, name: str, camera: Camera, hands: Sequence[LabelledHand], rng: np.random.Generator
    ) -> tuple[list[Window], list[Skipped]]:
        """Where to cut out the hands that can be seen."""
        windows = [self._window(i, hand, rng) for i, hand in enumerate(hands)]
        usable = usable_boxes(camera, np.array([window.box for window in windows])) if windows else []
        usable = [good and window.side >= LEAST_BOX for good, window in zip(usable, windows, strict=True)]
        skipped = [
            Skipped("hand outside of the picture or too small", f"{name}, {hand.side.value} hand")
            for hand, good in zip(hands, usable, strict=True)
            if not good
        ]
        return [window for window, good in zip(windows, usable, strict=True) if good], skipped

    def _inputs(self, image: np.ndarray, camera: Camera, windows: list[Window], encode_camera: bool) -> NetworkInput:
        network = self._network if encode_camera else replace(self._network, fake_intrinsics=True)
        turns = (
            None if network.preprocessing is Preprocessing.RELEASED else np.array([window.turn for window in windows])
        )
        return preprocess(
            image, camera, np.array([window.box for window in windows]), network, network.preprocessing, turns
        )

    def _k(self, camera: Camera, window: Window) -> np.ndarray:
        """(3, 3) of the picture in which 2D labels and masks are compared: the whole one, as in the reference, or the crop."""
        if self._network.preprocessing is Preprocessing.RELEASED:
            return released_camera(camera).k
        return _crop_pinhole(camera, window.affine(self._network.crop_scale))

    def _roll(self, image: np.ndarray, camera: Camera, hands: list[LabelledHand], rng: np.random.Generator):
        """Turns the camera about its axis; also returns the (3, 3) rotation from the new frame to the one before."""
        options = self._augmentation
        draw = rng.random(), rng.standard_normal()  # always both, so that what follows does not depend on them
        if draw[0] >= options.roll_probability:
            return image, camera, hands, np.eye(3)
        angle = float(np.radians(options.roll_degrees * np.clip(draw[1], -2, 2)))
        center = camera.k[:2, 2]
        rotation = Rotation.from_rotvec([0, 0, angle]).as_matrix()
        affine = np.column_stack([rotation[:2, :2], center - rotation[:2, :2] @ center])
        size = camera.width, camera.height
        rolled = camera.transformed(affine, *size)
        if camera.is_pinhole and np.array_equal(camera.rotation, np.eye(3)):
            rolled = replace(rolled, k=rolled.k @ rotation.T)
        else:
            rolled = replace(rolled, rotation=camera.rotation @ rotation.T)
        return (
            cv2.warpAffine(image, affine, size),
            rolled,
            [_rolled(hand, angle, affine, self._assets[hand.side]) for hand in hands],
            rotation.T,
        )

    def _window(self, index: int, hand: LabelledHand, rng: np.random.Generator) -> Window:
        options = self._augmentation
        shift = rng.uniform(-options.box_shift, options.box_shift, 2)
        scale = (1 + options.box_scale) ** rng.uniform(-1, 1)
        wobble = np.radians(options.turn_degrees) * rng.standard_normal()
        box, turn, points = hand.box, 0.0, hand.keypoints
        if self._network.upright:
            # Without keypoints the hand is taken to be upright: in one's own view, fingers mostly point up.
            turn = wobble
            if points is not None and np.isfinite(points[[WRIST, MIDDLE_MCP]]).all():
                turn += hand_turn(points)
                box = rotated_square(points, turn)
        side = (box[2:] - box[:2]).max()
        middle = (box[:2] + box[2:]) / 2 + shift * side
        half = scale * (box[2:] - box[:2]) / 2
        return Window(index, np.concatenate([middle - half, middle + half]), turn)

    def _labels(
        self, hand: LabelledHand, supervision: frozenset[Supervision], k: np.ndarray, camera: Camera
    ) -> dict[str, np.ndarray]:
        """All but the mask; ``camera`` is that of the image in whose pixels the hand is labelled."""
        labels: dict[str, np.ndarray] = {}
        if hand.keypoints is not None and Supervision.KEYPOINTS in supervision:
            # Through the rays, so that they are those of the pinhole whatever the lens.
            rays = camera.rays(hand.keypoints)
            rays = np.where(rays[:, 2:] > _LEAST_Z, rays, np.nan)
            labels["joints_2d"] = ((rays / rays[:, 2:]) @ k.T)[list(MEDIAPIPE_TO_MANO), :2]
        if hand.joints is not None and Supervision.JOINTS in supervision:
            labels["joints_3d"] = hand.joints[list(MEDIAPIPE_TO_MANO)]
        if isinstance(hand.mano, ManoParameters):
            if Supervision.POSE in supervision:
                labels["rotations"] = _relative_rotations(hand.mano, self._assets[hand.side].hands_mean)
            if Supervision.BETAS in supervision:
                labels["betas"] = hand.mano.betas
            if Supervision.CAMERA in supervision and hand.mano.transl[2] > 0:
                labels["translation"] = hand.mano.transl
        if hand.grasp not in (None, Grasp.UNKNOWN) and Supervision.GRASP in supervision:
            labels["grasp"] = np.array(int(hand.grasp))
        return labels

    def _colours(self, normalized: Tensor, gains: np.ndarray) -> np.ndarray:
        """(3, H, W) as the network takes them to (H, W, 3) uint8, changed by the channels' factors."""
        kind = TRUNKS[self._network.trunk]
        return _tinted(normalized.numpy().transpose(1, 2, 0) * np.float32(kind.std) + np.float32(kind.mean), gains)


def frame_window(width: int, height: int) -> Window:
    """The whole image, padded to a square."""
    half = max(width, height) / 2
    middle = np.array([width - 1, height - 1]) / 2
    return Window(0, np.concatenate([middle - half, middle + half]), 0.0)


def _example(
    name: str,
    side: Side,
    crop: np.ndarray,
    inputs: NetworkInput,
    row: int,
    k: np.ndarray,
    labels: dict[str, np.ndarray],
) -> HandExample:
    return HandExample(
        name=f"{name}, {side.value} hand",
        is_right=side is Side.RIGHT,
        crop=crop,
        kpe=inputs.kpe[row].numpy(),
        focal=float(inputs.focal[row]),
        anchor=inputs.anchor[row].numpy(),
        turn=float(inputs.turn[row]),
        k=k,
        labels=labels,
    )


def _rolled(hand: LabelledHand, angle: float, affine: np.ndarray, asset: HandAsset) -> LabelledHand:
    """Apply a roll of the camera to a hand's labels; the mask remains that of the image before the roll.

    Args:
        hand: Its ``mano`` holds ``ManoParameters`` of ``asset``.
        angle: Radians by which the image content turns, clockwise as seen.
        affine: (2, 3) map of the same turn, in pixels.
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


def _tinted(colours: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """(H, W, 3) colours in 0..1, times the channels' factors, as uint8."""
    return np.round(255 * (colours * np.float32(gains)).clip(0, 1)).astype(np.uint8)


def _relative_rotations(mano: ManoParameters, mean_pose: np.ndarray) -> np.ndarray:
    """(16, 3, 3): what the network is to predict, see ``network.model.decode_pose``."""
    vectors = np.concatenate([mano.global_orient, mano.hand_pose - mean_pose]).reshape(-1, 3)
    return Rotation.from_rotvec(vectors).as_matrix()


def _crop_pinhole(camera: Camera, affine: np.ndarray) -> np.ndarray:
    """(3, 3) matrix of the crop's pixels: exact for a pinhole, else the one that fits the lens best around the crop's middle."""
    in_crop = IMAGE_SIZE * _CROP_POINTS - 0.5
    rays = camera.transformed(affine, IMAGE_SIZE, IMAGE_SIZE).rays(in_crop)
    seen = rays[:, 2] > _LEAST_Z  # False for NaN, too
    k = np.eye(3)
    k[:2] = np.linalg.lstsq(rays[seen] / rays[seen, 2:], in_crop[seen], rcond=None)[0].T
    return k


def _mask_in_crop(mask: np.ndarray, camera: Camera, k: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """(224, 224) bool: a mask (H, W) of ``camera``'s image as the pinhole ``k`` sees it; ``rotation`` leads from that one's frame."""
    grid = np.stack(np.meshgrid(np.arange(IMAGE_SIZE), np.arange(IMAGE_SIZE)), axis=-1)
    directions = np.concatenate([grid, np.ones_like(grid[..., :1])], axis=-1) @ np.linalg.inv(k).T
    pixels = np.nan_to_num(camera.project(directions @ rotation.T), nan=-1e4).astype(np.float32)
    return (
        cv2.remap(
            mask.astype(np.uint8), pixels[..., 0], pixels[..., 1], cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT
        )
        > 0
    )
