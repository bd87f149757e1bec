"""Plain data that is passed between the stages of the estimator and to its users.

3D values are in metres in the camera's optical frame (x right, y down, z forward). 2D values are in pixels of the
source image, with pixel centres at integer coordinates. Joints are in MediaPipe order (see ``hand_model.joints``).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from .geometry.camera import Camera
from .geometry.contact import contact_probability
from .geometry.visibility import Surface, joint_visibility

_MIN_INSIDE = 0.5
"""Share of joints inside the image below which a hand is out of view."""


class Side(enum.Enum):
    """Which hand it is anatomically.

    Example:
        >>> from wildhands_ros import Side
        >>> Side("left").other
        <Side.RIGHT: 'right'>
    """

    RIGHT = "right"
    LEFT = "left"

    @property
    def other(self) -> Side:
        return Side.LEFT if self is Side.RIGHT else Side.RIGHT


MIN_GRASP_PROBABILITY = 0.5
"""Probability below which the most probable grasp class is not reported."""


class Grasp(enum.IntEnum):
    """Grasp classes of WildHands (the taxonomy of Hands23); the values are those of ``wildhands_ros/msg/Grasp``.

    Example:
        >>> from wildhands_ros import Grasp
        >>> Grasp(3).name
        'PRECISION_PRISMATIC'
    """

    NON_PREHENSILE_PALM = 0
    NON_PREHENSILE_FINGERTIP = 1
    POWER_PRISMATIC = 2
    PRECISION_PRISMATIC = 3
    POWER_CIRCULAR = 4
    PRECISION_CIRCULAR = 5
    LATERAL = 6
    OTHER = 7
    NO_GRASP = 8
    UNKNOWN = 255
    """No class is probable enough, or the network has no grasp head."""

    @classmethod
    def most_probable(cls, probabilities: np.ndarray | None) -> Grasp:
        """Returns the most probable class.

        Args:
            probabilities: (9,) in the order of the classes, or None.

        Returns:
            ``UNKNOWN`` without probabilities, or if none of them reaches ``MIN_GRASP_PROBABILITY``.
        """
        if probabilities is None or not np.max(probabilities) >= MIN_GRASP_PROBABILITY:
            return cls.UNKNOWN
        return cls(int(np.argmax(probabilities)))


class EstimateSource(enum.Enum):
    """Which stages an estimate comes from."""

    KEYPOINT_FIT = "keypoint_fit"
    NETWORK = "network"
    NETWORK_AND_FIT = "network_and_fit"
    FUSION = "fusion"
    """Several cameras."""


class DepthStatus(enum.Enum):
    """Whether a hand's estimate uses the depth image, or why not.

    Example:
        >>> from wildhands_ros import DepthStatus
        >>> DepthStatus("used")
        <DepthStatus.USED: 'used'>
    """

    NONE = "none"
    """There is no depth camera."""
    USED = "used"
    UNSUPPORTED = "unsupported"
    """The hand was not fitted to keypoints, which the depth fit continues from."""
    LATE = "late"
    """There is no depth image of the moment of the colour image."""
    UNUSABLE = "unusable"
    """The depth image cannot be decoded, or its calibration or pose is unknown (ROS 2 node: see its diagnostics)."""
    EMPTY = "empty"
    """The depth of too few pixels of the hand is known: too near, too far, sunlight, black or shining surfaces."""
    OCCLUDED = "occluded"
    """Another object is in front of the hand."""
    CONTRADICTS = "contradicts"
    """The surface is not that of the hand in the colour image: another moment, calibration or pose of the cameras."""


class HandState(enum.Enum):
    """Whether the camera saw a hand in one image.

    Example:
        >>> from wildhands_ros.types import HandState
        >>> HandState("interpolated")
        <HandState.INTERPOLATED: 'interpolated'>
    """

    SEEN = "seen"
    HIDDEN = "hidden"
    """Most of its joints are inside the image, but behind something else."""
    OUT_OF_VIEW = "out_of_view"
    """Most of its joints are outside the image."""
    INTERPOLATED = "interpolated"
    """It was not found in this image; the estimate lies between those before and after."""

    @classmethod
    def of(cls, visibility: np.ndarray, inside: np.ndarray, min_seen: float) -> HandState:
        """Returns the state of a hand that was found.

        Args:
            visibility: (21,) probability that each joint is seen; NaN if unknown.
            inside: (21,) whether each joint is inside the image.
            min_seen: Mean probability of the joints inside the image below which the hand is hidden.
        """
        if inside.mean() < _MIN_INSIDE:
            return cls.OUT_OF_VIEW
        return cls.HIDDEN if np.mean(visibility[inside]) < min_seen else cls.SEEN


class Doubt(enum.Flag):
    """Reasons to doubt the estimate of one hand in one image of a recording; see ``recording.quality``."""

    NONE = 0
    JUMP = enum.auto()
    """The hand jumps to another place and back, or does not continue its track."""
    LOW_AGREEMENT = enum.auto()
    """The wrist is probably off by more than 10 cm, or the estimate does not explain the keypoints."""
    IMPLAUSIBLE_MOTION = enum.auto()
    """Its speed or acceleration is beyond that of a hand."""
    IMPLAUSIBLE_POSE = enum.auto()
    """Finger joints are beyond their limits, or the size of the hand differs from that of its track."""
    SIDE = enum.auto()
    """It may be the other hand."""
    UNCHECKED = enum.auto()
    """Nothing was checked, as in a live stream, where what comes after is unknown."""


@dataclass(frozen=True)
class HandQuality:
    """How far the estimate of one hand in one image can be trusted."""

    state: HandState
    doubts: Doubt
    usable: bool
    """Whether to train from it: there are no doubts, and the hand was seen, or interpolated over a short gap."""


@dataclass(frozen=True)
class ManoParameters:
    """MANO parameters of one hand: vertices = hand(betas, global_orient, hand_pose) + transl.

    Rotations are axis-angle vectors in radians. ``hand_pose`` is the full applied pose, including the mean pose
    (``flat_hand_mean=True``).

    Example:
        >>> from wildhands_ros import Camera, Estimator, load_image
        >>> image = load_image("photo.jpg")
        >>> mano = Estimator()(image, Camera.for_image(image)).hands[0].mano
        >>> mano.transl.shape, mano.global_orient.shape, mano.hand_pose.shape, mano.betas.shape
        ((3,), (3,), (45,), (10,))
    """

    transl: np.ndarray
    """(3,) translation in metres."""
    global_orient: np.ndarray
    """(3,) rotation of the wrist."""
    hand_pose: np.ndarray
    """(45,) rotations of the 15 finger joints in MANO order."""
    betas: np.ndarray
    """(10,) shape coefficients."""

    @classmethod
    def from_message(cls, message: Any) -> ManoParameters:
        """Makes the parameters of a ``wildhands_ros/msg/ManoParameters``, as float64."""
        return cls(*(np.asarray(getattr(message, each.name), np.float64) for each in fields(cls)))


@dataclass(frozen=True)
class Landmarks:
    """Output of a landmark network for one crop of an image."""

    keypoints: np.ndarray
    """(21, 2) pixels in MediaPipe order."""
    world: np.ndarray
    """(21, 3) metres, as ``Detection.world``."""
    presence: float
    """Confidence in [0, 1] that the crop shows a hand."""
    is_right: float
    """Confidence in [0, 1] that it is a right hand."""


@dataclass(frozen=True)
class NetworkPrediction:
    """Output of the WildHands network for one hand."""

    side: Side
    """Side as which the hand was decoded."""
    mano: ManoParameters
    """Parameters in the camera frame."""
    grasp_probabilities: np.ndarray | None
    """(9,) float32 in the order of ``Grasp``; None if the network has no grasp head."""
    landmarks: Landmarks | None
    """None if the network has no landmark head."""
    seen: np.ndarray | None = None
    """(21,) log-odds that the camera sees the joints; None if the network has no visibility head."""


@dataclass(frozen=True)
class Detection:
    """One hand found in an image.

    A box is enough: the landmark network adds the side and the keypoints.

    Example:
        >>> import numpy as np
        >>> from wildhands_ros import Camera, Detection, Estimator, EstimatorConfig, load_image
        >>> image = load_image("photo.jpg")
        >>> estimator = Estimator(EstimatorConfig(detector="topic"))
        >>> boxes = [Detection(np.array([60.0, 240.0, 360.0, 500.0]))]
        >>> len(estimator(image, Camera.for_image(image), detections=boxes).hands)
        1
    """

    box: np.ndarray
    """(4,) x_min, y_min, x_max, y_max in pixels."""
    side: Side | None = None
    score: float = float("nan")
    """Confidence in [0, 1] that this is a hand; NaN if unknown."""
    side_score: float = float("nan")
    """Confidence in [0, 1] that ``side`` is correct; NaN if unknown."""
    keypoints: np.ndarray | None = None
    """(21, 2) pixels in MediaPipe order."""
    keypoint_weights: np.ndarray | None = None
    """(21,) in [0, 1]; a keypoint of weight 0 is ignored. None stands for all ones."""
    world: np.ndarray | None = None
    """(21, 3) root-relative joints in metres; the axes are right, down and forward as seen along the ray to the centre
    of the box."""
    prediction: NetworkPrediction | None = None
    """3D prediction from the forward pass that found the keypoints; None if they come from elsewhere."""
    box_from_keypoints: bool = False
    """Whether the box was drawn around the keypoints (see ``geometry.boxes.hand_box``) instead of detected."""

    @property
    def known_keypoints(self) -> np.ndarray | None:
        """(21, 2) pixels, NaN for keypoints of weight 0; None without keypoints."""
        if self.keypoints is None or self.keypoint_weights is None:
            return self.keypoints
        return np.where(self.keypoint_weights[:, None] > 0, self.keypoints, np.nan)


@dataclass(frozen=True)
class HandLength:
    """Length of a hand from the wrist to the tip of the middle finger when it is flat.

    Example:
        >>> from wildhands_ros import HandLength
        >>> HandLength(0.19, 0.004).metres
        0.19
    """

    metres: float
    stddev: float
    """Standard deviation in metres."""


@dataclass(frozen=True)
class HandEstimate:
    """One reconstructed hand.

    Example:
        >>> from wildhands_ros import MEDIAPIPE_JOINT_NAMES, Camera, Estimator, load_image
        >>> image = load_image("photo.jpg")
        >>> hand = Estimator()(image, Camera.for_image(image)).hands[0]
        >>> fingertip = hand.joints[MEDIAPIPE_JOINT_NAMES.index("index_tip")]  # metres, camera frame
        >>> fingertip.shape, hand.joints_2d.shape
        ((3,), (21, 2))
    """

    side: Side
    score: float
    """Score of the detection, which falls when the hand is occluded, times the share of joints inside the image; NaN if
    unknown."""
    side_score: float
    """Confidence in [0, 1] that ``side`` is correct; NaN if unknown."""
    box: np.ndarray
    """(4,) x_min, y_min, x_max, y_max in pixels."""
    joints: np.ndarray
    """(21, 3) metres in the camera frame."""
    joints_2d: np.ndarray
    """(21, 2) projection of ``joints`` into the image in pixels."""
    wrist_position: np.ndarray
    """(3,) root joint of the hand model in the camera frame."""
    wrist_rotation: np.ndarray
    """(3, 3) rotation of the hand model's rest frame into the camera frame."""
    mano: ManoParameters
    pose_mesh: Callable[[ManoParameters, Side], np.ndarray]
    """Computes the (V, 3) vertices of the mesh from the parameters; see ``vertices``."""
    source: EstimateSource
    joints_stddev: np.ndarray | None = None
    """(21, 3) standard deviation of each coordinate in metres; None if unknown."""
    wrist_covariance: np.ndarray | None = None
    """(6, 6) covariance of x, y, z and of the rotation about the camera's fixed x, y, z axes, as in
    geometry_msgs/PoseWithCovariance; None if unknown."""
    reprojection_error: float = float("nan")
    """Mean distance of ``joints_2d`` to the keypoints, as a fraction of the box's longer side; NaN without
    keypoints."""
    network_distance: float = float("nan")
    """Distance of the wrist from the camera in metres as the network alone estimates it; NaN without a network."""
    keypoints: np.ndarray | None = None
    """(21, 2) detected keypoints in pixels; NaN for unknown ones."""
    seen: np.ndarray | None = None
    """(21,) log-odds that the camera sees the joints, as the network alone says; None if it has no visibility head. See
    ``FrameEstimate.visibility``."""
    grasp_probabilities: np.ndarray | None = None
    """(9,) in the order of ``Grasp``, calibrated, in a stream averaged over the track; None if the network has no grasp
    head."""
    track_id: str = ""
    """Name of the hand's track, such as "hand_1"; empty for a single image."""
    depth: DepthStatus = DepthStatus.NONE
    """Whether the estimate uses the depth image, or why not."""
    object_contact: np.ndarray | None = None
    """(5,) probabilities in [0, 1] that thumb, index, middle, ring and little fingertip touch something that is not a
    hand; NaN where the depth image does not tell. None if the estimate does not use a depth image. See
    ``geometry.object_contact``."""
    hand_length: HandLength | None = None
    """Learned or given length of the hand; None if unknown."""
    views: tuple[str, ...] = ()
    """Names of the cameras that a fused hand comes from; empty for a hand of one camera."""
    quality: HandQuality | None = None
    """None for live estimates."""

    @property
    def grasp(self) -> Grasp:
        """The most probable grasp class; ``UNKNOWN`` if none is probable enough."""
        return Grasp.most_probable(self.grasp_probabilities)

    @cached_property
    def vertices(self) -> np.ndarray:
        """(V, 3) vertices of the mesh in metres in the camera frame. They are computed when first accessed."""
        return self.pose_mesh(self.mano, self.side)


@dataclass(frozen=True)
class FrameEstimate:
    """All hands of one image.

    Example:
        >>> from wildhands_ros import Camera, Estimator, load_image
        >>> image = load_image("photo.jpg")
        >>> frame = Estimator()(image, Camera.for_image(image))
        >>> sorted(hand.side.value for hand in frame.hands)
        ['left', 'right']
    """

    hands: tuple[HandEstimate, ...]
    camera: Camera
    unresolved: int = 0
    """Number of detections without an estimate: their score was too low, they had no keypoints, no hand fitted them, or
    (external detections only) they exceeded ``max_hands``."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Time spent in each stage: find, track, predict, fit, smooth and pose."""
    faces: Mapping[Side, np.ndarray] | None = None
    """(F, 3) triangles of each side's mesh; None if unknown."""

    def judged(self, qualities: Sequence[HandQuality]) -> FrameEstimate:
        """Returns the frame with the quality of each hand. Meshes and visibility that were computed are kept."""
        hands = zip(self.hands, qualities, strict=True)
        return _with(self, hands=tuple(_with(hand, quality=quality) for hand, quality in hands))

    @cached_property
    def visibility(self) -> tuple[np.ndarray, ...]:
        """For each hand the (21,) probabilities in [0, 1] that the camera sees its joints, which then are inside the
        image and hidden by nothing but their own skin. NaN without ``faces``. Computed when first accessed; see
        ``geometry.visibility``."""
        if self.faces is None:
            return tuple(np.full(21, np.nan) for _ in self.hands)
        surfaces = [Surface(hand.vertices, self.faces[hand.side]) for hand in self.hands]
        return tuple(
            joint_visibility(number, hand.joints, hand.joints_2d, hand.score, surfaces, self.camera, hand.seen)
            for number, hand in enumerate(self.hands)
        )

    @cached_property
    def contacts(self) -> tuple[np.ndarray, ...]:
        """For each hand the (4,) probabilities in [0, 1] that its thumb touches the tips of the index, middle, ring and
        little finger; NaN where unknown, such as where a tip is hidden. Computed when first accessed; see
        ``geometry.contact``."""
        if not self.hands:
            return ()
        joints = np.stack([hand.joints for hand in self.hands])
        return tuple(contact_probability(joints, np.stack(self.visibility)))


_Record = TypeVar("_Record", HandEstimate, FrameEstimate)


def _with(record: _Record, **fields: object) -> _Record:
    """Returns a copy with other fields that keeps the cached properties, which must not depend on these fields."""
    changed = copy(record)
    vars(changed).update(fields)
    return changed
