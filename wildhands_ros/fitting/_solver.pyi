"""Compiled from native/fit_solver.c."""

import numpy as np

def solve_hand(model: np.ndarray, hand: np.ndarray, betas: int, iterations: int, solution: np.ndarray) -> None:
    """Solves one hand; the arrays are laid out as in ``CompiledSolver``."""
