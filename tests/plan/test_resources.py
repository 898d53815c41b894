"""The resource estimate: Yosys's rule for memories, the structure of an engine, and one engine synthesised."""

from dataclasses import replace

import pytest

from bench.resources import counted
from lstm_hw.machine.config import EngineConfig
from lstm_hw.machine.formats import QFormat
from lstm_hw.plan.resources import COEFFICIENTS, Memory, dsp_blocks, estimate, features, mapped

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
    ],
)
def test_memories_take_what_costs_least(width, depth, lutram, bram36):
    assert mapped(Memory(width, depth, clocked=True), "xc7") == (lutram, bram36)


def test_memories_that_answer_at_once_are_lut_memory():
    assert mapped(Memory(16, 4096), "xc7")[1] == 0 and mapped(Memory(16, 4096), "ecp5") == (6 * 4 * 256, 0)


def test_bits_that_nobody_reads_take_nothing():
    """48-bit sums of which rounding half up reads 34 bits, and rounding to even all."""
    config = replace(SMALL, accumulator_bits=48)
    exact = replace(config, preact=QFormat(3, 12, rounding="half_even"))
    assert (config.finished_word_bits, exact.finished_word_bits) == (34, 48)
    assert estimate(exact).lutram - estimate(config).lutram == 4 * (-(-192 // 6) - -(-136 // 6))


def test_multipliers_follow_from_the_structure():
    assert dsp_blocks(EngineConfig(rows=32)) == 32 + 3
    assert dsp_blocks(EngineConfig(rows=32, cells=5, activation="pwl")) == 32 + 5 * 2
    wide = EngineConfig(rows=32, cells=2, cell=QFormat(11, 12))
    assert dsp_blocks(wide) == 32 + 2 * 3 and dsp_blocks(wide, "ecp5") == 32 + 2 * 4, "18 x 18 bits, twice"
    assert dsp_blocks(replace(wide, cell=QFormat(5, 12)), "ecp5") == 32 + 2 * 3
    assert dsp_blocks(EngineConfig(rows=48, axi_data_bits=64)) == 48 + 3 + 1, "12 beats a word are a product"


@pytest.mark.parametrize("family", COEFFICIENTS)
def test_wide_formats_take_more(family):
    plain, wide = (estimate(c, family) for c in (SMALL, replace(SMALL, cell=QFormat(11, 12))))
    assert plain.lut + 80 < wide.lut < plain.lut + 200 and plain.ff + 60 < wide.ff < plain.ff + 140
    assert plain.lutram < wide.lutram, "the memory of c is wider"


@pytest.mark.parametrize("family", COEFFICIENTS)
def test_lifts_row_shifts_and_counters_take_more(family):
    plain = estimate(SMALL, family)
    lifted, shifted = replace(SMALL, lifts=(0, 9)), replace(SMALL, lifts=(3,), row_bits=3)
    for config in (lifted, shifted, replace(SMALL, count_clipped=True)):
        more = estimate(config, family)
        assert plain.lut + 30 < more.lut < plain.lut + 450 and plain.ff + 25 < more.ff < plain.ff + 250


@pytest.mark.parametrize("family", COEFFICIENTS)
def test_every_feature_has_a_coefficient(family):
    for kind, values in features(SMALL, family).items():
        assert len(values) == len(COEFFICIENTS[family][kind])


@pytest.mark.slow
def test_estimate_beside_yosys(tmp_path):
    """An engine that was not among those that the coefficients were found from."""
    measured, ours = counted(SMALL, "xc7", tmp_path), estimate(SMALL)
    assert (ours.dsp, ours.bram36) == (measured.dsp, measured.bram36)
    assert abs(ours.lutram / measured.lutram - 1) < 0.1
    assert abs(ours.lut / measured.lut - 1) < 0.1 and abs(ours.ff / measured.ff - 1) < 0.1
