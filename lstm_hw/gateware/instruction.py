"""Instruction words and unit commands as Amaranth layouts, built from the instruction set table."""

from amaranth.lib import data

from ..machine.command import command_bits
from ..machine.config import EngineConfig
from ..machine.isa import INSTRUCTION_BITS, OPCODE_BITS, OPS


def instruction_layout(op: str) -> data.FlexibleLayout:
    """FlexibleLayout of a whole instruction word of one opcode, with the opcode as field ``opcode``."""
    members = {"opcode": data.Field(OPCODE_BITS, 0)}
    members |= {name: data.Field(width, position) for name, (position, width) in OPS[op].positions.items()}
    return data.FlexibleLayout(INSTRUCTION_BITS, members)


def command_layout(op: str, config: EngineConfig) -> data.StructLayout:
    """StructLayout of what a unit gets: the fields with their registers already added, as wide as the engine needs
    (:func:`~lstm_hw.machine.command.command_bits`).
    """
    return data.StructLayout(command_bits(op, config))
