"""Reading images, videos and calibrations, rejecting invalid ones, and writing outputs."""

import gc
import json
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from wildhands_ros.cli.results import Results
from wildhands_ros.geometry.calibration import CalibrationError, IntrinsicsSource
from wildhands_ros.geometry.camera import Camera
from wildhands_ros.io.camera_files import Intrinsics, calibration_yaml, guess_warning, load_calibration
from wildhands_ros.io.files import OutputFile
from wildhands_ros.io.images import InputError, decode_image, encode_image, load_image
from wildhands_ros.io.sources import CameraSource, FolderSource, ImageSource, VideoSource, open_source
from wildhands_ros.io.video_writer import VideoWriter
from wildhands_ros.types import EstimateSource, FrameEstimate, HandEstimate, ManoParameters, Side
from wildhands_ros.visualization.overlay_writers import overlay_for


def gradient_image(value=0, width=64, height=48):
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.linspace(0, 255, width, dtype=np.uint8)
    image[: height // 2, :, 1] = 200
    image[..., 2] = value
    return image


def write(path, image):
    path.write_bytes(encode_image(image, path.suffix))
    return path


def with_orientation(jpeg, orientation):
    """Inserts a minimal EXIF segment with one tag."""
    tiff = b"II*\0" + struct.pack("<IHHHII", 8, 1, 0x0112, 3, 1, orientation) + b"\0\0\0\0"
    body = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def write_video(path, frames, codec="MJPG", fps=25):
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*codec), fps, (64, 48))
    for index in range(frames):
        writer.write(gradient_image(index)[..., ::-1])
    writer.release()
    return path


def children() -> set[int]:
    """Returns the processes that this one has started."""
    return {int(pid) for tid in Path("/proc/self/task").glob("*/children") for pid in tid.read_text().split()}


class TestImages:
    def test_lossless_image_is_loaded_as_rgb(self, tmp_path):
        image = gradient_image(7)
        assert (load_image(write(tmp_path / "a.png", image)) == image).all()

    def test_exif_orientation_rotates_the_image_upright(self):
        jpeg = encode_image(gradient_image(), ".jpg")
        upright, turned = decode_image(jpeg), decode_image(with_orientation(jpeg, 6))
        assert turned.shape == (64, 48, 3)
        assert np.abs(turned.astype(int) - np.rot90(upright, -1)).mean() < 1

    @pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
    def test_truncated_image_is_rejected(self, suffix):
        data = encode_image(np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8), suffix)
        decode_image(data)
        with pytest.raises(InputError, match="truncated|cannot be decoded"):
            decode_image(data[: len(data) * 2 // 3])

    def test_progressive_jpeg_with_trailing_data_is_complete(self):
        _, data = cv2.imencode(".jpg", gradient_image(), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
        # Trailing data of a motion photo may contain any bytes, such as those that begin a scan.
        decode_image(data.tobytes() + b"trailing bytes of a motion photo\xff\xda")

    def test_the_end_of_a_jpeg_thumbnail_is_not_the_end_of_the_image(self):
        jpeg, thumbnail = encode_image(gradient_image(), ".jpg"), encode_image(gradient_image()[:8, :8], ".jpg")
        whole = jpeg[:2] + b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail + jpeg[2:]
        decode_image(whole)
        with pytest.raises(InputError, match="truncated"):
            decode_image(whole[:-200])

    @pytest.mark.parametrize("data", [b"", b"not an image at all" * 20])
    def test_garbage_is_rejected(self, data):
        with pytest.raises(InputError):
            decode_image(data)


class TestFolder:
    def test_images_are_read_in_natural_order_without_other_files(self, tmp_path):
        for name in ("f10.png", "f2.png", "f1.PNG", ".hidden.png"):
            (tmp_path / name).write_bytes(encode_image(gradient_image(), ".png"))
        (tmp_path / "note.txt").write_text("a note")
        assert [frame.name for frame in open_source(str(tmp_path))] == ["f1.PNG", "f2.png", "f10.png"]
        assert all(frame.stamp is None for frame in open_source(str(tmp_path)))

    def test_a_damaged_image_is_reported_and_the_others_are_read(self, tmp_path):
        write(tmp_path / "a.png", gradient_image())
        (tmp_path / "b.jpg").write_bytes(b"junk")
        write(tmp_path / "c.png", gradient_image())
        source = FolderSource(tmp_path)
        assert [frame.name for frame in source] == ["a.png", "c.png"]
        assert source.count == 3
        assert len(source.problems) == 1 and "b.jpg" in source.problems[0]

    def test_folders_without_readable_images_are_rejected(self, tmp_path):
        with pytest.raises(InputError, match="no images"):
            open_source(str(tmp_path))
        (tmp_path / "b.jpg").write_bytes(b"junk")
        with pytest.raises(InputError, match="none of the 1 images"):
            list(open_source(str(tmp_path)))


class TestVideo:
    def test_frames_have_the_stamps_of_the_container(self, tmp_path):
        source = open_source(str(write_video(tmp_path / "v.avi", 12)))
        frames = list(source)
        assert isinstance(source, VideoSource) and source.count == 12 and source.fps == 25
        assert [frame.stamp for frame in frames] == pytest.approx(np.arange(12) / 25)
        assert [round(frame.image[..., 2].mean()) for frame in frames] == pytest.approx(np.arange(12), abs=3)
        assert not source.problems

    def test_stamps_follow_a_variable_frame_rate(self, tmp_path):
        path = write_video(tmp_path / "v.mp4", 10, "mp4v")
        data = bytearray(path.read_bytes())
        # The time-to-sample table has one run of 10 equal durations. Replace it by 5 whole and 5 half durations, and
        # make the enclosing boxes 8 bytes longer.
        table = data.index(b"stts")
        count, samples, duration = struct.unpack_from(">III", data, table + 8)
        assert (count, samples) == (1, 10)
        data[table + 8 : table + 20] = struct.pack(">IIIII", 2, 5, duration, 5, duration // 2)
        for box in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stts"):
            at = data.index(box) - 4
            struct.pack_into(">I", data, at, struct.unpack_from(">I", data, at)[0] + 8)
        path.write_bytes(data)
        stamps = [frame.stamp for frame in open_source(str(path))]
        assert np.diff(stamps) == pytest.approx([0.04] * 5 + [0.02] * 4, abs=1e-3)

    def test_the_end_of_the_decoder_is_a_problem_of_the_video(self, tmp_path):
        path = tmp_path / "video.mp4"
        writer = VideoWriter(path, 30)
        for _ in range(40):
            writer.write(np.zeros((480, 640, 3), np.uint8))
        writer.close()
        before = children()
        source = VideoSource(path)
        frames = iter(source)
        next(frames)
        (decoder,) = children() - before
        os.kill(decoder, signal.SIGSEGV)
        assert len(list(frames)) < 39
        assert len(source.problems) == 1 and "SIGSEGV" in source.problems[0] and str(path) in source.problems[0]
        assert len(list(source)) == 40, "another decoder reads it"

    def test_decoders_end_with_their_sources(self, tmp_path):
        path = tmp_path / "video.mp4"
        writer = VideoWriter(path, 30)
        writer.write(np.zeros((48, 64, 3), np.uint8))
        writer.close()
        before = children()
        source = VideoSource(path)
        frames = iter(source)
        next(frames)
        del source, frames
        gc.collect()
        assert children() == before

    def test_a_truncated_video_is_reported(self, tmp_path):
        path = write_video(tmp_path / "v.avi", 200)
        os.truncate(path, path.stat().st_size // 2)
        source = open_source(str(path))
        count = len(list(source))
        assert 0 < count < 150
        if source.count == 200:
            assert len(source.problems) == 1 and f"after {count} of 200" in source.problems[0]

    @pytest.mark.parametrize("content", [b"text, not a film\n" * 100, b"\0\0\0\x18ftypmp42" + b"\0" * 500])
    def test_other_content_is_not_decoded_as_video(self, tmp_path, content):
        path = tmp_path / "v.mp4"
        path.write_bytes(content)
        with pytest.raises(InputError, match="decoded"):
            open_source(str(path))

    def test_mp4_without_its_index_is_rejected(self, tmp_path):
        path = write_video(tmp_path / "v.mp4", 50, "mp4v")
        os.truncate(path, path.stat().st_size // 2)
        with pytest.raises(InputError, match="damaged"):
            open_source(str(path))


class TestOpen:
    def test_missing_file_is_rejected(self):
        with pytest.raises(InputError, match="does not exist"):
            open_source("no/such/file.jpg")

    @pytest.mark.parametrize("address", ["rtsp://10.0.0.2/stream", "https://example.org/a.mp4", "file:///etc/passwd"])
    def test_addresses_are_not_opened(self, address):
        with pytest.raises(InputError, match=f"{address}: addresses are not opened"):
            open_source(address)

    def test_empty_file_is_rejected(self, tmp_path):
        (tmp_path / "a.jpg").touch()
        with pytest.raises(InputError, match="empty"):
            open_source(str(tmp_path / "a.jpg"))

    def test_missing_camera_is_rejected(self):
        with pytest.raises(InputError, match="camera 97"):
            CameraSource(97)

    def test_an_image_is_recognised_by_content_even_if_named_like_a_camera(self, tmp_path, monkeypatch):
        (tmp_path / "7").write_bytes(encode_image(gradient_image(), ".png"))
        monkeypatch.chdir(tmp_path)
        assert isinstance(open_source("7"), ImageSource)


class TestCalibration:
    CAMERA = Camera(
        np.array([[610.5, 0, 322], [0, 611, 236], [0, 0, 1]]),
        640,
        480,
        "plumb_bob",
        np.array([-0.2, 0.05, 0.001, 0, 0]),
    )

    def file(self, tmp_path, old="", new=""):
        text = calibration_yaml(self.CAMERA, "test")
        assert old in text
        path = tmp_path / "camera.yaml"
        path.write_text(text.replace(old, new) if old else text)
        return path

    def test_round_trip(self, tmp_path):
        camera, origin = Intrinsics(load_calibration(self.file(tmp_path))).camera(640, 480)
        assert origin is IntrinsicsSource.CAMERA_INFO
        assert (
            (camera.k == self.CAMERA.k).all()
            and (camera.d == self.CAMERA.d).all()
            and camera.distortion_model == "plumb_bob"
        )

    def test_scaled_if_the_aspect_ratio_agrees_and_rejected_otherwise(self, tmp_path):
        intrinsics = Intrinsics(load_calibration(self.file(tmp_path)))
        camera, origin = intrinsics.camera(320, 240)
        assert origin is IntrinsicsSource.CAMERA_INFO_SCALED and camera.k[0, 0] == pytest.approx(305.25)
        with pytest.raises(CalibrationError, match="640x360.*640x480"):
            intrinsics.camera(640, 360)

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("image_width: 640", "image_breadth: 640", "image_width"),
            ("camera_matrix:", "matrix:", "camera_matrix"),
            ("[610.5, 0.0, 322.0, ", "[610.5, 0.0, ", "camera_matrix.data must have 9"),
            ("610.5", ".nan", "NaN"),
            ("610.5", "'wide'", "camera_matrix.data"),
            ("[610.5, 0.0, 322.0, 0.0, 611.0, 236.0, 0.0, 0.0, 1.0]", "[0, 0, 0, 0, 0, 0, 0, 0, 0]", "uncalibrated"),
            ("plumb_bob", "panoramic", "panoramic"),
            ("image_width: 640", "image_width: [640", "YAML"),
        ],
    )
    def test_invalid_files_are_rejected_with_a_reason(self, tmp_path, old, new, message):
        path = self.file(tmp_path, old, new)
        with pytest.raises(CalibrationError, match=message):
            Intrinsics(load_calibration(path)).camera(640, 480)

    def test_an_image_is_rejected_as_calibration(self, tmp_path):
        with pytest.raises(CalibrationError, match="not a"):
            load_calibration(write(tmp_path / "a.png", gradient_image()))

    def test_field_of_view_sets_the_focal_length(self):
        camera, origin = Intrinsics(fov_degrees=90).camera(640, 480)
        assert origin is IntrinsicsSource.FIELD_OF_VIEW and camera.k[0, 0] == pytest.approx(320)
        with pytest.raises(CalibrationError, match="180"):
            Intrinsics(fov_degrees=200).camera(640, 480)

    def test_the_guess_is_that_of_the_training_and_has_a_warning(self):
        camera, origin = Intrinsics().camera(1920, 1080)
        assert origin is IntrinsicsSource.GUESS and camera.k[0, 0] == pytest.approx(1000)
        assert "f = 1000.0 px" in guess_warning(camera) and "87.7 degrees" in guess_warning(camera)


class TestOutputs:
    def test_file_appears_only_when_complete(self, tmp_path):
        path = tmp_path / "out.json"
        with OutputFile(path) as partial:
            partial.write_text("{}")
            assert not path.exists()
        assert [file.name for file in tmp_path.iterdir()] == ["out.json"]

    def test_an_error_keeps_the_old_file(self, tmp_path):
        path = tmp_path / "out.json"
        path.write_text("old")
        with pytest.raises(RuntimeError), OutputFile(path) as partial:
            partial.write_text("half")
            raise RuntimeError
        assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1

    def test_a_link_is_kept_and_its_target_is_written(self, tmp_path):
        target, link = tmp_path / "target.json", tmp_path / "link.json"
        link.symlink_to(target)
        for text in ("new", "newer"):
            with OutputFile(link) as partial:
                partial.write_text(text)
            assert link.is_symlink() and target.read_text() == text

    def test_a_device_or_pipe_is_written_to_and_not_replaced(self, tmp_path):
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        with OutputFile(pipe) as partial:
            partial.write_text("{}")
        assert os.read(reader, 10) == b"{}" and pipe.is_fifo()
        os.close(reader)
        assert [file.name for file in tmp_path.iterdir()] == ["pipe"]

    def test_standard_output_can_be_piped(self):
        code = (
            "from pathlib import Path; from wildhands_ros.io.files import OutputFile\n"
            "with OutputFile(Path('/dev/stdout')) as partial: partial.write_text('{}')"
        )
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert (result.stdout, result.stderr) == ("{}", "")

    def test_paths_that_are_not_files_are_rejected(self, tmp_path):
        for path, message in ((tmp_path / "none" / "out.json", "does not exist"), (tmp_path, "is a folder")):
            with pytest.raises(OSError, match=message), OutputFile(path):
                pass

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
    def test_missing_permission_is_reported(self, tmp_path):
        tmp_path.chmod(0o500)
        with pytest.raises(OSError, match="cannot write"), OutputFile(tmp_path / "out.json"):
            pass

    def test_overlay_must_fit_the_source_and_not_overwrite_it(self, tmp_path):
        image = ImageSource(write(tmp_path / "a.png", gradient_image()))
        video = VideoSource(write_video(tmp_path / "v.avi", 3))
        for source, name, message in (
            (image, "a.png", "overwrite"),
            (image, "b.xyz", "xyz"),
            (video, "o.gif", r"\.mp4"),
        ):
            with pytest.raises(InputError, match=message):
                overlay_for(source, tmp_path / name)
        with pytest.raises(InputError, match="overwrite"):
            overlay_for(FolderSource(tmp_path), tmp_path)

    def test_a_written_video_is_read_back(self, tmp_path):
        path = tmp_path / "v.mp4"
        writer = VideoWriter(path, 30)
        for index in range(10):
            writer.write(gradient_image(20 * index))
        with pytest.raises(InputError, match="size"):
            writer.write(gradient_image(0, 32, 32))
        writer.close()
        frames = list(VideoSource(path))
        assert len(frames) == 10
        assert np.abs(frames[5].image.astype(int) - gradient_image(100)).mean() < 12

    def test_opencv_does_not_report_missing_codecs(self, tmp_path):
        code = (
            "import numpy as np, pathlib; from wildhands_ros.io.video_writer import VideoWriter;"
            f"w = VideoWriter(pathlib.Path({str(tmp_path / 'v.mp4')!r}), 30);"
            "w.write(np.zeros((48, 64, 3), np.uint8)); w.close()"
        )
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert result.stderr == ""


class TestResults:
    HAND = HandEstimate(
        side=Side.LEFT,
        score=float("nan"),
        side_score=0.5,
        box=np.array([1.0, 2, 3, 4]),
        joints=np.full((21, 3), 0.25),
        joints_2d=np.full((21, 2), np.inf),
        wrist_position=np.zeros(3),
        wrist_rotation=np.diag([1.0, -1, -1]),
        mano=ManoParameters(np.zeros(3), np.zeros(3), np.zeros(45), np.zeros(10)),
        pose_mesh=lambda *_: np.zeros((7, 3)),
        source=EstimateSource.NETWORK,
        grasp_probabilities=np.eye(9)[2],
    )

    def test_json_is_strict_and_a_changed_camera_is_stored_with_its_frame(self, tmp_path):
        results = Results()
        for width in (640, 640, 320):
            camera = Camera.guess(width, 240)
            results.add(FrameEstimate((self.HAND,), camera), "a.jpg", None, IntrinsicsSource.GUESS)
        results.write(tmp_path / "out.json", ["b.jpg: damaged"])

        def no_constant(name):
            raise AssertionError(f"{name} is not JSON")

        data = json.loads((tmp_path / "out.json").read_text(), parse_constant=no_constant)
        assert data["camera"]["width"] == 640
        assert ["camera" in frame for frame in data["frames"]] == [False, False, True]
        assert data["frames"][2]["camera"]["width"] == 320 and data["problems"] == ["b.jpg: damaged"]
        hand = data["frames"][0]["hands"][0]
        assert hand["score"] is None and hand["joints_2d"][0] == [None, None]
        assert hand["grasp"]["label"] == "power_prismatic" and hand["grasp"]["probabilities"][2] == 1
        assert hand["wrist"]["orientation"] == [1, 0, 0, 0] and hand["num_vertices"] == 7
