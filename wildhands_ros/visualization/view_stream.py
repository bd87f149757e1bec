"""``wildhands view``: shows the hands of a source in the browser."""

from __future__ import annotations

import time
import webbrowser
from collections.abc import Callable

from ..estimator import Estimator
from ..geometry.camera import Camera
from ..io.sources import Frame, FrameSource
from .viewer import HandViewer

STILL_SECONDS = 2.0
"""Seconds for which a still image is shown."""


def view_stream(
    estimator: Estimator,
    source: FrameSource,
    camera_of: Callable[[Frame], Camera],
    host: str,
    port: int,
    open_browser: bool,
) -> None:
    """Shows the hands of a source in real time at most; the last ones stay until Ctrl-C."""
    viewer = HandViewer(estimator.faces, host, port)
    print(f"open {viewer.url} in a browser; press Ctrl-C to stop", flush=True)
    if open_browser:
        webbrowser.open(viewer.url)
    try:
        due = time.monotonic()
        for frame in source:
            estimate = estimator(frame.image, camera_of(frame), frame.stamp)
            viewer.show(frame.image, estimate)
            due = max(due + (1 / source.fps if source.fps else STILL_SECONDS), time.monotonic())
            if source.count is not None:  # a camera sets the pace itself
                time.sleep(max(0.0, due - time.monotonic()))
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        pass
    finally:
        viewer.close()
