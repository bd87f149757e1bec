"""The error of every reader of files and messages."""

from __future__ import annotations


class InputError(ValueError):
    """An input cannot be used; the message says which one, why, and what to do.

    Example:
        >>> from wildhands_ros import InputError, load_image
        >>> try:
        ...     load_image("camera.yaml")
        ... except InputError:
        ...     print("not an image")
        not an image
    """
