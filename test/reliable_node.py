"""Runs a program whose subscriptions drop nothing: ``python reliable_node.py FILE_OR_MODULE [ARGUMENT ...]``.

The nodes keep the newest messages only, so that most of a flood of damaged ones would not reach them.
"""

import runpy
import sys

from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy

EVERYTHING = QoSProfile(history=HistoryPolicy.KEEP_ALL, depth=0, reliability=ReliabilityPolicy.RELIABLE)


def main() -> None:
    """Replaces the QoS of volatile subscriptions, and runs the program."""
    original = Node.create_subscription

    def create_subscription(self, kind, topic, callback, qos, **options):
        is_volatile = isinstance(qos, QoSProfile) and qos.durability == EVERYTHING.durability
        return original(self, kind, topic, callback, EVERYTHING if is_volatile else qos, **options)

    Node.create_subscription = create_subscription
    program = sys.argv[1]
    sys.argv = sys.argv[1:]
    if program.endswith(".py"):
        runpy.run_path(program, run_name="__main__")
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
