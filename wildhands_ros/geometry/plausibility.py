"""Checks whether a calibration that is formally correct can be the one of its camera."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from .camera import Camera

MIN_SEEN = {"equidistant": 0.4}
"""Fraction of the image for which a lens should have viewing directions, by distortion model. A fisheye's image circle
leaves the corners dark."""
MIN_SEEN_BY_OTHERS = 0.95
MIN_DEGREES, MAX_DEGREES, MAX_FISHEYE_DEGREES = 10.0, 150.0, 360.0
"""Horizontal field of view of a camera that sees hands; a pinhole of more than 150 degrees is hardly built."""
FOCAL_RATIO = 4 / 3
"""Largest ratio of the focal lengths; that of the non-square pixels of analogue video is 1.07."""
MAX_OFFSET = 0.2
"""Largest distance of the principal point from the middle of the image, in widths or heights."""
_GRID = 24
"""Rows and columns of the pixels that are tested."""


def seen_fraction(camera: Camera) -> float:
    """Returns the fraction of the image's pixels for which the lens model has a viewing direction."""
    x, y = ((np.arange(_GRID) + 0.5) / _GRID * side - 0.5 for side in (camera.width, camera.height))
    pixels = np.stack(np.meshgrid(x, y), axis=-1)
    return float(np.isfinite(camera.rays(pixels)).all(axis=-1).mean())


def lens_warnings(camera: Camera) -> Iterator[str]:
    """Yields a warning if the lens model has no viewing direction for a large part of an image."""
    seen = seen_fraction(camera)
    if seen < MIN_SEEN.get(camera.distortion_model, MIN_SEEN_BY_OTHERS):
        yield (
            f"the lens model has a viewing direction for only {100 * seen:.0f} % of the image, so hands in the rest "
            "cannot be estimated: the calibration board may not have reached the corners, or the calibration may be of "
            "another image size; calibrate again with the board in the corners"
        )


def intrinsics_warnings(camera: Camera) -> Iterator[str]:
    """Yields a warning for each implausible value of the camera matrix of a full image, without ROI and binning."""
    width, height = camera.width, camera.height
    fx, fy, cx, cy = camera.k[0, 0], camera.k[1, 1], camera.k[0, 2], camera.k[1, 2]
    if camera.distortion_model == "equidistant":
        degrees, most = math.degrees(width / fx), MAX_FISHEYE_DEGREES
    else:
        degrees, most = math.degrees(2 * math.atan(width / 2 / fx)), MAX_DEGREES
    if not MIN_DEGREES <= degrees <= most:
        yield (
            f"the focal length of {fx:.4g} px gives a {width}x{height} image a field of view of {degrees:.3g} degrees: "
            "K may be of another image size, or binning may be applied twice; depths scale with the focal length, so "
            "compare K with width and height"
        )
    if not 1 / FOCAL_RATIO <= fx / fy <= FOCAL_RATIO:
        yield (
            f"the focal lengths {fx:.4g} and {fy:.4g} px differ by a factor of {max(fx / fy, fy / fx):.2g}: K may be "
            "of an image of another aspect ratio, or binned along one axis only; calibrate the camera in this mode"
        )
    offset = max(abs(cx - (width - 1) / 2) / width, abs(cy - (height - 1) / 2) / height)
    if offset > MAX_OFFSET:
        yield (
            f"the principal point ({cx:.4g}, {cy:.4g}) is far from the middle of the {width}x{height} image: K may be "
            "of another image size, binning may be applied twice, or the image may be cropped without an ROI; compare "
            "K with width and height"
        )
