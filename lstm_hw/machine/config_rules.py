"""What must hold of an engine's configuration: rules in words, each with the field that it is about."""

from __future__ import annotations

import types
import typing
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, FormatError
from . import esell
from .arithmetic import CellArithmetic, preact_rounding
from .formats import QFormat
from .isa import ELEMENT_BITS, ENTRY_BITS, LIFT_BITS, PROGRAM_BITS, REGISTER_BITS, SCALE_BITS, WORD_BITS
from .limits import (
    CELL_PHASES,
    CELL_SUMS,
    DECODERS,
    FACTOR_BITS,
    FORMAT_WIDTHS,
    LEAST_BEAT,
    LEAST_REGISTER_BITS,
    LISTS_NEED,
    MAX_CONTEXTS,
    MAX_ROWS,
    PAIR_BITS,
    RELATIVE,
    ROW_BITS,
    SPARSE_NEED,
    SPLIT_NEED,
    SUM_ROWS,
    WEIGHT_WIDTHS,
    WINDOWS,
    WINDOWS_NEED,
)
from .shared_activation import make_exponential

if TYPE_CHECKING:
    from .config import EngineConfig

_KINDS = {
    int: "an integer",
    bool: "true or false",
    str: "a string",
    tuple: "a list of integers",
    QFormat: "a number format such as Q3.12",
}


INTEGERS = ("shifts", "preact_shifts", "h_shifts", "c_shifts", "lifts")
"""Fields that are lists of integers."""


def check_types(config: EngineConfig) -> None:
    """ConfigError unless every value is of the right kind; a list may stand for a tuple."""
    for f in fields(config):
        kinds = typing.get_args(f.type) if isinstance(f.type, types.UnionType) else (f.type,)
        kinds = [typing.get_origin(kind) or kind for kind in kinds]
        value = getattr(config, f.name)
        if type(value) not in kinds and not (type(value) is list and tuple in kinds):
            raise ConfigError(f"engine.{f.name}", f"{value!r:.60}", f"must be {_KINDS[kinds[0]]}")
        if f.name in INTEGERS and not all(type(item) is int for item in value):
            raise ConfigError(f"engine.{f.name}", f"{value!r:.60}", "must be integers")


def check_values(config: EngineConfig) -> None:
    """ConfigError for the first rule that does not hold; the message names the field, the value and the rule."""
    for rules in (_ranges, _lift_rules, _relations, _exactness):
        for name, holds, rule in rules(config):
            if not holds:
                raise ConfigError(f"engine.{name}", getattr(config, name), f"must {rule}")


def _ranges(config):
    """(field, whether it is in its range, rule) of each number by itself."""
    elements, entries, addresses = 1 << ELEMENT_BITS, 1 << ENTRY_BITS, 1 << PROGRAM_BITS
    # Of a pair, a sum wraps at least once in its range, and both fit the 48 bits of a DSP slice.
    lowest = config.weight_bits + config.operand_bits + config.lists + max(config.lifts, default=0)
    lowest = max(PAIR_BITS + 1, lowest + 1) if config.lanes_per_dsp == 2 else lowest
    highest = 32 if config.lanes_per_dsp == 2 else 48
    rows = 4 <= config.rows <= MAX_ROWS and config.rows % 4 == 0
    yield "rows", rows, f"be a multiple of 4 up to {MAX_ROWS}"
    yield "contexts", 1 <= config.contexts <= MAX_CONTEXTS, f"be between 1 and {MAX_CONTEXTS}"
    yield "weight_bits", config.weight_bits in WEIGHT_WIDTHS, "be between 4 and 16"
    yield "operand_bits", config.operand_bits in (8, 16), "be 8 or 16"
    yield "operand_bits", config.operand_bits >= config.weight_bits, f"be 16 with weight_bits = {config.weight_bits}"
    yield "accumulator_bits", lowest <= config.accumulator_bits <= highest, f"be between {lowest} and {highest}"
    yield "weight_words", 2 <= config.weight_words <= 1 << WORD_BITS, f"be between 2 and {1 << WORD_BITS}"
    yield "h_elements", 2 <= config.h_elements <= elements, f"be between 2 and {elements}"
    yield "x_elements", 2 <= config.x_elements <= elements, f"be between 2 and {elements}"
    yield "x_per_beat", _power_of_two(config.x_per_beat) and config.x_per_beat <= 32, "be a power of two up to 32"
    yield "accumulators", 2 <= config.accumulators <= entries, f"be between 2 and {entries}"
    yield "finish_entries", 2 <= config.finish_entries <= entries, f"be between 2 and {entries}"
    yield "states", 2 <= config.states <= elements, f"be between 2 and {elements}"
    yield "program_length", 2 <= config.program_length <= addresses, f"be between 2 and {addresses}"
    yield "cells", config.cells in CELL_PHASES, f"be one of {sorted(CELL_PHASES)}"
    port = _power_of_two(config.axi_data_bits) and LEAST_BEAT <= config.axi_data_bits <= 1024
    yield "axi_data_bits", port, "be a power of two from 64 to 1024"
    yield "axi_ports", config.axi_ports in (1, 2, 4), "be 1, 2 or 4"
    yield "axi_address_bits", 32 <= config.axi_address_bits <= 64, "be between 32 and 64"
    yield "outstanding", 1 <= config.outstanding <= 64, "be between 1 and 64"
    yield "shifts", 1 <= len(config.shifts) <= 1 << SCALE_BITS, f"have 1 to {1 << SCALE_BITS} entries"
    yield "shifts", all(-16 <= s < 48 for s in config.shifts), "be between -16 and 47"
    yield "preact_shifts", len(config.preact_shifts) <= len(config.shifts), "have one entry a layer at most"
    most = max(0, FORMAT_WIDTHS["preact"][-1] - config.preact.width)
    yield "preact_shifts", all(0 <= s <= most for s in config.preact_shifts), f"be between 0 and {most}"
    yield "h_shifts", len(config.h_shifts) <= len(config.shifts), "have one entry a layer at most"
    yield "h_shifts", all(0 <= s <= 8 for s in config.h_shifts), "be between 0 and 8"
    yield "c_shifts", len(config.c_shifts) <= len(config.shifts), "have one entry a layer at most"
    yield "c_shifts", all(0 <= s <= 12 for s in config.c_shifts), "be between 0 and 12"


def _lift_rules(config):
    """... of the lifts, and of the row bits that are part of them."""
    most = 0 if config.operand_bits == 8 else FACTOR_BITS - config.operand_bits - config.lists
    ascending = 1 <= len(config.lifts) <= 1 << LIFT_BITS and tuple(sorted(set(config.lifts))) == config.lifts
    yield "lifts", ascending, "be one number or more, in ascending order"
    yield "row_bits", 0 <= config.row_bits <= ROW_BITS, f"be between 0 and {ROW_BITS}"
    yield "lifts", all(config.row_bits <= n for n in config.lifts), f"be row_bits = {config.row_bits} at least"
    rule = f"be between 0 and {most} with operand_bits = {config.operand_bits}"
    rule += ' and lists; quantize.fractions = "shared" needs none' * config.lists
    yield "lifts", all(0 <= lift <= most for lift in config.lifts), rule


def _relations(config):
    """... of what must go together, where each number is in its range."""
    rule = f"divide the {config.groups} lane groups of {config.group_rows} rows"
    yield "axi_ports", config.groups % config.axi_ports == 0, rule
    blocks = config.block_sums is None or config.block_sums in range(0, config.group_rows + 1, SUM_ROWS)
    yield "block_sums", blocks, f"be a multiple of {SUM_ROWS} up to the {config.group_rows} rows of a lane group"
    stored = f"(weight_bits + {config.place_bits})" if config.window else "weight_bits"
    rule = f"not exceed one weight word of rows * {stored} / axi_ports = {config.part_bits} bits"
    yield "axi_data_bits", config.axi_data_bits <= max(LEAST_BEAT, config.part_bits), rule
    rule = f"be a multiple of x_per_beat = {config.x_per_beat}"
    yield "x_elements", config.x_elements % config.x_per_beat == 0, rule
    yield "kind", config.kind in CELL_SUMS, f"be one of {', '.join(CELL_SUMS)}"
    yield "decoder", config.decoder in DECODERS, f"be one of {', '.join(DECODERS)}"
    yield "streams", config.streams or config.decoder == "off", "be true in an engine with a decoder"
    registers = LEAST_REGISTER_BITS <= config.register_bits <= REGISTER_BITS
    yield "register_bits", registers, f"be between {LEAST_REGISTER_BITS} and {REGISTER_BITS}"
    known = ", ".join(RELATIVE)
    yield "indexed", all(name in RELATIVE for name in config.indexed or ()), f"be some of {known}"
    if config.decoder != "off":
        fits = config.axi_ports == 1 and config.weight_bits in (4, 8, 16) and config.beats_per_word > 1
        rule = "be off but for one port, engine.weight_bits 4, 8 or 16, and words of two beats or more"
        yield "decoder", fits, rule
    if config.decoder == "esell":
        fits = (config.weight_bits, config.axi_data_bits) == (esell.WEIGHT_BITS, esell.WORD_BITS)
        rule = f"be bitmap or off but for weights of {esell.WEIGHT_BITS} bits on a port of {esell.WORD_BITS}"
        yield "decoder", fits, rule
    yield "window", config.window in WINDOWS, f"be one of {', '.join(map(str, WINDOWS))}"
    for name, needed in WINDOWS_NEED.items():
        rule = f"be {needed} in an engine with windows, which engine.window or a schedule that gathers asks for"
        rule += ", and [delta] for lists" * (name == "lists")
        yield name, not config.window or getattr(config, name) == needed, rule
    parts = (
        config.split == 1
        or _power_of_two(config.groups)
        and _power_of_two(config.split)
        and config.split <= config.groups
    )
    rule = f"be 1, or a power of two up to the {config.groups} lane groups of {config.group_rows} rows, of which there "
    yield "split", parts, f"{rule}must be a power of two, too"
    for name, needed in SPLIT_NEED.items():
        rule = f"be {plain_value(needed)} in an engine with split = {config.split}"
        yield name, config.split == 1 or getattr(config, name) == needed, rule
    most = max(CELL_PHASES)
    yield "parallel", config.cells == most or not config.parallel, f"be false but with engine.cells = {most}"
    yield "hidden", config.hidden.width == config.operand_bits, f"be {config.operand_bits} bits wide"
    yield "reset_before", config.kind == "gru" or not config.reset_before, "be false but for kind gru"
    yield "elu", config.chains or not config.elu, "be false without chains"
    if config.peepholes:
        its = config.peepholes
        yield "peepholes", config.kind == "lstm", "be none but for kind lstm"
        fits = its.signed and its.width == config.preact.width
        yield "peepholes", fits, f"be signed, {config.preact.width} bits wide, as pre-activations"
        without = {"preact_shifts": (), "c_shifts": (), "lists": False, "sparse_h": False, "parallel": False}
        for name, unused in without.items():
            yield name, getattr(config, name) == unused, f"be {plain_value(unused)} in an engine with peepholes"
    for name, needed in LISTS_NEED.items():
        holds = not config.lists or getattr(config, name) == needed
        yield name, holds, f"be {needed} in an engine with lists"
    gates = config.list_loads and config.kind == "gru" and config.cells == 1
    yield "gate_blocks", gates or not config.gate_blocks, "be false but for kind gru, cells 1 and list_loads"
    yield "list_loads", config.lists or not config.list_loads, "be false in an engine without lists"
    for name, needed in SPARSE_NEED.items():
        yield name, not config.sparse_h or getattr(config, name) == needed, f"be {needed} in an engine with sparse_h"
    for name, widths in FORMAT_WIDTHS.items():
        value = getattr(config, name)
        yield name, value.width in widths and value.signed, f"be signed, {widths[0]} to {widths[-1]} bits wide"


def _exactness(config):
    """... of what rounds and looks up, where everything else holds."""
    try:
        _ = config.unit, config.elu and make_exponential(config.preact, config.activated)
    except FormatError as error:
        subject = f"engine.activation {config.activation}: {error.subject}"
        raise ConfigError(subject, error.found, error.rule) from error
    cell = CellArithmetic(config)
    for name, rounding in (
        ("shifts", preact_rounding(config)),
        ("cell", cell.c),
        ("cell", cell.tanh),
        ("hidden", cell.h),
        *[("peepholes", cell.peephole)] * bool(config.peepholes),
    ):
        fractions = " or ".join(map(str, sorted(set(rounding.fractions))))
        sums = f"sums of {rounding.width} bits, with {fractions} fraction bits,"
        yield name, rounding.exact, f"let {sums} {rounding.rule}"


def _power_of_two(value):
    return value > 0 and value & (value - 1) == 0


def plain_value(value: Any) -> Any:
    """A field's value as JSON and messages have it: a format as text, a tuple as a list."""
    if isinstance(value, QFormat):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
