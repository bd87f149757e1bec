"""The OpenVINO runtime of this process."""

from functools import cache
from pathlib import Path

import openvino

from .onnx_file import unusable


@cache
def openvino_core() -> openvino.Core:
    """Returns the one ``openvino.Core`` of this process, which is never destroyed.

    A core that loads its CPU plugin gives the calling thread a new stack for signal handlers, and sets the previous one
    again when it is destroyed. Of two cores that are not destroyed in reverse order, the second leaves the stack of the
    first, which is freed: the next signal, such as Ctrl-C or the end of a child process, then ends this process with
    SIGSEGV.
    """
    return openvino.Core()


def read_onnx(path: Path) -> openvino.Model:
    """Reads an ONNX file.

    Raises:
        ValueError: OpenVINO cannot use the graph in the file.
    """
    try:
        return openvino_core().read_model(path)
    except RuntimeError as error:
        raise ValueError(unusable(path, "OpenVINO", error)) from error
