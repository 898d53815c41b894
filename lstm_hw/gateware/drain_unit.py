"""DrainUnit: the finished row blocks that the units of CELL commands need, asked for when they are due."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..machine.config import EngineConfig
from ..machine.isa import ACTIVATION_BITS, MODE_LINEAR, MODE_ZERO, OPS, THRESHOLD_BITS
from ..machine.limits import CELL_PHASES, GATES, SERIAL_SLOTS
from .instruction import command_layout
from .lane_group import drain_layout


class DrainUnit(wiring.Component):
    """Walks through CELL commands: a drain request a piece and a tag a unit.

    Units go in ascending order, within a unit the contexts of the mask. A unit starts in a cycle
    whose number (mod 5, counted from ``i_clear``) belongs to a cell, when its row block is finished
    and the output has room for it.

    Members
    -------
    i : stream of CELL commands
    i_clear : In(1)
        A run starts; the unit is idle.
    i_finished : In(1)
        A row block can be read.
    o_finish_free : Out(1)
        The oldest row block has been read.
    i_room : In(1)
        The output queue has places for a unit that are not promised yet.
    o_promised : Out
        Places that the unit started in this cycle will need.
    i_busy_cells : In(1)
        A hidden unit is on its way; plain outputs wait for it, to keep the order of the stream.
    o_drain : Out
        Requests, registered.
    o_tag, o_tagged : Out
        The tag of a unit that starts, one cycle before its first request.
    o_list_tag : Out, with lists or sparse h
        Beside it, what the encoder of h needs.
    o_idle : Out(1)
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        self.tag = data.StructLayout(
            {
                "mode": OPS["CELL"].fields["mode"],
                "scale": OPS["CELL"].fields["scale"],
                "outputs": 3,
                "cell": range(config.cell_components),
                "context": range(config.contexts),
                "state": range(config.states),
                "target": range(config.h_elements),
                "write": 1,
                "signal": 1,
                "emit": 1,
                "last": 1,
                **({"activation": ACTIVATION_BITS} if config.chains else {}),
            }
        )
        self.list_tag = data.StructLayout(
            {"reference": range(config.states), "threshold": THRESHOLD_BITS, "first": 1, "last": 1}
        )
        super().__init__(
            {
                **({"o_list_tag": Out(self.list_tag)} if config.watches_h else {}),
                "i": In(stream.Signature(command_layout("CELL", config))),
                "i_clear": In(1),
                "i_finished": In(1),
                "o_finish_free": Out(1),
                "i_room": In(1),
                "o_promised": Out(3),
                "i_busy_cells": In(1),
                "o_drain": Out(drain_layout(config)),
                "o_tag": Out(self.tag),
                "o_tagged": Out(1),
                "o_idle": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        # A command is a walk over its units, and within a unit over the contexts of its mask. A unit starts in the next
        # cycle that belongs to a cell, once its sums are there and its outputs have room. It takes its tag along and
        # asks for its sums, piece by piece. What decides are flags that were worked out in the cycle before.
        m = Module()
        walk = _Walk(self.config)
        in_phase, cell = self._phase(m, walk)
        readable = Signal()
        start, unit_ends, block_ends, ends = (
            Signal(name=name) for name in ("start", "unit_ends", "block_ends", "command_ends")
        )
        finished = Signal(range(self.config.finish_entries + 1))  # row blocks that can be read
        there, idle, frees = readable, ~walk.held, block_ends & ~walk.zero
        if self.config.gate_blocks:
            there, busy = self._of_gates(m, walk, readable, finished, ends)
            idle, frees = idle & ~busy, block_ends & walk.linear | busy
        ready, room = walk.zero | there, ~walk.command.emit | self.i_room
        m.d.comb += [
            start.eq(walk.held & in_phase & ready & room & ~(walk.linear & self.i_busy_cells)),
            unit_ends.eq(start & walk.last_context),
            ends.eq(unit_ends & walk.last_unit),
            block_ends.eq(unit_ends & (walk.last_unit | walk.last_of_block)),
            self.i.ready.eq(idle),
            self.o_idle.eq(idle),
            self.o_finish_free.eq(frees),
        ]
        with m.If(self.i_finished ^ self.o_finish_free):
            m.d.sync += [
                finished.eq(finished + Mux(self.i_finished, 1, -1)),
                readable.eq(self.i_finished | (finished != 1)),
            ]

        with m.If(self.i.valid & self.i.ready):
            walk.begin(m, self.i.payload)
        with m.If(start):
            walk.next_context(m)
        with m.If(unit_ends):
            walk.next_unit(m)
        with m.If(ends):
            walk.end(m)
        with m.If(block_ends):
            walk.next_block(m)
        with m.If(self.o_finish_free):
            walk.next_entry(m)

        self._tag(m, walk, start, ends, cell)
        self._request(m, walk, start)
        return m

    def _of_gates(self, m, walk, readable, finished, ends):
        """Where row blocks are of one gate, units wait for all of their layer's, which become free one a cycle behind
        the last unit. Returns whether row blocks are there, and whether some are becoming free."""
        cells, blocks = ~walk.linear & ~walk.zero, walk.command.stride << 2
        left = Signal(len(blocks), name="becoming_free")
        with m.If(ends & cells):
            m.d.sync += left.eq(blocks)
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        return Mux(walk.linear, readable, finished >= blocks), left != 0

    def _phase(self, m, walk):
        """Whether a cell is due in this cycle, and which: its units start a multiple of five cycles apart."""
        phase = Signal(SERIAL_SLOTS, init=1)  # one bit is high
        m.d.sync += phase.eq(Mux(self.i_clear, 1, phase.rotate_left(1)))
        in_phase = Signal()
        cell = Signal(range(self.config.cell_components))
        phases = CELL_PHASES[self.config.cells]
        m.d.comb += in_phase.eq(Mux(walk.linear, phase[0], Cat(phase[p] for p in phases).any()))
        for n, p in enumerate(phases[: self.config.cell_components]):
            with m.If(phase[p]):
                m.d.comb += cell.eq(n)
        return in_phase, cell

    def _tag(self, m, walk, start, ends, cell):
        """What a unit takes along, and the places that it will need in the output queue."""
        command, outputs = walk.command, walk.outputs
        m.d.comb += [
            self.o_promised.eq(Mux(start & command.emit, outputs, 0)),
            self.o_tagged.eq(start),
            self.o_tag.mode.eq(command.mode),
            self.o_tag.scale.eq(command.scale),
            self.o_tag.outputs.eq(outputs),
            self.o_tag.cell.eq(cell),
            self.o_tag.context.eq(walk.context(m)),
            self.o_tag.state.eq(walk.state),
            self.o_tag.target.eq(command.target),
            self.o_tag.write.eq(command.write if self.config.chains else command.write & ~walk.linear),
            self.o_tag.signal.eq(command.signal & walk.last_context),
            self.o_tag.emit.eq(command.emit),
            self.o_tag.last.eq(command.last & ends),
        ]
        if self.config.chains:
            m.d.comb += self.o_tag.activation.eq(command.activation)
        if self.config.watches_h:
            m.d.comb += [
                self.o_list_tag.reference.eq(walk.state),
                self.o_list_tag.threshold.eq(command.threshold),
                self.o_list_tag.first.eq(walk.first),
                self.o_list_tag.last.eq(ends),
            ]

    def _request(self, m, walk, start):
        """The pieces of a unit are requested in consecutive cycles."""
        pieces = GATES // self.config.drain_width
        piece = Signal(range(pieces))
        more = Signal()
        entry, first = walk.entry, walk.unit * pieces
        if self.config.gate_blocks:  # the sums of a unit are in one lane
            cells = ~walk.linear
            entry, first = Mux(cells, walk.place, walk.entry), Mux(cells, walk.unit, first)
        with m.If(start):
            m.d.sync += [
                self.o_drain.valid.eq(1),
                self.o_drain.entry.eq(entry),
                self.o_drain.group.eq(walk.group),
                self.o_drain.piece.eq(first),
                self.o_drain.context.eq(self.o_tag.context),
                piece.eq(1),
                more.eq(pieces > 1),
            ]
        with m.Else():
            m.d.sync += [
                self.o_drain.valid.eq(more),
                self.o_drain.piece.eq(self.o_drain.piece + 1),
                piece.eq(piece + 1),
                more.eq(more & (piece != pieces - 1)),
            ]
        if self.config.gate_blocks:
            strides = Signal(name="strides")
            with m.If(start):
                m.d.sync += strides.eq(~walk.linear)
            with m.Elif(strides):
                m.d.sync += [
                    self.o_drain.piece.eq(self.o_drain.piece),
                    self.o_drain.entry.eq(walk.later(self.o_drain.entry, walk.command.stride)),
                ]


class _Walk:
    """Where the unit stands: the command that it holds, and the hidden unit and context that start next."""

    def __init__(self, config):
        self.contexts, self.entries = config.contexts, config.finish_entries
        self.last_place = (config.groups - 1, config.group_rows // GATES - 1)
        self.gate_blocks, self.rows, self.group_rows = config.gate_blocks, config.rows, config.group_rows
        self.command, self.held = Signal(command_layout("CELL", config), name="command"), Signal(name="held")
        self.todo = Signal(config.contexts, name="todo")  # contexts left of this unit
        self.state = Signal(range(config.states), name="state")  # where the c of the next one is
        self.group = Signal(range(config.groups), name="group")  # the unit's place in its row block
        self.unit = Signal(range(config.group_rows // (1 if config.gate_blocks else GATES)), name="unit")
        self.entry = Signal(range(config.finish_entries), name="entry")  # where the row block is
        if config.gate_blocks:
            self.place = Signal(range(config.finish_entries), name="place")  # where that of a unit's first gate is
        self.linear, self.zero = Signal(name="linear"), Signal(name="zero")  # modes
        # Units left, as their complement: sums up take carries alone.
        self.units_not_left = Signal.like(self.command.units, name="units_not_left")
        self.units = ~self.units_not_left
        self.outputs = Signal(range(GATES + 1), name="outputs")  # of the unit that starts next
        self.step = Mux(self.linear, GATES, 1)
        self.places = self.step if config.chains else 1  # that a unit takes in the h memory
        self.others = _without_lowest(self.todo)
        self.single = Signal(name="single")  # context in the mask
        self.last_context, self.last_unit = Signal(name="last_context"), Signal(name="last_unit")
        self.first = Signal(name="first_unit") if config.watches_h else None  # of the command
        self.units_of_block = config.units_per_block
        self.last_of_block = Signal(init=self.units_of_block == 1, name="last_of_block")

    def context(self, m):
        """The lowest context that is left."""
        context = Signal(range(self.contexts), name="context")
        for k in reversed(range(self.contexts)):
            with m.If(self.todo[k]):
                m.d.comb += context.eq(k)
        return context

    def begin(self, m, command):
        linear, single = command.mode == MODE_LINEAR, ~_without_lowest(command.mask).any()
        m.d.sync += [
            self.command.eq(command),
            self.held.eq((command.units != 0) & (command.mask != 0)),
            self.linear.eq(linear),
            self.zero.eq(command.mode == MODE_ZERO),
            self.units_not_left.eq(~command.units),
            self.outputs.eq(Mux(linear, _at_most_four(command.units), 1)),
            self.last_unit.eq(_at_most(command.units, Mux(linear, GATES, 1))),
            self.single.eq(single),
            self.last_context.eq(single),
            self.todo.eq(command.mask),
            self.state.eq(command.state),
            self.group.eq(0),
            self.unit.eq(0),
            self.last_of_block.eq(self.units_of_block == 1),
        ]
        if self.first is not None:
            m.d.sync += self.first.eq(1)
        if self.gate_blocks:
            m.d.sync += self.place.eq(self.entry)
            with m.If(~linear):
                m.d.sync += self.last_of_block.eq(0)

    def next_context(self, m):
        m.d.sync += [
            self.todo.eq(self.others),
            self.last_context.eq(~_without_lowest(self.others).any()),
            self.state.eq(self.state + self.command.state_stride),
        ]

    def next_unit(self, m):
        command = self.command
        m.d.sync += [
            self.todo.eq(command.mask),
            self.last_context.eq(self.single),
            self.last_unit.eq(_at_most(self.units, Mux(self.linear, 2 * GATES, 2))),
            self.outputs.eq(
                Mux(self.linear, Mux(self.units[3:].any(), GATES, self.units[:2]), 1)
            ),  # four are gone then
            self.state.eq(command.state + 1),
            command.state.eq(command.state + 1),
            command.target.eq(command.target + self.places),
            self.units_not_left.eq(self.units_not_left + self.step),
            self.unit.eq(self.unit + 1),
        ]
        if self.first is not None:
            m.d.sync += self.first.eq(0)
        if self.units_of_block > 1:
            group, unit = divmod(self.units_of_block - 2, self.last_place[1] + 1)
            m.d.sync += self.last_of_block.eq((self.group == group) & (self.unit == unit))
        last_of_group = self.unit == self.last_place[1]
        if self.gate_blocks:  # a unit of a cell has one row of the row block
            group, unit = divmod(self.rows - 2, self.group_rows)
            last_of_group = Mux(self.linear, last_of_group, self.unit == self.group_rows - 1)
            with m.If(~self.linear):
                m.d.sync += self.last_of_block.eq((self.group == group) & (self.unit == unit))
        with m.If(last_of_group):
            m.d.sync += [self.unit.eq(0), self.group.eq(self.group + 1)]

    def next_block(self, m):
        m.d.sync += [self.group.eq(0), self.unit.eq(0), self.last_of_block.eq(self.units_of_block == 1)]
        if self.gate_blocks:
            m.d.sync += self.place.eq(self.later(self.place, 1))
            with m.If(~self.linear):
                m.d.sync += self.last_of_block.eq(0)

    def later(self, entry, entries):
        """The entry so many behind another, the first behind the last."""
        total = entry + entries
        return Mux(total >= self.entries, total - self.entries, total)[: len(entry)]

    def next_entry(self, m):
        m.d.sync += self.entry.eq(Mux(self.entry == self.entries - 1, 0, self.entry + 1))

    def end(self, m):
        m.d.sync += self.held.eq(0)


def _at_most(units, bound):
    """Whether they are at most a bound of a few bits."""
    bits = len(bound)
    return ~units[bits:].any() & (units[:bits] <= bound)


def _at_most_four(units):
    """As many outputs as a unit of a linear layer has, where so many are left."""
    return Mux(units[2:].any(), GATES, units[:2])


def _without_lowest(mask):
    """A mask without its lowest bit that is set."""
    return mask & (mask - 1)[: len(mask)]
