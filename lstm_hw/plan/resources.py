"""What an engine takes of an FPGA, estimated from its configuration in microseconds, as Yosys would count it.

Multiplier blocks follow from the structure. Memories follow the rule by which Yosys maps them: of all ways to build one
from LUT memory or block RAM, the cheapest, with the costs of its technology files. LUTs and flip-flops are sums of
what each part of the structure was found to take, fitted to synthesised engines of many shapes (``bench/resources.py``
prints the estimate beside Yosys's counts).
"""

from dataclasses import dataclass

from ..machine.activation import make_activation
from ..machine.activation_unit import LOGIC_ROWS
from ..machine.config import FACTOR_BITS, GATES, LUT_ENTRIES, PAIR_BITS, SERIAL_SLOTS, VALUE_BITS, EngineConfig
from ..machine.isa import (
    BEATS_BITS,
    LIFT_BITS,
    LOOP_DEPTH,
    OPCODE_BITS,
    OPS,
    PROGRAM_BITS,
    REGISTER_BITS,
    REGISTERS,
)
from ..machine.latency import PENDING_LOADS, QUEUE_DEPTH, CellLatency, in_flight
from ..machine.parts import Usage

REGISTER_READS = 5
"""Registers that one instruction names at most: read ports of the register memory."""


@dataclass(frozen=True)
class Memory:
    """One kind of memory of an engine.

    Parameters
    ----------
    width, depth : int
        Bits of a word, words.
    count : int
        Such memories.
    clocked : bool
        The read port has a register, so block RAM can hold it.
    readers : int
        Read ports.
    chunk : int
        Bits that can be written by themselves; the whole word if 0.
    rom : bool
        Nothing writes it.
    only : str
        ``block`` or ``lut``: what it is whatever it costs.
    """

    width: int
    depth: int
    count: int = 1
    clocked: bool = False
    readers: int = 1
    chunk: int = 0
    rom: bool = False
    only: str = ""


@dataclass(frozen=True)
class Block:
    """A block RAM or LUT memory of a technology.

    Parameters
    ----------
    width, depth : int
        Bits of a word and words of one.
    cost : int
        Yosys's cost of one.
    lutram : int
        LUTs of one, in the units of :class:`~lstm_hw.machine.parts.Usage`.
    bram36 : float
    """

    width: int
    depth: int
    cost: int
    lutram: int = 0
    bram36: float = 0


def _bits(values: int) -> int:
    """Bits that tell so many values apart; 0 for one."""
    return (values - 1).bit_length()


_LUT_BLOCKS = {"xc7": (Block(6, 32, 8, 4), Block(3, 64, 8, 4)), "ecp5": (Block(4, 16, 4, 6),)}
_RAM_BLOCKS = {
    "xc7": tuple(Block(width, 16384 // max(1, width - width // 9), 129, 0, 0.5) for width in (1, 2, 4, 9, 18, 36))
    + tuple(Block(width, 32768 // max(1, width - width // 9), 257, 0, 1) for width in (1, 2, 4, 9, 18, 36, 72)),
    "ecp5": tuple(Block(width, 16384 // max(1, width - width // 9), 128, 0, 0.5) for width in (1, 2, 4, 9, 18, 36)),
}
"""Yosys 0.6x, share/xilinx/lutrams_xc5v.txt, brams_xc4v.txt; share/lattice/lutrams_trellis.txt, brams_16kd.txt."""
LOGIC_COST = {False: 1.0, True: 1 / 16}
"""Yosys's cost of a bit in logic, of a memory and of a table."""


def mapped(memory: Memory, family: str) -> tuple[int, float]:
    """LUTs as memory and block RAMs of 36 kbit that one memory takes, by Yosys's rule: what costs least.

    Returns
    -------
    lutram : int
    bram36 : float
    """
    choices = [] if memory.only else [(LOGIC_COST[memory.rom] * memory.width * memory.depth, 0, 0.0)]
    blocks = () if memory.rom or memory.only == "block" else _LUT_BLOCKS[family]
    for block in (*blocks, *(_RAM_BLOCKS[family] if memory.clocked and memory.only != "lut" else ())):
        chunk, halved = memory.chunk or memory.width, 0.0
        if block.bram36:
            # Parts that are written by themselves begin at a byte of 9 bits, if a block has such.
            byte = 9 if memory.chunk and block.width % 9 == 0 else 1
            width, room = memory.width // chunk * -(-chunk // byte), block.width // byte
            across = -(-width // room)
            if block.bram36 == 1 and 0 < width % room <= room // 2:
                halved = 0.5  # what is left for the last block fits half of one
        elif memory.chunk:
            across = memory.width // chunk * -(-chunk // block.width)
        else:
            across = -(-memory.width // block.width)
        high = -(-memory.depth // block.depth) * memory.readers
        choices.append(
            (block.cost * across * high, block.lutram * across * high, block.bram36 * (across - halved) * high)
        )
    _, lutram, bram36 = min(choices)
    return lutram, bram36


def _sums(config: EngineConfig) -> list[Memory]:
    """The accumulators and the finished sums of all lanes."""
    columns, deep = config.groups * config.contexts, config.stored_accumulators > LUT_ENTRIES
    parts = ((config.block_sum_rows, "block"), (config.group_rows - config.block_sum_rows, "lut" if deep else ""))
    finished = "block" if config.finished_in_block_ram else "lut" if config.finish_entries > LUT_ENTRIES else ""
    return [
        *(
            Memory(rows * config.accumulator_bits, config.stored_accumulators, columns, only == "block", only=only)
            for rows, only in parts
            if rows
        ),
        Memory(
            config.group_rows // config.lanes_per_dsp * config.finished_word_bits,
            config.finish_entries,
            columns,
            finished == "block",
            only=finished,
        ),
    ]


def memories(config: EngineConfig) -> list[Memory]:
    """Every memory of an engine; bits that this configuration never uses are not counted."""
    flying = -(-CellLatency(config).total * config.cells // SERIAL_SLOTS) + 2
    width = config.group_rows * config.weight_bits
    table = make_activation(config.activation, config.preact, config.activated)
    word, state, h = (_bits(n) for n in (config.weight_words, config.states, config.h_elements))
    context, x = _bits(config.contexts), _bits(config.x_elements)
    limits = {
        "INPUT": {"target": x, "bank": context},
        "LOAD": {"base": word},
        "MAC": {
            "weight": word,
            "operand": max(h, x),
            "source": _bits(config.accumulators),
            "target": _bits(config.accumulators),
            "mask": config.contexts,
            "rotate": context,
            "lift": _bits(len(config.lifts)),
        },
        "CELL": {
            "state": state,
            "state_stride": state,
            "target": h,
            "mask": config.contexts,
            "scale": _bits(len(config.shifts)),
        },
    }
    commands = [
        sum(min(bits, limits[name].get(field, bits)) for field, bits in op.fields.items() if not field.endswith("_reg"))
        for name, op in OPS.items()
        if op.unit
    ]
    # The last field is the lift of a MAC, of which an engine reads as many bits as it has lifts to tell apart.
    instruction = max(sum(op.fields.values()) for op in OPS.values()) + OPCODE_BITS
    instruction += limits["MAC"]["lift"] - LIFT_BITS
    burst = 16
    tag = 11 + limits["CELL"]["scale"] + _bits(config.cells) + context
    return [
        Memory(width, config.weight_words, config.groups, True, chunk=config.chunk_bits(0)),
        *_sums(config),
        Memory(config.operand_bits, config.h_elements, config.contexts, True),
        Memory(
            config.operand_bits * config.x_per_beat,
            config.x_elements // config.x_per_beat,
            config.contexts,
            True,
            chunk=config.operand_bits,
        ),
        Memory(config.cell.width, config.states, 1, True),
        *(Memory(width, depth, config.cells, depth > LOGIC_ROWS, rom=True) for width, depth in table.tables),
        Memory(instruction, config.program_length, 1, True),
        Memory(REGISTER_BITS, REGISTERS, readers=REGISTER_READS),
        Memory(REGISTER_BITS + PROGRAM_BITS, LOOP_DEPTH),
        *(Memory(bits, QUEUE_DEPTH) for bits in commands),
        Memory(1 + word + BEATS_BITS, PENDING_LOADS, config.axi_ports),
        Memory(config.axi_address_bits + burst, in_flight(config.outstanding) - 1, config.axi_ports),
        # Of a unit's tag, each queue holds what is asked for behind it: cell and mode; c read, c written; h.
        *(Memory(bits, 1 << _bits(flying)) for bits in (tag, state + 2, state + 2, h + tag)),
        Memory(VALUE_BITS + 1, 1 << _bits(flying + 2 * GATES), 1, True),
    ]


HOP_FIELDS = 40
"""Registers of a lane group's chains beside operands, a beat of weights and drained sums: addresses and flags."""
WIDE_PORT = {"xc7": FACTOR_BITS, "ecp5": 18}
"""Bits of a multiplier block's wider port."""


def dsp_blocks(config: EngineConfig, family: str = "xc7") -> int:
    """Multiplier blocks: one a lane, or a pair of lanes where a block is wide enough, two where lifted operands are
    wider than a port of a block; in each cell one for products, two where c is wider, and those of its activation unit.
    """
    table = make_activation(config.activation, config.preact, config.activated)
    odd = config.beats_per_word & (config.beats_per_word - 1)  # words of the ring to beats: a product by a constant
    lanes = config.lanes // (config.lanes_per_dsp if family == "xc7" else 1)
    lanes *= -(-config.factor_bits // WIDE_PORT[family])
    products = -(-config.cell.width // WIDE_PORT[family])
    activation = sum(-(-bits // WIDE_PORT[family]) for bits in table.multiplier_bits)
    return lanes + config.cells * (products + activation) + bool(odd)


def features(config: EngineConfig, family: str) -> dict[str, dict[str, float]]:
    """What LUTs used as logic and flip-flops grow with, by name; each has a coefficient a family."""
    slices = config.lanes // config.lanes_per_dsp
    pairs = slices if config.lanes_per_dsp == 2 else 0
    sums = slices * config.sum_word_bits
    table = make_activation(config.activation, config.preact, config.activated)
    # A loaded sum waits in the slice or in block RAM; of a pair, what counts its wraps does not, nor any on an ECP5.
    waiting = 1 - config.block_sum_rows / config.group_rows
    outside = config.sum_word_bits if family == "ecp5" else config.accumulator_bits - PAIR_BITS + 2
    formats = (config.preact, config.cell, config.activated)
    further = sum(f.width - VALUE_BITS for f in formats) + (config.preact.width if config.cell != config.preact else 0)
    loaded = waiting * (slices if family == "ecp5" else pairs) * outside
    lifted = config.factor_bits > config.operand_bits
    drained = -(-config.drain_width // config.lanes_per_dsp) * config.finished_word_bits
    hop = config.contexts * (config.factor_bits + 2) + config.axi_data_bits + 2 * drained + HOP_FIELDS
    return {
        "lut": {
            "engine": 1,
            "sum bits": sums,
            "pairs": pairs,
            "cells": config.cells,
            "table bits": config.cells * sum(width * depth for width, depth in table.tables if depth <= LOGIC_ROWS),
            "x bits": config.contexts * config.operand_bits * config.x_per_beat,
            "further bits of formats": config.cells * further,
            "lifted bits": lifted * config.factor_bits * (1 + config.contexts * _bits(len(config.lifts))),
            "row shift bits": config.drain_width * config.accumulator_bits * config.row_bits,
            "counters of clipped values": config.count_clipped,
        },
        "ff": {
            "engine": 1,
            "loaded sum bits": loaded,
            "operand and sum bits": slices * config.sum_word_bits + config.lanes * 2 * config.factor_bits,
            "pairs": pairs,
            "cells": config.cells,
            "chain bits": config.groups * hop,
            "port bits": config.axi_data_bits * config.axi_ports,
            "further bits of formats": config.cells * further,
            "lifted bits": lifted * (config.factor_bits + config.exponent_bits),
            "counters of clipped values": config.count_clipped,
        },
    }


COEFFICIENTS = {
    "xc7": {
        "lut": (2672, 0.286, 44.8, 219, 0.024, 1.862, 4.4, 0.75, 0.8, 120),
        "ff": (2730, 0.893, 0, 42.4, 463, 1, 2.628, 4.2, 1, 153),
    },
    "ecp5": {
        "lut": (5729, 3.363, 0, 174, 0.066, 3.031, 6.5, 1.1, 1.9, 180),
        "ff": (2600, 0, 1.941, 0, 686, 0, 13.72, 5.2, 1, 153),
    },
}
"""Of the :func:`features`, in their order; ``python -m bench.resources --fit`` finds them, but for the last ones, which
are of components alone."""


def estimate(config: EngineConfig, family: str = "xc7") -> Usage:
    """What an engine takes.

    Parameters
    ----------
    config : EngineConfig
    family : {"xc7", "ecp5"}

    Returns
    -------
    Usage
        Multiplier blocks and block RAMs as Yosys counts them; LUTs and flip-flops within some per cent
        (docs/benchmarks.md).
    """
    placed = [(memory.count, mapped(memory, family)) for memory in memories(config)]
    logic = {
        kind: round(sum(a * b for a, b in zip(COEFFICIENTS[family][kind], values.values(), strict=True)))
        for kind, values in features(config, family).items()
    }
    return Usage(
        lutram=sum(count * lutram for count, (lutram, _) in placed),
        bram36=sum(count * bram36 for count, (_, bram36) in placed),
        dsp=dsp_blocks(config, family),
        **logic,
    )
