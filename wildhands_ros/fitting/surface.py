"""The hand's surface as a few hundred points with normals, posed by ``kinematics``, with derivatives.

The points are vertices of the mesh, spread evenly over the hand. They are skinned like the mesh; the derivatives leave
out how pose blend shapes change with the pose, which is less than a millimetre.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np

from ..geometry.compiled import native
from ..geometry.normals import vertex_normals
from ..hand_model.asset import NUM_JOINTS, HandAsset, joints_linear
from ..hand_model.joints import MANO_TO_MEDIAPIPE
from .anatomy import ARTICULATED_JOINTS
from .kinematics import NUM_ANGLES, NUM_RIGID, HandKinematics, HandPose

NUM_POINTS = 256
"""Points on the whole surface, of which about 40 % face the camera: one per 9 mm."""
_WRIST_CAP = 0.012
"""Metres from the wrist's end of the mesh within which there are no points: there the arm continues."""
_SPHERES_PER_BONE = 4
_SPHERE_SCALE = 0.8
"""Radius of the spheres inside the hand over the distance of their centres to the surface."""

_FINGER_JOINTS = np.array(MANO_TO_MEDIAPIPE)[list(ARTICULATED_JOINTS)]
"""MANO index of the 15 articulated joints, thumb first."""


class PosedSurface(NamedTuple):
    """The surface of one posed right hand with K points."""

    points: np.ndarray
    """(K, 3) metres."""
    normals: np.ndarray
    """(K, 3) unit vectors out of the hand."""
    spheres: np.ndarray
    """(S, 3) centres of the spheres that fill the hand, see ``HandSurface.radii``."""
    pose: HandPose
    rest: np.ndarray
    """(K, 3) points in the rest pose, with shape and pose blend shapes."""
    transforms: np.ndarray
    """(16, 3, 4) what each joint does to points of the rest pose; the wrist, then the joints of the fingers."""
    axes: np.ndarray
    """(5, 3, 3, 3) axes of the angles, see ``FingerChains``."""
    positions: np.ndarray
    """(5, 4, 3) joints and fingertips."""
    shape_dirs: np.ndarray
    """(5, 4, 3, B) their derivatives by the shape."""


class HandSurface:
    """Surface of one right-hand model.

    Args:
        asset_right: Hand model.
        kinematics: Kinematics of the same model.
        num_points: Number of points.
    """

    radii: np.ndarray
    """(S,) radii in metres of the spheres that fill the hand."""

    def __init__(self, asset_right: HandAsset, kinematics: HandKinematics, num_points: int = NUM_POINTS):
        self._kinematics = kinematics
        chosen = _spread(asset_right, num_points)
        weights = asset_right.weights[chosen].astype(np.float64)
        order = [0, *_FINGER_JOINTS]
        self._weights = np.ascontiguousarray(weights[:, order])
        self._weights_outwards = _from_joint_to_tip(self._weights[:, 1:].reshape(-1, 5, 3, 1))
        self._template = asset_right.v_template[chosen].astype(np.float64).ravel()
        self._dirs = np.ascontiguousarray(asset_right.shapedirs[chosen].reshape(3 * len(chosen), -1), np.float64)
        self._normals = vertex_normals(asset_right.v_template, asset_right.faces)[chosen]
        joints, joint_dirs = joints_linear(asset_right)
        self._joints, self._joint_dirs = joints[order], joint_dirs[order]
        self._posedirs = None
        if asset_right.posedirs is not None:
            # The columns of MANO's pose feature in the order of the fingers here.
            by_joint = asset_right.posedirs[chosen].reshape(len(chosen), 3, NUM_JOINTS - 1, 9)
            self._posedirs = by_joint[:, :, _FINGER_JOINTS - 1].reshape(3 * len(chosen), -1)
        self._bones, self.radii = _spheres(asset_right, kinematics.rest_joints)

    def pose(self, pose: HandPose) -> PosedSurface:
        """Poses the surface."""
        chains = self._kinematics.chains(pose)
        rest = self._template + self._dirs @ pose.betas
        if self._posedirs is not None:
            local = np.swapaxes(chains.frames[:, :3], -1, -2) @ chains.frames[:, 1:] - np.eye(3)
            rest += self._posedirs @ local.astype(np.float32).ravel()
        rest = rest.reshape(-1, 3)
        transforms = np.empty((NUM_JOINTS, 3, 4))
        transforms[0, :, :3], transforms[1:, :, :3] = pose.rotation, chains.frames[:, 1:].reshape(15, 3, 3)
        transforms[0, :, 3], transforms[1:, :, 3] = pose.position, chains.positions[:, :3].reshape(15, 3)
        joints = self._joints + self._joint_dirs @ pose.betas
        transforms[:, :, 3] -= (transforms[:, :, :3] @ joints[..., None])[..., 0]
        blended = (self._weights @ transforms.reshape(NUM_JOINTS, 12)).reshape(-1, 3, 4)
        points = np.einsum("kab,kb->ka", blended[:, :, :3], rest) + blended[:, :, 3]
        normals = np.einsum("kab,kb->ka", blended[:, :, :3], self._normals)
        normals /= np.sqrt((normals**2).sum(1))[:, None]
        posed_joints = np.concatenate([pose.position[None], chains.positions.reshape(20, 3)])
        return PosedSurface(
            points,
            normals,
            self._bones @ posed_joints,
            pose,
            rest,
            transforms,
            chains.axes,
            chains.positions,
            chains.shape_dirs,
        )

    def along_normals(self, surface: PosedSurface, chosen: np.ndarray) -> np.ndarray:
        """Returns the (N, unknowns) derivatives of the ``chosen`` points' positions along their normals."""
        normals, weights = surface.normals[chosen], self._weights[chosen]
        result = np.empty((len(chosen), self._kinematics.num_unknowns))
        result[:, :3] = _cross(surface.points[chosen] - surface.pose.position, normals)
        result[:, 3:6] = normals
        # A rotation about axis a through joint l moves a point by a x arm, along the normal by a . (arm x normal).
        turns = surface.transforms[1:, :, :3].reshape(45, 3)
        under = (surface.rest[chosen] @ turns.T).reshape(-1, 15, 3) + surface.transforms[1:, :, 3]
        arms = _from_joint_to_tip((under * weights[:, 1:, None]).reshape(-1, 5, 3, 3))
        arms -= self._weights_outwards[chosen] * surface.positions[:, :3]
        levers = _cross(arms.reshape(-1, 15, 3), normals[:, None])
        axes = surface.axes.reshape(15, 3, 3)
        result[:, NUM_RIGID : NUM_RIGID + NUM_ANGLES] = np.einsum("njc,jca->nja", levers, axes).reshape(-1, NUM_ANGLES)
        result[:, NUM_RIGID + NUM_ANGLES :] = self._shape_derivatives(surface, normals, weights, chosen)
        return result

    def _shape_derivatives(
        self, surface: PosedSurface, normals: np.ndarray, weights: np.ndarray, chosen: np.ndarray
    ) -> np.ndarray:
        turns = surface.transforms[:, :, :3]
        in_joints = (normals @ turns.swapaxes(0, 1).reshape(3, 48)).reshape(-1, 16, 3)  # normals in the joints' frames
        at_rest = np.einsum("nj,njc->nc", weights, in_joints)
        dirs = self._dirs.reshape(len(surface.points), 3, -1)[chosen]
        derivative = np.einsum("nc,ncb->nb", at_rest, dirs)
        # The joints move too, and so does the origin about which each of them rotates the point.
        origins = -(turns @ self._joint_dirs)
        origins[1:] += surface.shape_dirs[:, :3].reshape(15, 3, -1)
        return derivative + (weights[..., None] * normals[:, None]).reshape(-1, 48) @ origins.reshape(48, -1)


class CompiledSurface(HandSurface):
    """A ``HandSurface`` whose methods are compiled (``native/surface.c``)."""

    def __init__(self, asset_right: HandAsset, kinematics: HandKinematics, num_points: int = NUM_POINTS):
        super().__init__(asset_right, kinematics, num_points)
        if native is None:
            raise ImportError("the fit was not compiled: install a C compiler, then this package again")
        self._pose_surface, self._surface_rows = native.pose_surface, native.surface_rows
        axes, offsets, _, offset_dirs, _ = kinematics.constants()
        surface = (
            self._template,
            self._dirs,
            self._normals,
            self._weights,
            self._joints,
            self._joint_dirs,
            self._bones,
        )
        self._model = np.concatenate([part.ravel() for part in (axes, offsets, offset_dirs, *surface)]).astype(
            np.float64
        )
        blends = np.zeros(0) if self._posedirs is None else self._posedirs
        self._blends = np.ascontiguousarray(blends, np.float32)
        points, spheres, betas = len(self._weights), len(self._bones), kinematics.num_betas
        self._sizes = points, spheres, betas
        self._ends = tuple(
            accumulate((0, 3 * points, 3 * points, 3 * spheres, 3 * points, 16 * 12, 135, 60, 60 * betas))
        )
        """Places in a posed surface where one of its arrays ends and the next one starts."""

    def pose(self, pose: HandPose) -> PosedSurface:
        numbers = np.empty(self._ends[-1])
        self._pose_surface(self._model, self._blends, _numbers(pose), *self._sizes, numbers)
        points, normals, spheres, rest, transforms, axes, positions, shape_dirs = (
            numbers[start:end] for start, end in pairwise(self._ends)
        )
        return PosedSurface(
            points.reshape(-1, 3),
            normals.reshape(-1, 3),
            spheres.reshape(-1, 3),
            pose,
            rest.reshape(-1, 3),
            transforms.reshape(16, 3, 4),
            axes.reshape(5, 3, 3, 3),
            positions.reshape(5, 4, 3),
            shape_dirs.reshape(5, 4, 3, -1),
        )

    def along_normals(self, surface: PosedSurface, chosen: np.ndarray) -> np.ndarray:
        rows = np.empty((len(chosen), self._kinematics.num_unknowns))
        numbers, which = surface.points.base, np.ascontiguousarray(chosen, np.int64)
        self._surface_rows(self._model, numbers, _numbers(surface.pose), which, *self._sizes, rows)
        return rows


def hand_surface(asset_right: HandAsset, kinematics: HandKinematics) -> HandSurface:
    """Returns the surface of a model, compiled if that is available."""
    return HandSurface(asset_right, kinematics) if native is None else CompiledSurface(asset_right, kinematics)


def _numbers(pose: HandPose) -> np.ndarray:
    return np.concatenate([pose.rotation.ravel(), pose.position, pose.angles.ravel(), pose.betas])


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the cross product along the last axis; faster than NumPy's for small arrays."""
    result = np.empty(np.broadcast_shapes(a.shape, b.shape))
    x, y, z = a[..., 0], a[..., 1], a[..., 2]
    u, v, w = b[..., 0], b[..., 1], b[..., 2]
    result[..., 0], result[..., 1], result[..., 2] = y * w - z * v, z * u - x * w, x * v - y * u
    return result


def _from_joint_to_tip(values: np.ndarray) -> np.ndarray:
    """Sums (K, 5, 3, ...) over the joints of a finger from each joint to the last."""
    result = values.copy()
    result[:, :, 1] += result[:, :, 2]
    result[:, :, 0] += result[:, :, 1]
    return result


def _spread(asset: HandAsset, count: int) -> np.ndarray:
    """Returns indices of ``count`` vertices that are spread evenly over the hand, without the cap of the wrist.

    Each next vertex is the one that is farthest from those before.
    """
    vertices = asset.v_template.astype(np.float64)
    allowed = np.flatnonzero(vertices[:, 0] < vertices[:, 0].max() - _WRIST_CAP)
    points = vertices[allowed]
    chosen = [int(points[:, 0].argmin())]
    distances = np.linalg.norm(points - points[chosen[0]], axis=1)
    while len(chosen) < min(count, len(points)):
        chosen.append(int(distances.argmax()))
        distances = np.minimum(distances, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return np.sort(allowed[chosen])


def _spheres(asset: HandAsset, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns (S, 21) matrix from joints to the centres of spheres inside the hand, and their (S,) radii.

    The spheres lie on the bones of the fingers and between the metacarpals.
    """
    pairs = [(joint, joint + 1) for joint in range(1, 20) if joint % 4]
    pairs += [(0, 1), (0, 5), (0, 9), (0, 13), (0, 17), (1, 5), (5, 9), (9, 13), (13, 17)]
    steps = (np.arange(_SPHERES_PER_BONE) + 0.5) / _SPHERES_PER_BONE
    rows = np.zeros((len(pairs), _SPHERES_PER_BONE, 21))
    for row, (start, end) in zip(rows, pairs, strict=True):
        row[:, start] += 1 - steps
        row[:, end] += steps
    matrix = rows.reshape(-1, 21)
    centres = matrix @ joints
    gaps = np.linalg.norm(centres[:, None] - asset.v_template[None].astype(np.float64), axis=2).min(1)
    return matrix, _SPHERE_SCALE * gaps
