"""Refines a fitted hand with a depth image: pose, shape and position follow the surface that the sensor sees.

The keypoint fit's result is the prior: its pose with the inverse covariance of all unknowns. The hand's surface is
projected into the depth image, through the depth camera's own lens, and each visible point is compared with the depth
at its pixel, along the surface's normal. So the depth image does not have to be aligned with the colour image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..geometry.depth_image import FARTHEST, DepthImage
from ..hand_model.asset import HandAsset
from ..types import DepthStatus, HandLength, Side
from .fitted_hand import fitted_hand, mirror_of
from .hand_length import ADULTS, EXACT_STDDEV
from .initialisation import palm_rotation
from .keypoint_fit import FitResult
from .kinematics import HandKinematics
from .levenberg_marquardt import Job
from .residuals import Evaluated, Evidence
from .solver import Solver, solver
from .summary import Summariser, summariser
from .surface import HandSurface, PosedSurface, hand_surface
from .uncertainty import disagreement

_SURFACE_STDDEV = 0.002
"""Standard deviation in metres of a hand's surface about the model's."""
_SURFACE_REDUNDANCY, _KEYPOINT_REDUNDANCY = 25.0, 10.0
"""Number of surface points, and of keypoints, that count as one, because their errors are alike. Chosen like the
constants of ``uncertainty``."""
_VARIANCE_FACTOR = 0.75
"""Calibrated variance over that of points that count so much."""
_FACING = 0.35
"""Least cosine between a point's normal and the direction to the camera."""
_STEEPEST = 0.012
"""Largest range in metres of the depths around a pixel at an edge or on a slope; above, it may be a flying pixel."""
_OFFSET_SPREAD = 0.012
"""Standard deviation in metres of the surface's depth about the offset that all points share."""
_SCALES = (0.6, 1.25)
"""Range of the factor by which the hand is farther than the keypoint fit has it. Bent hands and those of children seem
to be too far away; hands that are much larger than usual do not exist, but walls do."""
_LEAST_SUPPORT = 0.2
"""Least share of the points that agree on that factor."""
_ROBUST = 2.5
"""Number of standard deviations at which Geman and McClure's weights have fallen to a quarter."""
_GATES = (0.02, 0.012, 0.006, 0.003, 0.003, 0.003)
"""Metres added to that width, one value for each iteration: at first the surface is far off."""
_FOLLOWED_ITERATIONS = 2
"""Most iterations for a hand that was fitted in the last image too and moves in steps."""
_FOLLOWED = 0.03
"""Largest relative change of its distance."""
_SMALL_STEP = 0.001
"""Metres of the wrist below which the iteration ends."""
_REVERSED_ITERATIONS = 8
_REVERSED_EVERY = 10
"""Number of images of a followed hand after which its reversal in depth is tried again; always in the first one."""
_FEWEST_POINTS = 20
_FEWEST_KNOWN = 0.3
"""Least share of visible points whose depth is known."""
_FEWEST_AGREEING = 0.6
"""Least share of the points with a known depth that agree with the fitted hand."""
_AGREES = 0.010
"""Metres along the normal within which a point agrees, besides the noise."""


_LENGTH_BIAS, _LENGTH_BIAS_OF_COST = 0.97, 0.00125
"""True length of hands over that of their fits, and its increase with the cost of the keypoints: the less these agree,
the smaller is the hand that fits them. Fitted to six persons of the split val of the synthetic rigs."""
_MOST_COSTLY = 80.0
"""Cost up to which that ratio increases."""
_SURE_COST = 25.0
"""Cost beyond which the length's standard deviation increases."""
_MOST_KNOWN = 0.8
"""Share of what a fit knows of the hand's length, of which more was known before."""
_MOST_EXPENSIVE = 60.0
"""Largest increase of the keypoint fit's cost: a surface that is not the hand's bends it unnaturally."""
_LEAST_WEIGHT = 0.55
"""Least mean of the robust weights of the points: a hand that fits the surface only in parts is in the wrong place."""
_OUTSIDE = 0.012
"""Metres outside the hand's outline at which the depth is compared with the outline's."""
_FARTHER = 0.002
"""Metres by which what surrounds the hand is farther at least. The outline lies in the middle of the hand's thickness,
so that this also holds for a hand on a table."""
_LEAST_OUTLINE = 0.45
"""Least share of the outline that has something farther beside it; an object that covers the hand has nothing."""
_FEWEST_OUTLINE = 8


class _Observed(NamedTuple):
    """The depth image at the visible points of a surface. Only points with a known depth are listed."""

    chosen: np.ndarray
    """(N,) indices of points."""
    offsets: np.ndarray
    """(N,) metres by which the sensor sees the surface farther along the optical axis than the model has it."""
    per_offset: np.ndarray
    """(N,) shift along the point's normal for each metre of offset."""
    depths: np.ndarray
    """(N,) depths of the model's points."""
    stddev: np.ndarray
    """(N,) of the offsets."""
    known: float
    """Share of visible points that have a known depth."""


class DepthResult(NamedTuple):
    """Result of the depth fit of one hand."""

    fit: FitResult
    """The refined fit, or the given one if the depth image could not be used."""
    status: DepthStatus


class _Model(NamedTuple):
    """What is computed with for hands of one side."""

    kinematics: HandKinematics
    surface: HandSurface
    evaluate: Solver[Evidence]
    summarise: Summariser


class DepthFit:
    """Refines fits of right and left hands.

    Args:
        assets: Hand model of each side.
    """

    def __init__(self, assets: Mapping[Side, HandAsset]):
        self._models = {side: _model(assets[side].right_handed()) for side in Side}

    def refine(self, fit: FitResult, depth: DepthImage) -> DepthResult:
        """Refines one hand.

        Keypoints hardly tell which end of a tilted hand is the near one. So a hand that is not where the sensor sees
        something is also tried with the tilt reversed.

        Args:
            fit: Result of the keypoint fit.
            depth: Depth image of the same moment.
        """
        result = self._refine(fit, depth)
        is_elsewhere = result.status in (DepthStatus.OCCLUDED, DepthStatus.CONTRADICTS)
        if is_elsewhere and fit.state.frames % _REVERSED_EVERY == 1:
            tilted = self._reversed(fit)
            if tilted.cost < fit.cost + _MOST_EXPENSIVE:
                other = self._refine(tilted, depth)
                if other.status is DepthStatus.USED:
                    return other
        return result

    def _reversed(self, fit: FitResult) -> FitResult:
        """Returns the fit to the same keypoints that begins with the hand's mirror image in depth."""
        model, pose, ray = self._models[fit.side], fit.state.pose, fit.evidence.mean_ray
        joints = model.kinematics.joints(pose)
        mirrored = joints - 2 * np.outer((joints - joints[0]) @ ray, ray)
        tilted = pose.with_rigid(palm_rotation(joints, mirrored) @ pose.rotation, pose.position)
        (found,) = model.evaluate([Job(tilted, _metric(fit.evidence), None, None)], _REVERSED_ITERATIONS)
        return replace(fit, cost=float(found.normal.cost), anchor=None, state=replace(fit.state, pose=found.pose))

    def _refine(self, fit: FitResult, depth: DepthImage) -> DepthResult:
        """Refines one hand, beginning with the pose of a fit."""
        model = self._models[fit.side]
        surface, evaluate = model.surface, model.evaluate
        evidence = _metric(fit.evidence)
        mirror = mirror_of(fit.side)
        posed = surface.pose(fit.state.pose)
        observed = _observe(surface, posed, mirror, depth)
        if len(observed.chosen) < _FEWEST_POINTS or observed.known < _FEWEST_KNOWN:
            return DepthResult(fit, DepthStatus.EMPTY)
        scale = _common_scale(observed)
        if scale is None:
            occluded = np.median(observed.offsets) < 0
            return DepthResult(fit, DepthStatus.OCCLUDED if occluded else DepthStatus.CONTRADICTS)
        # A hand that is followed is near its place; its fit starts with the gate almost closed.
        followed = fit.state.frames > 1 and abs(scale - 1) < _FOLLOWED
        gates = _GATES[-_FOLLOWED_ITERATIONS:] if followed else _GATES
        pose = fit.state.pose
        if not followed:
            # Points keep their pixels while the hand moves along the rays.
            pose = replace(pose, position=pose.position * scale)
            posed = surface.pose(pose)
            observed = _observe(surface, posed, mirror, depth)
        for iteration, gate in enumerate(gates):
            if iteration:
                posed = surface.pose(pose)
                observed = _observe(surface, posed, mirror, depth)
            if len(observed.chosen) < _FEWEST_POINTS:
                return DepthResult(fit, DepthStatus.CONTRADICTS)
            (keypoints,) = evaluate([Job(pose, evidence, fit.anchor, None)], 0)
            normal = keypoints.normal
            residuals = observed.offsets * observed.per_offset
            stddev = np.hypot(observed.stddev * observed.per_offset, _SURFACE_STDDEV)
            weights = 1 / (1 + (residuals / (_ROBUST * stddev + gate)) ** 2) ** 2
            rows = surface.along_normals(posed, observed.chosen)
            weighted = rows * (weights / (stddev**2 * _SURFACE_REDUNDANCY))[:, None]
            matrix = normal.matrix / _KEYPOINT_REDUNDANCY + weighted.T @ rows
            gradient = normal.gradient / _KEYPOINT_REDUNDANCY - weighted.T @ residuals
            step = -np.linalg.solve(matrix, gradient)
            pose = pose.moved(step)
            if (iteration or followed) and np.linalg.norm(step[3:6]) < _SMALL_STEP:
                break
        status = _judge(observed, residuals - rows @ step)
        if status is DepthStatus.USED and (
            normal.cost > fit.cost + _MOST_EXPENSIVE
            or weights.mean() < _LEAST_WEIGHT
            or not _stands_out(surface, surface.pose(pose), mirror, depth)
        ):
            nearer = pose.position @ pose.position < fit.wrist_position @ fit.wrist_position
            status = DepthStatus.OCCLUDED if nearer else DepthStatus.CONTRADICTS
        if status is not DepthStatus.USED:
            return DepthResult(fit, status)
        (found,) = evaluate([Job(pose, evidence, None, None)], 0)
        return DepthResult(_refined(fit, model, found, matrix, depth), status)


def _metric(evidence: Evidence) -> Evidence:
    """Returns the evidence of a hand of unknown length, unless its length is exact.

    What was learned must not confirm itself.
    """
    if evidence.length_stddev <= EXACT_STDDEV:
        return evidence
    return replace(evidence, length=ADULTS.metres, length_stddev=ADULTS.stddev)


def _model(asset: HandAsset) -> _Model:
    kinematics = HandKinematics(asset)
    return _Model(kinematics, hand_surface(asset, kinematics), solver(kinematics), summariser(kinematics))


def _observe(surface: HandSurface, posed: PosedSurface, mirror: np.ndarray, depth: DepthImage) -> _Observed:
    """Looks up the depth at the points that the depth camera sees."""
    to_depth = depth.pose.inverse()
    points = to_depth.apply(posed.points * mirror)
    normals = (posed.normals * mirror) @ to_depth.rotation.T
    distances = np.linalg.norm(points, axis=1)
    facing = -(points * normals).sum(1)
    candidates = np.flatnonzero((facing > _FACING * distances) & (points[:, 2] > 0.05))
    centres = to_depth.apply(posed.spheres * mirror)
    candidates = candidates[~_hidden(points[candidates], distances[candidates], centres, surface.radii)]
    pixels = depth.camera.project(points[candidates])
    seen, range_around = _pixels(depth.depth, pixels)
    z = points[candidates, 2]
    slope = 1 / (depth.camera.focal / np.maximum(z, 0.05))  # metres per pixel
    stddev = depth.noise.stddev(z)
    known = (seen > 0) & (seen < FARTHEST)
    inside = known & (range_around < _STEEPEST + 4 * stddev + 4 * slope)
    share = float(known.mean()) if len(candidates) else 0.0
    candidates, z, seen, stddev = candidates[inside], z[inside], seen[inside], stddev[inside]
    return _Observed(candidates, seen - z, facing[candidates] / -z, z, stddev, share)


def _hidden(points: np.ndarray, distances: np.ndarray, centres: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Returns (N,) bool: which points lie behind a sphere, as seen from the origin."""
    along = (points / distances[:, None]) @ centres.T
    across = (centres**2).sum(1) - along**2
    return ((across < radii**2) & (along < distances[:, None] - 1.6 * radii)).any(1)


def _pixels(depth: np.ndarray, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the (N,) depths at the nearest pixels, 0 outside the image, and the range of the 3 x 3 around."""
    height, width = depth.shape
    rounded = np.nan_to_num(np.round(pixels), nan=-1e6).astype(np.int64)
    x, y = rounded.T
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    steps = np.arange(-1, 2)
    columns = np.clip(x[:, None] + steps, 0, width - 1)
    rows = np.clip(y[:, None] + steps, 0, height - 1)
    window = depth[rows[:, :, None], columns[:, None, :]].reshape(-1, 9).astype(np.float64)
    centre = np.where(inside, window[:, 4], 0.0)
    valid = (window > 0) & (window < FARTHEST)
    low, high = np.where(valid, window, np.inf).min(1), np.where(valid, window, -np.inf).max(1)
    return np.nan_to_num(centre, nan=0.0, posinf=0.0, neginf=0.0), high - low


def _common_scale(observed: _Observed) -> float | None:
    """Returns the factor by which most points are farther than the keypoint fit has them; None if too few agree."""
    offsets, z = observed.offsets, observed.depths
    scales = 1 + offsets / z
    possible = scales[(scales > _SCALES[0]) & (scales < _SCALES[1])]
    candidates = np.sort(possible)[:: max(len(scales) // 48, 1)]
    if not len(candidates):
        return None
    spread = (_OFFSET_SPREAD + observed.stddev) / z
    support = np.exp(-0.5 * ((scales - candidates[:, None]) / spread) ** 2).mean(1)
    best = int(support.argmax())
    return float(candidates[best]) if support[best] > _LEAST_SUPPORT else None


def _judge(observed: _Observed, residuals: np.ndarray) -> DepthStatus:
    """Decides by the (N,) residuals along the normals whether the refined hand agrees with the depth image."""
    agrees = np.abs(residuals) < _AGREES + 2 * observed.stddev * np.abs(observed.per_offset)
    if agrees.mean() < _FEWEST_AGREEING:
        nearer = np.median(residuals / observed.per_offset) < -_AGREES
        return DepthStatus.OCCLUDED if nearer else DepthStatus.CONTRADICTS
    return DepthStatus.USED


def _stands_out(surface: HandSurface, posed: PosedSurface, mirror: np.ndarray, depth: DepthImage) -> bool:
    """Returns whether the hand's outline is an edge of the depth image, unlike that of a hand behind something."""
    to_depth = depth.pose.inverse()
    points = to_depth.apply(posed.points * mirror)
    normals = (posed.normals * mirror) @ to_depth.rotation.T
    distances = np.linalg.norm(points, axis=1)
    outline = np.flatnonzero((np.abs((points * normals).sum(1)) < _FACING * distances) & (points[:, 2] > 0.05))
    centres = to_depth.apply(posed.spheres * mirror)
    outline = outline[~_hidden(points[outline], distances[outline], centres, surface.radii)]
    seen, _ = _pixels(depth.depth, depth.camera.project(points[outline] + _OUTSIDE * normals[outline]))
    known = (seen > 0) & (seen < FARTHEST)
    if known.sum() < _FEWEST_OUTLINE:
        return True
    return bool((seen[known] > points[outline[known], 2] + _FARTHER).mean() > _LEAST_OUTLINE)


def _refined(fit: FitResult, model: _Model, found: Evaluated, matrix: np.ndarray, depth: DepthImage) -> FitResult:
    """Returns the fit with another pose and the inverse covariance of its unknowns."""
    kinematics, pose = model.kinematics, found.pose
    variance_factor = _VARIANCE_FACTOR * disagreement(fit) ** 0.5
    calibrated = replace(found.normal, matrix=matrix / variance_factor)
    summary = model.summarise(found._replace(normal=calibrated), fit.evidence)
    # An error of the sensor's scale moves the whole hand along the ray.
    common = depth.noise.bias * pose.position
    hand = fitted_hand(kinematics, found, summary.shifted(np.outer(common, common)), fit.side)
    return replace(
        fit,
        **vars(hand),
        state=replace(fit.state, pose=pose),
        length=_length(kinematics, found, matrix, variance_factor, depth, _metric(fit.evidence)),
    )


def _length(
    kinematics: HandKinematics,
    found: Evaluated,
    matrix: np.ndarray,
    variance_factor: float,
    depth: DepthImage,
    evidence: Evidence,
) -> HandLength:
    """Returns the length that the image and its depth tell, without what was known of it before.

    Args:
        kinematics: Hand model.
        found: The solution.
        matrix: Inverse covariance of its unknowns.
        variance_factor: Calibrated variance over that of this matrix.
        depth: Depth image.
        evidence: What the fit knew of the length.
    """
    length, of_betas = kinematics.length(found.pose.betas)
    gradient = np.concatenate([np.zeros(len(matrix) - len(of_betas)), of_betas])
    variance = float(gradient @ np.linalg.solve(matrix, gradient))
    # Precisions of independent sources add up, and so do the means that they are multiplied by.
    known = min(variance / (_KEYPOINT_REDUNDANCY * np.square(evidence.length_stddev).item()), _MOST_KNOWN)
    measured = (float(length) - known * np.asarray(evidence.length).item()) / (1 - known)
    cost = float(found.normal.cost)
    stddev = max(1.0, cost / _SURE_COST) * np.sqrt(variance_factor * variance / (1 - known))
    measured *= _LENGTH_BIAS + _LENGTH_BIAS_OF_COST * min(cost, _MOST_COSTLY)
    return HandLength(measured, float(np.hypot(stddev, depth.noise.bias * measured)))
