"""Loads and frees the estimator in the worker's thread."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING

from .diagnostics import Health
from .parameters import Parameters
from .worker import Worker

if TYPE_CHECKING:
    from ..estimator import Estimator


def make_estimator(parameters: Parameters) -> Estimator:
    """Creates the estimator that the parameters describe, ready for its first image.

    Raises:
        ValueError, OSError, ImportError: a file or a setting cannot be used; the message says what to do.
    """
    # Imported late: importing torch takes seconds, and the node should appear in the graph before that.
    from ..estimator import Estimator

    estimator = Estimator(parameters.estimator)
    estimator.warm_up()
    return estimator


class Loader:
    """Owns the estimator: creates it on request and frees it."""

    def __init__(
        self, make: Callable[[Parameters], Estimator], worker: Worker, health: Health, log: Callable[[str], None]
    ):
        """Initialises it without an estimator.

        Args:
            make: creates an estimator from the parameters.
            worker: runs ``make``.
            health: receives the outcome.
            log: called with the text of each failure.
        """
        self._make, self._worker, self._health, self._log = make, worker, health, log
        self._job: Future[Estimator] | None = None
        self._released: list[Future[Estimator]] = []

    def begin(self, parameters: Parameters) -> Future[Estimator]:
        """Starts to create the estimator, unless that has been started already; returns the job."""
        if self._job is None:
            self.free()
            self._job = self._worker.submit(partial(self._make, parameters))
        return self._job

    def get(self, parameters: Parameters) -> Estimator | None:
        """Returns the estimator, waiting for it if necessary; if it cannot be created, reports why and returns None."""
        try:
            estimator = self.begin(parameters).result()
        except Exception as error:
            self._job = None
            expected = isinstance(error, ValueError | OSError | ImportError)
            text = " ".join(str(error).split()) if expected else f"{type(error).__name__}: {error}"
            self._health.set_failure(f"no hands will be published: {text}")
            trace = "" if expected else "\n" + "".join(traceback.format_exception(error))
            self._log(f"no hands will be published: {text}{trace}")
            return None
        self._health.estimator_loaded(estimator.device)
        return estimator

    def release(self) -> None:
        """Marks the estimator as no longer needed; ``free`` frees it."""
        if self._job is not None:
            self._released.append(self._job)
            self._job = None
            self._health.estimator_freed()

    def free(self) -> None:
        """Frees released estimators after the current frame.

        Call it after a service response has been sent: freeing can stall all threads.
        """
        while self._released:
            self._worker.submit(partial(_close, self._released.pop()))


def _close(job: Future[Estimator]) -> None:
    if not job.cancelled() and job.exception() is None:
        job.result().close()
