"""One thread that does the slow work: jobs in their order and, between them, always the newest frame."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Worker(Generic[T]):
    """Everything that takes time happens in this one thread: making the estimator, its frames, freeing it. So no two of them ever meet.

    Jobs come before frames. Of frames only the newest waits: a slow reader never works on old ones.
    """

    def __init__(self, work: Callable[[T], None]):
        """Takes what is done with each frame; it must not raise."""
        self._work = work
        self._condition = threading.Condition()
        self._jobs: deque[tuple[Future, Callable[[], Any]]] = deque()
        self._frame: T | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="wildhands worker")
        self._thread.start()

    def put(self, frame: T) -> bool:
        """Leaves a frame to be worked on; True when that dropped one nobody had begun."""
        with self._condition:
            dropped, self._frame = self._frame is not None, frame
            self._condition.notify()
            return dropped

    def forget_frame(self) -> None:
        """Drops the frame that waits."""
        with self._condition:
            self._frame = None

    def submit(self, job: Callable[[], Any]) -> Future:
        """Has ``job`` done after those submitted before, and after the frame in work; its result or error is the future's.

        After ``stop`` the future is cancelled.
        """
        future: Future = Future()
        with self._condition:
            if self._stopped:
                future.cancel()
            else:
                self._jobs.append((future, job))
                self._condition.notify()
        return future

    def stop(self) -> None:
        """Ends the thread after what it is doing and the jobs that wait; returns when it has ended."""
        with self._condition:
            self._stopped, self._frame = True, None
            self._condition.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._stopped or self._jobs or self._frame is not None)
                if self._jobs:
                    future, job = self._jobs.popleft()
                elif self._stopped:
                    return
                else:
                    future, (frame, self._frame) = None, (self._frame, None)
            if future is None:
                self._work(frame)
                del frame  # megabytes of image are not kept until the next one
            elif future.set_running_or_notify_cancel():
                try:
                    future.set_result(job())
                except Exception as error:
                    future.set_exception(error)
            future = job = None
