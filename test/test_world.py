"""The synthetic world: reproducibility, labels that agree with images, and crops that agree with frames."""

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from wildhands_ros.datasets.coco_hands import read_coco_hands
from wildhands_ros.fitting.anatomy import LIMITS
from wildhands_ros.fitting.kinematics import HandKinematics
from wildhands_ros.hand_model.asset import open_hand
from wildhands_ros.hand_model.joints import MANO_TO_MEDIAPIPE
from wildhands_ros.hand_model.layer import HandLayer
from wildhands_ros.network.crop_geometry import crop_affine
from wildhands_ros.synthetic.config import PRESETS, VERSION, WorldConfig, world_config
from wildhands_ros.synthetic.grasps import act
from wildhands_ros.synthetic.main import write_split
from wildhands_ros.synthetic.raster import rasterise
from wildhands_ros.synthetic.skin import TONES, skin_maps, skin_tone
from wildhands_ros.synthetic.solids import bottle, box, cylinder, distance, sphere
from wildhands_ros.synthetic.world import World
from wildhands_ros.types import Grasp, Side

FROZEN = Path(__file__).with_name("world_benchmark.json")
CLEAN = {"blur": 0.0, "noise": 0.0, "jpeg": 0.0, "occluders": 0.0, "clutter": 0.0}


@pytest.fixture(scope="module")
def samples():
    """Scenes and frames of a few indices of a world that contains everything."""
    world = World("open", "test")
    scenes = [world.scene(index) for index in range(8)]
    return [(scene, world.window(scene)) for scene in scenes]


def crop(world, index):
    scene = world.scene(index)
    return world.window(scene, crop_affine(scene.hands[0].box, 1.75), 224, 224)


def test_same_index_gives_same_image():
    world, again = World("open", "test"), World(world_config("open", "test"))
    first, second, other = crop(world, 3), crop(again, 3), crop(world, 4)
    first_image, other_image = first.load_image(), other.load_image()
    np.testing.assert_array_equal(first_image, second.load_image())
    np.testing.assert_array_equal(first.hands[0].joints, second.hands[0].joints)
    assert first_image.shape == other_image.shape and np.abs(first_image.astype(int) - other_image).mean() > 5


def test_splits_seeds_and_worlds_differ():
    joints = [
        World(name, split, seed).scene(0).hands[0].joints
        for name, split, seed in (("lab", "train", 0), ("lab", "test", 0), ("lab", "train", 1), ("wild", "train", 0))
    ]
    for a in range(4):
        for b in range(a):
            assert np.abs(joints[a] - joints[b]).max() > 1e-3


def test_labels_agree_with_each_other(samples):
    layer = HandLayer(open_hand(Side.RIGHT), open_hand(Side.LEFT))
    for scene, sample in samples:
        for hand in sample.hands:
            mano, mask = hand.mano, hand.load_mask()
            output = layer(
                *(
                    torch.from_numpy(value).float()[None]
                    for value in (mano.global_orient, mano.hand_pose, mano.betas, mano.transl)
                ),
                is_right=torch.tensor([hand.side is Side.RIGHT]),
            )
            np.testing.assert_allclose(output.joints[0].numpy()[list(MANO_TO_MEDIAPIPE)], hand.joints, atol=2e-5)
            np.testing.assert_allclose(scene.camera.project(hand.joints), hand.keypoints, equal_nan=True)
            rows, columns = np.nonzero(mask)
            x0, y0, x1, y1 = hand.box
            assert columns.min() > x0 - 2 and columns.max() < x1 + 2 and rows.min() > y0 - 2 and rows.max() < y1 + 2
            near = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8))
            x, y = np.round(hand.keypoints[hand.visible]).astype(int).T
            assert near[np.clip(y, 0, len(near) - 1), np.clip(x, 0, near.shape[1] - 1)].all()
        assert len({hand.side for hand in sample.hands}) == len(sample.hands)
        if len(sample.hands) == 2:
            assert not (sample.hands[0].load_mask() & sample.hands[1].load_mask()).any()


def test_masks_equal_the_projected_mesh_if_nothing_hides_it():
    world = World(
        dataclasses.replace(
            PRESETS["lab"], grasps=(0, 0, 0, 0, 0, 0, 0, 0, 1), two_hands=0.0, sleeves=0.0, tables=0.0, **CLEAN
        )
    )
    sample = world.sample(1)
    hand = sample.hands[0]
    mano, mask = hand.mano, hand.load_mask()
    layer = HandLayer(open_hand(Side.RIGHT), open_hand(Side.LEFT))
    vertices = layer(
        *(
            torch.from_numpy(value).float()[None]
            for value in (mano.global_orient, mano.hand_pose, mano.betas, mano.transl)
        ),
        is_right=torch.tensor([hand.side is Side.RIGHT]),
    ).vertices[0]
    vertices = vertices.numpy().astype(np.float64)
    camera = sample.camera
    index, _ = rasterise(
        camera.project(vertices), 1 / vertices[:, 2], open_hand(hand.side).faces, camera.width, camera.height
    )
    both, either = (mask & (index >= 0)).sum(), (mask | (index >= 0)).sum()
    assert both / either > 0.9  # the forearm hides the open wrist of the mesh


def test_hands_are_not_inside_out():
    """Normals and faces of both hands point outwards."""
    found = set()
    for index in range(40):
        scene = World("open", "test").scene(index)
        for number, hand in enumerate(scene.hands):
            found.add(hand.side)
            own = scene.geometry.faces[scene.geometry.face_part == number + 1]
            a, b, c = (scene.geometry.positions[own[:, k]] for k in range(3))
            outward = np.cross(b - a, c - a)
            centre = hand.joints[[0, 5, 17]].mean(axis=0)
            # The triangles of a closed surface face away from its inside.
            assert ((outward * ((a + b + c) / 3 - centre)).sum() > 0) == (
                (outward * scene.geometry.normals[own[:, 0]]).sum() > 0
            )
            assert (outward * scene.geometry.normals[own[:, 0]]).sum() > 0
    assert found == set(Side)


def test_joint_angles_of_both_sides_are_within_the_limits(samples):
    kinematics = HandKinematics(open_hand(Side.RIGHT))
    for _, sample in samples:
        for hand in sample.hands:
            mirror = np.array([1, 1, 1] if hand.side is Side.RIGHT else [1, -1, -1])
            angles = kinematics.angles((hand.mano.hand_pose.reshape(15, 3) * mirror).ravel())
            assert (angles > LIMITS.low - 0.12).all() and (angles < LIMITS.high + 0.12).all()


@pytest.mark.parametrize("angle", [0.0, 0.7])
def test_a_crop_equals_the_warped_frame(angle):
    world = World(dataclasses.replace(PRESETS["lab"], frame_sizes=((960, 720),), **CLEAN))
    scene = world.scene(5)
    frame = world.window(scene)
    image = frame.load_image()
    affine = crop_affine(scene.hands[0].box, 1.6, angle)
    cut = world.window(scene, affine, 224, 224)
    scale = np.sqrt(np.linalg.det(affine[:, :2]))
    smooth = cv2.GaussianBlur(image, (0, 0), max(0.5 / scale, 0.3)) if scale < 0.8 else image
    warped = cv2.warpAffine(smooth, affine, (224, 224), borderMode=cv2.BORDER_REPLICATE)
    inside = cv2.warpAffine(np.ones(image.shape[:2], np.uint8), affine, (224, 224)) > 0
    difference = np.abs(cv2.blur(cut.load_image(), (5, 5)).astype(float) - cv2.blur(warped, (5, 5)))[inside]
    assert difference.mean() < 4
    mask = cv2.warpAffine(frame.hands[0].load_mask().astype(np.uint8), affine, (224, 224)) > 0
    cut_mask = cut.hands[0].load_mask()
    assert ((mask ^ cut_mask) & inside).sum() < 0.04 * cut_mask.sum() + 40
    in_crop = frame.hands[0].keypoints @ affine[:, :2].T + affine[:, 2]
    np.testing.assert_allclose(cut.hands[0].keypoints, in_crop, atol=1e-6)
    pixel = np.array([30.0, 200.0])
    in_frame = np.linalg.solve(affine[:, :2], pixel - affine[:, 2])
    np.testing.assert_allclose(cut.camera.rays(pixel), scene.camera.rays(in_frame), atol=1e-9)


@pytest.mark.parametrize("grasp", [grasp for grasp in Grasp if grasp not in (Grasp.NO_GRASP, Grasp.UNKNOWN)])
def test_grasps_touch_their_object_without_penetrating_it(grasp):
    rng = np.random.default_rng(int(grasp))
    touching, deepest = [], []
    for _ in range(12):
        action = act(grasp, rng.normal(0, 0.7, 10), "varied", rng)
        profile, rotation, position = action.objects[0][0].shape
        gaps = [distance(profile, rotation, position, *ball[:3]) - ball[3] for ball in action.balls]
        touching.append(np.sum(np.array(gaps) < 0.004))
        deepest.append(-min(gaps))
    assert np.mean(np.array(touching) >= 1) > 0.9 and np.median(touching) >= (
        1 if grasp == Grasp.NON_PREHENSILE_FINGERTIP else 2
    )
    assert np.median(deepest) < 0.006


def test_fingertips_do_not_intersect():
    rng = np.random.default_rng(0)
    deepest = []
    for _ in range(20):
        balls = act(Grasp.NO_GRASP, np.zeros(10), "plain", rng).balls
        tips = balls[6:35:7]  # the pads
        gaps = np.linalg.norm(tips[:, None, :3] - tips[None, :, :3], axis=-1) - tips[:, None, 3] - tips[None, :, 3]
        deepest.append(-gaps[~np.eye(5, dtype=bool)].min())
    assert np.mean(np.array(deepest) < 0.006) > 0.8


def test_distances_to_solids():
    identity, origin = np.eye(3), np.zeros(3)
    for solid, point, expected in (
        (box(0.2, 0.1, 0.1), (0.15, 0, 0), 0.05),
        (box(0.2, 0.1, 0.1), (0.0, 0.03, 0), -0.02),
        (cylinder(0.05, 0.2), (0.0, 0.0, 0.08), 0.03),
        (sphere(0.04), (0.0, 0.1, 0.0), 0.06),
        (sphere(0.04), (0.0, 0.01, 0.0), -0.03),
        (bottle(0.03, 0.2, 0.01, 0.6), (0.0, -0.05, 0.0), -0.03),
    ):
        assert distance(solid.profile, identity, origin, *point) == pytest.approx(expected, abs=1.5e-3)
        vertices, faces, _ = solid.mesh()
        a, b, c = (vertices[faces[:, k]] for k in range(3))
        assert np.einsum("fi,fi->f", np.cross(b - a, c - a), (a + b + c) / 3).sum() > 0  # the volume is positive
        for vertex in vertices[::17]:
            assert abs(distance(solid.profile, identity, origin, *vertex)) < 2e-3


def test_rasteriser_shows_the_nearest_front_face():
    pixels = np.array([(0, 0), (0, 20), (20, 0), (0, 0), (0, 20), (20, 0), (20, 20)], dtype=np.float64)
    nearness = np.array([1.0, 1, 1, 2, 2, 2, np.nan])
    index, nearest = rasterise(
        pixels, nearness, np.array([(0, 1, 2), (3, 4, 5), (3, 5, 4), (1, 6, 2)], np.int32), 24, 24
    )
    assert index[3, 3] == 1 and nearest[3, 3] == 2 and index[20, 20] == -1 and (index[index >= 0] == 1).all()


def test_skin_tones_go_from_light_to_dark():
    rng = np.random.default_rng(0)
    lightness = [skin_tone(share, rng)[0].mean() for share in np.linspace(0, 1, len(TONES))]
    assert (np.diff(lightness) < 0).all()
    back, palm = skin_tone(1.0, rng)
    assert palm.mean() > 1.5 * back.mean()


def test_each_finger_has_a_nail_on_its_back():
    palm, back = skin_maps().maps[..., 2]
    count, _, stats, _ = cv2.connectedComponentsWithStats((back > 128).astype(np.uint8))
    assert not palm.any() and (stats[1:, cv2.CC_STAT_AREA] > 150).sum() == 5 and count <= 7


def test_written_splits_are_read_back(tmp_path):
    write_split(world_config("open", "test"), 3, tmp_path)
    images = read_coco_hands(tmp_path)
    world = World("open", "test")
    scene_hands = [hand for index in range(3) for hand in world.scene(index).hands]
    assert len(images) == len(scene_hands)
    for image, labelled in zip(images, scene_hands, strict=True):
        (read,) = image.hands
        assert Path(image.name).is_file() and read.side is labelled.side
        np.testing.assert_allclose(read.joints, labelled.joints, atol=1e-9)
        np.testing.assert_allclose(read.box, labelled.box, atol=1e-9)
    content = json.loads((tmp_path / "annotations.json").read_text())
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == sorted(
        a["mask_file"][6:] for a in content["annotations"]
    )
    np.testing.assert_array_equal(images[0].load_image(), world.sample(0).load_image())


def test_invalid_arguments_are_rejected(tmp_path):
    for change in ({"split": "exam"}, {"objects": "odd"}, {"grasps": (1.0,) * 8}, {"fov_degrees": (90.0, 20.0)}):
        with pytest.raises(ValueError):
            WorldConfig("mine", **change)
    with pytest.raises(ValueError, match="unknown world"):
        World("moon")
    with pytest.raises(ValueError, match="at least 0"):
        World("lab").scene(-1)
    with pytest.raises(ValueError, match="at least 1"):
        write_split(world_config("lab"), 0, tmp_path)


@pytest.mark.parametrize("name", PRESETS)
def test_all_worlds_have_images(name):
    world = World(name)
    for sample in (crop(world, index) for index in range(1, 5)):
        image = sample.load_image()
        assert image.shape == (224, 224, 3) and image.std() > 3
        assert sample.hands[0].load_mask().any() and np.isfinite(sample.hands[0].joints).all()
        assert (sample.hands[0].joints[:, 2] > 0.05).all()


def test_the_benchmark_is_frozen():
    """If this fails after an intended change of the world, raise ``config.VERSION`` and store the new values."""
    frozen = json.loads(FROZEN.read_text())
    assert frozen["version"] == VERSION
    for name, values in frozen["middle_knuckles"].items():
        for index, knuckle in enumerate(values):
            np.testing.assert_allclose(World(name, "test").scene(index).hands[0].joints[9], knuckle, atol=1e-4)
