"""The resource estimate: Yosys's rule for memories, the structure of an engine, and one engine synthesised."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import resources
from bench.resources import ENGINES, LARGE, counted, fitted
from lstm_hw.gateware.lane_group import control_layout, drain_layout, drained_layout, fill_layout
from lstm_hw.machine.config import EngineConfig
from lstm_hw.machine.formats import QFormat
from lstm_hw.machine.parts import Usage
from lstm_hw.plan.resources import (
    COEFFICIENTS,
    MARGIN,
    Memory,
    dsp_blocks,
    estimate,
    estimate_at_most,
    features,
    lane_group,
    mapped,
    structure,
)

COUNTS = Path(__file__).with_name("resource_counts.json")

SMALL = EngineConfig(rows=4, axi_data_bits=64, weight_words=64, h_elements=32, x_elements=16, accumulators=5, states=8)


@pytest.mark.parametrize(
    ("width", "depth", "lutram", "bram36"),
    [  # as Yosys 0.6x maps them for a 7 series part
        (16, 32, 12, 0),
        (16, 64, 24, 0),
        (16, 96, 36, 0),
        (16, 128, 48, 0),
        (16, 200, 0, 0.5),
        (16, 1024, 0, 0.5),
        (16, 1025, 0, 1),
        (16, 3000, 0, 1.5),
        (16, 4096, 0, 2),
        (16, 8192, 0, 4),
        (32, 64, 44, 0),
        (32, 96, 0, 0.5),
        (32, 400, 0, 0.5),
        (9, 256, 48, 0),
        (8, 320, 60, 0),
        (12, 256, 0, 0.5),
        (15, 192, 0, 0.5),
    ],
)
def test_memories_take_what_costs_least(width, depth, lutram, bram36):
    assert mapped(Memory(width, depth, clocked=True), "xc7")[:2] == (lutram, bram36)


@pytest.mark.parametrize(
    ("width", "depth", "apart", "lutram", "bram36"),
    [  # ... for an ECP5, whose block RAMs do not give the old value of what is written by themselves
        (16, 96, False, 144, 0),
        (17, 80, False, 150, 0),
        (8, 160, False, 120, 0),
        (8, 200, False, 0, 0.5),
        (24, 64, False, 144, 0),
        (25, 64, False, 0, 0.5),
        (20, 64, True, 120, 0),
        (22, 64, True, 0, 0.5),
    ],
)
def test_what_stands_between_blocks_costs_too(width, depth, apart, lutram, bram36):
    assert mapped(Memory(width, depth, clocked=True, apart=apart), "ecp5")[:2] == (lutram, bram36)


def test_memories_that_answer_at_once_are_lut_memory():
    assert mapped(Memory(16, 4096), "xc7").bram36 == 0 and mapped(Memory(16, 4096), "ecp5") == (6 * 4 * 256, 0, 256)


@pytest.mark.parametrize(
    ("entries", "xc7", "ecp5"),
    [(17, 0, 0), (33, 0, 1), (46, 0, 2), (65, 0, 3), (97, 1, 5), (129, 1, 6)],
)
def test_deep_sums_take_multiplexers(entries, xc7, ecp5):
    """LUTs a bit of the sums, behind LUT memory of so many entries: as Yosys maps a lane group."""
    deep, plain = (replace(SMALL, block_sums=0, accumulators=n) for n in (entries, 17))
    for family, each in (("xc7", xc7), ("ecp5", ecp5)):
        # Beside them stand what enables the writing of a block, and what grows with the width of an address.
        more = structure(deep, family)["lut"] - structure(plain, family)["lut"] - 4 * 44 * each
        assert 0 <= more < 10


def test_chains_take_what_their_layouts_have():
    """Flip-flops of a lane group, bit for bit."""
    for config in (SMALL, replace(SMALL, contexts=3, x_per_beat=4), replace(SMALL, lifts=(0, 9), finish_entries=8)):
        layouts = control_layout(config), fill_layout(config), drain_layout(config)
        own = 3 + 2 * drained_layout(config).size  # zero starts, twice; whether it is asked; what it is asked for
        assert lane_group(config, "xc7")[1] == sum(layout.size for layout in layouts) + own


@pytest.mark.parametrize(
    "count", json.loads(COUNTS.read_text()), ids=lambda count: f"{count['family']}-{count['name']}"
)
def test_estimate_beside_the_counts_of_the_bench(count):
    """What ``python -m bench.resources`` left: its engines, those of the examples and large ones."""
    measured, config = Usage(**count["usage"]), EngineConfig.from_dict(count["engine"])
    # Of large engines Yosys counts lane groups one by one, which makes of LUTs 10 % fewer to 24 % more.
    assert_near(estimate(config, count["family"]), measured, lut=0.15 if count["name"] in LARGE else 0.1)
    most = estimate_at_most(config, count["family"])
    assert all(getattr(most, name) >= getattr(measured, name) for name in MARGIN)


def assert_near(ours, measured, lut=0.1):
    assert (ours.dsp, ours.bram36) == (measured.dsp, measured.bram36)
    for name in MARGIN:
        assert abs(getattr(ours, name) / getattr(measured, name) - 1) < (lut if name == "lut" else 0.1)


def test_bits_that_nobody_reads_take_nothing():
    """48-bit sums of which rounding half up reads 34 bits, and rounding to even all."""
    config = replace(SMALL, accumulator_bits=48)
    exact = replace(config, preact=QFormat(3, 12, rounding="half_even"))
    assert (config.finished_word_bits, exact.finished_word_bits) == (34, 48)
    assert estimate(exact).lutram - estimate(config).lutram == 4 * (-(-192 // 6) - -(-136 // 6))


def test_multipliers_follow_from_the_structure():
    assert dsp_blocks(EngineConfig(rows=32)) == 32 + 3
    assert dsp_blocks(EngineConfig(rows=32, cells=5, activation="pwl")) == 32 + 5 * 2
    for kind, blocks in (("lstm", 3 + 5 * 2), ("gru", 3 + 3 * 2)):
        parallel = EngineConfig(rows=32, cells=5, parallel=True, kind=kind)
        assert dsp_blocks(parallel) == 32 + blocks and dsp_blocks(replace(parallel, chains=True)) == 32 + blocks + 2
    for name, blocks in (("table", 0), ("plan", 0), ("hard5/quadratic", 3), ("cubic", 3)):
        for family in COEFFICIENTS:
            assert dsp_blocks(EngineConfig(rows=32, cells=5, activation=name), family) == 32 + 5 * (blocks + 1)
    tables = {name: estimate(EngineConfig(activation=name)) for name in ("table", "quadratic", "plan")}
    assert tables["table"].bram36 == tables["quadratic"].bram36 + 0.5, "a plain table is block RAM"
    assert tables["table"].lut <= tables["plan"].lut + 1 < tables["quadratic"].lut
    wide = EngineConfig(rows=32, cells=2, cell=QFormat(11, 12))
    assert dsp_blocks(wide) == 32 + 2 * 3 and dsp_blocks(wide, "ecp5") == 32 + 2 * 4, "18 x 18 bits, twice"
    assert dsp_blocks(replace(wide, cell=QFormat(5, 12)), "ecp5") == 32 + 2 * 3
    odd = EngineConfig(rows=48, axi_data_bits=64)
    assert dsp_blocks(odd) == 48 + 3 + 1, "12 beats a word are a product"
    assert dsp_blocks(replace(odd, streams=False)) == 48 + 3, "but not without a ring"


@pytest.mark.parametrize("family", COEFFICIENTS)
def test_wide_formats_take_more(family):
    plain, wide = (estimate(c, family) for c in (SMALL, replace(SMALL, cell=QFormat(11, 12))))
    assert plain.lut + 80 < wide.lut < plain.lut + 200 and plain.ff + 60 < wide.ff < plain.ff + 230
    assert plain.lutram < wide.lutram, "the memory of c is wider"


@pytest.mark.parametrize("family", COEFFICIENTS)
def test_lifts_row_shifts_and_counters_take_more(family):
    plain = estimate(SMALL, family)
    lifted, shifted = replace(SMALL, lifts=(0, 9)), replace(SMALL, lifts=(3,), row_bits=3)
    for config in (lifted, shifted, replace(SMALL, count_clipped=True)):
        more = estimate(config, family)
        assert plain.lut + 30 < more.lut < plain.lut + 450 and plain.ff + 25 < more.ff < plain.ff + 250


@pytest.mark.parametrize("family", COEFFICIENTS)
def test_lists_take_encoders_and_memories(family):
    plain, lists = estimate(SMALL, family), estimate(replace(SMALL, lists=True), family)
    assert plain.lut + 400 < lists.lut < plain.lut + 900 and plain.ff + 400 < lists.ff < plain.ff + 700
    assert lists.bram36 + lists.lutram > plain.bram36 + plain.lutram and lists.dsp == plain.dsp


@pytest.mark.parametrize("family", COEFFICIENTS)
def test_what_programs_ask_for_takes_a_bit_each(family):
    """A judge of groups too, as Yosys counts it."""
    plain, judged = estimate(SMALL, family), estimate(replace(SMALL, sparse_h=True), family)
    assert plain.lut + 120 < judged.lut < plain.lut + 270 and plain.ff + 80 < judged.ff < plain.ff + 130
    assert judged.lutram > plain.lutram
    deep = replace(SMALL, lists=True, h_elements=1024, x_elements=1024)
    lists, asked = (estimate(replace(deep, list_loads=loads), family) for loads in (False, True))
    assert asked.lutram > lists.lutram and asked.bram36 <= lists.bram36


@pytest.mark.parametrize("family", COEFFICIENTS)
def test_every_feature_has_a_coefficient(family):
    for kind, values in features(SMALL, family).items():
        assert len(values) == len(COEFFICIENTS[family][kind])


def test_what_was_counted_is_kept(tmp_path, monkeypatch):
    """By configuration, family and the gateware's sources: another fit neither emits nor synthesises anything again."""
    calls = []
    stat = {"lut": 1, "lutram": 2, "ff": 3, "bram36": 4.5, "dsp": 6}
    monkeypatch.setattr(resources, "write_verilog", lambda *given: calls.append("emit"))
    monkeypatch.setattr(resources, "yosys_stat", lambda *given: calls.append("count") or stat)
    for config, family in ((SMALL, "xc7"), (SMALL, "ecp5"), (replace(SMALL, cells=2), "xc7")):
        for _ in range(2):
            assert counted(config, family, tmp_path) == Usage(**stat)
    assert calls == 3 * ["emit", "count"]
    monkeypatch.setattr(resources, "code", lambda rooms: "other sources")
    counted(SMALL, "xc7", tmp_path)
    assert len(calls) == 8


def test_a_fit_finds_the_coefficients_again():
    """Engines whose counts are the estimate's are fitted by the coefficients that there are."""
    for family, coefficients in COEFFICIENTS.items():
        pairs = [(config, estimate(config, family)) for config in ENGINES.values()]
        for kind, values in coefficients.items():
            found = fitted(pairs, kind, family)
            assert np.allclose(found, values, atol=0.5, rtol=0.02)


@pytest.mark.slow
def test_estimate_beside_yosys(tmp_path):
    """An engine that was not among those that the coefficients were found from."""
    assert_near(estimate(SMALL), counted(SMALL, "xc7", tmp_path))
