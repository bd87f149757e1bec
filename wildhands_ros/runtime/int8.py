"""Post-training quantization of the encoder to int8 (Jacob et al., CVPR 2018) with OpenVINO's NNCF.

The decoder is not quantized.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import openvino

from ..io.cache_files import add_checksum
from ..network.preprocessing import NetworkInput
from .openvino import NetworkGraphs, quantized_path
from .signature import encoder_inputs

_IN_FLOAT = ("Add", "MatMul", "Multiply")
"""Operations that stay in float, because in int8 they save little time and cost accuracy: the default network loses 1.9
% of the MPJPE with these in float, and 3.5 % with additions in int8."""


def quantize(graphs: NetworkGraphs, frames: Iterable[NetworkInput]) -> Path:
    """Quantizes a network's encoder and stores it where ``precision`` int8 finds it.

    Args:
        graphs: the network.
        frames: inputs from which the ranges of all activations are taken.

    Returns:
        The file.

    Raises:
        ImportError: nncf is not installed.
        ValueError: there are no frames.
        OSError: the user's data folder is not writable.
    """
    try:
        import nncf
    except ImportError as error:
        raise ImportError("quantizing needs nncf: pip install 'wildhands_ros[int8]' (or: pip install nncf)") from error
    nncf.set_log_level(logging.WARNING)
    names = encoder_inputs(graphs.config)
    samples = [[_value(frame, name) for name in names] for frame in frames]
    if not samples:
        raise ValueError("there are no frames to quantize the network for")
    in_float = nncf.IgnoredScope(types=list(_IN_FLOAT), validate=False)
    quantized = nncf.quantize(graphs.encoder(), nncf.Dataset(samples), subset_size=len(samples), ignored_scope=in_float)
    path = quantized_path(graphs)
    path.parent.mkdir(parents=True, exist_ok=True)
    openvino.save_model(quantized, path)
    for part in (path, path.with_suffix(".bin")):
        add_checksum(part)
    return path


def _value(frame: NetworkInput, name: str) -> np.ndarray:
    return np.zeros(len(frame.crops), np.int64) if name == "image_index" else frame.arrays()[name]
