"""Dataset readers: each published format is read correctly, and faults are reported or counted."""

import json
import os
import pickle

import dataset_files as files
import numpy as np
import pytest

from wildhands_ros.datasets import DATASETS, DatasetError, Supervision, joint_orders, open_dataset
from wildhands_ros.datasets.json_stream import walk_json
from wildhands_ros.datasets.labels import LabelledHand
from wildhands_ros.hand_model.asset import open_hand
from wildhands_ros.hand_model.joints import (
    FINGERS,
    MANO_TO_MEDIAPIPE,
    MEDIAPIPE_BONES,
    MEDIAPIPE_JOINT_NAMES,
    MEDIAPIPE_TO_MANO,
)
from wildhands_ros.io.safe_numpy import read_npy, read_pickle
from wildhands_ros.io.safe_pickle import UnsafePickleError
from wildhands_ros.types import Grasp, Side

RIGHT, LEFT = Side.RIGHT, Side.LEFT
MAKERS = {
    "arctic": (files.make_arctic, "val"),
    "assembly_hands": (files.make_assembly_hands, "val"),
    "interhand": (files.make_interhand, "val"),
    "freihand": (files.make_freihand, "training"),
    "h2o": (files.make_h2o, "val"),
    "egoexo4d": (files.make_ego_exo, "val"),
    "epic_grasps": (files.make_epic, "train"),
    "epic_masks": (files.make_epic, "train"),
    "epic_handkps": (files.make_epic_handkps, "test"),
    "ego4d_grasps": (files.make_ego4d, "train"),
    "ego4d_masks": (files.make_ego4d, "train"),
}
WITH_JOINTS = ("arctic", "assembly_hands", "interhand", "freihand", "h2o", "egoexo4d")
WITH_MANO = ("arctic", "interhand", "freihand", "h2o")
ANNOTATIONS = {
    "arctic": ("splits/p2_val.npy", "meta/misc.json"),
    "assembly_hands": tuple(
        f"annotations/val/assemblyhands_val_{kind}_v1-1.json" for kind in ("ego_data", "ego_calib", "joint_3d")
    ),
    "interhand": tuple(
        f"annotations/val/InterHand2.6M_val_{kind}.json" for kind in ("data", "camera", "joint_3d", "MANO_NeuralAnnot")
    ),
    "freihand": ("training_K.json", "training_xyz.json", "training_mano.json"),
    "h2o": ("subject3/k2/0/cam4/cam_intrinsics.txt", "subject3/k2/0/cam4/hand_pose/000001.txt"),
    "egoexo4d": ("ego4d_hands/joint_annotations_egoexo_val.pkl",),
    "epic_grasps": ("epic_hands/grasp_visor_train.pkl",),
    "epic_masks": ("epic_hands/modal_amodal_annot.pkl", "epic_hands/visor_masks_train.npz"),
    "epic_handkps": ("epic_hands/hands_5000.pkl",),
    "ego4d_grasps": ("ego4d_hands/grasp_ego.pkl",),
    "ego4d_masks": ("ego4d_hands/ego_blur_pred_masks.npz",),
}


def opened(name, root, *args, paper_labels=False, **options):
    make, split = MAKERS[name]
    return open_dataset(name, make(root, *args, **options), split, paper_labels=paper_labels)


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """Every dataset as its maker function writes it; read only."""
    return {name: opened(name, tmp_path_factory.mktemp(name)) for name in MAKERS}


def labelled(image) -> dict[Side, LabelledHand]:
    """The image's labels by the hands' sides."""
    return {hand.side: hand for hand in image.hands}


# What holds for all


def test_every_reader_is_registered_and_tested():
    assert set(DATASETS) == {*MAKERS, "epic_predicted_masks"}


@pytest.mark.parametrize("name", MAKERS)
def test_images_match_their_cameras_and_labels_are_consistent(datasets, name):
    dataset = datasets[name]
    assert len(dataset) > 0
    for sample in dataset:
        image = sample.load_image()
        assert image.dtype == np.uint8
        assert image.shape == (sample.camera.height, sample.camera.width, 3)
        assert sample.hands
        for hand in sample.hands:
            assert (hand.box[2:] > hand.box[:2]).all()
            assert (hand.box >= 0).all()
            assert (hand.box <= np.tile([sample.camera.width - 1, sample.camera.height - 1], 2)).all()
            for values, valid in ((hand.keypoints, hand.known_keypoints), (hand.joints, hand.known_joints)):
                if values is None:
                    assert not valid.any()
                else:
                    assert np.array_equal(np.isfinite(values).all(axis=1), valid)
    with pytest.raises(IndexError):
        dataset[len(dataset)]


@pytest.mark.parametrize("name", MAKERS)
def test_samples_and_datasets_are_picklable(datasets, name):
    sample = pickle.loads(pickle.dumps(datasets[name]))[0]
    copy = pickle.loads(pickle.dumps(sample))
    assert np.array_equal(copy.load_image(), datasets[name][0].load_image())
    for side, hand in labelled(copy).items():
        if hand.load_mask:
            assert np.array_equal(hand.load_mask(), labelled(sample)[side].load_mask())


@pytest.mark.parametrize("name", WITH_JOINTS)
def test_joints_are_in_the_camera_frame_and_project_onto_the_keypoints(datasets, name):
    for sample in datasets[name]:
        for hand in sample.hands:
            both = hand.known_joints & hand.known_keypoints
            assert both.sum() > 15
            np.testing.assert_allclose(sample.camera.project(hand.joints)[both], hand.keypoints[both], atol=0.01)


@pytest.mark.parametrize("name", ["arctic", "assembly_hands", "interhand", "h2o", "egoexo4d"])
def test_joints_equal_those_written(datasets, name):
    for index, sample in enumerate(datasets[name]):
        for side, hand in labelled(sample).items():
            np.testing.assert_allclose(
                hand.joints[hand.known_joints], files.hands(index)[side].joints[hand.known_joints], atol=2e-6
            )


@pytest.mark.parametrize("name", WITH_JOINTS)
def test_bones_have_the_lengths_of_a_hand(datasets, name):
    """With a wrong joint order, bones would be as long as the hand."""
    for sample in datasets[name]:
        for hand in sample.hands:
            for parent, child in MEDIAPIPE_BONES:
                if hand.known_joints[[parent, child]].all():
                    length = np.linalg.norm(hand.joints[child] - hand.joints[parent])
                    assert 0.01 < length < (0.12 if parent == 0 else 0.06)


@pytest.mark.parametrize("name", WITH_MANO)
def test_mano_poses_the_joints(datasets, name):
    count = 0
    for sample in datasets[name]:
        for side, hand in labelled(sample).items():
            if hand.mano:
                count += 1
                np.testing.assert_allclose(
                    files.posed(hand.mano.parameters(files.mano(side)), side), hand.joints, atol=1e-5
                )
    assert count >= 2


def test_betas_of_another_hand_model_are_rejected(datasets):
    with pytest.raises(ValueError, match="parameters of MANO, not of open_hand"):
        labelled(datasets["freihand"][0])[RIGHT].mano.parameters(open_hand(RIGHT))


@pytest.mark.parametrize("name", MAKERS)
def test_supervision_and_intrinsics_match_the_paper(datasets, name):
    sample = datasets[name][0]
    table = {
        "arctic": "keypoints joints pose betas camera",
        "assembly_hands": "keypoints joints",
        "epic_grasps": "grasp",
        "epic_masks": "mask",
        "ego4d_grasps": "grasp",
        "ego4d_masks": "mask",
        "freihand": "keypoints joints pose betas camera",
        "interhand": "keypoints joints pose betas camera",
    }
    assert sample.supervision == {Supervision(label) for label in table.get(name, "").split()}
    wild = name.startswith(("epic", "ego4d"))
    assert sample.camera_is_known is not wild
    assert sample.encode_camera is not name.startswith("ego4d")
    if wild:
        assert np.array_equal(
            sample.camera.k,
            [[1000, 0, (sample.camera.width - 1) / 2], [0, 1000, (sample.camera.height - 1) / 2], [0, 0, 1]],
        )


def test_joint_orders():
    assembly_to_mano = [20, 7, 6, 5, 11, 10, 9, 19, 18, 17, 15, 14, 13, 3, 2, 1, 0, 4, 8, 12, 16]
    h2o_to_mano = [0, 5, 6, 7, 9, 10, 11, 17, 18, 19, 13, 14, 15, 1, 2, 3, 4, 8, 12, 16, 20]
    assert [assembly_to_mano[i] for i in MANO_TO_MEDIAPIPE] == joint_orders.TIPS_FIRST
    assert h2o_to_mano == list(MEDIAPIPE_TO_MANO)
    assert [files.MANO_NAMES[i] for i in joint_orders.MANO] == list(MEDIAPIPE_JOINT_NAMES)
    assert [name.split("_")[0] for name in joint_orders.NAMES[1::4]] == list(FINGERS)


def test_each_process_opens_the_mask_file_itself(datasets, monkeypatch):
    hand, archive = labelled(datasets["ego4d_masks"][0])[RIGHT], datasets["ego4d_masks"]._masks
    hand.load_mask()
    handle = archive._file
    hand.load_mask()
    assert archive._file is handle
    monkeypatch.setattr(os, "getpid", lambda: -2)
    hand.load_mask()
    assert archive._file is not handle


# Individual datasets


def test_arctic_lens_puts_labels_where_the_image_shows_the_hands(datasets, tmp_path):
    """View 9 of the split contains the 2D labels of the distorted image, view 0 those of the undistorted one."""
    content = np.load(datasets["arctic"].root / "splits/p2_val.npy", allow_pickle=True).item()["data_dict"][
        "s05/box_use_01"
    ]["2d"]
    to_cropped = lambda pixels: (pixels + 0.5) * 0.3 - 0.5  # noqa: E731
    for index, sample in enumerate(datasets["arctic"]):
        for side, hand in labelled(sample).items():
            expected = to_cropped(content[f"joints.{side.value}"][index, 9][list(MANO_TO_MEDIAPIPE)])
            np.testing.assert_allclose(hand.keypoints, expected, atol=0.01)
    paper = opened("arctic", tmp_path, paper_labels=True)
    assert all(np.array_equal(sample.camera.k, paper[0].camera.k) and sample.camera.is_pinhole for sample in paper)
    undistorted = to_cropped(content["joints.left"][0, 0][list(MANO_TO_MEDIAPIPE)])
    np.testing.assert_allclose(labelled(paper[0])[LEFT].keypoints, undistorted, atol=0.01)


def test_arctic_full_images_are_preferred(tmp_path):
    files.make_arctic(tmp_path)
    dataset = open_dataset("arctic", files.make_arctic(tmp_path, cropped=False), "val")
    assert (dataset[0].camera.width, dataset[0].camera.height) == files.ARCTIC_SIZE
    assert dataset[0].load_image().shape == (2000, 2800, 3)


def test_arctic_counts_what_it_skips(tmp_path):
    def change(split):
        sequence = split["data_dict"]["s05/box_use_01"]
        sequence["cam_coord"]["is_valid"][0, 0] = 0
        sequence["cam_coord"]["joints.left"][1, 0, 5, 2] = np.nan
        split["imgnames"] += [
            "./data/arctic_data/data/images/s05/box_use_01/3/00010.jpg",
            "./x/s05/box_use_01/0/00999.jpg",
        ]

    dataset = opened("arctic", tmp_path, change)
    assert len(dataset) == 2
    assert [sorted(side.value for side in labelled(sample)) for sample in dataset] == [["right"], ["left", "right"]]
    assert dataset.skipped == {
        "sample: no usable hand": 1,
        "hand: labels that are not finite": 1,
        "sample: not the egocentric view": 1,
        "sample: an image without labels": 1,
    }


def test_assembly_hands_grey_images_boxes_and_validity(datasets):
    dataset = datasets["assembly_hands"]
    assert (dataset[0].load_image() == 90).all()
    assert set(labelled(dataset[2])) == {RIGHT}
    hand = labelled(dataset[0])[RIGHT]
    assert np.array_equal(hand.box, [300, 150, 420, 300])
    assert [name for name, valid in zip(MEDIAPIPE_JOINT_NAMES, hand.known_joints, strict=True) if not valid] == [
        "thumb_tip"
    ]
    left = labelled(dataset[0])[LEFT]
    assert [name for name, valid in zip(MEDIAPIPE_JOINT_NAMES, left.known_joints, strict=True) if not valid] == [
        "index_tip"
    ]


def test_assembly_hands_counts_what_it_skips(tmp_path):
    def change(data, calib, joint_3d):
        frames = joint_3d["annotations"][files.ASSEMBLY_SEQUENCE]
        frames["000000"]["world_coord"][10][1] = float("nan")
        del frames["000030"]
        calib["calibration"][files.ASSEMBLY_SEQUENCE]["extrinsics"]["000060"]["HMC_21179183_mono10bit"][0][0] = float(
            "nan"
        )

    dataset = opened("assembly_hands", tmp_path, change)
    assert [set(labelled(sample)) for sample in dataset] == [{LEFT}]
    assert dataset.skipped == {
        "hand: joints that are not finite": 1,
        "sample: no joints of this frame": 1,
        "sample: no camera of this name in the calibration, or a camera that is not finite": 1,
    }


def test_interhand_without_mano_or_wrist(datasets, tmp_path):
    assert labelled(datasets["interhand"][1])[RIGHT].mano is None
    assert labelled(datasets["interhand"][0])[LEFT].mano.negate_left_shapedirs_x

    def change(data, camera, joint_3d, mano):
        data["annotations"][1]["joint_valid"] = [[1]] * 20 + [[0]] + [[1]] * 21
        joint_3d["0"]["18000"]["world_coord"][30][0] = float("nan")
        mano["0"]["18000"]["right"]["pose"][3] = float("nan")

    dataset = opened("interhand", tmp_path, change)
    assert [set(labelled(sample)) for sample in dataset] == [{RIGHT}, {LEFT}]
    assert labelled(dataset[0])[RIGHT].mano is None
    assert dataset.skipped == {
        "hand: the wrist is not labelled": 1,
        "hand: joints that are not finite": 1,
        "MANO of a hand in a frame: not finite": 1,
    }


def test_freihand_images_repeat_with_other_backgrounds(datasets):
    dataset = datasets["freihand"]
    assert [sample.name for sample in dataset] == [f"training/rgb/{i:08d}.jpg" for i in range(8)]
    assert np.array_equal(labelled(dataset[1])[RIGHT].joints, labelled(dataset[7])[RIGHT].joints)
    assert not np.array_equal(labelled(dataset[0])[RIGHT].joints, labelled(dataset[1])[RIGHT].joints)


def test_freihand_counts_what_it_skips_and_keeps_numbers(tmp_path):
    dataset = opened("freihand", tmp_path, lambda k, xyz, mano: xyz[0][3].__setitem__(2, float("nan")))
    assert [sample.name for sample in dataset] == [f"training/rgb/{i:08d}.jpg" for i in (1, 3, 5, 7)]
    assert dataset.skipped == {"sample: labels that are not finite, or behind the camera": 1}
    files.write_json(tmp_path / "training_K.json", [files.FREIHAND_K])
    with pytest.raises(DatasetError, match="do not belong together: 1 K, 2 xyz"):
        open_dataset("freihand", tmp_path, "training")


def test_h2o_counts_what_it_skips(datasets, tmp_path):
    assert set(labelled(datasets["h2o"][1])) == {RIGHT}

    def change(number, joints, mano):
        joints[1][5] = float("nan")
        mano[0][10] = float("inf")

    dataset = opened("h2o", tmp_path, change)
    assert [set(labelled(sample)) for sample in dataset] == [{LEFT}]
    assert labelled(dataset[0])[LEFT].mano is None
    assert dataset.skipped == {
        "hand: joints that are not finite, or behind the camera": 2,
        "MANO of a hand: not finite": 1,
        "sample: no usable hand": 1,
    }
    (tmp_path / "subject3/k2/0/cam4/hand_pose/000000.txt").write_text("1 2 3")
    with pytest.raises(DatasetError, match=r"000000.txt is damaged.*3 numbers instead of 128"):
        open_dataset("h2o", tmp_path, "val")


@pytest.mark.parametrize("name", ["/a/b/rgb/000000.png", "../../a/b/rgb/000000.png"])
def test_names_that_lead_out_of_the_folder_are_refused(tmp_path, name):
    root = opened("h2o", tmp_path / "h2o", lambda *_: None).root
    (root / "pose_val.txt").write_text(name)
    with pytest.raises(DatasetError, match="does not lie below"):
        open_dataset("h2o", root, "val")


@pytest.mark.parametrize("name", ["//visor/x.jpg", "///visor/x.jpg", "visor/../../x.jpg"])
def test_images_are_looked_for_below_the_folder_only(tmp_path, name):
    def change(content):
        content[name] = content.pop(next(iter(content)))
        content |= {key: content.pop(key) for key in list(content) if key != name}  # the changed name is the first

    with pytest.raises(DatasetError, match=f"is neither {tmp_path}/visor/x.jpg nor"):
        opened("epic_handkps", tmp_path, change)


def test_long_names_are_shortened_in_messages(tmp_path):
    root = opened("h2o", tmp_path / "h2o", lambda *_: None).root
    (root / "pose_val.txt").write_text("a/b/rgb/" + 40 * ("x" * 90 + "/") + "000000.png")
    with pytest.raises(DatasetError) as raised:
        open_dataset("h2o", root, "val")
    assert str(root) in str(raised.value) and len(str(raised.value)) < 3000


def test_ego_exo_names_sizes_and_frames(tmp_path):
    def change(content):
        for joint in content["take_1/frame_0001.jpg"]["j3d"].values():
            joint["x"] += 1.0

    dataset = opened("egoexo4d", tmp_path, change, scale=0.5)
    assert (dataset[0].camera.width, dataset[0].camera.height) == (256, 256)
    left = labelled(dataset[0])[LEFT]
    assert [name for name, valid in zip(MEDIAPIPE_JOINT_NAMES, left.known_keypoints, strict=True) if not valid] == [
        "pinky_tip"
    ]
    assert [name for name, valid in zip(MEDIAPIPE_JOINT_NAMES, left.known_joints, strict=True) if not valid] == [
        "ring_mcp"
    ]
    assert not labelled(dataset[1])[LEFT].known_joints.any()
    assert dataset.skipped == {"joints of a hand: not in the camera's frame": 2}


def test_ego_exo_counts_what_it_skips(tmp_path):
    def change(content):
        first, second = content.values()
        first["j2d"]["right_wrist"]["x"] = float("nan")
        first["j2d"] = {
            name: joint for name, joint in first["j2d"].items() if name.startswith("right") or name == "left_wrist"
        }
        second["img"] = second["img"][:100]

    with pytest.raises(DatasetError) as error:
        opened("egoexo4d", tmp_path, change)
    reasons = sorted(line.strip() for line in str(error.value).splitlines()[1:])
    assert reasons == [
        "1 x hand: fewer than four labelled joints",
        "1 x hand: joints that are not finite",
        "1 x sample: no usable hand",
        "1 x sample: the image is not of the stated size, or not of 8 bits",
    ]


@pytest.mark.parametrize("name", ["epic_grasps", "ego4d_grasps"])
def test_grasps(datasets, name):
    grasps = [{side: hand.grasp for side, hand in labelled(sample).items()} for sample in datasets[name]]
    assert grasps == [
        {RIGHT: Grasp.POWER_CIRCULAR, LEFT: Grasp.NO_GRASP},
        {RIGHT: Grasp.NO_GRASP, LEFT: Grasp.NO_GRASP},
        {LEFT: Grasp.LATERAL},
    ]
    assert np.array_equal(labelled(datasets[name][0])[LEFT].box, [20, 120, 90.5, 200])


def test_grasps_counts_what_it_skips(tmp_path):
    def change(content, masks):
        first, second, third = content.values()
        first["right_grasp"], first["left_bbox"] = "Sideways", [1, 2, float("nan"), 4]
        second["right_bbox"] = [50, 50, 50, 60]

    dataset = opened("epic_grasps", tmp_path, change)
    assert [set(labelled(sample)) for sample in dataset] == [{LEFT}, {LEFT}]
    assert dataset.skipped == {
        "hand: unknown grasp 'Sideways'": 1,
        "hand: box that is not finite, or empty": 2,
        "sample: no usable hand": 1,
    }


def test_masks_are_limited_to_the_side_and_the_box(datasets):
    mask = labelled(datasets["ego4d_masks"][0])[RIGHT].load_mask()
    expected = np.zeros((480, 640), bool)
    expected[150:200, 100:170] = True
    assert np.array_equal(mask, expected)
    mask = labelled(datasets["ego4d_masks"][0])[LEFT].load_mask()
    expected[:] = False
    expected[150:200, 30:80] = True
    assert np.array_equal(mask, expected)


def test_covered_hands_have_no_mask(datasets, tmp_path):
    assert [set(labelled(sample)) for sample in datasets["epic_masks"]] == [{RIGHT}, {RIGHT, LEFT}, {LEFT}]
    assert datasets["epic_masks"].skipped == {"hand: covered, or not labelled as uncovered": 1}
    paper = opened("epic_masks", tmp_path, paper_labels=True)
    assert [set(labelled(sample)) for sample in paper] == [{RIGHT}, {RIGHT, LEFT}]


def test_missing_damaged_or_resized_masks_are_reported(tmp_path):
    def change(content, masks):
        first, second, third = masks
        masks[first] = masks[first][:100]
        masks[second] = masks[second].astype(np.float32)
        del masks[third]

    dataset = opened("ego4d_masks", tmp_path, change)
    assert len(dataset) == 2
    assert dataset.skipped == {"sample: no mask": 1}
    with pytest.raises(DatasetError, match="is 640x100, but its image is 640x480"):
        labelled(dataset[0])[RIGHT].load_mask()
    with pytest.raises(DatasetError, match=r"P01_01_frame.*is damaged.*float32"):
        labelled(dataset[1])[RIGHT].load_mask()


def test_predicted_masks_have_their_own_file(tmp_path):
    files.make_epic(tmp_path)
    with pytest.raises(DatasetError, match=r"visor_pred_masks_train\.npz does not exist"):
        open_dataset("epic_predicted_masks", tmp_path, "train")


def test_epic_handkps_and_the_detectors_boxes(datasets, tmp_path):
    dataset = datasets["epic_handkps"]
    assert [set(labelled(sample)) for sample in dataset] == [{RIGHT, LEFT}, {RIGHT}]
    assert dataset.skipped == {"hand: fewer than three labelled joints": 1}
    hand = labelled(dataset[0])[RIGHT]
    assert [name for name, valid in zip(MEDIAPIPE_JOINT_NAMES, hand.known_keypoints, strict=True) if not valid] == [
        "index_tip"
    ]
    expected = dataset[0].camera.project(files.hands(0)[RIGHT].joints)
    np.testing.assert_allclose(hand.keypoints[hand.known_keypoints], expected[hand.known_keypoints], atol=1e-6)
    paper = opened("epic_handkps", tmp_path, paper_labels=True)
    assert [set(labelled(sample)) for sample in paper] == [{RIGHT}]
    assert np.array_equal(labelled(paper[0])[RIGHT].box, [1000, 400, 1300, 700])


# Faults


@pytest.mark.parametrize(("name", "path"), [(name, path) for name, paths in ANNOTATIONS.items() for path in paths])
def test_missing_and_truncated_annotations_are_reported(tmp_path, name, path):
    make, split = MAKERS[name]
    make(tmp_path)
    content = (tmp_path / path).read_bytes()
    for damaged in (content[: len(content) * 2 // 3], b"", b"<!DOCTYPE html>"):
        (tmp_path / path).write_bytes(damaged)
        with pytest.raises(DatasetError, match=f"is damaged or not a file of {name}") as error:
            open_dataset(name, tmp_path, split)
        assert str(tmp_path / path) in str(error.value)
        assert "Download it again" in str(error.value)
    (tmp_path / path).unlink()
    with pytest.raises(DatasetError, match="does not exist") as error:
        open_dataset(name, tmp_path, split)
    assert str(tmp_path / path) in str(error.value)
    assert DATASETS[name].SOURCE in str(error.value)


@pytest.mark.parametrize("name", [name for name in MAKERS if name != "egoexo4d"])
def test_missing_damaged_and_resized_images_are_reported(tmp_path, name):
    make, split = MAKERS[name]
    make(tmp_path)
    images = sorted(path for path in tmp_path.rglob("*") if path.suffix in (".jpg", ".png"))
    dataset = open_dataset(name, tmp_path, split)
    files.write_image(images[-1], 30, 20)
    if not name.startswith("ego4d"):
        with pytest.raises(DatasetError, match=r"is 30x20, but its labels are for"):
            dataset[len(dataset) - 1].load_image()
    images[-1].write_bytes(images[-1].read_bytes()[:200])
    with pytest.raises(DatasetError, match=images[-1].name):
        dataset[len(dataset) - 1].load_image()
    images[-1].unlink()
    with pytest.raises(DatasetError, match=f"{images[-1].name} cannot be read: No such file"):
        dataset[len(dataset) - 1].load_image()
    for image in images[:-1]:
        image.unlink()
    with pytest.raises(
        DatasetError, match=r"the image .* is neither|the image .* does not exist|images .* does not exist"
    ):
        open_dataset(name, tmp_path, split)


class Malicious:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("name", ["epic_grasps", "epic_masks", "epic_handkps", "ego4d_grasps", "egoexo4d"])
def test_malicious_pickles_are_rejected(tmp_path, name):
    make, split = MAKERS[name]
    make(tmp_path)
    path = tmp_path / ANNOTATIONS[name][0]
    files.write_pickle(path, {**pickle.loads(path.read_bytes()), "x": Malicious(tmp_path / "made")})
    with pytest.raises(UnsafePickleError, match=f"{path.name}.*mkdir"):
        open_dataset(name, tmp_path, split)
    assert not (tmp_path / "made").exists()


def test_malicious_npy_is_rejected(tmp_path):
    with pytest.raises(UnsafePickleError, match=r"p2_val\.npy.*mkdir"):
        opened("arctic", tmp_path, lambda split: split.update(x=Malicious(tmp_path / "made")))
    assert not (tmp_path / "made").exists()


def test_objects_in_masks_are_not_unpickled(tmp_path):
    def change(content, masks):
        masks[next(iter(masks))] = np.array([Malicious(tmp_path / "made")], object)

    dataset = opened("ego4d_masks", tmp_path, change)
    with pytest.raises(DatasetError, match="holds objects"):
        labelled(dataset[0])[RIGHT].load_mask()
    assert not (tmp_path / "made").exists()


def test_a_dataset_without_usable_samples_is_rejected_with_the_reasons(tmp_path):
    with pytest.raises(
        DatasetError, match=r"no sample of the split 'training'.*\n  2 x sample: labels that are not finite"
    ):
        opened("freihand", tmp_path, lambda k, xyz, mano: [entry[0].__setitem__(0, float("nan")) for entry in xyz])


def test_unknown_names_splits_and_roots(tmp_path):
    with pytest.raises(DatasetError, match="no dataset 'kitti'; known: arctic"):
        open_dataset("kitti", tmp_path, "train")
    with pytest.raises(DatasetError, match="arctic has no split 'test'; it has train, val"):
        open_dataset("arctic", tmp_path, "test")
    with pytest.raises(DatasetError, match=r"nowhere does not exist[.]\narctic: ARCTIC.*\n.*\nFiles under the root:"):
        open_dataset("arctic", tmp_path / "nowhere", "train")


@pytest.mark.parametrize("reader", DATASETS.values())
def test_descriptions_state_content_source_and_licence(reader):
    text = reader.describe()
    assert text.startswith(f"{reader.NAME}: ")
    for part in ("Splits: ", "Files under the root:\n", "Get them: ", "Licence: "):
        assert part in text


# Shared readers


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_safe_numpy_reads_what_numpy_wrote(tmp_path, protocol):
    value = {
        "floats": np.arange(6.0, dtype=">f4").reshape(2, 3),
        "columns": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "flags": np.array([True, False]),
        "text": np.array(["ab", "c"]),
        "objects": np.array([None, {"x": np.ones(2)}, [1, (2, np.int64(3))]], object),
        "scalar": np.float32(2.5),
        "empty": np.zeros((0, 4)),
    }
    path = tmp_path / "value.pkl"
    path.write_bytes(pickle.dumps(value, protocol))
    read = read_pickle(path)
    for key in ("floats", "columns", "flags", "text", "empty"):
        assert np.array_equal(read[key], value[key])
        assert read[key].shape == value[key].shape
    assert read["scalar"] == 2.5
    assert read["objects"][0] is None
    assert np.array_equal(read["objects"][1]["x"], [1, 1])
    assert read["objects"][2] == [1, (2, 3)]


def test_safe_numpy_reads_npy(tmp_path):
    for value in (np.arange(4), np.array([{"a": 1}, None], object)):
        np.save(tmp_path / "a.npy", value)
        assert np.array_equal(read_npy(tmp_path / "a.npy"), value)
    np.save(tmp_path / "a.npy", {"a": np.ones(3)})
    assert np.array_equal(read_npy(tmp_path / "a.npy")["a"], np.ones(3))


VALUE = {"a": [{"x": 1.5}, {"x": '}] ä " \\'}, []], "n": 123456, "b": {"c": {"d": [None, True]}, "e": {}}, "empty": []}


@pytest.mark.parametrize("chunk", [1, 3, 1000])
@pytest.mark.parametrize("indent", [None, 2])
def test_walk_json_yields_values_at_a_depth(tmp_path, monkeypatch, chunk, indent):
    monkeypatch.setattr("wildhands_ros.datasets.json_stream.CHUNK", chunk)
    path = tmp_path / "value.json"
    path.write_text(json.dumps(VALUE, indent=indent, ensure_ascii=False), encoding="utf-8")
    assert list(walk_json(path, 0)) == [((), VALUE)]
    assert list(walk_json(path, 1)) == [((key,), value) for key, value in VALUE.items()]
    assert list(walk_json(path, 2)) == [
        *((("a", i), item) for i, item in enumerate(VALUE["a"])),
        *((("b", k), v) for k, v in VALUE["b"].items()),
    ]
    assert list(walk_json(path, 3)) == [
        (("a", 0, "x"), 1.5),
        (("a", 1, "x"), VALUE["a"][1]["x"]),
        (("b", "c", "d"), [None, True]),
    ]


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_walk_json_rejects_every_truncation(tmp_path, depth):
    text = json.dumps(VALUE)
    path = tmp_path / "value.json"
    for length in range(len(text)):
        path.write_text(text[:length], encoding="utf-8")
        with pytest.raises(json.JSONDecodeError):
            list(walk_json(path, depth))
    for wrong in ('{"a": 1 "b": 2}', '{"a": 1,, "b": 2}', "[1, 2] 3", "[1, 2}", '{"a" 1}'):
        path.write_text(wrong)
        with pytest.raises(json.JSONDecodeError):
            list(walk_json(path, depth))
