"""Engines by target: the best that fits a part by every resource, or the numbers that say why none does."""

import pytest

from lstm_hw.errors import ConfigError
from lstm_hw.machine.network import LayerShape, Network
from lstm_hw.machine.parts import Part, part_of
from lstm_hw.plan.resources import estimate
from lstm_hw.plan.schedules import choose
from lstm_hw.plan.target import HEADROOM, Target, shapes

SMALL = Network((LayerShape("lstm", 12, 48, 15),))
LARGE = Network((LayerShape("lstm", 64, 512, 15),))


def assert_fits(config, part):
    for name, (taken, there) in part.shares(estimate(config, part.family)).items():
        assert taken <= HEADROOM.get(name, 1) * there, name


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


def test_the_buffer_of_streams_is_as_deep_as_fits():
    part = part_of("xc7z020")
    first = next(shapes(Target(part=part), 1, LARGE, True, {}))
    assert first["weight_words"] * first["rows"] * 16 / 36864 > part.bram36 / 4
    assert next(shapes(Target(part=part), 1, LARGE, True, {"weight_words": 600}))["weight_words"] == 600


def test_what_does_not_fit_is_refused_with_the_numbers():
    tiny = Part("tiny", "xc7", 2000, 500, 4000, 10, 20, "none")
    with pytest.raises(ConfigError, match=r"take .* of 2000 LUT \(85% at most\).*must fit the tiny"):
        choose(SMALL, 8, schedule="conventional", target=Target(part=tiny))
    with pytest.raises(ConfigError, match="512 rows x 1 contexts.* of 220 DSP.*must fit the xc7z020"):
        choose(LARGE, 8, schedule="conventional", target=Target(part=part_of("xc7z020")), given={"rows": 512})
