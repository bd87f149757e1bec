"""Frames for the detector's training, their labels, and its training runs."""

import dataclasses
import importlib
import json
import resource
from itertools import count, islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from wildhands_ros.datasets.detector_frames import Frame, detector_frame
from wildhands_ros.detection.proposals import decode_hands
from wildhands_ros.detection.windows import View
from wildhands_ros.network.detector_net import HandDetectorNet, HandMaps, load_detector
from wildhands_ros.network.palm_net import PalmOutput
from wildhands_ros.runtime.onnx import save_detector
from wildhands_ros.synthetic.config import world_config
from wildhands_ros.synthetic.disturbances import NONE, Disturbances
from wildhands_ros.synthetic.frames import make_frame
from wildhands_ros.synthetic.labelled_frames import label_frame
from wildhands_ros.synthetic.worn_things import hand_silhouette
from wildhands_ros.training.config_file import ConfigError
from wildhands_ros.training.detector import frames, pool, second_stage
from wildhands_ros.training.detector.config import DetectorLossWeights, DetectorTrainingConfig
from wildhands_ros.training.detector.frames import HEIGHT, WIDTH, augmented
from wildhands_ros.training.detector.objective import collate, detector_losses
from wildhands_ros.training.detector.pool import FramePool
from wildhands_ros.training.detector.real_images import RealImages
from wildhands_ros.training.detector.trainer import EXPORT_NAME, DetectorTrainer

pytestmark = pytest.mark.slow

WORLD = world_config("frames", "test")


def labelled(scene, width, height) -> Frame:
    return detector_frame(label_frame(scene, width, height))


def frame_of(boxes, image=None, right=None, counts=None) -> Frame:
    count = len(boxes)
    return Frame(
        np.zeros((HEIGHT, WIDTH, 3), np.uint8) if image is None else image,
        np.array(boxes, float).reshape(-1, 4),
        np.array([True] * count if right is None else right, float),
        np.tile([0.6, -0.8], (count, 1)),
        np.array([True] * count if counts is None else counts, bool),
    )


def test_frames_show_any_number_of_hands_and_are_reproducible():
    scenes = [make_frame(WORLD, index) for index in range(14)]
    counts = {len(scene.hands) for scene in scenes}
    assert 0 in counts or len(counts) > 2
    assert max(counts) > 2, "other people's hands, too"
    scene = next(scene for scene in scenes if len(scene.hands) > 1)
    again = make_frame(WORLD, scene.index)
    np.testing.assert_array_equal(scene.geometry.positions, again.geometry.positions)
    first, second = labelled(scene, 320, 240), labelled(again, 320, 240)
    np.testing.assert_array_equal(first.image, second.image)
    assert first.counts.any()
    assert ((first.boxes >= -0.5) & (first.boxes <= (320, 240, 320, 240))).all()


def test_bodies_are_added_beside_the_same_hands():
    changed = 0
    for index in range(6):
        plain, peopled = (make_frame(dataclasses.replace(WORLD, bodies=share), index) for share in (0.0, 1.0))
        assert len(peopled.geometry.faces) > len(plain.geometry.faces)
        assert [hand.side for hand in peopled.hands] == [hand.side for hand in plain.hands]
        for hand, other in zip(peopled.hands, plain.hands, strict=True):
            np.testing.assert_array_equal(hand.joints, other.joints)
        difference = labelled(peopled, 160, 120).image != labelled(plain, 160, 120).image
        changed += int(np.count_nonzero(difference) > 500)
    assert changed > 3


def test_boxes_follow_the_augmentation():
    image = np.zeros((288, 384, 3), np.uint8)
    image[100:150, 200:280] = 255
    frame = dataclasses.replace(frame_of([(200, 100, 280, 150)], image))
    sides = set()
    for seed in range(30):
        moved = augmented(frame, np.random.default_rng(seed))
        if not len(moved.boxes) or not moved.counts[0]:
            continue
        bright = moved.image.astype(int).sum(axis=2)
        rows, columns = np.nonzero(bright > (bright.min() + bright.max()) / 2)
        x0, y0, x1, y1 = moved.boxes[0]
        if min(x0, y0) <= 0 or x1 >= moved.image.shape[1] - 1 or y1 >= moved.image.shape[0] - 1:
            continue  # of what is cut off, the middle is another
        assert abs(np.median(columns) - (x0 + x1) / 2) < 4 and abs(np.median(rows) - (y0 + y1) / 2) < 4
        sides.add(bool(moved.right[0] == 1))
        assert np.linalg.norm(moved.up[0]) == pytest.approx(1)
    assert sides == {True, False}, "a mirrored hand is the other one"


def test_gloves_and_devices_are_drawn_on_hands_and_labels_stay():
    rng = np.random.default_rng(0)
    image = rng.integers(90, 110, (HEIGHT, WIDTH, 3), np.uint8)
    cv2.ellipse(image, (80, 100), (30, 20), 0, 0, 360, (220, 180, 150), -1)
    frame = frame_of([(48, 78, 112, 122), (200, 150, 230, 180)], image, counts=[True, False])
    assert NONE(frame, rng) is frame
    on_hand, elsewhere = 0, 0
    for seed in range(30):
        worn = Disturbances(worn=1.0)(frame, np.random.default_rng(seed))
        np.testing.assert_array_equal(worn.boxes, frame.boxes)
        changed = (worn.image != frame.image).any(axis=2)
        on_hand += changed[78:122, 48:112].mean() > 0.1
        elsewhere += changed[:, 180:].any()
        assert not changed[155:175, 205:225].all(), "a hand that does not count is not dressed"
    assert on_hand > 12 and elsewhere > 3
    assert (frame.image == image).all(), "the photograph itself is not painted on"


def test_moving_hands_are_blurred_and_the_rest_of_the_image_stays_sharp():
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    frame = frame_of([(48, 78, 112, 122), (200, 150, 230, 180)], image, counts=[True, False])
    moving = [Disturbances(moving=1.0)(frame, np.random.default_rng(seed)) for seed in range(12)]
    contrast = np.array([moved.image[90:110, 60:100].std() for moved in moving]) / image[90:110, 60:100].std()
    assert 4 < (contrast < 0.7).sum() < 12, "some hands stand still"
    for moved in moving:
        np.testing.assert_array_equal(moved.image[:, 150:], image[:, 150:])
        np.testing.assert_array_equal(moved.boxes, frame.boxes)


def test_an_image_edge_cuts_a_hand_and_its_box():
    image = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
    frame = frame_of([(40, 60, 80, 100), (60, 70, 140, 130)], image, right=[True, False])
    directions = set()
    for seed in range(30):
        cut = Disturbances(cut=1.0)(frame, np.random.default_rng(seed))
        rows, columns = np.nonzero(cut.image[..., 0])
        left, top, right, bottom = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        assert (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1) == len(rows), "one line cuts"
        directions.add((left > 0, top > 0, right < WIDTH, bottom < HEIGHT))
        assert (cut.boxes[:, :2] >= (left, top)).all() and (cut.boxes[:, 2:] <= (right, bottom)).all()
        shares = (cut.boxes[:, 2:] - cut.boxes[:, :2]).prod(axis=1) / np.where(cut.right > 0, 1600, 4800)
        np.testing.assert_array_equal(cut.counts, shares > 0.2)
        assert cut.counts.any() and shares.min() < 1
    assert len(directions) == 4
    empty = frame_of([], image)
    assert Disturbances(cut=1.0)(empty, np.random.default_rng(0)) is empty


def test_a_silhouette_separates_a_hand_from_its_background():
    image = np.random.default_rng(0).integers(90, 110, (120, 160, 3), np.uint8)
    true = np.zeros((120, 160), np.uint8)
    cv2.ellipse(true, (80, 60), (30, 18), 20, 0, 360, (1,), -1)
    image[true > 0] = (220, 180, 150)
    found = hand_silhouette(image, np.array([48.0, 36, 112, 84])) > 0.5
    assert (found & (true > 0)).sum() / (found | (true > 0)).sum() > 0.8
    # One colour everywhere: an ellipse in the box.
    plain = hand_silhouette(np.full((120, 160, 3), 90, np.uint8), np.array([40.0, 30, 120, 90])) > 0.5
    assert plain[60, 80] and not plain[:28].any() and not plain[:, :38].any()


def test_second_stage_crops_show_labelled_hands_and_false_positives():
    world = dataclasses.replace(world_config("second_stage", "test"), bodies=1.0)
    kept = list(islice(second_stage.drawn(world, count(10)), 24))
    with_hand = [frame for frame in kept if frame.counts.any()]
    assert len(with_hand) > 8 and len(kept) - len(with_hand) > 2
    for frame in kept:
        assert frame.image.shape == (second_stage.KEPT, second_stage.KEPT, 3)
    # A crop of a hand has the hand at its centre; the hand's longer side is 1 / SPAN of the crop's.
    middle = np.full(2, second_stage.KEPT / 2)
    around = [np.abs((frame.boxes[:, :2] + frame.boxes[:, 2:]) / 2 - middle).max(axis=1).min() for frame in with_hand]
    assert np.count_nonzero(np.array(around) < 0.5) > 6, "the others are false positives beside a hand"
    frame = with_hand[int(np.argmin(around))]
    sizes = (frame.boxes[:, 2:] - frame.boxes[:, :2]).max(axis=1)
    assert np.abs(sizes - second_stage.KEPT / second_stage.SPAN).min() < 0.5
    for seed in range(10):
        cut = second_stage.augmented(frame, np.random.default_rng(seed))
        assert cut.image.shape == (second_stage.SIDE, second_stage.SIDE, 3)
        share = (cut.boxes[:, 2:] - cut.boxes[:, :2]).max(axis=1) / second_stage.SIDE
        assert ((share > 0.25) & (share < 0.95)).any()


def test_a_second_stage_crop_shows_what_the_frame_shows():
    """Tested with a hand smaller and one larger than in the stored crop."""
    image = np.zeros((480, 640, 3), np.uint8)
    image[200:240, 300:320] = 255
    for times in (1, 6):
        large = cv2.resize(image, None, fx=times, fy=times, interpolation=cv2.INTER_NEAREST)
        box = times * np.array([300.0, 200, 320, 240])
        seen = second_stage.crop_around(dataclasses.replace(frame_of([box], large)), box)
        rows, columns = np.nonzero(seen.image[..., 0] > 127)
        np.testing.assert_allclose(
            seen.boxes[0], [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], atol=1.5
        )


def test_label_maps_decode_to_the_labelled_hands():
    """The label maps, used as the network's output, are decoded to the hands they were made from."""
    boxes = [(40, 30, 90, 100), (150, 60, 165, 80), (200, 100, 280, 220)]
    batch = collate([frame_of(boxes, right=[True, False, True])])
    maps = torch.cat([torch.logit(batch.heat.clamp(1e-4, 1 - 1e-4))[:, None], batch.labels], dim=1)
    maps[:, 5] = 20 * maps[:, 5] - 10
    seen = View(np.zeros((HEIGHT, WIDTH, 3), np.uint8), 1.0, np.zeros(2))
    found = sorted(decode_hands(seen, maps[0].numpy(), 0.9), key=lambda proposal: proposal.box[0])
    assert len(found) == 3
    for proposal, box, right in zip(found, boxes, (True, False, True), strict=True):
        np.testing.assert_allclose(proposal.box, np.array(box) - 0.5, atol=0.01)
        assert (proposal.is_right > 0.5) == right
        assert proposal.turn == pytest.approx(np.arctan2(0.6, 0.8), abs=1e-5)


def test_hands_of_unknown_side_are_not_learned_as_a_side():
    maps = torch.zeros(1, 8, HEIGHT // 8, WIDTH // 8, requires_grad=True)
    for right, is_learned in ((1.0, True), (float("nan"), False)):
        batch = collate([frame_of([(40, 30, 90, 100)], right=[right])])
        losses = detector_losses(None, maps, None, batch, DetectorLossWeights())
        (gradient,) = torch.autograd.grad(losses["right"], maps)
        assert bool(gradient.any()) == is_learned
        assert "palms" not in losses


def losses_of(batch, heat):
    maps = torch.cat([torch.logit(heat.clamp(1e-3, 1 - 1e-3))[:, None], batch.labels], dim=1)
    palms = PalmOutput(torch.full((1, 10), -9.0), torch.zeros(1, 10, 18))
    return {
        name: float(value) for name, value in detector_losses(palms, maps, palms, batch, DetectorLossWeights()).items()
    }


def test_losses_are_small_for_correct_maps_and_ignore_excluded_cells():
    batch = collate([frame_of([(40, 30, 90, 100), (200, 100, 280, 220)], counts=[True, False])])
    right = losses_of(batch, (batch.heat == 1).float())
    assert right["offset"] == right["log_size"] == right["up"] == 0
    wrong = (batch.heat == 1).float()
    wrong[0, 3, 30] = 1.0
    assert losses_of(batch, wrong)["centre"] > right["centre"] + 1
    hidden = (batch.heat == 1).float()
    hidden[0, 20, 30] = 1.0
    assert batch.heat[0, 20, 30] == -1
    assert losses_of(batch, hidden)["centre"] == pytest.approx(right["centre"], abs=1e-3)


@pytest.fixture(scope="module")
def small_pool(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(pool, "_CHUNK", 4)
        patch.setattr(pool, "available_cpus", lambda: 1)
        yield FramePool("frames", "frames", 1, 4, 2)


CONFIG = DetectorTrainingConfig(steps=4, batch_size=2, pool=4, trunk_frozen_until=2, warmup_steps=0)


def test_a_pool_is_created_once_and_steps_are_reproducible(small_pool, monkeypatch):
    monkeypatch.setattr(frames, "make_frame", None)
    first, again = small_pool[3], FramePool("frames", "frames", 1, 4, 2)[3]
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.boxes, other.boxes)
    assert not np.array_equal(small_pool[1][0].image, small_pool[3][0].image)


def test_trains_on_second_stage_crops(tmp_path, monkeypatch):
    pytest.importorskip("mediapipe")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(pool, "_CHUNK", 4)
    monkeypatch.setattr(pool, "available_cpus", lambda: 1)
    config = dataclasses.replace(CONFIG, images="second_stage", world="second_stage", start="default", steps=2)
    assert DetectorTrainer(config, tmp_path / "run").run().step == 2
    load_detector(tmp_path / "run" / EXPORT_NAME)
    with pytest.raises(ValueError, match="images must be frames or second_stage, not 'films'"):
        dataclasses.replace(CONFIG, images="films")


REAL_BOX = (60, 40, 120, 130)


@pytest.fixture
def photographs(tmp_path):
    """A folder of one source: a photograph with all boxes, one with one of two hands boxed, and ones not to use."""
    folder = tmp_path / "photographs"
    (folder / "mine").mkdir(parents=True)
    (folder / "LICENCES.md").write_text("| mine | CC BY 4.0 | A |")
    images, annotations = [], []
    for number, (name, entry) in enumerate(
        {"complete": {}, "incomplete": {"hands_complete": False}, "unboxed": {"hands_boxed": False}}.items()
    ):
        pixels = np.random.default_rng(number).integers(0, 80, (160, 200, 3), np.uint8)
        pixels[REAL_BOX[1] : REAL_BOX[3], REAL_BOX[0] : REAL_BOX[2]] = 230
        cv2.imwrite(str(folder / "mine" / f"{name}.png"), pixels)
        images.append({"id": number, "file_name": f"{name}.png", "width": 200, "height": 160, **entry})
        x0, y0, x1, y1 = REAL_BOX
        annotations.append({"id": number, "image_id": number, "bbox": [x0, y0, x1 - x0, y1 - y0]})
    content = json.dumps({"images": images, "annotations": annotations})
    (folder / "mine" / "annotations.json").write_text(content)
    hidden = folder / "evaluate_only" / "mine"
    hidden.mkdir(parents=True)
    (hidden / "annotations.json").write_text(content)
    cv2.imwrite(str(hidden / "complete.png"), pixels)
    return folder


@pytest.mark.parametrize("kind", ["frames", "second_stage"])
def test_photographs_are_augmented_with_their_boxes(photographs, kind):
    real = RealImages(photographs, kind)
    assert len(real) == 2
    bright, ignored = [], 0
    for seed in range(30):
        frame = real(np.random.default_rng(seed))
        assert frame.image.shape[1::-1] == pool.KINDS[kind].size
        assert np.isnan(frame.right).all()
        heat = collate([frame]).heat
        ignored += bool((heat == -1).any())
        for box in frame.boxes[frame.counts].astype(int):
            inside = frame.image[box[1] + 3 : box[3] - 3, box[0] + 3 : box[2] - 3].mean()
            bright.append(inside > frame.image.mean())
    assert len(bright) > 10 and np.mean(bright) > 0.9
    assert 0 < ignored < 30, "beside the boxes of the incomplete photograph nothing is background"


def test_a_folder_without_usable_photographs_is_rejected(photographs):
    (photographs / "LICENCES.md").unlink()
    with pytest.raises(ValueError, match="no image for training"):
        RealImages(photographs, "frames")


def test_photographs_share_the_batches_with_renders_and_batches_can_be_cached(small_pool, photographs, tmp_path):
    config = dataclasses.replace(
        CONFIG,
        start="default",
        real_images=str(photographs),
        cached_batches=1,
        trunk_factor=0.5,
        trunk_frozen_until=0,
        losses=DetectorLossWeights(palms=0),
    )
    trainer = DetectorTrainer(config, tmp_path / "run")
    assert trainer.run().step == 4
    before, after = load_detector().state_dict(), load_detector(tmp_path / "run" / EXPORT_NAME).state_dict()
    changed = {name.partition(".")[2] for name in after if not torch.equal(before[name], after[name])}
    assert {name.split(".")[0] for name in changed} <= {"fine", "gather", "relu", "blocks", "maps"}
    assert any(name.startswith("fine") for name in changed) and any(name.startswith("maps") for name in changed)
    with pytest.raises(ValueError, match="losses.palms"):
        dataclasses.replace(config, losses=DetectorLossWeights())


def test_training_resumes_where_it_stopped(small_pool, tmp_path):
    pytest.importorskip("mediapipe")
    whole = DetectorTrainer(CONFIG, tmp_path / "whole")
    assert whole.run().step == 4
    interrupted = DetectorTrainer(CONFIG, tmp_path / "parts")
    for batch in interrupted._batches():
        interrupted._train(interrupted._step + 1, batch)
        interrupted._step += 1
        interrupted._average.update(interrupted._net, interrupted._step)
        if interrupted._step == 2:
            break
    interrupted._checkpoints.save(2, interrupted._state())
    resumed = DetectorTrainer(CONFIG, tmp_path / "parts")
    assert resumed.run().step == 4
    for one, other in zip(whole._net.parameters(), resumed._net.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    assert (tmp_path / "parts" / EXPORT_NAME).is_file()
    moved = HandDetectorNet.from_mediapipe().trunk.fine.lateral.weight
    assert not torch.equal(resumed._net.trunk.fine.lateral.weight, moved), "the trunk's last stages learn"
    front = HandDetectorNet.from_mediapipe().trunk.front
    for one, other in zip(front.parameters(), resumed._net.trunk.front.parameters(), strict=True):
        assert torch.equal(one, other), "its first ones never do"
    with pytest.raises(ConfigError, match="other values of lr"):
        DetectorTrainer(dataclasses.replace(CONFIG, lr=1.0), tmp_path / "parts")


def test_the_hand_head_uses_the_frozen_trunk_of_an_earlier_run(small_pool, tmp_path):
    pytest.importorskip("mediapipe")
    earlier = HandDetectorNet.from_mediapipe()
    torch.nn.init.normal_(earlier.trunk.fine.lateral.weight)
    save_detector(earlier, tmp_path / "earlier.onnx")
    trainer = DetectorTrainer(dataclasses.replace(CONFIG, start=str(tmp_path / "earlier.onnx")), tmp_path / "run")
    features, seen = trainer._features(collate(small_pool[1])), []
    trainer._net.hand_head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    trainer._train(1, features)
    with torch.inference_mode():
        fine = trainer._net.trunk.back(seen[0][0])[0]
    torch.testing.assert_close(seen[0][1], fine)
    assert all(parameter.grad is None for parameter in trainer._trunk)


def test_a_full_disk_keeps_the_previous_weights(tmp_path):
    path, net = tmp_path / "detector.onnx", HandDetectorNet()
    save_detector(net, path)
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    torch.nn.init.zeros_(net.hand_head.maps.weight)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match="cannot write .*detector.onnx"):
            save_detector(net, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [file.name for file in tmp_path.iterdir()] == [path.name] and path.read_bytes() == before


def test_the_initial_hand_head_finds_no_hands():
    with torch.inference_mode():
        maps = HandMaps.of(HandDetectorNet()(torch.rand(1, 3, 64, 96))[2])
    assert maps.centre_logit.sigmoid().max() < 0.1


def test_detectors_are_averaged(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "tools")
    averaged = importlib.import_module("average_detectors").averaged
    first, second = HandDetectorNet(), HandDetectorNet()
    mean = averaged(first, second, 0.3)
    for result, a, b in zip(mean.parameters(), first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(result, 0.7 * a + 0.3 * b)
