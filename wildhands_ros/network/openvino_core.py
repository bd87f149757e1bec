"""The OpenVINO runtime of this process."""

from functools import cache

import openvino


@cache
def openvino_core() -> openvino.Core:
    """Returns the one ``openvino.Core`` of this process, which is never destroyed.

    A core that loads its CPU plugin gives the calling thread a new stack for signal handlers, and sets the previous one
    again when it is destroyed. Of two cores that are not destroyed in reverse order, the second leaves the stack of the
    first, which is freed: the next signal, such as Ctrl-C or the end of a child process, then ends this process with
    SIGSEGV.
    """
    return openvino.Core()
