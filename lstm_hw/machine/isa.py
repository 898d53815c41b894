"""The instruction set: every opcode and field exists here once.

An instruction is 160 bits. Scalar instructions (SET, ADD, LOOP, END, RING, BUFFERS, HALT) run in
the sequencer; INPUT, LOAD, MAC and CELL go to the queue of their unit and run there, in order
within a unit. A field ``f`` with a companion ``f_reg`` has the value ``f + r[f_reg]``; register 0
is always zero. A MAC with an empty mask changes no sum: it waits for tokens and frees what its
flags say.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from ..errors import ProgramError

INSTRUCTION_BITS = 160
OPCODE_BITS = 4
REGISTER_BITS = 32
REGISTERS = 16
REGISTER_FIELD = (REGISTERS - 1).bit_length()
CLEAR_REGISTER = 6
"""1 when the run starts from zero state, else 0; set at every start."""
STEPS_REGISTER = 7
"""Number of time steps of the run; set at every start."""
LOOP_DEPTH = 6

OFFSET_BITS, BEATS_BITS = 32, 24
"""Of a LOAD: its place in the weight image and its length."""
WORD_BITS = 18
"""Address in the weight buffer."""
ELEMENT_BITS = 16
"""Address of an element of x or h, or of a cell state."""
COUNT_BITS = 14
"""Columns, elements of a vector, units."""
ENTRY_BITS = 12
"""Accumulator entry."""
SLOT_BITS = 8
"""How many entries follow one another."""
BANK_BITS = 3
"""Context; a mask has a bit for each."""
SCALE_BITS = 4
"""Which of the engine's shifts."""
LIFT_BITS = 4
"""Which of the engine's lifts."""
FILL_BITS = 7
"""Elements that go into a window, or where columns are split the place at which the first one is kept."""
VECTORS_BITS = 8
"""Vectors of x."""
THRESHOLD_BITS = 16
"""Least change of an element that goes into a list of deltas; the largest change that there can be has as many."""
PROGRAM_BITS = 9
"""Address in the program memory."""

LOOP_COUNT, LOOP_IF, LOOP_UNLESS, LOOP_KEPT = range(4)
"""How often a LOOP runs: count times, once unless count is zero, once if it is; or once if the group
count + r[count_reg] of h is kept, with lists if that element of h or x changed; it waits until that is known."""
SPACE_H, SPACE_X, SPACE_CONSTANT, SPACE_DELTA = range(4)
"""Where a MAC takes its operands: the h memory, the x memory, the constant 2**operand, a list of deltas of h."""
MODE_CELL, MODE_LINEAR, MODE_ZERO, MODE_RESET = range(4)
"""What a CELL does: hidden units of the engine's kind, plain requantised outputs, h = c = 0 without reading
accumulators, or r*h of a GRU, whose c stays as it is."""
MODE_KEEP = MODE_RESET
"""In an engine with peepholes, whose units are of LSTMs: sums of i, f and o are kept as the weights of the c at
``state``, which stays as it is."""
ACTIVATIONS = ("none", "relu", "elu", "sigmoid", "tanh")
"""What becomes of the plain outputs of a CELL, by the number in its field ``activation``."""
RELU, ELU, TANH = map(ACTIVATIONS.index, ("relu", "elu", "tanh"))
"""Those behind ELU are results of the activation unit, for which sums are rounded as pre-activations are."""
ACTIVATION_BITS = 3


@dataclass(frozen=True)
class Op:
    """One opcode: its number, its unit (None for the sequencer) and its fields (name -> width)."""

    name: str
    code: int
    unit: str | None
    fields: Mapping[str, int]
    doc: str

    @cached_property
    def positions(self) -> dict[str, tuple[int, int]]:
        """Field name -> (lowest bit, width); the opcode is in the low bits.

        Fields that name a register follow it, so that the n-th of them stands in one place in all instructions.
        """
        position, result = OPCODE_BITS, {}
        for name in sorted(self.fields, key=lambda name: name not in self.registers):
            result[name] = (position, self.fields[name])
            position += self.fields[name]
        return result

    @cached_property
    def registers(self) -> tuple[str, ...]:
        """Fields that name a register."""
        return tuple(name for name in self.fields if name == "register" or name.endswith("_reg"))

    @cached_property
    def relative(self) -> tuple[str, ...]:
        """Fields that have a companion register field."""
        return tuple(name for name in self.fields if f"{name}_reg" in self.fields)


def _op(code, name, unit, doc, **widths):
    op = Op(name, code, unit, MappingProxyType(widths), doc)
    if OPCODE_BITS + sum(widths.values()) > INSTRUCTION_BITS:
        raise ProgramError(name, "too many field bits", f"must fit {INSTRUCTION_BITS} bits")
    return op


OPS = {
    op.name: op
    for op in (
        _op(0, "HALT", None, "End of the program; the run is done when every unit has finished."),
        _op(1, "SET", None, "r[register] = value", register=REGISTER_FIELD, value=REGISTER_BITS),
        _op(
            2,
            "ADD",
            None,
            "r[register] += value; where limit is not 0 and the sum reaches it, limit is taken off",
            register=REGISTER_FIELD,
            value=REGISTER_BITS,
            limit=REGISTER_BITS,
        ),
        _op(
            3,
            "LOOP",
            None,
            "Repeat up to the matching END count (r[count_reg] unless that is r0) times; 0 goes on behind it, at exit",
            count=REGISTER_BITS,
            count_reg=REGISTER_FIELD,
            exit=PROGRAM_BITS,
            when=2,
            of_x=1,  # it asks for an element of x
        ),  # LOOP_COUNT, LOOP_IF, LOOP_UNLESS or LOOP_KEPT
        _op(4, "END", None, "End of the innermost LOOP."),
        _op(
            5,
            "RING",
            None,
            "Words from base to the end of the weight buffer become the stream ring, empty",
            base=WORD_BITS,
        ),
        _op(6, "BUFFERS", None, "That many x vectors are free to be written", count=VECTORS_BITS),
        _op(
            8,
            "INPUT",
            "input",
            "Take a vector from the x stream into the x memory",
            target=ELEMENT_BITS,
            target_reg=REGISTER_FIELD,  # first element address
            bank=BANK_BITS,
            bank_reg=REGISTER_FIELD,  # context that gets the vector
            elements=COUNT_BITS,  # elements of one context
            spread=1,  # a beat holds one element of each context instead of consecutive elements
            repeats=VECTORS_BITS,  # that many further vectors follow, each behind the one before
            wait=1,  # wait for a free x vector and take it (one, whatever repeats says)
            last=1,  # the beat with the last element carries tlast
            threshold=THRESHOLD_BITS,
        ),  # least change that goes into the list of the vector's deltas
        _op(
            9,
            "LOAD",
            "load",
            "Read weight words from memory",
            offset=OFFSET_BITS,
            offset_reg=REGISTER_FIELD,  # in beats from the image base
            beats=BEATS_BITS,
            beats_reg=REGISTER_FIELD,
            base=WORD_BITS,
            base_reg=REGISTER_FIELD,  # first word of the buffer, unless stream
            stream=1,  # into the ring, as it becomes free
            words=WORD_BITS,  # with a decoder: words of a segment of the stream, which wait for room together
        ),
        _op(
            10,
            "MAC",
            "mac",
            "slots x columns products a lane: word by word, each with its operand, column after column",
            weight=WORD_BITS,
            weight_reg=REGISTER_FIELD,  # first word: an address, or with stream an offset in the ring
            operand=ELEMENT_BITS,
            operand_reg=REGISTER_FIELD,  # first operand element, or the exponent of the constant
            columns=COUNT_BITS,
            columns_reg=REGISTER_FIELD,
            slots=SLOT_BITS,  # runs of columns, with consecutive accumulator entries
            source=ENTRY_BITS,
            source_reg=REGISTER_FIELD,  # accumulator entry that the first slot starts from
            target=ENTRY_BITS,
            target_reg=REGISTER_FIELD,  # accumulator entry that the first slot ends in
            mask=1 << BANK_BITS,  # contexts that take part
            rotate=BANK_BITS,  # context k reads its operands from bank (k + rotate) mod K
            space=2,
            load=1,  # start from an entry instead of from the last sum
            hold=1,  # every slot starts from the same entry
            store=1,  # write the sum to an entry
            finish=1,  # hand the sum to the cell unit
            stream=1,
            release=1,  # the ring is free up to the last word of this MAC
            fresh=1,  # consume the arrival tokens of resident words, one a word
            wait=1,  # in the first slot, column j waits for operand token offset + j
            take=1,  # ... and the last of them consumes all up to the one that it waited for
            free=1,  # at the end an x vector becomes free
            offset=COUNT_BITS,
            lift=LIFT_BITS,  # which of the engine's lifts: places that elements of x or h stand higher
            list=SCALE_BITS,  # layer whose latest list of deltas of h it walks
            gather=1,  # each row's operands are those of the window that its weights name; or those that groups kept
            # With gather: so many elements, one a column of whatever slot, go to the other window; then both swap.
            # Where columns are split PLACES + p: operands of the first slot are kept at places from p on, or with
            # gather column k multiplies in each part of the groups that of place p + k * split + part.
            fill=FILL_BITS,
        ),
        _op(
            11,
            "CELL",
            "cell",
            "Turn finished row blocks into hidden units (or plain outputs, four by four), contexts inside",
            units=COUNT_BITS,  # hidden units, or outputs with MODE_LINEAR
            mask=1 << BANK_BITS,
            mode=2,
            scale=SCALE_BITS,  # which of the engine's shifts
            state=ELEMENT_BITS,
            state_reg=REGISTER_FIELD,  # address of c of the first unit
            state_stride=ELEMENT_BITS,  # distance of c between contexts
            target=ELEMENT_BITS,
            target_reg=REGISTER_FIELD,  # address of the first h element
            write=1,  # write h to the h memory
            signal=1,  # one h token a unit, when its last context is written
            emit=1,  # send the results to the output stream
            last=1,  # with tlast on the last one
            threshold=THRESHOLD_BITS,  # least change that goes into the list of deltas, or least size of a group of h
            activation=ACTIVATION_BITS,
            stride=ENTRY_BITS,  # where rows of a row block are of one gate: row blocks of a gate, all of the layer's
        ),  # of plain outputs, which it may also write to the h memory, where they are operands as h is
    )
}

BY_CODE = {op.code: op for op in OPS.values()}
UNITS = ("input", "load", "mac", "cell")


class Fields:
    """What an opcode name ``op`` and field values ``fields`` share: values are attributes, zeros are not shown."""

    __slots__ = ()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self.fields[name]
        except KeyError:
            raise AttributeError(name) from None

    def __str__(self):
        shown = " ".join(f"{k}={v}" for k, v in self.fields.items() if v)
        return f"{self.op} {shown}".strip()


@dataclass(frozen=True)
class Instruction(Fields):
    """An opcode name and its field values; fields that are not given are 0."""

    op: str
    fields: Mapping[str, int]


def instruction(op: str, **values: int) -> Instruction:
    """Build an instruction.

    Raises
    ------
    ProgramError
        Unknown opcode or field, or a value that does not fit its field.
    """
    if op not in OPS:
        raise ProgramError("opcode", repr(op), f"must be one of {sorted(OPS)}")
    widths = OPS[op].fields
    for name, value in values.items():
        if name not in widths:
            raise ProgramError(f"{op}.{name}", "unknown field", f"must be one of {sorted(widths)}")
        value = int(value)
        if not 0 <= value < 1 << widths[name]:
            raise ProgramError(f"{op}.{name}", value, f"must fit {widths[name]} unsigned bits")
    return Instruction(op, MappingProxyType({name: int(values.get(name, 0)) for name in widths}))


def encode(instr: Instruction) -> int:
    """Instruction to its integer."""
    op = OPS[instr.op]
    word = op.code
    for name, (position, _) in op.positions.items():
        word |= instr.fields[name] << position
    return word


def decode(word: int) -> Instruction:
    """integer to its instruction; ProgramError for an unknown opcode."""
    code = word & ((1 << OPCODE_BITS) - 1)
    if code not in BY_CODE:
        raise ProgramError("opcode", code, f"must be one of {sorted(BY_CODE)}")
    op = BY_CODE[code]
    return instruction(op.name, **{n: word >> p & ((1 << w) - 1) for n, (p, w) in op.positions.items()})
