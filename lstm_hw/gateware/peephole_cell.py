"""PeepholeCell: one hidden unit of an LSTM with peepholes in five cycles, with a second multiplier."""

from itertools import pairwise

from amaranth import *

from ..machine.config import EngineConfig
from ..machine.latency import MULTIPLY, READ_C
from ..machine.limits import GATE_NAMES, GATES
from .activation import activation_component
from .cell import Cell, register
from .gru_cell import GruCell
from .parallel_cell import ParallelCell
from .requantize import Requantize


class PeepholeCell(Cell):
    """The LSTM cell whose gates see c: i and f that of the step before, and o the new one.

    c is read as a unit starts, together with its three weights. They meet one after the other in a multiplier of their
    own, behind which a product is added to its pre-activation and rounded for the activation unit. i, f and g then take
    slots one behind the other, as in :class:`Cell`, later tanh(c') one and, behind its product with the new c, o the
    last one.

    Members are those of :class:`Cell`; c is read in the first cycle.
    """

    def __init__(self, config: EngineConfig, plain: bool = False):
        super().__init__(config, plain)
        self.round_peephole = Requantize(*self.widths.peephole)

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.round_c, m.submodules.round_h = self.round_c, self.round_h
        m.submodules.round_peephole = self.round_peephole
        if self.round_tanh is not self.round_c:
            m.submodules.round_tanh = self.round_tanh
        at = self._passed(m)
        new_c = register("new_c", self.config.argument.width)  # as tanh reads it
        m.d.comb += self.o_read.eq(self.i_start)
        c = self._delayed(m, at, "c", self.i_c, READ_C + 1, READ_C)
        self._look(m, at, c)
        result = self._activate(m, at, new_c)
        product = self._multiply(m, at, c, result)
        self._update(m, at, product, new_c, None)
        if self.scale_bits:
            self._select(m, at, None)
        if self.config.count_clipped:
            m.d.comb += [self.o_c_beyond.eq(self.round_c.o_beyond), self.o_h_beyond.eq(self.round_h.o_beyond)]
        return m

    def _look(self, m, at, c):
        """The slots of the peepholes' multiplier: those of i, of f and, some units later, of o; and their sums."""
        delays, widths = self.delays, self.widths
        pre = dict(zip(GATE_NAMES, self.i_preact, strict=True))
        of_i, of_f, of_o = self.i_peepholes
        of_f = self._delayed(m, at, "peephole_f", of_f, READ_C + 1, READ_C)
        of_o = self._delayed(m, at, "peephole_o", of_o, delays.peephole_slot, READ_C)
        changed = self._delayed(m, at, "changed_c", self.round_c.o, delays.peephole_slot, delays.update)
        left, right = register("peephole", len(of_o)), register("seen_c", len(c))
        product = register("seen", len(left) + len(right))
        m.d.sync += [left.eq(of_o), right.eq(changed), product.eq(left * right)]
        with m.If(at[READ_C]):
            m.d.sync += [left.eq(of_i), right.eq(self.i_c)]
        with m.If(at[READ_C + 1]):
            m.d.sync += [left.eq(of_f), right.eq(c)]

        sums = READ_C + MULTIPLY
        i, f, o = (
            self._delayed(m, at, f"pre_{name}", pre[name], cycle)
            for name, cycle in (("i", sums), ("f", sums + 1), ("o", delays.peephole_slot + MULTIPLY))
        )
        given = Signal(o.shape(), name="given")
        m.d.comb += given.eq(o)
        for cycle, value in ((sums, i), (sums + 1, f)):
            with m.If(at[cycle]):
                m.d.comb += given.eq(value)
        total = register("looked", self.widths.peephole.width)
        m.d.sync += total.eq((given << widths.pre_shift) + (product << widths.peephole_shift))
        m.d.comb += self.round_peephole.i.eq(total)

    def _activate(self, m, at, new_c):
        """The slots of the activation unit: i, f and g of a unit, then tanh(c') and o; returns its results."""
        delays, rounded = self.delays, self.round_peephole
        m.submodules.activation = activation = activation_component(self.activation, registered=True)
        x, tanh = activation.i_x, activation.i_tanh
        m.d.comb += [x.eq(self._argument_of_tanh(new_c)), tanh.eq(1)]
        first, last = delays.peephole - 1, delays.gates["o"] - self.activation.latency - 1
        g = self._delayed(m, at, "pre_g", self.i_preact[GATE_NAMES.index("g")], first + 2)
        # What a slot takes is chosen in the cycle before, in which what was rounded last is not in a register yet.
        o = rounded.o_next if last < delays.opened else self._delayed(m, at, "opened", rounded.o, last, delays.opened)
        for cycle, value, is_tanh in (
            (first, rounded.o_next, 0),
            (first + 1, rounded.o_next, 0),
            (first + 2, g, 1),
            (last, o, 0),
        ):
            with m.If(at[cycle]):
                m.d.comb += [x.eq(value), tanh.eq(is_tanh)]
        if self.plain:
            self._plain_slots(m, x, tanh, last)
            m.d.comb += self.o_result.eq(activation.o_y)
        return activation.o_y

    def _plain_slots(self, m, x, tanh, last):
        """A plain unit's values as it starts, one a cycle, when no hidden unit is on its way to its slot ``last``."""
        # What tells them apart comes late as they start; where none is under way, a hidden one's value does no harm.
        hidden, busy = Signal(last, name="hidden"), Signal(name="hidden_under_way")
        under_way = Cat(self.i_start & ~self.i_plain, hidden)
        m.d.sync += [hidden.eq(under_way), busy.eq(under_way[:last].any())]
        width, starts = self.config.preact.width, self.i_start & self.i_plain
        others = [register(f"plain{n}", width) for n in range(1, GATES)]
        due, is_tanh = Signal(len(others), name="plain_due"), Signal(name="plain_tanh", reset_less=True)
        m.d.sync += [due.eq(Cat(starts, due)), *(value.eq(after) for value, after in pairwise(others))]
        with m.If(self.i_start):
            m.d.sync += [is_tanh.eq(self.i_plain_tanh), Cat(others).eq(Cat(self.i_preact[1:]))]
        with m.If(self.i_start & ~busy):
            m.d.comb += [x.eq(self.i_preact[0]), tanh.eq(self.i_plain_tanh)]
        with m.If(due.any()):
            m.d.comb += [x.eq(others[0]), tanh.eq(is_tanh)]

    def _multiply(self, m, at, c, result):
        """The slots of the multiplier: f*c, i*g and tanh(c')*o; returns its product."""
        gates, bits = self.delays.gates, self.config.activated.width
        i = self._delayed(m, at, "i", result, gates["g"], gates["i"])
        c = self._delayed(m, at, "late_c", c, gates["f"], READ_C + 1)
        tanh = self._delayed(m, at, "tanh", result, gates["o"], self.delays.tanh)
        left, right = register("left", self.widths.left_width), register("right", bits)
        product = register("product", len(left) + len(right))
        m.d.sync += [left.eq(tanh), right.eq(result), product.eq(left * right)]
        with m.If(at[gates["f"]]):
            m.d.sync += left.eq(c)
        with m.If(at[gates["g"]]):
            m.d.sync += left.eq(i)
        return product


def cell_of(config: EngineConfig, plain: bool = False) -> Cell:
    """A cell of the engine's kind; ``plain`` as of :class:`Cell`, where it is a serial one."""
    if config.parallel:
        return ParallelCell(config)
    kind = PeepholeCell if config.peepholes else {"lstm": Cell, "gru": GruCell}[config.kind]
    return kind(config, plain)
