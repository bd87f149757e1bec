"""The estimator as a whole: on photographs, in streams, and with invalid arguments."""

import gc
import json
import sys
import weakref
from dataclasses import replace
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from wildhands_ros.config import EstimatorConfig, SearchWindows, SmoothingConfig
from wildhands_ros.datasets.coco_hands import read_coco_hands
from wildhands_ros.estimator import Estimator
from wildhands_ros.geometry.camera import Camera, rectification_maps, rectify
from wildhands_ros.geometry.pose import Pose
from wildhands_ros.hand_model.asset import joints_linear, open_hand
from wildhands_ros.io.camera_files import load_calibration
from wildhands_ros.io.sources import open_source
from wildhands_ros.runtime.predictor import Predictor
from wildhands_ros.smoothing.hands import HandSmoother
from wildhands_ros.types import Detection, EstimateSource, Side

MIDDLE_TIP = 18
"""Order of the joints in MANO."""
DEMO = Path(__file__).parents[1] / "demo"
REAL_HANDS = Path(__file__).parents[2] / "shared/real_hands"
needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed")
needs_photos = pytest.mark.skipif(not REAL_HANDS.exists(), reason="the photographs are not there")


@pytest.fixture(scope="module")
def estimator():
    estimator = Estimator()
    yield estimator
    estimator.close()


@pytest.fixture(scope="module")
def photo():
    """A labelled image, its only hand and its pixels."""
    labelled = read_coco_hands(REAL_HANDS / "onehand10k")[3]
    return labelled, labelled.hands[0], labelled.load_image()


@needs_photos
def test_a_photograph_gives_a_consistent_hand(estimator, photo):
    labelled, label, image = photo
    frame = estimator(image, labelled.camera)
    (hand,) = frame.hands
    assert hand.source is EstimateSource.NETWORK_AND_FIT
    assert hand.grasp_probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert hand.side is Side.RIGHT
    assert hand.vertices.shape == open_hand(Side.RIGHT).v_template.shape
    np.testing.assert_allclose(labelled.camera.project(hand.joints), hand.joints_2d)
    np.testing.assert_allclose(hand.wrist_position, hand.joints[0])
    assert hand.reprojection_error < 0.05
    # The mesh lies around its joints, in front of the camera.
    assert np.linalg.norm(hand.vertices - hand.joints.mean(axis=0), axis=-1).max() < 0.2
    assert hand.vertices[:, 2].min() > 0
    eigenvalues = np.linalg.eigvalsh(hand.wrist_covariance)
    assert (eigenvalues > 0).all()
    # Size and distance cannot be told apart: the depth is the most uncertain coordinate, by 3 % of the distance at
    # least.
    assert hand.wrist_covariance[2, 2] == np.diag(hand.wrist_covariance)[:3].max()
    assert np.sqrt(hand.wrist_covariance[2, 2]) > 0.03 * hand.joints[0, 2]
    assert set(frame.seconds) == {"find", "track", "predict", "fit", "smooth", "pose"}


@needs_photos
def test_depth_scales_with_the_focal_length(estimator):
    """The same image with another calibration shows a hand at another distance."""
    ratios = []
    for labelled in read_coco_hands(REAL_HANDS / "onehand10k"):
        image = labelled.load_image()
        cameras = [Camera.from_fov(*image.shape[1::-1], np.radians(fov)) for fov in (70, 50)]
        found = estimator.find(image, cameras[0])
        near, far = (estimator(image, camera, detections=found).hands[0] for camera in cameras)
        ratios.append(far.joints[0, 2] / near.joints[0, 2])
    # Not exactly: from a smaller distance, the same image shows another pose.
    assert np.median(ratios) == pytest.approx(np.tan(np.radians(35)) / np.tan(np.radians(25)), rel=0.1)


@needs_photos
def test_a_mirrored_photograph_gives_the_other_hand(photo):
    labelled, label, image = photo
    estimator = Estimator(
        EstimatorConfig(checkpoint="none")
    )  # the network's two heads are not each other's mirror image
    camera = labelled.camera
    box = label.box[[2, 1, 0, 3]] * (-1, 1, -1, 1) + (camera.width - 1, 0, camera.width - 1, 0)
    mirrored_keypoints = label.keypoints * (-1, 1) + (camera.width - 1, 0)
    hand = estimator(
        image, camera, detections=[Detection(label.box, Side.RIGHT, side_score=1.0, keypoints=label.keypoints)]
    ).hands[0]
    mirrored = estimator(
        np.ascontiguousarray(image[:, ::-1]),
        camera,
        detections=[Detection(box, Side.LEFT, side_score=1.0, keypoints=mirrored_keypoints)],
    ).hands[0]
    np.testing.assert_allclose(mirrored.joints, hand.joints * (-1, 1, 1), atol=2e-4)
    np.testing.assert_allclose(mirrored.vertices, hand.vertices * (-1, 1, 1), atol=2e-4)
    estimator.close()


@needs_photos
def test_external_boxes_without_keypoints_are_sufficient(photo):
    labelled, label, image = photo
    topic = Estimator(EstimatorConfig(detector="topic"))
    (hand,) = topic(image, labelled.camera, detections=[Detection(label.box, Side.RIGHT, 0.9)]).hands
    size = (label.box[2:] - label.box[:2]).max()
    assert np.linalg.norm(hand.joints_2d - label.keypoints, axis=-1).mean() < 0.06 * size
    assert hand.score == 0.9
    with pytest.raises(ValueError, match="every image must come with its detections"):
        topic(image, labelled.camera)
    topic.close()


@needs_photos
def test_a_network_without_upright_crops_gets_the_keypoints_box_without_margin(photo, monkeypatch):
    estimator = Estimator(EstimatorConfig(detector="topic"))
    boxes = []
    predict = Predictor.predict

    def recorded(self, image_rgb, camera, wanted, sides=None, turns=None):
        if sides is not None:  # not landmark inference
            boxes.extend(wanted)
        return predict(self, image_rgb, camera, wanted, sides, turns if sides is None else np.zeros(len(sides)))

    labelled, label, image = photo
    monkeypatch.setattr(Predictor, "predict", recorded)
    monkeypatch.setattr(Predictor, "wants_upright", False)
    for box_from_keypoints in (True, False):
        detection = Detection(
            label.box, Side.RIGHT, 0.9, 1.0, keypoints=label.keypoints, box_from_keypoints=box_from_keypoints
        )
        estimator(image, labelled.camera, detections=[detection])
    np.testing.assert_allclose(boxes[0], [*label.keypoints.min(0), *label.keypoints.max(0)])
    np.testing.assert_allclose(boxes[1], label.box)
    estimator.close()


@needs_photos
def test_the_mesh_is_posed_when_it_is_first_accessed(photo):
    labelled, label, image = photo
    estimator, posed = Estimator(EstimatorConfig(detector="topic")), []
    (hand,) = estimator(image, labelled.camera, detections=[Detection(label.box, Side.RIGHT, 0.9)]).hands
    counted = replace(hand, pose_mesh=lambda mano, side: posed.append(side) or hand.pose_mesh(mano, side))
    assert not posed
    np.testing.assert_array_equal(counted.vertices, counted.vertices)
    assert posed == [Side.RIGHT]
    moved = replace(hand, mano=replace(hand.mano, transl=hand.mano.transl + 1))
    np.testing.assert_allclose(moved.vertices, hand.vertices + 1, atol=1e-5)
    estimator.close()


def test_smoothing_does_not_change_the_tracks():
    """The estimator equals an estimator without smoothing followed by a smoother."""
    images = [frame.image for frame in islice(open_source(str(DEMO / "clip.mp4")), 8)]
    camera, _ = load_calibration(DEMO / "camera_info.yaml").camera(*images[0].shape[1::-1], rectified=False)
    poses = [Pose(np.eye(3), np.array([0.01 * i, 0, 0])) for i in range(len(images))]
    plain = Estimator(EstimatorConfig(search=SearchWindows(2)))
    smoother = HandSmoother(plain.hand_model)
    expected = []
    for i, image in enumerate(images):
        expected.append(smoother(plain(image, camera, i / 30), i / 30, poses[i]))
    plain.reset()
    plain.smoothing = SmoothingConfig()
    for i, image in enumerate(images):
        frame = plain(image, camera, i / 30, camera_pose=lambda i=i: poses[i])
        assert frame.hands
        for hand, other in zip(frame.hands, expected[i].hands, strict=True):
            np.testing.assert_allclose(hand.joints, other.joints, atol=1e-5)
            np.testing.assert_allclose(hand.vertices, other.vertices, atol=1e-5)
            assert hand.score == pytest.approx(other.score)
    blank = np.zeros_like(images[0])
    plain(blank, camera, 1.0, camera_pose=lambda: pytest.fail("asked for the camera's pose without hands"))
    plain.close()


@needs_photos
def test_external_boxes_are_estimated_with_the_score_of_the_network_and_low_scores_are_counted(estimator, photo):
    labelled, label, image = photo
    wall = Detection(np.array([0, 0, 40, 40.0]), Side.RIGHT, 0.9)
    doubtful = Detection(label.box, Side.RIGHT, 0.1)
    frame = estimator(image, labelled.camera, detections=[wall, doubtful])
    [hand] = frame.hands
    assert hand.box == pytest.approx(wall.box)
    assert hand.score < 0.1
    assert frame.unresolved == 1


@needs_photos
def test_implausible_keypoints_are_not_reported(estimator, photo):
    labelled, label, image = photo
    scattered = np.random.default_rng(0).uniform(label.box[:2], label.box[2:], (21, 2))
    frame = estimator(
        image, labelled.camera, detections=[Detection(label.box, Side.RIGHT, 0.9, 1.0, keypoints=scattered)]
    )
    assert all(hand.reprojection_error < 0.25 for hand in frame.hands)


@needs_photos
def test_a_hand_lost_by_the_detector_is_kept_while_it_is_visible(photo):
    labelled, label, image = photo
    stream = Estimator(EstimatorConfig(detector="topic"))
    detection = Detection(label.box, Side.RIGHT, 0.9)
    first = stream(image, labelled.camera, 0.0, [detection]).hands[0]
    kept = stream(image, labelled.camera, 1 / 30, []).hands[0]
    assert kept.track_id == first.track_id == "hand_1"
    assert np.linalg.norm(kept.joints - first.joints, axis=-1).mean() < 0.02
    gone = stream(np.full_like(image, 200), labelled.camera, 2 / 30, [])
    assert gone.hands == ()
    stream.close()


@needs_photos
def test_the_score_falls_as_the_hand_leaves_the_image(estimator, photo):
    labelled, label, image = photo
    left, right = label.box[[0, 2]]
    detection = Detection(label.box, Side.RIGHT, 0.9, 1.0, keypoints=label.keypoints)
    scores = []
    for part in (1.2, 0.7, 0.3):
        width = int(left + part * (right - left))
        camera = replace(labelled.camera, width=min(width, image.shape[1]))
        (hand,) = estimator(np.ascontiguousarray(image[:, : camera.width]), camera, detections=[detection]).hands
        seen = (
            ((hand.joints_2d > -0.5) & (hand.joints_2d < (camera.width - 0.5, camera.height - 0.5))).all(axis=-1).mean()
        )
        assert hand.score == pytest.approx(0.9 * seen)
        scores.append(hand.score)
    assert scores[0] > 0.85 and scores[0] > scores[1] > scores[2]


@needs_photos
def test_the_score_falls_as_the_hand_is_hidden(photo):
    labelled, label, image = photo
    x0, y0, x1, y1 = label.box.astype(int)
    stream, scores = Estimator(EstimatorConfig(detector="topic", min_score=0.01)), []
    for part in (0.0, 0.6, 0.95):
        covered = image.copy()
        covered[int(y1 - part * (y1 - y0)) : y1 + 10, max(x0 - 10, 0) : x1 + 10] = (90, 110, 140)
        stream.reset()
        stream(image, labelled.camera, 0.0, [Detection(label.box, Side.RIGHT, 0.9)])
        hands = stream(covered, labelled.camera, 1 / 30, []).hands
        scores.append(hands[0].score if hands else 0.0)
    stream.close()
    assert scores[0] > 0.9 and scores[0] > scores[1] > scores[2] and scores[2] < 0.5


@needs_photos
def test_a_hand_is_followed_at_one_image_a_second(photo):
    """A machine that falls behind would otherwise search every image, which takes longest, and never catch up."""
    labelled, label, image = photo
    tracking = Estimator(EstimatorConfig(detector="tracks"))
    box = [Detection(label.box, Side.RIGHT, 0.9)]
    found = [
        len(tracking(image, labelled.camera, stamp, detections).hands)
        for stamp, detections in ((10.0, box), (11.0, None), (12.9, None), (15.5, None))
    ]
    tracking.close()
    assert found == [1, 1, 1, 0]


@needs_photos
def test_a_change_of_the_image_size_resets_the_stream(photo):
    labelled, label, image = photo
    stream = Estimator()
    assert stream(image, labelled.camera, 0.0).hands
    small = np.ascontiguousarray(image[::2, ::2])
    assert stream(small, labelled.camera.resized(small.shape[1], small.shape[0]), 1 / 30).hands
    stream.close()


@needs_photos
def test_hand_length_sets_the_scale(photo):
    labelled, label, image = photo
    detection = [Detection(label.box, Side.RIGHT, side_score=1.0, keypoints=label.keypoints)]
    template, dirs = joints_linear(open_hand(Side.RIGHT))
    depths = []
    for length in (0.17, 0.21):
        estimator = Estimator(EstimatorConfig(hand_length=length))
        (hand,) = estimator(image, labelled.camera, detections=detection).hands
        estimator.close()
        joints = template + dirs @ hand.mano.betas
        assert np.linalg.norm(joints[MIDDLE_TIP] - joints[0]) == pytest.approx(length, abs=1e-3)
        depths.append(hand.joints[0, 2])
    # Nearly in proportion: the pose and the hand's proportions take up a little.
    assert depths[1] / depths[0] == pytest.approx(21 / 17, rel=0.05)


@pytest.mark.skipif(not (DEMO / "clip.mp4").is_file(), reason="the demo's clip is not there")
def test_the_hands_do_not_depend_on_the_lens(estimator):
    """A scene through its own lens, through a fisheye, and rectified has the same 3D hands; the 2D joints follow each
    image."""
    index = 60
    image = next(frame.image for number, frame in enumerate(open_source(str(DEMO / "clip.mp4"))) if number == index)
    camera, _ = load_calibration(DEMO / "camera_info.yaml").camera(image.shape[1], image.shape[0], rectified=False)
    k, d = [[330, 0, 479.5], [0, 330, 269.5], [0, 0, 1]], [0.02, -0.01, 0.002, 0.0]
    fisheye = Camera(k, camera.width, camera.height, "equidistant", d)
    labels = {
        hand["side"]: np.array(hand["joints"])
        for hand in json.loads((DEMO / "truth.json").read_text())["frames"][index]["hands"]
    }
    as_it_is = hands_of(estimator, image, camera, labels)
    for target in (fisheye, camera.undistorted()):
        found = hands_of(estimator, rectify(image, rectification_maps(camera, target)), target, labels)
        for side, joints in labels.items():
            hand, before, seen = found[side], as_it_is[side], target.project(joints)
            assert np.linalg.norm(hand.joints_2d - seen, axis=-1).mean() < 0.05 * np.ptp(seen, axis=0).max()
            assert np.linalg.norm(hand.joints[0] - before.joints[0]) < 0.05 * joints[0, 2]
            assert (
                np.linalg.norm(hand.joints - hand.joints[0] - before.joints + before.joints[0], axis=-1).mean() < 0.01
            )


def hands_of(estimator, image: np.ndarray, camera: Camera, labels: dict[str, np.ndarray]) -> dict:
    """Returns the estimates by side, from ground-truth keypoints."""
    detections = []
    for side, joints in labels.items():
        points = camera.project(joints)
        detections.append(
            Detection(np.concatenate([points.min(axis=0), points.max(axis=0)]), Side(side), 0.9, 1.0, keypoints=points)
        )
    found = {hand.side.value: hand for hand in estimator(image, camera, detections=detections).hands}
    assert set(found) == set(labels)
    return found


def test_an_image_without_hands(estimator):
    frame = estimator(np.full((120, 160, 3), 90, np.uint8), Camera.guess(160, 120))
    assert frame.hands == ()
    assert frame.unresolved == 0


def test_numpy_uses_one_thread():
    with threadpool_limits(2, user_api="blas"):
        Estimator(EstimatorConfig(checkpoint="none", detector="tracks")).close()
        assert {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"} == {1}


def test_closing_frees_the_network(monkeypatch):
    networks = []

    class Recorded(Predictor):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            networks.append(weakref.ref(self))

    monkeypatch.setattr("wildhands_ros.estimator.Predictor", Recorded)
    estimator = Estimator(EstimatorConfig(detector="topic"))
    estimator.warm_up()
    assert estimator.device.startswith(("cpu", "cuda")) and networks[0]() is not None
    estimator.close()
    gc.collect()
    assert [network() for network in networks] == [None]


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((120, 160), np.uint8), "RGB image"),
        (np.zeros((120, 160, 3), np.float32), "RGB image"),
        (np.zeros((100, 160, 3), np.uint8), "160x100, but its camera 160x120"),
    ],
)
def test_invalid_images_are_rejected(estimator, image, words):
    with pytest.raises(ValueError, match=words):
        estimator(image, Camera.guess(160, 120))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (EstimatorConfig(detector="yolo"), "unknown detector 'yolo'"),
        (EstimatorConfig(min_score=1.5), "min_score"),
        (EstimatorConfig(checkpoint="nowhere.safetensors"), "nowhere.safetensors"),
        (EstimatorConfig(hand_model="/nowhere"), "mano.is.tue.mpg.de"),
        (EstimatorConfig(checkpoint="default", hand_model="/nowhere"), "open hand's parameters"),
        pytest.param(EstimatorConfig(device="cuda:99"), "set auto or cpu", marks=needs_torch),
        pytest.param(EstimatorConfig(device="toaster"), "set auto or cpu", marks=needs_torch),
    ],
)
def test_invalid_options_are_rejected_with_a_hint(config, words):
    with pytest.raises(ValueError, match=words):
        Estimator(config)


@pytest.mark.parametrize("checkpoint", ["default", "none"])
def test_the_estimator_works_without_mediapipe(monkeypatch, checkpoint):
    """MediaPipe is an optional extra: neither the bundled detector nor the fit alone needs it."""
    monkeypatch.setitem(sys.modules, "mediapipe", None)  # makes the import fail
    image = next(iter(open_source(str(DEMO / "clip.mp4")))).image
    camera, _ = load_calibration(DEMO / "camera_info.yaml").camera(image.shape[1], image.shape[0], rectified=False)
    estimator = Estimator(EstimatorConfig(checkpoint=checkpoint))
    hands = estimator(image, camera).hands
    estimator.close()
    assert {hand.side for hand in hands} == set(Side)
    assert all((hand.source is EstimateSource.KEYPOINT_FIT) == (checkpoint == "none") for hand in hands)
