"""Where tasks are worked on: in this process, or by workers of this machine.

A worker of loky's has an executor of its own. In an executor of several workers, the death of one ends what all of
them do, and nobody knows whose task it was.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, wait
from contextlib import contextmanager
from typing import Protocol

from joblib.externals.loky import BrokenProcessPool, ProcessPoolExecutor
from threadpoolctl import threadpool_limits

from .task import failure, perform

_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
"""What libraries read when they are loaded."""


class Pool(Protocol):
    """Workers, asked from one thread."""

    attempts: int
    """How often a task may end its worker."""

    @property
    def free(self) -> int:
        """How many tasks more it takes now."""

    def submit(self, number: int, *job: str) -> None:
        """Begin with a task, known by its number; ``job`` as for :func:`.task.perform`."""

    def finished(self) -> list[tuple[int, str | None]]:
        """Wait for a task; numbers and answers of all that are done, None where the worker died."""


class Here:
    """This process."""

    attempts = 1

    def __init__(self):
        self._done = []

    @property
    def free(self) -> int:
        """One, or none until its answer was fetched."""
        return 1 - len(self._done)

    def submit(self, number: int, *job: str) -> None:
        """Perform a task."""
        self._done.append((number, perform(*job)))

    def finished(self) -> list[tuple[int, str | None]]:
        """Its answer."""
        done, self._done = self._done, []
        return done


class Workers:
    """Processes of this machine.

    Parameters
    ----------
    jobs : int
        How many.
    """

    attempts = 3

    def __init__(self, jobs: int):
        self._jobs, self._idle, self._busy = jobs, [], {}

    @property
    def free(self) -> int:
        """Workers without a task."""
        return self._jobs - len(self._busy)

    def submit(self, number: int, *job: str) -> None:
        """Give a task to a worker, which is started if need be."""
        executor = self._idle.pop() if self._idle else self._start()
        try:
            future = executor.submit(perform, *job)
        except BrokenProcessPool:  # it died while it had nothing to do
            executor = self._start()
            future = executor.submit(perform, *job)
        self._busy[future] = (number, executor)

    def finished(self) -> list[tuple[int, str | None]]:
        """Answers, in the order of the tasks."""
        done = []
        for future in wait(self._busy, return_when=FIRST_COMPLETED).done:
            number, executor = self._busy.pop(future)
            error = future.exception()
            if isinstance(error, BrokenProcessPool):
                done.append((number, None))
                executor.shutdown(wait=False)
            else:
                done.append((number, failure(error) if error else future.result()))
                self._idle.append(executor)
        return sorted(done)

    def close(self, kill: bool) -> None:
        """End all workers; with ``kill`` in the middle of their tasks."""
        for executor in [*self._idle, *(executor for _, executor in self._busy.values())]:
            executor.shutdown(kill_workers=kill)

    @staticmethod
    def _start():
        return ProcessPoolExecutor(max_workers=1, env=_ONE_THREAD, initializer=_begin, initargs=(os.getpid(),))


def _begin(parent):
    """What a worker does first: the keyboard's interrupt is for the process that asks, and without it there is none."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent):
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


@contextmanager
def workers(jobs: int, tasks: int) -> Iterator[Pool]:
    """Workers of this machine for so many tasks, as long as the body goes on; with one job this process alone."""
    if jobs == 1:
        with threadpool_limits(1):
            yield Here()
        return
    pool, failed = Workers(min(jobs, tasks)), True
    try:
        yield pool
        failed = False
    finally:
        pool.close(kill=failed)
