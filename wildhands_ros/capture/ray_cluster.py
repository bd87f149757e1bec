"""Workers on many machines, by Ray Data (extra ray). The machines must have this package and share the folders of the recordings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from ..processes import Workers
from ..runtime.threads import use_one_thread


@contextmanager
def ray_workers(address: str) -> Iterator[Workers]:
    """One a core of a cluster: its ``address`` as HOST:PORT, "auto" for the one that this machine is in, "local" for this machine alone.

    :raises ImportError: Ray is not installed.
    :raises OSError: no cluster there.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ImportError("--ray needs Ray Data: pip install 'wildhands_ros[ray]' (or: pip install 'ray[data]')") from error
    try:
        ray.init(address, log_to_driver=False, logging_level="warning")
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ConnectionError(f"no Ray cluster answers at {address!r} ({error}); start one with: ray start --head") from error
    ray.data.DataContext.get_current().enable_progress_bars = False

    def run(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        def work(row: dict[str, Any]) -> dict[str, Any]:
            use_one_thread()
            return {"item": function(row["item"])}

        rows = [{"item": item} for item in items]
        try:
            # A block each, or one process would get several.
            yield from (row["item"] for row in ray.data.from_items(rows, override_num_blocks=len(rows)).map(work).iter_rows())
        except ray.exceptions.RayTaskError as error:
            raise getattr(error, "cause", error) from error

    try:
        yield Workers(max(1, int(ray.cluster_resources().get("CPU", 1))), run)
    finally:
        ray.shutdown()
