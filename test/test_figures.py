"""Evaluation figures on cases worked out by hand, and the evaluation suites end to end."""

import json
from pathlib import Path

import dataset_files as files
import numpy as np
import pytest

from wildhands_ros.cli.main import main
from wildhands_ros.datasets import open_dataset
from wildhands_ros.datasets.coco_hands import read_coco_hands
from wildhands_ros.datasets.labels import LabelledHand, LabelledImage
from wildhands_ros.estimator import Estimator
from wildhands_ros.evaluation.figures import Figures, HandResult, Measurements
from wildhands_ros.evaluation.metrics import mpjpe, pa_mpjpe
from wildhands_ros.evaluation.real import dataset_images
from wildhands_ros.evaluation.signatures import failure_signatures
from wildhands_ros.evaluation.suite import evaluate_images, match_hands
from wildhands_ros.geometry.camera import Camera
from wildhands_ros.geometry.masks import mask_iou, mesh_mask
from wildhands_ros.io.images import encode_image
from wildhands_ros.types import Grasp, Side

KEYS = {"mpjpe_mm", "pa_mpjpe_mm", "mrrpe_mm", "root_mm", "l2_px", "l2_box_percent", "grasp_accuracy", "samples"}
CAMERA = Camera.pinhole(500, 500, 319.5, 239.5, 640, 480)
REAL_HANDS = Path(__file__).parents[2] / "shared/real_hands"


def joints(seed=0, offset=(0, 0, 0.5)):
    return np.random.default_rng(seed).normal(scale=0.03, size=(21, 3)) + offset


def labelled_hand(side=Side.RIGHT, seed=0, offset=(0, 0, 0.5), **others):
    points = joints(seed, offset)
    return LabelledHand(np.array([100, 100, 200, 150.0]), side, CAMERA.project(points), points, **others)


def result(hand, moved=(0, 0, 0), grasp=None, pixels=0.0, grasp_probability=np.nan):
    return HandResult(hand.joints + moved, hand.keypoints + (pixels, 0), hand.side, grasp, grasp_probability)


def image_of(*hands, known=True):
    return LabelledImage("an image", lambda: None, CAMERA, hands, camera_is_known=known)


def test_figures_of_an_image_with_two_hands():
    right, left = labelled_hand(), labelled_hand(Side.LEFT, 1, (-0.2, 0, 0.5))
    measurements = Measurements()
    measurements.add(image_of(right, left), [result(right, (0.03, 0, 0.04), pixels=4), result(left, pixels=2)])
    figures = measurements.figures()
    assert (figures.samples, figures.found, figures.pictures, figures.pairs) == (2, 2, 1, 1)
    assert figures.mpjpe_mm == pytest.approx(0, abs=1e-9)
    assert figures.mrrpe_mm == pytest.approx(50)
    assert figures.root_mm == pytest.approx(25)
    assert figures.l2_px == pytest.approx(3)
    assert figures.l2_px_224 == pytest.approx(3 * 224 / 640)
    assert figures.l2_box_percent == pytest.approx(3)
    assert figures.side_is_right == 1
    assert figures.grasp_accuracy is figures.mask_iou is None


def test_mpjpe_averages_over_the_hands_of_an_image_then_over_images():
    right, left = labelled_hand(), labelled_hand(Side.LEFT, 1)

    def bent(hand, distance):
        points = hand.joints.copy()
        points[5:] += (distance, 0, 0)
        return HandResult(points, hand.keypoints, hand.side)

    measurements = Measurements()
    measurements.add(image_of(right, left), [bent(right, 0.021), bent(left, 0.042)])
    measurements.add(image_of(right), [bent(right, 0.0)])
    # 16 of the 21 joints are moved.
    assert measurements.figures().mpjpe_mm == pytest.approx((16 + 32) / 2 / 2)


def test_pa_as_coded_counts_hands_without_ground_truth_as_zero():
    hand = labelled_hand()
    estimate = HandResult(
        hand.joints + np.random.default_rng(3).normal(scale=0.005, size=(21, 3)), hand.keypoints, hand.side
    )
    pairs, single = Measurements(), Measurements(two_hands=False)
    pairs.add(image_of(hand), [estimate])
    single.add(image_of(hand), [estimate])
    correct = 1000 * pa_mpjpe(estimate.joints, hand.joints)
    assert pairs.figures().pa_mpjpe_corrected_mm == single.figures().pa_mpjpe_corrected_mm == pytest.approx(correct)
    assert pairs.figures().pa_mpjpe_mm == pytest.approx(correct / 2)
    assert single.figures().pa_mpjpe_mm == pytest.approx(correct)


def test_missed_hands_are_counted_but_do_not_enter_the_means():
    hand = labelled_hand()
    measurements = Measurements()
    measurements.add(image_of(hand), [None])
    measurements.add(image_of(hand), [result(hand, (0, 0, 0.01))])
    figures = measurements.figures()
    assert (figures.samples, figures.found) == (2, 1)
    assert figures.root_mm == pytest.approx(10)


def test_an_assumed_camera_excludes_position_errors():
    right, left = labelled_hand(), labelled_hand(Side.LEFT, 1)
    measurements = Measurements()
    measurements.add(image_of(right, left, known=False), [result(right), result(left)])
    figures = measurements.figures()
    assert figures.root_mm is figures.root_depth_percent is figures.mrrpe_mm is None
    assert figures.mpjpe_mm is not None


def test_unknown_joints_are_excluded():
    expected = joints()
    predicted = expected + (0, 0, 0.3)
    expected[7] = np.nan
    assert mpjpe(predicted, expected) == pytest.approx(0)
    assert pa_mpjpe(predicted, expected) == pytest.approx(0)
    expected[0] = np.nan
    assert np.isnan(mpjpe(predicted, expected))
    expected[2:] = np.nan
    assert np.isnan(pa_mpjpe(predicted, expected))


def test_figures_without_3d_truth_are_none():
    hand = LabelledHand(np.array([0, 0, 10, 10.0]), Side.LEFT, np.full((21, 2), 5.0))
    measurements = Measurements()
    measurements.add(image_of(hand), [HandResult(joints(), np.full((21, 2), 6.0))])
    figures = measurements.figures()
    assert figures.mpjpe_mm is figures.pa_mpjpe_mm is figures.pa_mpjpe_corrected_mm is figures.root_mm is None
    assert figures.l2_px == pytest.approx(2**0.5)


def test_confusion_matrix_counts_labelled_grasps():
    measurements = Measurements()
    cases = [
        (Grasp.LATERAL, Grasp.LATERAL),
        (Grasp.LATERAL, Grasp.OTHER),
        (Grasp.NO_GRASP, Grasp.NO_GRASP),
        (Grasp.UNKNOWN, Grasp.OTHER),
    ]
    for expected, estimated in cases:
        hand = labelled_hand(grasp=expected)
        measurements.add(image_of(hand), [result(hand, grasp=estimated)])
    figures = measurements.figures()
    assert figures.grasp_accuracy == pytest.approx(2 / 3)
    confusion = np.array(figures.grasp_confusion)
    assert confusion[Grasp.LATERAL, [Grasp.LATERAL, Grasp.OTHER]].tolist() == [1, 1]
    assert confusion[Grasp.NO_GRASP, Grasp.NO_GRASP] == 1
    assert confusion.sum() == 3


def test_reliability_of_the_grasp_probabilities():
    """The most probable class of four hands is right once at 0.45, and twice of three times at 0.85."""
    measurements = Measurements()
    for expected, probability in ((Grasp.OTHER, 0.45), (Grasp.OTHER, 0.85), (Grasp.OTHER, 0.85), (Grasp.LATERAL, 0.85)):
        hand = labelled_hand(grasp=expected)
        measurements.add(image_of(hand), [result(hand, grasp=Grasp.OTHER, grasp_probability=probability)])
    figures = measurements.figures()
    assert figures.grasp_unknown == pytest.approx(0.25) and figures.grasp_accuracy == pytest.approx(0.75)
    assert figures.grasp_reliability[8].count == 3 and figures.grasp_reliability[4].share_right == 1
    assert figures.grasp_calibration_error == pytest.approx((0.55 + 3 * abs(0.85 - 2 / 3)) / 4)
    assert figures.as_dict()["grasp_reliability"][8]["share_right"] == pytest.approx(2 / 3)


def figures_with(**values) -> Figures:
    return Figures(**{name: values.get(name) for name in Figures.__dataclass_fields__})


@pytest.mark.parametrize(
    "figures, words",
    [
        ({"mpjpe_mm": 38.06, "mrrpe_mm": 141.06}, "KPE"),  # the paper's crops without KPE
        ({"mpjpe_mm": 31.08, "mrrpe_mm": 49.49}, None),  # and with it
        ({"mpjpe_mm": 10.0, "mrrpe_mm": 50.0}, None),
        ({"mpjpe_mm": 83.84, "mrrpe_mm": 325.55}, None),  # the pose is wrong too
        ({"mpjpe_mm": 15.0, "mask_iou": 0.3}, "alignment"),
        ({"mpjpe_mm": 15.0, "mask_iou": 0.8}, None),
        ({"mask_iou": 0.8, "grasp_accuracy": 0.2}, "grasp head"),
        ({"mask_iou": 0.2, "grasp_accuracy": 0.2}, None),
        ({}, None),
    ],
)
def test_failure_signatures(figures, words):
    found = failure_signatures(figures_with(**figures))
    assert len(found) == (words is not None)
    assert words is None or words in found[0]


def test_mesh_mask_of_a_square():
    half = 0.1
    vertices = np.array([(x, y, 0.5) for x in (-half, half) for y in (-half, half)])
    faces = np.array([(0, 1, 2), (1, 3, 2)])
    mask = mesh_mask(vertices, faces, CAMERA)
    expected = np.zeros((480, 640), bool)
    expected[140:340, 220:420] = True
    assert mask_iou(mask, expected) > 0.98
    assert mask_iou(mask, np.roll(expected, 100, axis=1)) == pytest.approx(1 / 3, abs=0.01)
    assert np.isnan(mask_iou(expected & False, expected & False))
    behind = vertices - (0, 0, 1)
    assert not mesh_mask(behind, faces, Camera(CAMERA.k, 640, 480)).any()


def test_hands_are_matched_jointly_by_box_and_side():
    class Estimate:
        def __init__(self, box, side):
            self.box, self.side = np.array(box, float), side

    right, left = (
        LabelledHand(np.array([0, 0, 10, 10.0]), Side.RIGHT),
        LabelledHand(np.array([4, 0, 14, 10.0]), Side.LEFT),
    )
    a, b = Estimate([5, 0, 15, 10], Side.LEFT), Estimate([1, 0, 11, 10], Side.RIGHT)
    assert match_hands((right, left), [a, b], 0.3) == [b, a]
    assert match_hands((right, left), [a], 0.3) == [None, a]
    assert match_hands((right, left), [], 0.3) == [None, None]


@pytest.fixture(scope="module")
def estimator():
    estimator = Estimator()
    yield estimator
    estimator.close()


def test_unreadable_images_are_counted(estimator):
    def broken():
        raise OSError("a hole in the disk")

    hand = labelled_hand()
    images = [LabelledImage("bad", broken, CAMERA, (hand,)), LabelledImage("empty", broken, CAMERA, ())]
    warnings = []
    with pytest.raises(ValueError, match="nothing to evaluate.*cannot be read.*without a hand to evaluate"):
        evaluate_images(estimator, images, "a suite", warn=warnings.append)
    assert warnings == ["bad: a hole in the disk"]


def test_images_of_an_unexpected_size_are_counted(estimator, tmp_path):
    (tmp_path / "small.png").write_bytes(encode_image(np.zeros((48, 64, 3), np.uint8), ".png"))
    image = {"id": 1, "file_name": "small.png", "width": 640, "height": 480}
    annotation = {"image_id": 1, "bbox": [5, 5, 30, 30], "keypoints": [20, 20, 2] * 21}
    (tmp_path / "hands.json").write_text(json.dumps({"images": [image], "annotations": [annotation]}))
    warnings = []
    with pytest.raises(ValueError, match="nothing to evaluate: 1 x image or mask that cannot be read"):
        evaluate_images(estimator, read_coco_hands(tmp_path), "photos", warn=warnings.append)
    assert warnings == [f"{tmp_path / 'small.png'}: the image is 64x48, but its annotations are for 640x480"]


def test_unreadable_dataset_samples_are_counted(estimator, tmp_path):
    files.make_ego4d(tmp_path)
    dataset = open_dataset("ego4d_grasps", tmp_path, "train")
    lost = max(path for path in tmp_path.rglob("*.jpg"))
    lost.unlink()
    warnings = []
    evaluation = evaluate_images(estimator, dataset_images(dataset), "ego4d", given=("boxes",), warn=warnings.append)
    assert evaluation.skipped["image or mask that cannot be read (DatasetError)"] == 1
    assert len(warnings) == 1 and lost.name in warnings[0]


@pytest.mark.skipif(not REAL_HANDS.exists(), reason="the photographs are not there")
def test_ground_truth_keypoints_give_a_lower_error_than_found_ones(estimator):
    hands = read_coco_hands(REAL_HANDS / "rhd")
    evaluation = evaluate_images(estimator, hands, "rhd", given=("keypoints", "boxes"), two_hands=False)
    assert evaluation.headline == "boxes"
    rows = evaluation.rows
    assert rows["keypoints"].l2_box_percent < rows["boxes"].l2_box_percent < 10
    assert rows["boxes"].pa_mpjpe_mm == rows["boxes"].pa_mpjpe_corrected_mm < 15


def test_synthetic_evaluation_on_the_command_line(tmp_path, capsys):
    assert (
        main(
            [
                "evaluate",
                "synthetic",
                "--count",
                "4",
                "--json",
                str(tmp_path / "a.json"),
                "--picture",
                str(tmp_path / "a.png"),
            ]
        )
        == 0
    )
    data = json.loads((tmp_path / "a.json").read_text())
    assert data.keys() >= KEYS
    assert data["samples"] >= 4
    assert 0 < data["mpjpe_mm"] < 100
    assert 0 < data["mask_iou"] < 1
    assert 0 <= data["grasp_accuracy"] <= 1
    assert set(data["rows"]) >= {"boxes", "images"}
    assert (tmp_path / "a.png").stat().st_size > 5000
    assert "mpjpe_mm" in capsys.readouterr().out


def test_dataset_evaluation_on_the_command_line(tmp_path, capsys):
    root = files.make_h2o(tmp_path / "h2o")
    assert main(["evaluate", "dataset", "h2o", str(root), "--split", "val", "--json", str(tmp_path / "a.json")]) == 0
    output = capsys.readouterr()
    # The images show no hands, so there are counts but no figures.
    data = json.loads((tmp_path / "a.json").read_text())
    assert data.keys() >= KEYS, output.err
    assert data["samples"] > 0
    assert main(["evaluate", "dataset", "nonsense", str(root)]) == 2
    assert "h2o" in capsys.readouterr().err
