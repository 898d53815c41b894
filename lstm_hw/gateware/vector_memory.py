"""VectorMemory: the elements of x and h that the columns multiply."""

from functools import reduce
from operator import or_

from amaranth import *
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from ..machine.config import EngineConfig
from ..machine.isa import BANK_BITS, ELEMENT_BITS, OPS, SPACE_CONSTANT, SPACE_DELTA, SPACE_X
from ..machine.latency import OPERANDS
from .delta_encoder import list_entry_layout


class VectorMemory(wiring.Component):
    """One bank of x and one of h a context, each written by one unit and read by the lanes.

    Parameters
    ----------
    config : EngineConfig

    Members
    -------
    i_valid, i_address, i_space, i_rotate
        Read request: context k gets the element at ``i_address`` of bank ``(k + i_rotate) mod K``,
        or the constant ``2**i_address`` (zero if operands are lifted: see :class:`lstm_hw.gateware.lift.Lift`).
        Without ``i_valid`` the operands are zero.
    o_operands : Out(K elements)
        The operands, ``latency`` cycles later.
    i_h_write : In(1), i_h_bank, i_h_address, i_h_data
        Write one element of h.
    i_x_write : In(K * E), i_x_address, i_x_data
        Write elements of x: bit ``k * E + e`` enables element ``e`` of the word at ``i_x_address``
        (in words of E = ``x_per_beat`` elements) of bank k with ``i_x_data[k * E + e]``.
    i_x_write, i_x_address, i_x_entry, i_h_list_write, i_h_list_address, i_h_list_entry, with lists
        Instead, and beside h, write entries of lists: space x reads lists of x.
    o_index : Out, with lists
        Of an entry that is read, which element it is of, a cycle after the request; else zero.

    Timing
    ------
    Latency 2, initiation interval 1. A read sees a write of an earlier cycle; where h is forwarded, also one of the
    same cycle and the next.
    """

    latency = OPERANDS

    def __init__(self, config: EngineConfig):
        self.config = config
        contexts, per_beat = config.contexts, config.x_per_beat
        self.element = signed(config.element_bits)
        x_ports = {
            "i_x_write": In(contexts * per_beat),
            "i_x_address": In(ELEMENT_BITS),
            "i_x_data": In(data.ArrayLayout(self.element, contexts * per_beat)),
        }
        if config.lists:
            self.entry = list_entry_layout(config)
            x_ports = {
                "i_x_write": In(1),
                "i_x_address": In(range(config.x_elements)),
                "i_x_entry": In(self.entry),
                "i_h_list_write": In(1),
                "i_h_list_address": In(range(config.h_elements)),
                "i_h_list_entry": In(self.entry),
                "o_index": Out(self.entry["index"].shape),
            }
        super().__init__(
            {
                "i_valid": In(1),
                "i_address": In(ELEMENT_BITS),
                "i_space": In(OPS["MAC"].fields["space"]),
                "i_rotate": In(BANK_BITS),
                "o_operands": Out(data.ArrayLayout(self.element, contexts)),
                "i_h_write": In(1),
                "i_h_bank": In(range(contexts)),
                "i_h_address": In(ELEMENT_BITS),
                "i_h_data": In(signed(config.operand_bits)),
                **x_ports,
            }
        )

    def elaborate(self, platform) -> Module:
        # Every bank reads the request's address in x and in h. A cycle later it gives the one of both, or the constant,
        # that the request's space names; a context takes the value of the bank that is turned to it.
        m = Module()
        config, bits = self.config, self.config.element_bits
        lane_bits = exact_log2(config.x_per_beat)
        takes_h = Signal()
        takes_x = Signal()
        takes_delta = Signal()
        rotate = Signal(self.i_rotate.shape())
        constant = Signal(bits)
        lane = Signal(max(1, lane_bits))
        m.d.sync += [
            takes_x.eq(self.i_valid & (self.i_space == SPACE_X)),
            rotate.eq(self.i_rotate),
            constant.eq(0),
            lane.eq(self.i_address[:lane_bits]),
        ]
        if config.factor_bits == bits:  # those as wide as a lifted operand are formed behind the lift
            with m.If(self.i_valid & (self.i_space == SPACE_CONSTANT)):
                m.d.sync += constant.eq(1 << self.i_address[:4])
        others = [SPACE_X, SPACE_CONSTANT]
        if config.lists:
            m.d.sync += takes_delta.eq(self.i_valid & (self.i_space == SPACE_DELTA))
            others.append(SPACE_DELTA)
        m.d.sync += takes_h.eq(self.i_valid & ~Cat(self.i_space == space for space in others).any())
        values, listed = [], self._lists(m, takes_x, takes_delta) if config.lists else []
        for k in range(config.contexts):
            h, x = (self._h(m).as_signed(), None) if config.lists else self._bank(m, k)
            h = self._forwarded(m, k, h) if config.forwards_h else h
            value = Signal(bits, name=f"value{k}")
            # Block RAM answers late in a cycle, so all but one of these are masked by flags of the cycle before.
            read = listed or [(takes_x, x.word_select(lane, bits) if lane_bits else x)]
            m.d.comb += value.eq(reduce(or_, (Mux(takes, of, 0) for takes, of in [(takes_h, h), *read]), constant))
            values.append(value)
        for k in range(config.contexts):
            chosen = Signal(bits, name=f"chosen{k}")
            with m.Switch(rotate):
                for turn in range(config.contexts):
                    with m.Case(turn):
                        m.d.comb += chosen.eq(values[(k + turn) % config.contexts])
            m.d.sync += self.o_operands[k].eq(chosen)
        return m

    def _forwarded(self, m, k, read):
        """What is read of context ``k``, or what is written in its place in the cycle of its request or the next."""
        bits, writes = self.config.operand_bits, self.i_h_write & (self.i_h_bank == k)
        address, data = Signal(ELEMENT_BITS, name=f"read{k}"), Signal(bits, name=f"written{k}", reset_less=True)
        takes_data = Signal(name=f"takes_written{k}")
        m.d.sync += [
            address.eq(self.i_address),
            data.eq(self.i_h_data),
            takes_data.eq(writes & (self.i_h_address == self.i_address)),
        ]
        older = Mux(takes_data, data, read)
        return Mux(writes & (self.i_h_address == address), self.i_h_data[:bits], older)

    def _lists(self, m, takes_x, takes_delta):
        """The lists of x and of h; returns the flag that takes it and the delta of the entry that is read of each."""
        deltas = []
        for name, takes, depth in (
            ("x", takes_x, self.config.x_elements),
            ("h_list", takes_delta, self.config.h_elements),
        ):
            store = memory.Memory(shape=self.entry, depth=depth, init=[])
            m.submodules[f"{name}_entries"] = store
            writer, reader = store.write_port(), store.read_port()
            m.d.comb += [
                writer.en.eq(getattr(self, f"i_{name}_write")),
                writer.addr.eq(getattr(self, f"i_{name}_address")),
                writer.data.eq(getattr(self, f"i_{name}_entry")),
                reader.addr.eq(self.i_address),
                reader.en.eq(1),
            ]
            deltas.append((takes, reader.data.delta))
            with m.If(takes):
                m.d.comb += self.o_index.eq(reader.data.index)
        return deltas

    def _memory_of_h(self):
        """Elements of h of one context, or all of them beside the lists."""
        attrs = {"ram_style": "block"} if self.config.h_in_block_ram else {}
        return memory.Memory(shape=self.config.operand_bits, depth=self.config.h_elements, init=[], attrs=attrs)

    def _h(self, m):
        """The memory of h itself, beside the lists; returns the element that is read."""
        m.submodules.h = h = self._memory_of_h()
        writer, reader = h.write_port(), h.read_port()
        m.d.comb += [
            writer.en.eq(self.i_h_write),
            writer.addr.eq(self.i_h_address),
            writer.data.eq(self.i_h_data),
            reader.addr.eq(self.i_address),
            reader.en.eq(1),
        ]
        return reader.data

    def _bank(self, m, k):
        """The memories of context ``k``; returns the element of h and the word of x that are read."""
        config, bits, per_beat = self.config, self.config.operand_bits, self.config.x_per_beat
        h = self._memory_of_h()
        depth = max(2, config.x_elements // per_beat)  # so that an address has a bit
        x = memory.Memory(shape=bits * per_beat, depth=depth, init=[])
        m.submodules[f"h{k}"], m.submodules[f"x{k}"] = h, x
        h_write = h.write_port()
        h_read = h.read_port()
        x_write = x.write_port(granularity=bits)
        x_read = x.read_port()
        m.d.comb += [
            h_write.en.eq(self.i_h_write & (self.i_h_bank == k)),
            h_write.addr.eq(self.i_h_address),
            h_write.data.eq(self.i_h_data),
            x_write.en.eq(self.i_x_write[k * per_beat : (k + 1) * per_beat]),
            x_write.addr.eq(self.i_x_address),
            x_write.data.eq(Cat(self.i_x_data[k * per_beat + e] for e in range(per_beat))),
            h_read.addr.eq(self.i_address),
            h_read.en.eq(1),
            x_read.addr.eq(self.i_address >> exact_log2(per_beat)),
            x_read.en.eq(1),
        ]
        return h_read.data, x_read.data
