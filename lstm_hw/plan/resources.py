"""What an engine takes of an FPGA, estimated from its configuration in microseconds, as Yosys would count it.

Multiplier blocks follow from the structure. Memories follow the rule by which Yosys maps them: of all ways to build one
from LUT memory or block RAM, the cheapest, with the costs of its technology files. Of LUTs and flip-flops, those of the
lanes, of the chains between them and behind deep memories follow from the structure as well: :func:`structure` counts
them. What the rest takes grows with :func:`features`, and was fitted to synthesised engines (``bench/resources.py``
prints the estimate beside Yosys's counts).
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import zip_longest
from typing import NamedTuple

from ..machine import esell
from ..machine.activation_unit import LOGIC_ROWS
from ..machine.command import command_bits, moved
from ..machine.config import EngineConfig
from ..machine.isa import (
    BEATS_BITS,
    LOOP_DEPTH,
    OPS,
    PROGRAM_BITS,
    REGISTERS,
    SCALE_BITS,
    WORD_BITS,
)
from ..machine.latency import (
    CONTROL_LEAD,
    PENDING_LOADS,
    QUEUE_DEPTH,
    REQUANTIZE,
    SKEW,
    SPLIT_BURSTS,
    CellLatency,
    in_flight,
)
from ..machine.limits import (
    FACTOR_BITS,
    GATE_NAMES,
    GATES,
    H_GROUP,
    LISTS_OF_X,
    LUT_ENTRIES,
    PAIR_BITS,
    PEEPHOLES,
    PLACES,
    SERIAL_SLOTS,
    VALUE_BITS,
)
from ..machine.parts import Usage
from ..machine.shared_activation import make_exponential


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
    chunk : int
        Bits that can be written by themselves; the whole word if 0.
    rom : bool
        Nothing writes it.
    only : str
        ``block`` or ``lut``: what it is whatever it costs.
    apart : bool
        No word is read that is being written, which synthesis is told.
    unread : int
        Further bits of a word that nothing reads: they count where a kind is chosen, and are left out then.
    """

    width: int
    depth: int
    count: int = 1
    clocked: bool = False
    chunk: int = 0
    rom: bool = False
    only: str = ""
    apart: bool = False
    unread: int = 0

    @property
    def enables(self) -> int:
        """Bits that enable writing."""
        return 0 if self.rom else self.width // (self.chunk or self.width)


@dataclass(frozen=True)
class Block:
    """A block RAM or LUT memory of a technology.

    Parameters
    ----------
    width, depth : int
        Bits of a word and words of one.
    cost : int
        Yosys's cost of one.
    scaled : bool
        One of which a part is used costs but that part.
    lutram : int
        LUTs of one, in the units of :class:`~lstm_hw.machine.parts.Usage`.
    bram36 : float
    """

    width: int
    depth: int
    cost: int
    lutram: int = 0
    bram36: float = 0
    scaled: bool = False


class Mapped(NamedTuple):
    """What one memory takes.

    Parameters
    ----------
    lutram : int
        LUTs as memory.
    bram36 : float
        Block RAMs of 36 kbit.
    deep : int
        Blocks one above the other, between which a multiplexer chooses what is read.
    """

    lutram: int
    bram36: float
    deep: int


def _bits(values: int) -> int:
    """Bits that tell so many values apart; 0 for one."""
    return (values - 1).bit_length()


_LUT_BLOCKS = {
    "xc7": (Block(6, 32, 8, 4, scaled=True), Block(3, 64, 8, 4, scaled=True)),
    "ecp5": (Block(4, 16, 4, 6),),
}
_RAM_BLOCKS = {
    "xc7": tuple(Block(width, 16384 // max(1, width - width // 9), 129, 0, 0.5) for width in (1, 2, 4, 9, 18, 36))
    + tuple(Block(width, 32768 // max(1, width - width // 9), 257, 0, 1) for width in (1, 2, 4, 9, 18, 36, 72)),
    "ecp5": tuple(Block(width, 16384 // max(1, width - width // 9), 128, 0, 0.5) for width in (1, 2, 4, 9, 18, 36)),
}
"""Yosys 0.6x, share/xilinx/lutrams_xc5v.txt, brams_xc4v.txt; share/lattice/lutrams_trellis.txt, brams_16kd.txt."""
CHOICE_COST = 0.5
"""Of a bit of a multiplexer's input behind blocks one above the other, and of a bit that enables the writing of one."""
OLD_VALUE_COST = {"xc7": 0, "ecp5": 12}
"""Of what gives the old value where a block RAM is written and read at once, if it does not by itself."""
LOGIC_COST = {False: 1.0, True: 1 / 16}
"""Yosys's cost of a bit in logic, of a memory and of a table."""


def _same(block: Block, family: str) -> list[Block]:
    """The widths that a block RAM may have instead of this one."""
    return [other for other in _RAM_BLOCKS[family] if other.bram36 == block.bram36]


def _between(memory, deep):
    """Yosys's cost of what stands between so many blocks one above the other."""
    return CHOICE_COST * ((deep - 1) * memory.width + deep * memory.enables) if deep > 1 else 0


@lru_cache(maxsize=1 << 14)
def mapped(memory: Memory, family: str) -> Mapped:
    """What one memory takes, by Yosys's rule: what costs least."""
    if memory.unread:
        whole = mapped(replace(memory, width=memory.width + memory.unread, unread=0), family)
        return mapped(replace(memory, unread=0, only="block" if whole.bram36 else "lut"), family)
    choices = [] if memory.only else [(LOGIC_COST[memory.rom] * memory.width * memory.depth, 0, 0.0, 1)]
    tables = () if memory.rom or memory.only == "block" else _LUT_BLOCKS[family]
    for block in tables:
        chunk = memory.chunk or memory.width
        deep = -(-memory.depth // block.depth)
        blocks = memory.width // chunk * -(-chunk // block.width) * deep
        cost = block.cost * (deep * memory.width / block.width if block.scaled else blocks) + _between(memory, deep)
        choices.append((cost, block.lutram * blocks, 0.0, deep))
    for block in _RAM_BLOCKS[family] if memory.clocked and memory.only != "lut" else ():
        # Parts that are written by themselves begin at a byte of 9 bits, if a block has such.
        byte = 9 if memory.chunk and block.width % 9 == 0 else 1
        chunk = memory.chunk or memory.width
        full, rest = divmod(memory.width // chunk * -(-chunk // byte), block.width // byte)
        deep = -(-memory.depth // block.depth)
        blocks, halved = full * deep, 0.0
        if rest:
            # What is left goes into blocks that are as narrow as it, and so deeper, or into halves of the same.
            narrow = [-(-memory.depth // b.depth) for b in _same(block, family) if rest <= b.width // byte]
            blocks += min(narrow)
            if block.bram36 == 1 and rest <= block.width // byte // 2 and min(narrow) == deep:
                halved = 0.5 * deep
        old = 0 if memory.rom or memory.apart else OLD_VALUE_COST[family]
        cost = block.cost * blocks + _between(memory, deep) + old
        choices.append((cost, 0, block.bram36 * blocks - halved, deep))
    return Mapped(*min(choices)[1:])


def _finished_bits(config: EngineConfig) -> int:
    """Bits that are kept of a finished sum word. Yosys finds more that nothing reads: below the rounding, those above
    the row's own shift, and those of a pair's lower sum."""
    if config.preact.rounding == "half_even":
        return config.finished_word_bits
    below = max(0, min(config.shifts) - (config.preact.rounding != "floor"))
    if config.lanes_per_dsp == 2:
        return config.finished_word_bits - min(below, PAIR_BITS)
    return config.finished_word_bits - (max(0, below - config.row_bits) if config.row_bits else 0)


def _sums(config: EngineConfig) -> list[Memory]:
    """The accumulators and the finished sums of all lanes."""
    columns, deep = config.groups * config.contexts, config.stored_accumulators > LUT_ENTRIES
    parts = ((config.block_sum_rows, "block"), (config.group_rows - config.block_sum_rows, "lut" if deep else ""))
    finished = "block" if config.finished_in_block_ram else "lut" if config.finish_entries > LUT_ENTRIES else ""
    return [
        *(
            Memory(
                rows * config.accumulator_bits,
                config.stored_accumulators,
                columns,
                only == "block",
                only=only,
                apart=only == "block",
            )
            for rows, only in parts
            if rows
        ),
        Memory(
            # Yosys leaves unread bits out of LUT memory; a block RAM has been chosen by then, by all bits.
            config.group_rows
            // config.lanes_per_dsp
            * (config.finished_word_bits if finished == "block" else _finished_bits(config)),
            config.finish_entries,
            columns,
            finished == "block",
            only=finished,
            apart=finished == "block",
        ),
    ]


def window_memory(config: EngineConfig) -> Memory:
    """Both windows of each lane."""
    return Memory(config.factor_bits, 2 * config.window, config.lanes, only="lut")


def kept_memories(config: EngineConfig) -> list[Memory]:
    """Operands that the lane groups keep, and which finished row blocks are those of parts."""
    if config.split == 1:
        return []
    places = Memory(config.factor_bits, PLACES, config.groups * config.contexts, only="lut")
    return [places, Memory(1, config.finish_entries, config.groups, only="lut")]


def _row_blocks(config: EngineConfig) -> list[Memory]:
    """Row blocks that a decoder of eSELL puts together, and the columns of each row that have weights."""
    if config.decoder != "esell":
        return []
    shapes = ((esell.WEIGHT_BITS, esell.BUFFERS * esell.BLOCK_COLUMNS), (esell.BLOCK_COLUMNS, esell.BUFFERS))
    return [Memory(bits, depth, config.rows, only="lut") for bits, depth in shapes]


def _register_reads(config: EngineConfig) -> list[int]:
    """Bits that each read port of the registers gives: a value and whether it is zero at the first; at the others,
    which serve commands alone, the bits of the fields that their value is added to."""
    added = [
        [command_bits(name, config)[field] if field in moved(name, config) else 0 for field in op.relative]
        for name, op in OPS.items()
        if op.unit
    ]
    others = list(map(max, zip_longest(*added, fillvalue=0)))[1:]
    return [config.register_bits + 1, *(bits for bits in others if bits)]


def _vectors(config: EngineConfig) -> list[Memory]:
    """The memories of x; with lists, the lists of x and h, the elements that they are compared with, and lengths."""
    if not config.lists:
        bits = config.operand_bits
        depth = config.x_elements // config.x_per_beat
        return [Memory(bits * config.x_per_beat, depth, config.contexts, True, chunk=bits)]
    index = 0 if config.list_loads else _bits(max(config.h_elements, config.x_elements))
    entry = config.element_bits + index
    return [
        Memory(entry, config.x_elements, 1, True),
        Memory(entry, config.h_elements, 1, True),
        Memory(config.operand_bits, config.x_elements, 1, True),
        Memory(config.operand_bits, config.states, 1, True),
        *[Memory(_bits(config.x_elements + 1), LISTS_OF_X)] * (not config.list_loads),
    ]


def _kept_bits(config: EngineConfig) -> list[Memory]:
    """A bit for each element of x and h, or for each group of h, where programs ask for what counts."""
    parts = [config.x_elements, config.h_elements] if config.list_loads else []
    return [Memory(1, depth) for depth in parts + [-(-config.h_elements // H_GROUP)] * config.sparse_h]


_POSITIONS = {name: op.positions for name, op in OPS.items() if op.unit}


def _instruction_bits(config: EngineConfig, family: str) -> int:
    """Bits of an instruction up to the highest that its unit's queue stores, and whether a LOOP may run no time.

    Of the last fields of a MAC few bits are read, or none; stored is also what else their block of LUT memory holds.
    """
    block, ends = _LUT_BLOCKS[family][0].width, []
    for name, positions in _POSITIONS.items():
        queued, read, place = command_bits(name, config), 0, 0
        fewer = {"offset": config.token_bits, "lift": _bits(len(config.lifts)), "list": bool(config.walks) * SCALE_BITS}
        for field, bits in queued.items():
            if fewer.get(field, bits):
                read = place + min(bits, fewer.get(field, bits))
            place += bits
        place, room = 0, -(-read // block) * block
        for field, bits in queued.items():
            if place < room:
                ends.append(positions[field][0] + min(bits, room - place))
            place += bits
    return 1 + max(ends)


def activation_units(config: EngineConfig) -> int:
    """Activation units: one a serial cell; of a parallel one for each gate and tanh, and for linear layers."""
    if not config.parallel:
        return config.cells
    return {"lstm": len(GATE_NAMES) + 1, "gru": 3}[config.kind] + config.chains


def memories(config: EngineConfig, family: str = "xc7") -> list[Memory]:
    """Every memory of an engine; bits that this configuration never uses are not counted."""
    flying = -(-CellLatency(config).total * config.cells // SERIAL_SLOTS) + 2
    width = config.group_rows * config.stored_bits
    table, units = config.unit, activation_units(config)
    word, state, h, context = (
        _bits(n) for n in (config.weight_words, config.states, config.h_elements, config.contexts)
    )
    expands = config.decoder != "off"  # of each LOAD also words, and beats in front of its first token
    burst = config.axi_address_bits - _bits(config.beat_bytes) + 10  # word, ARLEN, first, last
    tag = 11 + _bits(len(config.shifts)) + _bits(config.cell_components) + context
    return [
        Memory(width, config.weight_words, config.groups, True, config.chunk_bits(0), apart=True),
        *_sums(config),
        *[window_memory(config)] * bool(config.window),
        *kept_memories(config),
        *_row_blocks(config),
        Memory(
            config.operand_bits, config.h_elements, config.contexts, True, only="block" if config.h_in_block_ram else ""
        ),
        *_vectors(config),
        *_kept_bits(config),
        Memory(config.cell.width, config.states, 1, True),
        *[Memory(len(PEEPHOLES) * config.preact.width, config.states, 1, True)] * bool(config.peepholes),
        *(Memory(width, depth, units, depth > LOGIC_ROWS, rom=True) for width, depth in table.tables),
        Memory(_instruction_bits(config, family), config.program_length, 1, True),
        *(Memory(bits, REGISTERS) for bits in _register_reads(config)),
        Memory(config.register_bits + 1 + PROGRAM_BITS, LOOP_DEPTH),
        *(Memory(sum(command_bits(name, config).values()), QUEUE_DEPTH) for name, op in OPS.items() if op.unit),
        Memory(
            config.streams + word + command_bits("LOAD", config)["beats"] + expands * (WORD_BITS + BEATS_BITS),
            PENDING_LOADS,
            config.axi_ports,
        ),
        Memory(burst, in_flight(config.outstanding) - 1, config.axi_ports),
        Memory(burst - 8 + config.max_burst.bit_length() + config.streams, SPLIT_BURSTS, config.axi_ports),
        # Of a unit's tag, each queue holds what is asked for behind it: cell and mode; c read, c written; h; its token.
        *(Memory(bits, 1 << _bits(flying)) for bits in (tag, state + 2, state + 2)),
        *[Memory(1, 1 << _bits(flying))] * config.forwards_h,
        Memory(h + tag, 1 << _bits(flying), 1, True, unread=state + 2 + SCALE_BITS - _bits(len(config.shifts))),
        Memory(VALUE_BITS + 1, 1 << _bits(flying + 2 * GATES), 1, True),
    ]


NARROW_PORT = 18
"""Bits of a multiplier block's other port."""
WIDE_PORT = {"xc7": FACTOR_BITS, "ecp5": 18}
"""Bits of a multiplier block's wider port."""


def _multipliers(bits: int, family: str) -> int:
    """Multiplier blocks for a signed factor. On an ECP5 each but the last takes a bit less than its port has, for the
    sign, and what is left of two bits is logic."""
    port = WIDE_PORT[family]
    return -(-bits // port) if family == "xc7" or bits <= port else -(-(bits - 2) // (port - 1))


def dsp_blocks(config: EngineConfig, family: str = "xc7") -> int:
    """Multiplier blocks: one a lane, or a pair of lanes where a block is wide enough, two where lifted operands are
    wider than a port of a block; in each cell one for products, three in a parallel one, two where c is wider, with
    peepholes as many for theirs, and those of its activation units; those of the table of ELU.
    """
    table = config.unit
    # Words of the ring to beats are a product by a constant, where there is a ring.
    odd = config.streams and config.beats_per_word & (config.beats_per_word - 1)
    lanes = config.lanes // (config.lanes_per_dsp if family == "xc7" else 1)
    lanes *= _multipliers(config.factor_bits, family)
    # A GRU multiplies 1 - z and a pre-activation too.
    one_less, c = config.activated.width + 1, config.cell.width
    if config.parallel:
        factors = (c, one_less, config.preact.width) if config.kind == "gru" else (c, *[config.activated.width] * 2)
    else:
        factors = [max(c, one_less, config.preact.width) if config.kind == "gru" else c] * config.cells
    products = sum(_multipliers(factor, family) for factor in factors)
    if config.peepholes:
        narrow, wide = sorted((config.cell.width, config.preact.width))
        products += config.cells * _multipliers(wide, family) * (1 + (narrow > NARROW_PORT))
    activation = sum(_multipliers(bits, family) for bits in table.multiplier_bits)
    bits = make_exponential(config.preact, config.activated).multiplier_bits if config.elu else ()
    elu = sum(_multipliers(wide, family) for wide in bits)
    return lanes + products + activation_units(config) * activation + elu + bool(odd)


def multiplexer(inputs: int, family: str) -> int:
    """LUTs a bit of a multiplexer: one of four inputs takes a LUT of six, one of two a LUT of four. The multiplexers
    of a slice, which may join LUTs, are not counted; on an ECP5 Yosys uses them from seven inputs on."""
    if family == "ecp5":
        return inputs - 1 - inputs // 7
    return -(-inputs // 4) + (inputs > 4) if inputs > 1 else 0


def _target_bits(config: EngineConfig) -> dict[str, int]:
    """Bits of where a sum goes; with lists, a sum that is finished stays in its entry as well: there are two places."""
    if config.lists:
        return {"target": _bits(config.accumulators), "place": _bits(config.finish_entries)}
    return {"target": _bits(max(config.accumulators, config.finish_entries))}


def _picking_bits(config: EngineConfig) -> dict[str, int]:
    """Bits that say what is read of windows, or of what lane groups keep, and written to them."""
    if config.split > 1:
        return {"gather": 1, "fill": 1, "into": _bits(PLACES), "partial": 1}
    return {"gather": 1, "half": 1, "fill": 1, "into": config.place_bits} if config.window else {}


def _chain_bits(config: EngineConfig) -> tuple[int, int]:
    """Registers of a lane group's hop but for the drained sums: all, and those of a beat of weights."""
    word, context = _bits(config.weight_words), _bits(config.contexts)
    source, target = _bits(config.accumulators), sum(_target_bits(config).values())
    operands = config.contexts * config.factor_bits
    control = word + operands + source + 1 + 2 * config.contexts + target + sum(_picking_bits(config).values())
    fill = 1 + word + _bits(config.fills_per_word) + config.fill_bits
    drain = 1 + _bits(config.finish_entries) + _bits(config.groups) + _bits(_pieces(config)) + context
    return control + fill + drain + 3, fill  # whether a sum starts from zero, twice; whether a drain is for this group


def _pieces(config):
    """Of how many parts of the finished sums of a group a drain request names one."""
    return config.group_rows // max(config.drain_width, config.lanes_per_dsp)


def _drained_bits(config):
    """Bits of the finished sums that a drain request brings."""
    return -(-config.drain_width // config.lanes_per_dsp) * _finished_bits(config)


def lane_group(config: EngineConfig, family: str) -> tuple[float, float]:
    """LUTs and flip-flops of a lane group beside what its memories take."""
    drained, pieces, contexts = _drained_bits(config), _pieces(config), config.contexts
    slices, weights = config.group_rows // config.lanes_per_dsp, config.group_rows * config.stored_bits
    pairs = contexts * slices * (config.lanes_per_dsp - 1)
    sums = contexts * slices * config.sum_word_bits
    # The wraps of a pair's lower sum are counted in fabric: their number, and that of the sum to start from.
    wraps = pairs * (config.accumulator_bits - PAIR_BITS)
    hop, _ = _chain_bits(config)
    # The sums that a request asks for are registered where they are chosen, unless memory does, and where they leave.
    ff = hop + drained * (1 if config.finished_in_block_ram else 2)
    if family == "xc7":
        # Yosys chooses the piece by pairs, the last two levels in one LUT; what is not registered there takes one more.
        chosen = contexts * max(pieces // 2 - 1, pieces > 1) + multiplexer(contexts, family)
        chosen += config.finished_in_block_ram
        return drained * chosen + 2 * wraps + 3, ff + 2 * wraps + 4 * pairs
    # Adders and registers of a DSP slice are fabric here: weights and operands, products, sums and what they start
    # from, which may be a block RAM's register; where a product takes two multipliers, their sum.
    waiting, lanes = 1 - config.block_sum_rows / config.group_rows, contexts * config.group_rows
    lut = 2 * sums + 14 + lanes * (config.factor_bits > WIDE_PORT[family]) * (config.factor_bits - 1)
    ff += sums * (1 + waiting) + lanes * (config.factor_bits + config.weight_bits)
    ff += weights + contexts * config.factor_bits
    return drained * multiplexer(pieces * contexts, family) + lut + 2 * wraps, ff


def structure(config: EngineConfig, family: str = "xc7") -> dict[str, float]:
    """LUTs used as logic and flip-flops of what repeats: lanes, chains between groups, multiplexers behind memories.

    Returns
    -------
    dict of str to float
        ``lut`` and ``ff``.
    """
    groups, contexts = config.groups, config.contexts
    lut, ff = (groups * each for each in lane_group(config, family))
    # Each group but the first passes on the drained sums of the one before.
    lut += (groups - 1) * _drained_bits(config)
    for memory in memories(config, family):
        place = mapped(memory, family)
        # Behind each deep memory a multiplexer of its blocks, and what enables the writing of each.
        lut += memory.count * (memory.width * multiplexer(place.deep, family) + (place.deep if place.deep > 1 else 0))
        if memory.clocked and not place.bram36:
            ff += memory.count * memory.width  # what is read
        elif memory.clocked and not (memory.apart or memory.rom) and family == "ecp5":
            # A block RAM that is written and read at once gives what was there: what is written waits beside it.
            lut += memory.count * memory.width
            ff += memory.count * (2 * memory.width + _bits(memory.depth) + 2)
    if config.window:  # the choice between the window and the operand of the column joins that of the blocks
        deep = mapped(window_memory(config), family).deep
        inputs = multiplexer(deep + 1, family) - multiplexer(deep, family)
        lut += config.lanes * config.factor_bits * inputs
        # In the MAC unit: the fields, where the next element goes, and what is told of it.
        ff += 1 + _bits(config.window + 1) + 4 + config.place_bits + sum(_picking_bits(config).values())
    if config.split > 1:  # the choice between what is kept and the operand of the column, and the fields as above
        lut += groups * contexts * config.factor_bits
        ff += 1 + _bits(2 * PLACES) + 1 + _bits(PLACES) + sum(_picking_bits(config).values())
    if config.forwards_h and family == "xc7":  # where what is written takes the place of what a further bank gave
        lut += 7 * config.operand_bits * (contexts - 1)
    # The fill chain of each port but the first waits as long as the others take to its first group.
    ff += sum(range(config.axi_ports)) * groups // config.axi_ports * _chain_bits(config)[1]
    # Fields of a column reach the lanes as their products do.
    fields = {
        "weight": _bits(config.weight_words),
        "source": _bits(config.accumulators),
        "first": 1,
        "store": contexts,
        "finish": contexts,
        **_target_bits(config),
        **_picking_bits(config),
    }
    ff += sum(bits * (CONTROL_LEAD + SKEW[name]) for name, bits in fields.items())
    # A beat of x on its way to the banks: every element for every context, or one of them where there are several.
    x = contexts * config.x_per_beat * config.operand_bits
    ff += x
    lut += x * (contexts > 1)
    # Sums and products are aligned by what their layer, and of sums their row, says.
    lut += (
        config.drain_width * config.accumulator_bits * multiplexer(len(set(config.shifts)) << config.row_bits, family)
    )
    lut += config.cell_components * 2 * config.activated.width * multiplexer(len(set(config.h_shifts)) or 1, family)
    lut += activation_units(config) * config.argument.width * multiplexer(len(set(config.preact_shifts)) or 1, family)
    # An operand is an element of the beat that is read, of h or a constant, and of the bank that is turned to it.
    inputs = multiplexer(config.x_per_beat, family) + 1 + multiplexer(contexts, family)
    lut += contexts * config.operand_bits * inputs
    plain_lut, _, plain_ff = _plain_outputs(config, family)
    return {"lut": lut + plain_lut, "ff": ff + plain_ff}


def features(config: EngineConfig, family: str) -> dict[str, dict[str, float]]:
    """What the LUTs and flip-flops beside :func:`structure` grow with, by name; each has a coefficient a family."""
    table, units = config.unit, activation_units(config)
    serial, gru = config.cells * (not config.parallel), config.kind == "gru"
    # tanh reads c in its own format, rounded a second time, where that of c is another.
    second = config.cell != config.argument or any(config.c_shifts)
    widths = {name: getattr(config, name).width - VALUE_BITS for name in ("argument", "cell", "activated")}
    lifted = config.factor_bits * (config.factor_bits > config.element_bits)
    depths = (config.weight_words, config.h_elements, config.x_elements, config.states, config.accumulators)
    return {
        "lut": {
            "engine": 1,
            "cells": serial,
            "table bits": units * sum(width * depth for width, depth in table.tables if depth <= LOGIC_ROWS),
            "further contexts": config.contexts - 1,
            "further ports": config.axi_ports - 1,
            "further bits of pre-activations": units * widths["argument"],
            "further bits of c and activations": units * (widths["cell"] + widths["activated"]),
            "second rounding": config.cell_components * second,
            "lifted bits": lifted * (1 + config.contexts * _bits(len(config.lifts))),
            "counters of clipped values": config.count_clipped,
            "streams": config.streams,
            "register bits": config.register_bits,
            "lists": config.lists,
            "groups of h": config.sparse_h,
            "pairs of lanes": config.lanes // 2 * (config.lanes_per_dsp == 2),
            "rows from bit maps": config.rows * (config.decoder == "bitmap"),
            "eSELL": config.decoder == "esell",
            "rows from eSELL": config.rows * (config.decoder == "esell"),
            "GRU cells": serial * gru,
            "h reset before": config.reset_before,
            "gate blocks": config.gate_blocks,
            "peepholes": config.cells * bool(config.peepholes),
            "parallel cell": config.parallel and not gru,
            "parallel cell of a GRU": config.parallel and gru,
        },
        "ff": {
            "engine": 1,
            "cells": serial,
            "address bits": sum(map(_bits, depths)),
            "further contexts": config.contexts - 1,
            "port bits": config.axi_data_bits * config.axi_ports,
            "further ports": config.axi_ports - 1,
            "further bits of formats": units * sum(widths.values()),
            "second rounding": config.cell_components * second,
            "lifted bits": lifted,
            "counters of clipped values": config.count_clipped,
            "streams": config.streams,
            "register bits": config.register_bits,
            "lists": config.lists,
            "groups of h": config.sparse_h,
            "rows from bit maps": config.rows * (config.decoder == "bitmap"),
            "eSELL": config.decoder == "esell",
            "rows from eSELL": config.rows * (config.decoder == "esell"),
            "GRU cells": serial * gru,
            "gate blocks": config.gate_blocks,
            "peepholes": config.cells * bool(config.peepholes),
            "parallel cell": config.parallel and not gru,
            "parallel cell of a GRU": config.parallel and gru,
        },
    }


COEFFICIENTS = {
    "xc7": {
        "lut": (
            *(1562, 248, 0.006, 54, 547, 4, 1.5, 82, 1, 67, 426, 9, 410, 128, 3, 88, 547, 23.3, 8, 31, 0, 47),
            *(642, 432),
        ),
        "ff": (2139, 448, 6.2, 0, 1.9, 504, 7, 51, 0.96, 158, 258, 6.7, 350, 90, 83, 551, 15.4, 73, 0, 340, 624, 395),
    },
    "ecp5": {
        "lut": (
            *(2970, 415, 0.063, 0, 981, 38, 4.2, 86, 0, 161, 563, 12.3, 475, 169, 12, 151, 1082, 27, 14, 70, 0, 118),
            *(624, 537),
        ),
        "ff": (
            *(2354, 622, 0, 0, 2.2, 454, 10.2, 39, 0.52, 109, 269, 6.6, 350, 90, 91, 602, 18.6, 65, 0, 397),
            *(1525, 1271),
        ),
    },
}
"""Of the :func:`features`, in their order: what ``python -m bench.resources --fit`` finds, rounded; of features that
one engine alone has (lists, groups of h, further bits of c, pairs), what its count says."""


MARGIN = {"lut": 0.06, "lutram": 0.04, "ff": 0.04}
"""By which share Yosys's count may be more than the estimate; that of an engine of the bench or the tests never was."""


WAITING_BITS = (4, 4, 15, 50)
"""LUTs of a 7-series part that are shift registers in a cell, where things wait for products; by multipliers of its
activation."""
PARALLEL_WAITING_BITS = 18
"""Further ones of a parallel cell than of five."""


def _waiting_bits(config, family):
    """LUTs that are shift registers, which an ECP5 does not have."""
    multipliers = len(config.unit.multiplier_bits)
    each = WAITING_BITS[min(multipliers, len(WAITING_BITS) - 1)]
    return config.cells * each + PARALLEL_WAITING_BITS * config.parallel if family == "xc7" else 0


ELU_LUTS = {"xc7": 0.046, "ecp5": 0.085}
"""LUTs a bit of the table of ELU, with what chooses its results."""
OWN_UNIT = {"xc7": (143, 132), "ecp5": (250, 262)}
"""LUTs beside the bits of its table, and flip-flops, of the activation unit that plain outputs have beside a parallel
cell."""
ELU_REGISTERS = {"xc7": 157, "ecp5": 252}


def _plain_outputs(config, family):
    """LUTs, those that are shift registers, and flip-flops of what plain outputs pass with chains: what they take along
    waits beside the activation unit and the rounding, values as shift registers where there are some."""
    if not config.chains:
        return 0, 0, 0
    delays, preact = CellLatency(config), config.preact.width
    along = 9 + _bits(config.h_elements) + _bits(config.contexts) + config.count_clipped
    roundings = len({VALUE_BITS, config.operand_bits})
    tag = 22 + _bits(config.h_elements) + _bits(config.states)
    ff = along * (delays.looked_up + REQUANTIZE) + roundings * REQUANTIZE * (preact + 1) + tag
    lut, waiting = 30 * roundings, preact + 12
    if family == "ecp5":  # which has no shift registers
        ff, waiting = ff + preact * delays.looked_up, 0
    if config.parallel:
        lut, ff = lut + OWN_UNIT[family][0], ff + OWN_UNIT[family][1]
    if config.elu:
        table = make_exponential(config.preact, config.activated)
        lut += ELU_LUTS[family] * table.table_bits
        ff += ELU_REGISTERS[family]
    return lut, waiting, ff


def estimate(config: EngineConfig, family: str = "xc7") -> Usage:
    """What an engine takes.

    Parameters
    ----------
    config : EngineConfig
    family : {"xc7", "ecp5"}

    Returns
    -------
    Usage
        Multiplier blocks and block RAMs as Yosys counts them; LUTs and flip-flops within ``MARGIN``.
    """
    placed = [(memory.count, mapped(memory, family)) for memory in memories(config, family)]
    logic = structure(config, family)
    for kind, values in features(config, family).items():
        logic[kind] += sum(a * b for a, b in zip(COEFFICIENTS[family][kind], values.values(), strict=True))
    waiting = _waiting_bits(config, family) + _plain_outputs(config, family)[1]
    return Usage(
        lut=round(logic["lut"]),
        lutram=sum(count * each.lutram for count, each in placed) + waiting,
        ff=round(logic["ff"]),
        bram36=sum(count * each.bram36 for count, each in placed),
        dsp=dsp_blocks(config, family),
    )


def estimate_at_most(config: EngineConfig, family: str = "xc7") -> Usage:
    """The :func:`estimate` and its ``MARGIN``: what an engine is held to that must fit a part (Usage)."""
    usage = estimate(config, family)
    return replace(usage, **{name: math.ceil(getattr(usage, name) * (1 + share)) for name, share in MARGIN.items()})
