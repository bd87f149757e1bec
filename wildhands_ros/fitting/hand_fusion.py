"""Fuses the hands of several calibrated cameras over time: association, tracks, fit, and the length of each hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..geometry.camera import Camera
from ..geometry.pose import Pose
from ..geometry.so3 import vectors_from_matrices
from ..hand_model.asset import HandAsset
from ..tracking.tracks import MAX_GAP
from ..types import DepthStatus, EstimateSource, HandEstimate, HandLength, ManoParameters, Side
from .association import Member, assign_to_tracks, associate
from .detection_fit import LEAST_KEYPOINTS
from .fitted_hand import FittedHand
from .hand_length import HandLengths
from .keypoint_fit import FitState
from .multiview_fit import HandView, MultiviewFit, MultiviewResult, misfit, side_log_odds

MOST_FIT_MISFIT = 0.12
"""Largest misfit of a view with the fitted hand, as a fraction of the hand's extent; a view with more lies."""
SAME_HAND = 0.8
"""Misfit with a fused hand of the same side below which a hand that no other camera confirms is that hand, seen
wrongly."""
_OTHER_HAND = 0.3
"""The same for a hand of the other side."""
_SIDE_MEMORY = 0.9
"""Share of the evidence for a side that is kept from image to image."""
_MOST_SIDE_EVIDENCE = 6.0
_LONGEST_MOMENTUM = 0.1
"""Seconds for which the velocity of a hand is extrapolated."""


@dataclass(frozen=True)
class ObservedHand:
    """A hand that one camera has estimated, in the common frame."""

    view: HandView
    stamp: float
    """Time of the camera's image in seconds."""
    estimate: HandEstimate
    """The camera's own estimate, in its own frame."""
    hand: FittedHand
    """The same in the common frame."""


@dataclass(frozen=True)
class FusedHand:
    """A hand in the common frame."""

    track_id: str
    side: Side
    side_score: float
    score: float
    hand: FittedHand
    observed: Mapping[str, ObservedHand]
    """What the cameras that took part have seen. A hand that a single camera sees is as that camera estimates it, but
    as large as it is known to be."""
    length: HandLength | None
    """Length of this side's hand, as far as it is known."""
    measured_length: HandLength | None
    """Length of the hand at this moment, if several cameras determine it."""
    grasp_probabilities: np.ndarray | None

    @property
    def views(self) -> tuple[str, ...]:
        """Names of the cameras that took part."""
        return tuple(self.observed)

    def estimate(self, pose_mesh: Callable[[ManoParameters, Side], np.ndarray]) -> HandEstimate:
        """Returns what is reported of the hand, in the common frame. There is no image, and so nothing in pixels.

        Args:
            pose_mesh: Computes the mesh.
        """
        own = next(iter(self.observed.values())).estimate
        return HandEstimate(
            side=self.side,
            score=self.score,
            side_score=self.side_score,
            box=np.full(4, np.nan),
            joints=self.hand.joints,
            joints_2d=np.full((21, 2), np.nan),
            wrist_position=self.hand.wrist_position,
            wrist_rotation=self.hand.wrist_rotation,
            mano=self.hand.mano,
            pose_mesh=pose_mesh,
            source=EstimateSource.FUSION,
            joints_stddev=self.hand.joints_stddev,
            wrist_covariance=self.hand.wrist_covariance,
            grasp_probabilities=self.grasp_probabilities,
            track_id=self.track_id,
            depth=own.depth if len(self.observed) == 1 else DepthStatus.NONE,
            hand_length=self.length,
            views=self.views,
        )


@dataclass(frozen=True)
class ViewResidual:
    """How a camera sees a hand to which several cameras contributed."""

    camera: str
    misfit: float
    """Median angle between its rays and the fitted joints, as a fraction of the hand's extent."""
    used: bool
    """Whether the camera agrees with the others."""


@dataclass(frozen=True)
class FusionResult:
    """The fused hands of one moment."""

    hands: tuple[FusedHand, ...]
    residuals: tuple[ViewResidual, ...]
    contradicting: int
    """Number of hands that were left out because other cameras contradict them."""
    shared: tuple[Mapping[str, HandView], ...]
    """What each camera has seen of the hands that several cameras have seen."""


@dataclass(eq=False)
class _Track:
    id: str
    joints: np.ndarray
    velocity: np.ndarray
    """(3,) metres per second."""
    stamp: float
    state: FitState | None = None
    """State of the last fit; None if the hand was seen by one camera."""
    odds: float = 0.0
    """Log-odds that this is a right hand."""
    members: frozenset[tuple[str, str]] = frozenset()
    """Names of cameras, and their names of the hand."""

    def predicted(self, stamp: float) -> np.ndarray:
        """Returns the (21, 3) expected joints."""
        return self.joints + self.velocity * min(stamp - self.stamp, _LONGEST_MOMENTUM)


class HandFusion:
    """Fuses hands over time. Not thread-safe.

    Args:
        assets: Hand model of each side.
        lengths: Given lengths of the hands.
    """

    def __init__(self, assets: Mapping[Side, HandAsset], lengths: Mapping[Side, HandLength] | None = None):
        self._fit = MultiviewFit(assets)
        self.lengths = HandLengths(lengths)
        """Lengths of the hands, which the fusion learns."""
        self._tracks: list[_Track] = []
        self._count = 0

    def reset(self) -> None:
        """Forgets all tracks, but not the lengths of the hands."""
        self._tracks = []

    def update(self, stamp: float, observed: Mapping[str, Sequence[ObservedHand]]) -> FusionResult:
        """Fuses the hands that the cameras have seen at about one moment.

        Args:
            stamp: The moment in seconds; hands are moved to it along the velocity of their track.
            observed: The hands of each camera.
        """
        if any(stamp < track.stamp for track in self._tracks):
            self.reset()
        self._tracks = [track for track in self._tracks if stamp - track.stamp <= MAX_GAP]
        hands: list[FusedHand] = []
        residuals: list[ViewResidual] = []
        singles: list[tuple[Member, _Track | None]] = []
        shared: list[Mapping[str, HandView]] = []
        for group, track in self._groups(stamp, observed):
            moved = {member[0]: _at(stamp, observed[member[0]][member[1]], track) for member in group}
            if len(group) > 1:
                shared.append({name: hand.view for name, hand in moved.items()})
            fused = self._fused(stamp, moved, track, residuals) if len(group) > 1 else None
            if fused is not None:
                hands.append(fused)
            elif len(group) == 1:
                singles.append((group[0], track))
            else:  # The cameras contradict each other: the best one is left.
                best = max(group, key=lambda member: _trust(observed[member[0]][member[1]]))
                singles.append((best, track))
        contradicting = 0
        for member, track in sorted(singles, key=lambda item: -_trust(observed[item[0][0]][item[0][1]])):
            hand = observed[member[0]][member[1]]
            if any(_is_seen_wrongly(hand, other) for other in hands if member[0] not in other.views):
                contradicting += 1
            else:
                hands.append(self._single(stamp, member[0], hand, track))
        return FusionResult(tuple(hands), tuple(residuals), contradicting, tuple(shared))

    def _groups(
        self, stamp: float, observed: Mapping[str, Sequence[ObservedHand]]
    ) -> list[tuple[list[Member], _Track | None]]:
        """Returns which hands of the cameras are the same hand, and its track if it is known."""
        views = {name: [hand.view for hand in hands] for name, hands in observed.items()}
        known = [track for track in self._tracks if track.state is not None]
        assigned = assign_to_tracks(views, [track.predicted(stamp) for track in known])
        groups: list[tuple[list[Member], _Track | None]] = []
        taken: set[Member] = set()
        for track, members in zip(known, assigned, strict=True):
            if len(members) > 1:
                groups.append((members, track))
                taken |= set(members)
        left = {name: [i for i in range(len(hands)) if (name, i) not in taken] for name, hands in views.items()}
        free = [track for track in self._tracks if all(track is not other for _, other in groups)]
        for group in associate({name: [views[name][i] for i in indices] for name, indices in left.items()}):
            members = [(name, left[name][i]) for name, i in group]
            ids = {(name, id) for name, i in members if (id := observed[name][i].estimate.track_id)}
            likeness = [_likeness(track, ids, members, views, stamp) for track in free]
            best = int(np.argmax(likeness)) if free and max(likeness) > 0 else None
            groups.append((members, None if best is None else free.pop(best)))
        return groups

    def _fused(
        self, stamp: float, views: dict[str, ObservedHand], track: _Track | None, residuals: list[ViewResidual]
    ) -> FusedHand | None:
        """Returns the hand that several cameras see; None if they contradict each other."""
        state, dt = (track.state, stamp - track.stamp) if track is not None else (None, 0.0)
        names = list(views)
        # What was learned must not confirm itself.
        likely = Side.RIGHT if side_log_odds([hand.view for hand in views.values()]) >= 0 else Side.LEFT
        given = self.lengths.given(likely)
        while len(names) > 1:
            result = self._fit.fit([views[name].view for name in names], state, dt, given)
            worst = int(result.misfits.argmax())
            if result.misfits[worst] < MOST_FIT_MISFIT:
                break
            # With three views or more the one that fits worst lies; of two, nobody knows which.
            state = None
            names.pop(worst)
        else:
            return None
        used_misfits = dict(zip(names, result.misfits.tolist(), strict=True))
        for name, hand in views.items():
            found = used_misfits.get(name)
            value = misfit(hand.view, result.hand.joints) if found is None else found
            residuals.append(ViewResidual(name, value, found is not None))
        self.lengths.add(result.side, result.length, stamp)
        used = {name: views[name] for name in names}
        track = self._continued(stamp, track, result, used)
        estimates = [hand.estimate for hand in used.values()]
        grasps = [each.grasp_probabilities for each in estimates if each.grasp_probabilities is not None]
        return FusedHand(
            track_id=track.id,
            side=result.side,
            side_score=float(1 / (1 + np.exp(-abs(track.odds)))),
            score=float(1 - np.prod([1 - each.score for each in estimates])),
            hand=result.hand,
            observed=used,
            length=self.lengths.get(result.side),
            measured_length=result.length,
            grasp_probabilities=np.mean(grasps, axis=0) if grasps else None,
        )

    def _continued(
        self, stamp: float, track: _Track | None, result: MultiviewResult, views: Mapping[str, ObservedHand]
    ) -> _Track:
        odds = side_log_odds([hand.view for hand in views.values()])
        track = self._moved(stamp, track, result.hand.joints, odds, views)
        track.state = result.state
        return track

    def _moved(
        self, stamp: float, track: _Track | None, joints: np.ndarray, odds: float, views: Mapping[str, ObservedHand]
    ) -> _Track:
        """Returns the track of a hand, continued or new."""
        if track is None:
            self._count += 1
            track = _Track(f"hand_{self._count}", joints, np.zeros(3), stamp)
            self._tracks.append(track)
        elif stamp > track.stamp:
            track.velocity = (joints - track.joints).mean(0) / (stamp - track.stamp)
        track.joints, track.stamp = joints, stamp
        limit = _MOST_SIDE_EVIDENCE
        track.odds = float(np.clip(_SIDE_MEMORY * track.odds + odds, -limit, limit))
        track.members = frozenset((name, id) for name, hand in views.items() if (id := hand.estimate.track_id))
        return track

    def _single(self, stamp: float, name: str, hand: ObservedHand, track: _Track | None) -> FusedHand:
        """Returns a hand that a single camera sees.

        Its distance follows from its length, if that is known, unless the camera has measured the depth.
        """
        side = hand.view.side
        length = self.lengths.get(side)
        fitted = hand.hand
        if length is not None and hand.estimate.depth is not DepthStatus.USED:
            fitted = self._fit.resized(fitted, side, hand.view.origin, length)
        track = self._moved(stamp, track, fitted.joints, side_log_odds([hand.view]), {name: hand})
        track.state = None
        return FusedHand(
            track_id=track.id,
            side=side,
            side_score=hand.view.side_score,
            score=hand.estimate.score,
            hand=fitted,
            observed={name: hand},
            length=length,
            measured_length=None,
            grasp_probabilities=hand.estimate.grasp_probabilities,
        )


def observe(estimate: HandEstimate, camera: Camera, pose: Pose, stamp: float) -> ObservedHand | None:
    """Returns an estimate of a camera in the common frame.

    Args:
        estimate: The estimate, in the camera's frame.
        camera: The camera of the image.
        pose: Pose of the camera in the common frame.
        stamp: Time of the image in seconds.

    Returns:
        The hand; None if its keypoints or its uncertainty are unknown, or if the camera sees too few of them.
    """
    if estimate.keypoints is None or estimate.joints_stddev is None or estimate.wrist_covariance is None:
        return None
    rays = camera.rays(estimate.keypoints) @ pose.rotation.T
    if np.isfinite(rays).all(1).sum() < LEAST_KEYPOINTS:
        return None
    rotation = pose.rotation @ estimate.wrist_rotation
    joints = pose.apply(estimate.joints)
    # transl is the wrist's position less that of the rest pose, which no pose of the camera changes.
    transl = joints[0] + (estimate.mano.transl - estimate.joints[0])
    mano = replace(estimate.mano, transl=transl, global_orient=vectors_from_matrices(rotation))
    both = np.kron(np.eye(2), pose.rotation)
    hand = FittedHand(
        mano=mano,
        joints=joints,
        joints_stddev=np.sqrt(estimate.joints_stddev**2 @ (pose.rotation**2).T),
        wrist_position=joints[0],
        wrist_rotation=rotation,
        wrist_covariance=both @ estimate.wrist_covariance @ both.T,
    )
    stddev = float(np.sqrt(np.mean(estimate.joints_stddev**2))) if estimate.depth is DepthStatus.USED else None
    view = HandView(rays, pose.position, estimate.side, estimate.side_score, mano, joints, stddev=stddev)
    return ObservedHand(view, stamp, estimate, hand)


def _is_seen_wrongly(hand: ObservedHand, other: FusedHand) -> bool:
    """Returns whether a hand that a single camera sees is rather another one that was published already."""
    limit = SAME_HAND if hand.view.side is other.side else _OTHER_HAND
    return misfit(hand.view, other.hand.joints) < limit


def _trust(hand: ObservedHand) -> float:
    return float(np.nan_to_num(hand.estimate.score, nan=0.5))


def _at(stamp: float, hand: ObservedHand, track: _Track | None) -> ObservedHand:
    """Returns a hand as its camera would see it at another time, by the velocity of its track."""
    dt = stamp - hand.stamp
    if track is None or not dt:
        return hand
    # A moved camera sees the hand at rest like the camera at rest sees the moved hand.
    return replace(hand, view=replace(hand.view, origin=hand.view.origin + track.velocity * dt))


def _likeness(
    track: _Track,
    ids: set[tuple[str, str]],
    members: Sequence[Member],
    views: Mapping[str, Sequence[HandView]],
    stamp: float,
) -> float:
    """Returns how much a group is like a track; 0 if it is another hand."""
    same = len(ids & track.members)
    joints = track.predicted(stamp)
    near = max(0.0, SAME_HAND - min(misfit(views[name][i], joints) for name, i in members))
    return same + near
