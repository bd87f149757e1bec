"""Both hands in the room, photographed at any time of the clip."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from wildhands_ros.geometry.camera import Camera
from wildhands_ros.hand_model.asset import joints_linear, open_hand
from wildhands_ros.hand_model.joints import MANO_TO_MEDIAPIPE
from wildhands_ros.hand_model.layer import HandLayer
from wildhands_ros.types import EstimateSource, FrameEstimate, HandEstimate, ManoParameters, Side

from .desk import Desk
from .mesh import SkinMesh, SleeveMesh, vertex_normals
from .motion import HandMotion
from .raster import barycentric, paint_index
from .shading import KeyLight, SkinSurface, cloth_colour, crevices

SUPERSAMPLING = 2
SLEEVE_COLOUR = np.array([0.16, 0.23, 0.36])
BETAS_DEVIATION = 0.6
"""The hands are not the mean hand: an estimator must not get their size for nothing."""


@dataclass(frozen=True)
class PosedHand:
    """One hand at one moment."""

    mano: ManoParameters
    vertices: np.ndarray
    joints: np.ndarray
    """(21, 3) MANO order."""
    rotation: np.ndarray


class Actor:
    """One hand with its arm."""

    def __init__(self, side: Side, layer: HandLayer, betas: np.ndarray, seed: int):
        self.side = side
        self._layer, self._betas = layer, betas
        asset = open_hand(side)
        self.motion = HandMotion(asset, seed)
        template = asset.v_template + asset.shapedirs @ betas.astype(np.float32)
        self.skin = SkinMesh(template, asset.faces, arm_axis=1.0 if side is Side.RIGHT else -1.0)
        self.sleeve = SleeveMesh(self.skin.wrist_radii, np.random.default_rng(seed))
        base, dirs = joints_linear(asset)
        self.rest_joints = base + dirs @ betas
        # The textures know right hands; a left hand reads them mirrored.
        self._mirror = np.array([1.0 if side is Side.RIGHT else -1.0, 1, 1])
        self.rest = self.skin.rest * self._mirror
        self.rest_normals = self.skin.rest_normals * self._mirror
        self.surface = SkinSurface(self.rest, self.rest_normals, self.rest_joints * self._mirror, seed)

    def posed(self, time: float) -> PosedHand:
        rotation = self.motion.rotation(time)
        orient = cv2.Rodrigues(rotation)[0].ravel()
        pose = self.motion.hand_pose(time)
        # The hand turns about its wrist joint, which is to be at the motion's wrist.
        transl = self.motion.wrist(time) - self.rest_joints[0]
        tensors = [torch.from_numpy(value.astype(np.float32))[None] for value in (orient, pose, self._betas, transl)]
        output = self._layer(*tensors, is_right=torch.tensor([self.side is Side.RIGHT]))
        vertices, joints = (value[0].numpy().astype(np.float64) for value in output)
        return PosedHand(ManoParameters(transl, orient, pose, self._betas), vertices, joints, rotation)

    def truth(self, time: float, camera: Camera) -> HandEstimate:
        hand = self.posed(time)
        joints = hand.joints[list(MANO_TO_MEDIAPIPE)]
        joints_2d = camera.project(joints)
        return HandEstimate(
            side=self.side,
            score=1.0,
            side_score=1.0,
            box=np.concatenate([joints_2d.min(axis=0), joints_2d.max(axis=0)]),
            joints=joints,
            joints_2d=joints_2d,
            wrist_position=joints[0],
            wrist_rotation=hand.rotation,
            mano=hand.mano,
            pose_mesh=lambda *_: hand.vertices,
            source=EstimateSource.KEYPOINT_FIT,
        )


class Scene:
    """Everything in front of the camera."""

    def __init__(self, camera: Camera, seed: int):
        self.camera = camera
        self._fine = camera.scaled(SUPERSAMPLING, SUPERSAMPLING)
        rng = np.random.default_rng(seed)
        layer = HandLayer(open_hand(Side.RIGHT), open_hand(Side.LEFT))
        betas = rng.normal(0, BETAS_DEVIATION, layer.num_betas)
        self.actors = [
            Actor(side, layer, betas, seed + number) for number, side in enumerate((Side.RIGHT, Side.LEFT), start=1)
        ]
        self._desk = Desk(camera, seed)
        self._desk_points = np.nan_to_num(self._desk.points.reshape(-1, 3), nan=99.0)

    def truth(self, time: float) -> FrameEstimate:
        """Both hands as they are, whether they can be seen or not."""
        return FrameEstimate(tuple(actor.truth(time, self.camera) for actor in self.actors), self.camera)

    def photograph(self, times: np.ndarray) -> np.ndarray:
        """(H, W, 3) float32 RGB in [0, 1], free of noise: the mean of these moments, with the shadows of the middle one."""
        moments = [self._meshes(time) for time in times]
        light = KeyLight(np.concatenate([vertices[faces] for vertices, faces in moments[len(times) // 2]]))
        shadow = light.desk_shadow(self._desk_points).reshape(self.camera.height, self.camera.width, 1)
        layer = np.mean([self._hands(meshes, light) for meshes in moments], axis=0)
        return self._desk.picture * (1 - 0.42 * shadow).astype(np.float32) * (1 - layer[..., 3:]) + layer[..., :3]

    def _meshes(self, time: float) -> list[tuple[np.ndarray, np.ndarray]]:
        """Vertices and faces: skin and sleeve of the first actor, then of the second."""
        meshes = []
        for actor in self.actors:
            hand = actor.posed(time)
            skin, curve = actor.skin.pose(hand.vertices, hand.rotation, actor.motion.elbow(time))
            meshes.append((skin, actor.skin.faces))
            meshes.append((actor.sleeve.pose(curve), actor.sleeve.faces))
        return meshes

    def _hands(self, meshes: list[tuple[np.ndarray, np.ndarray]], light: KeyLight) -> np.ndarray:
        """(H, W, 4) float32 RGB and cover, the colour times the cover."""
        offsets = np.cumsum([0] + [len(faces) for _, faces in meshes])
        corners = np.concatenate([self._fine.project(vertices)[faces] for vertices, faces in meshes])
        triangles = np.concatenate([vertices[faces] for vertices, faces in meshes])
        front = (np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]) * triangles[:, 0]).sum(
            axis=-1
        ) < 0
        drawable = front & np.isfinite(corners).all(axis=(1, 2))
        depths = np.linalg.norm(triangles.mean(axis=1), axis=-1)
        numbers = np.flatnonzero(drawable)
        index = paint_index(corners[numbers], depths[numbers], self._fine.width, self._fine.height)
        y, x = np.nonzero(index >= 0)
        face = numbers[index[y, x]]
        weights = barycentric(corners[face], x, y)

        layer = np.zeros((*index.shape, 4), np.float32)
        points = np.einsum("nk,nkc->nc", weights, triangles[face])
        lit = light.visibility(points)
        colour = np.zeros((len(face), 3))
        for number, (vertices, faces) in enumerate(meshes):
            chosen = np.flatnonzero((face >= offsets[number]) & (face < offsets[number + 1]))
            if len(chosen):
                shown = faces[face[chosen] - offsets[number]]
                colour[chosen] = self._surface_colour(
                    number, vertices, faces, shown, weights[chosen], points[chosen], lit[chosen]
                )
        depth = np.zeros(index.shape)
        depth[y, x] = points[:, 2]
        colour *= crevices(depth, index >= 0)[y, x, None]
        layer[y, x, :3], layer[y, x, 3] = colour, 1
        return cv2.resize(layer, (self.camera.width, self.camera.height), interpolation=cv2.INTER_AREA)

    def _surface_colour(self, number, vertices, faces, corner_vertices, weights, points, lit) -> np.ndarray:
        actor = self.actors[number // 2]

        def blend(values):
            return np.einsum("nk,nkc->nc", weights, values[corner_vertices])

        normals = blend(vertex_normals(vertices, faces))
        normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
        if number % 2:
            uv = actor.sleeve.uv[corner_vertices]
            # The seam joins the end of one turn to the start of the next.
            around = uv[..., 1]
            uv[..., 1] = np.where(around.max(axis=1, keepdims=True) - around > 0.1, around + 2 * np.pi * 0.04, around)
            return cloth_colour(np.einsum("nk,nkc->nc", weights, uv), normals, points, lit, SLEEVE_COLOUR)
        rest_normals = blend(actor.rest_normals)
        rest_normals /= np.linalg.norm(rest_normals, axis=-1, keepdims=True)
        turn = _rotations_between(rest_normals, normals, vertices, corner_vertices, actor.rest)
        return actor.surface.colour(blend(actor.rest), rest_normals, normals, turn, points, lit)


def _rotations_between(rest_normals, normals, vertices, corner_vertices, rest) -> np.ndarray:
    """(N, 3, 3) from the rest frame to the camera frame, by each triangle's normal and one of its edges."""

    def frames(normal, positions):
        edge = positions[corner_vertices[:, 1]] - positions[corner_vertices[:, 0]]
        tangent = edge - (edge * normal).sum(axis=-1, keepdims=True) * normal
        tangent /= np.maximum(np.linalg.norm(tangent, axis=-1, keepdims=True), 1e-12)
        return np.stack([normal, tangent, np.cross(normal, tangent)], axis=-1)

    return frames(normals, vertices) @ frames(rest_normals, rest).transpose(0, 2, 1)
