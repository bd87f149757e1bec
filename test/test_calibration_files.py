"""Calibrations as users have them: formats of files, implausible ones, hostile ones, and CameraInfo in the node."""

from __future__ import annotations

import re
import struct
import time
import tracemalloc

import cv2
import numpy as np
import pytest

from wildhands_ros.cli.cameras import FrameCameras
from wildhands_ros.geometry.calibration import Calibration, CalibrationError
from wildhands_ros.geometry.lens import LENS_MODELS, standard_lens
from wildhands_ros.io.camera_files import Intrinsics, load_calibration
from wildhands_ros.io.sources import Frame, open_source
from wildhands_ros.io.yaml_files import YamlFileError, load_yaml

K = (500.0, 0.0, 321.0, 0.0, 502.0, 238.0, 0.0, 0.0, 1.0)
D = (-0.11, 0.07, 0.0004, -0.0009, 0.013)


def ros_file(lens="distortion_model: plumb_bob", d=str(list(D)), k=str(list(K)), width="640", cols=None) -> str:
    return f"""image_width: {width}
image_height: 480
camera_name: wrist
camera_matrix: {{rows: 3, cols: 3, data: {k}}}
{lens}
distortion_coefficients: {{rows: 1, cols: {cols or d.count(",") + 1}, data: {d}}}
"""


ROS_2_ECHO = """header:
  stamp: {sec: 3, nanosec: 4}
  frame_id: wrist
height: 480
width: 640
distortion_model: plumb_bob
d:
- -0.11
- 0.07
- 0.0004
- -0.0009
- 0.013
k: [500.0, 0.0, 321.0, 0.0, 502.0, 238.0, 0.0, 0.0, 1.0]
p: [480.0, 0.0, 321.0, 0.0, 0.0, 480.0, 238.0, 0.0, 0.0, 0.0, 1.0, 0.0]
binning_x: 0
binning_y: 0
roi: {x_offset: 0, y_offset: 0, height: 0, width: 0, do_rectify: false}
---
"""
ROS_1_ECHO = """header: {seq: 7, frame_id: wrist}
height: 480
width: 640
distortion_model: "plumb_bob"
D: [-0.11, 0.07, 0.0004, -0.0009, 0.013]
K: [500.0, 0.0, 321.0, 0.0, 502.0, 238.0, 0.0, 0.0, 1.0]
---
"""
KALIBR = """cam0:
  cam_overlaps: []
  camera_model: pinhole
  distortion_coeffs: [-0.11, 0.07, 0.0004, -0.0009]
  distortion_model: radtan
  intrinsics: [500.0, 502.0, 321.0, 238.0]
  resolution: [640, 480]
  rostopic: /wrist/image_raw
"""
INI = """# Camera intrinsics

[image]

width
640

height
480

[wrist]

camera matrix
500.0 0.0 321.0
0.0 502.0 238.0
0.0 0.0 1.0

distortion
-0.11 0.07 0.0004 -0.0009 0.013
"""
VINS = """%YAML:1.0
---
model_type: PINHOLE
camera_name: camera
image_width: 640
image_height: 480
distortion_parameters:
   k1: -1.1e-01
   k2: 7e-02
   p1: 4e-04
   p2: -9e-04
projection_parameters:
   fx: 500
   fy: 502.0
   cx: 321.0
   cy: 238.0
"""
VINS_FISHEYE = """model_type: KANNALA_BRANDT
image_width: 640
image_height: 480
projection_parameters: {k2: 0.05, k3: -0.01, k4: 0.002, k5: -0.0003, mu: 500.0, mv: 502.0, u0: 321.0, v0: 238.0}
"""
ORB_SLAM = """%YAML:1.0

Camera.type: "PinHole"
Camera1.fx: 500.0
Camera1.fy: 502.0
Camera1.cx: 321.0
Camera1.cy: 238.0
Camera1.k1: -0.11
Camera1.k2: 0.07
Camera1.p1: 0.0004
Camera1.p2: -0.0009
Camera1.k3: 0.013
Camera.width: 640
Camera.height: 480
Camera.fps: 30
"""
FISHEYE = "[0.05, -0.01, 0.002, -0.0003]"
NESTED = "[[500.0, 0, 321.0], [0, 502.0, 238.0], [0, 0, 1.0]]"


def saved(tmp_path, text: str):
    path = tmp_path / "camera.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "model", "d"),
    [
        (ros_file(), "plumb_bob", D),
        (ros_file(lens=""), "plumb_bob", D),
        (ros_file(lens="camera_model: plumb_bob"), "plumb_bob", D),
        (ros_file(lens="camera_model: fisheye", d=FISHEYE), "equidistant", (0.05, -0.01, 0.002, -0.0003)),
        (ros_file(lens="distortion_model: fisheye", d=FISHEYE), "equidistant", (0.05, -0.01, 0.002, -0.0003)),
        (ros_file(d="[1e-05, -2E-5, 3e-3, 0, 1.e+0]"), "plumb_bob", (1e-5, -2e-5, 3e-3, 0.0, 1.0)),
        (ros_file(d="[-0.11, 0.07, 0.0004, -0.0009, 0.013, 0, 0, 0.0]"), "plumb_bob", D),
        (
            ros_file(d="[1.1, 0.7, 0, 0, 0.1, 1.2, 0.8, 0.2]"),
            "rational_polynomial",
            (1.1, 0.7, 0, 0, 0.1, 1.2, 0.8, 0.2),
        ),
        (ros_file(lens="distortion_model: Rational Polynomial"), "plumb_bob", D),
        (ros_file(lens="camera_model: pinhole", d="[0, 0, 0, 0, 0]"), "", ()),
        # A number of columns that somebody forgot to change with the lens.
        (ros_file(lens="distortion_model: equidistant", d=FISHEYE, cols=5), "equidistant", (0.05, -0.01, 0.002, -3e-4)),
        # Quoted numbers, which ROS reads too.
        (ros_file(width="'640'", d=str(list(map(str, D)))), "plumb_bob", D),
        (ROS_2_ECHO, "plumb_bob", D),
        (ROS_2_ECHO * 3, "plumb_bob", D),
        (ROS_1_ECHO, "plumb_bob", D),
        (KALIBR, "plumb_bob", D[:4]),
        (KALIBR.replace("radtan", "equidistant"), "equidistant", D[:4]),
        # https://github.com/ethz-asl/image_undistort/issues/75: a camera of Kalibr under another name.
        (KALIBR.replace("cam0", "camera_center"), "plumb_bob", D[:4]),
        # https://github.com/HKUST-Aerial-Robotics/VINS-Fusion/issues/29
        (VINS, "plumb_bob", D[:4]),
        (VINS_FISHEYE, "equidistant", (0.05, -0.01, 0.002, -0.0003)),
        # https://github.com/ethz-asl/kalibr/issues/569
        (ORB_SLAM, "plumb_bob", D),
        (ORB_SLAM.replace("Camera1.", "Camera.").replace('Camera.type: "PinHole"', ""), "plumb_bob", D),
        # https://github.com/stereolabs/zed-ros-wrapper/issues/126: R is 0.
        (ROS_1_ECHO.replace("---", "R: [0, 0, 0, 0, 0, 0, 0, 0, 0]"), "plumb_bob", D),
        # https://github.com/autowarefoundation/autoware/issues/1344: coefficients without a model.
        (ROS_1_ECHO.replace('"plumb_bob"', "''"), "plumb_bob", D),
        # https://github.com/SyrianSpock/realsense_gazebo_plugin/issues/21
        (ROS_1_ECHO.replace('"plumb_bob"', "''").replace(str(list(D)), "[]"), "", ()),
        (INI, "plumb_bob", D),
        (f"image_width: 640\nimage_height: 480\ncamera_matrix: {NESTED}\ndist_coeff: [{list(D)}]", "plumb_bob", D),
        ('{"width": 640.0, "height": 480, "K": [500, 0, 321, 0, 502, 238, 0, 0, 1], "D": []}', "", ()),
    ],
)
def test_formats(tmp_path, text, model, d):
    camera, _ = load_calibration(saved(tmp_path, text)).camera(640, 480, rectified=False)
    assert (camera.width, camera.height, camera.distortion_model) == (640, 480, model)
    np.testing.assert_array_equal(camera.k.ravel(), K)
    np.testing.assert_array_equal(camera.d, d)


@pytest.mark.parametrize("is_fisheye", [False, True])
def test_a_file_that_opencv_writes(tmp_path, is_fisheye):
    d = np.array(D[:4] if is_fisheye else D)
    storage = cv2.FileStorage(str(tmp_path / "out.yml"), cv2.FILE_STORAGE_WRITE)
    storage.write("image_width", 640)
    storage.write("image_height", 480)
    storage.write("fisheye_model", int(is_fisheye))
    storage.write("camera_matrix", np.array(K).reshape(3, 3))
    storage.write("distortion_coefficients", d.reshape(-1, 1))
    storage.release()
    camera, _ = load_calibration(tmp_path / "out.yml").camera(640, 480, rectified=False)
    assert camera.distortion_model == ("equidistant" if is_fisheye else "plumb_bob")
    np.testing.assert_array_equal(camera.d, d)


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, levels)]
    return "\n".join([*lines, f"image_width: *a{levels - 1}"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (bomb(9), "alias"),
        ("k: " + "[" * 20_000, "nested deeper|nesting depth"),
        ("{k: " * 400, "nested deeper|nesting depth"),
        ("k: [" + "1, " * 60_000 + "]", "more than"),
        ("k: " + "7" * 500_000, "more than 200 kB"),
        ("k: " + "9" * 100_000, "not a YAML file|is missing"),
        (ros_file(width="1" + "0" * 400), "image_width.*beyond 64 bits"),
        (ros_file(width="4294967296"), "image_width"),
        (ros_file(width="-640"), "image_width"),
        (ros_file(width="0x" + "f" * 50_000), "image_width"),
        (ros_file(width="1:30:00.5"), "image_width"),
        (ros_file(width="0"), "image size"),
        # https://github.com/ethz-asl/kalibr/issues/510
        (KALIBR.replace("pinhole", "ds"), "Kalibr file with the camera model 'ds'"),
        (VINS.replace("PINHOLE", "MEI"), "camera model 'MEI': only PINHOLE"),
        (VINS.replace("   fx: 500", ""), "VINS or camodocal without fx"),
        (ORB_SLAM.replace("Camera1.cx: 321.0", "Camera1.cx: x"), "list of numbers"),
        (ORB_SLAM.replace("Camera.width: 640", ""), "image_width is missing"),
        # https://github.com/realsenseai/realsense-ros/issues/661: the driver appended the coefficients twice.
        (ros_file(d=str([*D, *D])), "not 10 .given as .plumb_bob"),
        (ros_file(d=f"[0, 0, 0, 0, {'1' + '0' * 400}]"), "larger than a float"),
        (ros_file(d="[1e400, 0, 0, 0, 0]"), "finite"),
        (ros_file(d="[1e300, 1e300, 0, 0, 1e300]"), "below 1e\\+06"),
        (ros_file(d=str([0.1] * 1000)), "1000 distortion coefficients"),
        (ros_file(d="[0.1, 0.1, 0, 0, 0, 0.1]"), "takes 8 or 12 or 14 coefficients, not 6"),
        (ros_file(d="[0,1, -0.2, 0, 0, 0]", cols=5), "6 numbers, but rows: 1 and cols: 5 make 5.*decimal comma"),
        (ros_file() + "image_width: 1280", "image_width is given twice .line"),
        (ros_file(width="'640 px'"), "image_width must be a whole number"),
        (ros_file(lens="distortion_model: [plumb_bob]"), "distortion_model must be a name"),
        (ros_file(lens="distortion_model: 2001-99-99"), "not a YAML file|unknown distortion"),
        (ros_file().replace("distortion_coefficients", "distortion_coefficents"), "distortion_coefficents.*missing"),
        (ros_file(d="[-2500, -800, 0, 0, 0]"), "0.* % of the image"),
        (ros_file(k="[500, 321, 0, 0, 502, 238, 0, 0, 1]"), "row by row"),
        (ros_file(k="[5e99, 0, 321, 0, 502, 238, 0, 0, 1]"), "in pixels"),
        (KALIBR + KALIBR.replace("cam0", "cam1"), "2 cameras"),
        (KALIBR.replace("pinhole", "omni"), "omni"),
        ("<?xml version='1.0'?><opencv_storage/>", "XML"),
        ("- 1\n- 2", "not a calibration file"),
        ("", "not a calibration file"),
        ("? " * 3000, "nested|YAML"),
        ("k: !!python/object/apply:os.system [echo]", "image_width|is missing"),
        ("\x00\x01\x02", "not a YAML file"),
    ],
)
def test_unusable_files_are_refused_quickly_with_the_reason(tmp_path, text, words):
    path = saved(tmp_path, text)
    tracemalloc.start()
    begin = time.monotonic()
    try:
        with pytest.raises(CalibrationError, match=words) as error:
            Intrinsics(load_calibration(path)).camera(640, 480)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (
        len(str(error.value)) < 1000 and peak < 100e6 and time.monotonic() - begin < 20
    )  # under tracemalloc, far slower


def test_mutated_files_are_read_or_refused(tmp_path):
    random = np.random.default_rng(5)
    path = tmp_path / "camera.yaml"
    for text in (ros_file(), ROS_2_ECHO, KALIBR, INI):
        for _ in range(60):
            data = bytearray(text.encode())
            for _ in range(random.integers(1, 6)):
                start, length = random.integers(0, len(data)), random.integers(0, 20)
                data[start : start + length] = random.choice([b"", b"\xff", b"[", b"9" * 40, b"{", b"&", b": ", b"e5"])
            path.write_bytes(data)
            try:
                calibration = load_calibration(path)
                calibration.camera(640, 480, rectified=False)
                calibration.warnings(640, 480, rectified=False)
            except CalibrationError:
                pass


def test_yaml_of_a_long_echo_is_read_up_to_its_first_document(tmp_path):
    path = saved(tmp_path, ROS_2_ECHO * 2000)
    assert load_yaml(path)["width"] == 640
    with pytest.raises(YamlFileError, match="more than"):
        load_yaml(saved(tmp_path, "a: [" + "1.0, " * 10_000))


@pytest.mark.parametrize("model", [model for model in LENS_MODELS if model])
def test_names_of_ros_stay_as_they_are(model):
    for count in LENS_MODELS[model]:
        d = tuple(0.01 * (i + 1) for i in range(count))
        assert standard_lens(model, d) == (model, d)


def calibration(**changes) -> Calibration:
    return Calibration(**{"width": 640, "height": 480, "k": K, "d": D, "distortion_model": "plumb_bob", **changes})


NOT_INCREASING = (-2.0, 0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("changes", "size", "name"),
    [
        ({"binning_x": 2**32 - 1}, (640, 480), "bad_binning"),
        ({"binning_x": 2**32 - 1, "binning_y": 2**32 - 1}, (640, 480), "bad_binning"),
        ({"binning_y": 481}, (640, 480), "bad_binning"),
        ({"roi": (600, 0, 100, 100)}, (100, 100), "bad_roi"),
        ({"roi": (2**32 - 1, 0, 1, 1)}, (1, 1), "bad_roi"),
        ({"width": 0}, (640, 480), "bad_camera_size"),
        ({"height": 2**32 - 1}, (640, 480), "bad_camera_size"),
        ({"d": (0.1,) * 1000}, (640, 480), "bad_distortion"),
        ({"d": (1e308, -1e308, 0, 0, 1e308)}, (640, 480), "bad_distortion"),
        ({"d": (float("nan"), 0, 0, 0, 0)}, (640, 480), "bad_distortion"),
        ({"distortion_model": "x" * 100_000}, (640, 480), "bad_distortion"),
        ({"d": (-2500.0, -800.0, 0, 0, 0)}, (640, 480), "lens_folds"),
        ({"k": (0,) * 9}, (640, 480), "bad_camera_info"),
        ({"k": (1e308, *K[1:])}, (640, 480), "bad_camera_info"),
        ({"k": (500, 1e300, *K[2:])}, (640, 480), "bad_camera_info"),
    ],
)
def test_unusable_calibrations_have_names(changes, size, name):
    for method in (calibration(**changes).camera, calibration(**changes).warnings):
        with pytest.raises(CalibrationError) as error:
            method(*size, rectified=False)
        assert error.value.name == name and len(str(error.value)) < 1500


def test_any_numbers_make_a_camera_or_a_named_refusal():
    random = np.random.default_rng(3)
    values = [0.0, -0.0, 1.0, -1.0, 0.3, 1e-320, 1e-30, 1e5, 1e300, -1e300, np.nan, np.inf, 500.0, 2.0**32]
    wholes = [0, 1, 2, 640, 480, 65535, 2**31, 2**32 - 1]
    for _ in range(400):
        changes = {
            "k": tuple(random.choice(values) if random.random() < 0.1 else value for value in K),
            "d": tuple(random.choice(values, size=random.integers(0, 16))),
            "p": tuple(random.choice(values, size=12)),
            "distortion_model": str(random.choice([*LENS_MODELS, "fisheye", "?"])),
        }
        for key in ("width", "height", "binning_x", "binning_y"):
            if random.random() < 0.2:
                changes[key] = int(random.choice(wholes))
        for rectified in (False, True):
            try:
                calibration(**changes).warnings(640, 480, rectified)
            except CalibrationError as error:
                assert error.name


@pytest.mark.parametrize(
    ("changes", "size", "words"),
    [
        ({}, (640, 480), ""),
        ({"d": (-0.9, 0, 0, 0, 0)}, (640, 480), "viewing direction for only .* of the image"),
        ({"k": (9000.0, 0, 321.0, 0, 9000.0, 238.0, 0, 0, 1)}, (640, 480), "field of view of 4"),
        ({"k": (60.0, 0, 321.0, 0, 60.0, 238.0, 0, 0, 1), "d": ()}, (640, 480), "field of view of 159"),
        ({"k": (250.0, 0, 160.0, 0, 251.0, 119.0, 0, 0, 1), "binning_x": 2, "binning_y": 2}, (320, 240), "binning may"),
        ({"binning_x": 2, "binning_y": 2}, (640, 480), "binning of 2x2.*320x240"),
        ({"binning_x": 2, "binning_y": 2}, (320, 240), ""),
        ({"binning_x": 2, "binning_y": 2}, (160, 120), ""),
        ({"k": (500.0, 0, 321.0, 0, 250.0, 238.0, 0, 0, 1), "d": ()}, (640, 480), "factor of 2"),
        ({"k": (500.0, 0, 600.0, 0, 502.0, 238.0, 0, 0, 1)}, (640, 480), "principal point .600, 238."),
        ({"roi": (440, 0, 200, 200)}, (200, 200), ""),
        ({"distortion_model": ""}, (640, 480), "names no distortion model"),
        ({"distortion_model": "fisheye", "d": (0.05, -0.01, 0.002, -0.0003)}, (640, 480), ""),
        (
            {"distortion_model": "equidistant", "d": (0.0,) * 4, "k": (204.0, 0, 320, 0, 204, 240, 0, 0, 1)},
            (640, 480),
            "",
        ),
    ],
)
def test_implausible_calibrations_are_named(changes, size, words):
    text = "; ".join(calibration(**changes).warnings(*size, rectified=False))
    assert re.search(words, text) if words else not text


def test_k_of_a_rectifying_driver():
    p = (480.0, 0, 320, 0, 0, 480, 240, 0, 0, 0, 1, 0)
    rectifying = calibration(k=(0.0,) * 9, p=p, d=())
    with pytest.raises(CalibrationError, match="P is not.*set rectified to true"):
        rectifying.camera(640, 480, rectified=False)
    assert rectifying.camera(640, 480, rectified=True)[0].k[0, 0] == 480


LENSES = {
    "plumb_bob": D,
    "rational_polynomial": (0.8, 0.2, 0.002, -0.001, 0.03, 1.0, 0.3, 0.05, 0.001, 0.0005, -0.002, 0.0004),
    "equidistant": (0.05, -0.01, 0.002, -0.0003),
}


@pytest.mark.parametrize("model", LENSES)
def test_a_turned_calibration_is_that_of_turned_images(model):
    upright = calibration(distortion_model=model, d=LENSES[model], roi=(20, 40, 600, 400), binning_x=2)
    camera, _ = upright.camera(300, 400, rectified=False)
    turned, _ = upright.turned(90).camera(400, 300, rectified=False)
    u, v = 71.0, 222.0
    x, y, z = camera.rays(np.array([u, v]))
    # Binning is that of image_geometry, without half a pixel, so the turned image is shifted by as much.
    np.testing.assert_allclose(turned.rays(np.array([399 - v, u])), (-y, x, z), atol=1e-7)
    again, _ = upright.turned(90).turned(270).camera(300, 400, rectified=False)
    np.testing.assert_allclose(again.rays(np.array([u, v])), (x, y, z), atol=1e-7)


def test_turned_p():
    p = (480.0, 0, 310, 0, 0, 470, 250, 0, 0, 0, 1, 0)
    camera, _ = calibration(p=p).turned(270).camera(480, 640, rectified=True)
    np.testing.assert_array_equal(camera.k, [[470, 0, 250], [0, 480, 639 - 310], [0, 0, 1]])


@pytest.fixture
def portrait_video(tmp_path):
    """A 64x48 video with a red top left corner whose tag turns it by 90 degrees clockwise, as phones write it."""
    path = tmp_path / "portrait.mp4"
    image = np.zeros((48, 64, 3), np.uint8)
    image[:16, :20] = 0, 0, 255
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (64, 48))
    for _ in range(5):
        writer.write(image)
    writer.release()
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 44
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def test_calibration_turns_with_a_portrait_video(portrait_video, capsys):
    frame = next(iter(open_source(str(portrait_video))))
    assert frame.image.shape == (64, 48, 3) and frame.rotation == 90
    assert frame.image[3, -3, 0] > 200 and frame.image[3, 3, 0] < 50
    small = calibration(width=64, height=48, k=(50.0, 0, 30, 0, 51, 22, 0, 0, 1), d=())
    camera = FrameCameras(Intrinsics(small))(frame).camera
    np.testing.assert_array_equal(camera.k, [[51, 0, 47 - 22], [0, 50, 30], [0, 0, 1]])
    assert "turns the image by 90 degrees" in capsys.readouterr().err
    of_portraits = calibration(width=48, height=64, k=(50.0, 0, 22, 0, 51, 30, 0, 0, 1), d=())
    assert FrameCameras(Intrinsics(of_portraits))(frame).camera.k[0, 0] == 50
    assert not capsys.readouterr().err


def test_an_image_of_the_other_orientation_without_a_tag_is_explained():
    with pytest.raises(CalibrationError, match="exchanged.*portrait"):
        calibration().camera(480, 640, rectified=False)


def test_the_command_line_warns_once_of_an_implausible_calibration(capsys):
    cameras = FrameCameras(Intrinsics(calibration(d=(-0.9, 0, 0, 0, 0))))
    for name in ("a.jpg", "b.jpg"):
        cameras(Frame(np.zeros((480, 640, 3), np.uint8), name, None))
    assert capsys.readouterr().err.count("viewing direction for only") == 1


def test_other_configurations_refuse_aliases_too(tmp_path):
    pytest.importorskip("torch")
    from wildhands_ros.teleop.robot_hand_files import RobotHandError, read_robot_hand
    from wildhands_ros.training.config import TrainingConfig
    from wildhands_ros.training.config_file import ConfigError, read_config

    path = saved(tmp_path, bomb(9))
    with pytest.raises(RobotHandError, match="alias"):
        read_robot_hand(path)
    with pytest.raises(ConfigError, match="alias"):
        read_config(path, TrainingConfig)
    with pytest.raises(ConfigError, match="nested deeper|nesting depth"):
        read_config(saved(tmp_path, "k: " + "[" * 5000), TrainingConfig)
    with pytest.raises(ConfigError, match="there is no key 9") as raised:
        read_config(saved(tmp_path, "? " + "9" * 4000), TrainingConfig)
    assert len(str(raised.value)) < 1500 and path.name in str(raised.value)


@pytest.mark.parametrize("width", [".nan", ".inf", "1e300", "640.5"])
def test_a_kalibr_resolution_that_is_no_number_of_pixels(tmp_path, width):
    path = tmp_path / "camchain.yaml"
    path.write_text(
        "cam0:\n  camera_model: pinhole\n  intrinsics: [610.0, 612.0, 322.5, 238.0]\n  distortion_model: radtan\n"
        f"  distortion_coeffs: [0, 0, 0, 0]\n  resolution: [{width}, 480]\n"
    )
    with pytest.raises(CalibrationError, match=r"camchain\.yaml: width must be a"):
        load_calibration(path)
