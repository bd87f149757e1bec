"""Cameras: lens models compared with OpenCV, image operations, and invalid CameraInfo messages."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from wildhands_ros.geometry.calibration import Calibration, CalibrationError, IntrinsicsSource
from wildhands_ros.geometry.camera import Camera, rectification_maps, rectify

K = np.array([[610.0, 0, 315.0], [0, 605.0, 248.0], [0, 0, 1]])
LENSES = {
    "": (),
    "plumb_bob": (-0.28, 0.07, 0.001, -0.0007, 0.01),
    "rational_polynomial": (0.35, -0.12, 0.0004, -0.0003, 0.02, 0.68, -0.04, 0.01),
    "equidistant": (-0.02, 0.006, -0.004, 0.0008),
}


def make_camera(model: str, **changes) -> Camera:
    return Camera(**{"k": K, "width": 640, "height": 480, "distortion_model": model, "d": LENSES[model], **changes})


def grid(width=640, height=480, step=40) -> np.ndarray:
    return (
        np.stack(np.meshgrid(np.arange(0, width, step), np.arange(0, height, step)), axis=-1)
        .reshape(-1, 2)
        .astype(float)
    )


@pytest.mark.parametrize("model", ["plumb_bob", "rational_polynomial"])
def test_projection_equals_opencv(model):
    points = np.random.default_rng(0).uniform((-0.3, -0.25, 0.8), (0.3, 0.25, 1.5), (200, 3))
    expected = cv2.projectPoints(points, np.zeros(3), np.zeros(3), K, np.array(LENSES[model]))[0][:, 0]
    np.testing.assert_allclose(make_camera(model).project(points), expected, atol=1e-9)


def test_equidistant_equals_opencv():
    points = np.random.default_rng(0).uniform((-1, -1, 0.5), (1, 1, 1.5), (200, 3))
    expected = cv2.fisheye.projectPoints(points[:, None], np.zeros(3), np.zeros(3), K, np.array(LENSES["equidistant"]))[
        0
    ][:, 0]
    np.testing.assert_allclose(make_camera("equidistant").project(points), expected, atol=1e-9)


@pytest.mark.parametrize("model", LENSES)
def test_rays_and_projection_round_trip(model):
    camera = make_camera(model)
    rays = camera.rays(grid())
    np.testing.assert_allclose(np.linalg.norm(rays, axis=-1), 1)
    np.testing.assert_allclose(camera.project(rays * 0.7), grid(), atol=1e-3)


def test_fisheye_supports_angles_beyond_ninety_degrees():
    camera = Camera(np.array([[200.0, 0, 320], [0, 200, 320], [0, 0, 1]]), 640, 640, "equidistant", np.zeros(4))
    ray = camera.rays(np.array([320 + 200 * np.radians(100), 320]))
    np.testing.assert_allclose(ray, [np.sin(np.radians(100)), 0, np.cos(np.radians(100))], atol=1e-9)
    np.testing.assert_allclose(camera.project(ray), [320 + 200 * np.radians(100), 320])
    np.testing.assert_allclose(camera.angles(np.array([320 + 200 * np.radians(100), 320]))[0], np.radians(100))


def test_pinhole_does_not_project_points_behind_it():
    assert np.isnan(make_camera("").project(np.array([[0, 0, -1.0], [0.1, 0, 0]]))).all()


def test_strong_barrel_distortion_has_no_ray_beyond_its_limit():
    camera = Camera(K, 640, 480, "plumb_bob", (-0.9, 0, 0, 0, 0))
    rays = camera.rays(np.array([[315.0, 248.0], [0.0, 0.0]]))
    assert np.isfinite(rays[0]).all()
    assert np.isnan(rays[1]).all()
    # Directions beyond the limit would map to pixels of other directions.
    assert np.isnan(camera.project(np.array([3.0, 0, 1.0]))).all()


def test_angles_equal_the_pinhole_formula():
    pixels = grid()
    expected = np.arctan2(pixels - K[:2, 2], (K[0, 0], K[1, 1]))
    np.testing.assert_allclose(make_camera("").angles(pixels), expected, atol=1e-12)


@pytest.mark.parametrize("model", LENSES)
@settings(max_examples=25, deadline=None)
@given(
    pad=st.tuples(*[st.integers(0, 200)] * 4),
    scale=st.tuples(st.floats(0.2, 3), st.floats(0.2, 3)),
    crop=st.tuples(st.floats(-50, 100), st.floats(-50, 100)),
    angle=st.floats(-np.pi, np.pi),
    order=st.permutations(["pad", "scale", "crop", "rotate"]),
)
def test_image_operations_compose(model, pad, scale, crop, angle, order):
    """Padding, scaling, cropping and rotation compose in any order for any lens; pixels map back to their rays."""
    camera = make_camera(model)
    rays = camera.rays(grid(step=80))
    pixels = camera.project(rays)
    for operation in order:
        if operation == "pad":
            camera, pixels = camera.padded(*pad), pixels + pad[:2]
        elif operation == "scale":
            camera, pixels = camera.scaled(*scale), (pixels + 0.5) * scale - 0.5
        elif operation == "crop":
            camera, pixels = camera.cropped(*crop, 300, 200), pixels - crop
        else:
            affine = cv2.getRotationMatrix2D((112, 90), np.degrees(angle), 0.8)
            camera, pixels = camera.transformed(affine, 224, 224), pixels @ affine[:, :2].T + affine[:, 2]
    np.testing.assert_allclose(camera.project(rays), pixels, atol=1e-6)
    np.testing.assert_allclose(camera.rays(pixels), rays, atol=1e-5)


def test_resized_camera_matches_cv2_resize():
    """The centre of a blob in a resized image is where the resized camera projects it."""
    image = np.zeros((480, 640), np.float32)
    yx = np.mgrid[:480, :640]
    image += np.exp(-((yx[1] - 201.3) ** 2 + (yx[0] - 133.8) ** 2) / (2 * 6.0**2)).astype(np.float32)
    small = cv2.resize(image, (320, 240), interpolation=cv2.INTER_AREA)
    centre = [(small * g).sum() / small.sum() for g in (np.mgrid[:240, :320][1], np.mgrid[:240, :320][0])]
    camera = make_camera("")
    np.testing.assert_allclose(
        camera.resized(320, 240).project(camera.rays(np.array([201.3, 133.8]))), centre, atol=1e-3
    )


@pytest.mark.parametrize("model", ["plumb_bob", "rational_polynomial", "equidistant"])
def test_rectification_of_a_rotated_cropped_camera(model):
    """The maps from a raw to a rotated, rectified camera lead from each rectified pixel to the same direction."""
    rotation = Rotation.from_rotvec([0.05, -0.08, 0.02]).as_matrix()
    raw = make_camera(model)
    rectified = Camera.pinhole(500, 500, 310, 250, 640, 480)
    # Both cameras take points in the rectified frame; the raw lens is rotated relative to it.
    raw_in_rectified_frame = (
        Camera(raw.k, 640, 480, raw.distortion_model, raw.d, rotation=rotation.T)
        .scaled(0.5, 0.5)
        .cropped(10, 5, 300, 230)
    )
    map_x, map_y = rectification_maps(raw_in_rectified_frame, rectified)
    direction = np.array([0.05, -0.03, 1.0])
    u, v = np.round(rectified.project(direction)).astype(int)
    seen = raw_in_rectified_frame.rays(np.array([map_x[v, u], map_y[v, u]]))
    np.testing.assert_allclose(seen, rectified.rays(np.array([u, v])), atol=1e-5)
    # The image of a ramp over the raw columns contains the values of the map.
    ramp = np.tile(np.arange(300, dtype=np.float32), (230, 1))
    np.testing.assert_allclose(rectify(ramp, (map_x, map_y))[v, u], map_x[v, u], atol=0.05)


def calibration(**changes) -> Calibration:
    p = (550.0, 0, 320.0, 0, 0, 550.0, 240.0, 0, 0, 0, 1, 0)
    defaults = {
        "width": 640,
        "height": 480,
        "k": tuple(K.ravel()),
        "d": LENSES["plumb_bob"],
        "distortion_model": "plumb_bob",
        "p": p,
    }
    return Calibration(**{**defaults, **changes})


def test_raw_images_use_k_and_rectified_images_use_p():
    raw, source = calibration().camera(640, 480, rectified=False)
    assert source is IntrinsicsSource.CAMERA_INFO
    np.testing.assert_array_equal(raw.k, K)
    assert raw.distortion_model == "plumb_bob"
    rectified, _ = calibration().camera(640, 480, rectified=True)
    assert rectified.is_pinhole
    assert rectified.k[0, 0] == 550


def test_roi_and_binning_follow_image_geometry():
    camera, source = calibration(roi=(100, 60, 400, 300), binning_x=2, binning_y=2).camera(200, 150, rectified=False)
    assert source is IntrinsicsSource.CAMERA_INFO
    np.testing.assert_allclose(camera.k[0], [305, 0, (315 - 100) / 2])
    np.testing.assert_allclose(camera.k[1], [0, 302.5, (248 - 60) / 2])


def test_calibration_is_scaled_to_a_resized_stream():
    camera, source = calibration().camera(320, 240, rectified=False)
    assert source is IntrinsicsSource.CAMERA_INFO_SCALED
    full, _ = calibration().camera(640, 480, rectified=False)
    pixels = grid(320, 240)
    np.testing.assert_allclose(camera.rays(pixels), full.rays((pixels + 0.5) * 2 - 0.5), atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"k": (0.0,) * 9, "p": (0.0,) * 12}, "uncalibrated"),
        ({"k": (0.0,) * 9}, "set rectified to true"),
        ({"k": (np.nan, *K.ravel()[1:])}, "NaN"),
        ({"k": (-610.0, *K.ravel()[1:])}, "must be positive"),
        ({"k": (610.0, 0, 9000.0, *K.ravel()[3:])}, "principal point"),
        ({"k": (0.95, 0, 0.5, 0, 1.27, 0.5, 0, 0, 1.0)}, "must be in pixels"),
        ({"roi": (400, 0, 320, 240)}, r"320x240 at \(400, 0\), exceeds"),
        ({"width": 0}, "image size"),
        ({"distortion_model": "thin_prism"}, "unknown distortion model 'thin_prism'"),
        ({"d": (0.1, 0.2, 0.3)}, "takes 4 or 5 coefficients, not 3"),
        ({"d": (np.nan, 0, 0, 0, 0)}, "coefficients must be finite"),
    ],
)
def test_invalid_calibrations_are_rejected_with_a_reason(changes, words):
    with pytest.raises(CalibrationError, match=words):
        calibration(**changes).camera(640, 480, rectified=False)


def test_rectified_image_without_p_is_rejected():
    with pytest.raises(CalibrationError, match="P is zero"):
        calibration(p=(0.0,) * 12).camera(640, 480, rectified=True)


def test_another_aspect_ratio_is_rejected():
    with pytest.raises(CalibrationError, match="1280x720.*640x480.*aspect"):
        calibration().camera(1280, 720, rectified=False)


def test_field_of_view_and_guess():
    camera = Camera.from_fov(1280, 720, np.radians(90))
    np.testing.assert_allclose(np.degrees(camera.angles(np.array([1279.5, 359.5]))), [45, 0], atol=1e-9)
    assert Camera.guess(1920, 1080).k[0, 0] == pytest.approx(1000)
    with pytest.raises(ValueError, match="between 0 and 180"):
        Camera.from_fov(640, 480, np.pi)
