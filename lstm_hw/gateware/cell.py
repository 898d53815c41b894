"""Cell: one hidden unit in five cycles, with one activation unit and one multiplier."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..machine.arithmetic import CellArithmetic
from ..machine.config import EngineConfig
from ..machine.latency import REQUANTIZE, SLOT, CellLatency
from ..machine.limits import GATE_NAMES, GATES, PEEPHOLES, SERIAL_SLOTS
from .activation import activation_component
from .requantize import Requantize


class Cell(wiring.Component):
    """The LSTM cell: c' = f*c + i*g and h = o*tanh(c'), from four pre-activations and c.

    tanh reads f*c + i*g rounded to the format of the activation unit's inputs, not to that of c. Where both are the
    same, so is what it reads.

    The five activations take the five slots of a unit in turn: i, f, g, o and, some units later,
    tanh(c'). The three products take three of the five slots of the one multiplier. Units start a
    multiple of five cycles apart, so slots of different units never meet and nothing stalls.

    Parameters
    ----------
    config : EngineConfig
    plain : bool
        Whether units of linear layers start here too, whose four values take the slots of the gates and no more.

    Members
    -------
    i_plain, i_plain_tanh : In(1), o_result : Out, with ``plain``
        With ``i_start``: the unit is one of a linear layer, and whether its activation is tanh and not sigmoid. The
        results of the activation unit.
    i_start : In(1), i_preact : In(4 pre-activations: i, f, g, o)
        A unit starts; a multiple of five cycles after the one before.
    i_scale : In, where layers have formats that differ
        Index into ``preact_shifts``, ``c_shifts`` and ``h_shifts`` for the unit that starts.
    o_read : Out(1)
        The address of this unit's c is due: c must be on ``i_c`` in the next cycle, and with peepholes their weights
        on ``i_peepholes``.
    i_c : In
    i_peepholes : In(peepholes_layout(config)), with peepholes
    o_c : Out, o_c_valid : Out(1)
        The new c, ``update_latency`` cycles after ``i_start``.
    o_h : Out, o_h_valid : Out(1)
        The new h, ``latency`` cycles after ``i_start``.
    o_h_soon : Out(1), where columns may be ahead of h
        A new h may be told of, before it is there.
    o_c_beyond, o_h_beyond : Out(1), where values beyond their format are counted
        The new c or h was, before it was bounded; with it.
    """

    def __init__(self, config: EngineConfig, plain: bool = False):
        self.config, self.plain = config, plain
        self.activation = config.unit
        activated, cell = config.activated, config.cell
        self.widths = CellArithmetic(config)
        self.scale_bits = (self.widths.layers - 1).bit_length()

        self.delays = CellLatency(config)
        self.update_latency, self.latency = self.delays.update, self.delays.cell
        self.tanh_wait = self.delays.tanh_slot - self.update_latency  # cycles that what tanh reads waits for its slot
        self._make_rounders()
        scale = {"i_scale": In(self.scale_bits)} if self.scale_bits else {}
        super().__init__(
            {
                "i_start": In(1),
                **scale,
                "i_preact": In(data.ArrayLayout(signed(config.preact.width), GATES)),
                **({"i_peepholes": In(peepholes_layout(config))} if config.peepholes else {}),
                "o_read": Out(1),
                "i_c": In(signed(cell.width)),
                "o_c": Out(signed(cell.width)),
                "o_c_valid": Out(1),
                "o_h": Out(signed(config.operand_bits)),
                "o_h_valid": Out(1),
                **({"o_h_soon": Out(1)} if config.forwards_h else {}),
                **({"o_c_beyond": Out(1), "o_h_beyond": Out(1)} if config.count_clipped else {}),
                **(
                    {"i_plain": In(1), "i_plain_tanh": In(1), "o_result": Out(signed(activated.width))} if plain else {}
                ),
            }
        )

    def _make_rounders(self):
        """What rounds the sum to c and for tanh, and the product to h."""
        config, widths = self.config, self.widths
        self.round_c = Requantize(*widths.c, config.count_clipped)
        # tanh reads the same sum in the activation unit's format, so that a wide c makes its path no longer.
        same = config.kind == "lstm" and config.cell == config.argument and not any(widths.c_shifts)
        # Only what waits for its slot has a register.
        self.round_tanh = self.round_c if same else Requantize(*widths.tanh, registered=self.tanh_wait > 0)
        self.round_h = Requantize(*widths.h, config.count_clipped)

    def elaborate(self, platform) -> Module:
        # Slots in the order of the formulas: five activations, three products, one sum. What waits for its slot has a
        # register; everything else meets in the cycle in which it is made.
        m = Module()
        m.submodules.round_c, m.submodules.round_h = self.round_c, self.round_h
        if self.round_tanh is not self.round_c:
            m.submodules.round_tanh = self.round_tanh

        at = self._passed(m)
        new_c = register("new_c", self.config.argument.width)  # as tanh reads it
        result = self._activate(m, at, new_c)
        i, o = self._keep(m, at, result)
        product = self._multiply(m, at, i, o, result)
        scale = Signal(self.scale_bits, name="c_scale") if any(self.widths.c_shifts) else None
        self._update(m, at, product, new_c, scale)
        if self.scale_bits:
            self._select(m, at, scale)
        if self.config.count_clipped:
            m.d.comb += [self.o_c_beyond.eq(self.round_c.o_beyond), self.o_h_beyond.eq(self.round_h.o_beyond)]
        return m

    def _passed(self, m):
        """Whether a unit started so many cycles ago, by their number."""
        passed = Signal(self.latency)
        m.d.sync += passed.eq(Cat(self.i_start, passed))
        return [self.i_start, *passed]

    def _activate(self, m, at, new_c):
        """The slots of the activation unit: gates i, f, g and o of a unit, then tanh(c'); returns its results."""
        # What a slot takes is chosen in the cycle before, and waits behind its magnitude: the update may be as late as
        # that cycle.
        width = self.config.preact.width
        m.submodules.activation = activation = activation_component(self.activation, registered=True)
        gates = [self.i_preact[0], *(register(f"preact_{name}", width) for name in GATE_NAMES[1:])]
        with m.If(self.i_start):
            m.d.sync += [gate.eq(value) for gate, value in zip(gates[1:], self.i_preact[1:], strict=True)]
        x, tanh = activation.i_x, activation.i_tanh
        m.d.comb += [x.eq(self._argument_of_tanh(new_c)), tanh.eq(1)]
        if self.plain:
            plain, plain_tanh = self._plain(m)
            m.d.comb += self.o_result.eq(activation.o_y)
        lifted = self._lifts(m, x)
        for n, gate in enumerate(gates):
            is_tanh = n == GATE_NAMES.index("g")
            with m.If(at[SLOT + n - 1]):
                m.d.comb += [*lifted(gate), tanh.eq(Mux(plain, plain_tanh, is_tanh) if self.plain else is_tanh)]
        return activation.o_y

    def _lifts(self, m, x):
        """The function that gives the statements which make a pre-activation the input of the activation unit: where
        layers have formats of their own, it stands higher by what its unit's layer says."""
        if not any(self.widths.preact_lifts):
            return lambda value: [x.eq(value)]
        value, taken = Signal(signed(self.config.preact.width), name="looked_up"), Signal(name="is_looked_up")
        kept = Signal(self.scale_bits, name="preact_scale", reset_less=True)
        with m.If(self.i_start):
            m.d.sync += kept.eq(self.i_scale)
        with m.If(taken), m.Switch(Mux(self.i_start, self.i_scale, kept)):
            for n, lift in enumerate(self.widths.preact_lifts):
                with m.Case(n) if n < len(self.widths.preact_lifts) - 1 else m.Default():
                    m.d.comb += x.eq(value << lift)
        return lambda preact: [value.eq(preact), taken.eq(1)]

    @staticmethod
    def _delayed(m, at, name, value, cycle, first=0):
        """A value of the start of a unit, or of a cycle behind it, in a later one: a register for every five."""
        for n in range((cycle - first - 1) // SERIAL_SLOTS + 1):
            kept = register(f"{name}{n}", len(value))
            with m.If(at[first + SERIAL_SLOTS * n]):
                m.d.sync += kept.eq(value)
            value = kept
        return value

    def _plain(self, m):
        """Whether the unit that started last is one of a linear layer, and whether its activation is tanh."""
        held = Signal(2, name="plain", reset_less=True)
        given = Cat(self.i_plain, self.i_plain_tanh)
        with m.If(self.i_start):
            m.d.sync += held.eq(given)
        return Mux(self.i_start, given, held)

    def _keep(self, m, at, result):
        """Results that wait for their product: i for one cycle, o until tanh(c') is there."""
        bits = self.config.activated.width
        i = register("i", bits)
        with m.If(at[self.delays.gates["i"]]):
            m.d.sync += i.eq(result)
        output_gates = [register(f"o{n}", bits) for n in range(self.delays.tanh_slot // SERIAL_SLOTS)]
        for n, o in enumerate(output_gates):
            with m.If(at[self.delays.gates["o"] + SERIAL_SLOTS * n]):
                m.d.sync += o.eq(result if n == 0 else output_gates[n - 1])
        return i, output_gates[-1]

    def _multiply(self, m, at, i, o, result):
        """The slots of the multiplier: f*c, i*g and o*tanh(c'); returns its product."""
        bits = self.config.activated.width
        left, right = register("left", self.widths.left_width), register("right", bits)
        product = register("product", len(left) + len(right))
        m.d.sync += [left.eq(o), right.eq(result), product.eq(left * right)]
        with m.If(at[self.delays.gates["f"]]):
            m.d.sync += [left.eq(self.i_c), right.eq(result)]
        with m.If(at[self.delays.gates["g"]]):
            m.d.sync += [left.eq(i), right.eq(result)]
        m.d.comb += self.o_read.eq(at[self.delays.gates["f"] - 1])
        return product

    def _argument_of_tanh(self, kept):
        """What tanh reads, in its slot; ``kept`` has it where that is later."""
        if self.tanh_wait > 1:
            return kept
        return self.round_tanh.o if self.tanh_wait else self.round_tanh.o_next

    def _update(self, m, at, product, new_c, scale):
        """c' = f*c + i*g, exactly, then rounded once; h is the last product, rounded."""
        held = register("f_times_c", len(product))
        total = register("total", self.widths.sum_width)
        lifted = self._lifted(m, product, scale)
        m.d.sync += [held.eq(product), total.eq((held << self.widths.f_shift) + lifted)]
        m.d.comb += [self.round_c.i.eq(total), self.o_c.eq(self.round_c.o), self.o_c_valid.eq(at[self.update_latency])]
        if self.round_tanh is not self.round_c:
            m.d.comb += self.round_tanh.i.eq(total)
        if self.round_tanh.registered:
            with m.If(self.o_c_valid):
                m.d.sync += new_c.eq(self.round_tanh.o)
        m.d.comb += [self.round_h.i.eq(product), self.o_h.eq(self.round_h.o), self.o_h_valid.eq(at[self.latency])]

    def _lifted(self, m, product, scale):
        """A product of two activations at the fraction of its sum with c, by the layer."""
        if not any(self.widths.c_shifts):
            return product << self.widths.g_shift
        lifted = Signal(signed(len(product) + self.widths.g_shift + max(self.widths.c_shifts)), name="lifted")
        with m.Switch(scale):
            for n, shift in enumerate(self.widths.c_shifts):
                with m.Case(n) if n < len(self.widths.c_shifts) - 1 else m.Default():
                    m.d.comb += lifted.eq(product << (self.widths.g_shift + shift))
        return lifted

    def _scales(self, m, at):
        """Hand each unit's scale from slot to slot until its h is rounded: one after the other, the last for h."""
        scale = self.i_scale
        for n in range((self.latency - REQUANTIZE - 1) // SERIAL_SLOTS + 1):
            kept = Signal(self.scale_bits, name=f"scale{n}", reset_less=True)
            with m.If(at[SERIAL_SLOTS * n]):
                m.d.sync += kept.eq(scale)
            scale = kept
            yield kept

    def _select(self, m, at, c_scale):
        """What takes a unit's scale; ``c_scale`` is that of the sum for c."""
        for n, kept in enumerate(self._scales(m, at)):
            if c_scale is not None and n == (self.delays.products - 1) // SERIAL_SLOTS:
                m.d.comb += c_scale.eq(kept)
            if c_scale is not None and n == (self.update_latency - REQUANTIZE - 1) // SERIAL_SLOTS:
                m.d.comb += self.round_tanh.i_select.eq(kept)
        m.d.comb += self.round_h.i_select.eq(kept)


def peepholes_layout(config: EngineConfig) -> data.ArrayLayout:
    """Weights of c in i, f and o."""
    return data.ArrayLayout(signed(config.peepholes.width), len(PEEPHOLES))


def register(name: str, width: int) -> Signal:
    """A signed register without reset."""
    return Signal(signed(width), name=name, reset_less=True)
