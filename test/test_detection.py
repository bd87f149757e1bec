"""MediaPipe on photographs and video, and the tracking of hands over time."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from wildhands_ros.datasets.coco_hands import read_coco_hands
from wildhands_ros.detection.known_hands import known_hand
from wildhands_ros.detection.mediapipe import MediaPipeDetector
from wildhands_ros.fitting.detection_fit import FitRequest, fit_detections
from wildhands_ros.fitting.keypoint_fit import KeypointFit
from wildhands_ros.geometry.camera import Camera
from wildhands_ros.hand_model.asset import open_hand
from wildhands_ros.tracking.tracks import MAX_GAP, HandTracks
from wildhands_ros.types import Detection, Side

REAL_HANDS = Path(__file__).parents[2] / "shared/real_hands"
needs_real_hands = pytest.mark.skipif(not REAL_HANDS.exists(), reason="needs ../shared/real_hands")


def read_rgb(path: Path) -> np.ndarray:
    return cv2.imread(str(path))[..., ::-1]


@pytest.fixture(scope="module")
def still_detector():
    detector = MediaPipeDetector(max_hands=4, tracking=False)
    yield detector
    detector.close()


@needs_real_hands
class TestMediaPipe:
    def test_finds_annotated_hands_with_keypoints(self, still_detector):
        errors = []
        for photo in read_coco_hands(REAL_HANDS / "onehand10k"):
            (hand,) = photo.hands
            (found,) = still_detector.detect(photo.load_image())
            size = np.ptp(hand.keypoints[hand.known_keypoints], axis=0).max()
            errors.append(np.nanmean(np.linalg.norm(found.keypoints - hand.keypoints, axis=1)) / size)
            assert found.score > 0.9
            assert 0.5 <= found.side_score <= 1
        assert np.mean(errors) < 0.07

    def test_side_is_anatomical(self, still_detector):
        for photo in read_coco_hands(REAL_HANDS / "rhd"):
            image, (hand,) = photo.load_image(), photo.hands
            distance = lambda d, hand=hand: np.nanmean(np.linalg.norm(d.keypoints - hand.keypoints, axis=1))  # noqa: E731
            assert min(still_detector.detect(image), key=distance).side is hand.side
            mirrored = still_detector.detect(image[:, ::-1])
            hand = replace(hand, keypoints=(image.shape[1] - 1, 0) + hand.keypoints * (-1, 1))
            assert min(mirrored, key=lambda d, hand=hand: distance(d, hand)).side is hand.side.other

    def test_world_axes_are_right_down_forward(self, still_detector):
        """World landmarks correlate with the labelled joints along every axis; mirrored or reversed ones would not."""
        for photo in read_coco_hands(REAL_HANDS / "rhd"):
            (hand,) = photo.hands
            distance = lambda d, hand=hand: np.nanmean(np.linalg.norm(d.keypoints - hand.keypoints, axis=1))  # noqa: E731
            world = min(still_detector.detect(photo.load_image()), key=distance).world
            expected = hand.joints - hand.joints.mean(0)
            for axis in range(3):
                if np.std(expected[:, axis]) > 0.01:
                    assert np.corrcoef(world[:, axis], expected[:, axis])[0, 1] > 0.6

    def test_pixel_centres_are_at_integer_coordinates(self, still_detector):
        image = read_rgb(REAL_HANDS / "onehand10k/1402.jpg")
        (original,), (doubled,) = (
            still_detector.detect(image),
            still_detector.detect(cv2.resize(image, None, fx=2, fy=2)),
        )
        assert np.abs(doubled.keypoints - (2 * original.keypoints + 0.5)).mean() < 1.5

    def test_wide_and_tiny_images_are_accepted(self, still_detector):
        image = read_rgb(REAL_HANDS / "onehand10k/1402.jpg")
        assert len(still_detector.detect(np.pad(image, ((0, 0), (200, 900), (0, 0))))) == 1
        for shape in ((1, 1, 3), (2, 300, 3), (300, 2, 3)):
            assert still_detector.detect(np.zeros(shape, np.uint8)) == []

    def test_grey_images_are_accepted(self, still_detector):
        colour = read_rgb(REAL_HANDS / "photo_5.jpg")
        grey = cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY)
        for image in (grey, grey[..., None], np.repeat(grey[..., None], 3, axis=2)):
            found = still_detector.detect(image)
            assert sorted(d.side.value for d in found) == ["left", "right"]

    def test_invalid_images_are_rejected(self, still_detector):
        with pytest.raises(ValueError, match="uint8"):
            still_detector.detect(np.zeros((4, 4, 3)))
        with pytest.raises(ValueError, match="non-empty"):
            still_detector.detect(np.zeros((0, 4, 3), np.uint8))
        with pytest.raises(ValueError, match="shape"):
            still_detector.detect(np.zeros((4, 4, 4), np.uint8))

    def test_boxes_lie_in_the_image(self, still_detector):
        image = read_rgb(REAL_HANDS / "onehand10k/1402.jpg")[:220]  # without the wrist
        for found in still_detector.detect(image):
            assert (found.box[:2] >= 0).all() and (found.box[2:] <= (image.shape[1] - 1, image.shape[0] - 1)).all()

    def test_closed_detector_raises(self):
        detector = MediaPipeDetector()
        detector.close()
        detector.close()
        with pytest.raises(RuntimeError, match="closed"):
            detector.detect(np.zeros((4, 4, 3), np.uint8))

    def test_writes_nothing_to_the_terminal(self):
        image = str(REAL_HANDS / "onehand10k/1402.jpg")
        code = (
            "import cv2; from wildhands_ros.detection.mediapipe import MediaPipeDetector as M; detector = M(); "
            f"image = cv2.imread({image!r})[..., ::-1]; "
            "assert detector.detect(image); detector.reset(); detector.detect(image); detector.close()"
        )
        result = subprocess.run(
            [sys.executable, "-c", code], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False
        )
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")

    def test_duplicate_detections_are_merged(self, monkeypatch):
        detector = MediaPipeDetector(tracking=False)
        image = read_rgb(REAL_HANDS / "photo_5.jpg")
        graph = detector._graph
        process = graph.process
        monkeypatch.setattr(
            graph,
            "process",
            lambda image: [
                h for hand in process(image) for h in (hand, replace(hand, landmarks=hand.landmarks + 0.003))
            ],
        )
        assert sorted(found.side.value for found in detector.detect(image)) == ["left", "right"]
        detector.close()

    def test_a_second_hand_is_found_within_three_frames(self):
        detector = MediaPipeDetector()
        both = read_rgb(REAL_HANDS / "photo_5.jpg")
        one = both.copy()
        one[:, both.shape[1] // 2 :] = 128
        assert [found.side for found in detector.detect(one)] == [Side.RIGHT]
        counts = [len(detector.detect(image)) for image in (one, one, one, both, both, both)]
        assert counts[:3] == [1, 1, 1]
        assert counts[5] == 2
        assert detector.detect(np.zeros_like(both)) == []
        assert len(detector.detect(both)) == 2
        detector.close()

    def test_a_hand_in_a_video_is_one_track(self):
        """Every frame has the same hand, fitted closely to its keypoints; the wrist never flips."""
        detector, tracks, fit = MediaPipeDetector(), HandTracks(), KeypointFit(open_hand(Side.RIGHT))
        video = cv2.VideoCapture(str(REAL_HANDS / "hand_video.mp4"))
        camera, ids, errors, rotations, state = Camera.guess(1280, 720), set(), [], [], None
        for frame in range(60):
            found = detector.detect(video.read()[1][..., ::-1])
            (track,) = tracks.update(found, frame / 30)
            detection = replace(found[0], side=track.side, side_score=track.side_score)
            (result,) = fit_detections(dict.fromkeys(Side, fit), [FitRequest(detection, state)], camera)
            state = result.state
            ids.add(track.id)
            errors.append(np.linalg.norm(camera.project(result.joints) - found[0].keypoints, axis=1).mean())
            errors[-1] /= (found[0].box[2:] - found[0].box[:2]).max()
            rotations.append(result.wrist_rotation)
        detector.close()
        assert ids == {"hand_1"}
        assert np.mean(errors) < 0.02
        cosines = [(np.trace(a.T @ b) - 1) / 2 for a, b in zip(rotations, rotations[1:], strict=False)]
        assert np.degrees(np.arccos(np.min(cosines))) < 30


def test_missing_mediapipe_error_names_the_install_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(ImportError, match=r"mediapipe.*pip install"):
        MediaPipeDetector()


@pytest.mark.parametrize("arguments", [{"max_hands": 0}, {"min_score": 0.0}, {"min_score": 1.0}])
def test_parameters_out_of_range_are_rejected(arguments):
    with pytest.raises(ValueError, match="must"):
        MediaPipeDetector(**arguments)


def detection(x: float, y: float = 100, side: Side | None = Side.RIGHT, side_score: float = 0.95) -> Detection:
    return Detection(np.array([x, y, x + 100, y + 100], float), side, 0.9, side_score)


class TestTracks:
    def test_hands_keep_their_ids_in_any_order(self):
        tracks = HandTracks()
        for i in range(10):
            hands = [detection(100 + 20 * i), detection(900 - 20 * i, side=Side.LEFT), detection(500, y=500)]
            order = np.random.default_rng(i).permutation(3)
            ids = [track.id for track in tracks.update([hands[k] for k in order], i / 30)]
            if i == 0:
                names = {int(k): id for k, id in zip(order, ids, strict=True)}
            assert ids == [names[k] for k in order]
        assert sorted(names.values()) == ["hand_1", "hand_2", "hand_3"]

    def test_crossing_hands_are_distinguished_by_side(self):
        tracks = HandTracks()
        for i in range(20):
            right, left = tracks.update([detection(100 + 30 * i), detection(700 - 30 * i, side=Side.LEFT)], i / 30)
            assert (right.id, left.id) == ("hand_1", "hand_2")

    @pytest.mark.parametrize("side_score", [0.95, 0.6])
    def test_a_hand_hidden_while_crossing_another_keeps_its_id(self, side_score):
        """The left hand passes behind the right one and is hidden for 1/3 s; its side is then uncertain."""
        tracks = HandTracks()
        for i in range(40):
            right = detection(400 + 2 * i)
            left = detection(100 + 20 * i, side=Side.LEFT, side_score=side_score if i > 10 else 0.95)
            is_hidden = 11 <= i < 21
            found = tracks.update([right] if is_hidden else [left, right], i / 30)
            ids = [track.id for track in found]
            if i == 0:
                names = ids
            assert ids == (names[1:] if is_hidden else names)
            assert found[-1].side is Side.RIGHT and (is_hidden or found[0].side is Side.LEFT)

    def test_the_side_does_not_flicker_if_the_detector_is_inconsistent(self):
        tracks, rng, sides = HandTracks(), np.random.default_rng(0), []
        for i in range(100):
            wrong = rng.random() < 0.25
            (track,) = tracks.update(
                [detection(100, side=Side.LEFT if wrong else Side.RIGHT, side_score=rng.uniform(0.6, 0.95))], i / 30
            )
            sides.append(track.side)
        assert set(sides[10:]) == {Side.RIGHT}

    def test_one_wrong_frame_does_not_change_the_side(self):
        tracks = HandTracks()
        for i in range(10):
            (track,) = tracks.update([detection(100, side=Side.LEFT if i == 5 else Side.RIGHT)], i / 30)
            assert (track.side, track.id) == (Side.RIGHT, "hand_1")
        assert track.side_score > 0.9

    def test_a_wrong_first_side_is_corrected(self):
        tracks = HandTracks()
        tracks.update([detection(100, side=Side.LEFT)], 0.0)
        for i in range(1, 4):
            (track,) = tracks.update([detection(100)], i / 30)
        assert (track.side, track.id) == (Side.RIGHT, "hand_1")

    def test_an_unknown_side_is_set_by_the_fit(self):
        tracks = HandTracks()
        (track,) = tracks.update([detection(100, side=None)], 0.0)
        assert (track.side, track.id) == (None, "hand_1")
        track.confirm_side(Side.LEFT)
        assert (track.side, track.id) == (Side.LEFT, "hand_1")
        for i in range(1, 4):
            (track,) = tracks.update([detection(100, side=None)], i / 30)
            track.confirm_side(Side.LEFT)
        assert track.side_score > 0.9

    def test_one_frame_does_not_change_the_grasp(self):
        (track,) = HandTracks().update([detection(100)], 0.0)
        assert track.add_grasp(None) is None, "a network without a grasp head"
        for i in range(8):
            grasp = track.add_grasp(np.eye(9)[5 if i == 4 else 2])
            assert grasp.sum() == pytest.approx(1) and np.argmax(grasp) == 2
        np.testing.assert_array_equal(track.add_grasp(None), grasp)
        for _ in range(5):
            grasp = track.add_grasp(np.eye(9)[5])
        assert np.argmax(grasp) == 5

    def test_lost_hands_keep_their_id_within_the_gap_only(self):
        tracks = HandTracks()
        (first,) = tracks.update([detection(100)], 0.0)
        assert tracks.update([], 0.1) == []
        (back,) = tracks.update([detection(110)], 0.9 * MAX_GAP)
        assert back is first
        (late,) = tracks.update([detection(110)], 2 * MAX_GAP)
        assert late is not first
        assert late.id == "hand_2"

    def test_far_jumps_and_backward_time_start_new_tracks(self):
        tracks = HandTracks()
        (first,) = tracks.update([detection(100)], 5.0)
        (far,) = tracks.update([detection(600)], 5.1)
        assert (first.id, far.id) == ("hand_1", "hand_2")
        (replayed,) = tracks.update([detection(600)], 1.0)
        assert replayed is not far
        assert replayed.id == "hand_3", "ids are never reused"

    def test_the_score_is_averaged_over_the_track(self):
        tracks = HandTracks()
        for i, (score, expected) in enumerate([(0.9, 0.9), (0.4, 0.8), (float("nan"), float("nan")), (0.7, 0.7)]):
            (track,) = tracks.update([replace(detection(100), score=score)], i / 30)
            np.testing.assert_allclose(track.score, expected)

    def test_fast_hands_are_tracked_by_their_velocity(self):
        tracks = HandTracks()
        ids = [tracks.update([detection(80 * i), detection(80 * i + 150)], i / 30)[0].id for i in range(12)]
        assert set(ids) == {"hand_1"}


def test_a_known_hand_has_the_box_around_its_projected_joints():
    def known(x: float) -> Detection | None:
        joints_2d = np.stack([x + np.linspace(0, 100, 21), np.linspace(-20, 60, 21)], axis=1)
        return known_hand(joints_2d, Side.LEFT, 0.8, 0.7, Camera.guess(640, 480))

    found = known(50)
    np.testing.assert_allclose(found.box, [42, 0, 158, 68])
    assert (found.side, found.score, found.side_score) == (Side.LEFT, 0.8, 0.7)
    assert known(900) is None and known(-300) is None
