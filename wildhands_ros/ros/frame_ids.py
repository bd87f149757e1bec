"""Names of TF frames."""

from __future__ import annotations


def tf_frame(frame_id: str) -> str:
    """Returns a frame_id as tf2 and rviz take it: without the slash that begins it in drivers of ROS 1 origin."""
    return frame_id.lstrip("/")
