"""Judge: the states of a self-test and its verdict."""

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from lstm_hw.host.protocol import Reason

RESET_CYCLES = 16
"""Cycles for which everything else is held in reset before a test."""


class Judge(wiring.Component):
    """Resets the engine, waits until the script has ended or something is wrong, and tells the verdict for good.

    A reset of the judge starts the test again.

    Parameters
    ----------
    vectors : int
        Test vectors that must pass.
    patience : int
        Cycles that one access of the script may take.

    Members
    -------
    i_access : In(1)
        An access of the script is complete.
    i_done : In(1)
        The script is complete.
    i_refused, i_wrong : In(1)
        The script's and the outputs' failures; levels.
    i_passed : In
        Vectors that were right.
    o_clear : Out(1)
        Reset of everything else, for ``RESET_CYCLES`` cycles.
    o_running, o_pass, o_fail : Out(1)
        Exactly one is high after ``o_clear`` has fallen.
    o_reason : Out(3)
        Why the test failed, with ``o_fail``.
    """

    def __init__(self, vectors, patience):
        self.vectors, self.patience = vectors, patience
        super().__init__(
            {
                "i_access": In(1),
                "i_done": In(1),
                "i_refused": In(1),
                "i_wrong": In(1),
                "i_passed": In(range(vectors + 1)),
                "o_clear": Out(1, init=1),
                "o_running": Out(1),
                "o_pass": Out(1),
                "o_fail": Out(1),
                "o_reason": Out(Reason),
            }
        )

    def elaborate(self, platform):
        m = Module()
        left = Signal(range(max(self.patience, RESET_CYCLES)), init=RESET_CYCLES - 1)
        reason = Signal(Reason)
        with m.If(self.i_wrong):
            m.d.comb += reason.eq(Reason.OUTPUT)
        with m.Elif(self.i_refused):
            m.d.comb += reason.eq(Reason.STATUS)
        with m.Elif(self.i_done & (self.i_passed != self.vectors)):
            m.d.comb += reason.eq(Reason.MISSING)
        with m.Elif(~self.i_done & (left == 0)):
            m.d.comb += reason.eq(Reason.WATCHDOG)
        with m.FSM():
            with m.State("reset"):
                m.d.sync += left.eq(left - 1)
                with m.If(left == 0):
                    m.d.sync += [left.eq(self.patience - 1), self.o_clear.eq(0), self.o_running.eq(1)]
                    m.next = "run"
            with m.State("run"):
                m.d.sync += left.eq(Mux(self.i_access, self.patience - 1, left - 1))
                with m.If(self.i_done | (reason != Reason.NONE)):
                    m.d.sync += [
                        self.o_reason.eq(reason),
                        self.o_running.eq(0),
                        self.o_pass.eq(reason == Reason.NONE),
                        self.o_fail.eq(reason != Reason.NONE),
                    ]
                    m.next = "end"
            with m.State("end"):
                pass
        return m
