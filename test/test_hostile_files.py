"""Files and messages of strangers: foreign formats, claims of size, playlists, archives that unfold, odd ends.

Each is refused by name before a decoder sees it, or used; none takes memory or time beyond what its kind needs.
"""

from __future__ import annotations

import array
import json
import os
import pickle
import random
import re
import resource
import struct
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from wildhands_ros.datasets.base import FileNames
from wildhands_ros.datasets.coco_hands import AnnotationError, read_coco_hands
from wildhands_ros.datasets.real_images.reader import read_boxed_images
from wildhands_ros.io import images
from wildhands_ros.io.errors import foreign_bytes, reason
from wildhands_ros.io.file_kinds import Group, file_kind
from wildhands_ros.io.files import OutputFile
from wildhands_ros.io.image_headers import ImageError, read_header
from wildhands_ros.io.images import InputError, decode_image, encode_image, load_image
from wildhands_ros.io.safe_numpy import NpzFile, read_npy, read_pickle
from wildhands_ros.io.safe_pickle import UnsafePickleError
from wildhands_ros.io.sources import CameraSource, ImageSource, VideoSource, open_source


def picture(width: int = 64, height: int = 48) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 5 % 256, columns * 3 % 256, (rows * columns) % 256], axis=-1).astype(np.uint8)


def video(path: Path, codec: str = "MJPG", frames: int = 6) -> Path:
    writer = cv2.VideoWriter(str(path.absolute()), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), 25, (64, 48))
    for _ in range(frames):
        writer.write(picture())
    writer.release()
    return path


@contextmanager
def cheap(megabytes: int = 150, seconds: float = 2.0):
    """Checks that a block neither takes memory for what a file claims to be, nor time."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, sum(os.times()[:4])
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < megabytes * 1024
    assert sum(os.times()[:4]) - start < seconds  # CPU time, which other load on the machine does not change


def png(width: int, height: int, bits: int = 8, color: int = 0, body: bytes = b"") -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


def animated_png(frames: int) -> bytes:
    data = encode_image(picture(), ".png")
    body = b"acTL" + struct.pack(">II", frames, 0)
    return data[:33] + struct.pack(">I", 8) + body + struct.pack(">I", zlib.crc32(body)) + data[33:]


def animated_webp() -> bytes:
    body = b"VP8X" + struct.pack("<IBxxx", 10, 2) + bytes(6) + b"ANIM" + struct.pack("<IIH", 6, 0, 0) + bytes(50)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def bmp(width: int, height: int, compression: int = 0, pixels: bytes = b"\0\1") -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, compression, len(pixels), 0, 0, 256, 0)
    offset = 14 + len(header) + 1024
    return struct.pack("<2sIHHI", b"BM", offset + len(pixels), 0, 0, offset) + header + bytes(1024) + pixels


def webp(width: int, height: int) -> bytes:
    body = b"VP8L" + struct.pack("<IBI", 5, 0x2F, (width - 1) | (height - 1) << 14) + bytes(100)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def jpeg(width: int, height: int) -> bytes:
    data = bytearray(encode_image(picture(), ".jpg"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


LARGE = {
    "png": png(20000, 20000, 1),
    "rgba16": png(20000, 20000, 16, 6),
    "webp": webp(16383, 16383),
    "bmp": bmp(32000, 32000),
    "upside-down bmp": bmp(32000, -32000),
    "ppm": b"P6\n32000 32000\n255\n" + bytes(100),
    "jpeg": jpeg(65000, 65000),
}
FOREIGN = {
    "GIF": b"GIF89a" + struct.pack("<HHBBB", 16000, 16000, 0x80, 0, 0) + bytes(20),
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(50),
    "JPEG 2000 ": b"\xff\x4f\xff\x51" + bytes(50),
    "OpenEXR": b"\x76\x2f\x31\x01" + bytes(50),
    "Radiance": b"#?RADIANCE\n" + bytes(50),
    "TIFF": b"II*\0\x08\0\0\0" + bytes(50),
    "raw image": b"MM\0*\0\0\0\x08" + bytes(50),
    "HEIC": b"\0\0\0\x18ftypheic" + bytes(50),
    "AVIF": b"\0\0\0\x1cftypavif" + bytes(50),
    "JPEG XL": b"\xff\x0a" + bytes(50),
    "netpbm": b"P3\n2 2\n255\n" + b"0 " * 12,
    "playlist": b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n",
    "Zstandard": b"\x28\xb5\x2f\xfd" + bytes(50),
    "H.264": b"\0\0\0\1\x67" + bytes(50),
    "compressed BMP": bmp(64, 48, compression=1),
    "animated PNG": animated_png(2),
    "animated WebP": animated_webp(),
    "MCAP": b"\x89MCAP0\r\n" + bytes(50),
}


class TestImages:
    @pytest.mark.parametrize("name", LARGE)
    def test_a_claim_of_size_is_refused_before_it_is_decoded(self, name):
        with cheap(), pytest.raises(ImageError, match=r"claims to be \d+x\d+.*50 megapixels") as raised:
            decode_image(LARGE[name])
        assert raised.value.reason == "image_too_large"

    def test_the_limit_is_an_argument(self):
        data = encode_image(picture(), ".png")
        assert decode_image(data, max_pixels=64 * 48).shape == (48, 64, 3)
        with pytest.raises(ImageError, match="64x48"):
            decode_image(data, max_pixels=64 * 48 - 1)

    def test_a_png_with_one_frame_is_no_animation(self):
        assert decode_image(animated_png(1)).shape == (48, 64, 3)

    @pytest.mark.parametrize("name", FOREIGN)
    def test_a_foreign_format_is_named_and_never_decoded(self, name, monkeypatch):
        monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
        with pytest.raises(ImageError, match=name.strip()) as raised:
            decode_image(FOREIGN[name])
        assert raised.value.reason == "unsupported_encoding"

    def test_mutated_jpeg_2000_never_reaches_the_decoder(self, monkeypatch):
        monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
        rng, data = random.Random(1), FOREIGN["JPEG 2000"]
        for _ in range(2000):
            changed = bytearray(data)
            changed[rng.randrange(12, len(data))] = rng.randrange(256)
            with pytest.raises(ImageError, match="JPEG 2000"):
                decode_image(bytes(changed))

    @pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".ppm"])
    def test_damaged_images_raise_nothing_else(self, suffix):
        data, rng = encode_image(picture(), suffix), random.Random(2)
        decode_image(data)
        for _ in range(300):
            changed = bytearray(data)
            for _ in range(rng.randrange(1, 6)):
                changed[rng.randrange(min(len(data), 400))] = rng.randrange(256)
            if rng.random() < 0.3:
                changed = changed[: rng.randrange(len(changed))]
            try:
                image = decode_image(bytes(changed))
            except ImageError as error:
                assert error.reason
            else:
                assert image.dtype == np.uint8 and image.ndim == 3

    @pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".ppm"])
    def test_accepted_formats_are_known_by_their_content(self, suffix, tmp_path):
        path = tmp_path / "picture.heic"
        path.write_bytes(encode_image(picture(), suffix))
        assert isinstance(open_source(str(path)), ImageSource) and load_image(path).shape == (48, 64, 3)
        header = read_header(path.read_bytes())
        assert (header.width, header.height, header.bits, header.channels) == (64, 48, 8, 3)

    def test_a_png_s_texts_and_profiles_do_not_reach_the_decoder(self):
        data = encode_image(picture(), ".png")
        text = zlib.compress(bytes(50_000_000))
        chunk = b"zTXt" + b"Comment\0\0" + text
        bomb = (
            data[:33] + (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big") + data[33:]
        )
        assert b"zTXt" not in read_header(bomb).data
        np.testing.assert_array_equal(decode_image(bomb), picture())

    def test_a_jpeg_of_endless_scans_is_refused(self):
        data = encode_image(picture(), ".jpg")
        at = data.index(b"\xff\xda")
        with cheap(), pytest.raises(ImageError, match="scans"):
            decode_image(data[:at] + data[at:-2] * 1000 + data[-2:])


class TestEnds:
    """A complete image with an odd end is an image; one that lacks rows is not."""

    @pytest.mark.parametrize("keep", [-2, -1])
    @pytest.mark.parametrize("option", [[], [cv2.IMWRITE_JPEG_RST_INTERVAL, 2], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]])
    def test_a_jpeg_without_end_marker(self, keep, option):
        data = cv2.imencode(".jpg", picture()[..., ::-1], option)[1].tobytes()
        np.testing.assert_array_equal(decode_image(data[:keep]), decode_image(data))

    @pytest.mark.parametrize("option", [[], [cv2.IMWRITE_JPEG_RST_INTERVAL, 2]])
    def test_a_jpeg_that_lacks_rows(self, option):
        data = cv2.imencode(".jpg", picture()[..., ::-1], option)[1].tobytes()
        for share in (0.6, 0.8, 0.95):
            with pytest.raises(ImageError, match="truncated"):
                decode_image(data[: int(share * len(data))])
        if option:
            with pytest.raises(ImageError, match="truncated"):
                decode_image(data[: data.rindex(b"\xff\xd3")])

    def test_a_flat_jpeg_without_end_marker(self):
        data = encode_image(np.full((48, 64, 3), 128, np.uint8), ".jpg")
        assert decode_image(data[:-2]).shape == (48, 64, 3)

    @pytest.mark.parametrize("suffix", [".jpg", ".png"])
    @pytest.mark.parametrize("padding", [bytes(8192), b"\xff" * 8192, b"\r\n"])
    def test_padding(self, suffix, padding):
        data = encode_image(picture(), suffix)
        np.testing.assert_array_equal(decode_image(data + padding), decode_image(data))

    @pytest.mark.parametrize("cut", [1, 4, 8, 12, 14, 16])
    def test_a_png_without_end(self, cut):
        np.testing.assert_array_equal(decode_image(encode_image(picture(), ".png")[:-cut]), picture())

    def test_it_is_said_once(self, caplog):
        images._warn_once.cache_clear()
        data = encode_image(picture(), ".jpg")[:-2]
        for _ in range(3):
            decode_image(data)
        assert len(caplog.records) == 1 and "no end marker" in caplog.text


class TestFolders:
    def test_everything_that_is_left_out_is_named(self, tmp_path):
        (tmp_path / "a.JPG").write_bytes(encode_image(picture(), ".jpg"))
        (tmp_path / "no_suffix").write_bytes(encode_image(picture(), ".png"))
        for number, name in enumerate(("HEIC", "AVIF", "TIFF", "GIF")):
            (tmp_path / f"{number}.{name}").write_bytes(FOREIGN[name])
        (tmp_path / "junk.heic").write_bytes(b"junk")
        (tmp_path / "labels.json").write_text("{}")
        video(tmp_path / "clip.avi").rename(tmp_path / "clip.mov")
        source = open_source(str(tmp_path))
        assert [frame.name for frame in source] == ["a.JPG", "no_suffix"]
        text = "\n".join(source.problems)
        assert len(source.problems) == 6
        for word in ("0.HEIC: left out: HEIC", "1.AVIF", "2.TIFF", "3.GIF", "junk.heic", "clip.mov.*video.*AVI"):
            assert re.search(word, text)

    def test_the_limit_of_size_is_an_option(self, tmp_path):
        (tmp_path / "a.png").write_bytes(encode_image(picture(), ".png"))
        (tmp_path / "b.png").write_bytes(encode_image(picture(32, 24), ".png"))
        source = open_source(str(tmp_path), max_pixels=1000)
        assert [frame.name for frame in source] == ["b.png"]
        assert re.search(r"a\.png: the image claims to be 64x48", source.problems[0])
        with pytest.raises(InputError, match=r"v\.avi: the video's images are 64x48; at most 0\.001 megapixels"):
            open_source(str(video(tmp_path / "v.avi")), max_pixels=1000)

    def test_a_folder_of_foreign_images_says_which(self, tmp_path):
        (tmp_path / "a.jpg").write_bytes(FOREIGN["HEIC"])
        with pytest.raises(InputError, match=r"no images.*a\.jpg.*HEIC.*convert"):
            open_source(str(tmp_path))

    def test_devices(self, tmp_path, monkeypatch):
        with pytest.raises(InputError, match="/dev/null: neither a file"):
            open_source("/dev/null")
        opened = []
        monkeypatch.setattr("wildhands_ros.io.sources.CameraSource", opened.append)
        monkeypatch.setattr(Path, "exists", lambda _: True)
        link = tmp_path / "by-id"
        link.symlink_to("/dev/video7")
        open_source("/dev/video3")
        open_source(str(link))
        assert opened == [3, 7] and CameraSource is not None


class TestVideos:
    @pytest.mark.parametrize(
        "content",
        [
            b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://%s\n#EXT-X-ENDLIST\n",
            b"ffconcat version 1.0\nfile '%s'\n",
            b'<?xml version="1.0"?>\n<MPD type="static"><BaseURL>%s</BaseURL></MPD>',
            b"\n#EXTM3U\n#EXTINF:10,\n%s\n",
        ],
    )
    @pytest.mark.parametrize("name", ["list.m3u8", "list.mp4", "list.jpg"])
    def test_a_playlist_opens_no_other_file(self, tmp_path, content, name):
        other = video(tmp_path / "other.avi")
        path = tmp_path / name
        path.write_bytes(content % bytes(other))
        with pytest.raises(InputError, match="playlist|neither|decoded|unknown"):
            list(open_source(str(path)))
        with pytest.raises(InputError):
            VideoSource(path)

    @pytest.mark.parametrize("magic", [b"RIFF\1\1\1\1AVI LIST", b"\x1a\x45\xdf\xa3", b"\1\1\1\1moov"])
    @pytest.mark.parametrize("text", [b'<MPD profiles="urn:mpeg:dash:profile:">', b"\nc=IN IP4 127.0.0.1", b"x" * 2000])
    def test_a_manifest_behind_a_magic_number(self, tmp_path, magic, text):
        path = tmp_path / "video.mp4"
        path.write_bytes(magic + text)
        with pytest.raises(InputError, match="playlist"):
            open_source(str(path))

    def test_a_name_that_ffmpeg_takes_for_a_pattern(self, tmp_path):
        path = video(tmp_path / "v.avi").rename(tmp_path / "v%02d.jpg")
        with pytest.raises(InputError, match="rename"):
            open_source(str(path))

    @pytest.mark.parametrize(
        ("name", "codec"),
        [
            ("v.avi", "MJPG"),
            ("v.mp4", "mp4v"),
            ("v.mkv", "FFV1"),
            ("v.webm", "VP80"),
            ("v.ts", "mpg2"),
            ("v.flv", "FLV1"),
            ("v.wmv", "WMV2"),
        ],
    )
    def test_containers_are_known_by_their_content(self, tmp_path, name, codec):
        path = video(tmp_path / name, codec).rename(tmp_path / "video.bin")
        assert file_kind(path.read_bytes()[:1024]).group is Group.VIDEO
        assert len(list(open_source(str(path)))) == 6

    def test_a_colon_in_the_name(self, tmp_path, monkeypatch):
        video(tmp_path / "take.avi").rename(tmp_path / "take:1.avi")
        monkeypatch.chdir(tmp_path)
        for name in ("take:1.avi", "./take:1.avi", str(tmp_path / "take:1.avi")):
            assert len(list(open_source(name))) == 6

    def test_a_stream_without_times(self, tmp_path):
        path = tmp_path / "camera.mjpeg"
        path.write_bytes(encode_image(picture(), ".jpg") * 5)
        source = open_source(str(path))
        stamps = [frame.stamp for frame in source]
        assert stamps[0] == 0 and np.diff(stamps) == pytest.approx([1 / source.fps] * 4)
        assert source.count is None or source.count == 5

    def test_a_claim_of_frames_is_not_believed(self, tmp_path):
        path = video(tmp_path / "v.avi")
        data = bytearray(path.read_bytes())
        data[48:52] = data[140:144] = (2**31 - 1).to_bytes(4, "little")
        path.write_bytes(data)
        source = VideoSource(path)
        assert source.count is None or source.count < 10_000
        assert len(list(source)) == 6

    def test_a_still_image_is_no_video(self, tmp_path):
        path = tmp_path / "still.png"
        path.write_bytes(encode_image(picture(), ".png"))
        with pytest.raises(InputError, match=r"still\.png: this is a still image \(PNG\).*wildhands estimate"):
            VideoSource(path)


class TestMessages:
    @staticmethod
    def reason(data: bytes, format_name: str = "jpeg") -> str:
        pytest.importorskip("rclpy")
        from sensor_msgs.msg import CompressedImage

        from wildhands_ros.ros.images import ImageDecodeError, decode_compressed

        with pytest.raises(ImageDecodeError) as raised:
            decode_compressed(CompressedImage(format=format_name, data=array.array("B", data)))
        return raised.value.name

    @pytest.mark.parametrize("name", LARGE)
    def test_claims_of_size(self, name):
        with cheap():
            assert self.reason(LARGE[name]) == "image_too_large"

    def test_the_limit_of_size_is_a_parameter(self):
        pytest.importorskip("rclpy")
        from sensor_msgs.msg import CompressedImage

        from wildhands_ros.ros.images import ImageDecodeError, decode_compressed

        message = CompressedImage(format="png", data=array.array("B", encode_image(picture(), ".png")))
        with pytest.raises(ImageDecodeError, match="megapixels") as raised:
            decode_compressed(message, max_pixels=64 * 48 - 1)
        assert raised.value.name == "image_too_large"
        assert decode_compressed(message, max_pixels=64 * 48).shape == (48, 64, 3)

    @pytest.mark.parametrize("name", FOREIGN)
    def test_foreign_formats(self, name, monkeypatch):
        monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
        assert self.reason(FOREIGN[name]) == "unsupported_encoding"

    @pytest.mark.parametrize("name", ["h264", "hevc", "16UC1; compressedDepth png", "16UC1; png compressed "])
    def test_videos_and_depth_by_their_format(self, name):
        assert self.reason(encode_image(picture(), ".png"), name) == "unsupported_encoding"

    def test_depth_by_its_content(self):
        pytest.importorskip("rclpy")
        from sensor_msgs.msg import CompressedImage

        from wildhands_ros.ros.images import decode_compressed

        data = cv2.imencode(".png", picture()[..., 0].astype(np.uint16) * 8)[1].tobytes()
        assert self.reason(data, "png") == "unsupported_encoding"
        message = CompressedImage(format="mono16; png compressed ", data=array.array("B", data))
        brightest = decode_compressed(message).max()
        assert abs(int(brightest) - int(picture()[..., 0].max()) // 2) <= 1, "12 of 16 bits"
        message = CompressedImage(format="jpeg", data=array.array("B", encode_image(picture(), ".jpg")[:-2]))
        assert decode_compressed(message).shape == (48, 64, 3)


def memo_bomb(place: int = 0x14000000) -> bytes:
    """A pickle of an empty dictionary that is stored at a place in the memo which takes gigabytes."""
    return b"\x80\x02}r" + struct.pack("<I", place) + b"."


class TestPickles:
    def test_a_place_in_the_memo_beyond_all_memory(self, tmp_path):
        for data in (memo_bomb(), b"\x80\x02}p335544320\n.", b"(lp9999999999\n."):
            (tmp_path / "a.pkl").write_bytes(data)
            with cheap(), pytest.raises(UnsafePickleError, match="would fill the memory"):
                read_pickle(tmp_path / "a.pkl")

    def test_every_protocol_is_still_read(self, tmp_path):
        value = {"a": [np.arange(5), "text" * 100], "b": [list(range(300))] * 3}
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            (tmp_path / "a.pkl").write_bytes(pickle.dumps(value, protocol))
            read = read_pickle(tmp_path / "a.pkl")
            assert read["b"] == value["b"] and (read["a"][0] == value["a"][0]).all()

    def test_arrays_of_objects(self, tmp_path):
        with (tmp_path / "a.npy").open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
            file.write(memo_bomb())
        with cheap(), pytest.raises(UnsafePickleError, match="memory"):
            read_npy(tmp_path / "a.npy")

    def test_an_array_that_is_larger_than_its_file(self, tmp_path):
        with (tmp_path / "a.npy").open("wb") as file:
            header = {"descr": "<f8", "fortran_order": False, "shape": (10**5, 10**5)}
            np.lib.format.write_array_header_1_0(file, header)
            file.write(bytes(100))
        with cheap(), pytest.raises(ValueError, match="claims an array"):
            read_npy(tmp_path / "a.npy")

    def test_texts_that_are_copied_without_end(self, tmp_path):
        text = b"X" + struct.pack("<I", 10**6) + b"a" * 10**6 + b"q\0"
        pair = b"X\x06\0\0\0latin1q\x01"
        call = b"c_codecs\nencode\n(h\0h\x01tR"
        data = b"\x80\x02]" + text + b"0" + pair + b"0(" + call * 1000 + b"e."
        (tmp_path / "a.pkl").write_bytes(data)
        with cheap(), pytest.raises(UnsafePickleError, match="copies its texts"):
            read_pickle(tmp_path / "a.pkl")

    def test_arrays_that_refer_to_each_other_are_read_once(self, tmp_path):
        value = np.ones(3)
        for _ in range(60):
            pair = np.empty(2, object)
            pair[:] = [value, value]
            value = pair
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(value))
        with cheap():
            assert read_pickle(tmp_path / "a.pkl").shape == (2,)

    def test_archives_of_arrays_that_unfold(self, tmp_path):
        np.savez_compressed(tmp_path / "a.npz", zeros=np.zeros((400, 10**6), np.uint8), ones=np.ones(3))
        with NpzFile(tmp_path / "a.npz") as file:
            assert file.names == {"zeros", "ones"}
            np.testing.assert_array_equal(file.read(["ones"])["ones"], np.ones(3))
            with cheap(), pytest.raises(ValueError, match="unfolds to 400 MB"):
                file.read(file.names)

    def test_torch_archives(self, tmp_path):
        archives = pytest.importorskip("wildhands_ros.network.torch_archive")
        path = tmp_path / "a.ckpt"
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("archive/data.pkl", memo_bomb())
        with cheap(), pytest.raises(archives.ArchiveError, match=r"a\.ckpt.*memory"):
            archives.TorchArchive(path)
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("archive/data.pkl", pickle.dumps({}))
            file.writestr("archive/data/0", bytes(400))
        data, rng = path.read_bytes(), random.Random(3)
        for _ in range(500):
            changed = bytearray(data)
            for _ in range(rng.randrange(1, 4)):
                changed[rng.randrange(len(data))] = rng.randrange(256)
            path.write_bytes(changed)
            try:
                with archives.TorchArchive(path) as archive:
                    storage = archives.StorageRef("0", archives.torch.float32, 100)
                    archive.read(archives.TensorRef(storage, 0, (10, 10), (10, 1)))
            except archives.ArchiveError as error:
                assert "a.ckpt" in str(error)
        path.write_bytes(data)
        with archives.TorchArchive(path) as archive, cheap(), pytest.raises(archives.ArchiveError, match="repeats"):
            archive.read(archives.TensorRef(storage, 0, (10**9, 100), (0, 1)))


@pytest.mark.parametrize("content", ["[" * 100_000, '{"images": 3}', "[]", '{"images": [[]], "annotations": []}', "\0"])
def test_annotations_of_any_content(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(AnnotationError, match=r"a\.json is damaged or not hand keypoints"):
        read_coco_hands(tmp_path)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (KeyError("images"), "'images' is missing"),
        (RecursionError("maximum recursion depth exceeded"), "nested too deeply"),
        (MemoryError(), "more memory than there is"),
        (EOFError(), "ends too early"),
        (OverflowError("too large"), "OverflowError: too large"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"), "byte 0 is not utf-8"),
        (struct.error("unpack requires 4 bytes"), "error: unpack requires 4 bytes"),
        (OSError("truncated"), "OSError: truncated"),
        (ValueError("x" * 10_000), "ValueError: xxx"),
    ],
)
def test_whatever_a_parser_raises_becomes_a_refusal_that_names_the_file(error, text):
    with pytest.raises(InputError, match=re.escape(text)) as raised, foreign_bytes("a.json", "labels"):
        raise error
    assert str(raised.value).startswith("a.json is damaged or not labels (") and len(str(raised.value)) < 500


OUTSIDE = ["/a.jpg", "//a.jpg", "../a.jpg", "b/../../a.jpg", ".."]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("read", [read_coco_hands, read_boxed_images])
def test_a_list_of_images_opens_no_file_outside_of_its_folder(tmp_path, name, read):
    hand = {"image_id": 1, "id": 1, "keypoints": [0] * 63, "bbox": [0, 0, 9, 9]}
    content = {"images": [{"id": 1, "file_name": name, "width": 64, "height": 48}], "annotations": [hand]}
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    with pytest.raises(AnnotationError, match=r"annotations\.json.*does not lie below"):
        read(tmp_path)


@pytest.mark.parametrize("name", OUTSIDE)
def test_nor_do_the_lists_of_datasets(name):
    with pytest.raises(InputError, match="does not lie below"):
        FileNames(["b/c.jpg", name])


def test_files_that_cannot_be_opened_are_no_damage():
    with pytest.raises(FileNotFoundError), foreign_bytes("a.json", "labels"):
        Path("/nowhere/a.json").read_bytes()
    with pytest.raises(AnnotationError, match="of ours"), foreign_bytes("a.json", "labels", AnnotationError):
        raise AnnotationError("an error of ours")
    assert reason(InputError("a sentence of ours")) == "a sentence of ours"


def test_a_full_disk_names_the_output():
    with pytest.raises(OSError, match="cannot write /dev/full: No space left"), OutputFile(Path("/dev/full")) as path:
        path.write_bytes(b"x")
