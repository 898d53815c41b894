"""Every rule of the engine's configuration, one wrong value each, and what follows from the values."""

import json
from dataclasses import fields, replace

import pytest

from lstm_hw.errors import ConfigError
from lstm_hw.machine.config import EngineConfig
from lstm_hw.machine.formats import QFormat
from tests.builders import PAIRS

WRONG = {
    "activation": ("nope", "hard5/pwl/pwl"),
    "rows": (0, 1, 2, 6, 13, 42),
    "contexts": (0, 9),
    "weight_bits": (3, 17, 32),
    "operand_bits": (8, 18),
    "accumulator_bits": (31, 49),
    "weight_words": (1, (1 << 18) + 1),
    "h_elements": (1, (1 << 16) + 1),
    "x_elements": (1, (1 << 16) + 1),
    "x_per_beat": (0, 3, 64, -1),
    "accumulators": (1, 4097),
    "finish_entries": (1, 4097),
    "block_sums": (-4, 2, 20),
    "states": (1, (1 << 16) + 1),
    "program_length": (1, 513),
    "window": (1, 2, 3, 48, 128),
    "cells": (0, 3, 4, 6),
    "axi_data_bits": (32, 96, 2048),
    "axi_address_bits": (31, 65),
    "outstanding": (0, 65),
    "shifts": ((), (15,) * 17, (48,), (-17,)),
    "lifts": ((), (0, 10), (-1, 0), (3, 0), (2, 2)),
    "row_bits": (-1, 4),
    "axi_ports": (0, 3, 8),
    "preact": (QFormat(3, 11), QFormat(4, 16), QFormat(4, 12, signed=False)),
    "cell": (QFormat(3, 11), QFormat(12, 12), QFormat(4, 20, signed=False)),
    "activated": (QFormat(0, 14), QFormat(0, 18)),
    "hidden": (QFormat(0, 7),),
    "preact_shifts": ((0, 1), (5,), (-1,)),
    "h_shifts": ((0, 1), (9,), (-1,)),
    "c_shifts": ((0, 1), (13,), (-1,)),
    "lists": (1, "true"),
    "sparse_h": (1, "true"),
    "list_loads": (True, 1, "true"),
    "chains": (1, "true"),
    "elu": (1, True),
    "kind": ("rnn", True),
    "reset_before": (1, True),
    "peepholes": ("Q0.15", QFormat(0, 16), QFormat(1, 15, signed=False)),
    "gate_blocks": (1, True),
    "count_clipped": (1, "true"),
    "bus_errors": (1, "true"),
    "streams": (1, "true"),
    "parallel": (1, True),
    "split": (0, 3, 4, True),
    "register_bits": (7, 33),
    "indexed": (("MAC.mask",), ("MAC.operand", "x")),
    "decoder": ("zip", True),
}
RIGHT = {
    "rows": (4, 8, 12, 16, 44, 48),
    "contexts": (1, 8),
    "weight_bits": (4, 5, 8, 12, 16),
    "accumulator_bits": (32, 48),
    "weight_words": (2, 1 << 18),
    "h_elements": (2, 1 << 16),
    "x_elements": (2, 1 << 16),
    "x_per_beat": (1, 32),
    "accumulators": (2, 4096),
    "finish_entries": (2, 4096),
    "block_sums": (None, 0, 16),
    "states": (2, 1 << 16),
    "program_length": (2, 512),
    "cells": (1, 2, 5),
    "axi_address_bits": (32, 64),
    "outstanding": (1, 64),
    "shifts": ((0,) * 16, (47,), (-16,)),
    "lifts": ((0,), (9,), tuple(range(10))),
    "axi_ports": (1, 2),
    "preact": (QFormat(2, 13), QFormat(3, 16)),
    "cell": (QFormat(3, 12), QFormat(11, 12), QFormat(20, 3)),
    "activated": (QFormat(1, 14), QFormat(0, 17)),
    "preact_shifts": ((0,), (4,)),
    "h_shifts": ((0,), (8,)),
    "c_shifts": ((0,), (12,)),
    "lists": (False, True),
    "sparse_h": (False, True),
    "list_loads": (False,),
    "chains": (False, True),
    "kind": ("lstm", "gru"),
    "count_clipped": (False, True),
    "bus_errors": (False, True),
    "streams": (False, True),
    "register_bits": (8, 32),
    "parallel": (False,),
    "split": (1,),
    "indexed": (None, (), ("MAC.operand", "CELL.target")),
    "decoder": ("off", "bitmap"),
}


def config_of(**values):
    return EngineConfig(**{"rows": 32, "axi_data_bits": 64} | values)


@pytest.mark.parametrize("name, value", [(name, value) for name, values in WRONG.items() for value in values])
def test_wrong_values_are_named(name, value):
    with pytest.raises(ConfigError, match=f"engine.{name}: .*; must (be|have)") as error:
        config_of(**{name: value})
    assert str(value) in str(error.value)


@pytest.mark.parametrize("name, value", [(name, value) for name, values in RIGHT.items() for value in values])
def test_ends_of_the_ranges(name, value):
    assert getattr(config_of(**{name: value}), name) == value


def test_rules_between_fields():
    with pytest.raises(ConfigError, match="engine.x_elements: 6; must be a multiple of x_per_beat = 4"):
        config_of(x_elements=6, x_per_beat=4)
    with pytest.raises(ConfigError, match="engine.axi_data_bits: 256; must not exceed one weight word .* = 128 bits"):
        config_of(rows=8, axi_data_bits=256)
    with pytest.raises(ConfigError, match="engine.axi_data_bits: 512; must not exceed one weight word .* = 256 bits"):
        config_of(axi_data_bits=512, axi_ports=2)
    with pytest.raises(ConfigError, match="engine.axi_ports: 2; must divide the 3 lane groups of 16 rows"):
        config_of(rows=48, axi_ports=2)
    assert config_of(rows=4, weight_bits=8, axi_data_bits=64).beats_per_word == 1, "64 is always allowed"
    with pytest.raises(ConfigError, match="engine.parallel: True; must be false but with engine.cells = 5"):
        config_of(parallel=True, cells=2)
    for values in ({"rows": 4}, {"weight_bits": 12}, {"axi_ports": 2}):
        with pytest.raises(ConfigError, match="engine.decoder: bitmap; must be off but"):
            config_of(decoder="bitmap", **values)
    with pytest.raises(ConfigError, match="engine.accumulator_bits: 31; must be between 32 and 48"):
        config_of(accumulator_bits=31)
    assert config_of(accumulator_bits=24, weight_bits=8).accumulator_bits == 24


def test_lifts():
    """An accumulator holds a product at least; lanes of 8-bit operands have no room for a lift."""
    assert (config_of().factor_bits, config_of().exponent_bits) == (16, 4)
    config = config_of(lifts=(1, 4))
    assert (config.factor_bits, config.exponent_bits, config.lift_of(4)) == (20, 5, 1)
    with pytest.raises(ConfigError, match=r"engine.lifts: \[1, 4\]; must hold 0"):
        config.lift_of(0)
    assert "lifts" not in config_of().to_dict() and EngineConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ConfigError, match="engine.accumulator_bits: 40; must be between 41 and 48"):
        config_of(lifts=(9,), accumulator_bits=40)
    with pytest.raises(ConfigError, match=r"engine.lifts: \(0, 1\); must be between 0 and 0 with operand_bits = 8"):
        config_of(**PAIRS, lifts=(0, 1))


def test_an_engine_with_lists():
    """A delta has a bit more than an element; lists are for one context and an element of x a beat."""
    config = config_of(lists=True)
    assert "lists" not in config_of().to_dict() and EngineConfig.from_dict(config.to_dict()) == config
    assert (config.element_bits, config.factor_bits, config_of().element_bits) == (17, 17, 16)
    for wrong in ({"contexts": 2, "x_per_beat": 2}, {"x_per_beat": 2}):
        with pytest.raises(ConfigError, match="must be 1 in an engine with lists"):
            config_of(lists=True, **wrong)
    with pytest.raises(ConfigError, match="engine.operand_bits: 8; must be 16 in an engine with lists"):
        config_of(lists=True, **PAIRS)
    with pytest.raises(ConfigError, match="engine.accumulator_bits: 32; must be between 33 and 48"):
        config_of(lists=True, accumulator_bits=32)
    with pytest.raises(ConfigError, match="engine.lifts: .*; must be between 0 and 8 with operand_bits = 16 and lists"):
        config_of(lists=True, lifts=(9,))


def test_an_engine_that_counts_is_another_one():
    config = config_of(count_clipped=True)
    assert "count_clipped" not in config_of().to_dict() and EngineConfig.from_dict(config.to_dict()) == config
    assert config.content_id != config_of().content_id == config_of(count_clipped=False).content_id


def test_deep_sums_are_in_block_ram():
    """More than 32 entries, of which one is zero and not stored."""
    shallow, deep = config_of(accumulators=33, finish_entries=32), config_of(accumulators=34, finish_entries=33)
    assert (shallow.stored_accumulators, shallow.block_sum_rows, shallow.finished_in_block_ram) == (32, 0, False)
    assert (deep.stored_accumulators, deep.block_sum_rows, deep.finished_in_block_ram) == (34, 16, True)
    assert (config_of(accumulators=65).stored_accumulators, config_of(accumulators=66).stored_accumulators) == (64, 66)
    some, none = replace(deep, block_sums=4), replace(deep, block_sums=0)
    assert (some.block_sum_rows, some.finished_in_block_ram) == (4, True)
    assert (none.block_sum_rows, none.finished_in_block_ram) == (0, False)
    assert "block_sums" not in deep.to_dict() and len({c.content_id for c in (deep, some, none)}) == 3
    with pytest.raises(ConfigError, match="engine.block_sums: 12; must be a multiple of 4 up to the 8 rows"):
        config_of(rows=8, block_sums=12)


def test_the_sign_of_a_finished_sum_is_kept():
    config = config_of(weight_bits=4, accumulator_bits=22, shifts=(47,))
    assert (config.unread_sum_bits, config.finished_word_bits) == (21, 1)
    assert config_of(shifts=(15, 12)).unread_sum_bits == 11


def test_low_bits_of_sums_are_below_all_lifts():
    config = config_of(row_bits=3, lifts=(3, 5))
    assert (config.row_shifts, config_of().row_shifts) == (8, 1)
    assert "row_bits" not in config_of().to_dict() and EngineConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ConfigError, match=r"engine.lifts: \(2, 5\); must be row_bits = 3 at least"):
        config_of(row_bits=3, lifts=(2, 5))


def test_pairs_of_lanes():
    """8-bit operands go with 8-bit weights and put two lanes into a DSP slice, within its 48 bits."""
    pairs = config_of(**PAIRS)
    assert (pairs.lanes_per_dsp, pairs.sum_word_bits, pairs.lanes) == (2, 48, 32)
    single = config_of(weight_bits=8)
    assert (single.lanes_per_dsp, single.sum_word_bits) == (1, single.accumulator_bits)
    with pytest.raises(ConfigError, match="engine.operand_bits: 8; must be 16 with weight_bits = 16"):
        config_of(operand_bits=8, hidden=QFormat(0, 7))
    for bits in (16, 33):
        with pytest.raises(ConfigError, match=f"engine.accumulator_bits: {bits}; must be between 17 and 32"):
            config_of(**PAIRS | {"accumulator_bits": bits})
    for bits in (17, 32):
        assert config_of(**PAIRS | {"accumulator_bits": bits}).accumulator_bits == bits
    for name, value, widths in (
        ("hidden", QFormat(0, 15), "8"),
        ("preact", QFormat(3, 4), "signed, 16 to 20"),
        ("activated", QFormat(0, 7), "signed, 16 to 18"),
    ):
        with pytest.raises(ConfigError, match=f"engine.{name}: {value}; must be {widths} bits wide"):
            config_of(**PAIRS | {name: value})


def test_windows():
    """A stored weight has the place of its operand, in an engine without lists and decoder; no lanes share one."""
    plain, windows = config_of(), config_of(window=64, weight_bits=10)
    assert (plain.stored_bits, plain.word_bits, "window" in plain.to_dict()) == (16, 512, False)
    assert (windows.place_bits, windows.stored_bits, windows.word_bits) == (6, 16, 512)
    assert EngineConfig.from_dict(windows.to_dict()) == windows
    assert (config_of(**PAIRS).lanes_per_dsp, config_of(**PAIRS, window=64).lanes_per_dsp) == (2, 1)
    for values, message in (
        ({"window": 48}, "engine.window: 48; must be one of 0, 4, 8, 16, 32, 64"),
        ({"window": 64, "lists": True}, "engine.lists: True; must be False in an engine with windows"),
        ({"window": 64, "rows": 12, "decoder": "bitmap"}, "engine.decoder: bitmap; must be off in an engine with"),
    ):
        with pytest.raises(ConfigError, match=message):
            config_of(**values)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"activation": "nope"}, "engine.activation: 'nope'; must be one of quadratic64, "),
        ({"activation": "table(segments=3)"}, "engine.activation table: segments: 3; must be a power of two"),
        (
            {"activation": "nonuniform", "preact": QFormat(20, -2)},
            "engine.activation nonuniform: activation input: Q20.-2",
        ),
        ({"preact": QFormat(20, -2)}, "engine.activation quadratic64: activation input: Q20.-2; must have at least"),
        (
            {"activated": QFormat(0, 15, overflow="wrap")},
            "engine.activation quadratic64: activation output: Q0.15/.*wrap",
        ),
        (
            {"shifts": (-16, 47)},
            r"engine.shifts: \(-16, 47\); must let sums of 44 bits, with -4 or 59 fraction bits, re",
        ),
        ({"cell": QFormat(-20, 40), "c_shifts": (12,)}, "engine.cell: Q-20.40; must let sums of .* reach Q"),
        ({"hidden": QFormat(-50, 65), "kind": "gru"}, "engine.hidden: Q-50.65; must let sums of .* within 63 bits"),
    ],
)
def test_what_cannot_be_computed_exactly_is_refused(values, message):
    """By the configuration, not by the gateware that is made of it."""
    with pytest.raises(ConfigError, match=message):
        config_of(**values)


def test_every_field_is_documented_and_tested():
    for field in fields(EngineConfig):
        assert field.metadata["doc"]
        assert field.name in WRONG


@pytest.mark.parametrize(
    "rows, contexts, group_rows, groups",
    [(4, 1, 4, 1), (8, 3, 8, 1), (12, 1, 12, 1), (16, 2, 16, 1), (24, 1, 12, 2), (80, 8, 16, 5)],
)
def test_lanes(rows, contexts, group_rows, groups):
    config = config_of(rows=rows, contexts=contexts)
    assert (config.group_rows, config.groups, config.lanes, config.units_per_block) == (
        group_rows,
        groups,
        rows * contexts,
        rows // 4,
    )


@pytest.mark.parametrize(
    "rows, weight_bits, axi, beats",
    [(4, 8, 64, 1), (4, 16, 64, 1), (8, 16, 64, 2), (48, 16, 512, 2), (48, 8, 256, 2), (64, 16, 1024, 1)],
)
def test_words_and_beats(rows, weight_bits, axi, beats):
    config = config_of(rows=rows, weight_bits=weight_bits, axi_data_bits=axi)
    assert (config.word_bits, config.beats_per_word) == (rows * weight_bits, beats)
    assert config.word_bytes == beats * axi // 8 and config.beat_bytes == axi // 8


@pytest.mark.parametrize("axi", [64, 128, 256, 512])
@pytest.mark.parametrize("words", [2, 3, 8, 100, 1024, 4096])
def test_bursts_fit_a_page_and_half_of_the_buffer(axi, words):
    config = config_of(axi_data_bits=axi, weight_words=words)
    burst = config.max_burst
    assert 1 <= burst <= 256 and burst * config.beat_bytes <= 4096
    assert 2 * burst <= words * config.beats_per_word or burst == 1
    longer = 2 * burst
    assert longer > 256 or longer * config.beat_bytes > 4096 or 2 * longer > words * config.beats_per_word


def test_dict_round_trip():
    config = config_of(shifts=(15, 14, 13), preact=QFormat(4, 11), hidden=QFormat(1, 14, rounding="half_even"))
    values = json.loads(json.dumps(config.to_dict()))
    assert EngineConfig.from_dict(values) == config
    assert EngineConfig.from_dict(values).cell == QFormat(4, 11) and "cell" not in values
    wide = replace(config, cell=QFormat(11, 12))
    assert EngineConfig.from_dict(json.loads(json.dumps(wide.to_dict()))) == wide
    with pytest.raises(ConfigError, match="engine.row: unknown key; must be one of"):
        EngineConfig.from_dict(values | {"row": 3})


def test_content_id_tells_configurations_apart():
    config = config_of()
    ids = {config.content_id}
    assert config_of().content_id in ids and 0 <= config.content_id < 1 << 32
    for name, values in RIGHT.items():
        for value in values:
            if value != getattr(config, name):
                ids.add(replace(config, **{name: value}).content_id)
    changes = sum(value != getattr(config, name) for name, values in RIGHT.items() for value in values)
    assert len(ids) == 1 + changes


@pytest.mark.parametrize("ports", [1, 2, 4])
@pytest.mark.parametrize("axi, beats", [(64, 16), (256, 4), (1024, 1)])
def test_every_port_carries_its_part_of_a_word(ports, axi, beats):
    config = config_of(rows=64 * ports, axi_data_bits=axi, axi_ports=ports)
    assert (config.part_bits, config.beats_per_word) == (1024, beats)
    assert config.word_bytes == ports * 128
