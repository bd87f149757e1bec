"""Released preprocessing compared with known values and a reference implementation; full-resolution preprocessing
compared with geometry."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from reference import reference_frame, reference_hand

from wildhands_ros.geometry.camera import Camera
from wildhands_ros.geometry.undistort import Rectifier, boxes_between
from wildhands_ros.network.config import RELEASED, Preprocessing, WildHandsConfig
from wildhands_ros.network.crop_geometry import crop_geometry, released_camera, released_crop, usable_boxes
from wildhands_ros.network.crop_pixels import cut_crops, hide_outside, normalize, normalized_crops, warp_antialiased
from wildhands_ros.network.kpe import Encoding
from wildhands_ros.network.preprocessing import preprocess
from wildhands_ros.network.trunk_kinds import IMAGENET_MEAN, IMAGENET_STD, TRUNKS

OURS = WildHandsConfig()
CAMERA = Camera.pinhole(912.16, 912.42, 649.5, 373.88, 1280, 720)
BOX = np.array([800, 300, 1000, 520], dtype=float)


def textured_image(height=720, width=1280):
    rng = np.random.default_rng(0)
    return cv2.resize(
        rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8),
        (width, height),
        interpolation=cv2.INTER_CUBIC,
    )


def colours(image):
    """Converts a normalised (3, H, W) tensor to (H, W, 3) colours in 0..1."""
    return image.transpose(1, 2, 0) * np.float32(IMAGENET_STD) + np.float32(IMAGENET_MEAN)


@pytest.mark.parametrize(
    ("camera", "box", "box224", "window", "kpe_box", "k224", "center"),
    [
        (
            CAMERA,
            BOX,
            [141, 102, 176, 141],
            (158, 121, 68.25),
            [124, 87, 192, 155],
            (159.628, 159.6735, 113.6625, 114.429),
            (0.270926, 0.04113),
        ),
        (
            Camera.pinhole(1000, 1000, 960, 540, 1920, 1080),
            (300, 600, 620, 980),
            [36, 120, 73, 164],
            (54, 142, 77.0),
            [16, 104, 92, 180],
            (116.6667, 116.6667, 112, 112),
            (-0.461359, 0.25169),
        ),
    ],
)
def test_released_preprocessing_equals_reference_values(camera, box, box224, window, kpe_box, k224, center):
    crop, frame_camera = released_crop(np.array(box), camera.width, camera.height), released_camera(camera)
    assert crop.box.tolist() == box224
    assert (*crop.center, crop.side) == window
    assert crop.kpe_box.tolist() == kpe_box
    np.testing.assert_allclose(frame_camera.k[(0, 1, 0, 1), (0, 1, 2, 2)], k224, atol=1e-4)
    inputs = preprocess(
        np.zeros((camera.height, camera.width, 3), np.uint8), camera, np.array([box]), RELEASED, Preprocessing.RELEASED
    )
    np.testing.assert_allclose(inputs.kpe[0, :2], center, atol=1e-6)
    np.testing.assert_allclose(inputs.focal, (k224[0] + k224[1]) / 2, atol=1e-3)
    assert not inputs.anchor.any()


@pytest.mark.parametrize("shape", [(720, 1280), (640, 480)])
def test_released_pixels_equal_the_reference_implementation(shape):
    image, boxes = textured_image(*shape), np.array([[100, 150, 300, 320], [350.4, 20.7, 470.2, 140.9]])
    camera = Camera.pinhole(500, 500, shape[1] / 2, shape[0] / 2, shape[1], shape[0])
    inputs = preprocess(image, camera, boxes, RELEASED, Preprocessing.RELEASED)
    frame = reference_frame(image)
    np.testing.assert_allclose(colours(inputs.images[0]), frame, atol=1e-5)
    for i, box in enumerate(boxes):
        crop, angles = reference_hand(frame, camera.k, shape, box)
        np.testing.assert_allclose(colours(inputs.crops[i]), crop, atol=1e-5)
        np.testing.assert_allclose(inputs.kpe[i], angles, atol=1e-5)


def test_released_preprocessing_loses_fine_detail():
    """Fine stripes that are visible at full resolution vanish in the reference's crops."""
    image = np.zeros((720, 1280, 3), np.uint8)
    image[:, ::4] = image[:, 1::4] = 255
    box = np.array([[600, 300, 664, 364]], dtype=float)
    contrast = lambda c: colours(preprocess(image, CAMERA, box, c, c.preprocessing).crops[0]).std()  # noqa: E731
    assert contrast(RELEASED) < 0.05 < 0.3 < contrast(OURS)


def test_tiny_and_clipped_boxes_are_usable_and_invalid_inputs_are_rejected():
    image = textured_image()
    inputs = preprocess(
        image, CAMERA, np.array([[5, 5, 6, 6], [-300, 200, 40, 900]], dtype=float), RELEASED, Preprocessing.RELEASED
    )
    assert np.isfinite(inputs.crops).all() and np.isfinite(inputs.kpe).all()
    bad = np.array([[1300, 0, 1400, 50], [10, 10, 10, 40], [np.nan, 0, 50, 50], [-50, -60, 0, -1]])
    assert not usable_boxes(CAMERA, bad).any()
    with pytest.raises(ValueError, match="1300"):
        preprocess(image, CAMERA, bad, OURS, OURS.preprocessing)
    with pytest.raises(ValueError, match="720, 1280, 3"):
        preprocess(image[:100], CAMERA, BOX[None], OURS, OURS.preprocessing)
    with pytest.raises(ValueError, match="pinhole"):
        preprocess(
            image,
            replace(CAMERA, distortion_model="plumb_bob", d=np.full(5, 0.01)),
            BOX[None],
            RELEASED,
            Preprocessing.RELEASED,
        )


def dot_position(image):
    """Returns the centroid (x, y) of the brightness."""
    weight = np.clip(image.sum(axis=-1), 0, None)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


@pytest.mark.parametrize("turn", [0.0, 0.6, -2.0])
@pytest.mark.parametrize("size", [60.3, 417.0])
def test_full_resolution_crops_agree_with_their_camera(turn, size):
    """A dot in the image appears in the crop at the pixel with the angles of the dot, for any scale and rotation."""
    dot = np.array([640.25, 411.5])
    y, x = np.mgrid[:720, :1280]
    blob = 255 * np.exp(-((x - dot[0]) ** 2 + (y - dot[1]) ** 2) / (2 * (size / 20) ** 2))
    image = np.repeat(blob[..., None], 3, axis=2).round().astype(np.uint8)
    config = WildHandsConfig(encoding=Encoding.DENSE)
    center = dot + (0.13 * size, -0.2 * size)
    box = np.concatenate([center - size / 2, center + size / 2])
    inputs = preprocess(image, CAMERA, box[None], config, config.preprocessing, np.array([turn]))
    u, v = dot_position(colours(inputs.crops[0]))
    angles = inputs.kpe[0]
    at_dot = [cv2.remap(a, np.float32([[u]]), np.float32([[v]]), cv2.INTER_LINEAR)[0, 0] for a in angles]
    pixel = 1.75 * size / 224 / 912
    np.testing.assert_allclose(at_dot, CAMERA.angles(dot), atol=0.15 * pixel)


def test_rotated_crops_encode_their_own_corners():
    turn, half = 0.5, 1.75 * 220 / 2
    inputs = preprocess(textured_image(), CAMERA, BOX[None], OURS, OURS.preprocessing, np.array([turn]))
    up, right = np.array([np.sin(turn), -np.cos(turn)]), np.array([np.cos(turn), np.sin(turn)])
    center = (BOX[:2] + BOX[2:]) / 2
    corners = [center + half * (v * up + h * right) for h, v in ((-1, 1), (-1, -1), (1, 1), (1, -1))]
    expected = np.concatenate([CAMERA.angles(center)[None], CAMERA.angles(np.array(corners))])
    np.testing.assert_allclose(inputs.kpe[0].reshape(5, 2), expected, atol=1e-6)


def test_downscaling_avoids_aliasing_and_keeps_the_mean():
    checkerboard = (np.indices((900, 900)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    for factor in (1.6, 3.7, 12.0):
        affine = np.array([[1 / factor, 0, 3.3], [0, 1 / factor, -5.2]])
        small = warp_antialiased(checkerboard, affine, 60, replicate=False)[10:40, 10:40]
        assert np.abs(small - 127.5).max() < (40 if factor < 2 else 15)
        assert abs(small.mean() - 127.5) < 1


@pytest.mark.parametrize("side", [30, 110, 180, 400, 900])  # enlarged, smoothed, and averaged over blocks
def test_compiled_crops_equal_those_of_opencv(side, monkeypatch):
    native = pytest.importorskip("wildhands_ros._native", reason="compiled only where there is a C compiler")
    image = cv2.GaussianBlur(textured_image(), (0, 0), 1)
    middles = np.array([(640, 360), (2, 3), (1270, 500), (700, 719), (1279 + side / 3, 100)])
    boxes = np.concatenate([middles - side / 2, middles + side / 2], axis=1)
    turns = np.array([0, 0.4, -1.2, 3.0, 0.1])
    geometry = crop_geometry(CAMERA, boxes, OURS, Preprocessing.FULL_RESOLUTION, turns)
    kind = TRUNKS["resnet50"]
    with monkeypatch.context() as patch:
        patch.setattr("wildhands_ros.network.crop_pixels.native", native)
        compiled = normalized_crops(image, geometry, kind)
        patch.setattr("wildhands_ros.network.crop_pixels.native", None)
        expected = normalized_crops(image, geometry, kind)
    np.testing.assert_array_equal(expected, normalize(cut_crops(image, geometry, with_frame=False).crops, kind))
    std = np.array(IMAGENET_STD, np.float32)[:, None, None]
    levels = np.abs(compiled - expected) * 255 * std
    assert levels.max() < 3.1
    assert levels.max() < 3.1
    assert (levels > 1.5).mean() < 0.05
    assert levels.mean() < 0.4


def test_compiled_crops_reject_arrays_of_other_sizes():
    native = pytest.importorskip("wildhands_ros._native", reason="compiled only where there is a C compiler")
    image, affines, colour = np.zeros((20, 30, 3), np.uint8), np.eye(3)[None, :2], np.ones(3, np.float32)
    crops = np.empty((1, 3, 224, 224), np.float32)
    arguments = [image, 20, 30, np.ascontiguousarray(affines), colour, colour, crops, 224]
    native.cut_crops(*arguments)
    for place, other in ((1, 21), (3, affines[0, 0]), (5, colour[:2]), (6, crops[:, 1:]), (7, 300)):
        with pytest.raises(ValueError, match="expected sizes"):
            native.cut_crops(*[other if i == place else value for i, value in enumerate(arguments)])


@pytest.mark.parametrize("replicate", [True, False])
def test_renders_beyond_the_image_are_padded_like_photographs(replicate):
    beyond = cv2.GaussianBlur(textured_image(), (0, 0), 4)
    inner = np.ascontiguousarray(beyond[100:400, 150:500])
    turn, scale = 0.4, 0.9
    linear = scale * np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    affine = np.column_stack([linear, (40.0, 70.0)])
    expected = warp_antialiased(inner, affine, 224, replicate=replicate).astype(float)
    from_beyond = np.column_stack([linear, affine[:, 2] - linear @ (150, 100)])
    whole = warp_antialiased(beyond, from_beyond, 224, replicate=False)
    difference = np.abs(hide_outside(whole, affine, 350, 300, replicate=replicate) - expected)
    assert np.abs(whole - expected).mean() > 10
    assert np.quantile(difference, 0.98) < 3  # except at the rim, where the warp mixes in black


def test_crop_decoding_uses_the_crops_centre_and_focal_length():
    inputs = preprocess(textured_image(), CAMERA, BOX[None], OURS, OURS.preprocessing)
    center = (BOX[:2] + BOX[2:]) / 2
    np.testing.assert_allclose(inputs.anchor[0], (center - CAMERA.k[:2, 2]) / CAMERA.k[(0, 1), (0, 1)], atol=1e-6)
    np.testing.assert_allclose(inputs.focal[0], 912.29 * 224 / (1.75 * 220), rtol=1e-6)


def test_fake_intrinsics_change_the_encoding_only():
    fake = preprocess(
        textured_image(), CAMERA, BOX[None], replace(RELEASED, fake_intrinsics=True), Preprocessing.RELEASED
    )
    true = preprocess(textured_image(), CAMERA, BOX[None], RELEASED, Preprocessing.RELEASED)
    np.testing.assert_allclose(fake.kpe[0, :2], np.arctan2((158 - 112, 121 - 112), 112), atol=1e-6)
    assert np.array_equal(fake.focal, true.focal) and np.array_equal(fake.crops, true.crops)


def test_rectified_boxes_enclose_the_same_object():
    source = replace(CAMERA, distortion_model="plumb_bob", d=np.array([-0.25, 0.06, 0.001, -0.002, 0.0]))
    point = np.array([0.35, 0.2, 1.0])
    u, v = source.project(point)
    image = np.zeros((720, 1280, 3), np.uint8)
    cv2.circle(image, (round(u), round(v)), 12, (255, 255, 255), -1)
    rectifier = Rectifier()
    rectified, pinhole = rectifier(image, source)
    assert pinhole.is_pinhole
    expected = pinhole.project(source.rays(np.array([round(u), round(v)])))
    np.testing.assert_allclose(dot_position(rectified.astype(float)), expected, atol=0.5)
    box = boxes_between(np.array([[u - 13, v - 13, u + 13, v + 13]]), source, pinhole)[0]
    ys, xs = np.nonzero(rectified[..., 0] > 127)
    assert box[0] <= xs.min() and box[1] <= ys.min() and box[2] >= xs.max() and box[3] >= ys.max()
    assert box[2] - box[0] < 40
    # The maps are kept for an equal camera and renewed for another.
    assert rectifier(image, replace(source))[1] is pinhole
    assert rectifier(image, replace(source, d=source.d / 2))[1] is not pinhole
    assert rectifier(image, CAMERA)[0] is image
