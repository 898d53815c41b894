"""Lights: a heartbeat, and the state of a self-test on one more LED."""

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

SLOTS = 16
"""Parts of a turn of the light, a quarter of a second each."""


class Lights(wiring.Component):
    """Drives two LEDs.

    Parameters
    ----------
    clock_hz : int
        Clock frequency.

    Members
    -------
    i_running, i_fail : In(1)
        Of a self-test.
    i_reason : In(3)
        A :class:`boards.judge.Reason`.
    o_heartbeat : Out(1)
        Toggles about twice a second while there is a clock.
    o_running : Out(1)
        High while a test is under way. After one that failed, it is high as many times as the reason's number, a
        quarter of a second each, and again every four seconds.
    """

    def __init__(self, clock_hz):
        self.clock_hz = clock_hz
        super().__init__(
            {"i_running": In(1), "i_fail": In(1), "i_reason": In(3), "o_heartbeat": Out(1), "o_running": Out(1)}
        )

    def elaborate(self, platform):
        m = Module()
        quarter = max(2, self.clock_hz // 4)
        count, slot = Signal(range(quarter)), Signal(range(SLOTS))
        m.d.sync += count.eq(count + 1)
        with m.If(count == quarter - 1):
            m.d.sync += [count.eq(0), slot.eq(slot + 1)]
        m.d.comb += [
            self.o_heartbeat.eq(slot[1]),
            self.o_running.eq(self.i_running | self.i_fail & ~slot[0] & (slot[1:] < self.i_reason)),
        ]
        return m
