"""The estimator's coming and going, in the worker's thread."""

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
    """The estimator that the parameters ask for, ready for its first image.

    :raises ValueError, OSError, ImportError: a file or a setting cannot be used; the message says what to do.
    """
    # Late: torch takes seconds to import, and the node should be seen before.
    from ..estimator import Estimator

    estimator = Estimator(parameters.estimator)
    estimator.warm_up()
    return estimator


class Loader:
    """Has one estimator made, hands it out, and has it freed."""

    def __init__(
        self, make: Callable[[Parameters], Estimator], worker: Worker, health: Health, log: Callable[[str], None]
    ):
        """Takes what makes an estimator, where, whom to tell of it, and where failures are logged."""
        self._make, self._worker, self._health, self._log = make, worker, health, log
        self._job: Future | None = None
        self._useless: list[Future] = []

    def begin(self, parameters: Parameters) -> Future:
        """The job of making the estimator: the one under way or done, or else a new one."""
        if self._job is None:
            self.free()
            self._job = self._worker.submit(partial(self._make, parameters))
        return self._job

    def get(self, parameters: Parameters) -> Estimator | None:
        """The estimator, waiting for it if need be; None where it cannot be made, which is then told."""
        try:
            estimator = self.begin(parameters).result()
        except Exception as error:
            self._job = None
            expected = isinstance(error, ValueError | OSError | ImportError)
            text = " ".join(str(error).split()) if expected else f"{type(error).__name__}: {error}"
            self._health.failed(f"no hands will be published: {text}")
            trace = "" if expected else "\n" + "".join(traceback.format_exception(error))
            self._log(f"no hands will be published: {text}{trace}")
            return None
        self._health.loaded(estimator.device)
        return estimator

    def give_up(self) -> None:
        """The estimator is not needed any more."""
        if self._job is not None:
            self._useless.append(self._job)
            self._job = None
            self._health.freed()

    def free(self) -> None:
        """Has what was given up freed, after the frame in work. Not before a service has answered: it may hold up all threads."""
        while self._useless:
            self._worker.submit(partial(_close, self._useless.pop()))


def _close(job: Future) -> None:
    if not job.cancelled() and job.exception() is None:
        job.result().close()
