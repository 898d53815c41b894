"""LaneGroup: up to 16 rows of lanes with their weights and accumulators; LaneArray: a chain of groups."""

from functools import reduce
from operator import or_

from amaranth import *
from amaranth.hdl import ShapeLike
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from ..machine.config import EngineConfig
from ..machine.latency import DRAINED, drain_latency
from ..machine.limits import LUT_ENTRIES, PLACES
from .choice import chosen
from .lane import lane, lane_pair, separated

BLOCK_RAM, LUT_MEMORY = {"ram_style": "block", "no_rw_check": 1}, {"ram_style": "distributed"}
"""Attributes of memories of sums, whose cost alone would not decide so."""


def control_layout(config: EngineConfig) -> data.StructLayout:
    """What travels from group to group beside the lanes, one hop a cycle.

    Fields are skewed to the stage of the lane where they are used, as :data:`lstm_hw.machine.latency.SKEW` says, so a
    group needs no delays.
    """
    return data.StructLayout(
        {
            "weight": range(config.weight_words),
            "operands": data.ArrayLayout(signed(config.factor_bits), config.contexts),
            "source": range(config.accumulators),
            "first": 1,
            "store": config.contexts,
            "finish": config.contexts,
            **target_fields(config),
            **picking_fields(config),
        }
    )


def target_fields(config: EngineConfig) -> dict[str, range]:
    """Where a sum goes. With lists, a sum that is finished stays in its entry as well: there are two places."""
    if config.lists:
        return {"target": range(config.accumulators), "place": range(config.finish_entries)}
    return {"target": range(max(config.accumulators, config.finish_entries))}


def picking_fields(config: EngineConfig) -> dict[str, ShapeLike]:
    """Of an engine with windows: whether rows pick their operands, from which window, and whether the operand of the
    column goes to the other one, to which place. Of one that splits columns: whether operands are those that groups
    have kept, or that of the column is kept, at which place, and whether a finished sum is that of a part."""
    if config.split > 1:
        return {"gather": 1, "fill": 1, "into": range(PLACES), "partial": 1}
    return {"gather": 1, "half": 1, "fill": 1, "into": range(config.window)} if config.window else {}


def fill_layout(config: EngineConfig) -> data.StructLayout:
    """Weights on their way into the buffers, a beat or a decoded word: ``chunk`` of the word at ``address``."""
    return data.StructLayout(
        {
            "valid": 1,
            "address": range(config.weight_words),
            "chunk": range(config.fills_per_word),
            "data": config.fill_bits,
        }
    )


def drain_layout(config: EngineConfig) -> data.StructLayout:
    """A request for ``drain_width`` neighbouring accumulators of a finished row block."""
    return data.StructLayout(
        {
            "valid": 1,
            "entry": range(config.finish_entries),
            "group": range(config.groups),
            "piece": range(config.group_rows // config.drain_width),
            "context": range(config.contexts),
        }
    )


def drained_layout(config: EngineConfig) -> data.ArrayLayout:
    """What the drain chain carries: the sum words that hold ``drain_width`` accumulators, without unread low bits."""
    return data.ArrayLayout(config.finished_word_bits, -(-config.drain_width // config.lanes_per_dsp))


class LaneGroup(wiring.Component):
    """A few rows, all contexts: weight memory, multiply-accumulate lanes, accumulator and finish memories.

    The group is one hop of three chains (control, weight fill, drain). The lanes are those of
    :mod:`lstm_hw.gateware.lane`, one or two rows to a DSP slice, whose operand, product and accumulator registers they
    are. A column without a product has zero operands, so the sum stays as it is.

    Parameters
    ----------
    config : EngineConfig
    position : int
        First bit of the group's weights in a beat; 0 unless a beat holds several groups. Groups with
        the same position are the same circuit: what else tells them apart is counted along the chain.

    Members
    -------
    i_index/o_index
        Number of this group and of the next.
    i_chunk/o_chunk
        The first beat of a word that holds weights of this group and of the next.
    i_control/o_control, i_fill/o_fill, i_drain/o_drain
        Chains, one register each way through.
    i_drained/o_drained : data of the drain chain
        The sum words of ``drain_width`` accumulators, without the low bits that nobody reads; the group that a request
        names replaces them by its own. Of a row block whose columns were split the groups in the same place of each
        part add theirs.

    Timing
    ------
    A sum whose last operand is in ``o_control`` in cycle t can be read by a drain request that is in
    ``o_drain`` in cycle t + 4. ``o_drained`` follows ``o_drain`` by 2 cycles.
    """

    def __init__(self, config: EngineConfig, position: int):
        self.config, self.position = config, position
        drained = drained_layout(config)
        super().__init__(
            {
                "i_index": In(range(config.groups)),
                "o_index": Out(range(config.groups)),
                "i_chunk": In(range(config.fills_per_word)),
                "o_chunk": Out(range(config.fills_per_word)),
                "i_control": In(control_layout(config)),
                "o_control": Out(control_layout(config)),
                "i_fill": In(fill_layout(config)),
                "o_fill": Out(fill_layout(config)),
                "i_drain": In(drain_layout(config)),
                "o_drain": Out(drain_layout(config)),
                "i_drained": In(drained),
                "o_drained": Out(drained),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        config = self.config
        control, drain = self.o_control, self.o_drain
        m.d.sync += [control.eq(self.i_control), self.o_fill.eq(self.i_fill), drain.eq(self.i_drain)]

        weights = self._weight_memory(m)
        resets = self._resets(m)
        finished = []
        for k in range(config.contexts):
            sums = self._lanes(m, k, weights, resets)
            finished.append(self._finished(m, k, sums))
        local = self._local(m, finished)
        here = Signal()
        asked = drain.group == self.i_index if config.split == 1 else self._is_asked(m)
        m.d.sync += here.eq(drain.valid & asked)
        if config.split == 1:
            m.d.sync += self.o_drained.eq(Mux(here, local, self.i_drained))
        else:  # nothing but what is asked for is ever on its way
            words = data.View(drained_layout(config), local)
            for n, before in enumerate(self.i_drained):
                m.d.sync += self.o_drained[n].eq(before + Mux(here, words[n], 0))
        return m

    def _is_asked(self, m):
        """Whether the request in ``o_drain`` is for this group, or for that in its place of the first part where the
        columns of the row block were split."""
        config, control, groups = self.config, self.o_control, self.config.groups // self.config.split
        m.submodules.partials = store = memory.Memory(shape=1, depth=config.finish_entries, init=[], attrs=LUT_MEMORY)
        writer, reader = store.write_port(), store.read_port(domain="comb")
        m.d.comb += [
            writer.en.eq(control.finish.any()),
            writer.addr.eq(control.target),
            writer.data.eq(control.partial),
            reader.addr.eq(self.o_drain.entry),
        ]
        other = Signal(len(self.i_index), name="other_group")
        m.d.comb += other.eq(self.o_drain.group ^ self.i_index)
        place, part = other[: exact_log2(groups)], other[exact_log2(groups) :]
        of_part = reader.data | ~part.any()
        return of_part & ~place.any() if groups > 1 else of_part

    def _kept(self, m, k):
        """The operand of a context: that of the column, or of those that have passed the one that is of this part."""
        config, control, parts = self.config, self.o_control, exact_log2(self.config.split)
        store = memory.Memory(shape=config.factor_bits, depth=PLACES, init=[], attrs=LUT_MEMORY)
        m.submodules[f"kept{k}"] = store
        writer, reader = store.write_port(), store.read_port(domain="comb")
        m.d.comb += [
            writer.en.eq(control.fill),
            writer.addr.eq(control.into),
            writer.data.eq(control.operands[k]),
            reader.addr.eq(Cat(self.i_index[exact_log2(config.groups) - parts :], control.into)[: len(control.into)]),
        ]
        operand = Signal(signed(config.factor_bits), name=f"operand{k}")
        m.d.comb += operand.eq(Mux(control.gather, reader.data, control.operands[k]))
        return operand

    def _resets(self, m):
        """Two signals, either of which says beside a sum word that is read that zero starts instead."""
        from_zero = Signal()
        from_entry = Signal()
        m.d.sync += [from_zero.eq(self.i_control.source == 0), from_entry.eq(self.i_control.source != 0)]
        return from_zero, ~from_entry

    def _lanes(self, m, k, weights, resets):
        """The lanes of a context with their accumulators; returns their sum words."""
        config, control = self.config, self.o_control
        create, packed = (lane_pair, 2) if config.lanes_per_dsp == 2 else (lane, 1)
        bits, count, in_block_ram = config.sum_word_bits, config.group_rows // packed, config.block_sum_rows // packed
        parts, starts = [], []
        operand = self._kept(m, k) if config.split > 1 else control.operands[k]
        for name, words, attrs in (
            (f"block_accumulators{k}", in_block_ram, BLOCK_RAM),
            (f"accumulators{k}", count - in_block_ram, LUT_MEMORY if config.stored_accumulators > LUT_ENTRIES else {}),
        ):
            if words:
                store = memory.Memory(shape=bits * words, depth=config.stored_accumulators, init=[], attrs=attrs)
                m.submodules[name] = store
                port = store.read_port(domain="comb")
                m.d.comb += port.addr.eq(control.source)
                starts += [port.data.word_select(n, bits) for n in range(words)]
                parts.append(store)
        sums = Cat(
            create(
                m,
                f"{k}_{n}",
                config,
                weights.word_select(n, packed * config.stored_bits)[: packed * config.weight_bits],
                self._picked(m, k, n, weights) if config.window else operand,
                control.first,
                starts[n],
                resets[0 if n < in_block_ram else n % 2],
                n < in_block_ram,
            )
            for n in range(count)
        )
        first = 0
        for store in parts:
            port = store.write_port()
            m.d.comb += [port.en.eq(control.store[k]), port.addr.eq(control.target), port.data.eq(sums[first:])]
            first += len(port.data)
        return sums

    def _picked(self, m, k, row, weights):
        """What a row of a context multiplies: the element of the column, or of its own window the one that its weight
        names."""
        config, control = self.config, self.o_control
        operand = control.operands[k]
        store = memory.Memory(shape=config.factor_bits, depth=2 * config.window, init=[], attrs=LUT_MEMORY)
        m.submodules[f"window{k}_{row}"] = store
        writer, reader = store.write_port(), store.read_port(domain="comb")
        place = weights.word_select(row, config.stored_bits)[config.weight_bits :]
        m.d.comb += [
            writer.en.eq(control.fill),
            writer.addr.eq(Cat(control.into, ~control.half)),
            writer.data.eq(operand),
            reader.addr.eq(Cat(place, control.half)),
        ]
        return Mux(control.gather, reader.data, operand)

    def _finished(self, m, k, sums):
        """The sum words of finished row blocks of a context; returns what is read for the request in ``o_drain``, a
        cycle later where they are in block RAM."""
        config, control = self.config, self.o_control
        attrs = BLOCK_RAM if config.finished_in_block_ram else LUT_MEMORY if config.finish_entries > LUT_ENTRIES else {}
        read = Cat(
            sums[first + config.unread_sum_bits : first + config.sum_word_bits]
            for first in range(0, len(sums), config.sum_word_bits)
        )
        store = memory.Memory(shape=len(read), depth=config.finish_entries, init=[], attrs=attrs)
        m.submodules[f"finished{k}"] = store
        port = store.write_port()
        result = store.read_port(domain="sync" if config.finished_in_block_ram else "comb")
        m.d.comb += [
            port.en.eq(control.finish[k]),
            port.addr.eq(control.place if config.lists else control.target),
            port.data.eq(read),
            result.addr.eq(self.o_drain.entry),
        ]
        return result.data

    def _local(self, m, finished):
        """The piece of these words that a request asks for, a cycle after it."""
        config, drain = self.config, self.o_drain
        local = Signal(drained_layout(config).size, reset_less=True)
        pieces = len(finished[0]) // len(local)
        piece_bits = ceil_log2(pieces)
        piece = (drain.piece >> exact_log2(-(-config.lanes_per_dsp // config.drain_width)))[:piece_bits]
        # Which context it is of, is decoded in the cycle before: one flag each, and no tree.
        context, place = self.i_drain.context, piece
        if config.finished_in_block_ram:
            place = Signal.like(piece, name="read_piece")
            m.d.sync += place.eq(piece)
            context = drain.context
        words = [
            chosen(place, {n: words[n * len(local) : (n + 1) * len(local)] for n in range(pieces)})
            for words in finished
        ]
        if config.contexts > 1:
            asked = Signal(config.contexts, name="asked_context")
            m.d.sync += asked.eq(Cat(context == k for k in range(config.contexts)))
            words = [Mux(flag, word, 0) for flag, word in zip(asked, words, strict=True)]
        m.d["comb" if config.finished_in_block_ram else "sync"] += local.eq(reduce(or_, words))
        return local

    def _weight_memory(self, m):
        """The group's part of every weight word; returns the word that the lanes read."""
        config, fill = self.config, self.o_fill
        width, beat = config.group_rows * config.stored_bits, config.fill_bits
        chunk, end = config.chunk_bits(self.position), self.position + width
        m.d.comb += [self.o_index.eq(self.i_index + 1), self.o_chunk.eq(self.i_chunk + end // beat)]
        # No column is issued whose word is being written, so what a block RAM gives then is not used.
        m.submodules.weights = weights = memory.Memory(
            shape=width, depth=config.weight_words, init=[], attrs={"no_rw_check": 1}
        )
        writer = weights.write_port(granularity=chunk)
        reader = weights.read_port()
        places = [divmod(first, beat) for first in range(self.position, end, chunk)]
        m.d.comb += [
            writer.addr.eq(fill.address),
            writer.data.eq(Cat(fill.data[first : first + chunk] for _, first in places)),
            writer.en.eq(Cat(fill.valid & (fill.chunk == self.i_chunk + n) for n, _ in places)),
            reader.addr.eq(self.o_control.weight),
            reader.en.eq(1),
        ]
        return reader.data


class LaneArray(wiring.Component):
    """The chain of lane groups.

    Each weight port has a fill chain of its own, through its part of the groups. It enters them as many cycles later as
    the other chains take to get there: so a word is never replaced before the last group has used it.

    Members
    -------
    i_control, i_drain
        As in :class:`LaneGroup`; ``i_control`` is skewed as :data:`lstm_hw.machine.latency.SKEW` says.
    i_fill : list of In
        A beat of each weight port.
    o_drain, o_drained
        The request at the end of the chain and, ``drained_delay`` cycles after it, its data: sums whose low bits, as
        far as no rounding reads them, are zero.

    Timing
    ------
    ``drain_latency`` = groups + 2 cycles from ``i_drain`` to ``o_drained``, whatever group is asked.
    """

    drained_delay = DRAINED

    def __init__(self, config: EngineConfig):
        self.config = config
        self.drain_latency = drain_latency(config.groups)
        super().__init__(
            {
                "i_control": In(control_layout(config)),
                "i_fill": In(fill_layout(config)).array(config.axi_ports),
                "i_drain": In(drain_layout(config)),
                "o_drain": Out(drain_layout(config)),
                "o_drained": Out(data.ArrayLayout(signed(config.accumulator_bits), config.drain_width)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        width = self.config.group_rows * self.config.stored_bits
        control, drain, drained, place = self.i_control, self.i_drain, None, (0, 0)
        groups_per_port = self.config.groups // self.config.axi_ports
        for index in range(self.config.groups):
            port, local = divmod(index, groups_per_port)
            if local == 0:
                fill, place = self._delayed(m, port, index), (index, 0)
            m.submodules[f"group{index}"] = group = LaneGroup(self.config, local * width % self.config.fill_bits)
            m.d.comb += [
                group.i_index.eq(place[0]),
                group.i_chunk.eq(place[1]),
                group.i_control.eq(control),
                group.i_fill.eq(fill),
                group.i_drain.eq(drain),
            ]
            if drained is not None:
                m.d.comb += group.i_drained.eq(drained)
            control, fill, drain, drained = group.o_control, group.o_fill, group.o_drain, group.o_drained
            place = group.o_index, group.o_chunk
        m.d.comb += [self.o_drain.eq(drain), Cat(self.o_drained).eq(Cat(self._sums(m, drained)))]
        return m

    def _sums(self, m, words):
        """The accumulators that were asked for, from the sum words at the end of the chain."""
        config = self.config
        unread = C(0, config.unread_sum_bits)
        sums = [total for word in words for total in separated(Cat(unread, word), config)]
        if len(sums) == config.drain_width:
            return sums
        asked = Signal(self.drained_delay)  # one row of a pair
        m.d.sync += asked.eq(Cat(self.o_drain.piece[0], asked))
        return [Mux(asked[-1], sums[1], sums[0])]

    def _delayed(self, m, port, cycles):
        """The beats of a port, so many cycles later; shift registers without reset."""
        fill = self.i_fill[port]
        for stage in range(cycles):
            delayed = Signal(fill_layout(self.config), name=f"fill{port}_{stage}", reset_less=True)
            m.d.sync += delayed.eq(fill)
            fill = delayed
        return fill
