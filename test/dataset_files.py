"""Small datasets in the published formats, with synthetic hands, to test the readers.

Each ``make_`` function converts hands in the camera frame by the formulas in the dataset's own documentation, with
joint orders spelled out as names, writes the files, and returns the folder to open.
"""

from __future__ import annotations

import dataclasses
import json
import pickle
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from scipy.spatial.transform import Rotation

from wildhands_ros.hand_model.asset import open_hand
from wildhands_ros.hand_model.joints import MEDIAPIPE_JOINT_NAMES
from wildhands_ros.hand_model.layer import HandLayer
from wildhands_ros.types import ManoParameters, Side

FINGERS = ("thumb", "index", "middle", "ring", "pinky")
MANO_NAMES = [
    "wrist",
    *(f"{finger}_{joint}" for finger in ("index", "middle", "pinky", "ring") for joint in ("mcp", "pip", "dip")),
    *("thumb_cmc", "thumb_mcp", "thumb_ip"),
    *(f"{finger}_tip" for finger in FINGERS),
]
TIPS_FIRST_NAMES = [
    *("thumb_tip", "thumb_ip", "thumb_mcp", "thumb_cmc"),
    *(f"{finger}_{joint}" for finger in FINGERS[1:] for joint in ("tip", "dip", "pip", "mcp")),
    "wrist",
]


class Hand(NamedTuple):
    joints: np.ndarray
    """(21, 3) metres, MediaPipe order."""
    mano: ManoParameters


@cache
def mano(side: Side):
    """Returns the open hand as a substitute for MANO, with two properties of MANO that it lacks: a mean pose, and a
    wrist off the origin that moves with the betas."""
    if side is Side.LEFT:
        return mano(Side.RIGHT).mirrored()
    hand, random = open_hand(Side.RIGHT), np.random.default_rng(0)
    moved = hand.shapedirs + random.normal(size=(1, 3, hand.num_betas)).astype(np.float32) * 0.004
    template = hand.v_template + np.float32([0.09, 0.006, 0.006])
    mean = (random.normal(size=45) * 0.2).astype(np.float32)
    return dataclasses.replace(hand, name="mano", v_template=template, shapedirs=moved, hands_mean=mean)


def posed(parameters: ManoParameters, side: Side) -> np.ndarray:
    """Returns the (21, 3) joints in MediaPipe order."""
    layer = HandLayer(mano(Side.RIGHT), mano(Side.LEFT)).double()
    values = (parameters.global_orient, parameters.hand_pose, parameters.betas, parameters.transl)
    tensors = (torch.tensor(np.asarray(value))[None].double() for value in values)
    joints = layer(*tensors, is_right=torch.tensor([side is Side.RIGHT])).joints[0].numpy()
    return joints[[MANO_NAMES.index(name) for name in MEDIAPIPE_JOINT_NAMES]]


@cache
def hands(seed: int) -> dict[Side, Hand]:
    """Returns a right and a left hand in front of the camera."""
    random = np.random.default_rng(seed)
    result = {}
    for side, x in ((Side.RIGHT, 0.12), (Side.LEFT, -0.12)):
        parameters = ManoParameters(
            transl=np.array([x, 0.02, 0.55]) + random.normal(size=3) * 0.02,
            global_orient=random.normal(size=3) * 0.7,
            hand_pose=random.normal(size=45) * 0.15,
            betas=random.normal(size=10) * 0.5,
        )
        result[side] = Hand(posed(parameters, side), parameters)
    return result


def relative(hand: Hand, side: Side) -> np.ndarray:
    """Returns the pose as datasets with ``flat_hand_mean=False`` store it."""
    return hand.mano.hand_pose - mano(side).hands_mean


def in_order(joints: np.ndarray, names: list[str]) -> np.ndarray:
    return joints[[MEDIAPIPE_JOINT_NAMES.index(name) for name in names]]


def write_image(path: Path, width: int, height: int, colour=(10, 120, 200), grey: bool = False) -> None:
    """Writes an image of a single RGB ``colour``, or a grey one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.full((height, width), 90, np.uint8) if grey else np.full((height, width, 3), colour[::-1], np.uint8)
    assert cv2.imwrite(str(path), image)


def write_json(path: Path, value) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def write_pickle(path: Path, value) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(value))


# ARCTIC

ARCTIC_SIZE, ARCTIC_OFFSET = (2800, 2000), 9
ARCTIC_K = np.array([[1850.0, 0, 1380], [0, 1860.0, 1010], [0, 0, 1]])
ARCTIC_LENS = np.array([-0.25, 0.06, 0.0007, -0.0004, 0.01, 0.05, 0.01, 0.002])


def make_arctic(root: Path, change=None, cropped: bool = True) -> Path:
    """Writes three frames of one sequence; ``change(split)`` may alter the split's content before it is written."""
    frames = [hands(seed) for seed in range(3)]
    camera_frame, flat, parameters = (
        {},
        {},
        {"K_ego": np.stack([ARCTIC_K] * 3), "dist": np.stack([ARCTIC_LENS] * 3).astype(np.float32)},
    )
    parameters["K_ego"][1:, 0, 0] += 10
    for side, letter in ((Side.RIGHT, "r"), (Side.LEFT, "l")):
        joints = np.stack([in_order(frame[side].joints, MANO_NAMES) for frame in frames])
        camera_frame[f"joints.{side.value}"] = np.repeat(joints[:, None], 10, axis=1).astype(np.float32)
        camera_frame[f"joints.{side.value}"][:, 1:] += 100
        k = parameters["K_ego"]
        plain = np.stack([(joints[i] @ k[i].T)[:, :2] / joints[i][:, 2:] for i in range(3)])
        bent = np.stack(
            [cv2.projectPoints(joints[i], np.zeros(3), np.zeros(3), k[i], ARCTIC_LENS)[0][:, 0] for i in range(3)]
        )
        flat[f"joints.{side.value}"] = np.stack([plain, *[plain * 0] * 8, bent], axis=1).astype(np.float32)
        orient = np.stack([frame[side].mano.global_orient for frame in frames])
        camera_frame[f"rot_{letter}_cam"] = np.stack([orient, *[orient * 0] * 8], axis=1).astype(np.float32)
        camera_frame[f"{side.value}_valid"] = np.ones((3, 9), np.int64)
        parameters[f"pose_{letter}"] = np.stack([relative(frame[side], side) for frame in frames]).astype(np.float32)
        parameters[f"shape_{letter}"] = np.stack([frame[side].mano.betas for frame in frames]).astype(np.float32)
    camera_frame["is_valid"] = np.ones((3, 9), np.int64)
    bbox = np.tile(np.float32([1400, 1000, 14]), (3, 9, 1))
    sequence = {"cam_coord": camera_frame, "2d": flat, "bbox": bbox, "params": parameters}
    names = [f"./data/arctic_data/data/images/s05/box_use_01/0/{ARCTIC_OFFSET + i:05d}.jpg" for i in range(3)]
    split = {"data_dict": {"s05/box_use_01": sequence}, "imgnames": names}
    if change:
        change(split)
    for folder in ("splits", "meta"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    np.save(root / "splits/p2_val.npy", split)
    write_json(
        root / "meta/misc.json",
        {"s05": {"image_size": [list(ARCTIC_SIZE)] * 9, "ioi_offset": ARCTIC_OFFSET, "gender": "female"}},
    )
    width, height = (840, 600) if cropped else ARCTIC_SIZE
    for name in names:
        write_image(
            root / name.split("/data/")[-1].replace("images", "cropped_images" if cropped else "images"), width, height
        )
    return root


# AssemblyHands and InterHand2.6M: world coordinates in millimetres

WORLD_ROTATION = Rotation.from_rotvec([0.4, -0.9, 0.3]).as_matrix()
"""World to camera."""
CAMERA_POSITION = np.array([310.0, -120.0, 840.0])
"""Millimetres, in the world."""


def to_world(joints: np.ndarray) -> np.ndarray:
    return joints * 1000 @ WORLD_ROTATION + CAMERA_POSITION


def world_joints(frame: dict[Side, Hand]) -> np.ndarray:
    """Returns (42, 3) joints: right, then left."""
    return np.concatenate(
        [to_world(in_order(frame[side].joints, TIPS_FIRST_NAMES)) for side in (Side.RIGHT, Side.LEFT)]
    )


ASSEMBLY_K = [[330.0, 0, 315.5], [0, 331.0, 243.25], [0, 0, 1]]
ASSEMBLY_SEQUENCE = "nusar-2021_action_both_9081-c11b_9081_user_id_2021-02-12_161433"


def make_assembly_hands(root: Path, change=None) -> Path:
    """Writes three frames of one camera, the last with the right hand only; ``change(data, calib, joint_3d)`` may alter
    the contents."""
    camera, frames = "HMC_21179183", [hands(seed) for seed in range(3)]
    pose = np.concatenate([WORLD_ROTATION, (-WORLD_ROTATION @ CAMERA_POSITION)[:, None]], axis=1).tolist()
    numbers = [30 * i for i in range(3)]
    folder = f"ego_images_rectified/val/{ASSEMBLY_SEQUENCE}/{camera}"
    data = {"images": [], "annotations": []}
    joints = {}
    for i, frame in enumerate(frames):
        image = {"id": 100 + i, "file_name": f"{folder}/{numbers[i]:06d}.jpg", "width": 636, "height": 480}
        data["images"].append({**image, "seq_name": ASSEMBLY_SEQUENCE, "camera": camera, "frame_idx": numbers[i]})
        boxes = {"right": [300.0, 150.0, 420.0, 300.0], "left": [180.0, 150.0, 290.0, 300.0] if i < 2 else None}
        valid = [1] * 42
        valid[0] = valid[21 + 4] = 0
        annotation = {"id": i, "image_id": 100 + i, "category_id": 1, "bbox": boxes, "iscrowd": 0, "joint_valid": valid}
        data["annotations"].append(annotation)
        joints[f"{numbers[i]:06d}"] = {"world_coord": world_joints(frame).tolist(), "joint_valid": [[1]] * 42}
        write_image(root / "images" / image["file_name"], 636, 480, grey=True)
    key = camera + "_mono10bit"
    extrinsics = {f"{number:06d}": {key: [list(row) for row in pose]} for number in numbers}
    calib = {"calibration": {ASSEMBLY_SEQUENCE: {"intrinsics": {key: ASSEMBLY_K}, "extrinsics": extrinsics}}}
    joint_3d = {"annotations": {ASSEMBLY_SEQUENCE: joints}}
    if change:
        change(data, calib, joint_3d)
    for kind, value in (("ego_data", data), ("ego_calib", calib), ("joint_3d", joint_3d)):
        write_json(root / f"annotations/val/assemblyhands_val_{kind}_v1-1.json", value)
    return root


INTERHAND_FOCAL, INTERHAND_CENTRE = [420.0, 418.0], [205.5, 260.25]


def make_interhand(root: Path, change=None) -> Path:
    """Writes two frames of one camera, the second without MANO parameters; ``change(data, camera, joint_3d, mano)`` may
    alter the contents."""
    frames, name = [hands(seed) for seed in range(2)], "400262"
    data, joint_3d, fits = {"images": [], "annotations": []}, {"0": {}}, {"0": {}}
    for i, frame in enumerate(frames):
        number = 18000 + i
        image = {
            "id": i,
            "file_name": f"Capture0/ROM04_RT_Occlusion/cam{name}/image{number}.jpg",
            "width": 412,
            "height": 512,
        }
        data["images"].append(
            {**image, "capture": 0, "subject": 3, "seq_name": "ROM04", "camera": name, "frame_idx": number}
        )
        valid = [[1]] * 42
        annotation = {
            "id": i,
            "image_id": i,
            "bbox": [10.0, 20.0, 380.0, 400.0],
            "joint_valid": valid,
            "hand_type": "interacting",
        }
        data["annotations"].append({**annotation, "hand_type_valid": 1})
        joint_3d["0"][str(number)] = {
            "world_coord": world_joints(frame).tolist(),
            "joint_valid": valid,
            "hand_type": "interacting",
        }
        fits["0"][str(number)] = {side.value: world_mano(frame[side], side) if i == 0 else None for side in Side}
        write_image(root / "images/val" / image["file_name"], 412, 512)
    camera = {
        "campos": CAMERA_POSITION.tolist(),
        "camrot": WORLD_ROTATION.tolist(),
        "focal": INTERHAND_FOCAL,
        "princpt": INTERHAND_CENTRE,
    }
    cameras = {"0": {kind: {name: value} for kind, value in camera.items()}}
    if change:
        change(data, cameras, joint_3d, fits)
    for kind, value in (("data", data), ("camera", cameras), ("joint_3d", joint_3d), ("MANO_NeuralAnnot", fits)):
        write_json(root / f"annotations/val/InterHand2.6M_val_{kind}.json", value)
    return root


def world_mano(hand: Hand, side: Side) -> dict[str, list[float]]:
    """Returns MANO parameters in the world frame: the extrinsics map their mesh to that in the camera frame."""
    asset, parameters = mano(side), hand.mano
    rest_wrist = asset.J_regressor[0] @ (asset.v_template + asset.shapedirs[..., :10] @ parameters.betas)
    orient = (Rotation.from_matrix(WORLD_ROTATION).inv() * Rotation.from_rotvec(parameters.global_orient)).as_rotvec()
    translation = to_world(hand.joints[0]) / 1000 - rest_wrist
    return {"pose": [*orient, *relative(hand, side)], "shape": parameters.betas.tolist(), "trans": translation.tolist()}


# FreiHAND

FREIHAND_K = [[480.0, 0, 112.0], [0, 479.5, 112.0], [0, 0, 1]]


def make_freihand(root: Path, change=None) -> Path:
    """Writes two labels and eight images; ``change(k, xyz, mano)`` may alter the lists."""
    centred = [
        hand._replace(joints=hand.joints - hand.joints.mean(axis=0) + [0, 0, 0.6])
        for hand in (hands(i)[Side.RIGHT] for i in range(2))
    ]
    k, xyz = [FREIHAND_K] * 2, [hand.joints.tolist() for hand in centred]
    fits = []
    for hand in centred:
        values = [*hand.mano.global_orient, *relative(hand, Side.RIGHT), *hand.mano.betas, 110.0, 115.0, 800.0]
        fits.append([[float(value) for value in values]])
    if change:
        change(k, xyz, fits)
    for kind, value in (("K", k), ("xyz", xyz), ("mano", fits)):
        write_json(root / f"training_{kind}.json", value)
    for i in range(8):
        write_image(root / f"training/rgb/{i:08d}.jpg", 224, 224)
    return root


# H2O

H2O_INTRINSICS = (636.66, 636.25, 635.28, 366.87, 1280, 720)


def make_h2o(root: Path, change=None) -> Path:
    """Writes two frames, the second without annotations of the left hand; ``change(number, joints, mano)`` may alter
    the rows of a frame."""
    folder = root / "subject3/k2/0/cam4"
    for name in ("rgb", "hand_pose", "hand_pose_mano"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "cam_intrinsics.txt").write_text(" ".join(map(str, H2O_INTRINSICS)))
    for i in range(2):
        joints, fits = [], []
        for side in (Side.LEFT, Side.RIGHT):
            hand, annotated = hands(i)[side], float(i == 0 or side is Side.RIGHT)
            joints.append([annotated, *hand.joints.ravel()])
            fits.append(
                [annotated, *hand.mano.transl, *hand.mano.global_orient, *hand.mano.hand_pose, *hand.mano.betas]
            )
        if change:
            change(i, joints, fits)
        for name, rows in (("hand_pose", joints), ("hand_pose_mano", fits)):
            (folder / name / f"{i:06d}.txt").write_text(" ".join(str(float(value)) for row in rows for value in row))
        write_image(folder / f"rgb/{i:06d}.png", 1280, 720)
    (root / "pose_val.txt").write_text("".join(f"subject3/k2/0/cam4/rgb/{i:06d}.png\n" for i in range(2)))
    return root


# EgoExo4D

EGO_EXO_K = [[150.0, 0, 255.5], [0, 150.0, 255.5], [0, 0, 1]]


def make_ego_exo(root: Path, change=None, scale: float = 1.0) -> Path:
    """Writes two images of ``scale`` times the size that the intrinsics are for; ``change(content)`` may alter the
    content."""
    content = {}
    size = round(512 * scale)
    names = {name: name for name in MEDIAPIPE_JOINT_NAMES}
    for finger in FINGERS:
        joints = ("cmc", "mcp", "ip", "tip") if finger == "thumb" else ("mcp", "pip", "dip", "tip")
        names.update({f"{finger}_{joint}": f"{finger}_{number}" for number, joint in enumerate(joints, start=1)})
    for i in range(2):
        j2d, j3d = {}, {}
        for side in Side:
            joints = hands(i)[side].joints
            pixels = (joints @ np.array(EGO_EXO_K).T)[:, :2] / joints[:, 2:]
            pixels = (pixels + 0.5) * scale - 0.5
            for name, (x, y), (u, v, w) in zip(MEDIAPIPE_JOINT_NAMES, pixels, joints, strict=True):
                j2d[f"{side.value}_{names[name]}"] = {"x": float(x), "y": float(y), "num_views_for_3d": 3}
                j3d[f"{side.value}_{names[name]}"] = {"x": float(u), "y": float(v), "z": float(w)}
        del j2d["left_pinky_4"], j3d["left_ring_1"]
        image = np.full((size, size, 3), (200, 30, 10), np.uint8)
        entry = {
            "img": image,
            "crop_size": (size, size),
            "image_size": (512, 512),
            "intrx": EGO_EXO_K,
            "j2d": j2d,
            "j3d": j3d,
        }
        content[f"take_{i}/frame_000{i}.jpg"] = entry
    if change:
        change(content)
    write_pickle(root / "ego4d_hands/joint_annotations_egoexo_val.pkl", content)
    return root


# EPIC-KITCHENS and Ego4D

AUTHORS_FOLDER = "/home/somebody/data/"


def make_wild(
    root: Path, labels: str, masks: str, width: int, height: int, change=None, modal: str | None = None
) -> Path:
    """Writes three images with boxes, grasps and masks, under paths of another machine; the third has a left hand only.

    ``change(content, masks)`` may alter the labels and masks. The masks' sides reach over the boxes.
    """
    names = [f"{AUTHORS_FOLDER}visor/P01/P01_0{i}_frame_0000000{i}.jpg" for i in range(3)]
    content, stored = {}, {}
    for i, name in enumerate(names):
        right = None if i == 2 else [100.5, 120.0, 180.0, 200.0]
        content[name] = {
            "right_bbox": right,
            "left_bbox": ["20", "120", "90.5", "200"] if i == 0 else np.array([20.0, 120, 90.5, 200]),
            "right_grasp": "Pow-Circ" if i == 0 else None,
            "left_grasp": "Later" if i == 2 else None,
        }
        mask = np.zeros((height, width, 3), np.uint8)
        mask[150:210, 90:170, 0] = 255
        mask[150:210, 30:80, 0] = 127
        stored[name] = mask
        write_image(root / name.removeprefix(AUTHORS_FOLDER), width, height)
    if change:
        change(content, stored)
    write_pickle(root / labels, content)
    (root / masks).parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(root / masks, **stored)
    if modal:
        write_pickle(
            root / modal, {names[0]: {"right": 1, "left": 0}, names[1]: {"right": 1, "left": 1}, names[2]: {"left": 1}}
        )
    return root


def make_epic(root: Path, change=None, split: str = "train", width: int = 1920, height: int = 1080) -> Path:
    modal = "epic_hands/modal_amodal_annot.pkl"
    return make_wild(
        root, f"epic_hands/grasp_visor_{split}.pkl", "epic_hands/visor_masks_train.npz", width, height, change, modal
    )


def make_ego4d(root: Path, change=None) -> Path:
    return make_wild(root, "ego4d_hands/grasp_ego.pkl", "ego4d_hands/ego_blur_pred_masks.npz", 640, 480, change)


def make_epic_handkps(root: Path, change=None) -> Path:
    """Writes two images with the detector's boxes; the second has a left hand with two joints only."""
    content = {}
    names = [f"{AUTHORS_FOLDER}visor/P01/P01_0{i}_frame_0000000{i}.jpg" for i in range(2)]
    for i, name in enumerate(names):
        entry = {}
        for side in Side:
            joints = hands(i)[side].joints
            pixels = in_order(1000 * joints[:, :2] / joints[:, 2:] + [959.5, 539.5], TIPS_FIRST_NAMES)
            valid = [1] * 21
            valid[4] = 0
            if (i, side) == (1, Side.LEFT):
                valid = [1, 1] + [0] * 19
            entry[side.value] = {"bbox": [0, 0, 1919, 1079], "joints": pixels.tolist(), "joints_valid": valid}
        content[name] = entry
        write_image(root / name.removeprefix(AUTHORS_FOLDER), 1920, 1080)
    if change:
        change(content)
    write_pickle(root / "epic_hands/hands_5000.pkl", content)
    boxes = {"right_bbox": [1000, 400, 1300, 700], "left_bbox": None, "right_grasp": None, "left_grasp": None}
    write_pickle(root / "epic_hands/grasp_visor_val.pkl", {names[0]: boxes})
    return root
