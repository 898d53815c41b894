"""Workers of a dask.distributed cluster, which somebody else has started."""

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from threadpoolctl import threadpool_limits

from ..errors import ConfigError, ToolError
from .task import failure, perform

if TYPE_CHECKING:
    from distributed import Client

ANSWER_S = 10.0
"""Seconds in which a scheduler must answer."""
WORKER_S = 10.0
"""Seconds in which it must then have a worker."""
ASK_S = 1.0
"""Seconds between two questions for the number of workers."""
WORKERLESS_S = 60.0
"""Seconds that a cluster may be without any worker, in the middle of a campaign."""


class Cluster:
    """Tasks on the workers of a scheduler, at most one a thread of theirs: what waits, waits here.

    Parameters
    ----------
    client : distributed.Client
    address : str
        For messages.
    """

    attempts = 1  # the scheduler gives a task to other workers by itself, as often as its configuration says

    def __init__(self, client: "Client", address: str):
        self._client, self._address, self._busy, self._done = client, address, {}, SimpleQueue()
        self._threads, self._asked, self._workers_seen = 0, -ASK_S, time.monotonic()

    @property
    def free(self) -> int:
        """Threads of the workers that there are now, without those that have a task."""
        return self._count() - len(self._busy)

    def _count(self):
        """Threads of all workers, asked for from time to time."""
        now = time.monotonic()
        if now - self._asked >= ASK_S:
            try:
                self._threads, self._asked = sum(self._client.nthreads().values()), now
            except (OSError, TimeoutError) as error:
                raise self._lost() from error
        if self._threads:
            self._workers_seen = now
        elif now - self._workers_seen > WORKERLESS_S:
            found = f"no worker for {WORKERLESS_S:.0f} s"
            raise ToolError(self._address, found, f"must have workers: start some (dask worker {self._address})")
        return max(1, self._threads)

    def submit(self, number: int, *job: str) -> None:
        """Give a task to the scheduler."""
        future = self._client.submit(_perform, *job, pure=False, key=f"lstm-hw-{number}-{id(self)}")
        self._busy[future] = number
        future.add_done_callback(self._done.put)

    def cancel(self) -> None:
        """Take back what is not done."""
        if self._busy and self._client.status == "running":
            with suppress(OSError, TimeoutError):
                self._client.cancel(list(self._busy), force=True)

    def finished(self) -> list[tuple[int, str | None]]:
        """The answer of the first that is done."""
        from distributed import KilledWorker

        future = None
        while future is None:
            with suppress(Empty):
                future = self._done.get(timeout=ASK_S)
            self._count()
        number = self._busy.pop(future)
        if future.cancelled():
            raise self._lost()
        error = future.exception()
        if isinstance(error, KilledWorker):
            return [(number, None)]
        return [(number, failure(error) if error else future.result())]

    def _lost(self):
        rule = "must stay: start it again, and run again; what is done is kept where a cache was given"
        return ToolError(self._address, "the scheduler went away", rule)


def _perform(*job):
    """On a worker, however it was started."""
    _one_thread()
    try:
        return perform(*job)
    except SystemExit as error:  # it would end the worker
        return failure(error)


@cache
def _one_thread():
    threadpool_limits(1)


def check_scheduler(address: str) -> None:
    """Refuse an address at which no scheduler answers.

    Raises
    ------
    ConfigError
        No address, or that of something else.
    ToolError
        dask.distributed is not installed, or nobody answers there.
    """
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        rule = "must be installed: pip install 'lstm-hw[cluster]'"
        raise ToolError("cluster", f"dask.distributed is missing ({error})", rule) from error
    rule = f"must be the address of a dask scheduler (dask scheduler prints it), and answer within {ANSWER_S:.0f} s"
    with _quiet():
        try:
            kind = asyncio.run(asyncio.wait_for(_kind(address), ANSWER_S))
        except (OSError, TimeoutError) as error:
            raise ToolError(f"cluster {address}", "no scheduler can be reached", rule) from error
        except (ValueError, TypeError) as error:
            raise ConfigError("cluster", f"{address!r} ({error})", rule) from error
    if kind != "Scheduler":
        raise ConfigError("cluster", f"{address!r}, which is a {kind}", rule)


@contextmanager
def workers_of(address: str) -> Iterator[Cluster]:
    """The workers of a scheduler, as long as the body goes on; what they have not begun by then they never begin.

    Parameters
    ----------
    address : str
        As ``"tcp://host:8786"``.

    Raises
    ------
    ConfigError
        No address.
    ToolError
        dask.distributed is not installed, nobody answers there, or it has no workers.
    """
    with _quiet():
        check_scheduler(address)
        import dask
        from distributed import Client

        # A task may be large: it holds all that a worker needs.
        large = dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TB"})
        with large, Client(address, timeout=ANSWER_S, set_as_default=False) as client:
            try:
                client.wait_for_workers(1, timeout=WORKER_S)
            except TimeoutError as error:
                rule = f"must have workers: dask worker {address}"
                raise ToolError(f"cluster {address}", "a scheduler without workers", rule) from error
            pool = Cluster(client, f"cluster {address}")
            try:
                yield pool
            finally:
                pool.cancel()


async def _kind(address):
    """What is at an address. A client would wait without end where somebody listens who is no scheduler."""
    from distributed import Security
    from distributed.core import rpc

    async with rpc(address, connection_args=Security().get_connection_args("client")) as there:
        return (await there.identity())["type"]


@contextmanager
def _quiet():
    """What fails is told once, as an error of ours; dask tells all that it tries."""
    loggers = [logging.getLogger(name) for name in ("distributed", "tornado")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
