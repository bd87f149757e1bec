"""Compiled from native/."""

import numpy as np

VERSION: int
"""See ``geometry.compiled``."""

def solve_hand(model: np.ndarray, hand: np.ndarray, betas: int, iterations: int, solution: np.ndarray) -> None:
    """Solves one hand; the arrays of float64 are laid out as in ``fitting.solver.CompiledSolver``.

    Raises:
        ValueError: An array does not have the expected size.
    """

def summarise_hand(
    axes: np.ndarray,
    rotation: np.ndarray,
    angles: np.ndarray,
    joints: np.ndarray,
    matrix: np.ndarray,
    jacobian: np.ndarray,
    rays: np.ndarray,
    weights: np.ndarray,
    summary: np.ndarray,
) -> None:
    """Writes what ``fitting.summary.CompiledSummariser`` returns; all arrays are contiguous float64.

    Raises:
        ValueError: An array does not have the expected size.
    """

def has_half_linear() -> bool:
    """Returns whether ``half_linear`` runs on this processor."""

def half_linear(weights: np.ndarray, bias: np.ndarray, inputs: np.ndarray, outputs: np.ndarray, relu: bool) -> None:
    """Computes ``outputs = weights @ inputs + bias``, then, if wanted, the ReLU.

    Args:
        weights: (N, K) float16; K is a multiple of 8.
        bias: (N,) float32.
        inputs: (K,) float32.
        outputs: (N,) float32, the result.
        relu: Whether to set negative outputs to 0.

    Raises:
        ValueError: The sizes do not fit, or the processor lacks the instructions.
    """

def pose_surface(
    model: np.ndarray,
    blends: np.ndarray,
    pose: np.ndarray,
    points: int,
    spheres: int,
    betas: int,
    numbers: np.ndarray,
) -> None:
    """Poses a surface; the arrays are laid out as in ``fitting.surface.CompiledSurface``.

    Raises:
        ValueError: An array does not have the expected size.
    """

def surface_rows(
    model: np.ndarray,
    numbers: np.ndarray,
    pose: np.ndarray,
    chosen: np.ndarray,
    points: int,
    spheres: int,
    betas: int,
    rows: np.ndarray,
) -> None:
    """Writes what ``fitting.surface.HandSurface.along_normals`` returns for the (N,) int64 ``chosen`` points.

    Raises:
        ValueError: An array does not have the expected size, or there is no such point.
    """

def cut_crops(
    image: np.ndarray,
    height: int,
    width: int,
    affines: np.ndarray,
    scale: np.ndarray,
    offset: np.ndarray,
    crops: np.ndarray,
    size: int,
) -> None:
    """Cuts crops from an image without aliasing, and normalises them; see ``network.crop_pixels.warp_antialiased``.

    Args:
        image: (height, width, 3) uint8.
        height: The image's height.
        width: The image's width.
        affines: (N, 2, 3) float64, maps from the image's pixels to the crops'.
        scale: (3,) float32, by which colours are multiplied.
        offset: (3,) float32, which is then added.
        crops: (N, 3, size, size) float32, the result.
        size: Side of a crop, at most 256.

    Raises:
        ValueError: The sizes do not fit.
        MemoryError: There is not enough memory for the part of the image that a crop shows.
    """

def ray_distances(vertices: np.ndarray, faces: np.ndarray, rays: np.ndarray, distances: np.ndarray) -> None:
    """Writes what ``geometry.visibility.Surface.distances`` returns.

    Args:
        vertices: (V, 3) float32.
        faces: (F, 3) int32.
        rays: (N, 3) float32, N <= 64.
        distances: (N,) float32, the result.

    Raises:
        ValueError: The sizes do not fit, or a face has no such vertex.
    """

def matrices_from_vectors(vectors: np.ndarray, matrices: np.ndarray) -> None:
    """Writes what ``geometry.so3.matrices_from_vectors`` returns for (N, 3) float64 into (N, 3, 3) float64.

    Raises:
        ValueError: The sizes do not fit.
    """

def vectors_from_matrices(matrices: np.ndarray, vectors: np.ndarray) -> None:
    """Writes what ``geometry.so3.vectors_from_matrices`` returns for (N, 3, 3) float64 into (N, 3) float64.

    Raises:
        ValueError: The sizes do not fit.
    """
