"""Node processes in their own DDS domain, and a client that communicates with them."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy


def _reserve_domain() -> int:
    """Returns a DDS domain that no other test run on this machine uses, since its nodes would mix with ours."""
    for number in random.sample(range(1, 102), 101):
        path = Path(tempfile.gettempdir(), f"wildhands_domain_{os.getuid()}_{number}.lock")
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)  # Stays open as long as this process runs.
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
        else:
            return number
    raise RuntimeError("101 test runs use all domains")


DOMAIN = _reserve_domain()
ENVIRONMENT = {
    "ROS_DOMAIN_ID": str(DOMAIN),
    "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    # Large images are sent in one piece, since datagrams get lost on a busy machine.
    "FASTDDS_BUILTIN_TRANSPORTS": "LARGE_DATA?max_msg_size=8MB&sockets_size=8MB&non_blocking=true",
}


PATIENCE = 8.0
"""Seconds after which a service request is repeated."""
MOST_PER_TURN = 0.5
"""Seconds that a turn of ``Client.until`` counts at most: while the whole machine stalls, nobody can do anything."""


class NodeProcess:
    """wildhands_node, or another Python ``program``, in a process whose output goes to a file."""

    def __init__(
        self,
        log: Path,
        namespace: str = "",
        remappings: tuple[str, ...] = (),
        program=("-m", "wildhands_ros.ros.node"),
        **parameters,
    ):
        arguments = [
            word for name, value in parameters.items() for word in ("-p", f"{name.replace('__', '.')}:={value}")
        ]
        arguments += [word for remapping in remappings for word in ("-r", remapping)]
        if namespace:
            arguments += ["-r", f"__ns:={namespace}"]
        self._log = log
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, *program, "--ros-args", *arguments],
                env={**os.environ, **ENVIRONMENT},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._log.read_text()

    def stop(self, number: int = signal.SIGINT, timeout: float = 120) -> int:
        """Sends a signal and returns the exit code."""
        self.process.send_signal(number)
        return self.wait(timeout)

    def wait(self, timeout: float = 120) -> int:
        """Waits until the process ends and returns the exit code."""
        try:
            return self.process.wait(timeout)
        finally:
            self.process.kill()


class Client:
    """A node of the test that stores all received messages by topic."""

    def __init__(self):
        self._context = rclpy.Context()
        os.environ.update(ENVIRONMENT)
        rclpy.init(context=self._context, domain_id=DOMAIN)
        self.node = rclpy.create_node("test_client", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self.received: dict[str, list] = defaultdict(list)

    def close(self) -> None:
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)

    def listen(self, topic: str, kind: type, latched: bool = False) -> None:
        durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
        self.node.create_subscription(
            kind, topic, self.received[topic].append, QoSProfile(depth=200, durability=durability)
        )

    def publisher(self, topic: str, kind: type, reliable: bool = True):
        reliability = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        return self.node.create_publisher(kind, topic, QoSProfile(depth=5, reliability=reliability))

    def until(
        self,
        done: Callable[[], bool],
        what: str,
        timeout: float = 90,
        meanwhile: Callable[[], None] | None = None,
        every: float = 0.2,
    ) -> None:
        """Spins until ``done``, and calls ``meanwhile`` every ``every`` seconds.

        Fails after ``timeout`` seconds, not counting those for which this process was stalled.
        """
        left, due = timeout, 0.0
        while not done():
            assert left > 0, f"not reached within {timeout:g} s: {what}"
            begun = time.monotonic()
            if meanwhile and begun >= due:
                meanwhile()
                due = time.monotonic() + every
            self._executor.spin_once(timeout_sec=0.02)
            left -= min(time.monotonic() - begun, MOST_PER_TURN)

    def call(self, kind: type, service: str, request=None, timeout: float = 90):
        """Calls a service and returns its response.

        Repeats the request, since DDS drops a response that is sent before writer and reader have matched.
        """
        client = self.node.create_client(kind, service)
        try:
            self.until(client.service_is_ready, f"{service} is there", timeout)
            answers = []
            ask = lambda: answers.append(client.call_async(request or kind.Request()))  # noqa: E731
            self.until(
                lambda: any(answer.done() for answer in answers), f"{service} answers", timeout, ask, every=PATIENCE
            )
            return next(answer.result() for answer in answers if answer.done())
        finally:
            self.node.destroy_client(client)

    def change_state(self, node: str, transition: int) -> bool:
        """Performs a lifecycle transition; returns whether it succeeded."""
        return self.call(
            ChangeState, f"{node}/change_state", ChangeState.Request(transition=Transition(id=transition))
        ).success

    def state(self, node: str) -> str:
        return self.call(GetState, f"{node}/get_state").current_state.label

    def set_parameters(self, node: str, **values) -> list[str]:
        """Sets parameters one by one; returns the reason for each rejection, empty if the parameter was set."""
        items = [Parameter(name.replace("__", "."), value=value).to_parameter_msg() for name, value in values.items()]
        results = self.call(SetParameters, f"{node}/set_parameters", SetParameters.Request(parameters=items)).results
        return ["" if result.successful else result.reason or "rejected" for result in results]

    def diagnostics(self, name: str) -> dict[str, str]:
        """Last values of a node, with its "message" and "level"; empty before the first."""
        for array in reversed(self.received["/diagnostics"]):
            for status in array.status:
                if status.name == name:
                    return {item.key: item.value for item in status.values} | {
                        "message": status.message,
                        "level": status.level,
                    }
        return {}
