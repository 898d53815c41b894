"""XGate: lets the x of one run in, and nothing that was left over from another."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..machine.config import EngineConfig
from ..machine.latency import SETTLE_CYCLES
from .input_unit import x_beat_layout


class XGate(wiring.Component):
    """Stands in front of the input unit, knows where the x of a run ends, and drops that of a run that failed.

    Where tlast ends the whole sequence of a run, nothing passes behind it: what follows is of the next run. Where tlast
    ends each vector, x that is offered when the run is over is one vector too many. Where tlast says nothing, it waits
    for the next run.

    Parameters
    ----------
    config : EngineConfig

    Members
    -------
    i : stream of x, in
    o : stream of x, out
        To the input unit.
    i_start : In(1)
        A run begins.
    i_sequence : In(1)
        tlast ends the sequence of the run; stable from ``i_start`` to the next.
    i_ignore_tlast : In(1)
        tlast says nothing, whatever ``i_sequence`` is; as stable.
    i_drop : In(1)
        The run has failed: whatever is offered is taken and dropped, to the end of the sequence where tlast tells it.
    o_early : Out(1)
        The sequence has ended, and the run wants more.
    o_surplus : Out(1)
        Were the run over in this cycle, x would go on behind it; never of a run that took none.
    o_settled : Out(1)
        With ``i_drop``: nothing is left to be dropped, for all that can be seen: the sequence has ended, or nothing
        came for ``SETTLE_CYCLES`` cycles and no vector was cut off, as far as tlast tells.

    Timing
    ------
    No latency, a beat a cycle. No reset but the general one, since it outlives the runs.
    """

    def __init__(self, config: EngineConfig):
        beats = stream.Signature(x_beat_layout(config))
        super().__init__(
            {
                "i": In(beats),
                "o": Out(beats),
                "i_start": In(1),
                "i_sequence": In(1),
                "i_ignore_tlast": In(1),
                "i_drop": In(1),
                "o_early": Out(1),
                "o_surplus": Out(1),
                "o_settled": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        # a beat came in this run; the latest one carried tlast
        some = Signal()
        last = Signal()
        silent = Signal(range(SETTLE_CYCLES))
        ended = Signal()
        quiet = Signal()
        m.d.comb += [
            ended.eq(self.i_sequence & ~self.i_ignore_tlast & some & last),
            quiet.eq((silent == SETTLE_CYCLES - 1) & (last | ~some | self.i_ignore_tlast)),
            self.o.payload.eq(self.i.payload),
            self.o.valid.eq(self.i.valid & ~ended & ~self.i_drop),
            self.i.ready.eq(~ended & (self.o.ready | self.i_drop)),
            self.o_early.eq(ended & self.o.ready),
            self.o_surplus.eq(some & ~self.i_ignore_tlast & Mux(self.i_sequence, ~last, self.i.valid)),
            self.o_settled.eq(ended | quiet),
        ]
        with m.If(self.i_start):
            m.d.sync += some.eq(0)
        with m.Elif(self.i.valid & self.i.ready):
            m.d.sync += [some.eq(1), last.eq(self.i.payload.last)]
        with m.If(~self.i_drop | self.i.valid):
            m.d.sync += silent.eq(0)
        with m.Elif(silent != SETTLE_CYCLES - 1):
            m.d.sync += silent.eq(silent + 1)
        return m
