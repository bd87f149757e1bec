"""Fits the hand model to 2D keypoints under full perspective."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..geometry.so3 import matrices_from_vectors
from ..hand_model.asset import HandAsset
from ..hand_model.joints import MEDIAPIPE_BONES
from ..types import HandLength, ManoParameters, Side
from .fitted_hand import FittedHand, fitted_hand
from .hand_length import ADULTS, EXACT_STDDEV
from .initialisation import blind_poses, pose_from_world
from .kinematics import NUM_ANGLES, NUM_RIGID, HandKinematics, HandPose, turn_between
from .levenberg_marquardt import Job
from .residuals import LEAST_SLOPE, MIN_DEPTH, Anchor, Evaluated, Evidence
from .solver import solver
from .summary import summariser

_PARENTS, _CHILDREN = np.array(MEDIAPIPE_BONES).T

KEYPOINT_STDDEV = 0.03
"""Standard deviation of a detected keypoint as a fraction of the hand's box; with less, noise bends the fingers."""

_SAME_LENGTH = 0.01
"""Largest change of a known length, as a fraction, with which a fit continues; learning changes it all the time."""
_COLD_ITERATIONS, _WARM_ITERATIONS = 12, 4
_MAX_GAP = 0.5
"""Seconds after which the last state is not used."""
_SUSPICIOUS_COST = 80.0
"""Cost above which a warm solution is compared with a cold one."""
_CLEARLY_LESS = 0.7
"""A cold solution replaces a warm one if its cost is below this share of the warm one's."""
_FEWEST_KEYPOINTS = 6
_NARROWEST = 2e-4
"""Minimum extent of a hand in radians."""
_WIDEST = 0.3
"""Minimum length of the mean of the unit rays; with less, they point in all directions."""

# Standard deviations of the change between two frames at 30 Hz; they grow with the square root of time.
_FRAME = 1 / 30
_MOTION = dict(rotation=0.15, lateral=0.03, depth=0.007, angles=0.2, betas=0.01)
_FIRST_BETAS = 0.3
"""The same for betas in the first frames, in which the hand's shape is still unknown."""
_MOMENTUM = 0.6
"""Share of the last velocity that the prediction keeps."""
_LONGEST_MOMENTUM = 0.1
"""Seconds for which the velocity is extrapolated."""
_SHORTEST_STEP = 0.005
"""Minimum time step in seconds; closer stamps do not give a velocity."""

# Standard deviations of the network's errors; depth as a fraction. On rendered images the default weights are off by
# 0.3, 0.01, 0.2 and 0.17 and hardly know the shape; on photographs their errors are larger.
_INITIAL = dict(rotation=0.4, lateral=0.05, angles=0.5, betas=2.0)
_INITIAL_DEPTH = 0.18
_USUAL_RATIO = 0.2
"""Logarithm of the ratio between the sizes of the network's hand and of the keypoints, in the image, up to which they
agree. It is below 0.07 for 68 % and below 0.18 for 95 % of the hands of the synthetic world."""


@dataclass(frozen=True)
class FitState:
    """State from which the next fit of the same hand starts. Left hands are stored mirrored."""

    side: Side
    pose: HandPose
    velocity: np.ndarray
    """(51,) velocity of wrist rotation, wrist position and angles per second."""
    frames: int
    """Number of consecutive frames in which the hand was fitted."""
    hand_length: float | None
    """Known hand length in metres for which the shape was fitted."""


@dataclass(frozen=True)
class FitResult(FittedHand):
    """One fitted hand in the camera frame; the 16 kinematic joints are those of the hand layer, the fingertips move
    rigidly with the last joint."""

    side: Side
    cost: float
    """Sum of the squared whitened residuals, without the terms in time; comparable between fits to the same
    keypoints."""
    reprojection: float
    """Root mean square angle between joints and rays in radians."""
    state: FitState
    evidence: Evidence
    """What was seen of the hand; mirrored for a left hand. With ``anchor`` the depth fit continues from here."""
    anchor: Anchor | None
    """Result of another estimator near which the fit stays; mirrored for a left hand."""
    length: HandLength | None = None
    """Length of the hand, if it was measured: by the depth fit."""


@dataclass(frozen=True)
class FitProblem:
    """One hand to fit, with its input checked. Made by ``KeypointFit.problem``."""

    side: Side
    evidence: Evidence
    """Mirrored for a left hand, as all of the following."""
    world: np.ndarray | None
    """(21, 3) detected root-relative joints in the camera frame."""
    anchor: Anchor | None
    """Result of another estimator."""
    start: FitState | None
    """State of the last fit, if this one continues it."""
    prediction: Anchor | None
    """Where the hand is expected after the last fit."""
    dt: float
    hand_length: float | None

    @property
    def mirror(self) -> np.ndarray:
        """(3,) factors that turn the hand into a right one and back."""
        return np.array([-1.0 if self.side is Side.LEFT else 1.0, 1, 1])


def keypoint_sigma(rays: np.ndarray) -> float:
    """Returns the standard deviation of the rays to detected keypoints.

    Args:
        rays: (21, 3) unit directions; NaN for unknown keypoints.

    Returns:
        ``KEYPOINT_STDDEV`` times the longer side of the rays' bounding box, in radians.
    """
    rays = rays[np.isfinite(rays).all(1)]
    if not len(rays):
        return KEYPOINT_STDDEV * _NARROWEST
    mean = rays.sum(0)
    across = rays @ _rotation_to(mean / np.sqrt(mean @ mean))[:, :2]
    return KEYPOINT_STDDEV * max(float((across.max(0) - across.min(0)).max()), _NARROWEST)


class KeypointFit:
    """Fits one hand model to keypoints of right and left hands.

    Args:
        asset_right: A right-hand model in MANO's format. Left hands are fitted mirrored. If the left-hand model is not
            the mirrored right one, as in MANO, use a second fit with that model ``mirrored()``.

    Raises:
        ValueError: The model is a left hand.
    """

    def __init__(self, asset_right: HandAsset):
        if asset_right.side is not Side.RIGHT:
            raise ValueError(
                f"the fit takes the right hand's model and mirrors it for left hands; {asset_right.name} is a left one"
            )
        self._kinematics = HandKinematics(asset_right)
        self._solver, self._summarise = solver(self._kinematics), summariser(self._kinematics)

    def problem(
        self,
        rays: np.ndarray,
        sigma: float,
        side: Side,
        world: np.ndarray | None = None,
        weights: np.ndarray | None = None,
        start: FitState | None = None,
        dt: float = _FRAME,
        hand_length: HandLength | float | None = None,
        initial: ManoParameters | None = None,
    ) -> FitProblem:
        """Checks the input of a fit.

        Args:
            rays: (21, 3) unit directions to the keypoints in the camera frame, MediaPipe order; NaN rows are ignored.
            sigma: Standard deviation of a ray in radians, see ``keypoint_sigma``.
            side: Side of the hand.
            world: (21, 3) detected root-relative joints; the axes are right, down and forward as seen along the ray to
                the hand.
            weights: (21,) in [0, 1]; a keypoint of weight 0 is ignored.
            start: State of the same hand's last fit.
            dt: Seconds since then.
            hand_length: Length from the wrist to the middle fingertip of the flat hand, if known; the distance then
                does not depend on a guessed size. A number in metres is exact.
            initial: Parameters from another estimator in the same camera frame, which are refined.

        Raises:
            ValueError: An input has the wrong shape, there are too few keypoints, or all of them are in one place.
        """
        mirror = np.array([-1.0 if side is Side.LEFT else 1.0, 1, 1])
        length = hand_length if isinstance(hand_length, HandLength | None) else HandLength(hand_length, EXACT_STDDEV)
        evidence, world = self._evidence(rays, sigma, world, weights, length, mirror)
        if start is not None and not _continues(start, side, dt, length):
            start = None
        return FitProblem(
            side=side,
            evidence=evidence,
            world=world,
            anchor=None if initial is None else self._initial_anchor(initial, mirror, evidence),
            start=start,
            prediction=None if start is None else predicted(start, dt),
            dt=dt,
            hand_length=None if length is None else length.metres,
        )

    def solve(self, problems: Sequence[FitProblem]) -> list[FitResult]:
        """Finds pose, shape and position of several hands at once, which takes hardly longer than one."""
        solutions: list[Evaluated | None] = [None] * len(problems)
        warm = {i: prediction for i, problem in enumerate(problems) if (prediction := problem.prediction) is not None}
        jobs = [Job(warm[i].pose, problems[i].evidence, problems[i].anchor, warm[i]) for i in warm]
        for i, solution in zip(warm, self._solver(jobs, _WARM_ITERATIONS), strict=True):
            solutions[i] = solution
        # Anew without a last fit, and to compare where the fit to it is suspicious.
        anew = [i for i, found in enumerate(solutions) if found is None or found.normal.cost > _SUSPICIOUS_COST]
        starts: list[FitState | None] = [problem.start for problem in problems]
        for i, cold in zip(anew, self._solve_anew([problems[i] for i in anew]), strict=True):
            found = solutions[i]
            if found is None or cold.normal.cost < _CLEARLY_LESS * found.normal.cost:
                solutions[i], starts[i] = cold, None
        states, best = [], [solution for solution in solutions if solution is not None]
        for problem, last, solution in zip(problems, starts, best, strict=True):
            states.append(
                FitState(
                    side=problem.side,
                    pose=solution.pose,
                    velocity=velocity_between(last, solution.pose, problem.dt),
                    frames=1 if problem.start is None else problem.start.frames + 1,
                    hand_length=problem.hand_length,
                )
            )
        return [self._result(*one) for one in zip(problems, states, best, strict=True)]

    def _evidence(
        self,
        rays: np.ndarray,
        sigma: float,
        world: np.ndarray | None,
        weights: np.ndarray | None,
        hand_length: HandLength | None,
        mirror: np.ndarray,
    ) -> tuple[Evidence, np.ndarray | None]:
        """Checks the input; returns it for a right hand, and ``world`` in the camera frame."""
        rays = np.asarray(rays, dtype=np.float64)
        if rays.shape != (21, 3):
            raise ValueError(f"expected 21 rays, got an array of shape {rays.shape}")
        if not (np.isfinite(sigma) and sigma > 0):
            raise ValueError(f"the rays' standard deviation must be positive, not {sigma}")
        weights = np.ones(21) if weights is None else np.asarray(weights, dtype=np.float64)
        if weights.shape != (21,) or (weights < 0).any():
            raise ValueError("expected 21 weights, none of them negative")
        if hand_length is not None and not 0.05 < hand_length.metres < 0.35:
            raise ValueError(
                f"hand_length is wrist to middle fingertip in metres, about 0.19; it is {hand_length.metres:g}"
            )
        lengths = np.sqrt((rays * rays).sum(1))
        valid = np.isfinite(lengths) & (lengths > 0) & np.isfinite(weights)
        weights = np.where(valid, weights, 0.0)
        if (weights > 0).sum() < _FEWEST_KEYPOINTS:
            raise ValueError(f"a hand's fit needs at least {_FEWEST_KEYPOINTS} keypoints, not {(weights > 0).sum()}")
        rays = np.where(valid[:, None], rays * mirror / np.where(valid, lengths, 1)[:, None], (0.0, 0, 1))
        mean = weights @ rays / weights.sum()
        mean_length = np.sqrt(mean @ mean)
        if mean_length < _WIDEST:
            raise ValueError("the keypoints lie all around the camera")
        mean /= mean_length
        if ((rays - mean) ** 2).sum(1)[weights > 0].max() < _NARROWEST**2:
            raise ValueError("all keypoints lie in one place")

        directions = None
        if world is not None and np.shape(world) != (21, 3):
            raise ValueError(f"expected 21 world landmarks, got an array of shape {np.shape(world)}")
        if world is not None and np.isfinite(world).all():
            world = np.asarray(world, dtype=np.float64) * mirror @ _rotation_to(mean).T
            bones = world[_CHILDREN] - world[_PARENTS]
            directions = bones / np.maximum(np.sqrt((bones * bones).sum(1, keepdims=True)), 1e-9)
        else:
            world = None
        evidence = Evidence(
            rays=rays,
            weights=weights,
            mean_ray=mean,
            sigma=sigma,
            directions=directions,
            length=(hand_length or ADULTS).metres,
            length_stddev=(hand_length or ADULTS).stddev,
        )
        return evidence, world

    def _initial_anchor(self, initial: ManoParameters, mirror: np.ndarray, evidence: Evidence) -> Anchor:
        """Returns another estimator's hand as an anchor: as large as is expected, and as much farther away.

        From one image an estimator knows a hand's size only relative to the distance. A hand that does not agree with
        the keypoints, for instance because the estimator saw one of two interlocked hands and the keypoints are those
        of the other one, has larger standard deviations.
        """
        length = np.asarray(evidence.length)
        turn = np.array([1.0, mirror[0], mirror[0]])  # the effect of mirroring on an axis-angle vector
        betas = np.asarray(initial.betas, dtype=np.float64)
        position = np.asarray(initial.transl) * mirror + self._kinematics.wrist_at_rest(betas)
        own_length, gradient = self._kinematics.length(betas)
        position *= length / own_length
        betas = betas + gradient * (length - own_length) / max(gradient @ gradient, LEAST_SLOPE**2)
        vectors = np.concatenate([initial.global_orient, initial.hand_pose]).reshape(16, 3) * turn
        rotations = matrices_from_vectors(vectors)
        angles = self._kinematics.angles_of(rotations[1:])
        pose = HandPose(rotations[0], position, angles, betas)
        ratio, aside = self._disagreement(pose, evidence)
        scale = max(1.0, abs(ratio) / _USUAL_RATIO, float(np.sqrt(aside @ aside)) / _INITIAL["lateral"])
        distance = float(np.sqrt(position @ position))
        if scale > 1:
            distance *= max(1.0, float(np.exp(ratio)))  # the distance at which the hand would be as large as it is seen
        return Anchor(
            pose,
            depth=scale * _INITIAL_DEPTH * distance,
            **{name: scale * sigma for name, sigma in _INITIAL.items()},
        )

    def _disagreement(self, pose: HandPose, evidence: Evidence) -> tuple[float, np.ndarray]:
        """Compares the hand of a pose with the keypoints as seen in the image.

        Returns:
            The logarithm of the ratio of their sizes, positive if the pose's hand is larger, and the (2,) distance
            between their centres in metres, at the distance of the pose.
        """
        weights, across = evidence.weights / evidence.weights.sum(), _rotation_to(evidence.mean_ray)[:, :2]
        centres, sizes = [], []
        for points in (self._kinematics.joints(pose), evidence.rays):
            flat = points @ across / np.maximum(points @ evidence.mean_ray, MIN_DEPTH)[:, None]
            centres.append(weights @ flat)
            sizes.append(weights @ ((flat - centres[-1]) ** 2).sum(1))
        distance = float(np.sqrt(pose.position @ pose.position))
        return 0.5 * float(np.log(max(sizes[0], _NARROWEST**2) / sizes[1])), distance * (centres[0] - centres[1])

    def _solve_anew(self, problems: Sequence[FitProblem]) -> list[Evaluated]:
        """Returns the best solution of each problem from all initialisations.

        With a prediction, its shape is kept, and the depth stays near it. A wrong depth is thus corrected over several
        frames (14 cm in six), because a short error is better for a robot than a jump.
        """
        jobs, owners = [], []
        for i, problem in enumerate(problems):
            poses, prediction = self._cold_poses(problem.evidence, problem.world), problem.prediction
            if problem.anchor is not None:
                poses = [problem.anchor.pose, *poses]
            if prediction is not None:
                poses = [replace(pose, betas=prediction.pose.betas) for pose in poses]
                # The pose was lost: anything but a jump in depth or another shape is possible.
                prediction = replace(prediction, rotation=np.inf, lateral=np.inf, angles=np.inf)
            jobs += [Job(pose, problem.evidence, problem.anchor, prediction) for pose in poses]
            owners += [i] * len(poses)
        found: list[list[Evaluated]] = [[] for _ in problems]
        for i, solution in zip(owners, self._solver(jobs, _COLD_ITERATIONS), strict=True):
            found[i].append(solution)
        return [min(solutions, key=lambda solution: solution.normal.cost) for solutions in found]

    def _cold_poses(self, evidence: Evidence, world: np.ndarray | None) -> list[HandPose]:
        if world is None:
            return blind_poses(self._kinematics, evidence)
        return [pose_from_world(self._kinematics, evidence, world)]

    def _result(self, problem: FitProblem, state: FitState, solution: Evaluated) -> FitResult:
        summary = self._summarise(solution, problem.evidence)
        hand = fitted_hand(self._kinematics, solution, summary, problem.side)
        return FitResult(
            **vars(hand),
            side=problem.side,
            cost=float(solution.normal.cost),
            reprojection=summary.reprojection,
            state=state,
            evidence=problem.evidence,
            anchor=problem.anchor,
        )


def _continues(start: FitState, side: Side, dt: float, length: HandLength | None) -> bool:
    if start.side is not side or not 0 <= dt < _MAX_GAP:
        return False
    if start.hand_length is None or length is None:
        return start.hand_length is None and length is None
    return abs(start.hand_length - length.metres) < _SAME_LENGTH * length.metres


def predicted(start: FitState, dt: float) -> Anchor:
    """Returns where the hand is expected after ``dt`` seconds, with standard deviations."""
    pose = start.pose
    step = np.concatenate([start.velocity * (_MOMENTUM * min(dt, _LONGEST_MOMENTUM)), np.zeros(len(pose.betas))])
    scale = np.sqrt(max(dt, _SHORTEST_STEP) / _FRAME)
    motion = {name: sigma * scale for name, sigma in _MOTION.items()}
    motion["betas"] = max(motion["betas"], _FIRST_BETAS / start.frames)
    return Anchor(pose.moved(step), **motion)


def velocity_between(start: FitState | None, pose: HandPose, dt: float) -> np.ndarray:
    """Returns the (51,) velocity with which the hand of a state has reached a pose after ``dt`` seconds."""
    if start is None:
        return np.zeros(NUM_RIGID + NUM_ANGLES)
    turn = turn_between(start.pose.rotation, pose.rotation)
    return np.concatenate([turn, pose.position - start.pose.position, (pose.angles - start.pose.angles).ravel()]) / max(
        dt, _SHORTEST_STEP
    )


def _rotation_to(ray: np.ndarray) -> np.ndarray:
    """Returns the smallest rotation of the optical axis to a ray."""
    x, y, z = ray
    if z < -0.999999:
        return np.diag([1.0, -1, -1])
    k = 1 / (1 + z)
    return np.array([[1 - k * x * x, -k * x * y, x], [-k * x * y, 1 - k * y * y, y], [-x, -y, z]])
