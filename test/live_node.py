"""Runs the real node over DDS with a fake estimator that the test controls, in this process or in its own."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from ros_graph import DOMAIN
from ros_samples import hand

from wildhands_ros.hand_model.asset import open_hand
from wildhands_ros.ros import node
from wildhands_ros.ros.node import WildHandsNode, main
from wildhands_ros.ros.process import run_main
from wildhands_ros.types import FrameEstimate, Side


class FakeEstimator:
    """Returns one right hand for every image, without delay."""

    device = "fake"

    def __init__(self, parameters=None):
        self.smoothing = None
        self.hand_model = {side: open_hand(side) for side in Side}
        self.errors: list[Exception] = []
        """Errors that the next frames raise, one each."""
        self.hold = threading.Event()
        """While it is cleared, the processing of a frame does not end."""
        self.hold.set()
        self.in_work = threading.Event()
        self.calls: list[tuple] = []
        """Camera, stamp and detections of each frame."""
        self.depths: list = []
        """Depth image of each frame, or why there is none."""
        self.resets = 0
        self.broken = False
        """Whether ``reset`` fails too."""
        self.closed = False

    @property
    def faces(self):
        return {side: asset.faces for side, asset in self.hand_model.items()}

    def reset(self):
        self.resets += 1
        if self.broken:
            raise RuntimeError("broken for good")

    def close(self):
        assert not self.closed
        self.closed = True

    def __call__(self, image, camera, stamp=None, detections=None, camera_pose=None, depth=None):
        assert not self.closed, "called after close"
        self.calls.append((camera, stamp, detections))
        if depth is not None:
            self.depths.append(depth())
        self.in_work.set()
        assert self.hold.wait(60)
        if self.errors:
            raise self.errors.pop(0)
        return FrameEstimate((hand(Side.RIGHT),), camera, 0, {"find": 0.002, "predict": 0.001})


class LiveNode:
    """The node in its own thread; ``estimators`` lists those that it has created."""

    def __init__(self, namespace: str, make_estimator=FakeEstimator, **parameters):
        self.estimators: list[FakeEstimator] = []
        self.fails = False
        """Whether no further estimator can be created."""

        def make(parameters):
            if self.fails:
                raise ValueError("no further estimator")
            estimator = make_estimator(parameters)
            self.estimators.append(estimator)
            return estimator

        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=DOMAIN)
        node.DIAGNOSTICS_PERIOD = 0.1  # Saves the tests a second at each step.
        overrides = [
            rclpy.parameter.Parameter(name.replace("__", "."), value=value) for name, value in parameters.items()
        ]
        self.node = WildHandsNode(make, namespace=namespace, context=self._context, parameter_overrides=overrides)
        self.error: Exception | None = None
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin)
        self._thread.start()

    @property
    def estimator(self) -> FakeEstimator:
        return self.estimators[-1]

    def close(self) -> None:
        rclpy.shutdown(context=self._context)
        self._thread.join(30)
        for estimator in self.estimators:
            estimator.hold.set()
        self.node.close()
        self.node.destroy_node()
        assert self.error is None, self.error

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            pass
        except Exception as error:
            if self._context.ok():  # Publishing fails once the context is shut down.
                self.error = error


def held_up(by: Path):
    """Returns a function that creates fake estimators; it blocks as long as a file exists."""

    def make(parameters):
        while by.exists():
            time.sleep(0.02)
        return FakeEstimator()

    return make


if __name__ == "__main__":  # python live_node.py FILE --ros-args ...
    run_main(lambda: main(sys.argv[2:], held_up(Path(sys.argv[1]))))
