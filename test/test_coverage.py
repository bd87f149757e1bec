"""The standard deviations of the estimates on images of the synthetic world that nothing was fitted to."""

from __future__ import annotations

from contextlib import closing

import pytest

from wildhands_ros.estimator import Estimator
from wildhands_ros.evaluation.suite import evaluate_images
from wildhands_ros.evaluation.synthetic import world_images

IMAGES = 40
TOLERANCE = 8.0
"""Percent of the coordinates."""


@pytest.mark.slow
def test_one_and_two_standard_deviations_cover_what_they_should():
    with closing(Estimator()) as estimator:
        images = world_images("lab", "test", 0, IMAGES)
        figures = evaluate_images(estimator, images, "lab", given=("boxes",)).rows["boxes"]
    for axis in "xyz":
        assert abs(getattr(figures, f"coverage_68_{axis}") - 68) < TOLERANCE, figures
        assert abs(getattr(figures, f"coverage_95_{axis}") - 95) < TOLERANCE, figures
