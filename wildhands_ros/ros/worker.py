"""A thread for slow work: jobs in order and, between jobs, the latest frame."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass
class _Job(Generic[T]):
    call: Callable[[], T]
    future: Future[T] = field(default_factory=Future)

    def run(self) -> None:
        if self.future.set_running_or_notify_cancel():
            try:
                self.future.set_result(self.call())
            except Exception as error:
                self.future.set_exception(error)


class Worker:
    """Runs jobs and processes frames in one thread, so that these never overlap.

    Jobs are run before frames. Only the latest frame waits: a slow estimator never works on old images.

    Args:
        name: name of the thread.
    """

    def __init__(self, name: str) -> None:
        self._condition = threading.Condition()
        self._jobs: deque[_Job] = deque()
        self._frame: Callable[[], object] | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name=name)
        self._thread.start()

    def put_frame(self, process: Callable[[], object]) -> bool:
        """Schedules the processing of a frame in place of a frame that still waits.

        Args:
            process: processes the frame; must not raise.

        Returns:
            Whether a waiting frame was dropped.
        """
        with self._condition:
            dropped, self._frame = self._frame is not None, process
            self._condition.notify()
            return dropped

    def drop_frame(self) -> None:
        """Drops the waiting frame, if there is one."""
        with self._condition:
            self._frame = None

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Runs ``call`` after earlier jobs and the current frame; the future receives its result or error.

        After ``stop`` the future is cancelled.
        """
        job = _Job(call)
        with self._condition:
            if self._stopped:
                job.future.cancel()
            else:
                self._jobs.append(job)
                self._condition.notify()
        return job.future

    def stop(self, timeout: float | None = None) -> bool:
        """Finishes the work in progress and the waiting jobs, then ends the thread.

        Args:
            timeout: seconds to wait for it; None: as long as it takes.

        Returns:
            Whether the thread has ended.
        """
        with self._condition:
            self._stopped, self._frame = True, None
            self._condition.notify()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (work := self._next()) is not None:
            work()
            del work  # Otherwise a frame's image (megabytes) would be kept until the next one.

    def _next(self) -> Callable[[], object] | None:
        """Waits for work; returns None after ``stop`` once all jobs are done."""
        with self._condition:
            self._condition.wait_for(lambda: self._stopped or self._jobs or self._frame is not None)
            if self._jobs:
                return self._jobs.popleft().run
            if self._stopped:
                return None
            frame, self._frame = self._frame, None
            return frame
