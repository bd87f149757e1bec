"""Plain data that the stages hand to one another; numpy only, no behaviour.

Frames: 3D values are metres in the camera's optical frame (x right, y down, z forward); 2D values are pixels of the source image
with pixel centres at whole numbers. Joints are in MediaPipe order (see ``wildhands_ros.hand_model.joints``).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

import numpy as np

from .geometry.camera import Camera


class Side(enum.Enum):
    """Which hand it is, anatomically.

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


class Grasp(enum.IntEnum):
    """Grasp classes of WildHands (Hands23's taxonomy, spec 1.8); the values are those of ``wildhands_ros/msg/Grasp``.

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


class EstimateSource(enum.Enum):
    """Which stages made an estimate."""

    KEYPOINT_FIT = "keypoint_fit"
    NETWORK = "network"
    NETWORK_AND_FIT = "network_and_fit"


@dataclass(frozen=True)
class ManoParameters:
    """MANO parameters; vertices = hand(betas, global_orient, hand_pose) + transl.

    Rotations are axis-angle in radians; ``hand_pose`` is the full applied pose, the mean pose included (``flat_hand_mean=True``).

    Example:
        >>> from wildhands_ros import Camera, Estimator, load_image
        >>> image = load_image("photo.jpg")
        >>> mano = Estimator()(image, Camera.for_image(image)).hands[0].mano
        >>> mano.transl.shape, mano.global_orient.shape, mano.hand_pose.shape, mano.betas.shape
        ((3,), (3,), (45,), (10,))
    """

    transl: np.ndarray
    """(3,) metres."""
    global_orient: np.ndarray
    """(3,)"""
    hand_pose: np.ndarray
    """(45,) in MANO joint order."""
    betas: np.ndarray
    """(10,)"""


@dataclass(frozen=True)
class Landmarks:
    """What a landmark network says of one place in an image."""

    keypoints: np.ndarray
    """(21, 2) pixels, MediaPipe order."""
    world: np.ndarray
    """(21, 3) as in ``Detection``."""
    presence: float
    """Confidence in [0, 1] that there is a hand."""
    is_right: float
    """Confidence in [0, 1] that it is a right one."""


@dataclass(frozen=True)
class NetworkPrediction:
    """What the WildHands network says of one hand."""

    side: Side
    """As which it was decoded."""
    mano: ManoParameters
    """In the camera's frame."""
    grasp_probabilities: np.ndarray | None
    """(9,) float32 in the order of ``Grasp``; None where the network has no grasp head."""
    landmarks: Landmarks | None
    """None where the network has no landmark head."""


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
    """Confidence in [0, 1] that this is a hand; NaN where the detector gives none."""
    side_score: float = float("nan")
    """Confidence in [0, 1] that ``side`` is right; NaN where the detector gives none."""
    keypoints: np.ndarray | None = None
    """(21, 2) pixels, MediaPipe order."""
    keypoint_weights: np.ndarray | None = None
    """(21,) in [0, 1]; 0 takes a keypoint out of the fit. None means all ones."""
    world: np.ndarray | None = None
    """(21, 3) metres, root-relative joints, axes (right, down, forward) as seen along the ray to the box's centre."""
    prediction: NetworkPrediction | None = None
    """Where the network that found the keypoints said more of the hand in the same pass."""
    box_is_own: bool = True
    """False where the box was drawn around the keypoints, as by ``geometry.boxes.hand_box``."""

    @property
    def known_keypoints(self) -> np.ndarray | None:
        """(21, 2) pixels, NaN where a keypoint is not known; None without keypoints."""
        if self.keypoints is None or self.keypoint_weights is None:
            return self.keypoints
        return np.where(self.keypoint_weights[:, None] > 0, self.keypoints, np.nan)


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
    """The detection's, which falls when the hand is hidden, times the part of the joints that lie in the image; NaN where unknown."""
    side_score: float
    box: np.ndarray
    """(4,) pixels of the source image."""
    joints: np.ndarray
    """(21, 3)"""
    joints_2d: np.ndarray
    """(21, 2) projection of ``joints`` into the source image."""
    vertices: np.ndarray
    """(V, 3)"""
    wrist_position: np.ndarray
    """(3,) root joint of the hand model."""
    wrist_rotation: np.ndarray
    """(3, 3) rotation of the hand model's rest frame into the camera frame."""
    mano: ManoParameters
    source: EstimateSource
    joints_stddev: np.ndarray | None = None
    """(21, 3) standard deviation of each coordinate; None where no stage knows it."""
    wrist_covariance: np.ndarray | None = None
    """(6, 6) x, y, z and rotation about the camera's fixed x, y, z axes (geometry_msgs/PoseWithCovariance); None where unknown."""
    reprojection_error: float = float("nan")
    """Mean distance of ``joints_2d`` to the detector's keypoints as a fraction of the box's longer side; NaN without keypoints."""
    keypoints: np.ndarray | None = None
    """(21, 2) the detector's keypoints."""
    grasp_probabilities: np.ndarray | None = None
    """(9,) in the order of ``Grasp``; None where the model has no grasp head."""
    track_id: str = ""


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
    """Detections of which no estimate was made: doubtful, too many, without keypoints, or not explained by any hand."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Time spent in each stage."""
