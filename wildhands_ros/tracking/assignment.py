"""Assigns detections to tracks."""

from __future__ import annotations

import numpy as np


def cheapest_pairs(costs: np.ndarray) -> list[tuple[int, int]]:
    """Pairs rows with columns so that the sum of the costs is as small as possible.

    It is the Hungarian method with shortest augmenting paths. SciPy has it as ``linear_sum_assignment``, whose import
    takes a second.

    Args:
        costs: (M, N) finite costs.

    Returns:
        min(M, N) pairs of a row and a column, in the order of the rows; no row or column is in two of them.
    """
    if costs.shape[0] > costs.shape[1]:
        return sorted((row, column) for column, row in cheapest_pairs(costs.T))
    rows, columns = costs.shape
    of_row, of_column = np.zeros(rows), np.zeros(columns)  # dual prices
    owners = np.full(columns, -1)  # row of each column
    for new_row in range(rows):
        shortest = np.full(columns, np.inf)
        came_from = np.full(columns, -1)  # column before each column on the shortest path; -1 for the new row itself
        done = np.zeros(columns, bool)
        row, last = new_row, -1
        reached = 0.0
        while True:
            reduced = reached + costs[row] - of_row[row] - of_column
            nearer = ~done & (reduced < shortest)
            shortest[nearer], came_from[nearer] = reduced[nearer], last
            last = int(np.where(done, np.inf, shortest).argmin())
            reached = shortest[last]
            if owners[last] < 0:
                break
            done[last] = True
            row = owners[last]
        of_row[new_row] += reached
        of_row[owners[done]] += reached - shortest[done]
        of_column[done] -= reached - shortest[done]
        while last >= 0:
            before = int(came_from[last])
            owners[last] = owners[before] if before >= 0 else new_row
            last = before
    return sorted((int(owners[column]), column) for column in range(columns) if owners[column] >= 0)
