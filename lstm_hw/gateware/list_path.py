"""ListPath: from elements of x and h to the lists that the lanes walk, and the lengths of these."""

from amaranth import *
from amaranth.lib import data, fifo, wiring
from amaranth.lib.wiring import In, Out

from ..machine.config import EngineConfig
from ..machine.isa import SCALE_BITS
from ..machine.limits import LISTS_OF_X
from .delta_encoder import DeltaEncoder, encoder_input_layout, list_entry_layout
from .kept_bits import KeptBits, new_vector_layout


class ListPath(wiring.Component):
    """The encoders of x and of h behind the input unit and the cell unit.

    Lists of x wait in their order. Of each layer's lists of h the latest one counts.

    Parameters
    ----------
    config : EngineConfig
        With lists.

    Members
    -------
    i_start : In(1), i_clear : In(1)
        A run starts, and starts from zero state: the reference of its first x is zero.
    i_x, i_x_valid
        An element of x; ``reference`` and ``zero`` are not looked at: the reference is that of its place in its vector.
    i_h, i_h_valid, i_h_layer
        An element of h, and the layer that it is of, but for ``list_loads``.
    o_x_write, o_x_address, o_x_entry, o_h_write, o_h_address, o_h_entry
        Write ports of the lists.
    o_x, o_h : Out(1)
        Tokens.
    i_x_taken : In(1)
        The oldest list of x has been walked.
    o_x_length, o_h_lengths
        Entries of the oldest list of x, and of the latest list of each layer's h. They are there with the token of the
        last element, in the cycle behind it.
    o_idle : Out(1)
        No element of h is under way.
    i_new_x, i_new_h : In(new_vector_layout()), with list_loads
        A vector comes.
    i_part, i_of_x, o_known, o_kept, with list_loads
        The element that is asked for, of h or x; whether it is known, and whether it changed.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        self.x = DeltaEncoder(config, config.x_elements, config.x_elements)
        self.h = DeltaEncoder(config, config.states, config.h_elements)
        entry = list_entry_layout(config)
        lengths = data.ArrayLayout(range(config.h_elements + 1), len(config.shifts))
        super().__init__(
            {
                "i_start": In(1),
                "i_clear": In(1),
                "i_x": In(encoder_input_layout(config, config.x_elements)),
                "i_x_valid": In(1),
                "i_h": In(encoder_input_layout(config, config.states)),
                "i_h_valid": In(1),
                **({"i_h_layer": In(SCALE_BITS)} if config.walks else {}),
                "o_x_write": Out(1),
                "o_x_address": Out(range(config.x_elements)),
                "o_x_entry": Out(entry),
                "o_h_write": Out(1),
                "o_h_address": Out(range(config.h_elements)),
                "o_h_entry": Out(entry),
                "o_x": Out(1),
                "o_h": Out(1),
                "i_x_taken": In(1),
                "o_x_length": Out(range(config.x_elements + 1)),
                "o_h_lengths": Out(lengths),
                "o_idle": Out(1),
                **(self._asked() if config.list_loads else {}),
            }
        )

    def _asked(self):
        part = In(range(max(self.config.x_elements, self.config.h_elements)))
        new = {name: In(new_vector_layout()) for name in ("i_new_x", "i_new_h")}
        return {**new, "i_of_x": In(1), "i_part": part, "o_known": Out(1), "o_kept": Out(1)}

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.x, m.submodules.h = x, h = self.x, self.h
        for name, encoder in (("x", x), ("h", h)):
            m.d.comb += [
                encoder.i.eq(getattr(self, f"i_{name}")),
                encoder.i_valid.eq(getattr(self, f"i_{name}_valid")),
                getattr(self, f"o_{name}_write").eq(encoder.o_write),
                getattr(self, f"o_{name}_address").eq(encoder.o_address),
                getattr(self, f"o_{name}_entry").eq(encoder.o_entry),
                getattr(self, f"o_{name}").eq(encoder.o_token),
            ]
        m.d.comb += self.o_idle.eq(h.o_idle)
        self._x_references(m)
        if self.config.list_loads:
            self._tell(m)
            return m

        m.submodules.x_lengths = lengths = ResetInserter(self.i_start)(
            fifo.SyncFIFO(width=len(x.o_length), depth=LISTS_OF_X)
        )
        m.d.comb += [
            lengths.w_data.eq(x.o_length),
            lengths.w_en.eq(x.o_last),
            lengths.r_en.eq(self.i_x_taken),
            self.o_x_length.eq(lengths.r_data),
        ]
        layer = self.i_h_layer
        for _ in range(h.latency):
            delayed = Signal.like(layer, name="layer")
            m.d.sync += delayed.eq(layer)
            layer = delayed
        for number in range(len(self.config.shifts)):
            with m.If(h.o_last & (layer == number)):
                m.d.sync += self.o_h_lengths[number].eq(h.o_length)
        return m

    def _tell(self, m):
        """Which elements of the latest x and h changed."""
        told = []
        for name, encoder, depth in (("x", self.x, self.config.x_elements), ("h", self.h, self.config.h_elements)):
            m.submodules[f"{name}_bits"] = bits = KeptBits(depth)
            new = getattr(self, f"i_new_{name}")
            m.d.comb += [
                bits.i_new.eq(new.comes),
                bits.i_first.eq(new.first),
                bits.i_count.eq(new.elements),
                bits.i_write.eq(encoder.o_compared),
                bits.i_address.eq(encoder.o_address),
                bits.i_kept.eq(encoder.o_write),
                bits.i_part.eq(self.i_part),
            ]
            told.append((bits.o_known, bits.o_kept))
        for name, (of_x, of_h) in zip(("o_known", "o_kept"), zip(*told, strict=True), strict=True):
            m.d.comb += getattr(self, name).eq(Mux(self.i_of_x, of_x, of_h))

    def _x_references(self, m):
        """A reference of x is at its place in its vector; those of the first vector from zero state are zero."""
        place, from_zero = Signal(range(self.config.x_elements)), Signal()
        here = Mux(self.i_x.first, 0, place)
        m.d.comb += [self.x.i.reference.eq(here), self.x.i.zero.eq(from_zero)]
        with m.If(self.i_start):
            m.d.sync += from_zero.eq(self.i_clear)
        with m.If(self.i_x_valid):
            m.d.sync += place.eq(here + 1)
            with m.If(self.i_x.last):
                m.d.sync += from_zero.eq(0)
