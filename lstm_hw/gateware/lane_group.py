"""LaneGroup: up to 16 rows of lanes with their weights and accumulators; LaneArray: a chain of groups."""

from amaranth import *
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out


def control_layout(config):
    """What travels from group to group beside the lanes, one hop a cycle.

    Fields are skewed to the stage of the lane where they are used, so a group needs no delays:
    ``weight`` first, ``operands`` one cycle later, ``source`` two, ``first`` three,
    ``store``/``finish``/``target`` four.
    """
    return data.StructLayout({
        "weight": range(config.weight_words),
        "operands": data.ArrayLayout(signed(config.operand_bits), config.contexts),
        "source": range(config.accumulators),
        "first": 1,
        "store": config.contexts,
        "finish": config.contexts,
        "target": range(max(config.accumulators, config.finish_entries)),
    })


SKEW = {"weight": 0, "operands": 1, "source": 2, "first": 3, "store": 4, "finish": 4, "target": 4}
"""Cycles by which a field of the control layout follows ``weight``."""


def fill_layout(config):
    """A beat of weights on its way into the buffers: ``chunk`` of the word at ``address``."""
    return data.StructLayout({
        "valid": 1,
        "address": range(config.weight_words),
        "chunk": range(config.beats_per_word),
        "data": config.axi_data_bits,
    })


def drain_layout(config):
    """A request for ``drain_width`` neighbouring accumulators of a finished row block."""
    return data.StructLayout({
        "valid": 1,
        "entry": range(config.finish_entries),
        "group": range(config.groups),
        "piece": range(config.group_rows // config.drain_width),
        "context": range(config.contexts),
    })


class LaneGroup(wiring.Component):
    """A few rows, all contexts: weight memory, multiply-accumulate lanes, accumulator and finish memories.

    The group is one hop of three chains (control, weight fill, drain). Every lane is
    ``p <= (first ? c : p) + m`` with ``m <= a * b``: operand, product and accumulator registers of
    one DSP slice. A column without a product has zero operands, so the sum stays as it is.

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
        ``drain_width`` accumulators; the group that a request names replaces them by its own.

    Timing
    ------
    A sum whose last operand is in ``o_control`` in cycle t can be read by a drain request that is in
    ``o_drain`` in cycle t + 4. ``o_drained`` follows ``o_drain`` by 2 cycles.
    """

    def __init__(self, config, position):
        self.config, self.position = config, position
        drained = data.ArrayLayout(signed(config.accumulator_bits), config.drain_width)
        super().__init__({
            "i_index": In(range(config.groups)), "o_index": Out(range(config.groups)),
            "i_chunk": In(range(config.beats_per_word)), "o_chunk": Out(range(config.beats_per_word)),
            "i_control": In(control_layout(config)), "o_control": Out(control_layout(config)),
            "i_fill": In(fill_layout(config)), "o_fill": Out(fill_layout(config)),
            "i_drain": In(drain_layout(config)), "o_drain": Out(drain_layout(config)),
            "i_drained": In(drained), "o_drained": Out(drained),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        rows, bits = config.group_rows, config.accumulator_bits
        control, drain = self.o_control, self.o_drain
        m.d.sync += [control.eq(self.i_control), self.o_fill.eq(self.i_fill), drain.eq(self.i_drain)]

        weights = self._weight_memory(m)
        local = Signal(self.o_drained.shape(), reset_less=True)
        per_context = []
        for k in range(config.contexts):
            sums = self._lanes(m, k, weights)
            sources = memory.Memory(shape=bits * rows, depth=config.accumulators, init=[])
            finished = memory.Memory(shape=bits * rows, depth=config.finish_entries, init=[])
            m.submodules[f"accumulators{k}"], m.submodules[f"finished{k}"] = sources, finished
            for store, enable in ((sources, control.store[k]), (finished, control.finish[k])):
                port = store.write_port()
                m.d.comb += [port.en.eq(enable), port.addr.eq(control.target), port.data.eq(Cat(p for _, p in sums))]
            starts = sources.read_port(domain="comb")
            m.d.comb += starts.addr.eq(control.source)
            for row, (c, _) in enumerate(sums):
                m.d.sync += c.eq(starts.data.word_select(row, bits))
            result = finished.read_port(domain="comb")
            m.d.comb += result.addr.eq(drain.entry)
            per_context.append(result.data.word_select(drain.piece, bits * config.drain_width))
        m.d.sync += local.eq(Array(per_context)[drain.context])
        here = Signal()
        m.d.sync += [
            here.eq(drain.valid & (drain.group == self.i_index)),
            self.o_drained.eq(Mux(here, local, self.i_drained)),
        ]
        return m

    def _weight_memory(self, m):
        """The group's part of every weight word; returns the word that the lanes read."""
        config, fill = self.config, self.o_fill
        width, beat = config.group_rows * config.weight_bits, config.axi_data_bits
        chunk = min(width, beat)
        next_chunk = width // beat if width >= beat else int(self.position + width == beat)
        m.d.comb += [self.o_index.eq(self.i_index + 1), self.o_chunk.eq(self.i_chunk + next_chunk)]
        m.submodules.weights = weights = memory.Memory(shape=width, depth=config.weight_words, init=[])
        writer, reader = weights.write_port(granularity=chunk), weights.read_port()
        m.d.comb += [
            writer.addr.eq(fill.address),
            writer.data.eq(fill.data[self.position:self.position + chunk].replicate(width // chunk)),
            writer.en.eq(Cat(fill.valid & (fill.chunk == self.i_chunk + n) for n in range(width // chunk))),
            reader.addr.eq(self.o_control.weight), reader.en.eq(1),
        ]
        return reader.data

    def _lanes(self, m, k, weights):
        """The lanes of one context; returns a (start value, sum) pair of registers a row."""
        config = self.config
        result = []
        for row in range(config.group_rows):
            def register(name, width, row=row):
                return Signal(signed(width), name=f"{name}_{k}_{row}", reset_less=True)

            a, b = register("a", config.weight_bits), register("b", config.operand_bits)
            product = register("product", config.weight_bits + config.operand_bits)
            c, p = register("c", config.accumulator_bits), register("p", config.accumulator_bits)
            m.d.sync += [
                a.eq(weights.word_select(row, config.weight_bits)),
                b.eq(self.o_control.operands[k]),
                product.eq(a * b),
                p.eq(Mux(self.o_control.first, c, p) + product),
            ]
            result.append((c, p))
        return result


class LaneArray(wiring.Component):
    """The chain of lane groups.

    Members
    -------
    i_control, i_fill, i_drain
        As in :class:`LaneGroup`; ``i_control`` is skewed as :data:`SKEW` says.
    o_drain, o_drained
        The request at the end of the chain and, ``drained_delay`` cycles after it, its data.

    Timing
    ------
    ``drain_latency`` = groups + 2 cycles from ``i_drain`` to ``o_drained``, whatever group is asked.
    """

    drained_delay = 2

    def __init__(self, config):
        self.config = config
        self.drain_latency = config.groups + self.drained_delay
        super().__init__({
            "i_control": In(control_layout(config)),
            "i_fill": In(fill_layout(config)),
            "i_drain": In(drain_layout(config)),
            "o_drain": Out(drain_layout(config)),
            "o_drained": Out(data.ArrayLayout(signed(config.accumulator_bits), config.drain_width)),
        })

    def elaborate(self, platform):
        m = Module()
        width = self.config.group_rows * self.config.weight_bits
        control, fill, drain, drained, place = self.i_control, self.i_fill, self.i_drain, None, (0, 0)
        for index in range(self.config.groups):
            m.submodules[f"group{index}"] = group = LaneGroup(self.config, index * width % self.config.axi_data_bits)
            m.d.comb += [
                group.i_index.eq(place[0]), group.i_chunk.eq(place[1]),
                group.i_control.eq(control), group.i_fill.eq(fill), group.i_drain.eq(drain),
            ]
            if drained is not None:
                m.d.comb += group.i_drained.eq(drained)
            control, fill, drain, drained = group.o_control, group.o_fill, group.o_drain, group.o_drained
            place = group.o_index, group.o_chunk
        m.d.comb += [self.o_drain.eq(drain), self.o_drained.eq(drained)]
        return m
