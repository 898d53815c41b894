"""Cycles in which things appear that somebody waits for, by number."""

from bisect import bisect_right
from collections.abc import Hashable, Sequence

KEPT = 4096
"""Used ones that are kept until they are forgotten together."""


class Tokens:
    """Things that appear in ascending cycles and are used in order; what was used is forgotten.

    Parameters
    ----------
    present : int
        Tokens that are there from the start.

    Attributes
    ----------
    used : int
        Number of the first token that was not used.
    count : int
        Tokens so far.
    """

    __slots__ = ("_cycles", "_first", "count", "used")

    def __init__(self, present: int = 0):
        self._cycles, self._first = [0] * present, 0
        self.count, self.used = present, 0

    def add(self, cycles: Sequence[int]) -> None:
        """They appear in these cycles (a sized iterable)."""
        self._cycles.extend(cycles)
        self.count += len(cycles)

    def at(self, number: int) -> int:
        """Cycle of an unused token; IndexError if it never comes."""
        return self._cycles[number - self._first]

    def between(self, first: int, end: int) -> list[int]:
        """Cycles of tokens ``first`` .. ``end - 1``."""
        return self._cycles[first - self._first : end - self._first]

    def use(self, end: int) -> None:
        """All tokens before ``end`` are used."""
        self.used = end
        if end - self._first > KEPT:
            del self._cycles[: end - self._first]
            self._first = end

    def shift(self, number: int) -> None:
        """So many more have come and gone."""
        self._first += number
        self.count += number
        self.used += number

    def repeat(self, times: int, cycles: int, since: int) -> None:
        """Those behind the first ``since`` came in each of so many periods, of so many cycles each, that ended now.

        Nobody used any of them. Cycles are counted from the end of all periods: what came before is longer ago.
        """
        old, new = self._cycles[: since - self._first], self._cycles[since - self._first :]
        ago = range(times * cycles, -1, -cycles) if new else ()
        self._cycles = [*(cycle - times * cycles for cycle in old), *(cycle - n for n in ago for cycle in new)]
        self.count += times * len(new)

    def left(self, settled: int, now: int) -> Hashable:
        """What is to be used, relative to ``now``; cycles up to ``settled`` are all the same."""
        if self.used >= self.count:
            return (self.count - self.used,)
        later = self._cycles[bisect_right(self._cycles, settled, self.used - self._first) :]  # they ascend
        return self.count - self.used, *[cycle - now for cycle in later]
