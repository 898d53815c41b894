"""GruCell: one hidden unit of a GRU in five cycles, with one activation unit and one multiplier."""

from amaranth import *

from ..machine.latency import REQUANTIZE, SLOT
from ..machine.limits import CELL_SUMS, SERIAL_SLOTS
from .activation import activation_component
from .cell import Cell, register


class GruCell(Cell):
    """The GRU cell: n = tanh(n_x + r*n_h) and h = (1 - z)*n + z*h, from four sums and the h that is kept as c.

    r and z take the slots of g and o of an LSTM's unit, tanh its own; what the first two slots make is not used. The
    three products take the slots of i*g, of o*tanh(c') and the one before that. One adder forms both sums: the
    candidate's, which is rounded to the format of the activation unit's inputs, and that of h, which is rounded to both
    its formats.

    Members are those of :class:`Cell`, where c is h from step to step; it is read late and written with h.
    """

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.round_c, m.submodules.round_h = self.round_c, self.round_h
        m.submodules.round_tanh = self.round_tanh
        at = self._passed(m)
        sums = dict(zip(CELL_SUMS["gru"], self.i_preact, strict=True))
        candidate = register("candidate", self.config.argument.width)
        result = self._activate(m, at, sums, candidate)
        product = self._multiply(m, at, sums, result)
        scale = Signal(self.scale_bits, name="c_scale") if any(self.widths.c_shifts) else None
        self._sum(m, at, sums, product, candidate, scale)
        if self.scale_bits:
            for n, kept in enumerate(self._scales(m, at)):
                if scale is not None and n == (self.latency - REQUANTIZE - 2) // SERIAL_SLOTS:
                    m.d.comb += scale.eq(kept)
                if any(self.widths.preact_lifts) and n == (self.update_latency - REQUANTIZE - 1) // SERIAL_SLOTS:
                    m.d.comb += self.round_tanh.i_select.eq(kept)
            m.d.comb += self.round_h.i_select.eq(kept)
        if self.config.count_clipped:
            m.d.comb += [self.o_c_beyond.eq(self.round_c.o_beyond), self.o_h_beyond.eq(self.round_h.o_beyond)]
        return m

    def _activate(self, m, at, sums, candidate):
        """The slots of the activation unit: r, z and, some units later, tanh of the candidate; returns its results."""
        m.submodules.activation = activation = activation_component(self.activation, registered=True)
        x, tanh = activation.i_x, activation.i_tanh
        m.d.comb += [x.eq(self._argument_of_tanh(candidate)), tanh.eq(1)]
        r, z = (self._delayed(m, at, name, sums[name], SLOT) for name in ("r", "z"))
        slots, is_tanh = {2: r, 3: z}, 0
        if self.plain:  # whose values take the slots in their order
            plain, is_tanh = self._plain(m)
            last = (self._delayed(m, at, f"preact{n}", self.i_preact[n], SLOT) for n in (2, 3))
            slots = {0: self.i_preact[0], 1: z, **{n: Mux(plain, value, slots[n]) for n, value in enumerate(last, 2)}}
            is_tanh = plain & is_tanh
            m.d.comb += self.o_result.eq(activation.o_y)
        lifted = self._lifts(m, x)
        for n, value in slots.items():
            with m.If(at[SLOT + n - 1]):
                m.d.comb += [*lifted(value), tanh.eq(is_tanh)]
        return activation.o_y

    def _multiply(self, m, at, sums, result):
        """The slots of the multiplier: r*n_h, z*c and (1 - z)*n; returns its product."""
        gates, tanh, bits = self.delays.gates, self.delays.tanh, self.config.activated.width
        kept = [register(f"z_kept{n}", bits) for n in range(self.delays.tanh_slot // SERIAL_SLOTS)]
        for n, z in enumerate(kept):
            with m.If(at[gates["o"] + SERIAL_SLOTS * n]):
                m.d.sync += z.eq(result if n == 0 else kept[n - 1])
        n_h = self._delayed(m, at, "n_h", sums["n_h"], gates["g"])
        left, right = register("left", self.widths.left_width), register("right", bits)
        product = register("product", len(left) + len(right))
        m.d.sync += [
            left.eq((1 << self.config.activated.fraction) - kept[-1]),
            right.eq(result),
            product.eq(left * right),
        ]
        with m.If(at[gates["g"]]):
            m.d.sync += left.eq(n_h)
        with m.If(at[tanh - 1]):  # a cycle before z gets to its last register
            m.d.sync += [left.eq(self.i_c), right.eq(kept[-2])]
        m.d.comb += self.o_read.eq(at[tanh - 2])
        return product

    def _sum(self, m, at, sums, product, candidate, scale):
        """n_x + r*n_h, rounded for tanh, and (1 - z)*n + z*c, rounded to c and to h."""
        held, total = register("held", len(product)), register("total", self.widths.sum_width)
        n_x = self._delayed(m, at, "n_x", sums["n_x"], self.delays.products)
        first, second = (Signal(signed(self.widths.sum_width), name=name) for name in ("first", "second"))
        m.d.comb += [first.eq(held << self.widths.f_shift), second.eq(self._lifted(m, product, scale))]
        with m.If(at[self.delays.products]):
            m.d.comb += [first.eq(n_x << self.config.activated.fraction), second.eq(product)]
        m.d.sync += [held.eq(product), total.eq(first + second)]
        if self.round_tanh.registered:
            with m.If(at[self.update_latency]):
                m.d.sync += candidate.eq(self.round_tanh.o)
        done = at[self.latency]
        m.d.comb += [
            *(rounder.i.eq(total) for rounder in (self.round_tanh, self.round_c, self.round_h)),
            *(self.o_c.eq(self.round_c.o), self.o_c_valid.eq(done)),
            *(self.o_h.eq(self.round_h.o), self.o_h_valid.eq(done)),
        ]
