"""A name for a network as it is."""

import hashlib

from torch import nn


def weights_digest(network: nn.Module) -> str:
    """Of structure and weights."""
    state = hashlib.sha256(repr(network).encode())
    for name, tensor in network.state_dict().items():
        state.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return state.hexdigest()
