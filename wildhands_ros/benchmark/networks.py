"""Measures networks alone, on two hands of one frame: this package's runtime against eager PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from ..hand_model.asset import open_hands
from ..network.checkpoint import load_model
from ..network.config import RELEASED
from ..network.model import WildHands, decode_pose
from ..network.network_file import DEFAULT_NAME, NetworkFile, open_network
from ..network.preprocessing import preprocess
from ..runtime.network import has_int8, network_graphs
from ..runtime.predictor import Predictor
from ..runtime.signature import mean_pose
from ..types import Side
from .clip import HEIGHT, WIDTH, Clip
from .figures import alternating, ratio

BOXES = np.array([[220, 250, 470, 500], [740, 230, 1000, 490]], dtype=np.float64)
SIDES = (Side.LEFT, Side.RIGHT)


def released_network(seed: int = 0) -> WildHands:
    """Returns the published architecture with random weights, which are as fast as the published ones."""
    torch.manual_seed(seed)
    return WildHands(RELEASED).eval()


def default_network() -> NetworkFile:
    """Returns the network with the bundled weights."""
    return open_network(DEFAULT_NAME)


def compare(
    make: Callable[[], NetworkFile | WildHands], clip: Clip, repeats: int, with_int8: bool = False
) -> dict[str, object]:
    """Measures the time from image and boxes to parameters.

    Compares the runtime and precision that "auto" selects, int8 if it is available, and eager PyTorch in float32.

    Args:
        make: makes the network.
        clip: the images.
        repeats: number of measurements.
        with_int8: whether to quantize the network first, if nncf is installed.

    Returns:
        Milliseconds; ``ratio`` is that of eager PyTorch to the fastest other one.
    """
    hand_model = open_hands()
    network, image = make(), clip.frames[0]
    eager = load_model(network.path).model if isinstance(network, NetworkFile) else network
    if with_int8:
        _quantize(network, clip)
    turns = np.zeros(len(BOXES)) if eager.config.upright else None
    int8 = ["int8"] if has_int8(network) else []
    predictors = {
        name: Predictor(make(), eager.config.preprocessing, hand_model, precision=name) for name in ("auto", *int8)
    }
    mean, is_right = torch.from_numpy(mean_pose(hand_model)), torch.tensor([side is Side.RIGHT for side in SIDES])
    undistorted = clip.camera.undistorted()

    @torch.inference_mode()
    def run_eager() -> None:
        inputs = preprocess(image, undistorted, BOXES, eager.config, eager.config.preprocessing, turns)
        output = eager(is_right=is_right, **{name: torch.from_numpy(array) for name, array in inputs.arrays().items()})
        decode_pose(output.rotations, mean[is_right.long()])

    calls: dict[str, Callable[[], object]] = {"torch_fp32": run_eager}
    for name, predictor in predictors.items():
        calls[name] = partial(predictor.predict, image, undistorted, BOXES, SIDES, turns)
    seconds = alternating(calls, repeats)
    fastest = min(predictors, key=lambda name: np.median(seconds[name]))
    medians = {name: round(1e3 * float(np.median(values)), 2) for name, values in seconds.items()}
    by_choice = {predictors[name].device: medians[name] for name in predictors}
    return {
        "ms": medians[fastest],
        "torch_fp32_ms": medians["torch_fp32"],
        **ratio(seconds["torch_fp32"], seconds[fastest]),
        "runtime": predictors[fastest].device,
        "ms_by_runtime": by_choice,
    }


def _quantize(network: NetworkFile | WildHands, clip: Clip) -> None:
    frames = (
        preprocess(image, clip.camera.undistorted(), BOXES, network.config, network.config.preprocessing)
        for image in clip.frames[::3]
    )
    try:
        from ..runtime.int8 import quantize

        quantize(network_graphs(network), frames)
    except ImportError:
        pass  # OpenVINO and nncf are optional


def cost_per_hand(
    make: Callable[[], NetworkFile | WildHands], clip: Clip, repeats: int, max_hands: int = 8
) -> dict[str, float]:
    """Returns the network's milliseconds for 1, 2, 4, ... hands in one frame, by the number of hands."""
    network = make()
    config = network.config
    predictor = Predictor(network, config.preprocessing, open_hands())
    counts = [1 << i for i in range(max_hands.bit_length())]
    rng = np.random.default_rng(0)
    corners = rng.uniform((0, 0), (WIDTH - 250, HEIGHT - 250), (max_hands, 2))
    boxes, camera = np.concatenate([corners, corners + 250], axis=1), clip.camera.undistorted()

    def call(count: int) -> Callable[[], object]:
        turns = np.zeros(count) if config.upright else None
        return lambda: predictor.predict(clip.frames[0], camera, boxes[:count], [Side.RIGHT] * count, turns)

    seconds = alternating({str(count): call(count) for count in counts}, repeats)
    return {count: round(1e3 * float(np.median(values)), 2) for count, values in seconds.items()}
