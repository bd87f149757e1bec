"""Implements ``wildhands calibrate-hand`` with a node: waits until the length of a hand is learned, and saves it."""

from __future__ import annotations

import time

import numpy as np
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy

from ...io.hand_files import save_hand
from ...msg import HandArray
from ...types import HandLength, Side
from ..messages import SIDES
from ..shutdown import shut_down

GOOD = 0.02
"""Standard deviation as a fraction of the length at which a hand is known."""


def learn_from_node(name: str, topic: str, sides: tuple[Side, ...], seconds: float) -> int:
    """Listens to hands until the lengths of both sides are known or the time is over, and saves them.

    Args:
        name: Name of the person.
        topic: Topic of a node with a depth camera, or of wildhands_fusion.
        sides: Hands that are wanted.
        seconds: Longest duration.

    Returns:
        The exit code.

    Raises:
        ValueError: Nothing was learned.
    """
    found: dict[Side, HandLength] = {}
    messages = 0

    def on_hands(message: HandArray) -> None:
        nonlocal messages
        messages += 1
        for hand in message.hands:
            for side, value in SIDES.items():
                if hand.side == value and np.isfinite([hand.hand_length, hand.hand_length_stddev]).all():
                    found[side] = HandLength(hand.hand_length, hand.hand_length_stddev)

    rclpy.init()
    node = rclpy.create_node("wildhands_calibrate_hand")
    node.create_subscription(HandArray, topic, on_hands, QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT))
    wanted = " and ".join(side.value for side in sides)
    print(f"hold your flat {wanted} hand into view, and turn it slowly", flush=True)
    try:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            rclpy.spin_once(node, timeout_sec=0.05)
            if all(side in found and found[side].stddev < GOOD * found[side].metres for side in sides):
                break
    finally:
        node.destroy_node()
        shut_down()
    found = {side: length for side, length in found.items() if side in sides}
    if not found:
        raise ValueError(
            f"no hands arrive on {topic}: is the node running?"
            if not messages
            else f"the hands on {topic} have no learned length: it comes from a depth camera or from two cameras"
        )
    print(save_hand(name, found))
    return 0
