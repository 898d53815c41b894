"""DeltaEncoder: elements of a vector in, a list of those that changed out."""

from amaranth import *
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from ..machine.config import EngineConfig
from ..machine.isa import ELEMENT_BITS, THRESHOLD_BITS
from ..machine.latency import ENCODE


def encoder_input_layout(config: EngineConfig, references: int) -> data.StructLayout:
    """An element on its way to an encoder that keeps so many references.

    ``address`` is that of the element in its vector's memory, so of the list with the first one; ``zero`` says that its
    reference is zero, whatever is kept; ``token`` that somebody waits for it.
    """
    return data.StructLayout(
        {
            "value": signed(config.operand_bits),
            "address": ELEMENT_BITS,
            "reference": range(references),
            "threshold": THRESHOLD_BITS,
            "first": 1,
            "last": 1,
            "zero": 1,
            "token": 1,
        }
    )


def list_entry_layout(config: EngineConfig) -> data.StructLayout:
    """What a list holds of an element that changed: which one of its vector, and by how much."""
    index = bits_for(max(config.h_elements, config.x_elements) - 1)
    return data.StructLayout({"index": index, "delta": signed(config.element_bits)})


class DeltaEncoder(wiring.Component):
    """Compares elements with their references and writes a list of those that changed by a threshold at least.

    A reference is replaced by the element where that goes into the list. Elements of a vector come in ascending order.

    Parameters
    ----------
    config : EngineConfig
    references : int
        References that are kept.
    elements : int
        Depth of the memory that the lists are in.

    Members
    -------
    i : In(encoder_input_layout()), i_valid : In(1)
        An element. The same reference may come again two cycles later.
    o_write, o_address, o_entry
        Write port of the lists.
    o_compared : Out(1), with list_loads
        ``o_write`` says of the element at ``o_address`` whether it changed.
    o_token : Out(1)
        ``token`` of an element whose entry, if it has one, is written in this cycle.
    o_last : Out(1), o_length : Out
        With the last element of a vector: entries of its list.
    o_idle : Out(1)
        No element is under way.

    Timing
    ------
    Outputs follow an element by ``ENCODE`` cycles; an element a cycle.
    """

    latency = ENCODE

    def __init__(self, config: EngineConfig, references: int, elements: int):
        self.config, self.references = config, references
        self.input = encoder_input_layout(config, references)
        super().__init__(
            {
                "i": In(self.input),
                "i_valid": In(1),
                "o_write": Out(1),
                "o_address": Out(range(elements)),
                "o_entry": Out(list_entry_layout(config)),
                "o_token": Out(1),
                "o_last": Out(1),
                "o_length": Out(range(elements + 1)),
                "o_idle": Out(1),
                **({"o_compared": Out(1)} if config.list_loads else {}),
            }
        )

    def elaborate(self, platform) -> Module:
        # First stage: the reference is read, and the bounds are formed beyond which an element has changed. Second
        # stage: both comparisons and the difference. What they say is written in the cycle behind.
        m = Module()
        m.submodules.references = references = memory.Memory(
            shape=signed(self.config.operand_bits), depth=self.references, init=[]
        )
        writer = references.write_port()
        reader = references.read_port(transparent_for=(writer,))
        m.d.comb += [reader.addr.eq(self.i.reference), reader.en.eq(1)]

        wide = signed(THRESHOLD_BITS + 2)
        element, valid = Signal(self.input, reset_less=True), Signal()
        below, above = Signal(wide, reset_less=True), Signal(wide, reset_less=True)
        m.d.sync += [
            valid.eq(self.i_valid),
            element.eq(self.i),
            below.eq(self.i.value - self.i.threshold),
            above.eq(self.i.value + self.i.threshold),
        ]

        reference = Signal(signed(self.config.operand_bits))
        compared, compared_valid = Signal(self.input, reset_less=True), Signal()
        grew, fell, differs = (Signal(name=name, reset_less=True) for name in ("grew", "fell", "differs"))
        m.d.comb += reference.eq(Mux(element.zero, 0, reader.data))
        m.d.sync += [
            compared_valid.eq(valid),
            compared.eq(element),
            grew.eq(below >= reference),
            fell.eq(above <= reference),
            differs.eq(element.value != reference),
            self.o_entry.delta.eq(element.value - reference),
        ]

        changed = Signal()
        m.d.comb += [
            changed.eq(compared_valid & differs & (grew | fell)),
            writer.en.eq(changed | compared_valid & compared.zero),
            writer.addr.eq(compared.reference),
            writer.data.eq(Mux(changed, compared.value, 0)),
            self.o_idle.eq(~(valid | compared_valid)),
            self.o_token.eq(compared_valid & compared.token),
            self.o_last.eq(compared_valid & compared.last),
        ]
        self._list(m, compared, compared_valid, changed)
        if self.config.list_loads:
            m.d.comb += self.o_compared.eq(compared_valid)
        return m

    def _list(self, m, element, valid, changed):
        """Places in the list: an entry behind the other, from the address of the first element on.

        With ``list_loads`` each entry is at its element's place, and tells no index.
        """
        spread = self.config.list_loads
        place, index = Signal.like(self.o_address, name="place"), Signal.like(self.o_entry.index, name="index")
        length = Signal.like(self.o_length, name="entries")
        here, number, entries = (Signal.like(s, name=f"{s.name}_here") for s in (place, index, length))
        m.d.comb += [
            here.eq(Mux(element.first, element.address, place)),
            number.eq(Mux(element.first, 0, index)),
            entries.eq(Mux(element.first, 0, length)),
            self.o_write.eq(changed),
            self.o_address.eq(here),
            self.o_entry.index.eq(0 if spread else number),
            self.o_length.eq(entries + changed),
        ]
        with m.If(valid):
            m.d.sync += [place.eq(here + (1 if spread else changed)), index.eq(number + 1), length.eq(self.o_length)]
