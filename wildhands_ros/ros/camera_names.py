"""Names of several cameras: the namespaces of their nodes. Standard library only: launch files import it."""

from __future__ import annotations

import re
from collections.abc import Iterable


def camera_names(texts: Iterable[str]) -> list[str]:
    """Returns the names of several cameras without slashes at their ends.

    Raises:
        ValueError: There are none, one is not a namespace, or two are the same.
    """
    names = [text.strip().strip("/") for text in texts if text.strip()]
    invalid = [name for name in names if not re.fullmatch(r"[A-Za-z]\w*(/[A-Za-z]\w*)*", name)]
    if not names or invalid or len(set(names)) < len(names):
        raise ValueError("expected distinct names such as left and right, of letters, digits and _")
    return names


def frame_prefix(camera: str) -> str:
    """Returns the ``tf_prefix`` of a camera's node."""
    return f"{camera.replace('/', '_')}_"
