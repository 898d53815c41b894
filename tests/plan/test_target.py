"""Engines by target: the best that fits a part by every resource, or the numbers that say why none does."""

from dataclasses import replace

import pytest

from lstm_hw.errors import ConfigError
from lstm_hw.machine.config import EngineConfig
from lstm_hw.machine.network import LayerShape, Network
from lstm_hw.machine.parts import HEADROOM, Part, part_of
from lstm_hw.plan.choose import choose
from lstm_hw.plan.resources import estimate_at_most
from lstm_hw.plan.target import BUFFERS, Target, deeper, shapes
from lstm_hw.proof.load_timing import MemoryModel

SMALL = Network((LayerShape("lstm", 12, 48, 15),))
LARGE = Network((LayerShape("lstm", 64, 512, 15),))


def assert_fits(config, part):
    assert not part.lacking(estimate_at_most(config, part.family))


@pytest.mark.parametrize("name", ["xc7z010", "xc7z020", "lfe5u-45f"])
@pytest.mark.parametrize("network", [SMALL, LARGE], ids=["small", "large"])
def test_the_engine_fits_its_part(name, network):
    part = part_of(name)
    choice = choose(network, 8, schedule="auto" if network is SMALL else "conventional", target=Target(part=part))
    config = choice.outcome.plan.config
    assert_fits(config, part)
    assert (choice.outcome.name == "resident") == (network is SMALL)


def test_no_more_rows_than_help():
    """192 matrix rows in one row block: more rows would only be idle."""
    assert next(shapes(Target(part=part_of("xc7vx690t")), 1, SMALL, False, {}))["rows"] == 192
    rows = [shape["rows"] for shape in shapes(Target(lanes=200), 1, SMALL, False, {})]
    assert rows == [192, 96, 64, 48, 32, 16, 8, 4]


def test_cells_keep_up_with_the_lanes():
    """48 units of 5 cycles each behind 60 columns: a cell would take four times as long as the lanes."""
    assert next(shapes(Target(part=part_of("xc7vx690t")), 1, SMALL, False, {}))["cells"] == 5
    assert next(shapes(Target(part=part_of("xc7z010")), 1, LARGE, True, {}))["cells"] == 1
    assert next(shapes(Target(part=part_of("xc7z010")), 1, LARGE, True, {"parallel": True}))["cells"] == 5


def test_the_buffer_of_streams_is_as_deep_as_fits():
    part = part_of("xc7z020")
    first = next(shapes(Target(part=part), 1, LARGE, True, {}))
    assert first["weight_words"] * first["rows"] * 16 / 36864 > part.bram36 / 4
    assert next(shapes(Target(part=part), 1, LARGE, True, {"weight_words": 600}))["weight_words"] == 600


@pytest.mark.parametrize(
    "rate, rows, given, ports",
    [
        (None, 64, {}, None),
        (4, 64, {}, (1, 128)),  # as wide as ever
        (16, 64, {}, (1, 128)),
        (17, 64, {}, (1, 256)),
        (42, 64, {}, (1, 512)),
        (200, 64, {}, (1, 1024)),  # a word has no more
        (200, 416, {}, (2, 1024)),
        (42, 64, {"axi_data_bits": 64}, (4, 64)),
        (42, 64, {"axi_ports": 2}, (2, 256)),
        (200, 4, {}, (1, 64)),
        (42, 64, {"weight_bits": 8}, (1, 512)),
    ],
)
def test_ports_follow_the_bandwidth(rate, rows, given, ports):
    """Not narrower than what the memory delivers in a cycle, unless a word is, and no wider."""
    shape = next(shapes(Target(bytes_per_cycle=rate), 1, LARGE, True, {"rows": rows, **given}))
    assert (shape.get("axi_ports"), shape.get("axi_data_bits")) == (ports or (None, None))


def test_ports_that_cannot_be_are_refused():
    with pytest.raises(ConfigError, match="engine.axi_data_bits: 512; must not exceed one weight word"):
        choose(LARGE, 8, schedule="conventional", target=Target(8, None, 42), given={"rows": 8, "axi_data_bits": 512})


def test_more_weights_on_chip_are_compared_with_more_lanes():
    """Streams wait for memory: fewer rows with a larger buffer read less, and take fewer cycles."""
    target, memory = Target(part=part_of("xc7z010")), MemoryModel(40, 4)
    choice = choose(LARGE, 8, schedule="conventional", target=target, memory=lambda config: memory)
    fastest = next(shapes(target, 1, LARGE, True, {}))
    config = choice.outcome.plan.config
    assert config.rows < fastest["rows"] and config.weight_words * config.rows > fastest["rows"] * BUFFERS[-1]
    first = [outcome for outcome in choice.tried if outcome.plan and outcome.plan.config.rows > config.rows]
    assert first and all(not outcome.counters or outcome.cycles > choice.outcome.cycles for outcome in first)
    assert_fits(config, target.part)


def test_deeper_engines_are_those_whose_lanes_are_fast_enough():
    target = Target(part=part_of("xc7z020"))
    first = next(shapes(target, 1, LARGE, True, {}))
    engine = EngineConfig(rows=first["rows"], weight_words=first["weight_words"])
    found = list(deeper(target, LARGE, {}, engine, float("inf")))
    sizes = [shape["rows"] * shape["weight_words"] for shape in found]
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] > engine.rows * engine.weight_words
    assert all(shape["rows"] < engine.rows for shape in found)
    assert not list(deeper(target, LARGE, {}, engine, 0))


def test_sums_are_divided_between_block_ram_and_lut_memory():
    """192 lanes of a 7Z020 with 176 sums each: as block RAM they are 120 blocks beside those of the weights."""
    part = part_of("xc7z020")
    config = EngineConfig(
        rows=48, contexts=4, x_per_beat=4, x_elements=4096, h_elements=256, accumulators=177, states=1024
    )
    config = replace(config, weight_words=1536)
    with pytest.raises(ConfigError, match="of 140 BRAM36"):
        Target(part=part).check(config)
    divided = Target(part=part).divided(config, {})
    assert 0 < divided.block_sum_rows < 16 and replace(divided, block_sums=None) == config
    assert_fits(divided, part)
    with pytest.raises(ConfigError, match="of 140 BRAM36"):
        Target(part=part).divided(config, {"block_sums": None})


def test_a_smaller_batch_where_the_sums_of_the_best_do_not_fit():
    def chosen(luts):
        part = Part("some", "xc7", luts, luts, 100000, 100, 100, "none")
        given = {"rows": 8, "weight_words": 512, "block_sums": 0}
        return choose(SMALL, 16, schedule="sbe", target=Target(part=part), given=given).outcome

    best = chosen(100000)
    takes = estimate_at_most(best.plan.config, "xc7")
    fits = chosen(int((takes.lut + takes.lutram) / HEADROOM["LUT"]) - 1)
    assert 1 < fits.options["batch"] < best.options["batch"]
    assert fits.plan.config.accumulators < best.plan.config.accumulators and fits.read_bytes > best.read_bytes


def test_what_does_not_fit_is_refused_with_the_numbers():
    tiny = Part("tiny", "xc7", 2000, 500, 4000, 10, 20, "none")
    with pytest.raises(ConfigError, match=r"take .* of 2000 LUT \(80% at most\).*must fit the tiny"):
        choose(SMALL, 8, schedule="conventional", target=Target(part=tiny))
    with pytest.raises(ConfigError, match="512 rows x 1 contexts.* of 220 DSP.*must fit the xc7z020"):
        choose(LARGE, 8, schedule="conventional", target=Target(part=part_of("xc7z020")), given={"rows": 512})


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "ice40up5k",
            r"5280 LUT, 0 LUT as memory, 5280 FF, 3.33 BRAM36, 8 DSP, where no engine would .* \(4 lanes",
        ),
        ("ice40hx8k", r"0 DSP, where no engine would fit .* take .*7 of 0 DSP"),
        ("gw1n-9", r"1620 LUT as memory, 6480 FF, 13 BRAM36, 20 DSP, where .* would fit by the counts for an ECP5"),
        ("gw2a-18", r"20736 LUT, .* 48 DSP, where an engine of (8|16|32) lanes would fit by the counts for an ECP5"),
    ],
)
def test_other_families_are_refused_with_what_they_could_hold(name, said):
    with pytest.raises(ConfigError, match=rf"target.part: {name}, with .*{said}.*must be of family ecp5 or xc7"):
        Target(part=part_of(name))
