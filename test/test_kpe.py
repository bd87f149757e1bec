"""The positional encodings: reference values, order of channels, and definitions."""

import numpy as np
import pytest
import torch

from wildhands_ros.geometry.camera import Camera
from wildhands_ros.network.kpe import Encoding, kpe_values
from wildhands_ros.network.kpe_channels import encode, encode_angles

CAMERA = Camera.pinhole(159.628, 159.6735, 113.6625, 114.429, 224, 224)


def box_corners(x0, y0, x1, y1):
    return np.array([(x0, y0), (x0, y1), (x1, y0), (x1, y1)], dtype=float)


def test_center_and_corner_encoding_equals_reference_values():
    values = kpe_values(Encoding.CENTER_CORNER_LATENT, CAMERA, box_corners(124, 87, 192, 155), 7)
    center, corners = values[:2], values[2:]
    np.testing.assert_allclose(center, (0.270926, 0.04113), atol=1e-6)
    expected = (0.06467, -0.170121, 0.06467, 0.248822, 0.456221, -0.170121, 0.456221, 0.248822)
    np.testing.assert_allclose(corners, expected, atol=1e-6)
    encoded = encode(Encoding.CENTER_CORNER_LATENT, torch.from_numpy(values)[None], n_freq=4, size=7)
    assert encoded.shape == (1, 80, 7, 7)
    np.testing.assert_allclose(encoded[0, :4, 3, 5], (0.26762, 0.96352, 0.04112, 0.99915), atol=1e-5)
    # The corners' encoding follows the centre's: its first channel is the sine of the first corner's first angle.
    np.testing.assert_allclose(encoded[0, 16, 0, 0], np.sin(expected[0]), atol=1e-6)


def test_channels_are_ordered_by_frequency_then_angle_then_sine_and_cosine():
    angles = torch.tensor([[0.3, -0.7]])
    expected = [f(2**level * a) for level in range(3) for a in (0.3, -0.7) for f in (np.sin, np.cos)]
    np.testing.assert_allclose(encode_angles(angles, n_freq=3)[0], expected, atol=1e-6)


@pytest.mark.parametrize("encoding", Encoding)
def test_encodings_have_the_declared_number_of_channels(encoding):
    values = torch.from_numpy(kpe_values(encoding, CAMERA, box_corners(20, 30, 90, 100), map_size=7))[None]
    encoded = encode(encoding, values, n_freq=4, size=7)
    channels = {"none": 0, "center": 16, "corner": 64, "dense": 16, "dense_latent": 16, "cam_conv": 6}
    assert encoded.shape == (1, channels.get(encoding.value, 80), 7, 7) and encoding.channels(4) == encoded.shape[1]


def test_dense_map_covers_the_crop_with_x_along_its_columns():
    dense = kpe_values(Encoding.DENSE, CAMERA, box_corners(20, 30, 90, 100), map_size=14)
    assert (np.diff(dense[0], axis=1) > 0).all() and (np.diff(dense[0], axis=0) == 0).all()
    assert (np.diff(dense[1], axis=0) > 0).all() and (np.diff(dense[1], axis=1) == 0).all()
    # Cells of 5 pixels, the first centre 2.5 pixels from the crop's edge.
    np.testing.assert_allclose(dense[:, 0, 0], CAMERA.angles(np.array([22.5, 32.5])), atol=1e-6)
    np.testing.assert_allclose(dense[:, -1, -1], CAMERA.angles(np.array([87.5, 97.5])), atol=1e-6)


def test_cam_conv_maps_agree_with_the_camera():
    corners = box_corners(0, 0, 224, 224)
    maps = kpe_values(Encoding.CAM_CONV, CAMERA, corners, map_size=7)
    centered, angles, normalized = maps[:2], maps[2:4], maps[4:]
    np.testing.assert_allclose(np.tan(angles) * np.array([159.628, 159.6735])[:, None, None], centered * 112, atol=1e-3)
    np.testing.assert_allclose(normalized[0, 0], np.linspace(-1, 1, 15)[1::2], atol=1e-6)


def test_sinusoidal_cc_does_not_depend_on_the_camera():
    corners = box_corners(20, 30, 90, 100)
    other = Camera.pinhole(300, 300, 50, 60, 224, 224)
    values = kpe_values(Encoding.SINUSOIDAL_CC, CAMERA, corners, 7)
    assert np.array_equal(values, kpe_values(Encoding.SINUSOIDAL_CC, other, corners, 7))
    np.testing.assert_allclose(values[:2], (55 / 112 - 1, 65 / 112 - 1), atol=1e-6)


def test_angles_follow_the_lens_model():
    """For an equidistant fisheye without coefficients the angle to the axis is the radius over the focal length."""
    fisheye = Camera(CAMERA.k, 224, 224, "equidistant", np.zeros(4))
    values = kpe_values(Encoding.CORNER, fisheye, box_corners(113.6625, 114.429, 213.6625, 194.429), 7)
    np.testing.assert_allclose(values[4], 100 / 159.628, atol=1e-6)  # x1, y0
    np.testing.assert_allclose(values[3], 80 / 159.6735, atol=1e-6)  # x0, y1


def test_corners_outside_the_field_of_view_are_moved_to_its_edge():
    lens = Camera(CAMERA.k, 224, 224, "plumb_bob", np.array([-0.3, 0, 0, 0, 0.0]))
    corners = box_corners(150, 150, 210, 210)
    assert np.isnan(lens.angles(corners)).any()
    values = kpe_values(Encoding.CORNER, lens, corners, 7).reshape(4, 2)
    assert np.isfinite(values).all()
    np.testing.assert_allclose(values[0], lens.angles(corners[0]), atol=1e-6)
    assert (values[3] > values[0]).all()
    with pytest.raises(ValueError, match="outside the lens's field of view"):
        kpe_values(Encoding.CENTER, lens, box_corners(300, 300, 400, 400), 7)
