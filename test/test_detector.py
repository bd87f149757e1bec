"""The hand detector: networks, search windows, proposals, their verification, and its evaluation."""

import json
from dataclasses import replace
from itertools import count, islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from wildhands_ros.config import EstimatorConfig, SearchTime, SearchWindows
from wildhands_ros.datasets.real_images.reader import read_boxed_images
from wildhands_ros.detection.duplicates import without_duplicates
from wildhands_ros.detection.finder import SEARCH_EVERY, BundledDetector, HandFinder
from wildhands_ros.detection.landmarks import hand_turn
from wildhands_ros.detection.proposals import Proposal, ProposalNet
from wildhands_ros.detection.windows import MOST_PIXELS, SECOND_STAGE_SIDE, Window, tiles, view, whole
from wildhands_ros.estimator import Estimator
from wildhands_ros.evaluation.detection_figures import Counts
from wildhands_ros.geometry.boxes import box_iou, hand_box
from wildhands_ros.geometry.camera import Camera
from wildhands_ros.network.detector_cells import anchor_cells
from wildhands_ros.network.detector_net import HandDetectorNet, load_detector
from wildhands_ros.network.network_file import DEFAULT_DETECTOR, SECOND_STAGE_DETECTOR
from wildhands_ros.network.palm_net import PalmNet
from wildhands_ros.runtime.onnx import save_detector
from wildhands_ros.synthetic.config import world_config
from wildhands_ros.training.detector import second_stage
from wildhands_ros.types import Detection, Side

REAL_HANDS = Path(__file__).parents[2] / "shared/real_hands"
BOXES_OF_REAL_HANDS = Path(__file__).parent / "data" / "real_hands_boxes.json"
"""Boxes drawn by eye for the photographs in ../shared/real_hands."""
needs_real_hands = pytest.mark.skipif(not REAL_HANDS.exists(), reason="needs ../shared/real_hands")
POINTS = np.random.default_rng(3).uniform(0, 1, (21, 2)) * (60, 90) + 100


@pytest.fixture(scope="module")
def propose():
    return ProposalNet()


class TestNetwork:
    def test_palm_network_equals_mediapipes_model(self):
        pytest.importorskip("openvino")
        from wildhands_ros.network.mediapipe_weights import palm_model_path
        from wildhands_ros.network.openvino_core import openvino_core

        image = cv2.GaussianBlur(np.random.default_rng(0).uniform(0, 1, (192, 192, 3)), (0, 0), 6).astype(np.float32)
        original = (
            openvino_core()
            .compile_model(palm_model_path(), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(image[None])
            .to_tuple()
        )
        boxes, scores = sorted(original, key=lambda output: -output.shape[-1])
        with torch.inference_mode():
            ours = PalmNet.from_mediapipe()(torch.from_numpy(image).permute(2, 0, 1)[None])
        np.testing.assert_allclose(ours.logits, scores[..., 0], atol=2e-3)
        np.testing.assert_allclose(ours.boxes, boxes, atol=2e-2)
        assert len(anchor_cells(192, 192)) == ours.logits.shape[1]

    def test_weights_round_trip_and_other_files_are_rejected(self, tmp_path):
        net = HandDetectorNet()
        save_detector(net, tmp_path / "net.onnx")
        image = torch.rand(1, 3, 64, 96)
        with torch.inference_mode():
            for before, after in zip(net(image), load_detector(tmp_path / "net.onnx")(image), strict=True):
                np.testing.assert_allclose(after, before, rtol=0.05, atol=0.05)
        (tmp_path / "junk").write_bytes(b"this is not an ONNX file at all")
        with pytest.raises(ValueError, match="junk does not hold a hand detector"):
            load_detector(tmp_path / "junk")
        with pytest.raises(ValueError, match="does not hold a hand detector"):
            load_detector(DEFAULT_DETECTOR.parents[1] / "default_weights/default.onnx")
        with pytest.raises(OSError, match="nowhere"):
            load_detector(tmp_path / "nowhere")


class TestWindows:
    @pytest.mark.parametrize(
        "size", [(640, 480), (1280, 720), (480, 1280), (1, 1), (7, 900), (4000, 12), (64, 64), (3000, 3000)]
    )
    def test_images_of_any_size_become_valid_network_inputs(self, size):
        image = np.full((*size[::-1], 3), 200, np.uint8)
        for window in [*whole(*size), *tiles(*size)]:
            seen = view(image, window).image
            assert seen.shape[0] % 32 == 0 and seen.shape[1] % 32 == 0
            assert 32 * 32 <= seen.shape[0] * seen.shape[1] <= max(MOST_PIXELS, 96 * 96)
            assert seen.any()

    @pytest.mark.parametrize("size", [(640, 480), (1280, 720), (500, 1100)])
    def test_every_small_hand_lies_entirely_within_a_tile(self, size):
        width, height = size
        rng = np.random.default_rng(0)
        for parts, share in ((2, 0.19), (4, 0.09)):
            side = share * max(size)
            level = [tile for tile in tiles(*size) if np.isclose(tile.width, max(size) / parts)]
            for _ in range(200):
                x, y = rng.uniform(0, (width - side, height - side))
                assert any(
                    t.x <= x and t.y <= y and x + side <= t.x + t.width and y + side <= t.y + t.height for t in level
                ), (parts, x, y)

    def test_window_coordinates_map_back_to_the_image(self):
        image = np.zeros((480, 640, 3), np.uint8)
        cv2.circle(image, (401, 299), 9, (255, 255, 255), -1)
        for window in [*whole(640, 480), *tiles(640, 480)]:
            seen = view(image, window)
            rows, columns = np.nonzero(seen.image[..., 0] > 127)
            if (
                len(rows)
                and window.x + 15 < 401 < window.x + window.width - 15
                and window.y + 15 < 299 < window.y + window.height - 15
            ):
                middle = seen.to_image(np.array([columns.mean(), rows.mean()]) + 0.5)
                np.testing.assert_allclose(middle, (401, 299), atol=0.6 / seen.scale + 0.3)


def detection(points, score=0.9, side=Side.RIGHT) -> Detection:
    return Detection(hand_box(points, 1000, 1000), side, score, 0.9, points)


class TestDuplicates:
    def test_the_best_duplicate_is_kept_and_overlapping_hands_stay_separate(self):
        twice = detection(POINTS + 2, 0.8)
        turned = detection(POINTS[:, ::-1] + (POINTS.mean(0) - POINTS[:, ::-1].mean(0)), 0.7, Side.LEFT)
        kept = without_duplicates([twice, turned, detection(POINTS)])
        assert [(hand.score, hand.side) for hand in kept] == [(0.9, Side.RIGHT), (0.7, Side.LEFT)]

    def test_unknown_keypoints_do_not_make_hands_duplicates(self):
        weights = np.repeat([1.0, 0.0], [8, 13])
        hands = [replace(detection(POINTS + shift), keypoint_weights=weights) for shift in (0, 150)]
        for hand in hands:
            hand.keypoints[8:] = 0
        assert len(without_duplicates(hands)) == 2
        assert len(without_duplicates([hands[0], replace(hands[0], score=0.5)])) == 1

    def test_a_part_of_a_hand_is_suppressed(self):
        finger, hand = detection(0.3 * (POINTS - POINTS.mean(0)) + POINTS.mean(0), 0.95), detection(POINTS)
        (kept,) = without_duplicates([finger, hand])
        assert kept is hand


class Scene:
    """An image with hands at known positions; stands in for the landmark network and the detector."""

    def __init__(self, hands, presence=0.95, shown=0.9, right=0.5):
        self.hands, self.presence = hands, presence
        self.shown, self.right = shown, right
        """Score of each hand in the second stage, and its confidence in a right hand."""
        self.proposals: list[Proposal] = []
        self.windows: list[Window] = []
        """Windows that the detector ran on."""
        self.second_stage_windows: list[Window] = []
        self.crops = 0
        """Number of crops that the landmark network ran on."""

    def propose(self, image, window):
        self.windows.append(window)
        return [p for p in self.proposals if window.x <= p.box[0] and p.box[2] <= window.x + window.width]

    def second_stage(self, image, window):
        """Shows each hand whose centre lies in the window."""
        self.second_stage_windows.append(window)
        shown = [Proposal(hand_box(hand, 1000, 1000), hand_turn(hand), self.shown, self.right) for hand in self.hands]
        corner, side = np.array([window.x, window.y]), window.width
        return [p for p in shown if (np.abs((p.box[:2] + p.box[2:]) / 2 - corner - side / 2) < side / 2).all()]

    def infer(self, image, camera, boxes, turns):
        self.crops += len(boxes)
        found = []
        for box in boxes:
            hand = max(self.hands, key=lambda points: box_iou(hand_box(points, 1000, 1000), box), default=None)
            overlap = 0.0 if hand is None else box_iou(hand_box(hand, 1000, 1000), box)
            found.append(replace(detection(POINTS if hand is None else hand), score=self.presence * (overlap > 0.2)))
        return found


def finder(scene, detector="own", search=SearchTime(), max_hands=4):  # noqa: B008
    config = EstimatorConfig(detector=detector, search=search, max_hands=max_hands)
    return HandFinder(config, scene.infer, bundled=BundledDetector(scene.propose, scene.second_stage))


def propose_hands(scene, score=0.6, is_right=float("nan"), places=None):
    """Makes the detector propose the scene's hands, or hands at other ``places``."""
    places = scene.hands if places is None else places
    scene.proposals = [Proposal(hand_box(points, 1000, 1000), hand_turn(points), score, is_right) for points in places]
    return scene


def find_in_image(scene):
    return finder(scene).find(IMAGE, CAMERA).hands


IMAGE, CAMERA = np.zeros((480, 640, 3), np.uint8), Camera.guess(640, 480)


def guess(image: np.ndarray) -> Camera:
    return Camera.guess(image.shape[1], image.shape[0])


class TestSearch:
    def test_a_proposal_that_the_landmark_network_recognises_is_a_hand(self):
        other = POINTS + (250, 100)
        scene = propose_hands(Scene([POINTS, other]), places=[POINTS, other, POINTS + (300, 300)])
        found = find_in_image(scene)
        assert len(found) == 2
        assert all(any(np.array_equal(hand.keypoints, points) for points in scene.hands) for hand in found)

    def test_no_network_decides_alone(self):
        def found(shown, presence):
            return find_in_image(propose_hands(Scene([POINTS], presence, shown)))

        assert found(0.05, 0.05) == [] == found(0.3, 0.05)
        assert len(found(0.9, 0.05)) == 1, "gloved hands are not recognised by the landmark network"
        assert len(found(0.5, 0.95)) == 1
        (doubtful,), (medium,), (sure,) = found(0.9, 0.05), found(0.6, 0.9), found(0.95, 0.99)
        assert 0.5 < doubtful.score < sure.score < 1 and medium.score < sure.score

    def test_a_box_is_the_mean_of_the_keypoints_box_and_that_of_the_second_stages_first_crop(self):
        box = hand_box(POINTS, 1000, 1000)
        centre, half = np.tile((box[:2] + box[2:]) / 2, 2), np.append(box[:2] - box[2:], box[2:] - box[:2]) / 2
        for presence, share in ((0.98, 0.73), (0.02, 0.27)):
            scene = propose_hands(Scene([POINTS], presence, 0.98))
            show = scene.second_stage
            scene.second_stage = lambda image, window, scene=scene, show=show: [
                replace(proposal, box=proposal.box + (6 if len(scene.second_stage_windows) == 1 else 50))
                for proposal in show(image, window)
            ]
            (found,) = find_in_image(scene)
            np.testing.assert_allclose(found.box, share * box + (1 - share) * (centre + 6 + 0.95 * half), atol=0.05)
            np.testing.assert_array_equal(found.keypoints, POINTS)
            assert found.box_from_keypoints == (presence > 0.5)

    def test_both_networks_decide_the_side(self):
        (found,) = find_in_image(propose_hands(Scene([POINTS], right=0.03)))
        # The second stage gives left a probability of 0.97, the landmark network gives right 0.9.
        assert found.side is Side.LEFT and found.side_score == pytest.approx(0.97 * 0.1 / (0.97 * 0.1 + 0.03 * 0.9))

    def test_places_without_a_hand_cost_one_crop(self):
        scene = propose_hands(Scene([POINTS]), 0.4, places=[POINTS, POINTS + (300, 0), POINTS + (0, 250)])
        assert len(find_in_image(scene)) == 1
        assert len(scene.second_stage_windows) == 4 and scene.crops == 2

    def test_tiles_of_a_still_image_are_searched_only_if_it_is_large_and_nothing_is_found(self):
        for hands, size, is_searched in (([POINTS], 2, False), ([], 2, True), ([], 1, False)):
            scene = propose_hands(Scene(hands))
            image = np.zeros((480 * size, 640 * size, 3), np.uint8)
            finder(scene, "auto").find(image, guess(image))
            assert (len(scene.windows) > 2) == is_searched

    def test_less_likely_places_are_examined_where_nothing_is_found(self):
        assert len(find_in_image(propose_hands(Scene([POINTS], 0.99), 0.2))) == 1
        both = Scene([POINTS, POINTS + (250, 100)], 0.99)
        propose_hands(both)
        both.proposals[1] = replace(both.proposals[1], score=0.16)
        both.shown = 0.45
        assert len(find_in_image(both)) == 1

    def test_a_second_hand_that_only_the_first_stage_doubts_is_found(self):
        scene = Scene([POINTS, POINTS + (250, 100)], presence=0.95, shown=0.64)
        propose_hands(scene)
        scene.proposals[1] = replace(scene.proposals[1], score=0.21)
        assert len(find_in_image(scene)) == 2

    def test_windows_alternate_over_a_stream_while_nothing_is_found(self):
        scene = Scene([])
        stream = finder(scene, "auto", SearchTime(0.0))
        everywhere = {*whole(640, 480), *tiles(640, 480)}
        for _ in range(2 * len(tiles(640, 480))):
            assert stream.find(IMAGE, CAMERA, is_stream=True).hands == []
        assert set(scene.windows) == everywhere
        scene.windows.clear()
        finder(scene, "auto", SearchTime(60.0)).find(IMAGE, CAMERA, is_stream=True)
        assert set(scene.windows) == everywhere and len(scene.windows) == len(everywhere)

    def test_the_number_of_windows_can_be_limited_instead_of_the_time(self):
        for detector in ("auto", "own"):
            scene = Scene([])
            finder(scene, detector, SearchWindows(2)).find(IMAGE, CAMERA, is_stream=True)
            assert len(scene.windows) == 2
        scene = Scene([])
        finder(scene, "own", SearchTime(60.0)).find(IMAGE, CAMERA, is_stream=True)
        assert len(scene.windows) == 1

    def test_losing_a_hand_triggers_a_search_of_the_whole_image(self):
        scene = propose_hands(Scene([POINTS + (250, 100)]))
        (found,) = finder(scene, "auto").find(IMAGE, CAMERA, [detection(POINTS)], is_stream=True).hands
        assert np.array_equal(found.keypoints, scene.hands[0]) and scene.windows[0] == whole(640, 480)[0]

    def test_a_lost_hand_is_inferred_once_per_image(self):
        scene = Scene([])
        assert finder(scene, "auto").find(IMAGE, CAMERA, [detection(POINTS)], is_stream=True).hands == []
        assert scene.crops == 1

    def test_tracked_hands_cost_one_crop_each_and_an_occasional_search(self):
        scene = propose_hands(Scene([POINTS]))
        stream = finder(scene, "auto", SearchTime(0.0))
        known = stream.find(IMAGE, CAMERA, is_stream=True).hands
        scene.windows.clear()
        scene.crops = 0
        for _ in range(2 * SEARCH_EVERY):
            known = stream.find(IMAGE, CAMERA, known, is_stream=True).hands
            assert len(known) == 1
        assert len(scene.windows) == 2 and scene.crops <= 2 * SEARCH_EVERY

    def test_a_doubtful_hand_of_a_stream_is_reported_once_it_was_seen_twice(self):
        scene = propose_hands(Scene([POINTS], presence=0.05, shown=0.55), 0.5)
        stream, known = finder(scene), []
        counts = []
        for _ in range(4):
            known = stream.find(IMAGE, CAMERA, known, is_stream=True).hands
            counts.append(len(known))
        assert counts == [0, 1, 1, 1]
        assert len(finder(scene).find(IMAGE, CAMERA).hands) == 1, "in a still image there is no second chance"
        stream.reset()
        elsewhere = propose_hands(Scene([POINTS + (300, 100)]))
        assert stream.find(IMAGE, CAMERA, is_stream=True).hands == []
        scene.hands, scene.proposals = elsewhere.hands, elsewhere.proposals
        assert stream.find(IMAGE, CAMERA, is_stream=True).hands == [], "seen once at each of two places"

    def test_a_sure_hand_of_a_stream_is_reported_at_once(self):
        scene = propose_hands(Scene([POINTS], presence=0.95))
        assert len(finder(scene).find(IMAGE, CAMERA, is_stream=True).hands) == 1

    def test_a_known_hand_is_lost_less_easily_than_found(self):
        counts = [
            len(finder(Scene([POINTS], presence=presence)).find(IMAGE, CAMERA, [detection(POINTS)], True).hands)
            for presence in (0.4, 0.2)
        ]
        assert counts == [1, 0]


class TestExternalBoxes:
    @pytest.mark.parametrize("score", [0.9, float("nan")])
    def test_a_box_always_gets_an_estimate_whose_score_is_low_if_no_hand_is_recognised(self, score):
        box = Detection(hand_box(POINTS, 1000, 1000), Side.LEFT, score)
        for presence in (0.95, 0.1):
            found = finder(Scene([POINTS], presence=presence), "topic").find(IMAGE, CAMERA, detections=[box]).hands
            assert len(found) == 1 and found[0].keypoints is not None and found[0].side is Side.LEFT
            np.testing.assert_array_equal(found[0].box, box.box)
            if presence < 0.5:
                assert found[0].score == pytest.approx(0.1 * np.nan_to_num(score, nan=1.0))
            else:
                np.testing.assert_equal(found[0].score, score)


class TestProposals:
    def test_blank_and_tiny_images_have_no_hands(self, propose):
        for image in (
            np.zeros((480, 640, 3), np.uint8),
            np.full((480, 640, 3), 255, np.uint8),
            np.zeros((1, 1, 3), np.uint8),
        ):
            for window in whole(*image.shape[1::-1]):
                assert [p for p in propose(image, window) if p.score > 0.5] == []

    @needs_real_hands
    def test_the_best_proposal_on_a_photograph_lies_on_the_hand(self, propose):
        images = read_boxed_images(REAL_HANDS, BOXES_OF_REAL_HANDS).images
        labelled = next(labelled for labelled in images if labelled.path.name == "1402.jpg")
        image = labelled.load()
        best = propose(image, whole(*image.shape[1::-1])[1])[0]
        assert best.score > 0.8 and box_iou(best.box, labelled.hands[0].box) > 0.5 and abs(best.turn) < 0.6


class TestSecondStage:
    def test_hands_score_higher_than_false_positives_and_parts_of_hands(self):
        """Compares the scores at the centre of second-stage crops of the test split."""
        net = ProposalNet(SECOND_STAGE_DETECTOR, least_score=0.01)
        centre, half = second_stage.KEPT / 2, second_stage.KEPT / second_stage.SPAN / 2
        place = np.array([centre - half, centre - half, centre + half, centre + half])
        scores = {"hand": [], "false_positive": [], "part": []}
        for frame in islice(second_stage.drawn(world_config("second_stage", "test"), count(0)), 80):
            at_centre = [
                bool(counts) and np.abs((box[:2] + box[2:]) / 2 - centre).max() < 1
                for box, counts in zip(frame.boxes, frame.counts, strict=True)
            ]
            if any(at_centre):
                box = frame.boxes[at_centre.index(True)]
                scores["hand"].append(self.score(net, frame.image, box))
                scores["part"].append(self.score(net, frame.image, centre + (place - centre) / 4))
            elif not any(box_iou(box, place) > 0.1 for box in frame.boxes):
                scores["false_positive"].append(self.score(net, frame.image, place))
        assert len(scores["hand"]) > 20 and len(scores["false_positive"]) > 15
        assert np.mean(np.array(scores["hand"]) > 0.4) > 0.75
        assert np.mean(np.array(scores["false_positive"]) > 0.4) < 0.1
        assert np.mean(np.array(scores["part"]) > 0.4) < 0.2

    @staticmethod
    def score(net, image, box):
        middle, side = (box[:2] + box[2:]) / 2, 1.8 * (box[2:] - box[:2]).max()
        found = net.hands(image, Window(*(middle - side / 2), side, side, SECOND_STAGE_SIDE**2))
        return max((hand.score for hand in found if box_iou(hand.box, box) > 0.4), default=0.0)


class TestFinder:
    def test_unknown_detectors_are_rejected(self):
        with pytest.raises(ValueError, match="unknown detector 'magic'; known: auto, own, mediapipe, topic, tracks"):
            HandFinder(EstimatorConfig(detector="magic"), Scene([POINTS]).infer)

    def test_topic_requires_detections_and_tracks_does_not(self):
        scene = Scene([POINTS])
        with pytest.raises(ValueError, match="topic"):
            finder(scene, "topic").find(IMAGE, CAMERA, is_stream=True)
        assert finder(scene, "tracks").find(IMAGE, CAMERA, is_stream=True).hands == []

    def test_the_better_of_two_external_detections_of_a_hand_is_kept(self):
        twice = [replace(detection(POINTS + shift, score), keypoints=None) for shift, score in ((0, 0.7), (3, 0.9))]
        (found,) = finder(Scene([POINTS]), "topic").find(IMAGE, CAMERA, detections=twice).hands
        assert found.score == 0.9

    def test_a_lost_hand_with_an_external_box_nearby_is_inferred_once(self):
        scene = Scene([])
        box = replace(detection(POINTS), keypoints=None)
        finder(scene, "topic").find(IMAGE, CAMERA, [detection(POINTS)], is_stream=True, detections=[box])
        assert scene.crops == 1 + 5, "one for the known hand; four rotations and a refinement for the box"

    @needs_real_hands
    def test_finds_the_second_hand_of_a_pair(self):
        """A blurred hand beside a sharp one, and a gloved hand of which the first stage is not sure."""
        estimator = Estimator(EstimatorConfig(detector="own", max_hands=8))
        counts = Counts()
        for labelled in read_boxed_images(REAL_HANDS, BOXES_OF_REAL_HANDS).images:
            if labelled.path.name in ("photo_1.jpg", "photo_4.jpg"):
                image = labelled.load()
                found = estimator.find(image, guess(image))
                counts.add(found, labelled.hands, image.shape[1])
        figures = counts.figures()
        assert (figures["hands"], figures["recall"], figures["precision"]) == (6, 1, 1)

    @needs_real_hands
    @pytest.mark.parametrize("detector", ["own", "auto"])
    def test_finds_all_hands_in_photographs_without_false_positives(self, detector):
        images = read_boxed_images(REAL_HANDS, BOXES_OF_REAL_HANDS).images
        estimator = Estimator(EstimatorConfig(detector=detector, max_hands=8))
        counts = Counts()
        for labelled in images:
            if labelled.path.name in ("1402.jpg", "33.jpg", "00111.png"):
                image = labelled.load()
                height, width = image.shape[:2]
                counts.add(estimator.find(image, Camera.guess(width, height)), labelled.hands, width)
        figures = counts.figures()
        assert (figures["recall"], figures["precision"], figures["side_accuracy"]) == (1, 1, 1)


def test_annotated_boxes_lie_within_their_images():
    content = json.loads(BOXES_OF_REAL_HANDS.read_text())
    sizes = {image["id"]: (image["width"], image["height"]) for image in content["images"]}
    for annotation in content["annotations"]:
        x, y, width, height = annotation["bbox"]
        assert x >= 0 and y >= 0 and width > 10 and height > 10
        assert x + width <= sizes[annotation["image_id"]][0] and y + height <= sizes[annotation["image_id"]][1]
        assert annotation["hand_type"] in ("left", "right")
