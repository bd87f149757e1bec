"""A node whose estimator takes a minute for every image, to be started as a process by the tests of its end."""

from __future__ import annotations

from wildhands_ros.ros.process import run_main


def start() -> int:
    """Imported here, as ``run`` does it: signals may arrive meanwhile."""
    import time

    from live_node import FakeEstimator

    from wildhands_ros.ros.node import main

    class Busy(FakeEstimator):
        def __call__(self, *arguments, **options):
            print("busy", flush=True)
            time.sleep(60)

    return main(None, Busy)


if __name__ == "__main__":
    run_main(start)
