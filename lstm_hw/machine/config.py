"""The engine's configuration and everything that follows from it.

One :class:`EngineConfig` describes the hardware: it alone decides which Verilog is emitted. The
derived properties are used by the planner, the interpreter, the gateware and the reports alike.
"""

import hashlib
import json
import math
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ..errors import ConfigError
from . import esell
from .activation import make_activation
from .activation_unit import ActivationUnit
from .bitmap import Bitmap
from .config_rules import INTEGERS, check_types, check_values, plain_value
from .esell import Esell
from .formats import QFormat
from .isa import REGISTER_BITS
from .limits import FORMAT_WIDTHS, GATES, H_GROUP, LEAST_BEAT, LUT_ENTRIES, MAX_BURST, PAGE_BYTES, VECTOR_ENTRIES

OPTIONS = {
    *("preact_shifts", "h_shifts", "c_shifts", "lifts", "row_bits", "lists", "chains", "elu", "kind", "reset_before"),
    *("peepholes", "window", "list_loads", "gate_blocks", "sparse_h", "count_clipped", "bus_errors", "streams"),
    *("indexed", "register_bits", "decoder", "block_sums", "parallel", "split"),
}
"""Fields that are not written where they have their default."""


def widest_beat(part_bits: int, decoder: str = "off") -> int:
    """Bits of the widest beat of a port that carries so many bits of a word: with a decoder, half of a word."""
    if decoder == "esell":
        return esell.WORD_BITS
    return max(LEAST_BEAT, 1 << (part_bits - (decoder != "off")).bit_length() - 1)


def group_rows(rows: int) -> int:
    """Rows of each lane group of an engine of so many rows."""
    return max(group for group in (4, 8, 12, 16) if rows % group == 0)


@dataclass(frozen=True)
class EngineConfig:
    """Parameters of the hardware.

    Raises
    ------
    ConfigError
        A value is out of range; the message names the field, the value and the rule.
    """

    rows: int = field(default=32, metadata={"doc": "R: matrix rows that work side by side, a multiple of 4"})
    contexts: int = field(default=1, metadata={"doc": "K: vectors that use the same weight word side by side, 1 to 8"})
    weight_bits: int = field(default=16, metadata={"doc": "width of a stored weight, 4 to 16"})
    operand_bits: int = field(
        default=16,
        metadata={
            "doc": "width of an element of x and h: 16, or 8 with weights of up to 8 bits, two lanes to a DSP slice"
        },
    )
    accumulator_bits: int = field(
        default=44,
        metadata={"doc": "width of an accumulator, exact for the longest sum, up to 48; to 32 with 8-bit operands"},
    )
    weight_words: int = field(default=1024, metadata={"doc": "depth of the weight buffer in words of R weights"})
    h_elements: int = field(default=128, metadata={"doc": "elements of h that each context can hold"})
    x_elements: int = field(default=64, metadata={"doc": "elements of x that each context can hold"})
    x_per_beat: int = field(default=1, metadata={"doc": "elements of x in one stream beat, a power of two"})
    accumulators: int = field(default=32, metadata={"doc": "accumulator entries a lane; entry 0 stays zero"})
    finish_entries: int = field(default=16, metadata={"doc": "finished row blocks that may wait for the cell unit"})
    block_sums: int | None = field(
        default=None,
        metadata={
            "doc": "rows of a lane group, a multiple of 4 up to 16, whose accumulators are in block RAM where there "
            f"are more than {LUT_ENTRIES} beside zero; all without it. With 0 finished row blocks are not either"
        },
    )
    states: int = field(default=64, metadata={"doc": "cell states c that fit, over all layers and sequences"})
    program_length: int = field(default=128, metadata={"doc": "instructions that fit in the program memory, up to 512"})
    cells: int = field(default=1, metadata={"doc": "serial cells: hidden units finished in 5 cycles, 1, 2 or 5"})
    parallel: bool = field(
        default=False,
        metadata={
            "doc": "in place of 5 serial cells one that takes all gates of a unit at once: as many units, each some "
            "cycles sooner, for small networks that wait for their own h"
        },
    )
    split: int = field(
        default=1,
        metadata={
            "doc": "parts, a power of two, over whose lane groups the columns of a layer's last row block are split, "
            "if its rows fill no more than one part: each group multiplies operands that it kept as they passed, and "
            "the sums of all parts are added on their way to the cell; for small networks with weights on chip. 1: no "
            "row block is split"
        },
    )
    axi_data_bits: int = field(default=128, metadata={"doc": "width of the weight port, 64 to 1024"})
    axi_address_bits: int = field(default=40, metadata={"doc": "address width of the weight port, 32 to 64"})
    axi_ports: int = field(
        default=1, metadata={"doc": "weight ports: 1, 2 or 4, each of which brings the weights of as many lane groups"}
    )
    outstanding: int = field(default=8, metadata={"doc": "bursts in flight on the weight port"})
    shifts: tuple[int, ...] = field(
        default=(15,),
        metadata={"doc": "right shifts from accumulator to pre-activation, one a layer; left where negative"},
    )
    lifts: tuple[int, ...] = field(
        default=(0,),
        metadata={
            "doc": "places, 0 to 9, that an element of x or h may stand higher when it meets its weight: so W_x and "
            "W_h have fraction bits of their own; 16-bit operands only"
        },
    )
    row_bits: int = field(
        default=0,
        metadata={
            "doc": "low bits of a sum, 0 to 3, that say how many fraction bits more its row has; all lifts are at "
            "least as many"
        },
    )
    activation: str = field(
        default="quadratic64",
        metadata={"doc": "activation unit, as quadratic64 or quadratic(segments=128); see activations.md"},
    )
    preact: QFormat = field(default=QFormat(3, 12), metadata={"doc": "format of pre-activations, 16 to 20 bits wide"})
    cell: QFormat | None = field(
        default=None, metadata={"doc": "format of c, 16 to 24 bits wide; that of pre-activations without it"}
    )
    activated: QFormat = field(
        default=QFormat(0, 15), metadata={"doc": "format of sigmoid and tanh results, 16 to 18 bits wide"}
    )
    hidden: QFormat = field(default=QFormat(0, 15), metadata={"doc": "format of h"})
    preact_shifts: tuple[int, ...] = field(
        default=(),
        metadata={
            "doc": "fraction bits that pre-activations of each layer have more than preact, whose width with the most "
            f"of them is {FORMAT_WIDTHS['preact'][-1]} at most; none without it"
        },
    )
    h_shifts: tuple[int, ...] = field(
        default=(),
        metadata={"doc": "fraction bits, 0 to 8, that h of each layer has more than hidden; none without it"},
    )
    c_shifts: tuple[int, ...] = field(
        default=(),
        metadata={"doc": "fraction bits, 0 to 12, that c of each layer has more than cell; none without it"},
    )
    lists: bool = field(
        default=False,
        metadata={
            "doc": "x and h reach the lanes as lists of what changed, with sums that persist; follows from [delta]"
        },
    )
    kind: str = field(
        default="lstm", metadata={"doc": "recurrent cell of the hidden units: lstm or gru; follows from the model"}
    )
    reset_before: bool = field(
        default=False,
        metadata={
            "doc": "a GRU may reset h before its product: the cell unit gives r*h without changing c; follows from the "
            "model"
        },
    )
    peepholes: QFormat | None = field(
        default=None,
        metadata={
            "doc": "format of peepholes, weights of c in gates of an LSTM, as wide as pre-activations; none without; "
            "follows from the model"
        },
    )
    chains: bool = field(
        default=False,
        metadata={
            "doc": "linear layers may have activations, and their outputs may be operands of the next linear layer; "
            "follows from the model"
        },
    )
    elu: bool = field(
        default=False,
        metadata={
            "doc": "activations of linear layers may be ELU, which has a table of its own; follows from the model"
        },
    )
    gate_blocks: bool = field(
        default=False,
        metadata={
            "doc": "of a GRU the rows of a row block are of one gate, so that columns of x and of h leave out the rows "
            "that they do not have; follows from the schedule delta_columns, with one cell"
        },
    )
    list_loads: bool = field(
        default=False,
        metadata={
            "doc": "with lists, a program asks of each element whether it changed, and reads only columns of those; "
            "follows from the schedule delta_columns"
        },
    )
    sparse_h: bool = field(
        default=False,
        metadata={
            "doc": f"a program may leave out the columns of {H_GROUP} elements of h that are nearly zero; follows from "
            "[sparse_h]"
        },
    )
    count_clipped: bool = field(
        default=False,
        metadata={"doc": "registers that count the values of a run that their format does not hold, by place"},
    )
    decoder: str = field(
        default="off",
        metadata={
            "doc": "in what form weights stream from memory: off, as they are, or without their zeros as bitmap, for "
            "weights of 4, 8 or 16 bits, or esell, for weights of 16 bits on a port of 64; for one port and words of "
            "two beats at least; follows from the schedule compressed"
        },
    )
    window: int = field(
        default=0,
        metadata={
            "doc": "elements of x or h, 4 to 64, a power of two, among which every lane picks the operand of each of "
            "its weights, which are stored with its place; 0: all lanes multiply the same element"
        },
    )
    streams: bool = field(
        default=True,
        metadata={
            "doc": "weights may stream during a run, through a ring in the weight buffer; without, all of them stay on "
            "chip. The plan chooses it"
        },
    )
    indexed: tuple[str, ...] | None = field(
        default=None,
        metadata={
            "doc": "fields of commands that a register may move, as MAC.operand; all without it. The plan chooses them"
        },
    )
    register_bits: int = field(
        default=REGISTER_BITS,
        metadata={
            "doc": "width of the program's registers, 8 to 32, which also bounds the time steps of a run; the plan "
            "takes 16 where weights stay on chip, its program needs no more and the test inputs have at most 32,765 "
            "steps (a simulation has a run of twice as many)"
        },
    )
    bus_errors: bool = field(
        default=False,
        metadata={"doc": "a write that is refused is answered with SLVERR instead of OKAY; REFUSED tells of it anyway"},
    )

    def __post_init__(self):
        check_types(self)
        for name in ("indexed", *INTEGERS):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "cell", self.cell or self.preact)
        check_values(self)

    @property
    def most_steps(self) -> int:
        """Time steps of a run at most."""
        return (1 << self.register_bits) - 1

    @property
    def lanes(self) -> int:
        """Multiply-accumulate lanes: rows times contexts."""
        return self.rows * self.contexts

    @property
    def lanes_per_dsp(self) -> int:
        """Rows that share a DSP slice, and its operand: two where operands have 8 bits, without windows."""
        return 2 if self.operand_bits == 8 and not self.window else 1

    @property
    def factor_bits(self) -> int:
        """Bits of an operand of a lane: an element of x or h, or its delta, with the highest lift."""
        return self.element_bits + max(self.lifts)

    @property
    def element_bits(self) -> int:
        """Bits of an element of x or h as a column has it: a delta has one more."""
        return self.operand_bits + self.lists

    @property
    def walks(self) -> bool:
        """Whether a MAC walks a list, whose entries lie one behind the other; else each is at its element's place."""
        return self.lists and not self.list_loads

    @property
    def asks(self) -> bool:
        """Whether a program asks what of x or h counts."""
        return self.list_loads or self.sparse_h

    @property
    def watches_h(self) -> bool:
        """Whether something looks at every element of h: an encoder of changes, or a judge of its groups."""
        return self.lists or self.sparse_h

    @property
    def row_shifts(self) -> int:
        """Shifts that a row may have."""
        return 1 << self.row_bits

    @property
    def exponent_bits(self) -> int:
        """Bits of the exponent of a constant operand."""
        return max(4, (self.factor_bits - 1).bit_length())

    @property
    def token_bits(self) -> int:
        """Bits of a count of elements of h or x that are there and not used yet, at most four times what fits."""
        return (4 * max(self.h_elements, self.x_elements)).bit_length()

    def lift_of(self, lift: int) -> int:
        """Which of ``lifts`` so many places are: field ``lift`` of a MAC.

        Raises
        ------
        ConfigError
            None of them.
        """
        if lift not in self.lifts:
            raise ConfigError("engine.lifts", list(self.lifts), f"must hold {lift} for this model")
        return self.lifts.index(lift)

    @property
    def place_bits(self) -> int:
        """Bits that say which element of a window a weight multiplies."""
        return max(0, self.window.bit_length() - 1)

    @property
    def stored_bits(self) -> int:
        """Bits of a weight as it is stored, with the place of its operand above it."""
        return self.weight_bits + self.place_bits

    @property
    def part_rows(self) -> int:
        """Rows of the lane groups of each of the parts over which columns are split."""
        return self.rows // self.split

    @property
    def sum_word_bits(self) -> int:
        """Bits that the accumulator memory holds for the sums of one DSP slice."""
        return self.lanes_per_dsp * self.accumulator_bits

    @property
    def unread_sum_bits(self) -> int:
        """Low bits of a finished sum that no rounding reads, in any layer: none is stored. All bits of a pair's word
        are read to tell its sums apart, all of a sum whose low bits say its row's shift, and all of those that are
        added to others. The sign is read."""
        if self.lanes_per_dsp == 2 or self.split > 1 or self.row_bits or self.preact.rounding == "half_even":
            return 0
        unread = min(self.shifts) - (self.preact.rounding != "floor")
        return max(0, min(unread, self.accumulator_bits - 1))

    @property
    def finished_word_bits(self) -> int:
        """Bits that are stored of the finished sums of one DSP slice."""
        return self.sum_word_bits - self.unread_sum_bits

    @property
    def group_rows(self) -> int:
        """Rows of one lane group, the hop of the control chain."""
        return group_rows(self.rows)

    @property
    def groups(self) -> int:
        return self.rows // self.group_rows

    @property
    def stored_accumulators(self) -> int:
        """Depth of the accumulator memory. Entry 0, always zero, is not stored, so its address serves the entry that
        would be one too many for a power of two: the low bits of an entry's number address it."""
        return min(self.accumulators, 1 << (self.accumulators - 2).bit_length())

    @property
    def block_sum_rows(self) -> int:
        """Rows of each lane group, the first ones, whose accumulators are in block RAM; the others' are LUT memory."""
        if self.stored_accumulators <= LUT_ENTRIES:
            return 0
        return self.group_rows if self.block_sums is None else self.block_sums

    @property
    def finished_in_block_ram(self) -> bool:
        """Whether the sums of finished row blocks are in block RAM, not in LUT memory."""
        return self.finish_entries > LUT_ENTRIES and self.block_sums != 0

    @property
    def h_in_block_ram(self) -> bool:
        """Whether the elements of h are in block RAM, however few they are."""
        return self.h_elements > VECTOR_ENTRIES

    @property
    def units_per_block(self) -> int:
        """Hidden units in one row block."""
        return self.rows // GATES

    @property
    def word_bits(self) -> int:
        """Bits of one weight word: one weight for every row."""
        return self.rows * self.stored_bits

    @property
    def part_bits(self) -> int:
        """Bits of one weight word that each weight port carries: the weights of its lane groups."""
        return self.word_bits // self.axi_ports

    def chunk_bits(self, position: int) -> int:
        """Bits of a lane group's weights that are written at once, where they begin at a bit of a beat: all that a
        beat has of them, or what divides them where a beat ends amid."""
        width = self.group_rows * self.stored_bits
        return width if position + width <= self.fill_bits else math.gcd(width, self.fill_bits)

    @property
    def beats_per_word(self) -> int:
        """Beats of a weight port that carry its part of one weight word; the last may be padded."""
        return -(-self.part_bits // self.axi_data_bits)

    @property
    def segment_form(self) -> Bitmap | Esell:
        """The form of segments that the port's decoder expands."""
        if self.decoder == "esell":
            return Esell(self.rows)
        return Bitmap(self.rows, self.weight_bits, self.axi_data_bits)

    @property
    def fill_bits(self) -> int:
        """Weights that are written at once, in bits: a beat, or with a decoder a whole word."""
        return self.axi_data_bits if self.decoder == "off" else self.word_bits

    @property
    def fills_per_word(self) -> int:
        """Writes that bring a word."""
        return self.beats_per_word if self.decoder == "off" else 1

    @property
    def beat_bytes(self) -> int:
        return self.axi_data_bits // 8

    @property
    def max_burst(self) -> int:
        """Longest burst of a weight port in beats: up to 4 KiB, and half of the weight buffer at most."""
        longest = min(MAX_BURST, PAGE_BYTES // self.beat_bytes)
        while longest > 1 and 2 * longest > self.weight_words * self.beats_per_word:
            longest //= 2
        return longest

    @property
    def word_bytes(self) -> int:
        """Bytes of one weight word in memory, over all ports and padding included."""
        return self.axi_ports * self.beats_per_word * self.beat_bytes

    def plain(self, width: int) -> QFormat:
        """What a plain output of so many bits is bounded to behind the rounding of pre-activations; its binary point is
        the layer's."""
        return replace(self.preact, integer=width - 1 - self.preact.fraction)

    @property
    def argument(self) -> QFormat:
        """Format of the activation unit's inputs, which holds the pre-activations of every layer."""
        return replace(self.preact, fraction=self.preact.fraction + max(self.preact_shifts, default=0))

    @property
    def unit(self) -> ActivationUnit:
        """The activation unit."""
        return make_activation(self.activation, self.argument, self.activated, "engine.activation")

    def preact_lift(self, layer: int) -> int:
        """Places by which a layer's pre-activations stand higher as inputs of the activation unit; of a layer beyond
        the last of ``preact_shifts`` as of that."""
        shifts = self.preact_shifts or (0,)
        return max(shifts) - shifts[min(layer, len(shifts) - 1)]

    def h_fraction(self, layer: int) -> int:
        """Fraction bits of a layer's h; of a layer beyond the last of ``h_shifts`` as of that."""
        return self.hidden.fraction + (self.h_shifts[min(layer, len(self.h_shifts) - 1)] if self.h_shifts else 0)

    def c_fraction(self, layer: int) -> int:
        """Fraction bits of a layer's c, as :meth:`h_fraction`."""
        return self.cell.fraction + (self.c_shifts[min(layer, len(self.c_shifts) - 1)] if self.c_shifts else 0)

    @property
    def cell_components(self) -> int:
        """Cells that the cell unit is made of."""
        return 1 if self.parallel else self.cells

    @property
    def forwards_h(self) -> bool:
        """Whether h that is written reaches columns beside its memory too, so that they may be ahead of it."""
        return self.parallel and not self.lists

    @property
    def drain_width(self) -> int:
        """Accumulators that one drain request brings to the cell unit."""
        return {1: 1, 2: 2, 5: GATES}[self.cells]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values, in field order, without options that are not used."""
        unused = {f.name: f.default for f in fields(self) if f.name in OPTIONS} | {"cell": self.preact}
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {
            name: plain_value(value) for name, value in values.items() if name not in unused or value != unused[name]
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "EngineConfig":
        """Inverse of :meth:`to_dict`; unknown keys are errors."""
        known = {f.name for f in fields(cls)}
        for name in values:
            if name not in known:
                raise ConfigError(f"engine.{name}", "unknown key", f"must be one of {sorted(known)}")
        values = dict(values)
        for name in ("preact", "cell", "activated", "hidden", "peepholes"):
            if isinstance(values.get(name), str):
                values[name] = QFormat.parse(values[name])
        return cls(**values)

    @property
    def content_id(self) -> int:
        """32-bit id of this configuration, readable from a register of the hardware."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")
