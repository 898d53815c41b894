"""A memory behind an AXI4 read port, for benches in Amaranth's simulator."""

import itertools
from collections import deque


class Memory:
    """Takes a request in every cycle and answers in order.

    Parameters
    ----------
    bus : Axi4Read
        Port of the unit under test.
    latency, interval : int
        As of :class:`lstm_hw.proof.load_timing.MemoryModel`.
    word : callable, optional
        Content: byte address -> data; zeros without it.
    rng : random.Random, optional
        Source of the pauses.
    stall : float
        Probability that a request or a beat is held back in a cycle.
    """

    def __init__(self, bus, latency=1, interval=1, word=lambda address: 0, rng=None, stall=0.0):
        self.bus, self.latency, self.interval, self.word = bus, latency, interval, word
        self.rng, self.stall = rng, stall

    def _held(self):
        return self.stall and self.rng.random() < self.stall

    async def bench(self, context):
        """Background bench."""
        bus, free, presented = self.bus, 0, False
        owed = deque()  # (earliest cycle, address, last)
        for now in itertools.count():
            asked_for = not self._held()
            context.set(bus.arready, asked_for)
            presented = presented or (bool(owed) and owed[0][0] <= now and not self._held())
            context.set(bus.rvalid, presented)
            if presented:
                context.set(bus.rdata, self.word(owed[0][1]))
                context.set(bus.rlast, owed[0][2])
            _, _, asks, address, length, ready = await context.tick().sample(
                bus.arvalid, bus.araddr, bus.arlen, bus.rready
            )
            if presented:
                assert ready, "the reader takes a beat in the cycle in which it comes"
                owed.popleft()
                presented = False
            if asks and asked_for:
                first = max(now + self.latency, free)
                size = len(bus.rdata) // 8
                owed.extend((first + n * self.interval, address + n * size, n == length) for n in range(length + 1))
                free = first + (length + 1) * self.interval
