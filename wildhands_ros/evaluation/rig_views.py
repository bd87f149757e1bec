"""Measures several cameras over time on synthetic recordings: three cameras at rest around two hands that work.

What is measured: errors of fused hands, the length that is learned, whether wrong extrinsics are noticed, and time.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import numpy as np

from ..config import EstimatorConfig, SearchWindows
from ..estimator import Estimator
from ..fitting.hand_fusion import HandFusion
from ..fitting.hand_length import hand_length
from ..fitting.keypoint_marks import marks_matrix
from ..hand_model.asset import HandAsset, open_hands
from ..io.progress import with_progress
from ..synthetic.depth import STEREO, depth_image
from ..synthetic.egocentric import FPS
from ..synthetic.render import render
from ..synthetic.rigs import RigCamera, RigRecording
from ..types import DepthStatus, HandEstimate, HandLength, ManoParameters, Side
from .joint_errors import JointErrors
from .metrics import median_and_p95
from .moments import LEARNING, Moment, describe_trials, extrinsics_trials, observed, trial_figures

SECONDS = LEARNING + 0.2
STEP = 6
"""Every n-th frame is estimated."""
CAMERAS = 3
_DIRECTIONS = 6
_SAME_HAND = 0.15
"""Largest mean distance in metres of the joints of a hand and of its label."""
_SMALL = 0.17
"""Length in metres below which a hand is small: the smallest twelfth of the adults."""
_LEAST_MOMENTS = 4
"""Moments in which a hand was seen, from which on the mean of its size counts."""
_NOISE = 0.037
"""Standard deviation of detected keypoints as a fraction of the hand's extent, as ``evaluate multiview`` measures."""
_MARKS = marks_matrix()


@dataclass(frozen=True)
class RigClip:
    """What the cameras of a rig have seen."""

    cameras: Mapping[str, RigCamera]
    colour: Sequence[Moment]
    depth: Sequence[Moment]
    """The same with the depth images of stereo cameras."""
    betas: np.ndarray
    """Shape of both hands."""
    fit_ms: Sequence[tuple[float, float]] = ()
    """Milliseconds of the fit of each image without and with depth."""


@dataclass
class _Figures:
    """What is collected of the fused hands."""

    errors: JointErrors = field(default_factory=JointErrors)
    lengths: list[tuple[HandLength, float]] = field(default_factory=list)
    """Lengths after 5 s, with the true ones in metres."""
    sizes: list[float] = field(default_factory=list)
    """For each hand, percent by which its fitted joints are too near to each other or too far apart, in the mean."""
    trials: dict[str, list[bool]] = field(default_factory=dict)
    milliseconds: list[float] = field(default_factory=list)

    def add_trials(self, trials: Mapping[str, list[bool]]) -> None:
        for kind, found in trials.items():
            self.trials.setdefault(kind, []).extend(found)

    def figures(self) -> dict[str, Any]:
        return {
            **self.errors.figures(),
            "length_percent_after_5_s": length_figures(self.lengths),
            "size_percent_of_posed_hands": size_figures(self.sizes),
            "extrinsics": trial_figures(self.trials),
            "fusion_ms_per_hand": float(np.median(self.milliseconds)) if self.milliseconds else None,
        }


def length_figures(lengths: Sequence[tuple[HandLength, float]]) -> dict[str, Any]:
    """Returns the errors of learned lengths in percent, also those of small hands alone.

    "hindsight" is what would be left after the best linear correction, fitted to these very hands: no constant bias or
    weight of the prior could do better.
    """
    if not lengths:
        return {}
    learned = np.array([(length.metres, length.stddev) for length, _ in lengths])
    true = np.array([metres for _, metres in lengths])
    errors = 100 * (learned[:, 0] / true - 1)
    sigmas = np.abs(learned[:, 0] - true) / learned[:, 1]
    small = errors[true < _SMALL]
    figures = {
        "hands": len(errors),
        "bias": float(np.mean(errors)),
        "within_2_percent": float(100 * np.mean(np.abs(errors) < 2)),
        **median_and_p95(np.abs(errors)),
        "coverage_68": float(100 * np.mean(sigmas < 1)),
        "coverage_95": float(100 * np.mean(sigmas < 2)),
        "small_hands": {"hands": len(small), "bias": float(np.mean(small)), **median_and_p95(np.abs(small))}
        if len(small)
        else {"hands": 0},
    }
    if len(np.unique(true)) > 2:
        line = np.stack([learned[:, 0], np.ones(len(learned))], axis=1)
        corrected = line @ np.linalg.lstsq(line, true, rcond=None)[0]
        figures["hindsight"] = median_and_p95(np.abs(100 * (corrected / true - 1)))
    return figures


def size_figures(sizes: Sequence[float]) -> dict[str, Any]:
    """Returns how wrong the sizes of hands are in percent, if posture and proportions are those of the labels.

    "median" and "p95" are those of the errors after the mean has been taken out. A length is not known better than the
    size of the keypoints that it is learned from.
    """
    if not sizes:
        return {}
    errors = np.array(sizes)
    left = np.abs(errors - errors.mean())
    return {
        "hands": len(errors),
        "bias": float(errors.mean()),
        "stddev": float(errors.std()),
        "within_2_percent": float(100 * np.mean(left < 2)),
        **median_and_p95(left),
    }


def rig_clips(seeds: Iterable[int], split: str = "test") -> Iterator[RigClip]:
    """Renders recordings and estimates the hands of each camera as a stream, with and without depth.

    Args:
        seeds: Seeds of the recordings.
        split: Split of the synthetic world.
    """
    names = [f"camera_{number + 1}" for number in range(CAMERAS)]
    config = EstimatorConfig(search=SearchWindows())
    estimators = {name: (Estimator(config), Estimator(config)) for name in names}
    for seed in seeds:
        recording = RigRecording(seed, SECONDS, CAMERAS, split)
        for pair in estimators.values():
            for estimator in pair:
                estimator.reset()
        streams: tuple[list[Moment], list[Moment]] = ([], [])
        fit_ms: list[tuple[float, float]] = []
        for number in with_progress(range(0, recording.num_frames, STEP), None, "frame"):
            stamp = number / FPS
            estimates: tuple[dict[str, tuple[HandEstimate, ...]], ...] = ({}, {})
            scenes = recording.scenes(number)
            for index, (name, scene) in enumerate(zip(names, scenes, strict=True)):
                image = render(scene).image
                depth = depth_image(scene, STEREO, np.random.default_rng([seed, number, index]))
                frames = [
                    estimator(image, scene.camera, stamp, depth=measured)
                    for estimator, measured in zip(estimators[name], (None, depth), strict=True)
                ]
                for into, frame in zip(estimates, frames, strict=True):
                    into[name] = frame.hands
                if all(frame.hands for frame in frames):
                    fit_ms.append((1000 * frames[0].seconds["fit"], 1000 * frames[1].seconds["fit"]))
            at = recording.cameras[0].pose
            labels = {
                hand.side: at.apply(hand.joints)
                for hand in scenes[0].hands
                if hand.side is not None and hand.joints is not None
            }
            for stream, of_stream in zip(streams, estimates, strict=True):
                stream.append(Moment(stamp, of_stream, labels))
        mano = scenes[0].hands[0].mano
        assert isinstance(mano, ManoParameters)
        yield RigClip(dict(zip(names, recording.cameras, strict=True)), *streams, mano.betas, fit_ms)


def evaluate_rigs(clips: Iterable[RigClip], directions: int = _DIRECTIONS) -> dict[str, Any]:
    """Fuses the hands of each pair of cameras over time, and those of all cameras.

    Args:
        clips: The recordings.
        directions: Number of directions in which extrinsics are wrong.

    Returns:
        The figures by colour and with depth. "true_keypoints" of the extrinsics is what the same check notices if
        keypoints are right but for independent noise of the usual size: what the check loses is due to errors that
        keypoints of a hand have in common, and what it does not notice even then cannot be seen.
    """
    assets = open_hands()
    two = {"colour": _Figures(), "depth": _Figures()}
    three = {"colour": _Figures(), "depth": _Figures()}
    ideal, alone = _Figures(), _Figures()
    fit_ms: list[tuple[float, float]] = []
    count = 0
    for clip in clips:
        count += 1
        fit_ms += clip.fit_ms
        true_length = hand_length(assets[Side.RIGHT], clip.betas)
        for name, moments in (("colour", clip.colour), ("depth", clip.depth)):
            for pair in combinations(clip.cameras, 2):
                cameras = {each: clip.cameras[each] for each in pair}
                _fuse(assets, moments, cameras, true_length, two[name])
                two[name].add_trials(extrinsics_trials(assets, moments, cameras, directions))
                if name == "colour":
                    true = _with_true_keypoints(moments, cameras, np.random.default_rng(count))
                    ideal.add_trials(extrinsics_trials(assets, true, cameras, directions))
            _fuse(assets, moments, clip.cameras, true_length, three[name])
        _single(clip, true_length, alone)
    return {
        "recordings": count,
        **{name: figures.figures() for name, figures in two.items()},
        "three_cameras": {name: figures.figures() for name, figures in three.items()},
        "one_camera_with_depth": alone.figures(),
        "extrinsics_true_keypoints": trial_figures(ideal.trials),
        "fit_ms_per_image": dict(zip(("colour", "depth"), np.median(fit_ms, axis=0).tolist(), strict=True))
        if fit_ms
        else {},
    }


def describe_rigs(figures: dict[str, Any]) -> str:
    """Returns the figures of ``evaluate_rigs`` as text."""
    rows = {"two cameras": figures["colour"], "two with depth": figures["depth"]}
    rows |= {"three cameras": figures["three_cameras"]["colour"], "three with depth": figures["three_cameras"]["depth"]}
    rows |= {"one with depth": figures["one_camera_with_depth"]}
    lines = [f"{figures['recordings']} recordings of {SECONDS:.0f} s by {CAMERAS} cameras"]
    for name, row in rows.items():
        if not row["hands"]:
            continue
        wrist, joints, length = row["wrist_mm"], row["joints_mm"], row["length_percent_after_5_s"]
        text = (
            f"{name:16}  {row['hands']:4} hands   wrist {wrist['median']:5.1f} / {wrist['p95']:5.1f} mm   "
            f"joints {joints['median']:5.1f} / {joints['p95']:5.1f} mm   within 1, 2 sigma "
            f"{row['coverage_68']:3.0f}, {row['coverage_95']:3.0f} %"
        )
        if length:
            text += (
                f"   length after 5 s {length['bias']:+.1f} %, error {length['median']:.1f} / {length['p95']:.1f} %, "
                f"{length['within_2_percent']:.0f} % of {length['hands']} within 2 %, within 1, 2 sigma "
                f"{length['coverage_68']:.0f}, {length['coverage_95']:.0f} %"
            )
            small = length["small_hands"]
            if small["hands"]:
                text += f"; of {small['hands']} small hands {small['bias']:+.1f} %, error {small['median']:.1f} %"
            if "hindsight" in length:
                text += f"; best linear correction with hindsight: error {length['hindsight']['median']:.1f} %"
        size = row["size_percent_of_posed_hands"]
        if size:
            text += (
                f"   size of the posed hand, labels given: {size['bias']:+.1f} +- {size['stddev']:.1f} %, "
                f"{size['within_2_percent']:.0f} % within 2 % of the mean"
            )
        if row["fusion_ms_per_hand"] is not None:
            text += f"   {row['fusion_ms_per_hand']:.1f} ms of CPU time a hand"
        lines.append(text)
    for name, trials in {
        "by colour": figures["colour"]["extrinsics"],
        "with depth": figures["depth"]["extrinsics"],
        "by true keypoints with independent noise": figures["extrinsics_true_keypoints"],
    }.items():
        lines += [f"{name}: {line}" for line in describe_trials(trials)]
    times = figures["fit_ms_per_image"]
    if times:
        lines.append(f"fit of an image: {times['colour']:.1f} ms, with depth {times['depth']:.1f} ms (median)")
    return "\n".join(lines)


def _fuse(
    assets: Mapping[Side, HandAsset],
    moments: Sequence[Moment],
    cameras: Mapping[str, RigCamera],
    true_length: float,
    figures: _Figures,
) -> None:
    """Fuses a recording and adds the errors of hands that several cameras have seen."""
    fusion = HandFusion(assets)
    sizes: dict[Side, list[float]] = {side: [] for side in Side}
    for moment in moments:
        seen = observed(moment, cameras)
        start = time.process_time()
        hands = fusion.update(moment.stamp, seen).hands
        spent = 1000 * (time.process_time() - start)
        if hands and all(len(hand.views) == len(cameras) for hand in hands):
            figures.milliseconds.append(spent / len(hands))
        for hand in hands:
            label = moment.joints.get(hand.side)
            if len(hand.views) > 1 and label is not None and _distance(hand.hand.joints, label) < _SAME_HAND:
                figures.errors.add(label, hand.hand.joints, hand.hand.joints_stddev)
                sizes[hand.side].append(100 * (_size(hand.hand.joints) / _size(label) - 1))
    if moments[-1].stamp - moments[0].stamp >= LEARNING - 0.1:
        figures.lengths += [(known, true_length) for known in fusion.lengths.known().values()]
        figures.sizes += [float(np.mean(of_side)) for of_side in sizes.values() if len(of_side) >= _LEAST_MOMENTS]


def _single(clip: RigClip, true_length: float, figures: _Figures) -> None:
    """Adds the errors of each camera alone with depth, and the lengths that it has learned at the end."""
    for name, at in clip.cameras.items():
        lengths: dict[Side, HandLength] = {}
        for moment in clip.depth:
            for hand in observed(moment, {name: at})[name]:
                label = moment.joints.get(hand.view.side)
                known = hand.estimate.hand_length
                if known is not None:
                    lengths[hand.view.side] = known
                is_used = hand.estimate.depth is DepthStatus.USED
                if is_used and label is not None and _distance(hand.hand.joints, label) < _SAME_HAND:
                    figures.errors.add(label, hand.hand.joints, hand.hand.joints_stddev)
        figures.lengths += [(known, true_length) for known in lengths.values()]


def _with_true_keypoints(
    moments: Sequence[Moment], cameras: Mapping[str, RigCamera], rng: np.random.Generator
) -> list[Moment]:
    """Returns a recording with true keypoints and independent noise, as far as the hands are the labelled ones."""
    changed = []
    for moment in moments:
        estimates = {}
        for name, at in cameras.items():
            to_camera = at.pose.inverse()
            of_camera = []
            for estimate in moment.estimates[name]:
                label = moment.joints.get(estimate.side)
                if label is None or _distance(estimate.joints, to_camera.apply(label)) > 2 * _SAME_HAND:
                    continue
                keypoints = at.camera.project(to_camera.apply(_MARKS @ label))
                noise = _NOISE * np.ptp(keypoints, axis=0).max() * rng.normal(size=(21, 2))
                of_camera.append(replace(estimate, keypoints=keypoints + noise))
            estimates[name] = tuple(of_camera)
        changed.append(replace(moment, estimates=estimates))
    return changed


def _size(joints: np.ndarray) -> float:
    """Returns the root of the sum of the squared distances of joints to their mean."""
    return float(np.linalg.norm(joints - joints.mean(axis=0)))


def _distance(joints: np.ndarray, label: np.ndarray) -> float:
    return float(np.linalg.norm(joints - label, axis=1).mean())
