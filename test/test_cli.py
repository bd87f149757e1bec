"""The ``wildhands`` command as a user runs it, in its own process, on the first frames of the demo clip."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from wildhands_ros.cli import estimate, evaluation
from wildhands_ros.cli import main as cli
from wildhands_ros.io.images import encode_image, load_image
from wildhands_ros.io.sources import VideoSource, open_source
from wildhands_ros.types import Grasp

DEMO = Path(__file__).parent.parent / "demo"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(DEMO.parent), "OMP_NUM_THREADS": "1"}


def wildhands(*arguments, **options):
    command = [sys.executable, "-m", "wildhands_ros.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=120, **options)


@pytest.fixture
def refused(capfd):
    """Checks that a command fails with exit code 2 and one line on stderr. Runs in this process to save imports."""

    def run(arguments, *words):
        capfd.readouterr()
        assert cli.main([str(argument) for argument in arguments]) == 2
        last = capfd.readouterr().err.strip().splitlines()[-1]
        assert last.startswith("wildhands: ")
        for word in words:
            assert word in last

    return run


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """The first frames of the clip as a folder of images, one of them damaged, and as a video."""
    root = tmp_path_factory.mktemp("frames")
    folder = root / "images"
    folder.mkdir()
    writer = cv2.VideoWriter(str(root / "short.mp4"), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"mp4v"), 30, (960, 540))
    for index, frame in zip(range(6), VideoSource(DEMO / "clip.mp4"), strict=False):
        writer.write(frame.image[..., ::-1])
        if index < 2:
            (folder / f"frame_{index}.jpg").write_bytes(encode_image(frame.image, ".jpg"))
    writer.release()
    (folder / "frame_7.jpg").write_bytes((folder / "frame_0.jpg").read_bytes()[:9000])
    return root


@pytest.fixture(scope="module")
def video(frames):
    outputs = frames / "video.json", frames / "video_overlay.mp4"
    camera = ("--camera-info", DEMO / "camera_info.yaml")
    result = wildhands(
        "estimate", frames / "short.mp4", *camera, "--json", outputs[0], "--overlay", outputs[1], cwd="/"
    )
    assert result.returncode == 0, result.stderr
    return result, json.loads(outputs[0].read_text()), outputs[1]


class TestEstimate:
    def test_json_has_the_documented_format(self, video):
        _, data, _ = video
        assert set(data) == {"camera", "frames"}
        assert len(data["camera"]["k"]) == 9 and data["camera"]["intrinsics_source"] == "camera_info"
        assert (data["camera"]["width"], data["camera"]["height"]) == (960, 540)
        assert [frame["source"] for frame in data["frames"]] == ["short.mp4"] * 6
        assert [frame["stamp"] for frame in data["frames"]] == pytest.approx(np.arange(6) / 30, abs=1e-3)
        hands = [hand for frame in data["frames"] for hand in frame["hands"]]
        assert hands
        for hand in hands:
            assert set(hand) == {
                "side",
                "score",
                "bbox",
                "joints",
                "joints_2d",
                "wrist",
                "mano",
                "grasp",
                "num_vertices",
            }
            assert hand["side"] in ("right", "left") and 0 < hand["score"] <= 1
            assert (
                np.shape(hand["joints"]) == (21, 3)
                and np.shape(hand["joints_2d"]) == (21, 2)
                and np.shape(hand["bbox"]) == (4,)
            )
            assert np.shape(hand["wrist"]["position"]) == (3,)
            assert np.linalg.norm(hand["wrist"]["orientation"]) == pytest.approx(1, abs=1e-6)
            shapes = {name: np.shape(values) for name, values in hand["mano"].items()}
            assert shapes == {"transl": (3,), "global_orient": (3,), "hand_pose": (45,), "betas": (10,)}
            probabilities = hand["grasp"]["probabilities"]
            assert sum(probabilities) == pytest.approx(1, abs=1e-4) and len(probabilities) == 9
            assert hand["grasp"]["label"] == Grasp.most_probable(np.array(probabilities)).name.lower()
            assert hand["num_vertices"] > 500

    def test_both_hands_match_the_labels(self, video):
        _, data, _ = video
        labels = json.loads((DEMO / "truth.json").read_text())
        for frame, labelled_frame in zip(data["frames"][1:], labels["frames"][1:], strict=False):
            found = {hand["side"]: hand for hand in frame["hands"]}
            for label in labelled_frame["hands"]:
                hand = found[label["side"]]
                size = np.ptp(label["joints_2d"], axis=0).max()
                distance = np.linalg.norm(np.subtract(hand["joints_2d"], label["joints_2d"]), axis=-1).mean()
                assert distance < 0.08 * size
                assert hand["wrist"]["position"][2] == pytest.approx(label["wrist"]["position"][2], rel=0.2)

    def test_overlay_is_a_video_of_the_same_length_with_drawings(self, video, frames):
        _, _, path = video
        drawn, original = (list(open_source(str(p))) for p in (path, frames / "short.mp4"))
        assert len(drawn) == len(original) == 6
        changed = (np.abs(drawn[4].image.astype(int) - original[4].image) > 40).any(axis=-1)
        assert 0.02 < changed.mean() < 0.5

    def test_summary_and_quiet_stderr(self, video):
        result, _, _ = video
        assert result.stdout.startswith("6 frames, ") and "frames/s" in result.stdout
        assert "warning" not in result.stderr and "%|" not in result.stderr

    def test_folder_with_a_damaged_image(self, frames):
        out = frames / "folder.json", frames / "folder_overlay"
        result = wildhands("estimate", frames / "images", "--json", out[0], "--overlay", out[1])
        assert result.returncode == 1
        assert "frame_7.jpg" in result.stderr and "truncated" in result.stderr
        assert "the camera's intrinsics are unknown; guessed for 960x540: f = 500.0 px" in result.stderr
        data = json.loads(out[0].read_text())
        assert [(frame["source"], frame["stamp"]) for frame in data["frames"]] == [
            ("frame_0.jpg", None),
            ("frame_1.jpg", None),
        ]
        assert data["camera"]["intrinsics_source"] == "guess" and "frame_7.jpg" in data["problems"][0]
        assert sorted(path.name for path in out[1].iterdir()) == ["frame_0.jpg", "frame_1.jpg"]

    def test_image(self, frames):
        out = frames / "image.json", frames / "image.png"
        arguments = ("estimate", frames / "images" / "frame_0.jpg", "--fov", 70, "--json", out[0], "--overlay", out[1])
        assert cli.main([str(argument) for argument in arguments]) == 0
        assert load_image(out[1]).shape == (540, 960, 3)
        data = json.loads(out[0].read_text())
        assert len(data["frames"]) == 1 and data["camera"]["intrinsics_source"] == "field_of_view"
        assert data["camera"]["k"][0] == pytest.approx(480 / np.tan(np.radians(35)))


class TestFaults:
    def test_errors_are_one_line_without_a_traceback(self, tmp_path):
        (tmp_path / "zeros.mp4").write_bytes(bytes(10_000))
        for name in ("none.jpg", "zeros.mp4"):
            result = wildhands("estimate", tmp_path / name)
            assert result.returncode == 2 and result.stdout == ""
            assert result.stderr.startswith("wildhands: ") and result.stderr.count("\n") == 1

    def test_unreadable_inputs_are_rejected(self, refused, frames, tmp_path):
        (tmp_path / "text.mp4").write_text("not a film")
        (tmp_path / "folder").mkdir()
        refused(("estimate", tmp_path / "none.jpg"), "none.jpg", "does not exist")
        refused(("estimate", tmp_path / "text.mp4"), "text.mp4", "decoded")
        refused(("estimate", tmp_path / "folder"), "no images")

    def test_unusable_calibrations_are_rejected(self, refused, frames, tmp_path):
        image = frames / "images" / "frame_0.jpg"
        text = (DEMO / "camera_info.yaml").read_text()
        other = tmp_path / "other.yaml"
        other.write_text(text.replace("image_width: 960", "image_width: 720"))
        refused(("estimate", image, "--camera-info", other), "frame_0.jpg", "960x540", "720x540")
        broken = tmp_path / "broken.yaml"
        broken.write_text(text.replace("camera_matrix", "matrix"))
        refused(("estimate", image, "--camera-info", broken), "broken.yaml", "camera_matrix")
        refused(("estimate", image, "--camera-info", tmp_path / "none.yaml"), "none.yaml")
        refused(("estimate", image, "--fov", 190), "180")

    def test_outputs_are_checked_before_the_estimation(self, refused, frames, tmp_path, monkeypatch):
        monkeypatch.setattr(estimate, "make_estimator", lambda *_: pytest.fail("the work began"))
        image = frames / "images" / "frame_0.jpg"
        refused(("estimate", image, "--json", tmp_path / "none" / "out.json"), "none does not exist")
        refused(("estimate", image, "--overlay", image), "is an input, which the output would replace")
        refused(("estimate", image, "--json", tmp_path / "out.png", "--overlay", tmp_path / "out.png"), "same file")
        refused(("estimate", frames / "short.mp4", "--overlay", tmp_path / "o.avi"), ".mp4")
        if Path("/proc/version").exists():  # not even root can write there
            refused(("estimate", image, "--json", "/proc/out.json"), "cannot write to /proc/out.json")

    def test_outputs_of_an_evaluation_are_checked_before_it_starts(self, refused, frames, tmp_path, monkeypatch):
        monkeypatch.setattr(evaluation, "make_estimator", lambda *_: None)
        refused(
            ("evaluate", "video", frames / "short.mp4", "--json", tmp_path / "none" / "out.json"), "none does not exist"
        )
        refused(("evaluate", "synthetic", "--picture", tmp_path / "out.xyz"), "out.xyz", ".png")

    def test_unusable_models_are_rejected(self, refused, frames, tmp_path):
        image = frames / "images" / "frame_0.jpg"
        refused(("estimate", image, "--checkpoint", "no_such_model", "--json", tmp_path / "out.json"), "no_such_model")
        assert not list(tmp_path.iterdir())
        refused(("estimate", image, "--hand-model", tmp_path), str(tmp_path))
        junk = tmp_path / "junk.ckpt"
        junk.write_bytes(b"junk")
        refused(("import-checkpoint", junk), "junk.ckpt")

    @pytest.mark.parametrize(
        ("name", "arguments", "max_hands"),
        [("images/frame_0.jpg", (), 10), ("images", (), 10), ("short.mp4", (), 2), ("images", ("--max-hands", 3), 3)],
    )
    def test_images_may_show_more_hands_than_videos(self, frames, monkeypatch, name, arguments, max_hands):
        class Stop(Exception):
            pass

        def make_estimator(args):
            assert args.max_hands == max_hands
            raise Stop

        monkeypatch.setattr(estimate, "make_estimator", make_estimator)
        with pytest.raises(Stop):
            cli.main(["estimate", *map(str, (frames / name, *arguments))])

    def test_usage(self):
        result = wildhands("estimate")
        assert result.returncode == 2 and "INPUT" in result.stderr
        both = wildhands("estimate", "a.jpg", "--fov", "60", "--camera-info", "b.yaml")
        assert both.returncode == 2 and "not allowed" in both.stderr
        for length in ("190", "-0.2", "nan", "0"):
            refused = wildhands("estimate", "a.jpg", f"--hand-length={length}")
            assert refused.returncode == 2 and "metres, between 0.1 and 0.3" in refused.stderr

    def test_training_settings_may_follow_options(self):
        args = cli.parse(["train", "c.yaml", "steps=2", "--output", "out", "optimizer.lr=1e-4"])
        assert args.overrides == ["steps=2", "optimizer.lr=1e-4"] and args.output == Path("out")
        for arguments in (["train", "c.yaml", "--outptu", "x"], ["estimate", "a.jpg", "b.jpg"]):
            with pytest.raises(SystemExit):
                cli.parse(arguments)


def test_an_output_never_replaces_an_input(refused, tmp_path):
    image = tmp_path / "hand.png"
    image.write_bytes(encode_image(np.zeros((8, 8, 3), np.uint8), ".png"))
    before = image.read_bytes()
    for output in (image, tmp_path / ".." / tmp_path.name / "hand.png"):
        refused(["estimate", image, "--json", output], "is an input")
    refused(["estimate", tmp_path, "--overlay", tmp_path], "is an input")
    refused(["report", image, "--output", image], "is an input")
    assert image.read_bytes() == before


def test_links_that_lead_in_a_circle_are_named(refused, tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    for command in (
        ["estimate", "x.png", "--json"],
        ["export-onnx"],
        ["annotate"],
        ["export", "parquet", "x", "--output"],
    ):
        refused([*command, tmp_path / "a"], "Too many levels of symbolic links", f"{tmp_path}/a")


def test_an_empty_name_is_not_the_current_folder(refused, capfd):
    refused(["estimate", ""], "name of the input is empty")
    for arguments in (["estimate", "x.png", "--json", ""], ["annotate", ""], ["synth", ""]):
        with pytest.raises(SystemExit):
            cli.main(arguments)
        assert "the path is empty" in capfd.readouterr().err


def test_numbers_that_no_camera_has_are_refused(refused):
    for name in ("99999999999999999999", "9" * 5000, "\u0663"):
        refused(["estimate", name], "does not exist" if len(name) < 100 else "too long")


def test_control_characters_of_names_are_not_sent_to_the_terminal(refused, tmp_path):
    refused(["estimate", tmp_path / "red\x1b[31m\x07.mp4"], "red\\x1b[31m\\x07.mp4: does not exist")


def test_interrupt_is_quiet_and_leaves_no_files(tmp_path):
    command = [sys.executable, "-m", "wildhands_ros.cli.main", "estimate", str(DEMO / "clip.mp4"), "--fov", "70"]
    outputs = ["--json", str(tmp_path / "out.json"), "--overlay", str(tmp_path / "out.mp4")]
    # A test that a shell started in the background ignores SIGINT, and its child processes inherit that.
    restore_sigint = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(
        [*command, *outputs],
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        cwd=DEMO.parent,
        preexec_fn=restore_sigint,
    )
    deadline = time.monotonic() + 60
    while not any(file.stat().st_size > 0 for file in tmp_path.glob(".out*.mp4")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert not list(tmp_path.iterdir())


def test_help_needs_neither_torch_nor_opencv_nor_ros():
    code = (
        "import sys; from wildhands_ros.cli import main as cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'cv2', 'numpy', 'rclpy', 'mediapipe'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
    for command in ("estimate", "import-checkpoint", "demo", "evaluate"):
        assert command in result.stdout
