"""The instruction set: every opcode and field exists here once.

An instruction is 160 bits. Scalar instructions (SET, ADD, LOOP, END, RING, BUFFERS, HALT) run in
the sequencer; INPUT, LOAD, MAC and CELL go to the queue of their unit and run there, in order
within a unit. A field ``f`` with a companion ``f_reg`` has the value ``f + r[f_reg]``; register 0
is always zero. A MAC with an empty mask changes no sum: it waits for tokens and frees what its
flags say.
"""

from dataclasses import dataclass
from types import MappingProxyType

from ..errors import ProgramError

INSTRUCTION_BITS = 160
OPCODE_BITS = 4
REGISTER_BITS = 32
REGISTERS = 8
CLEAR_REGISTER = 6
"""1 when the run starts from zero state, else 0; set at every start."""
STEPS_REGISTER = 7
"""Number of time steps of the run; set at every start."""
LOOP_DEPTH = 4

LOOP_COUNT, LOOP_IF, LOOP_UNLESS = range(3)
"""How often a LOOP runs: count times, once unless count is zero, once if it is."""
SPACE_H, SPACE_X, SPACE_CONSTANT = range(3)
"""Where a MAC takes its operands: the h memory, the x memory, the constant 2**operand."""
MODE_LSTM, MODE_LINEAR, MODE_ZERO = range(3)
"""What a CELL does: LSTM cell, plain requantised outputs, or h = c = 0 without reading accumulators."""


@dataclass(frozen=True)
class Op:
    """One opcode: its number, its unit (None for the sequencer) and its fields (name -> width)."""

    name: str
    code: int
    unit: str | None
    fields: MappingProxyType
    doc: str

    @property
    def positions(self):
        """Field name -> (lowest bit, width); the opcode is in the low bits."""
        position, result = OPCODE_BITS, {}
        for name, width in self.fields.items():
            result[name] = (position, width)
            position += width
        return result

    @property
    def relative(self):
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
        _op(1, "SET", None, "r[register] = value", register=3, value=32),
        _op(
            2,
            "ADD",
            None,
            "r[register] += value; where limit is not 0 and the sum reaches it, limit is taken off",
            register=3,
            value=32,
            limit=32,
        ),
        _op(
            3,
            "LOOP",
            None,
            "Repeat up to the matching END count (r[count_reg] unless that is r0) times; 0 goes on behind it, at exit",
            count=32,
            count_reg=3,
            exit=8,
            when=2,
        ),  # LOOP_COUNT, or once if the count is not zero, or once if it is
        _op(4, "END", None, "End of the innermost LOOP."),
        _op(5, "RING", None, "Words from base to the end of the weight buffer become the stream ring, empty", base=18),
        _op(6, "BUFFERS", None, "That many x vectors are free to be written", count=8),
        _op(
            8,
            "INPUT",
            "input",
            "Take a vector from the x stream into the x memory",
            target=16,
            target_reg=3,  # first element address
            bank=3,
            bank_reg=3,  # context that gets the vector
            elements=14,  # elements of one context
            spread=1,  # a beat holds one element of each context instead of consecutive elements
            repeats=8,  # that many further vectors follow, each behind the one before
            wait=1,  # wait for a free x vector and take it (one, whatever repeats says)
            last=1,
        ),  # the beat with the last element carries tlast
        _op(
            9,
            "LOAD",
            "load",
            "Read weight words from memory",
            offset=32,
            offset_reg=3,  # in beats from the image base
            beats=24,
            beats_reg=3,
            base=18,
            base_reg=3,  # first word of the buffer, unless stream
            stream=1,
        ),  # into the ring, as it becomes free
        _op(
            10,
            "MAC",
            "mac",
            "slots x columns products a lane: word by word, each with its operand, column after column",
            weight=18,
            weight_reg=3,  # first word: an address, or with stream an offset in the ring
            operand=16,
            operand_reg=3,  # first operand element, or the exponent of the constant
            columns=14,
            columns_reg=3,
            slots=8,  # runs of columns, with consecutive accumulator entries
            source=8,
            source_reg=3,  # accumulator entry that the first slot starts from
            target=8,
            target_reg=3,  # accumulator entry that the first slot ends in
            mask=8,  # contexts that take part
            rotate=3,  # context k reads its operands from bank (k + rotate) mod K
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
            offset=14,
        ),
        _op(
            11,
            "CELL",
            "cell",
            "Turn finished row blocks into hidden units (or plain outputs, four by four), contexts inside",
            units=14,  # hidden units, or outputs with MODE_LINEAR
            mask=8,
            mode=2,
            scale=4,  # which of the engine's shifts
            state=16,
            state_reg=3,  # address of c of the first unit
            state_stride=16,  # distance of c between contexts
            target=16,
            target_reg=3,  # address of the first h element
            write=1,  # write h to the h memory
            signal=1,  # one h token a unit, when its last context is written
            emit=1,  # send the results to the output stream
            last=1,
        ),  # with tlast on the last one
    )
}

BY_CODE = {op.code: op for op in OPS.values()}
UNITS = ("input", "load", "mac", "cell")


@dataclass(frozen=True)
class Instruction:
    """An opcode name and its field values; fields that are not given are 0."""

    op: str
    fields: MappingProxyType

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


def instruction(op, **values):
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


def encode(instr):
    """Instruction to its 160-bit integer."""
    op = OPS[instr.op]
    word = op.code
    for name, (position, _) in op.positions.items():
        word |= instr.fields[name] << position
    return word


def decode(word):
    """160-bit integer to its instruction; ProgramError for an unknown opcode."""
    code = word & ((1 << OPCODE_BITS) - 1)
    if code not in BY_CODE:
        raise ProgramError("opcode", code, f"must be one of {sorted(BY_CODE)}")
    op = BY_CODE[code]
    return instruction(op.name, **{n: word >> p & ((1 << w) - 1) for n, (p, w) in op.positions.items()})
