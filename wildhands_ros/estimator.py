"""Estimates the 3D hands of an image: find, track, predict, fit, smooth, pose."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from .config import AUTO, NONE, OPEN, TOPIC, TRACKS, EstimatorConfig, SmoothingConfig
from .detection.finder import HandFinder
from .detection.known_hands import known_hand
from .detection.landmarks import hand_turn
from .detection.network_landmarks import NetworkLandmarks
from .fitting.depth_fit import DepthFit
from .fitting.detection_fit import SURE_SIDE, possible_sides, reprojection_error
from .fitting.hand_length import HandLengths, exact_lengths
from .fitting.keypoint_fit import FitResult
from .fitting.stream_fit import DetectedHand, StreamFit
from .fitting.uncertainty import calibrated
from .geometry.boxes import rotated_square
from .geometry.camera import Camera, in_image
from .geometry.depth_image import DepthImage
from .geometry.object_contact import object_contact_probability
from .geometry.pose import Pose
from .hand_model.asset import HandAsset, open_hands
from .hand_model.mano_files import load_hands
from .hand_model.placement import HandPlacement
from .hand_model.posing import HandPoser, PosedJoints
from .network.network_file import DEFAULT_NAME, NetworkFile, open_network
from .runtime.memory import release_unused_memory
from .runtime.predictor import Predictor
from .runtime.threads import one_blas_thread
from .smoothing.hands import ParameterSmoother, TrackedHand
from .tracking.tracks import HandTracks, Track
from .types import (
    DepthStatus,
    Detection,
    EstimateSource,
    FrameEstimate,
    HandEstimate,
    Landmarks,
    ManoParameters,
    NetworkPrediction,
    Side,
)

STAGES = ("find", "track", "predict", "fit", "smooth", "pose")
"""Stages of an estimate, in this order; see ``Estimator``."""

_LONGEST_GAP = 2.0
"""Seconds between two images after which hands are no longer expected where they were. Their tracks end sooner. If this
did too, a machine that falls behind would search every image anew, which takes longest, and never catch up."""

PoseLookup = Callable[[], Pose | None]
"""Returns the pose of the camera in a fixed frame; None if it is unknown."""

DepthLookup = Callable[[], DepthImage | DepthStatus]
"""Returns the depth image of the moment of the colour image, or why there is none."""


@dataclass
class _Hand:
    """One hand on its way through the stages, each of which adds its part."""

    detection: Detection
    track: Track | None = None
    """None for a hand of a single image."""
    predictions: dict[Side, NetworkPrediction] = field(default_factory=dict)
    """Output of the network for each side that the hand may be of."""
    fit: FitResult | None = None
    """None if there was nothing to fit, or if no hand explains the keypoints."""
    depth: DepthStatus = DepthStatus.NONE

    def side(self, refine: bool) -> Side | None:
        """Returns the side as which the hand is estimated; None if there is no estimate."""
        if self.fit is not None:
            return self.fit.side
        if refine and self.detection.keypoints is not None:
            return None
        side = self.detection.side or _side_of(self.predictions)
        return side if side in self.predictions else None


@dataclass
class _Estimated:
    """A hand of which there is an estimate, in the stages from fit to pose."""

    found: _Hand
    side: Side
    mano: ManoParameters
    """Parameters of this image alone, without smoothing."""
    smoothed: ManoParameters


class Estimator:
    """Estimates the 3D hands of images. Not thread-safe.

    Each image passes six stages, whose times are in ``FrameEstimate.seconds``:

    - find: detects hands, follows those of the last image, and finds their keypoints.
    - track: assigns the hands to tracks and combines the evidence for their sides.
    - predict: runs the network. One forward pass gives presence, keypoints and the 3D hand, so most passes already
      happen while hands are found; their time counts here and not as "find".
    - fit: fits the hand model to the keypoints, and to the depth image if there is one.
    - smooth: smooths the parameters over time (``EstimatorConfig.smoothing``).
    - pose: computes joints and everything else that follows from the parameters. The mesh is computed when
      ``HandEstimate.vertices`` is first accessed.

    Estimators limit NumPy's BLAS to one thread in this process.

    Args:
        config: Options; the defaults if None.

    Raises:
        ValueError: A checkpoint, hand model or option cannot be used; the message says what to do.
        ImportError: A package that the detector needs is not installed.

    Example:
        >>> from wildhands_ros import Camera, Estimator, load_image
        >>> image = load_image("photo.jpg")
        >>> frame = Estimator()(image, Camera.for_image(image, fov_degrees=70))
        >>> [hand.wrist_position.shape for hand in frame.hands]  # metres, camera frame
        [(3,), (3,)]
    """

    def __init__(self, config: EstimatorConfig | None = None):
        one_blas_thread()
        self._config = config = config or EstimatorConfig()
        loaded = _checkpoint(config)
        self.hand_model = _hand_model(config.hand_model, loaded)
        """Hand model of each side, to which parameters and meshes belong."""
        self._poser = HandPoser(self.hand_model)
        self._placement = HandPlacement(self.hand_model)
        self._predictor = _predictor(config, loaded, self.hand_model) if loaded else None
        if self._predictor is not None and self._predictor.has_landmarks:
            self._landmark_predictor = self._predictor
        else:
            self._landmark_predictor = _predictor(
                replace(config, precision=AUTO), open_network(DEFAULT_NAME), open_hands()
            )
        self._infer = NetworkLandmarks(
            self._landmark_predictor, keep_predictions=self._landmark_predictor is self._predictor
        )
        # A network that needs upright crops cannot use a box alone.
        keep_bare_boxes = self._predictor is not None and not self._predictor.wants_upright
        self._finder = HandFinder(config, self._infer_landmarks, keep_bare_boxes)
        self._tracks = HandTracks()
        self._fit = StreamFit(self.hand_model, HandLengths(exact_lengths(config.hand_length)))
        self._hand_length = config.hand_length
        self._depth_fit = DepthFit(self.hand_model)
        self._smoothing: SmoothingConfig | None = None
        self._smoother: ParameterSmoother | None = None
        self.smoothing = config.smoothing
        self._timer = _StageTimer()
        self._known: list[Detection] = []
        self._last_image: tuple[float, int, int] | None = None

    @property
    def faces(self) -> dict[Side, np.ndarray]:
        """(F, 3) int32 triangles of each side's mesh, counter-clockwise seen from outside."""
        return {side: asset.faces for side, asset in self.hand_model.items()}

    @property
    def device(self) -> str:
        """Where the network runs, as text; "none" without a network."""
        return self._predictor.device if self._predictor else "none"

    @property
    def smoothing(self) -> SmoothingConfig | None:
        """How much hands are smoothed over time; None for no smoothing. It can be set between two images."""
        return self._smoothing

    @smoothing.setter
    def smoothing(self, config: SmoothingConfig | None) -> None:
        if config == self._smoothing:
            return
        self._smoothing = config
        self._smoother = ParameterSmoother(self.hand_model, config) if config is not None else None

    @property
    def hand_lengths(self) -> HandLengths:
        """Lengths of the hands: given, or learned from depth images of a stream. They survive ``reset``."""
        return self._fit.lengths

    @property
    def hand_length(self) -> float:
        """Given length of both hands in metres, 0 to learn it. It can be set between two images."""
        return self._hand_length

    @hand_length.setter
    def hand_length(self, metres: float) -> None:
        if metres != self._hand_length:
            self._hand_length = metres
            self.hand_lengths.give(exact_lengths(metres))

    def warm_up(self) -> None:
        """Runs everything once, so that the first image takes no longer than the others."""
        for predictor in filter(None, {self._predictor, self._landmark_predictor}):
            predictor.warm_up()
        if self._config.detector not in (TOPIC, TRACKS):
            # The most common shape, for which the detector is then compiled.
            self(np.zeros((360, 640, 3), np.uint8), Camera.guess(640, 360), stamp=0.0)
            self.reset()
        release_unused_memory()

    def reset(self) -> None:
        """Forgets earlier images, as at the start of a new stream."""
        self._tracks.reset()
        self._known, self._last_image = [], None
        if self._smoother is not None:
            self._smoother.reset()
        self._finder.reset()

    def close(self) -> None:
        """Frees the detectors and the network, also on its device. The estimator cannot be used afterwards."""
        on_gpu = self._landmark_predictor.device.startswith("cuda")
        try:
            self._finder.close()  # may fail after an error
        finally:
            # The finder refers to the landmark network too.
            del self._finder, self._infer, self._predictor, self._landmark_predictor
            if on_gpu:
                import torch

                gc.collect()
                torch.cuda.empty_cache()

    def __call__(
        self,
        image_rgb: np.ndarray,
        camera: Camera,
        stamp: float | None = None,
        detections: Sequence[Detection] | None = None,
        camera_pose: PoseLookup | None = None,
        depth: DepthImage | DepthLookup | None = None,
    ) -> FrameEstimate:
        """Estimates the hands of one image.

        Args:
            image_rgb: (H, W, 3) uint8.
            camera: Camera of exactly this image, including its lens.
            stamp: Time of the image in seconds. Times increase within a stream, whose images then support one another;
                None for a single image.
            detections: External detections; None to use the configured detector. Those without keypoints get them from
                the landmark network.
            camera_pose: Returns the pose of the camera in a fixed frame, in which hands are then smoothed; without it,
                or if it returns None, they are smoothed in the camera frame. It is called only if there are hands, and
                as late as possible.
            depth: Depth image of the same moment, aligned or not; or a function that returns it, which is called only
                if there are hands, and as late as possible. Each hand says whether it was used
                (``HandEstimate.depth``).

        Raises:
            ValueError: The image is not (H, W, 3) uint8 or does not have the size of the camera, or the detector is
                "topic" and there are no detections.
        """
        self._timer = _StageTimer()
        with self._timer.stage("find"):
            hands, candidates = self._find(image_rgb, camera, stamp, detections)
        with self._timer.stage("track"):
            self._track(hands, stamp)
        with self._timer.stage("predict"):
            self._predict(hands, image_rgb, camera)
        with self._timer.stage("fit"):
            self._fit_hands(hands, camera, stamp)
            depth_image = self._refine_with_depth(hands, depth, stamp)
            estimated = self._estimated(hands)
        with self._timer.stage("smooth"):
            self._smooth(estimated, stamp, camera_pose)
        with self._timer.stage("pose"):
            estimates = self._pose(estimated, camera, stamp)
            if depth_image is not None:
                estimates = _with_object_contact(estimates, depth_image)
        return FrameEstimate(estimates, camera, max(candidates - len(estimates), 0), self._timer.seconds, self.faces)

    def find(self, image_rgb: np.ndarray, camera: Camera) -> list[Detection]:
        """Finds the hands of a single image without estimating them; arguments and errors are those of ``__call__``."""
        self._timer = _StageTimer()
        return [hand.detection for hand in self._find(image_rgb, camera, None, None)[0]]

    def _find(
        self, image_rgb: np.ndarray, camera: Camera, stamp: float | None, detections: Sequence[Detection] | None
    ) -> tuple[list[_Hand], int]:
        """Returns the hands, and how many detections they were chosen from."""
        _check_image(image_rgb, camera)
        if stamp is not None:
            self._reset_if_new_stream(camera, stamp)
        known = self._known if stamp is not None else ()
        found = self._finder.find(image_rgb, camera, known, stamp is not None, detections)
        return [_Hand(detection) for detection in found.hands], found.candidates

    def _infer_landmarks(
        self, image_rgb: np.ndarray, camera: Camera, boxes: np.ndarray, turns: np.ndarray
    ) -> list[Detection | None]:
        """Runs the landmark network while hands are found; see ``LandmarkInference``."""
        with self._timer.stage("predict"):
            return self._infer(image_rgb, camera, boxes, turns)

    def _reset_if_new_stream(self, camera: Camera, stamp: float) -> None:
        """Resets if the size changed, time runs backwards, or there was a long gap: earlier images do not help then."""
        if self._last_image is not None:
            last_stamp, *last_size = self._last_image
            if last_size != [camera.width, camera.height] or not 0 <= stamp - last_stamp <= _LONGEST_GAP:
                self.reset()

    def _track(self, hands: list[_Hand], stamp: float | None) -> None:
        """Assigns the hands of a stream to tracks, and takes over their scores and the sides that they have gathered
        evidence for."""
        if stamp is None:
            return
        tracks = self._tracks.update([hand.detection for hand in hands], stamp)
        for hand, track in zip(hands, tracks, strict=True):
            hand.track = track
            hand.detection = replace(hand.detection, score=track.score)
            if track.side is not None:
                hand.detection = replace(hand.detection, side=track.side, side_score=track.side_score)

    def _predict(self, hands: list[_Hand], image_rgb: np.ndarray, camera: Camera) -> None:
        """Adds the predictions for each possible side that was not predicted while the hands were found."""
        for hand in hands:
            if hand.detection.prediction is not None:
                hand.predictions[hand.detection.prediction.side] = hand.detection.prediction
        if self._predictor is None:
            return
        wanted, boxes, turns = [], [], []
        for hand in hands:
            box, turn = _crop(hand.detection, self._predictor.wants_upright)
            for side in possible_sides(hand.detection):
                if np.isfinite(turn) and side not in hand.predictions:
                    wanted.append((hand, side))
                    boxes.append(box)
                    turns.append(turn)
        if not wanted:
            return
        results = self._predictor.predict(
            image_rgb,
            camera,
            np.stack(boxes),
            [side for _, side in wanted],
            np.array(turns) if self._predictor.wants_upright else None,
        )
        for (hand, side), prediction in zip(wanted, results, strict=True):
            if prediction is not None:
                hand.predictions[side] = prediction

    def _fit_hands(self, hands: list[_Hand], camera: Camera, stamp: float | None) -> None:
        """Fits the hands with keypoints, unless predictions are reported unchanged."""
        wanted = [
            hand
            for hand in hands
            if hand.detection.keypoints is not None and (self._config.refine or not hand.predictions)
        ]
        detected = [
            DetectedHand(
                hand.detection,
                hand.track,
                {side: prediction.mano for side, prediction in hand.predictions.items()},
            )
            for hand in wanted
        ]
        for hand, fitted in zip(wanted, self._fit.fit(detected, camera, stamp), strict=True):
            hand.fit = fitted
            if fitted is not None and hand.track is not None and len(possible_sides(hand.detection)) > 1:
                hand.track.confirm_side(fitted.side)

    def _refine_with_depth(
        self, hands: list[_Hand], depth: DepthImage | DepthLookup | None, stamp: float | None
    ) -> DepthImage | None:
        """Refines the fits with the depth image; each hand that it does not help keeps the fit to its keypoints.

        Returns:
            The depth image, if there are hands and it can be used.
        """
        if not hands:
            return None
        found = depth() if callable(depth) else depth or DepthStatus.NONE
        for hand in hands:
            if isinstance(found, DepthStatus):
                hand.depth = found
            elif hand.fit is None:
                hand.depth = DepthStatus.UNSUPPORTED
            else:
                hand.fit, hand.depth = self._depth_fit.refine(hand.fit, found)
                if hand.track is not None and hand.depth is DepthStatus.USED:
                    self._fit.correct(hand.track, hand.fit)
                    if hand.fit.length is not None and hand.detection.side_score >= SURE_SIDE:
                        self.hand_lengths.add(hand.fit.side, hand.fit.length, stamp)
            if hand.fit is not None and hand.depth is not DepthStatus.USED:
                hand.fit = calibrated(hand.fit)
        return found if isinstance(found, DepthImage) else None

    def _estimated(self, hands: list[_Hand]) -> list[_Estimated]:
        """Returns the hands with an estimate."""
        estimated = []
        for hand in hands:
            side = hand.side(self._config.refine)
            if side is not None:
                mano = hand.fit.mano if hand.fit is not None else hand.predictions[side].mano
                estimated.append(_Estimated(hand, side, mano, mano))
        return estimated

    def _smooth(self, hands: list[_Estimated], stamp: float | None, camera_pose: PoseLookup | None) -> None:
        """Smooths the parameters of the hands of a stream."""
        if self._smoother is None or stamp is None:
            return
        tracked = [
            TrackedHand(hand.found.track.id, hand.side, hand.mano) for hand in hands if hand.found.track is not None
        ]
        pose = camera_pose() if camera_pose is not None and tracked else None
        for hand, smoothed in zip(hands, self._smoother(tracked, stamp, pose), strict=True):
            hand.smoothed = smoothed

    def _pose(self, hands: list[_Estimated], camera: Camera, stamp: float | None) -> tuple[HandEstimate, ...]:
        """Computes joints and everything else that is reported, and remembers the hands for the next image."""
        known, estimates = [], []
        for hand in hands:
            posed = self._poser.joints(hand.mano, hand.side)
            joints_2d = camera.project(posed.joints)
            detection = hand.found.detection
            score = detection.score * float(in_image(joints_2d, camera.width, camera.height).mean())
            # The unsmoothed hand, because the smoothed one lags.
            known.append(known_hand(joints_2d, hand.side, score, detection.side_score, camera))
            if hand.smoothed is not hand.mano:
                posed = self._poser.joints(hand.smoothed, hand.side)
                joints_2d = camera.project(posed.joints)
            estimates.append(self._estimate(hand, score, posed, joints_2d))
        if stamp is not None:
            self._known = [hand for hand in known if hand is not None]
            self._last_image = stamp, camera.width, camera.height
        return tuple(estimates)

    def _estimate(self, estimated: _Estimated, score: float, posed: PosedJoints, joints_2d: np.ndarray) -> HandEstimate:
        hand, side = estimated.found, estimated.side
        detection, fit, prediction = hand.detection, hand.fit, hand.predictions.get(side)
        grasp_probabilities = prediction.grasp_probabilities if prediction is not None else None
        if hand.track is not None:
            grasp_probabilities = hand.track.add_grasp(grasp_probabilities)
        if fit is None:
            source = EstimateSource.NETWORK
        else:
            source = EstimateSource.KEYPOINT_FIT if prediction is None else EstimateSource.NETWORK_AND_FIT
        return HandEstimate(
            side=side,
            score=score,
            side_score=detection.side_score,
            box=detection.box,
            joints=posed.joints,
            joints_2d=joints_2d,
            wrist_position=posed.joints[0],
            wrist_rotation=posed.rotation,
            mano=estimated.smoothed,
            pose_mesh=self._poser.vertices,
            source=source,
            joints_stddev=fit.joints_stddev if fit is not None else None,
            wrist_covariance=fit.wrist_covariance if fit is not None else None,
            reprojection_error=reprojection_error(joints_2d, detection),
            network_distance=self._network_distance(prediction),
            keypoints=detection.known_keypoints,
            seen=prediction.seen if prediction is not None else None,
            grasp_probabilities=grasp_probabilities,
            track_id=hand.track.id if hand.track is not None else "",
            depth=hand.depth,
            hand_length=self.hand_lengths.get(side),
        )

    def _network_distance(self, prediction: NetworkPrediction | None) -> float:
        if prediction is None:
            return float("nan")
        return float(np.linalg.norm(self._placement.wrist(prediction.mano, prediction.side)))


class _StageTimer:
    """Measures the time spent in each stage of one image. The time of a nested stage counts for that stage alone."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self._nested = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the time of a block to a stage."""
        start, outer, self._nested = time.perf_counter(), self._nested, 0.0
        try:
            yield
        finally:
            elapsed = time.perf_counter() - start
            self.seconds[name] += elapsed - self._nested
            self._nested = outer + elapsed


def _with_object_contact(hands: tuple[HandEstimate, ...], depth: DepthImage) -> tuple[HandEstimate, ...]:
    """Adds the contact with objects to the hands that use the depth image."""
    found = []
    for number, hand in enumerate(hands):
        if hand.depth is DepthStatus.USED:
            others = [other.joints for i, other in enumerate(hands) if i != number]
            hand = replace(hand, object_contact=object_contact_probability(hand.joints, others, depth))
        found.append(hand)
    return tuple(found)


def _check_image(image_rgb: np.ndarray, camera: Camera) -> None:
    """Raises ValueError unless this is an RGB image with the size of its camera."""
    if image_rgb.dtype != np.uint8 or image_rgb.ndim != 3 or image_rgb.shape[2] != 3:
        raise ValueError(f"expected an RGB image (H, W, 3) of uint8, got {image_rgb.dtype} of shape {image_rgb.shape}")
    if image_rgb.shape[:2] != (camera.height, camera.width):
        raise ValueError(
            f"the image is {image_rgb.shape[1]}x{image_rgb.shape[0]}, but its camera {camera.width}x{camera.height}"
        )


def _crop(detection: Detection, upright: bool) -> tuple[np.ndarray, float]:
    """Returns box and rotation of the network's crop; NaN if it must be upright and the keypoints do not tell how."""
    keypoints = detection.known_keypoints
    if upright:
        turn = hand_turn(keypoints) if keypoints is not None else np.nan
        if keypoints is None or not np.isfinite(turn):
            return detection.box, np.nan
        return rotated_square(keypoints, turn), turn
    if keypoints is None or not detection.box_from_keypoints:
        return detection.box, 0.0
    # Networks that take their crops from boxes were trained with the keypoints' box, without the flesh around it.
    return np.concatenate([np.nanmin(keypoints, axis=0), np.nanmax(keypoints, axis=0)]), 0.0


def _side_of(predictions: dict[Side, NetworkPrediction]) -> Side | None:
    """Returns the side according to the network."""
    landmarks: Landmarks | None = next((found.landmarks for found in predictions.values()), None)
    if landmarks is None:
        return None
    return Side.RIGHT if landmarks.is_right > 0.5 else Side.LEFT


def _checkpoint(config: EstimatorConfig) -> NetworkFile | None:
    name = checkpoint_name(config)
    return open_network(name) if name != NONE else None


def checkpoint_name(config: EstimatorConfig) -> str:
    """Returns ``config.checkpoint``, or what "auto" stands for.

    Raises:
        ValueError: The checkpoint does not fit the hand model.
    """
    if config.checkpoint == AUTO:
        # The default weights predict the open hand's parameters, which mean something else in MANO. With MANO, hands
        # are only fitted to keypoints.
        return DEFAULT_NAME if config.hand_model in (AUTO, OPEN) else NONE
    if config.checkpoint == DEFAULT_NAME and config.hand_model not in (AUTO, OPEN):
        raise ValueError(
            "the default weights predict the open hand's parameters: "
            "with MANO's files use checkpoint auto, none or released"
        )
    return config.checkpoint


def _predictor(config: EstimatorConfig, loaded: NetworkFile, assets: dict[Side, HandAsset]) -> Predictor:
    return Predictor(loaded, loaded.config.preprocessing, assets, config.device, config.runtime, config.precision)


def hand_model(config: EstimatorConfig) -> dict[Side, HandAsset]:
    """Returns ``Estimator.hand_model`` without creating an estimator. Raises the same errors."""
    return _hand_model(config.hand_model, _checkpoint(config))


def _hand_model(name: str, loaded: NetworkFile | None) -> dict[Side, HandAsset]:
    own = loaded.hand_model if loaded is not None else None
    if name == AUTO:
        return own or open_hands()
    if name == OPEN and own is not None:
        raise ValueError("the checkpoint has its own hand model: set hand_model to auto instead of open")
    return load_hands(name)
