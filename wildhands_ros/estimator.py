"""The one place where the stages meet: a frame with its camera in, the hands out. The node, the CLI and the benchmarks all call it."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch

from .config import AUTO, NONE, OPEN, TOPIC, TRACKS, EstimatorConfig
from .detection.finder import HandFinder
from .detection.landmarks import hand_turn
from .detection.network_landmarks import NetworkLandmarks
from .fitting.detection_fit import possible_sides, reprojection_error
from .fitting.keypoint_fit import FitResult
from .fitting.stream_fit import StreamFit
from .geometry.boxes import rotated_square
from .geometry.camera import Camera, in_image
from .hand_model.asset import HandAsset, open_hands
from .hand_model.mano_files import load_mano
from .hand_model.posing import HandPoser
from .network.checkpoint import DEFAULT_NAME, LoadedModel, load_model
from .runtime.predictor import Predictor
from .runtime.threads import one_blas_thread, one_torch_thread
from .tracking.tracks import MAX_GAP, HandTracks, Track
from .types import Detection, EstimateSource, FrameEstimate, HandEstimate, NetworkPrediction, Side

Predictions = dict[Side, NetworkPrediction]
"""What the network says of one hand, as each side that it may be."""


class Estimator:
    """Estimates the hands of images, one after another. Not for use from two threads at once.

    Example:
        >>> from wildhands_ros import Camera, Estimator, load_image
        >>> image = load_image("photo.jpg")
        >>> frame = Estimator()(image, Camera.for_image(image, fov_degrees=70))
        >>> for hand in frame.hands:
        ...     print(hand.side.value, hand.wrist_position.shape)
        left (3,)
        right (3,)

    It leaves numpy's BLAS one thread in this process.

    :raises ValueError: a checkpoint, hand model or choice that cannot be used; the message says what to do.
    :raises ImportError: a package that the detector needs is missing.
    """

    @one_torch_thread()
    def __init__(self, config: EstimatorConfig | None = None):
        one_blas_thread()
        self._config = config = config or EstimatorConfig()
        loaded = _checkpoint(config)
        self.hand_model = _hand_model(config.hand_model, loaded)
        """The hand of each side whose vertices, parameters and faces come out."""
        self._poser = HandPoser(self.hand_model)
        self._predictor = _predictor(config, loaded, self.hand_model) if loaded else None
        own_landmarks = self._predictor is not None and self._predictor.has_landmarks
        self._looking = self._predictor
        if not own_landmarks:
            # It looks with the default weights.
            self._looking = _predictor(replace(config, precision=AUTO), load_model(DEFAULT_NAME), open_hands())
        look = NetworkLandmarks(self._looking, keep_predictions=own_landmarks)
        self._finder = HandFinder(
            config.detector, config.max_hands, config.min_score, look, config.search_time, config.search_windows
        )
        self._fit = StreamFit(self.hand_model, config.hand_length or None)
        self._tracks = HandTracks()
        self._last_frame: FrameEstimate | None = None
        self._last_stamp = 0.0

    @property
    def faces(self) -> dict[Side, np.ndarray]:
        """(F, 3) int32 triangles of each side's mesh, counter-clockwise seen from outside."""
        return {side: asset.faces for side, asset in self.hand_model.items()}

    @property
    def device(self) -> str:
        """Where the network runs, for people; "none" without a network."""
        return self._predictor.device if self._predictor else "none"

    def warm_up(self) -> None:
        """Runs everything once, so that the first image takes no longer than the others."""
        for predictor in filter(None, {self._predictor, self._looking}):
            predictor.warm_up()
        if self._config.detector not in (TOPIC, TRACKS):
            # Of the usual shape, for which the detector is then ready.
            self(np.zeros((360, 640, 3), np.uint8), Camera.guess(640, 360), stamp=0.0)
            self.reset()

    def reset(self) -> None:
        """Forgets earlier frames, as at the start of a new stream."""
        self._tracks.reset()
        self._last_frame = None
        self._finder.reset()

    def close(self) -> None:
        """Frees the detectors and the network, on its device too; the estimator cannot be used afterwards."""
        on_gpu = self._looking.device.startswith("cuda")
        finder = self._finder
        # The finder looks with a predictor, too.
        self._predictor = self._looking = self._finder = self._last_frame = None
        try:
            finder.close()  # may fail after an error
        finally:
            del finder
            if on_gpu:
                gc.collect()
                torch.cuda.empty_cache()

    def __call__(
        self,
        image_rgb: np.ndarray,
        camera: Camera,
        stamp: float | None = None,
        detections: Sequence[Detection] | None = None,
    ) -> FrameEstimate:
        """The hands of one image.

        Args:
            image_rgb: (H, W, 3) uint8.
            camera: of exactly this image, lens included.
            stamp: seconds, rising within a stream, whose frames then support one another; None for a picture on its own.
            detections: the hands to estimate, from elsewhere; None to look for them with the configured detector. Those without keypoints
                get them from the landmark network.

        :raises ValueError: the image is not (H, W, 3) uint8, or not of the camera's size; no detections where the detector is ``topic``.
        """
        seconds: dict[str, float] = {}
        with _timed(seconds, "detect"):
            detections, candidates = self._find(image_rgb, camera, stamp, detections)
            tracks = [None] * len(detections) if stamp is None else self._tracks.update(detections, stamp)
            detections = [_of_track(detection, track) for detection, track in zip(detections, tracks, strict=True)]
        with _timed(seconds, "network"):
            predictions = self._predict(image_rgb, camera, detections)
        with _timed(seconds, "fit"):
            fits = [self._fit_hand(*each, camera, stamp) for each in zip(detections, tracks, predictions, strict=True)]
        with _timed(seconds, "mesh"):
            hands = self._hands(detections, tracks, predictions, fits, camera)
        frame = FrameEstimate(hands, camera, max(candidates - len(hands), 0), seconds)
        if stamp is not None:
            self._last_frame = frame
        return frame

    def find(self, image_rgb: np.ndarray, camera: Camera) -> list[Detection]:
        """The hands of a picture on its own, found but not estimated; arguments and errors as in ``__call__``."""
        return self._find(image_rgb, camera, None, None)[0]

    def _find(
        self, image_rgb: np.ndarray, camera: Camera, stamp: float | None, detections: Sequence[Detection] | None
    ) -> tuple[list[Detection], int]:
        """Detections, and how many there were before the doubtful were dropped."""
        if image_rgb.dtype != np.uint8 or image_rgb.ndim != 3 or image_rgb.shape[2] != 3:
            raise ValueError(
                f"expected an RGB image (H, W, 3) of uint8, got {image_rgb.dtype} of shape {image_rgb.shape}"
            )
        if image_rgb.shape[:2] != (camera.height, camera.width):
            raise ValueError(
                f"the image is {image_rgb.shape[1]}x{image_rgb.shape[0]}, but its camera {camera.width}x{camera.height}"
            )
        if stamp is not None:
            self._reset_if_new_stream(camera, stamp)
        last_frame = self._last_frame if stamp is not None else None
        if detections is None:
            detections = self._finder.detect(image_rgb, camera, last_frame, is_stream=stamp is not None)
        # A network that wants its crops upright can make nothing of a box alone.
        keep_bare_boxes = self._predictor is not None and not self._predictor.wants_upright
        return self._finder.complete(detections, image_rgb, camera, last_frame, keep_bare_boxes), len(detections)

    def _reset_if_new_stream(self, camera: Camera, stamp: float) -> None:
        """Another size, time that runs back, or a long gap: what was known says nothing of this image."""
        if self._last_frame is not None:
            last = self._last_frame.camera
            same_size = (last.width, last.height) == (camera.width, camera.height)
            if not same_size or not 0 <= stamp - self._last_stamp <= MAX_GAP:
                self.reset()
        self._last_stamp = stamp

    def _predict(self, image_rgb: np.ndarray, camera: Camera, detections: list[Detection]) -> list[Predictions]:
        """Of each detection; empty without a network, or where the detection lacks what the network needs."""
        found: list[Predictions] = [
            {d.prediction.side: d.prediction} if d.prediction is not None else {} for d in detections
        ]
        if self._predictor is None:
            return found
        if self._predictor.wants_upright:
            keypoints = [d.known_keypoints for d in detections]
            turns = np.array([hand_turn(points) for points in keypoints])
            usable = np.flatnonzero(np.isfinite(turns)).tolist()
            boxes = [rotated_square(keypoints[i], turns[i]) if i in usable else d.box for i, d in enumerate(detections)]
        else:
            turns, usable = None, range(len(detections))
            boxes = [d.box if d.box_is_own else _box_of_keypoints(d) for d in detections]
        missing = [(i, side) for i in usable for side in possible_sides(detections[i]) if side not in found[i]]
        if missing:
            rows = [i for i, _ in missing]
            results = self._predictor.predict(
                image_rgb,
                camera,
                np.stack(boxes)[rows],
                [side for _, side in missing],
                None if turns is None else turns[rows],
            )
            for (i, side), prediction in zip(missing, results, strict=True):
                if prediction is not None:
                    found[i][side] = prediction
        return found

    def _fit_hand(
        self, detection: Detection, track: Track | None, predictions: Predictions, camera: Camera, stamp: float | None
    ) -> FitResult | None:
        """The fit to the detection's keypoints; None where there are none, or where the network's estimate is to stand as it is."""
        if detection.keypoints is None or (predictions and not self._config.refine):
            return None
        fitted = self._fit.fit(
            detection, camera, track, stamp, {side: found.mano for side, found in predictions.items()}
        )
        if fitted is not None and track is not None and len(possible_sides(detection)) > 1:
            self._tracks.confirm_side(track, fitted.side)
        return fitted

    def _side(self, detection: Detection, predictions: Predictions, fitted: FitResult | None) -> Side | None:
        """The side as which there is an estimate of a detection; None where there is none, or where no hand explains the keypoints."""
        if fitted is not None:
            return fitted.side
        if self._config.refine and detection.keypoints is not None:
            return None
        side = detection.side or _side_of(predictions)
        return side if side in predictions else None

    def _hands(
        self,
        detections: list[Detection],
        tracks: list[Track | None],
        predictions: list[Predictions],
        fits: list[FitResult | None],
        camera: Camera,
    ) -> tuple[HandEstimate, ...]:
        sides = [self._side(*each) for each in zip(detections, predictions, fits, strict=True)]
        sources = [i for i, side in enumerate(sides) if side is not None]
        if not sources:
            return ()
        sides = [sides[i] for i in sources]
        manos = [
            fits[i].mano if fits[i] is not None else predictions[i][side].mano
            for i, side in zip(sources, sides, strict=True)
        ]
        posed = [self._poser(mano, side) for mano, side in zip(manos, sides, strict=True)]
        pixels = camera.project(np.stack([hand.joints for hand in posed]))
        seen = in_image(pixels, camera.width, camera.height).mean(axis=-1).tolist()
        hands = []
        for i, side, mano, (vertices, joints, rotation), joints_2d, part_seen in zip(
            sources, sides, manos, posed, pixels, seen, strict=True
        ):
            detection, track, prediction, fitted = detections[i], tracks[i], predictions[i].get(side), fits[i]
            if fitted is None:
                source = EstimateSource.NETWORK
            else:
                source = EstimateSource.KEYPOINT_FIT if prediction is None else EstimateSource.NETWORK_AND_FIT
            hands.append(
                HandEstimate(
                    side=side,
                    score=detection.score * part_seen,
                    side_score=detection.side_score,
                    box=detection.box,
                    joints=joints,
                    joints_2d=joints_2d,
                    vertices=vertices,
                    wrist_position=joints[0],
                    wrist_rotation=rotation,
                    mano=mano,
                    source=source,
                    joints_stddev=fitted.joints_stddev if fitted is not None else None,
                    wrist_covariance=fitted.wrist_covariance if fitted is not None else None,
                    reprojection_error=reprojection_error(joints_2d, detection),
                    keypoints=detection.keypoints,
                    grasp_probabilities=prediction.grasp_probabilities if prediction is not None else None,
                    track_id=track.id if track is not None else "",
                )
            )
        return tuple(hands)


def _side_of(predictions: Predictions) -> Side | None:
    """What the network itself says of the side."""
    landmarks = next((found.landmarks for found in predictions.values()), None)
    if landmarks is None:
        return None
    return Side.RIGHT if landmarks.is_right > 0.5 else Side.LEFT


def _checkpoint(config: EstimatorConfig) -> LoadedModel | None:
    name = checkpoint_name(config)
    return load_model(name) if name != NONE else None


def checkpoint_name(config: EstimatorConfig) -> str:
    """``config.checkpoint``, or what auto stands for. Raises ValueError where it does not fit the hand model."""
    if config.checkpoint == AUTO:
        # The default weights are of the open hand: to MANO, whose parameters mean other things, keypoints are fitted alone.
        return DEFAULT_NAME if config.hand_model in (AUTO, OPEN) else NONE
    if config.checkpoint == DEFAULT_NAME and config.hand_model not in (AUTO, OPEN):
        raise ValueError(
            "the default weights predict the open hand's parameters: with MANO's files use checkpoint auto, none or released"
        )
    return config.checkpoint


def _predictor(config: EstimatorConfig, loaded: LoadedModel, assets: dict[Side, HandAsset]) -> Predictor:
    return Predictor(loaded.model, loaded.preprocessing, assets, config.device, config.runtime, config.precision)


def hand_model(config: EstimatorConfig) -> dict[Side, HandAsset]:
    """``Estimator.hand_model`` without the rest of it. Raises ValueError as that does."""
    return _hand_model(config.hand_model, _checkpoint(config))


def _hand_model(name: str, loaded: LoadedModel | None) -> dict[Side, HandAsset]:
    own = loaded.assets if loaded is not None else None
    if name == AUTO:
        return own or open_hands()
    if name == OPEN:
        if own is not None:
            raise ValueError(
                "the checkpoint brings the hand model that its parameters are of: set hand_model to auto instead of open"
            )
        return open_hands()
    return {side: load_mano(name, side) for side in Side}


def _box_of_keypoints(detection: Detection) -> np.ndarray:
    """(4,) what networks were trained with that take their crops from boxes: without the flesh around the joints."""
    keypoints = detection.known_keypoints
    return np.concatenate([np.nanmin(keypoints, axis=0), np.nanmax(keypoints, axis=0)])


def _of_track(detection: Detection, track: Track | None) -> Detection:
    """The detection with the side that its track has gathered evidence for."""
    if track is None or track.side is None:
        return detection
    return replace(detection, side=track.side, side_score=track.side_score)


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start
