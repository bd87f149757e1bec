"""Videos that change their size, end too early, are interlaced, or claim to be huge: each says so."""

import logging
import os
import struct
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest

from wildhands_ros.io.coded_sizes import coded_size
from wildhands_ros.io.containers import declared_sizes, missing_end
from wildhands_ros.io.images import InputError
from wildhands_ros.io.sources import VideoSource, open_source


def moving(frames: int, width: int = 64, height: int = 48) -> list[np.ndarray]:
    """Returns images of an edge that moves fast."""
    images = np.zeros((frames, height, width, 3), np.uint8)
    for number, image in enumerate(images):
        image[:, width // 8 + 7 * number % (width // 2) :] = 200
    return list(images)


def video(path: Path, codec: str, images: list[np.ndarray]) -> Path:
    height, width = images[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), 25, (width, height))
    assert writer.isOpened()
    for image in images:
        writer.write(image)
    writer.release()
    return path


@pytest.mark.parametrize(
    ("data", "size"),
    [
        ("0000016764003eacd9400fa001776840000003004000000c83c2010658", (16000, 12000)),
        ("00000167640015acd9444fcb0800000300080000030190f8a14cb0", (64, 48)),  # interlaced
        ("00000167f4000a919b288f42000003000200000300641e244b2c", (64, 48)),  # 4:4:4
        ("000001420101040800000300998800000300001ea02083114a5959ae4cae6808000003000800000300c840", (64, 48)),
        ("000001b306005013ffffe000", (96, 80)),
        ("824983420003f002f60e38241c184a00", (64, 48)),
        ("d01b009d012a4000300000c708858588", (64, 48)),
        ("d11b00", None),
        ("0000016764", None),
        ("", None),
    ],
    ids=["h264", "h264_fields", "h264_444", "h265", "mpeg2", "vp9", "vp8", "vp8_inter", "cut_off", "empty"],
)
def test_the_size_of_an_encoded_frame_is_read(data, size):
    assert coded_size(bytes.fromhex(data)) == size


@pytest.mark.parametrize(("suffix", "codec"), [(".ts", "mpg2"), (".mkv", "mpg2"), (".webm", "VP80"), (".webm", "VP90")])
def test_no_size_changes_in_an_ordinary_video(tmp_path, suffix, codec):
    source = open_source(str(video(tmp_path / f"v{suffix}", codec, moving(10))))
    assert len(list(source)) == 10 and not source.problems


def test_images_of_another_size_are_not_read_as_corners_of_them(tmp_path):
    first, second = (
        video(tmp_path / f"{number}.ts", "mpg2", moving(10, *size)).read_bytes()
        for number, size in enumerate(((64, 48), (96, 80)))
    )
    path = tmp_path / "both.ts"
    path.write_bytes(first + second)
    source = VideoSource(path)
    assert len(list(source)) == 10
    (problem,) = source.problems
    assert str(path) in problem and "96x80" in problem and "frame 10" in problem


@pytest.mark.parametrize("suffix", [".mkv", ".ts"])
def test_a_video_that_is_cut_off_says_so(tmp_path, suffix):
    path = video(tmp_path / f"v{suffix}", "mpg2", moving(60))
    assert not missing_end(path)
    os.truncate(path, path.stat().st_size * 2 // 3 // 188 * 188 + 100)
    source = VideoSource(path)
    count = len(list(source))
    assert 0 < count < 60
    (problem,) = source.problems
    assert str(path) in problem and str(count) in problem


def test_an_interlaced_video_is_a_warning(tmp_path, caplog):
    images = moving(24, 320, 240)
    for _ in open_source(str(video(tmp_path / "progressive.avi", "FFV1", images))):
        pass
    assert not caplog.records
    for odd, even in zip(images, images[1:], strict=False):
        odd[1::2] = even[1::2]
    source = open_source(str(video(tmp_path / "interlaced.avi", "FFV1", images)))
    with caplog.at_level(logging.WARNING, "wildhands"):
        assert len(list(source)) == 24 and not source.problems
    (record,) = caplog.records
    assert "interlaced.avi" in record.getMessage() and "bwdif" in record.getMessage()


def test_fine_stripes_are_not_taken_for_combs(tmp_path, caplog):
    rows, columns = np.mgrid[:240, :320]
    images = [np.repeat(((rows + columns + 3 * n) % 2 * 200).astype(np.uint8)[..., None], 3, -1) for n in range(24)]
    for _ in open_source(str(video(tmp_path / "stripes.avi", "FFV1", images))):
        pass
    assert not caplog.records


def test_large_images_are_held_twice_at_most(tmp_path):
    """As the one that is used, and the next one; the rest is for judging whether a video is interlaced."""
    path, used = video(tmp_path / "v.avi", "MJPG", moving(4, 2048, 4096)), 0
    tracemalloc.start()
    try:
        for frame in open_source(str(path)):
            used = frame.image.nbytes
            del frame
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert used < peak < 2.2 * used


class TestHugeImages:
    """16000 x 12000 images, 192 megapixels, which a decoder would need seconds and gigabytes for."""

    @pytest.mark.parametrize(
        ("suffix", "codec", "old", "new"),
        [
            (".mp4", "mp4v", struct.pack(">HH", 64, 48), struct.pack(">HH", 16000, 12000)),
            (".avi", "MJPG", struct.pack("<II", 64, 48), struct.pack("<II", 16000, 12000)),
            (".mkv", "FFV1", b"\xb0\x81\x40\xba\x81\x30", b"\xb0\x82\x3e\x80\xba\x82\x2e\xe0"),
        ],
    )
    def test_they_are_refused_before_decoding(self, tmp_path, monkeypatch, suffix, codec, old, new):
        path = video(tmp_path / f"v{suffix}", codec, moving(3))
        data = path.read_bytes()
        assert old in data
        path.write_bytes(data.replace(old, new))
        assert (16000, 12000) in declared_sizes(path)
        self.check_refusal(path, monkeypatch)

    def test_they_are_refused_in_a_stream_behind_smaller_ones(self, tmp_path, monkeypatch):
        path = video(tmp_path / "v.ts", "mpg2", moving(10, 96, 80))
        data = path.read_bytes()
        sequence = b"\0\0\x01\xb3\x06\0\x50"
        assert data.count(sequence) == 1
        at = data.index(sequence)
        path.write_bytes(data + data[:at] + b"\0\0\x01\xb3\xff\xff\xff" + data[at + 7 :])
        assert declared_sizes(path) == [(96, 80), (4095, 4095)]
        self.check_refusal(path, monkeypatch, 10_000_000)

    def check_refusal(self, path, monkeypatch, limit=50_000_000):
        monkeypatch.setattr("wildhands_ros.io.sources.VideoDecoder", None)
        with pytest.raises(InputError, match=f"{path.name}.*megapixels"):
            open_source(str(path), limit)
