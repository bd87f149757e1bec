"""Services that mark the episodes of a recording, and the latched topic with the marks."""

from __future__ import annotations

import sys
from collections.abc import Callable

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from ...msg import EpisodeEvent
from ...recording.episodes import EpisodeBook, EpisodeError, Mark
from ...srv import StartEpisode

TOPIC = "episodes"
ANSWER = 5.0
"""Seconds to wait for a recorder's service, and for its answer."""
KEPT = 1000
"""Marks that a recorder which starts later still gets."""


class EpisodeServices:
    """episode/start, episode/stop and episode/discard of a node, and its topic episodes."""

    def __init__(self, node: Node, record: Callable[[EpisodeEvent], None] | None = None):
        """Gives every mark to ``record`` too, before the service answers."""
        self._node, self._record = node, record
        self._book = EpisodeBook()
        qos = QoSProfile(depth=KEPT, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._marks = node.create_publisher(EpisodeEvent, TOPIC, qos)
        node.create_service(
            StartEpisode,
            "episode/start",
            lambda request, answer: self._answer(answer, lambda: self._book.start(request.task)),
        )
        node.create_service(Trigger, "episode/stop", lambda _, answer: self._answer(answer, self._book.stop))
        node.create_service(Trigger, "episode/discard", lambda _, answer: self._answer(answer, self._book.discard))

    def finish(self) -> None:
        """Stops an episode that is still running, at the end of a recording."""
        if self._book.running:
            self._mark(self._book.stop())

    def _answer(self, answer, change: Callable[[], Mark]):
        try:
            mark = change()
        except EpisodeError as error:
            answer.success, answer.message = False, str(error)
            return answer
        self._mark(mark)
        answer.success, answer.message = True, f"episode {mark.episode}"
        return answer

    def _mark(self, mark: Mark) -> None:
        message = EpisodeEvent(event=mark.event, episode=mark.episode, task=mark.task)
        message.header = Header(stamp=self._node.get_clock().now().to_msg())
        if self._record:
            self._record(message)
        self._marks.publish(message)
        word = {EpisodeEvent.START: "started", EpisodeEvent.STOP: "stopped", EpisodeEvent.DISCARD: "discarded"}[
            mark.event
        ]
        self._node.get_logger().info(f"episode {mark.episode} {word}: {mark.task}")


def call(action: str, task: str = "") -> str:
    """Calls one of the services, "start" (with the task), "stop" or "discard", of a recorder that is running; returns its answer.

    :raises ValueError: no recorder answers, or it refuses.
    """
    rclpy.init()
    try:
        node = rclpy.create_node("wildhands_episode")
        kind = StartEpisode if action == "start" else Trigger
        client = node.create_client(kind, f"episode/{action}")
        if not client.wait_for_service(timeout_sec=ANSWER):
            raise ValueError(f"no recorder is running: nobody serves {client.srv_name}")
        future = client.call_async(StartEpisode.Request(task=task) if action == "start" else Trigger.Request())
        rclpy.spin_until_future_complete(node, future, timeout_sec=ANSWER)
        if (answer := future.result()) is None:
            raise ValueError(f"the recorder does not answer on {client.srv_name}")
        if not answer.success:
            raise ValueError(answer.message)
        return answer.message
    finally:
        rclpy.try_shutdown()


def main(arguments: list[str] | None = None) -> int:
    """Serves until SIGINT or SIGTERM, beside a recorder such as ros2 bag record; returns the exit code."""
    rclpy.init(args=arguments)
    node = rclpy.create_node("wildhands_episodes")
    services = EpisodeServices(node)
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        if rclpy.ok():
            services.finish()
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
