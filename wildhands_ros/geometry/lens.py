"""Lens distortion in normalised image coordinates, for the distortion models of sensor_msgs/CameraInfo.

plumb_bob and rational_polynomial use OpenCV. The equidistant model (Kannala-Brandt) is implemented here, because the
inverse in OpenCV stops at 90 degrees.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

LENS_MODELS: dict[str, tuple[int, ...]] = {
    "": (0,),
    "plumb_bob": (4, 5),
    "rational_polynomial": (8, 12, 14),
    "equidistant": (4,),
}
"""Distortion models, each with the numbers of coefficients that it may have. The empty name is the pinhole."""

MAX_COEFFICIENT = 1e6
"""Largest magnitude of a distortion coefficient; beyond it the roots of the polynomials overflow."""

_POLYNOMIAL_NAMES = ("", "none", "pinhole", "plumb_bob", "radtan", "rational_polynomial")
_FISHEYE_NAMES = ("equidistant", "equi", "fisheye", "kannala_brandt", "kannala_brandt4")

ROUND_TRIP_TOLERANCE = 1e-4
"""In normalised units. Where the inverse misses its pixel by more, the polynomial is not invertible."""

_ZERO, _IDENTITY = np.zeros(3), np.eye(3)


def standard_lens(name: str, d: tuple[float, ...]) -> tuple[str, tuple[float, ...]]:
    """Translates a distortion model and its coefficients as drivers and calibration tools write them.

    OpenCV and Kalibr have names of their own ("fisheye", "radtan"), and drivers publish "plumb_bob" with the eight
    coefficients of "rational_polynomial". As in OpenCV, the number of coefficients tells the polynomials apart.

    Args:
        name: the name of the distortion model, in any case; empty if it is not stated.
        d: the coefficients.

    Returns:
        A name and coefficients in the order of ``LENS_MODELS``. What is unknown or does not fit remains as it is, and
        is rejected by ``Camera``.
    """
    plain = "_".join(name.lower().replace("-", " ").split())
    if plain in _FISHEYE_NAMES:
        return "equidistant", d if any(d[4:]) else d[:4]
    if plain not in _POLYNOMIAL_NAMES:
        return name, d
    if not any(d):
        return "", ()
    if len(d) in LENS_MODELS.get(plain, ()):
        return plain, d
    for model in ("plumb_bob", "rational_polynomial"):
        for count in reversed(LENS_MODELS[model]):
            if len(d) >= count and not any(d[count:]):
                return model, d[:count]
    return "rational_polynomial" if len(d) > 5 else "plumb_bob", d


def distort(points: np.ndarray, model: str, d: np.ndarray) -> np.ndarray:
    """Maps (..., 3) directions to (..., 2) distorted normalised coordinates.

    NaN for directions that the lens does not see.
    """
    if model == "equidistant":
        return _distort_equidistant(points, d)
    z = points[..., 2:]
    # NaN in z stays NaN.
    pinhole = points[..., :2] / np.where(z <= 1e-9, np.nan, z)
    if model == "":
        return pinhole
    return _distort_polynomial(pinhole, d)


def undistort(normalised: np.ndarray, model: str, d: np.ndarray) -> np.ndarray:
    """Maps (..., 2) distorted normalised coordinates to (..., 3) unit directions; NaN where there is none."""
    if model == "equidistant":
        return _undistort_equidistant(normalised, d)
    pinhole = normalised if model == "" else _undistort_polynomial(normalised, d)
    directions = np.empty((*pinhole.shape[:-1], 3))
    directions[..., :2], directions[..., 2] = pinhole, 1
    directions /= np.sqrt((directions * directions).sum(axis=-1, keepdims=True))
    return directions


def _distort_polynomial(pinhole: np.ndarray, d: np.ndarray) -> np.ndarray:
    flat = pinhole.reshape(-1, 2)
    if not len(flat):
        return pinhole
    points = cv2.convertPointsToHomogeneous(np.ascontiguousarray(flat))
    result = cv2.projectPoints(points, _ZERO, _ZERO, _IDENTITY, d)[0].reshape(-1, 2)
    # Beyond its first extremum the polynomial returns to pixels that belong to other directions. NaN compares false.
    visible = (flat * flat).sum(axis=-1) < _radial_limit(tuple(d.tolist()))
    if not visible.all():
        result[~visible] = np.nan
    return result.reshape(pinhole.shape)


@lru_cache(maxsize=64)
def _radial_limit(d: tuple[float, ...]) -> float:
    """Returns the squared undistorted radius up to which the distorted radius increases."""
    k1, k2, k3 = d[0], d[1], d[4] if len(d) > 4 else 0.0
    k4, k5, k6 = d[5:8] if len(d) >= 8 else (0.0, 0.0, 0.0)
    # (r N(r^2) / D(r^2))' = (N D + 2 s (N' D - N D')) / D^2 with s = r^2: its first positive root is the limit.
    n, m = np.polynomial.Polynomial([1, k1, k2, k3]), np.polynomial.Polynomial([1, k4, k5, k6])
    s = np.polynomial.Polynomial([0, 1])
    numerator = n * m + 2 * s * (n.deriv() * m - n * m.deriv())
    limit = np.inf
    for polynomial in (numerator, m):
        roots = polynomial.trim(1e-12).roots()
        positive = roots[(np.abs(roots.imag) < 1e-9) & (roots.real > 0)].real
        limit = min(limit, positive.min(initial=np.inf))
    return float(limit)


def _undistort_polynomial(normalised: np.ndarray, d: np.ndarray) -> np.ndarray:
    flat = np.ascontiguousarray(normalised.reshape(-1, 2))
    if not len(flat):
        return normalised
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-12)
    pinhole = cv2.undistortPointsIter(flat[:, None], _IDENTITY, d, _IDENTITY, _IDENTITY, criteria)[:, 0]
    missed = _distort_polynomial(pinhole, d) - flat
    returned = (missed * missed).sum(axis=-1) < ROUND_TRIP_TOLERANCE**2
    if not returned.all():
        pinhole[~returned] = np.nan
    return pinhole.reshape(normalised.shape)


def _equidistant_radius(theta: np.ndarray | float, d: np.ndarray) -> np.ndarray:
    t2 = theta**2
    return theta * (1 + t2 * (d[0] + t2 * (d[1] + t2 * (d[2] + t2 * d[3]))))


def _distort_equidistant(points: np.ndarray, d: np.ndarray) -> np.ndarray:
    x, y, z = np.moveaxis(points, -1, 0)
    r = np.hypot(x, y)
    theta = np.arctan2(r, z)
    # Towards the axis, the ratio of distorted radius to radius tends to 1 / z.
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(r > 1e-12, _equidistant_radius(theta, d) / r, 1 / z)
    limit = _equidistant_limit(d)
    return np.where((theta < limit)[..., None], np.stack([x * ratio, y * ratio], axis=-1), np.nan)


def _undistort_equidistant(normalised: np.ndarray, d: np.ndarray) -> np.ndarray:
    radius = np.linalg.norm(normalised, axis=-1)
    limit = _equidistant_limit(d)
    # The radius increases with the angle up to the limit, so bisection always converges and needs no initial value.
    low, high = np.zeros_like(radius), np.full_like(radius, limit)
    for _ in range(60):
        middle = (low + high) / 2
        below = _equidistant_radius(middle, d) < radius
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    theta = (low + high) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(radius > 1e-12, np.sin(theta) / radius, 1.0)
    directions = np.concatenate([normalised * ratio[..., None], np.cos(theta)[..., None]], axis=-1)
    seen = radius <= _equidistant_radius(limit, d)
    return np.where(seen[..., None], directions, np.nan)


def _equidistant_limit(d: np.ndarray) -> float:
    """Returns the angle (radians, at most pi) up to which the distorted radius increases."""
    slope = np.polynomial.Polynomial([1, 3 * d[0], 5 * d[1], 7 * d[2], 9 * d[3]])  # in theta squared
    roots = slope.trim(1e-12).roots() if slope.degree() else np.zeros(0)
    positive = roots[(np.abs(roots.imag) < 1e-9) & (roots.real > 0)].real
    return float(min(np.pi, np.sqrt(positive.min(initial=np.inf))))
