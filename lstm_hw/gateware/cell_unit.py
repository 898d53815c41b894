"""CellUnit: finished row blocks in, hidden units out."""

from amaranth import *
from amaranth.lib import data, fifo, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, ceil_log2

from ..machine.arithmetic import preact_rounding
from ..machine.config import EngineConfig
from ..machine.isa import (
    ACTIVATION_BITS,
    ELEMENT_BITS,
    ELU,
    MODE_CELL,
    MODE_KEEP,
    MODE_LINEAR,
    MODE_RESET,
    MODE_ZERO,
    RELU,
    SCALE_BITS,
    TANH,
)
from ..machine.latency import DRAIN_TOLD, H_TOKEN_DELAY, REQUANTIZE, CellLatency
from ..machine.limits import GATE_NAMES, GATES, PEEPHOLES, SERIAL_SLOTS, VALUE_BITS
from ..machine.registers import CLIPPED_PLACES
from ..machine.shared_activation import make_exponential
from .activation import activation_component
from .cell import peepholes_layout
from .delta_encoder import encoder_input_layout
from .drain_unit import DrainUnit
from .instruction import command_layout
from .lane_group import drain_layout
from .parallel_cell import chosen_shift
from .peephole_cell import cell_of
from .requantize import Requantize, beyond, bounded
from .shared_activation import SharedActivation


def clipped_layout() -> data.StructLayout:
    """Values beyond their format in a cycle, by place: four pre-activations, a c, an h and a plain output at most."""
    return data.StructLayout({place: bits_for(GATES if place == "preact" else 1) for place in CLIPPED_PLACES})


def output_beat_layout() -> data.StructLayout:
    """One beat of the output stream: an element, h sign-extended, and the end-of-vector mark."""
    return data.StructLayout({"data": signed(VALUE_BITS), "last": 1})


class CellUnit(wiring.Component):
    """Runs CELL commands: rounds finished sums to pre-activations, forms c and h, sends them where they go.

    Parameters
    ----------
    config : EngineConfig

    Members
    -------
    i : stream of CELL commands
    i_clear, i_finished, o_finish_free
        See :class:`DrainUnit`; ``i_finished`` comes with the registered last column of a slot.
    o_drain, i_arrived, i_drained
        Drain chain of the lane array: request, and ``drain_latency`` cycles later its valid bit and the data.
    o_h_write, o_h_bank, o_h_address, o_h_data
        Write port of the h memory.
    o_signal : Out(1)
        An element of h can be read, in all contexts of its command; where columns may be ahead of it, soon.
    o_plain : Out(1), with lists or sparse h, and chains
        What is written is an output of a linear layer, which nobody watches.
    o_element, with lists or sparse h, and o_layer, where a MAC walks lists
        With ``o_h_write``: the element for its encoder or judge, and the layer that it is of.
    o : stream of output beats
    o_idle : Out(1)
        No command, no unit on its way, no output waiting.
    o_clipped : Out(clipped_layout()), where they are counted
        Values that were rounded to what their format does not hold; those of a unit before it is idle.

    Timing
    ------
    A unit that starts in cycle t reads its c ``read_latency`` and writes h ``latency`` cycles later. A
    row block can start ``DRAIN_TOLD`` + 1 cycles after ``i_finished``. The queue before ``o`` has
    room for everything that can be on its way, so the output alone slows nothing down until it
    stops for ``output_places`` elements.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        # Units of linear layers start in the phase of the first cell.
        self.cells = [cell_of(config, config.chains and n == 0) for n in range(config.cell_components)]
        how = {"flagged": config.count_clipped, "registered": not config.parallel, "direct": config.parallel}
        self.rounders = [Requantize(*preact_rounding(config), **how) for _ in range(config.drain_width)]
        delays = CellLatency(config)
        self.pieces, self.latency, self.looked_up = delays.pieces, delays.total, delays.looked_up
        in_flight = -(-self.latency * config.cells // SERIAL_SLOTS) + 2
        self.tags = 1 << ceil_log2(in_flight)
        if config.chains:
            in_flight = max(in_flight, GATES * (-(-(delays.gather + delays.plain) // SERIAL_SLOTS) + 1))
        self.output_places = 1 << ceil_log2(in_flight + 2 * GATES)
        self.drain = DrainUnit(config)
        element = signed(config.operand_bits)
        super().__init__(
            {
                "i": In(stream.Signature(command_layout("CELL", config))),
                "i_clear": In(1),
                "i_finished": In(1),
                "o_finish_free": Out(1),
                "o_drain": Out(drain_layout(config)),
                "i_arrived": In(1),
                "i_drained": In(data.ArrayLayout(signed(config.accumulator_bits), config.drain_width)),
                "o_h_write": Out(1),
                "o_h_bank": Out(range(config.contexts)),
                "o_h_address": Out(ELEMENT_BITS),
                "o_h_data": Out(element),
                "o_signal": Out(1),
                **({"o_plain": Out(1)} if config.watches_h and config.chains else {}),
                **({"o_element": Out(encoder_input_layout(config, config.states))} if config.watches_h else {}),
                **({"o_layer": Out(SCALE_BITS)} if config.walks else {}),
                "o": Out(stream.Signature(output_beat_layout())),
                "o_idle": Out(1),
                **({"o_clipped": Out(clipped_layout())} if config.count_clipped else {}),
            }
        )

    def elaborate(self, platform) -> Module:
        # A unit drains its sums, is rounded, passes its cell and goes where its tag says. The tag waits in a queue
        # wherever it is needed: at arrival, at the start of the cell, at the read and write of c, at the write of h.
        m = Module()
        m.submodules.drain = drain = self.drain
        wiring.connect(m, wiring.flipped(self.i), drain.i)
        finished = Signal(DRAIN_TOLD)
        m.d.sync += finished.eq(Cat(self.i_finished, finished))
        m.d.comb += [
            drain.i_clear.eq(self.i_clear),
            drain.i_finished.eq(finished[-1]),
            self.o_finish_free.eq(drain.o_finish_free),
            self.o_drain.eq(drain.o_drain),
        ]

        # Tags come in order and are never more than places, so each reader has a place of its own and nothing else.
        newest = Signal(range(self.tags), name="tags_written")
        m.d.sync += newest.eq(newest + drain.o_tagged)

        def tag_queue(name, take, tag=drain.o_tag, registered=False):
            layout = tag.shape()
            m.submodules[name] = store = memory.Memory(shape=layout, depth=self.tags, init=[])
            writer = store.write_port()  # alone: its signals are called so
            reader = store.read_port(domain="comb")
            place, following = (Signal(range(self.tags), name=f"{name}_{part}") for part in ("place", "next"))
            m.d.comb += [
                writer.en.eq(drain.o_tagged),
                writer.addr.eq(newest),
                writer.data.eq(tag),
                following.eq(place + take),
                reader.addr.eq(following if registered else place),
            ]
            m.d.sync += place.eq(following)
            if not registered:
                return reader.data
            kept = Signal(layout, name=f"{name}_kept", reset_less=True)
            m.d.sync += kept.eq(reader.data)
            return kept

        start, preact = self._gather(m, tag_queue)
        start_tag = tag_queue("start_tags", start)
        given = self._reset(m, preact, start_tag.mode == MODE_RESET) if self.config.reset_before else preact
        for n, cell in enumerate(self.cells):
            m.submodules[f"cell{n}"] = cell
            m.d.comb += [cell.i_start.eq(start & (start_tag.cell == n)), cell.i_preact.eq(given)]
            if cell.scale_bits:
                last = cell.widths.layers - 1
                m.d.comb += cell.i_scale.eq(Mux(start_tag.scale > last, last, start_tag.scale))
        read_tag = self._remember(m, tag_queue)
        if self.config.peepholes:
            self._keep_peepholes(m, read_tag, start & (start_tag.mode == MODE_KEEP), start_tag.state, preact)

        h = Signal(signed(self.config.operand_bits))
        h_valid = Signal()
        m.d.comb += h_valid.eq(Cat(cell.o_h_valid for cell in self.cells).any())
        # Tokens of h go far: their tag is read into a register, long before it is due.
        tag = tag_queue("h_tags", h_valid, registered=True)
        hidden = h_valid & (tag.mode != MODE_LINEAR)
        written = hidden if self.config.chains else h_valid
        m.d.comb += [
            h.eq(Mux(tag.mode == MODE_ZERO, 0, self._merged(m, "o_h", "o_h_valid"))),
            self.o_h_write.eq(written & tag.write),
            self.o_h_bank.eq(tag.context),
            self.o_h_address.eq(tag.target),
            self.o_h_data.eq(h),
            self.o_signal.eq(self._told(tag_queue) if self.config.forwards_h else written & tag.signal),
        ]
        if self.config.watches_h:
            of_list = tag_queue("list_tags", h_valid, drain.o_list_tag)
            m.d.comb += [
                *(self.o_element[name].eq(of_list[name]) for name in drain.list_tag.members),
                self.o_element.value.eq(h),
                self.o_element.address.eq(tag.target),
                self.o_element.zero.eq(tag.mode == MODE_ZERO),
                self.o_element.token.eq(tag.signal),
            ]
            if self.config.walks:
                m.d.comb += self.o_layer.eq(tag.scale)
        self._output(m, start, start_tag, preact, hidden & tag.emit, h, tag.last)
        self._count(m, h_valid, hidden)
        if self.config.count_clipped:
            starts = start & (start_tag.mode == MODE_CELL)
            m.d.comb += [
                self.o_clipped.preact.eq(Mux(starts, sum(self.preact_beyond), 0)),
                self.o_clipped.h.eq(self._beyond("h") & (tag.mode == MODE_CELL)),
            ]
        return m

    @staticmethod
    def _reset(m, preact, resets):
        """The pre-activations of a unit, or with ``resets`` those that give r*h: r, r, 0 and 0."""
        given = Signal(preact.shape(), name="given")
        m.d.comb += [value.eq(other) for value, other in zip(given, preact, strict=True)]
        with m.If(resets):
            m.d.comb += [given[1].eq(preact[0]), given[2].eq(0), given[3].eq(0)]
        return given

    def _told(self, tag_queue):
        """Whether an h is told of that columns may be ahead of."""
        tag, soon = self.drain.o_tag, self.cells[0].o_h_soon
        signal = tag.signal & (tag.mode != MODE_LINEAR) if self.config.chains else tag.signal
        return soon & tag_queue("signal_tags", soon, signal, registered=True)

    def _merged(self, m, name, flag):
        """The result of the cell that has one in this cycle."""
        value = Signal.like(getattr(self.cells[0], name), name=f"merged_{name}")
        for cell in self.cells:
            with m.If(getattr(cell, flag)):
                m.d.comb += value.eq(getattr(cell, name))
        return value

    def _beyond(self, name):
        """Whether a cell has a result in this cycle that was beyond its format."""
        return Cat(getattr(cell, f"o_{name}_valid") & getattr(cell, f"o_{name}_beyond") for cell in self.cells).any()

    def _remember(self, m, tag_queue):
        """The memory of c: each unit's is read for its cell, and written when it is new; returns the tag of what is
        read."""
        m.submodules.states = states = memory.Memory(shape=self.config.cell.width, depth=self.config.states, init=[])
        reader = states.read_port()
        writer = states.write_port()
        read = Signal()
        valid = Signal()
        m.d.comb += [
            read.eq(Cat(cell.o_read for cell in self.cells).any()),
            valid.eq(Cat(cell.o_c_valid for cell in self.cells).any()),
        ]
        read_tag, write_tag = tag_queue("read_tags", read), tag_queue("write_tags", valid)
        kept = write_tag.mode != MODE_LINEAR
        if self.config.reset_before or self.config.peepholes:  # MODE_KEEP is the same
            kept &= write_tag.mode != MODE_RESET
        m.d.comb += [
            reader.addr.eq(read_tag.state),
            reader.en.eq(1),
            writer.addr.eq(write_tag.state),
            writer.en.eq(valid & kept),
            writer.data.eq(Mux(write_tag.mode == MODE_ZERO, 0, self._merged(m, "o_c", "o_c_valid"))),
            *(cell.i_c.eq(reader.data) for cell in self.cells),
        ]
        if self.config.count_clipped:
            m.d.comb += self.o_clipped.c.eq(self._beyond("c") & (write_tag.mode == MODE_CELL))
        return read_tag

    def _keep_peepholes(self, m, read_tag, keeps, state, preact):
        """The memory of the weights of c: what a unit that keeps its sums has of them, read with its c."""
        layout = peepholes_layout(self.config)
        m.submodules.peepholes = peepholes = memory.Memory(shape=layout, depth=self.config.states, init=[])
        reader, writer = peepholes.read_port(), peepholes.write_port()
        sums = [preact[GATE_NAMES.index(name)] for name in PEEPHOLES]
        m.d.comb += [
            reader.addr.eq(read_tag.state),
            reader.en.eq(1),
            writer.addr.eq(state),
            writer.en.eq(keeps),
            *(kept.eq(value) for kept, value in zip(writer.data, sums, strict=True)),
            *(cell.i_peepholes.eq(reader.data) for cell in self.cells),
        ]

    def _count(self, m, h_valid, hidden):
        """Units on their way: those with an h alone, and all."""
        drain = self.drain
        busy = Signal(range(self.tags + 1))
        flying = Signal(range(self.tags + 1))
        some = Signal()  # busy != 0
        starts_hidden = drain.o_tagged & (drain.o_tag.mode != MODE_LINEAR)
        with m.If(starts_hidden ^ hidden):
            m.d.sync += [busy.eq(busy + Mux(hidden, -1, 1)), some.eq(starts_hidden | (busy != 1))]
        with m.If(drain.o_tagged ^ h_valid):
            m.d.sync += flying.eq(flying + Mux(h_valid, -1, 1))
        m.d.comb += [drain.i_busy_cells.eq(some), self.o_idle.eq(drain.o_idle & (flying == 0) & self.quiet)]

    def _gather(self, m, tag_queue):
        """Round what arrives and collect the four pre-activations of a unit; returns (start, values)."""
        config, pieces = self.config, self.pieces
        piece = Signal(range(pieces))
        latency = self.rounders[0].latency
        valid = self.i_arrived
        if latency:
            passed = Signal(latency, name="valid")
            m.d.sync += passed.eq(Cat(self.i_arrived, passed))
            valid = passed[-1]
        scale = Const(0, 1)  # of one layer alone
        if len(config.shifts) > 1 and self.rounders[0].aligns:
            arriving = Signal(range(pieces), name="arriving")
            scale = tag_queue("arrival_tags", self.i_arrived & (arriving == pieces - 1)).scale
            with m.If(self.i_arrived):
                m.d.sync += arriving.eq(Mux(arriving == pieces - 1, 0, arriving + 1))
        preact = Signal(data.ArrayLayout(signed(config.preact.width), GATES), reset_less=True)
        if config.count_clipped:
            self.preact_beyond = Signal(GATES, reset_less=True)
        start = Signal()
        if not config.parallel:
            m.d.sync += start.eq(valid & (piece == pieces - 1))
        with m.If(valid):
            m.d.sync += piece.eq(Mux(piece == pieces - 1, 0, piece + 1))
        for n, rounder in enumerate(self.rounders):
            m.submodules[f"round_preact{n}"] = rounder
            # The low bits of a sum say by how many places its row has more fraction bits.
            row, total = self.i_drained[n][: config.row_bits], self.i_drained[n][config.row_bits :].as_signed()
            m.d.comb += [rounder.i.eq(total), rounder.i_select.eq(Cat(row, scale))]
            if config.parallel:  # all four are there at once, and rounded on their way into the cell
                m.d.comb += [start.eq(valid), preact[n].eq(rounder.o_next)]
                if config.count_clipped:
                    m.d.comb += self.preact_beyond[n].eq(rounder.o_beyond)
                continue
            for index in range(pieces):
                with m.If(valid & (piece == index)):
                    m.d.sync += preact[index * config.drain_width + n].eq(rounder.o)
                    if config.count_clipped:
                        m.d.sync += self.preact_beyond[index * config.drain_width + n].eq(rounder.o_beyond)
        return start, preact

    def _output(self, m, start, tag, preact, h_emitted, h, h_last):
        """Queue h elements and plain outputs for the output stream; sets ``quiet`` when nothing waits."""
        drain = self.drain
        m.submodules.output = queue = fifo.SyncFIFOBuffered(width=output_beat_layout().size, depth=self.output_places)
        promised = Signal(range(self.output_places + 1))
        room = Signal(init=1)
        popped = queue.r_rdy & self.o.ready
        # Whether there is room is worked out for the next cycle, with and without a unit that starts in this one.
        most = self.output_places - GATES

        def fits(places):
            return Mux(popped, places <= most + 1, places <= most)

        m.d.sync += [
            promised.eq(promised + (drain.o_promised - popped)),
            room.eq(
                Mux(drain.o_tagged & drain.o_tag.emit, fits(promised + drain.o_tag.outputs), fits(promised)),
            ),
        ]
        m.d.comb += drain.i_room.eq(room)

        # Plain outputs of a unit leave one a cycle; the next such unit starts five cycles later.
        left = Signal(3)
        last = Signal()
        emits = start & (tag.mode == MODE_LINEAR)
        if not self.config.chains:
            emits &= tag.emit
        with m.If(emits):
            m.d.sync += [left.eq(tag.outputs), last.eq(tag.last)]
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        output = self._in_turn(m, emits, preact)
        plain = self.config.plain(VALUE_BITS)
        value = output if self.config.preact.width == VALUE_BITS else bounded(output, 0, plain)
        valid, ends = left != 0, last & (left == 1)
        if self.config.chains:
            valid, value, ends = self._activated(m, start, tag, output, left)
        beat = output_beat_layout()(queue.w_data)
        m.d.comb += [
            queue.w_en.eq(h_emitted | valid),
            beat.data.eq(Mux(valid, value, h)),
            beat.last.eq(Mux(valid, ends, h_last)),
            self.o.valid.eq(queue.r_rdy),
            queue.r_en.eq(self.o.ready),
            self.o.payload.eq(queue.r_data),
        ]
        if self.config.count_clipped and not self.config.chains:
            self._count_outputs(m, emits, output, left)
        self.quiet = promised == 0

    def _in_turn(self, m, emits, preact):
        """The plain outputs of a unit, one a cycle from the one behind ``emits`` on."""
        if self.config.cells == 1:
            # The next unit replaces each pre-activation in the cycle behind its turn at the earliest.
            place = Signal(range(GATES), name="output_place", reset_less=True)
            m.d.sync += place.eq(Mux(emits, 0, place + 1))
            return preact[place]
        values = Signal(preact.shape(), name="plain_outputs", reset_less=True)
        m.d.sync += values.eq(Mux(emits, preact.as_value(), values.as_value() >> self.config.preact.width))
        return values[0]

    def _activated(self, m, start, tag, value, left):
        """Plain outputs through the activation unit of the first cell, or beside it, and to the h memory.

        Returns those for the output stream: whether there is one, its value and whether it is the last of its packet.
        """
        config, cell = self.config, self.cells[0]
        layout = data.StructLayout(
            {
                "value": signed(config.preact.width),
                "activation": ACTIVATION_BITS,
                "valid": 1,
                "emit": 1,
                "last": 1,
                "write": 1,
                "signal": 1,
                "bank": range(config.contexts),
                "address": range(config.h_elements),
                "beyond": 1,
            }
        )
        held, output = Signal(tag.shape(), name="plain_tag", reset_less=True), Signal(layout, name="plain_output")
        plain = start & (tag.mode == MODE_LINEAR)
        with m.If(plain):
            m.d.sync += held.eq(tag)
        with m.Elif(left != 0):
            m.d.sync += held.target.eq(held.target + 1)
        m.d.comb += [
            output.value.eq(value),
            output.activation.eq(held.activation),
            output.valid.eq(left != 0),
            output.emit.eq(held.emit),
            output.last.eq(held.last & (left == 1)),
            output.write.eq(held.write),
            output.signal.eq(held.signal),
            output.bank.eq(held.context),
            output.address.eq(held.target),
        ]
        if not config.parallel:
            m.d.comb += [cell.i_plain.eq(plain), cell.i_plain_tanh.eq(tag.activation == TANH)]
        if config.count_clipped:
            flags = Signal(GATES, name="outputs_beyond", reset_less=True)
            m.d.sync += flags.eq(Mux(plain, self.preact_beyond, flags >> 1))
            m.d.comb += output.beyond.eq(flags[0])
        here = self._later(m, output, self.looked_up, "plain")
        # What the activation unit gives has bits to drop; the rest has its fraction already.
        looked_up, negative = here.activation > ELU, here.value < 0
        result = self._looked_up(m, output, held.scale) if config.parallel else cell.o_result
        result = self._later(m, result, self.looked_up - cell.activation.latency, "result")
        exact = Mux(looked_up, result, Mux((here.activation == RELU) & negative, 0, here.value))
        select = looked_up
        if config.elu:
            exact, select = self._elu(m, output, here, exact, looked_up)
        widths = dict.fromkeys((VALUE_BITS, config.operand_bits))
        for width in widths:
            fraction = config.preact.fraction
            fractions = tuple(dict.fromkeys((fraction, fraction + config.activated.width - width)))
            if config.elu:
                behind = config.activated.fraction + 1 + config.preact.integer
                drops = 0, config.activated.width - width, config.preact.width - width, behind - width
                fractions = tuple(fraction + drop for drop in drops)
            rounder = Requantize(len(exact), fractions, config.plain(width), config.count_clipped)
            m.submodules[f"round_plain{width}"] = widths[width] = rounder
            m.d.comb += [rounder.i.eq(exact), rounder.i_select.eq(select)]
        ahead = H_TOKEN_DELAY - self.cells[0].delays.token
        told = self._later(m, here, REQUANTIZE - ahead, "rounded")
        there = self._later(m, told, ahead, "told")
        memory, stream_value = widths[config.operand_bits], widths[VALUE_BITS]
        with m.If(there.valid):
            m.d.comb += [
                self.o_h_write.eq(there.write),
                self.o_h_bank.eq(there.bank),
                self.o_h_address.eq(there.address),
                self.o_h_data.eq(memory.o),
                *([] if ahead else [self.o_signal.eq(there.signal)]),
            ]
        if ahead:
            with m.If(told.valid):
                m.d.comb += self.o_signal.eq(told.signal)
        if config.watches_h:
            m.d.comb += self.o_plain.eq(there.valid)
        if config.count_clipped:
            one_sided = (there.activation == RELU) | (there.activation == ELU)
            flag = there.beyond & ~(one_sided & (there.value < 0))
            flag |= Mux(there.write, memory.o_beyond, stream_value.o_beyond)
            m.d.comb += self.o_clipped.output.eq(there.valid & flag)
        # What is written and sent is the same.
        sent = stream_value.o if len(widths) == 1 else Mux(there.write, memory.o, stream_value.o)
        return there.valid & there.emit, sent, there.last

    def _looked_up(self, m, output, scale):
        """What an activation unit of their own makes of plain outputs, beside a parallel cell."""
        m.submodules.activation = unit = activation_component(self.config.unit)
        widths = self.cells[0].widths
        scale = Mux(scale > widths.layers - 1, widths.layers - 1, scale)
        x = chosen_shift(m, "looked_up", output.value, widths.preact_lifts, scale, self.config.argument.width)
        m.d.comb += [unit.i_x.eq(x), unit.i_tanh.eq(output.activation == TANH)]
        return unit.o_y

    def _elu(self, m, output, here, exact, looked_up):
        """What is rounded, and how, with the table of ELU for what is below zero: twice its result less one."""
        unit = make_exponential(self.config.preact, self.config.activated)
        m.submodules.elu = component = SharedActivation(unit)
        m.d.comb += [component.i_x.eq(output.value), component.i_tanh.eq(0)]
        result = self._later(m, component.o_y, self.looked_up - component.latency, "elu_result")
        is_elu, negative = here.activation == ELU, here.value < 0
        below = (result << 1) - (1 << unit.o_format.fraction)
        return Mux(is_elu & negative, below, exact), Mux(is_elu, Cat(negative, C(1, 1)), looked_up)

    @staticmethod
    def _later(m, value, cycles, name):
        """A value so many cycles later."""
        for n in range(cycles):
            later = Signal.like(value, name=f"{name}{n}")
            m.d.sync += later.eq(value)
            value = later
        return value

    def _count_outputs(self, m, emits, value, left):
        """Plain outputs are bounded as pre-activations and, where those are wider, once more: that is the bound."""
        if self.config.preact.width == VALUE_BITS:
            flags = Signal(GATES, name="outputs_beyond", reset_less=True)
            m.d.sync += flags.eq(Mux(emits, self.preact_beyond, flags >> 1))
            flag = flags[0]
        else:
            flag = beyond(value, 0, self.config.plain(VALUE_BITS))
        m.d.comb += self.o_clipped.output.eq((left != 0) & flag)
