"""ParallelCell: one hidden unit a cycle, with an activation unit for each gate and a multiplier for each product."""

from amaranth import *

from ..machine.latency import CELL_OPERANDS, CELL_PRODUCT, CELL_SUM, READ_C, TOKEN
from ..machine.limits import CELL_SUMS, GATE_NAMES
from .activation import activation_component
from .cell import Cell, register
from .requantize import Requantize


class ParallelCell(Cell):
    """The cell of an LSTM or a GRU, as :class:`Cell` and :class:`~lstm_hw.gateware.gru_cell.GruCell` compute it.

    All gates of a unit are looked up at once and each product has a multiplier, so a unit may start in every cycle and
    nothing waits for a slot. Roundings align nothing where all layers have the same formats, and what tanh and the
    lanes read is rounded and bounded on its way to its next register.

    Members are those of :class:`Cell`, but that units may start in every cycle, ``o_h`` is no register, and c is new
    ``state_latency`` cycles after ``i_start``.
    """

    def _make_rounders(self):
        config, widths, flagged = self.config, self.widths, self.config.count_clipped
        self.state_latency = self.delays.state
        lstm = config.kind == "lstm"
        self.round_c = Requantize(*widths.c, flagged, registered=lstm, direct=True)
        same = lstm and config.cell == config.argument and not any(widths.c_shifts)
        self.round_tanh = self.round_c if same else Requantize(*widths.tanh, registered=False, direct=True)
        self.round_h = Requantize(*widths.h, flagged, registered=False, direct=True)

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.round_c, m.submodules.round_h = self.round_c, self.round_h
        if self.round_tanh is not self.round_c:
            m.submodules.round_tanh = self.round_tanh
        at, scale = self._passed(m), self._scale(m)
        {"lstm": self._lstm, "gru": self._gru}[self.config.kind](m, at, scale)
        m.d.comb += [
            self.o_c.eq(self.round_c.o if self.round_c.registered else self.round_c.o_next),
            self.o_c_valid.eq(at[self.state_latency]),
            self.o_h.eq(self.round_h.o_next),
            self.o_h_valid.eq(at[self.latency]),
        ]
        if self.config.forwards_h:
            m.d.comb += self.o_h_soon.eq(at[self.latency + self.delays.token - TOKEN])
        if self.config.count_clipped:
            m.d.comb += [self.o_c_beyond.eq(self.round_c.o_beyond), self.o_h_beyond.eq(self.round_h.o_beyond)]
        return m

    def _scale(self, m):
        """The function that gives the scale of the unit that started so many cycles ago."""
        if not self.scale_bits:
            return lambda cycles: Const(0, 1)
        scales = [self.i_scale]

        def scale(cycles):
            while len(scales) <= cycles:
                scales.append(Signal(self.scale_bits, name=f"scale{len(scales)}", reset_less=True))
                m.d.sync += scales[-1].eq(scales[-2])
            return scales[cycles]

        return scale

    def _look_up(self, m, name, value, tanh=0):
        """The result of an activation unit for what it is given in every cycle."""
        m.submodules[f"{name}_activation"] = unit = activation_component(self.activation, registered=True)
        m.d.comb += [unit.i_x.eq(value), unit.i_tanh.eq(tanh)]
        return unit.o_y

    def _gates(self, m, names, scale):
        """The results for pre-activations, by name."""
        order, lifts, results = CELL_SUMS[self.config.kind], self.widths.preact_lifts, {}
        for name in names:
            value = self.i_preact[order.index(name)]
            value = chosen_shift(m, f"looked_up_{name}", value, lifts, scale(0), self.config.argument.width)
            results[name] = self._look_up(m, name, value, tanh=int(name == "g"))
        return results

    def _later(self, m, name, value, cycles):
        """A value so many cycles later."""
        for n in range(cycles):
            later = register(f"{name}{n}", len(value))
            m.d.sync += later.eq(value)
            value = later
        return value

    def _product(self, m, name, left, right):
        """A product of what is in registers, ``CELL_PRODUCT`` cycles later."""
        product = register(f"{name}_product", len(left) + len(right))
        m.d.sync += product.eq(left * right)
        return product

    def _read_c(self, m, at, cycles):
        """c so many cycles behind the start of its unit, in a register behind its memory."""
        m.d.comb += self.o_read.eq(at[cycles - CELL_OPERANDS - READ_C])
        return self._later(m, "c", self.i_c, CELL_OPERANDS)

    def _lifted(self, m, product, scale):
        """A product of two activations at the fraction of its sum with c, by the layer."""
        lifts, width = [self.widths.g_shift + shift for shift in self.widths.c_shifts], self.widths.sum_width
        return chosen_shift(m, "lifted", product, lifts, scale, width)

    def _total(self, m, name, first, second):
        total = register(name, self.widths.sum_width)
        m.d.sync += total.eq(first + second)
        return total

    def _tanh(self, m, total, scale):
        """tanh of a sum, ``tanh`` cycles behind the start of its unit."""
        self._round(m, self.round_tanh, total, scale)
        return self._look_up(m, "tanh", self.round_tanh.o_next, tanh=1)

    @staticmethod
    def _round(m, rounder, value, scale):
        m.d.comb += [rounder.i.eq(value), rounder.i_select.eq(scale if len(set(rounder.i_fractions)) > 1 else 0)]

    def _lstm(self, m, at, scale):
        delays, result = self.delays, self._gates(m, GATE_NAMES, scale)
        f_times_c = self._product(m, "f", self._read_c(m, at, delays.gates["f"]), result["f"])
        i_times_g = self._product(m, "i", result["i"], result["g"])
        lifted = self._lifted(m, i_times_g, scale(delays.products))
        total = self._total(m, "total", f_times_c << self.widths.f_shift, lifted)
        summed = scale(delays.products + CELL_SUM)
        if self.round_tanh is not self.round_c:
            self._round(m, self.round_c, total, summed)
        tanh = self._tanh(m, total, summed)
        o = self._later(m, "o", result["o"], delays.tanh - delays.gates["o"])
        h = self._product(m, "h", o, tanh)
        self._round(m, self.round_h, h, scale(delays.tanh + CELL_PRODUCT))

    def _gru(self, m, at, scale):
        delays, fraction = self.delays, self.config.activated.fraction
        result = self._gates(m, ("r", "z"), scale)
        n_x, n_h = (self.i_preact[CELL_SUMS["gru"].index(name)] for name in ("n_x", "n_h"))
        n_h = self._later(m, "n_h", n_h, delays.gates["g"])
        n_x = self._later(m, "n_x", n_x, delays.products)
        candidate = self._total(m, "candidate", n_x << fraction, self._product(m, "r", n_h, result["r"]))
        n = self._tanh(m, candidate, scale(delays.products + CELL_SUM))
        z = self._later(m, "z", result["z"], delays.tanh - delays.gates["o"] - CELL_OPERANDS)
        new = register("one_less_z", max(len(z), fraction + 1) + 1)
        m.d.sync += new.eq((1 << fraction) - z)
        z_times_c = self._product(m, "z", self._read_c(m, at, delays.tanh), self._later(m, "last_z", z, CELL_OPERANDS))
        lifted = self._lifted(m, self._product(m, "new", new, n), scale(delays.tanh + CELL_PRODUCT))
        total = self._total(m, "total", z_times_c << self.widths.f_shift, lifted)
        for rounder in (self.round_c, self.round_h):
            self._round(m, rounder, total, scale(delays.tanh + CELL_PRODUCT + CELL_SUM))


def chosen_shift(m: Module, name: str, value: Value, shifts: list[int], select: Value, width: int) -> Value:
    """A signed value, to the left by one of several shifts."""
    if len(set(shifts)) == 1:
        return value << shifts[0]
    lifted = Signal(signed(width), name=name)
    with m.Switch(select):
        for n, shift in enumerate(shifts):
            with m.Case(n) if n < len(shifts) - 1 else m.Default():
                m.d.comb += lifted.eq(value << shift)
    return lifted
