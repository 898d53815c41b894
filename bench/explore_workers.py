"""What two workers bring against one, for ``make bench-explore``.

Runs with one and with two workers take turns, and the shorter ones count. Other programs make both longer: where
Linux tells how long each process waited for a processor, that share of the time is left out, and an idle machine has
none of it. Numbers formats, search and all are in the time, and the workers' start.
"""

import os
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

REPEATS = 2
EVERY = 0.2
"""Seconds between two looks at the processes."""


class Watch:
    """The time of a body, and how long this process and its children, with what they start, waited for a processor.

    Attributes
    ----------
    seconds : float
        By the clock.
    undisturbed : float
        Without the share that its processes waited.
    """

    def __enter__(self) -> "Watch":
        self._seen, self._over = {}, threading.Event()
        self._look()
        self._first = dict(self._seen)
        self._begun = time.monotonic()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.seconds = time.monotonic() - self._begun
        self._over.set()
        self._thread.join()
        self._look()
        ran, waited = (sum(now[n] - self._first.get(one, (0, 0))[n] for one, now in self._seen.items()) for n in (0, 1))
        self.undisturbed = self.seconds * ran / (ran + waited) if ran else self.seconds

    def _watch(self):
        while not self._over.wait(EVERY):
            self._look()

    def _look(self):
        """Nanoseconds on a processor and waiting for one, of every thread of this process and of its children."""
        waiting = [os.getpid()]
        while waiting:
            pid = waiting.pop()
            for thread in Path(f"/proc/{pid}/task").glob("*"):
                with suppress(OSError):
                    ran, waited, _ = map(int, (thread / "schedstat").read_text().split())
                    self._seen[pid, thread.name] = (ran, waited)
                    waiting += map(int, (thread / "children").read_text().split())


def compared(run: Callable[[str, int], object]) -> dict[str, list[float]]:
    """Seconds of one worker and of two: ``clock`` and ``undisturbed``, the shorter ones of some runs.

    Parameters
    ----------
    run : callable (folder, jobs)
        With an empty folder for its results.
    """
    found: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
    for _ in range(REPEATS):
        for jobs, times in found.items():
            with tempfile.TemporaryDirectory() as folder, Watch() as watch:
                run(folder, jobs)
            times.append((watch.undisturbed, watch.seconds))
    best = [min(times) for times in found.values()]
    return {"undisturbed": [one for one, _ in best], "clock": [seconds for _, seconds in best]}
