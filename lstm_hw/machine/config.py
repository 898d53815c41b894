"""The engine's configuration and everything that follows from it.

One :class:`EngineConfig` describes the hardware: it alone decides which Verilog is emitted. The
derived properties are used by the planner, the interpreter, the gateware and the reports alike.
"""

import hashlib
import json
import math
import types
import typing
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ..errors import ConfigError, FormatError
from . import esell
from .activation import make_activation
from .activation_unit import ActivationUnit
from .arithmetic import CellArithmetic, preact_rounding
from .bitmap import Bitmap
from .esell import Esell
from .formats import QFormat
from .isa import BANK_BITS, ELEMENT_BITS, ENTRY_BITS, LIFT_BITS, OPS, PROGRAM_BITS, REGISTER_BITS, SCALE_BITS, WORD_BITS
from .shared_activation import make_exponential

RELATIVE = tuple(f"{op.name}.{field}" for op in OPS.values() if op.unit for field in op.relative)
"""Fields of commands that a register can move."""
MAX_CONTEXTS = 1 << BANK_BITS
MAX_ROWS = 1 << 14
"""More than any FPGA has multipliers for."""
MAX_BURST = 256
"""Most beats of a burst (AXI4)."""
PAGE_BYTES = 4096
"""No burst crosses a multiple of this address (AXI4)."""
FACTOR_BITS = 25
"""Widest operand of a lane, lifted: the wide port of a DSP slice."""
WEIGHT_WIDTHS = range(4, 17)
"""Widths of a stored weight."""
PAIR_BITS = 16
"""Of a pair of 8-bit lanes, the place of the upper sum: so many bits of the lower one lie below it."""
LUT_ENTRIES = 32
"""Deepest memory of sums that is LUT memory whatever else there is; block RAM takes as many entries for nothing."""
VECTOR_ENTRIES = 64
"""Most elements of h that may be LUT memory: as many as one LUT has bits."""
SUM_ROWS = 4
"""Rows whose accumulators are in the same kind of memory: those of the smallest lane group."""
BLOCK_DEPTH = 512
"""Words of a block RAM at its widest: 72 bits in a 7-series part, 36 in an ECP5."""
ROW_BITS = 3
"""Most bits of a row's own shift."""
VALUE_BITS = 16
"""Width of an element of the output stream."""
WINDOWS = (0, 4, 8, 16, 32, 64)
"""Elements that a window of operands can have."""
WINDOWS_NEED = {"lists": False, "decoder": "off"}
"""What an engine with windows must have: lists and decoders choose words."""
PLACES = 64
"""Operands that each lane group keeps where columns are split: as many as one LUT has bits."""
SPLIT_NEED = {"operand_bits": 16, "window": 0, "lists": False, "gate_blocks": False}
"""What an engine that splits columns must have: sums of pairs can not be added, and operands are picked in one way."""
DECODERS = ("off", "bitmap", "esell")
"""What a weight port can expand."""
LEAST_REGISTER_BITS = 8
"""Width of the narrowest registers of a program."""
LEAST_BEAT = 64
"""Bits of the narrowest weight port."""
FORMAT_WIDTHS = {"preact": range(16, 21), "cell": range(16, 25), "activated": range(16, 19)}
"""Widths of pre-activations, of c, which fits the wide port of a DSP slice, and of activations' results, which fit the
narrow one."""
GATES = 4
"""Sums of a hidden unit."""
GATE_NAMES = ("i", "f", "g", "o")
PEEPHOLES = ("i", "f", "o")
"""Gates that see c, where an LSTM has peepholes: o the new one."""
CELL_SUMS = {"lstm": GATE_NAMES, "gru": ("r", "z", "n_x", "n_h")}
"""Kind of recurrent cell -> its sums, as rows are stacked; of a GRU's candidate W_n x + b and U_n h + b' apart."""
LISTS_NEED = {"contexts": 1, "operand_bits": 16, "x_per_beat": 1}
"""What an engine with lists must have: an encoder takes an element a cycle, and contexts would change unlike."""
SPARSE_NEED = {"contexts": 1, "lists": False}
"""What an engine with sparse_h must have: contexts keep other groups, and lists say more."""
H_GROUP = 4
"""Elements of h that are kept or left out together."""
LISTS_OF_X = 4
"""Lists of x that may wait for their MAC."""
SERIAL_SLOTS = 5
"""Activations per hidden unit, the slots of one cell: i, f, g, o and tanh(c)."""
CELL_PHASES = {1: (0,), 2: (0, 3), 5: (0, 1, 2, 3, 4)}
"""Number of cells -> the cycles (mod 5) in which a hidden unit may start."""


def widest_beat(part_bits: int, decoder: str = "off") -> int:
    """Bits of the widest beat of a port that carries so many bits of a word: with a decoder, half of a word."""
    if decoder == "esell":
        return esell.WORD_BITS
    return max(LEAST_BEAT, 1 << (part_bits - (decoder != "off")).bit_length() - 1)


_KINDS = {
    int: "an integer",
    bool: "true or false",
    str: "a string",
    tuple: "a list of integers",
    QFormat: "a number format such as Q3.12",
}


def group_rows(rows: int) -> int:
    """Rows of each lane group of an engine of so many rows."""
    return max(group for group in (4, 8, 12, 16) if rows % group == 0)


def _power_of_two(value):
    return value > 0 and value & (value - 1) == 0


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
        self._check_types()
        object.__setattr__(self, "cell", self.cell or self.preact)
        for rules in (self._ranges, self._lift_rules, self._relations, self._exactness):
            for name, holds, rule in rules():
                if not holds:
                    raise ConfigError(f"engine.{name}", getattr(self, name), f"must {rule}")

    def _check_types(self):
        """Values of the right kinds; lists become tuples."""
        for f in fields(self):
            kinds = typing.get_args(f.type) if isinstance(f.type, types.UnionType) else (f.type,)
            kinds = [typing.get_origin(kind) or kind for kind in kinds]
            value = getattr(self, f.name)
            if type(value) not in kinds and not (type(value) is list and tuple in kinds):
                raise ConfigError(f"engine.{f.name}", f"{value!r:.60}", f"must be {_KINDS[kinds[0]]}")
        if self.indexed is not None:
            object.__setattr__(self, "indexed", tuple(self.indexed))
        for name in ("shifts", "preact_shifts", "h_shifts", "c_shifts", "lifts"):
            values = getattr(self, name)
            if not all(type(value) is int for value in values):
                raise ConfigError(f"engine.{name}", f"{values!r:.60}", "must be integers")
            object.__setattr__(self, name, tuple(values))

    def _ranges(self):
        """(field, whether it is in its range, rule) of each number by itself."""
        elements, entries, addresses = 1 << ELEMENT_BITS, 1 << ENTRY_BITS, 1 << PROGRAM_BITS
        # Of a pair, a sum wraps at least once in its range, and both fit the 48 bits of a DSP slice.
        lowest = self.weight_bits + self.operand_bits + self.lists + max(self.lifts, default=0)
        lowest = max(PAIR_BITS + 1, lowest + 1) if self.lanes_per_dsp == 2 else lowest
        highest = 32 if self.lanes_per_dsp == 2 else 48
        rows = 4 <= self.rows <= MAX_ROWS and self.rows % 4 == 0
        yield "rows", rows, f"be a multiple of 4 up to {MAX_ROWS}"
        yield "contexts", 1 <= self.contexts <= MAX_CONTEXTS, f"be between 1 and {MAX_CONTEXTS}"
        yield "weight_bits", self.weight_bits in WEIGHT_WIDTHS, "be between 4 and 16"
        yield "operand_bits", self.operand_bits in (8, 16), "be 8 or 16"
        yield "operand_bits", self.operand_bits >= self.weight_bits, f"be 16 with weight_bits = {self.weight_bits}"
        yield "accumulator_bits", lowest <= self.accumulator_bits <= highest, f"be between {lowest} and {highest}"
        yield "weight_words", 2 <= self.weight_words <= 1 << WORD_BITS, f"be between 2 and {1 << WORD_BITS}"
        yield "h_elements", 2 <= self.h_elements <= elements, f"be between 2 and {elements}"
        yield "x_elements", 2 <= self.x_elements <= elements, f"be between 2 and {elements}"
        yield "x_per_beat", _power_of_two(self.x_per_beat) and self.x_per_beat <= 32, "be a power of two up to 32"
        yield "accumulators", 2 <= self.accumulators <= entries, f"be between 2 and {entries}"
        yield "finish_entries", 2 <= self.finish_entries <= entries, f"be between 2 and {entries}"
        yield "states", 2 <= self.states <= elements, f"be between 2 and {elements}"
        yield "program_length", 2 <= self.program_length <= addresses, f"be between 2 and {addresses}"
        yield "cells", self.cells in CELL_PHASES, f"be one of {sorted(CELL_PHASES)}"
        port = _power_of_two(self.axi_data_bits) and LEAST_BEAT <= self.axi_data_bits <= 1024
        yield "axi_data_bits", port, "be a power of two from 64 to 1024"
        yield "axi_ports", self.axi_ports in (1, 2, 4), "be 1, 2 or 4"
        yield "axi_address_bits", 32 <= self.axi_address_bits <= 64, "be between 32 and 64"
        yield "outstanding", 1 <= self.outstanding <= 64, "be between 1 and 64"
        yield "shifts", 1 <= len(self.shifts) <= 1 << SCALE_BITS, f"have 1 to {1 << SCALE_BITS} entries"
        yield "shifts", all(-16 <= s < 48 for s in self.shifts), "be between -16 and 47"
        yield "preact_shifts", len(self.preact_shifts) <= len(self.shifts), "have one entry a layer at most"
        most = max(0, FORMAT_WIDTHS["preact"][-1] - self.preact.width)
        yield "preact_shifts", all(0 <= s <= most for s in self.preact_shifts), f"be between 0 and {most}"
        yield "h_shifts", len(self.h_shifts) <= len(self.shifts), "have one entry a layer at most"
        yield "h_shifts", all(0 <= s <= 8 for s in self.h_shifts), "be between 0 and 8"
        yield "c_shifts", len(self.c_shifts) <= len(self.shifts), "have one entry a layer at most"
        yield "c_shifts", all(0 <= s <= 12 for s in self.c_shifts), "be between 0 and 12"

    def _lift_rules(self):
        """... of the lifts, and of the row bits that are part of them."""
        most = 0 if self.operand_bits == 8 else FACTOR_BITS - self.operand_bits - self.lists
        ascending = 1 <= len(self.lifts) <= 1 << LIFT_BITS and tuple(sorted(set(self.lifts))) == self.lifts
        yield "lifts", ascending, "be one number or more, in ascending order"
        yield "row_bits", 0 <= self.row_bits <= ROW_BITS, f"be between 0 and {ROW_BITS}"
        yield "lifts", all(self.row_bits <= n for n in self.lifts), f"be row_bits = {self.row_bits} at least"
        rule = f"be between 0 and {most} with operand_bits = {self.operand_bits}"
        rule += ' and lists; quantize.fractions = "shared" needs none' * self.lists
        yield "lifts", all(0 <= lift <= most for lift in self.lifts), rule

    def _relations(self):
        """... of what must go together, where each number is in its range."""
        rule = f"divide the {self.groups} lane groups of {self.group_rows} rows"
        yield "axi_ports", self.groups % self.axi_ports == 0, rule
        blocks = self.block_sums is None or self.block_sums in range(0, self.group_rows + 1, SUM_ROWS)
        yield "block_sums", blocks, f"be a multiple of {SUM_ROWS} up to the {self.group_rows} rows of a lane group"
        stored = f"(weight_bits + {self.place_bits})" if self.window else "weight_bits"
        rule = f"not exceed one weight word of rows * {stored} / axi_ports = {self.part_bits} bits"
        yield "axi_data_bits", self.axi_data_bits <= max(LEAST_BEAT, self.part_bits), rule
        rule = f"be a multiple of x_per_beat = {self.x_per_beat}"
        yield "x_elements", self.x_elements % self.x_per_beat == 0, rule
        yield "kind", self.kind in CELL_SUMS, f"be one of {', '.join(CELL_SUMS)}"
        yield "decoder", self.decoder in DECODERS, f"be one of {', '.join(DECODERS)}"
        yield "streams", self.streams or self.decoder == "off", "be true in an engine with a decoder"
        registers = LEAST_REGISTER_BITS <= self.register_bits <= REGISTER_BITS
        yield "register_bits", registers, f"be between {LEAST_REGISTER_BITS} and {REGISTER_BITS}"
        known = ", ".join(RELATIVE)
        yield "indexed", all(name in RELATIVE for name in self.indexed or ()), f"be some of {known}"
        if self.decoder != "off":
            fits = self.axi_ports == 1 and self.weight_bits in (4, 8, 16) and self.beats_per_word > 1
            rule = "be off but for one port, engine.weight_bits 4, 8 or 16, and words of two beats or more"
            yield "decoder", fits, rule
        if self.decoder == "esell":
            fits = (self.weight_bits, self.axi_data_bits) == (esell.WEIGHT_BITS, esell.WORD_BITS)
            rule = f"be bitmap or off but for weights of {esell.WEIGHT_BITS} bits on a port of {esell.WORD_BITS}"
            yield "decoder", fits, rule
        yield "window", self.window in WINDOWS, f"be one of {', '.join(map(str, WINDOWS))}"
        for name, needed in WINDOWS_NEED.items():
            rule = f"be {needed} in an engine with windows, which engine.window or a schedule that gathers asks for"
            rule += ", and [delta] for lists" * (name == "lists")
            yield name, not self.window or getattr(self, name) == needed, rule
        parts = (
            self.split == 1 or _power_of_two(self.groups) and _power_of_two(self.split) and self.split <= self.groups
        )
        rule = f"be 1, or a power of two up to the {self.groups} lane groups of {self.group_rows} rows, of which there "
        yield "split", parts, f"{rule}must be a power of two, too"
        for name, needed in SPLIT_NEED.items():
            rule = f"be {_plain(needed)} in an engine with split = {self.split}"
            yield name, self.split == 1 or getattr(self, name) == needed, rule
        most = max(CELL_PHASES)
        yield "parallel", self.cells == most or not self.parallel, f"be false but with engine.cells = {most}"
        yield "hidden", self.hidden.width == self.operand_bits, f"be {self.operand_bits} bits wide"
        yield "reset_before", self.kind == "gru" or not self.reset_before, "be false but for kind gru"
        yield "elu", self.chains or not self.elu, "be false without chains"
        if self.peepholes:
            its = self.peepholes
            yield "peepholes", self.kind == "lstm", "be none but for kind lstm"
            fits = its.signed and its.width == self.preact.width
            yield "peepholes", fits, f"be signed, {self.preact.width} bits wide, as pre-activations"
            without = {"preact_shifts": (), "c_shifts": (), "lists": False, "sparse_h": False, "parallel": False}
            for name, unused in without.items():
                yield name, getattr(self, name) == unused, f"be {_plain(unused)} in an engine with peepholes"
        for name, needed in LISTS_NEED.items():
            holds = not self.lists or getattr(self, name) == needed
            yield name, holds, f"be {needed} in an engine with lists"
        gates = self.list_loads and self.kind == "gru" and self.cells == 1
        yield "gate_blocks", gates or not self.gate_blocks, "be false but for kind gru, cells 1 and list_loads"
        yield "list_loads", self.lists or not self.list_loads, "be false in an engine without lists"
        for name, needed in SPARSE_NEED.items():
            yield name, not self.sparse_h or getattr(self, name) == needed, f"be {needed} in an engine with sparse_h"
        for name, widths in FORMAT_WIDTHS.items():
            value = getattr(self, name)
            yield name, value.width in widths and value.signed, f"be signed, {widths[0]} to {widths[-1]} bits wide"

    def _exactness(self):
        """... of what rounds and looks up, where everything else holds."""
        try:
            _ = self.unit, self.elu and make_exponential(self.preact, self.activated)
        except FormatError as error:
            subject = f"engine.activation {self.activation}: {error.subject}"
            raise ConfigError(subject, error.found, error.rule) from error
        cell = CellArithmetic(self)
        for name, rounding in (
            ("shifts", preact_rounding(self)),
            ("cell", cell.c),
            ("cell", cell.tanh),
            ("hidden", cell.h),
            *[("peepholes", cell.peephole)] * bool(self.peepholes),
        ):
            fractions = " or ".join(map(str, sorted(set(rounding.fractions))))
            sums = f"sums of {rounding.width} bits, with {fractions} fraction bits,"
            yield name, rounding.exact, f"let {sums} {rounding.rule}"

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
        values = {f.name: _plain(getattr(self, f.name)) for f in fields(self)}
        for name, unused in (
            ("cell", self.preact),
            ("preact_shifts", ()),
            ("h_shifts", ()),
            ("c_shifts", ()),
            ("lifts", (0,)),
            ("row_bits", 0),
            ("lists", False),
            ("chains", False),
            ("elu", False),
            ("kind", "lstm"),
            ("reset_before", False),
            ("peepholes", None),
            ("window", 0),
            ("list_loads", False),
            ("gate_blocks", False),
            ("sparse_h", False),
            ("count_clipped", False),
            ("bus_errors", False),
            ("streams", True),
            ("indexed", None),
            ("register_bits", REGISTER_BITS),
            ("decoder", "off"),
            ("block_sums", None),
            ("parallel", False),
            ("split", 1),
        ):
            if getattr(self, name) == unused:
                del values[name]
        return values

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


def _plain(value):
    if isinstance(value, QFormat):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
