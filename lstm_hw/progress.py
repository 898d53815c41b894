"""How far long work is: a bar on a terminal, a line every few seconds where stderr is a file or a pipe."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import TextIO

from tqdm import tqdm

EVERY = 5.0
"""Seconds between two lines."""

_STAGES = []
"""Those that go on: of stages within one another the innermost speaks."""


def rest(first: tuple[float, int, int], last: tuple[float, int, int], now: float) -> float | None:
    """Seconds that are left, about, of the first and the last count: time, done, total; None if nobody knows.

    What comes before the first count, as a simulator's compilation, tells nothing of the rest. What is in work now is
    taken to be done when its time has come; if it is not by then, to be half done.
    """
    (begun, before, _), (counted, done, total) = first, last
    if not before < done < total:
        return None
    each = (counted - begun) / (done - before)
    if now - counted <= each:
        return each * (total - done) - (now - counted)
    return (now - begun) * (total - done - 0.5) / (done - before + 0.5)


class Lines:
    """Says on a stream, every few seconds, that a stage goes on and how far it is.

    A stage that is over before the first line is due says nothing.

    Parameters
    ----------
    label : str
        The stage.
    stream : text file
    every : float, optional
        Seconds between two lines; ``EVERY`` without it.
    """

    def __init__(self, label: str, stream: TextIO, every: float | None = None):
        self.label, self.every = label, EVERY if every is None else every
        self._stream, self._begun, self._spoke = stream, time.monotonic(), False
        self._first = self._last = None  # time, done, total

    def update(self, done: int, total: int) -> None:
        """So much is done of so much."""
        self._last = (time.monotonic(), done, total)
        self._first = self._first or self._last

    def tick(self) -> None:
        """Say how far it is."""
        now = time.monotonic()
        seconds, self._spoke = now - self._begun, True
        if not self._last:
            self._say(f"working, {seconds:.0f} s")
            return
        _, done, total = self._last
        left = rest(self._first, self._last, now)
        self._say(f"{done}/{total}, {seconds:.0f} s{'' if left is None else f', about {left:.0f} s left'}")

    def close(self, failed: bool = False) -> None:
        """The stage is over; says so if it said anything before."""
        if self._spoke:
            self._say(f"{'stopped' if failed else 'done'} after {time.monotonic() - self._begun:.0f} s")

    def _say(self, text):
        print(f"{self.label}: {text}", file=self._stream, flush=True)


class Bar:
    """A bar on a terminal; the time that it shows goes on where nothing is counted.

    Parameters
    ----------
    label : str
        The stage.
    stream : text file
    """

    every = 1.0

    def __init__(self, label: str, stream: TextIO):
        self._bar = tqdm(
            desc=label,
            file=stream,
            leave=False,
            total=0,
            bar_format="{desc:<10} {percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} {elapsed}{postfix}",
        )
        self._first = self._last = None

    def update(self, done: int, total: int) -> None:
        """So much is done of so much."""
        self._last = (time.monotonic(), done, total)
        self._first = self._first or self._last
        self._told()
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def tick(self) -> None:
        """Draw it again."""
        if self._last:
            self._told()
        self._bar.refresh()

    def _told(self):
        left = rest(self._first, self._last, time.monotonic())
        self._bar.set_postfix_str("" if left is None else f"about {left:.0f} s left", refresh=False)

    def close(self, failed: bool = False) -> None:
        """Take it away."""
        self._bar.close()


@contextmanager
def progress(
    label: str, stream: TextIO | None = None, every: float | None = None
) -> Iterator[Callable[[int, int], None]]:
    """Show how far a stage is.

    Parameters
    ----------
    label : str
        The stage.
    stream : text file, optional
        stderr without it.
    every : float, optional
        Seconds between two lines, where the stream is no terminal; ``EVERY`` without it.

    Yields
    ------
    callable
        To be called as ``value(done, total)``, with any unit; a stage that never does says that it is alive.
    """
    stream = sys.stderr if stream is None else stream
    shown = Bar(label, stream) if stream.isatty() else Lines(label, stream, every)
    over = Event()
    _STAGES.append(shown)

    def tick():
        while not over.wait(shown.every):
            if _STAGES[-1] is shown:
                shown.tick()

    ticker = Thread(target=tick, daemon=True, name=f"progress of {label}")
    ticker.start()
    failed = True
    try:
        yield shown.update
        failed = False
    finally:
        over.set()
        ticker.join()
        _STAGES.remove(shown)
        shown.close(failed)
