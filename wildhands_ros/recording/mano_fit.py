"""Fits MANO to hands of the open hand model, for users who have MANO's files.

Both models have the same joints and axes, so the fit starts from the parameters of the open hand. It first brings the
joints together, then the surfaces: each vertex of MANO moves towards the plane of the nearest vertex of the open hand.
The hands of a track have one shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from ..geometry.normals import vertex_normals
from ..hand_model.asset import HandAsset
from ..hand_model.joints import MANO_TO_MEDIAPIPE
from ..hand_model.layer import HandLayer, HandOutput
from ..hand_model.posing import HandPoser
from ..runtime.threads import one_torch_thread
from ..types import ManoParameters, Side

BATCH = 128
"""Hands that are fitted at once."""
_OF_SHAPE = 32
"""Most hands of a track from which its shape is fitted."""
_ROUNDS = 2
"""Times that nearest vertices are looked for."""
_ITERATIONS = 15
"""Iterations of each round."""
_FAR = 0.015
"""Metres from the other surface beyond which a vertex has no counterpart there, such as those at the wrist's edge."""
_JOINT_WEIGHT, _POSE_WEIGHT, _SHAPE_WEIGHT = 0.3, 1e-5, 1e-7
"""Weights of the squared distances of the joints, of the squared change of the pose in radians, and of the squared
betas, relative to the squared distances of the surfaces in metres."""
_TRANSL_UNIT, _BETAS_UNIT = 0.05, 10.0
"""Metres and betas that move the surface about as far as a radian of the pose, so that the fit converges quickly."""


@dataclass(frozen=True)
class OpenHand:
    """One hand to fit MANO to."""

    side: Side
    mano: ManoParameters
    """Parameters of the open hand model."""
    track: str
    """Hands of one track have one shape."""


@dataclass(frozen=True)
class FittedMano:
    """MANO's parameters for one hand."""

    mano: ManoParameters
    """With the full applied pose (``flat_hand_mean=True``)."""
    vertex_error: float
    """Mean distance in metres of MANO's vertices to the open hand's surface, along its normals."""


class ManoFitter:
    """Fits MANO to open hands.

    Args:
        open_model: Open hand model of each side.
        mano_model: MANO of each side.
    """

    def __init__(self, open_model: Mapping[Side, HandAsset], mano_model: Mapping[Side, HandAsset]):
        self._poser = HandPoser(open_model)
        self._faces = {side: asset.faces for side, asset in open_model.items()}
        self._layer = HandLayer(mano_model[Side.RIGHT], mano_model[Side.LEFT])

    def __call__(self, hands: Sequence[OpenHand]) -> list[FittedMano]:
        """Returns MANO's parameters for each hand."""
        tracks: dict[tuple[Side, str], list[int]] = {}
        for number, hand in enumerate(hands):
            tracks.setdefault((hand.side, hand.track), []).append(number)
        found: dict[int, FittedMano] = {}
        for numbers in tracks.values():
            step = -(-len(numbers) // _OF_SHAPE)
            with one_torch_thread():
                betas, _ = self._fit([hands[number] for number in numbers[::step]], None)
                for start in range(0, len(numbers), BATCH):
                    some = numbers[start : start + BATCH]
                    _, fitted = self._fit([hands[number] for number in some], betas)
                    found.update(zip(some, fitted, strict=True))
        return [found[number] for number in range(len(hands))]

    def _fit(self, hands: Sequence[OpenHand], known_betas: Tensor | None) -> tuple[Tensor, list[FittedMano]]:
        """Fits hands of one track.

        Args:
            hands: The hands.
            known_betas: (1, B) their shape; None to fit it.

        Returns:
            The (1, B) shape, and the hands.
        """
        posed = [self._poser(hand.mano, hand.side) for hand in hands]
        joints = torch.from_numpy(np.stack([each.joints for each in posed]))
        vertices = [each.vertices.astype(np.float64) for each in posed]
        normals = [vertex_normals(each, self._faces[hand.side]) for each, hand in zip(vertices, hands, strict=True)]
        trees = [cKDTree(each) for each in vertices]
        is_right = torch.tensor([hand.side is Side.RIGHT for hand in hands])
        first = torch.from_numpy(
            np.stack([np.concatenate([hand.mano.global_orient, hand.mano.hand_pose]) for hand in hands])
        ).float()
        pose = first.clone().requires_grad_()
        shape = torch.zeros(1, self._layer.num_betas) if known_betas is None else known_betas / _BETAS_UNIT
        shape.requires_grad_(known_betas is None)
        moved = torch.zeros(len(hands), 3, requires_grad=True)
        start = torch.zeros(len(hands), 3)

        def output() -> HandOutput:
            betas = _BETAS_UNIT * shape.expand(len(hands), -1)
            return self._layer(pose[:, :3], pose[:, 3:], betas, start + _TRANSL_UNIT * moved, is_right=is_right)

        with torch.no_grad():
            start = joints[:, 0] - output().joints[:, 0]

        def joints_and_prior(posed: HandOutput) -> Tensor:
            apart = (posed.joints[:, list(MANO_TO_MEDIAPIPE)] - joints).square().sum(-1).mean()
            prior = _POSE_WEIGHT * (pose - first).square().mean() + _SHAPE_WEIGHT * (_BETAS_UNIT * shape).square().sum()
            return _JOINT_WEIGHT * apart + prior

        parameters = [moved, pose, *([shape] if known_betas is None else [])]
        _minimise(parameters, lambda: joints_and_prior(output()))
        for _ in range(_ROUNDS):
            targets = _Planes.nearest(output().vertices.detach().numpy(), vertices, normals, trees)

            def loss(targets: _Planes = targets) -> Tensor:
                posed = output()
                return joints_and_prior(posed) + (targets.weights * targets.distances(posed.vertices).square()).mean()

            _minimise(parameters, loss)
        with torch.no_grad():
            mesh = output().vertices
            targets = _Planes.nearest(mesh.numpy(), vertices, normals, trees)
            errors = (targets.weights * targets.distances(mesh).abs()).sum(1) / targets.weights.sum(1).clamp(min=1)
            transl, betas = start + _TRANSL_UNIT * moved, _BETAS_UNIT * shape.detach()
        rows = zip(transl.numpy(), pose.detach().numpy(), errors.tolist(), strict=True)
        fitted = [
            FittedMano(ManoParameters(position, angles[:3], angles[3:], betas[0].numpy()), error)
            for position, angles, error in rows
        ]
        return betas, fitted


@dataclass(frozen=True)
class _Planes:
    """The planes of the nearest vertices."""

    points: Tensor
    """(N, V, 3) metres."""
    normals: Tensor
    """(N, V, 3) of unit length."""
    weights: Tensor
    """(N, V) 1, or 0 for vertices without a counterpart."""

    @classmethod
    def nearest(
        cls,
        mesh: np.ndarray,
        vertices: Sequence[np.ndarray],
        normals: Sequence[np.ndarray],
        trees: Sequence[cKDTree],
    ) -> _Planes:
        """Returns the planes at the vertices that are nearest to those of each of (N, V, 3) meshes."""
        found = [tree.query(points) for tree, points in zip(trees, mesh, strict=True)]
        points = np.stack([each[near] for each, (_, near) in zip(vertices, found, strict=True)])
        directions = np.stack([each[near] for each, (_, near) in zip(normals, found, strict=True)])
        weights = np.stack([distances < _FAR for distances, _ in found])
        return cls(*(torch.from_numpy(each).float() for each in (points, directions, weights)))

    def distances(self, mesh: Tensor) -> Tensor:
        """Returns the (N, V) signed distances of a mesh in metres."""
        return ((mesh - self.points) * self.normals).sum(-1)


def _minimise(parameters: Sequence[Tensor], loss: Callable[[], Tensor]) -> None:
    optimizer = torch.optim.LBFGS(list(parameters), max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = 1e6 * loss()  # square millimetres, for the thresholds of the optimizer
        value.backward()
        return value

    optimizer.step(closure)
