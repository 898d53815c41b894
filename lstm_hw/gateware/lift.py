"""Lift: elements of x and h to the factors of the lanes, some places higher."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..machine.config import EngineConfig
from ..machine.isa import ELEMENT_BITS, LIFT_BITS, OPS, SPACE_CONSTANT
from ..machine.latency import OPERANDS


class Lift(wiring.Component):
    """Shifts operands left by one of the engine's ``lifts``, once for all lanes of a context, and forms constants.

    A constant is as wide as a lifted operand can be, and is not lifted itself.

    Parameters
    ----------
    config : EngineConfig
        With a lift above 0.

    Members
    -------
    i_valid, i_address, i_space, i_lift
        The read request of :class:`lstm_hw.gateware.vector_memory.VectorMemory`, and which of the lifts.
    i_operands : In(K elements)
        What it reads, ``OPERANDS`` cycles later; zero for a constant.
    o_operands : Out(K factors)
        The factors, in the same cycle.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        super().__init__(
            {
                "i_valid": In(1),
                "i_address": In(ELEMENT_BITS),
                "i_space": In(OPS["MAC"].fields["space"]),
                "i_lift": In(LIFT_BITS),
                "i_operands": In(data.ArrayLayout(signed(config.element_bits), config.contexts)),
                "o_operands": Out(data.ArrayLayout(signed(config.factor_bits), config.contexts)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        lifts = self.config.lifts
        # The exponent is decoded in the last stage of the read.
        exponent = Signal(self.config.exponent_bits)
        constant = Signal(self.config.factor_bits)
        valid = Signal(OPERANDS - 1)
        m.d.sync += [
            Cat(valid).eq(Cat(self.i_valid & (self.i_space == SPACE_CONSTANT), valid)),
            exponent.eq(self.i_address),
            constant.eq(Mux(valid[-1], 1 << exponent, 0)),
        ]
        lift = self.i_lift[: (len(lifts) - 1).bit_length()]
        for stage in range(OPERANDS):
            delayed = Signal(len(lift), name=f"lift_{stage}")
            m.d.sync += delayed.eq(lift)
            lift = delayed
        for operand, factor in zip(self.i_operands, self.o_operands, strict=True):
            lifted = Signal(signed(self.config.factor_bits), name="lifted")
            with m.Switch(lift):
                for index, places in enumerate(lifts[:-1]):
                    with m.Case(index):
                        m.d.comb += lifted.eq(operand << places)
                with m.Default():
                    m.d.comb += lifted.eq(operand << lifts[-1])
            m.d.comb += factor.eq(lifted | constant)
        return m
