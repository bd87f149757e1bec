"""The assignment of detections to tracks, compared with SciPy's."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from wildhands_ros.tracking.assignment import cheapest_pairs


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (1, 4), (5, 3), (4, 6), (8, 8)])
def test_the_sum_is_as_small_as_possible(shape):
    rng = np.random.default_rng(0)
    for high in (2, 5, 1000):  # few different costs give ties
        for _ in range(20):
            costs = rng.integers(0, high, shape).astype(float) + (high > 5) * rng.normal(size=shape)
            pairs = cheapest_pairs(costs)
            assert len(pairs) == min(shape) and pairs == sorted(pairs)
            for used in zip(*pairs, strict=True):
                assert len(set(used)) == len(used)
            assert sum(costs[pair] for pair in pairs) == pytest.approx(costs[linear_sum_assignment(costs)].sum())


def test_nothing_to_assign():
    assert cheapest_pairs(np.zeros((0, 3))) == [] == cheapest_pairs(np.zeros((3, 0)))
