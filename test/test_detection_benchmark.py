"""The detection benchmark: reading of annotated photographs, the split by scene, and the figures of detectors."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from wildhands_ros.cli.main import main
from wildhands_ros.datasets.coco_hands import AnnotationError
from wildhands_ros.datasets.labels import LabelledHand
from wildhands_ros.datasets.real_images import own_labels
from wildhands_ros.datasets.real_images.reader import BoxedImage, is_boxed, read_boxed_images
from wildhands_ros.datasets.real_images.split import (
    SPLITS,
    SceneSize,
    difference_hash,
    divide,
    merged,
    near_duplicates,
    place_and_people,
    scene_key,
)
from wildhands_ros.evaluation.annotated_boxes import boxed_videos
from wildhands_ros.evaluation.detection_figures import (
    MIN_SCORE,
    Counts,
    ScoredHand,
    average_precision,
    precision_recall,
    scored_hands,
)
from wildhands_ros.evaluation.detection_plot import draw_detection
from wildhands_ros.evaluation.keypoints import hands_with_keypoints
from wildhands_ros.evaluation.reliability import calibration_error, reliability
from wildhands_ros.types import Detection, Side

REAL_IMAGES = Path(__file__).parents[2] / "shared/real_images"
REAL_HANDS = Path(__file__).parents[2] / "shared/real_hands"
BOXES_OF_REAL_HANDS = Path(__file__).parent / "data" / "real_hands_boxes.json"
needs_real_hands = pytest.mark.skipif(not REAL_HANDS.exists(), reason="needs ../shared/real_hands")
needs_real_images = pytest.mark.skipif(not REAL_IMAGES.exists(), reason="needs ../shared/real_images")


def hand(x, score=0.9, side=None, size=100.0):
    return Detection(np.array([x, 0.0, x + size, size]), side, score=score)


def truth(x, side=None, size=100.0, **others):
    return LabelledHand(np.array([x, 0.0, x + size, size]), side, **others)


def write_source(folder, images, annotations=(), categories=(), size=(64, 48)):
    """Write a source whose images are noise."""
    (folder / "images").mkdir(parents=True)
    for number, image in enumerate(images):
        image.setdefault("id", number + 1)
        image.setdefault("file_name", f"images/{number}.jpg")
        image.setdefault("width", size[0])
        image.setdefault("height", size[1])
        pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), np.uint8)
        if not image.pop("missing", False):
            cv2.imwrite(str(folder / image["file_name"]), pixels)
    content = {"images": images, "annotations": list(annotations), "categories": list(categories)}
    (folder / "annotations.json").write_text(json.dumps(content))


class TestReader:
    def test_sources_are_found_in_a_folder_with_their_own_entries(self, tmp_path):
        (tmp_path / "LICENCES.md").write_text("| folder | licence |\n| a | CC BY 4.0 |\n")
        boxed = {"hands_boxed": True, "hands_complete": False, "approximate": True, "scene": "desk"}
        write_source(
            tmp_path / "a",
            [boxed, {"hands_boxed": True, "hand_free": True}, {"hands_boxed": False, "hand_free": None}],
            [
                {"id": 1, "image_id": 1, "bbox": [1, 2, 30, 20], "category_id": 2, "hand_type": "left"},
                {"id": 2, "image_id": 1, "bbox": [1, 2, 30, 20], "category_id": 3},
            ],
            [{"id": 2, "name": "gloved_hand"}, {"id": 3, "name": "cup"}],
        )
        write_source(tmp_path / "evaluate_only" / "b", [{}])
        result = read_boxed_images(tmp_path)
        first, negative, unknown, other = result.images
        assert (first.source, first.scene, first.approximate, first.hands_complete) == ("a", "desk", True, False)
        assert [(h.side, h.gloved, *h.box) for h in first.hands] == [(Side.LEFT, True, 1, 2, 31, 22)]
        assert (first.hand_free, negative.hand_free, unknown.hand_free) == (False, True, None)
        assert not unknown.hands_boxed and not unknown.hands_complete
        assert other.evaluate_only and other.split == "test" and not other.licensed and first.licensed
        assert result.problems == {
            "image without annotation of its hands: not measured": 1,
            "image without a stated licence: measured, but not for training": 1,
        }

    def test_every_problem_is_counted_and_named(self, tmp_path):
        boxes = [
            (1, [1, 1, 20, 20]),
            (1, [1, 1, 20, 21]),
            (1, [70, 1, 20, 20]),
            (1, [50, 1, 30, 20]),
            (1, [5, 5, 0, 9]),
            (7, [1, 1, 5, 5]),
            (2, [1, 1, 5, 5]),
        ]
        write_source(
            tmp_path,
            [{"license": "CC0"}, {"license": "CC0", "hand_free": True}, {"license": "CC0", "missing": True},
             {"license": "CC0", "file_name": "images/0.jpg"}],
            [{"id": i, "image_id": image, "bbox": bbox} for i, (image, bbox) in enumerate(boxes)],
        )  # fmt: skip
        result = read_boxed_images(tmp_path)
        assert result.problems == {
            "box written twice: left out": 1,
            "box outside its image: left out": 1,
            "box partly outside its image: clipped": 1,
            "empty box: left out": 1,
            "box of an image that is not listed: left out": 1,
            "image stated to be free of hands has a box: taken as unknown": 1,
            "image file is missing: left out": 1,
            "image listed twice: the second one is left out": 1,
        }
        assert len(result.report()) == 8 and "images/0.jpg" in " ".join(result.report())
        assert [len(image.hands) for image in result.images] == [2, 1]
        assert result.images[1].hand_free is None and not result.images[1].hands_complete

    def test_an_image_of_another_size_than_annotated_is_rejected(self, tmp_path):
        write_source(tmp_path, [{"width": 65}])
        with pytest.raises(ValueError, match="64x48.*for 65x48"):
            read_boxed_images(tmp_path).images[0].load()

    def test_scenes_without_a_split_are_left_out_of_splits_and_counted(self, tmp_path):
        write_source(tmp_path, [{"license": "CC0"}])
        result = read_boxed_images(tmp_path, split="train")
        assert not result.images and result.problems == {"scene without a split: left out": 1}
        with pytest.raises(ValueError, match="unknown split 'val'"):
            read_boxed_images(tmp_path, split="val")

    def test_folders_without_boxes_are_rejected(self, tmp_path):
        with pytest.raises(AnnotationError, match="name one with --boxes"):
            read_boxed_images(tmp_path)
        (tmp_path / "boxes.json").write_text('{"images": [{"id": 1}], "annotations": []}')
        with pytest.raises(AnnotationError, match="not boxes of hands"):
            read_boxed_images(tmp_path)

    def test_own_labels_add_sides_keypoints_and_corrections(self, tmp_path):
        folder = tmp_path / "labels"
        folder.mkdir()
        points = [[float(i), 2.0 * i, int(i != 5)] for i in range(21)]
        for name, value in {
            "split": {"src": {"images/0.jpg": "validation"}},
            "sides": {"src": {"images/0.jpg": [[1, 1, 20, 20, "right"]]}},
            "keypoints": {"src": {"images/0.jpg": [{"bbox": [1, 1, 20, 20], "keypoints": points}]}},
            "corrections": {
                "src": {
                    "images/0.jpg": [
                        {"action": "remove", "bbox": [30, 1, 10, 10], "reason": "a face"},
                        {"action": "add", "new_bbox": [40, 20, 10, 10], "reason": "missing"},
                        {"action": "ignore", "bbox": [30, 30, 9, 9], "reason": "a fingertip"},
                        {"action": "ignore", "new_bbox": [50, 1, 9, 9], "reason": "a hand at the border"},
                        {"action": "replace", "bbox": [1, 1, 20, 20], "new_bbox": [5, 5, 20, 20], "reason": "shifted"},
                        {"action": "incomplete", "reason": "a second person"},
                    ]
                }
            },
        }.items():
            (folder / f"{name}.json").write_text(json.dumps(value))
        labels = own_labels.OwnLabels(folder)
        boxes = [[1, 1, 20, 20], [30, 1, 10, 10], [30, 30, 9, 9]]
        write_source(
            tmp_path / "src",
            [{"license": "CC0", "scene": "single photo"}],
            [{"id": i, "image_id": 1, "bbox": bbox} for i, bbox in enumerate(boxes)],
        )
        (image,) = read_boxed_images(tmp_path / "src", split="validation", labels=labels).images
        assert [h.ignore for h in image.hands] == [False, True, True, False] and not image.hands_complete
        moved = image.hands[3]
        assert moved.keypoints is not None
        assert tuple(image.hands[0].box) == (40, 20, 50, 30) and tuple(moved.box) == (5, 5, 25, 25)
        assert moved.side is Side.RIGHT and np.isnan(moved.keypoints[5]).all() and tuple(moved.keypoints[6]) == (6, 12)

    @needs_real_hands
    def test_videos_are_collected_from_their_frames(self):
        (video,) = boxed_videos(read_boxed_images(REAL_HANDS, BOXES_OF_REAL_HANDS).images)
        assert video.path.name == "hand_video.mp4" and min(video.hands) == 0


class TestSplit:
    def test_near_duplicates_differ_in_few_bits(self):
        coarse = np.random.default_rng(0).integers(0, 200, (8, 9, 3), np.uint8)
        image = cv2.resize(coarse, (160, 120), interpolation=cv2.INTER_CUBIC)
        brighter = cv2.resize(np.clip(image * 1.2, 0, 255).astype(np.uint8), (80, 60))
        hashes = np.stack([difference_hash(picture) for picture in (image, image[::-1].copy(), brighter)])
        assert near_duplicates(hashes) == [(0, 2)]

    def test_pairs_become_groups(self):
        assert merged("abcde", [("a", "b"), ("d", "b")]) == {"a": "a", "b": "a", "d": "a", "c": "c", "e": "e"}

    def test_groups_are_divided_by_shares_and_never_cut(self):
        groups = {f"scene {i}": SceneSize(10, 10) for i in range(10)}
        assigned = divide("a source", groups, dict.fromkeys(SPLITS, SceneSize()))
        assert sorted(assigned) == sorted(groups)
        assert [list(assigned.values()).count(split) for split in SPLITS] == [6, 2, 2]
        assert assigned == divide("a source", dict(reversed(groups.items())), dict.fromkeys(SPLITS, SceneSize()))

    def test_a_source_of_one_group_goes_where_hand_free_images_are_missing(self):
        total = {"train": SceneSize(60, 60, 10), "validation": SceneSize(20, 20, 9), "test": SceneSize(20, 20, 1)}
        assert divide("a source", {"table": SceneSize(10, 0, 5)}, total) == {"table": "test"}

    def test_egohands_videos_of_the_same_people_in_one_place_are_one_scene(self):
        places = [place_and_people("egohands", key) for key in ("CARDS_OFFICE_B_S", "JENGA_OFFICE_S_B")]
        assert places == ["OFFICE_BS", "OFFICE_BS"] and place_and_people("other", "CARDS_OFFICE_B_S") != "OFFICE_BS"

    @needs_real_images
    def test_the_written_split_covers_all_images_and_separates_near_duplicates(self):
        images = [image for image in read_boxed_images(REAL_IMAGES).images if not image.evaluate_only]
        assert {image.split for image in images} == set(SPLITS), "tools/split_real_images.py writes the split"
        splits: dict[tuple[str, str], str | None] = {}
        for image in images:
            place = place_and_people(image.source, scene_key(image.source, image.scene, image.name))
            assert splits.setdefault((image.source, place), image.split) == image.split
        some = [image for image in images if image.source in ("egohands", "intel_videos")]
        pairs = near_duplicates(np.stack([difference_hash(image.load()) for image in some]))
        assert pairs and all(some[i].split == some[j].split for i, j in pairs)

    @needs_real_images
    def test_every_split_of_egohands_has_hands(self):
        for split, least in zip(SPLITS, (80, 30, 50), strict=True):
            images = read_boxed_images(REAL_IMAGES / "egohands", split=split).images
            assert sum(len(image.hands) for image in images) >= least


class TestFigures:
    def test_recall_precision_sides_and_sizes(self):
        counts = Counts()
        right = LabelledHand(np.array([0.0, 0, 100, 100]), Side.RIGHT, box_fill=0.3)
        left = LabelledHand(np.array([300.0, 0, 330, 30]), Side.LEFT, box_fill=0.5)
        part = LabelledHand(np.array([500.0, 0, 520, 20]), Side.LEFT, ignore=True)
        found = [
            Detection(np.array(box, float), side)
            for box, side in (((10, 0, 110, 100), Side.LEFT), ((500, 0, 520, 20), Side.LEFT), ((600, 0, 640, 40), None))
        ]
        counts.add(found, [right, left, part], 1000)
        counts.add([], [], 1000)
        counts.add(found[2:], [], 1000)
        figures = counts.figures()
        assert (figures["recall"], figures["precision"], figures["side_accuracy"]) == (0.5, 1 / 3, 0)
        assert figures["recall_by_size"] == {"under 4 %": 0.0, "4 to 8 %": None, "8 to 15 %": 1.0, "over 15 %": None}
        assert figures["hand_free_pictures_with_hands"] == 0.5
        assert figures["recall_in_clear_view"] == 0
        counts.add(found[:1], [replace(right, box_fill=0.4)], 1000)
        assert counts.figures()["recall_in_clear_view"] == 0.5

    def test_overlapping_hands_are_matched_by_side(self):
        counts = Counts()
        boxes = [np.array([0.0, 0, 100, 100]), np.array([2.0, 2, 102, 102])]
        labels = [LabelledHand(box, side) for box, side in zip(boxes, (Side.RIGHT, Side.LEFT), strict=True)]
        counts.add([Detection(boxes[1], Side.RIGHT), Detection(boxes[0], Side.LEFT)], labels, 400)
        assert counts.figures()["side_accuracy"] == 1

    def test_reliability_of_the_side_score(self):
        counts, labels = Counts(), [truth(0, Side.RIGHT), truth(300, Side.RIGHT), truth(600, Side.LEFT)]
        found = [Detection(label.box, Side.RIGHT, 0.9, side_score=0.95) for label in labels]
        counts.add([*found, Detection(labels[0].box + 3000, Side.LEFT, 0.9)], labels, 4000)
        figures = counts.figures()
        assert figures["side_calibration"][9]["detections"] == 3
        assert figures["side_calibration"][9]["share_of_hands"] == pytest.approx(2 / 3)
        assert figures["side_calibration_error"] == pytest.approx(0.95 - 2 / 3)

    def test_low_iou_counts_apart(self):
        counts = Counts()
        counts.add([hand(40)], [truth(0)], 1000)
        figures = counts.figures()
        assert (figures["recall"], figures["recall_30"]) == (0, 1)
        assert (figures["precision"], figures["precision_30"]) == (0, 1)

    def test_incomplete_images_count_for_recall_alone(self):
        counts = Counts()
        counts.add([hand(0), hand(500)], [truth(0), truth(800)], 1000, complete=False, candidates=[hand(500)])
        figures = counts.figures()
        assert figures["recall"] == 0.5 and figures["precision"] is figures["average_precision"] is None
        assert figures["false_in_hand_free"] is None and figures["calibration_error"] is None
        counts.add([hand(0), hand(500)], [truth(0)], 1000)
        assert counts.figures()["precision"] == 0.5

    def test_only_verified_images_are_free_of_hands(self):
        counts = Counts()
        counts.add([hand(0), hand(300)], [], 1000, hand_free=True)
        counts.add([], [], 1000, hand_free=True)
        counts.add([hand(0)], [], 1000, complete=False)
        figures = counts.figures()
        assert (figures["false_in_hand_free"], figures["false_hands_per_hand_free"]) == (0.5, 1.0)
        assert figures["hand_free_pictures"] == 2

    def test_average_precision_worked_out_by_hand(self):
        scored = [ScoredHand(score, right) for score, right in ((0.9, True), (0.8, False), (0.7, True), (0.2, False))]
        assert average_precision(scored, 3) == pytest.approx(1 / 3 * 1 + 1 / 3 * 2 / 3)
        assert average_precision([], 3) == 0 and average_precision(scored, 0) is None
        assert precision_recall(scored, 3)[1] == (0.8, pytest.approx(1 / 3), 0.5)

    def test_detections_of_one_score_count_together(self):
        for order in ((True, False), (False, True)):
            scored = [ScoredHand(0.9, right) for right in order]
            assert average_precision(scored, 1) == 0.5 and precision_recall(scored, 1) == [(0.9, 1.0, 0.5)]

    def test_the_best_score_takes_a_hand_and_ignored_hands_excuse(self):
        truths = [truth(0), truth(500, ignore=True)]
        scored = scored_hands([hand(5, 0.6), hand(0, 0.9), hand(505, 0.8)], truths, 0.5)
        assert scored == [(0.9, True), (0.6, False)]

    def test_calibration_error_of_reported_hands(self):
        bins = reliability([0.85] * 10 + [0.15], [i < 6 for i in range(10)] + [True])
        assert [entry.count for entry in bins] == [0, 1, 0, 0, 0, 0, 0, 0, 10, 0]
        assert bins[8].share_right == 0.6 and calibration_error(bins, MIN_SCORE) == pytest.approx(0.25)

    def test_calibration_uses_the_iou_for_which_boxes_are_good(self):
        counts = Counts()
        for approximate in (False, True):
            counts.add([], [truth(0)], 1000, candidates=[hand(40, 0.65)], approximate=approximate)
        assert counts.figures()["calibration"][6]["share_of_hands"] == 0.5

    def test_plot(self, tmp_path):
        counts = Counts()
        counts.add([hand(0)], [truth(0)], 1000, candidates=[hand(0), hand(300, 0.3)])
        draw_detection({"own": counts.figures(), "none": Counts().figures()}, tmp_path / "plot.png")
        assert cv2.imread(str(tmp_path / "plot.png")).shape[1] > 800


@needs_real_hands
def test_annotated_boxes_lie_within_their_images():
    result = read_boxed_images(REAL_HANDS, BOXES_OF_REAL_HANDS)
    assert set(result.problems) <= {"image without a stated licence: measured, but not for training"}
    assert all(len(image.hands) and all(h.side is not None for h in image.hands) for image in result.images)


def test_detection_evaluation_on_the_command_line(tmp_path, capsys):
    write_source(tmp_path / "desk", [{}, {}], [{"id": 1, "image_id": 1, "bbox": [1, 1, 30, 30]}], size=(96, 96))
    write_source(tmp_path / "evaluate_only" / "gloves", [{}], size=(96, 96))
    (tmp_path / "desk" / "images" / "1.jpg").write_bytes(b"no image")
    command = ["evaluate", "detection", "--photos", str(tmp_path), "--count", "1", "--detectors", "mediapipe"]
    assert main([*command, "--json", str(tmp_path / "out.json"), "--picture", str(tmp_path / "out.png")]) == 0
    figures = json.loads((tmp_path / "out.json").read_text())["mediapipe"]
    assert {
        "recall", "precision", "recall_30", "precision_30", "average_precision", "side_accuracy", "false_in_hand_free",
        "ms_median",
    } <= figures.keys()  # fmt: skip
    assert list(figures["suites"]) == ["synthetic", "photos", "desk", "gloves"]
    assert figures["hands"] == figures["pictures"] == 1 and figures["ms_median"] > 0
    assert figures["suites"]["gloves"]["hand_free_pictures"] == 1
    printed = capsys.readouterr()
    assert "recall, under 4 %" in printed.out and (tmp_path / "out.png").stat().st_size > 1000
    assert "3 x image without a stated licence" in printed.err and "left out: " in printed.err


def test_a_split_without_images_is_named(tmp_path, capsys):
    write_source(tmp_path, [{}])
    assert main(["evaluate", "detection", "--photos", str(tmp_path), "--split", "test"]) != 0
    assert "no annotated image in split 'test'" in capsys.readouterr().err


@needs_real_images
def test_every_own_label_belongs_to_a_box():
    result = read_boxed_images(REAL_IMAGES)
    assert not [problem for problem in result.problems if problem.startswith("label of this project")]
    hands = [hand for image in result.images for hand in image.hands]
    assert sum(hand.side is not None for hand in hands) >= 680
    assert sum(hand.keypoints is not None for hand in hands) >= 300
    boxes = [hand for hand in hands if hand.keypoints is not None]
    for hand in boxes:
        inside = (hand.keypoints > hand.box[:2] - 0.5 * np.ptp(hand.box.reshape(2, 2), axis=0).max()).all(axis=1)
        assert inside[hand.known_keypoints].all()


class TestKeypoints:
    def test_sources_are_told_apart_from_photographs_with_keypoints(self, tmp_path):
        write_source(tmp_path / "a", [{}])
        assert not is_boxed(tmp_path)
        write_source(tmp_path / "b", [{"hands_boxed": True}])
        assert is_boxed(tmp_path) and is_boxed(tmp_path / "b")

    def test_only_hands_with_keypoints_are_samples(self):
        labelled = replace(truth(0), keypoints=np.zeros((21, 2)))
        others = (truth(200), replace(labelled, ignore=True))
        image = BoxedImage(Path("a.jpg"), "src", "a.jpg", "a.jpg", None, (640, 480), (labelled, *others))
        (sample,) = hands_with_keypoints([image, replace(image, hands=others)])
        assert sample.hands == (labelled,) and sample.camera.width == 640

    @needs_real_hands
    def test_photographs_are_compared_by_source(self, tmp_path, capsys):
        source = REAL_HANDS / "onehand10k"
        (tmp_path / "onehand").mkdir()
        content = json.loads((source / "test_onehand10k.json").read_text())
        content["annotations"] = content["annotations"][:1]
        (tmp_path / "onehand" / "one.json").write_text(json.dumps(content))
        name = next(i["file_name"] for i in content["images"] if i["id"] == content["annotations"][0]["image_id"])
        (tmp_path / "onehand" / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / "onehand" / name).write_bytes((source / name).read_bytes())
        assert main(["evaluate", "photos", str(tmp_path / "onehand"), "--json", str(tmp_path / "out.json")]) == 0
        (methods,) = json.loads((tmp_path / "out.json").read_text())["keypoints_by_source"].values()
        assert set(methods) == {"network", "fit", "mediapipe"}
        for row in methods.values():
            assert row["hands"] == row["found"] == 1 and row["l2_box_percent"] < 15 and 0 < row["pck_10"] <= 1
        assert "2D keypoints in true boxes" in capsys.readouterr().out
