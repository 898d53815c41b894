"""Cell: one hidden unit in five cycles, with one activation unit and one multiplier."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..machine.activation import make_activation
from ..machine.config import GATE_NAMES, GATES, SERIAL_SLOTS, VALUE_BITS
from ..machine.latency import SLOT, CellLatency
from .activation import Activation
from .requantize import Requantize


class Cell(wiring.Component):
    """The LSTM cell: c' = f*c + i*g and h = o*tanh(c'), from four pre-activations and c.

    The five activations take the five slots of a unit in turn: i, f, g, o and, some units later,
    tanh(c'). The three products take three of the five slots of the one multiplier. Units start a
    multiple of five cycles apart, so slots of different units never meet and nothing stalls.

    Parameters
    ----------
    config : EngineConfig

    Members
    -------
    i_start : In(1), i_preact : In(4 pre-activations: i, f, g, o)
        A unit starts; a multiple of five cycles after the one before.
    o_read : Out(1)
        The address of this unit's c is due: c must be on ``i_c`` in the next cycle.
    i_c : In
    o_c : Out, o_c_valid : Out(1)
        The new c, ``update_latency`` cycles after ``i_start``.
    o_h : Out, o_h_valid : Out(1)
        The new h, ``latency`` cycles after ``i_start``.
    """

    def __init__(self, config):
        self.config = config
        self.activation = make_activation(config.activation, config.preact, config.activated)
        activated, cell = config.activated.fraction, config.preact.fraction
        # Both products are aligned to the larger fraction and added exactly.
        self.sum_fraction = max(activated + cell, 2 * activated)
        width = VALUE_BITS * 2 + 2 + abs(activated - cell)
        self.round_c = Requantize(width, (self.sum_fraction,), config.preact)
        self.round_h = Requantize(VALUE_BITS * 2, (2 * activated,), config.hidden)
        self.sum_width = width

        self.delays = CellLatency(config)
        self.update_latency, self.latency = self.delays.update, self.delays.cell
        super().__init__(
            {
                "i_start": In(1),
                "i_preact": In(data.ArrayLayout(signed(VALUE_BITS), GATES)),
                "o_read": Out(1),
                "i_c": In(signed(VALUE_BITS)),
                "o_c": Out(signed(VALUE_BITS)),
                "o_c_valid": Out(1),
                "o_h": Out(signed(config.operand_bits)),
                "o_h_valid": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        config = self.config
        bits = VALUE_BITS
        m.submodules.activation = activation = Activation(self.activation)
        m.submodules.round_c, m.submodules.round_h = self.round_c, self.round_h

        # at[n] is high n cycles after i_start.
        passed = Signal(self.latency)
        m.d.sync += passed.eq(Cat(self.i_start, passed))
        at = [self.i_start, *passed]

        def register(name, width=bits):
            return Signal(signed(width), name=name, reset_less=True)

        # Slots of the activation unit.
        gates = [register(f"preact_{name}") for name in GATE_NAMES]
        new_c = register("new_c")
        with m.If(self.i_start):
            m.d.sync += [gate.eq(value) for gate, value in zip(gates, self.i_preact, strict=True)]
        # The update may land in the very cycle of the slot.
        direct = self.delays.tanh_slot == self.update_latency
        m.d.comb += [activation.i_x.eq(self.round_c.o if direct else new_c), activation.i_tanh.eq(1)]
        for n, gate in enumerate(gates):
            with m.If(at[SLOT + n]):
                m.d.comb += [activation.i_x.eq(gate), activation.i_tanh.eq(n == 2)]

        # Results that wait for their product: i for one cycle, o until tanh(c') is there.
        result = activation.o_y
        i = register("i")
        with m.If(at[self.delays.gates["i"]]):
            m.d.sync += i.eq(result)
        output_gates = [register(f"o{n}") for n in range(self.delays.tanh_slot // SERIAL_SLOTS)]
        for n, o in enumerate(output_gates):
            with m.If(at[self.delays.gates["o"] + SERIAL_SLOTS * n]):
                m.d.sync += o.eq(result if n == 0 else output_gates[n - 1])

        # Slots of the multiplier.
        left, right = register("left"), register("right")
        product = register("product", 2 * bits)
        m.d.sync += [left.eq(output_gates[-1]), right.eq(result), product.eq(left * right)]
        with m.If(at[self.delays.gates["f"]]):
            m.d.sync += [left.eq(self.i_c), right.eq(result)]
        with m.If(at[self.delays.gates["g"]]):
            m.d.sync += [left.eq(i), right.eq(result)]
        m.d.comb += self.o_read.eq(at[self.delays.gates["f"] - 1])

        # c' = f*c + i*g, exactly, then rounded once.
        held = register("f_times_c", 2 * bits)
        total = register("total", self.sum_width)
        f_shift = self.sum_fraction - config.activated.fraction - config.preact.fraction
        g_shift = self.sum_fraction - 2 * config.activated.fraction
        m.d.sync += [held.eq(product), total.eq((held << f_shift) + (product << g_shift))]
        m.d.comb += [self.round_c.i.eq(total), self.o_c.eq(self.round_c.o), self.o_c_valid.eq(at[self.update_latency])]
        with m.If(self.o_c_valid):
            m.d.sync += new_c.eq(self.round_c.o)
        m.d.comb += [self.round_h.i.eq(product), self.o_h.eq(self.round_h.o), self.o_h_valid.eq(at[self.latency])]
        return m
