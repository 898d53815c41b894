"""TokenJoiner: a token for every pair of tokens, one from either side."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class TokenJoiner(wiring.Component):
    """Counts by how many tokens one side is ahead, and passes on what both have brought.

    Parameters
    ----------
    limit : int
        Most tokens that a side may be ahead.

    Members
    -------
    i_a, i_b : In(1)
        A token of this side comes.
    o : Out(1)
        The n-th token of either side has come, in the cycle of the later one.

    Timing
    ------
    No latency: sides in step are passed on in the cycle in which they come.
    """

    def __init__(self, limit: int):
        self.limit = limit
        super().__init__({"i_a": In(1), "i_b": In(1), "o": Out(1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        ahead = Signal(range(-self.limit, self.limit + 1))  # of b, by a
        m.d.comb += self.o.eq((self.i_a | (ahead > 0)) & (self.i_b | (ahead < 0)))
        m.d.sync += ahead.eq(ahead + self.i_a - self.i_b)
        return m
