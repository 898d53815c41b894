"""The bench of boards: counts beside capacities, each resource by itself, and what it refuses."""

from dataclasses import replace

import pytest

from bench.boards import ENGINES, rows
from lstm_hw.errors import ConfigError
from lstm_hw.machine.parts import HEADROOM, Usage, part_of
from lstm_hw.plan.resources import estimate

FITTING = Usage(lut=9000, lutram=16000, ff=40000, bram36=140, dsp=220)
"""In an xc7z020: 17,400 LUTs can be memory, of which 95 % may be taken; 80 % of 53,200 LUTs."""


def test_every_count_has_its_capacity():
    found = {row.metric: row.ours for row in rows("design", FITTING, part_of("xc7z020"), "counted")}
    assert found == {
        "dsp": 220,
        "dsp_capacity": 220,
        "bram": 140,
        "bram_capacity": 140,
        "lut": 25000,
        "lut_capacity": 53200,
        "lut_memory": 16000,
        "lut_memory_capacity": 17400,
        "ff": 40000,
        "ff_capacity": 106400,
    }


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"dsp": 221}, "221 of 220 DSP"),
        ({"bram36": 140.5}, "140.5 of 140 BRAM36"),
        ({"lutram": 16531}, r"16531 of 17400 LUT as memory \(95% at most\)"),
        ({"lut": 26561}, r"42561 of 53200 LUT \(80% at most\)"),
        ({"ff": 85121}, r"85121 of 106400 FF \(80% at most\)"),
    ],
)
def test_each_resource_is_checked_by_itself(more, said):
    with pytest.raises(ConfigError, match=f"design: takes {said}; must fit the xc7z020"):
        rows("design", replace(FITTING, **more), part_of("xc7z020"), "counted")
    assert HEADROOM == {"LUT": 0.8, "LUT as memory": 0.95, "FF": 0.8}


@pytest.mark.parametrize("name", ENGINES)
def test_the_engines_fit_by_the_estimate(name):
    part, create = ENGINES[name]
    config = create()
    assert config.lanes >= {"sbe/zynq7045": 896, "sbe/virtex690t": 2048, "streamed/xc7z020": 192}[name]
    assert not part_of(part).lacking(estimate(config))
    assert config.weight_words % 512 == 0 and 0 < config.block_sum_rows < 16, "accumulators in both kinds of memory"
