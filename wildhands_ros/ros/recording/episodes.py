"""The services that mark the episodes of a recording, and the latched topic with the marks."""

from __future__ import annotations

if __name__ == "__main__":  # Before the imports, which take seconds: a signal may arrive meanwhile.
    from wildhands_ros.ros.process import run

    run("wildhands_ros.ros.recording.episodes")

from collections.abc import Callable
from typing import TypeVar

import rclpy
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from ...io.errors import printable
from ...msg import EpisodeEvent
from ...recording.episodes import EpisodeBook, EpisodeError, Mark
from ...srv import StartEpisode
from ..shutdown import shut_down
from ..spinning import spin_until_signal

TOPIC = "episodes"
TIMEOUT = 5.0
"""Seconds to wait for a recorder's service, and for its response."""
DEPTH = 1000
"""Marks that a recorder still receives if it starts later."""

Response = TypeVar("Response", StartEpisode.Response, Trigger.Response)


class EpisodeServices:
    """The services episode/start, episode/stop and episode/discard of a node, and its topic episodes."""

    def __init__(self, node: Node, record: Callable[[EpisodeEvent], None] | None = None):
        """Creates the services and the publisher.

        Args:
            node: the node that offers them.
            record: called with every mark, before the service responds.
        """
        self._node, self._record = node, record
        self._book = EpisodeBook()
        qos = QoSProfile(depth=DEPTH, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._marks = node.create_publisher(EpisodeEvent, TOPIC, qos)
        node.create_service(StartEpisode, "episode/start", self._start)
        node.create_service(Trigger, "episode/stop", lambda _, response: self._respond(response, self._book.stop))
        node.create_service(Trigger, "episode/discard", lambda _, response: self._respond(response, self._book.discard))

    def finish(self) -> None:
        """Stops an episode that is still running, at the end of a recording."""
        if self._book.running:
            self._publish(self._book.stop())

    def _start(self, request: StartEpisode.Request, response: StartEpisode.Response) -> StartEpisode.Response:
        return self._respond(response, lambda: self._book.start(request.task))

    def _respond(self, response: Response, change: Callable[[], Mark]) -> Response:
        try:
            mark = change()
        except EpisodeError as error:
            response.success, response.message = False, str(error)
            return response
        self._publish(mark)
        response.success, response.message = True, f"episode {mark.episode}"
        return response

    def _publish(self, mark: Mark) -> None:
        message = EpisodeEvent(event=mark.event, episode=mark.episode, task=mark.task)
        message.header = Header(stamp=self._node.get_clock().now().to_msg())
        if self._record:
            self._record(message)
        self._marks.publish(message)
        actions = {EpisodeEvent.START: "started", EpisodeEvent.STOP: "stopped", EpisodeEvent.DISCARD: "discarded"}
        self._node.get_logger().info(f"episode {mark.episode} {actions[mark.event]}: {printable(mark.task)}")


def call(action: str, task: str = "") -> str:
    """Calls a service of a running recorder.

    Args:
        action: "start", "stop" or "discard".
        task: what is demonstrated, for "start".

    Returns:
        The message of the response.

    Raises:
        ValueError: no recorder responds, or it refuses.
    """
    rclpy.init()
    try:
        node = rclpy.create_node("wildhands_episode")
        is_start = action == "start"
        client = node.create_client(StartEpisode if is_start else Trigger, f"episode/{action}")
        if not client.wait_for_service(timeout_sec=TIMEOUT):
            raise ValueError(
                f"no recorder is running: the service {client.srv_name} does not exist; start wildhands record"
            )
        future = client.call_async(StartEpisode.Request(task=task) if is_start else Trigger.Request())
        rclpy.spin_until_future_complete(node, future, timeout_sec=TIMEOUT)
        response = future.result()
        if response is None:
            raise ValueError(f"the recorder does not respond on {client.srv_name} within {TIMEOUT:g} s")
        if not response.success:
            raise ValueError(response.message)
        return response.message
    finally:
        shut_down()


def main(arguments: list[str] | None = None) -> int:
    """Runs a node with the services until SIGINT or SIGTERM, beside a recorder such as ros2 bag record."""
    return spin_until_signal("wildhands_episodes", _make_node, arguments)


def _make_node() -> Node:
    node = rclpy.create_node("wildhands_episodes")
    EpisodeServices(node)
    return node
