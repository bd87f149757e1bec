"""Workers on many machines, with Ray Data (extra ray).

The machines must have this package and share the folders of the recordings.
"""

from __future__ import annotations

import logging
import pickle
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from ..runtime.processes import Workers
from ..runtime.threads import use_one_thread


@contextmanager
def ray_workers(address: str) -> Iterator[Workers]:
    """Provides one worker per core of a Ray cluster.

    Args:
        address: HOST:PORT; "auto" for the cluster that this machine belongs to; "local" for this machine only.

    Raises:
        ImportError: Ray is not installed.
        OSError: no cluster answers at this address.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ImportError(
            "--ray needs Ray Data: pip install 'wildhands_ros[ray]' (or: pip install 'ray[data]')"
        ) from error
    try:
        host, _, port = address.rpartition(":")
        if host and "/" not in host:
            # Ray itself retries for many minutes.
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address, log_to_driver=False, logging_level="warning")
    except (OSError, ValueError, RuntimeError) as error:
        raise ConnectionError(
            f"no Ray cluster answers at {address!r} ({error}); start one with: ray start --head"
        ) from error
    # Ray counts blocks; the caller shows a bar that counts frames.
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)

    def run(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        def work(row: dict[str, bytes]) -> dict[str, bytes]:
            use_one_thread()
            try:
                return {"found": pickle.dumps((function(pickle.loads(row["item"])), None))}
            except Exception as error:  # Ray would wrap it in an error of its own
                return {"found": pickle.dumps((None, error))}

        rows = [{"item": pickle.dumps(item)} for item in items]
        # One block per item, or one process would get several items.
        for row in ray.data.from_items(rows, override_num_blocks=len(rows)).map(work).iter_rows():
            found, error = pickle.loads(row["found"])
            if error is not None:
                raise error
            yield found

    try:
        yield Workers(max(1, int(ray.cluster_resources().get("CPU", 1))), run)
    finally:
        ray.shutdown()
