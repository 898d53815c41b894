"""Parts and boards: figures, names, and the check that a design fits."""

from dataclasses import astuple, fields, replace

import pytest

from lstm_hw.errors import ConfigError
from lstm_hw.machine.parts import BOARDS, HEADROOM, PARTS, Usage, check_fit, part_of


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
def test_each_resource_is_checked_by_itself(part):
    """With its headroom."""
    there = {
        name: HEADROOM.get(name, 1) * capacity for name, (_, capacity) in part.shares(Usage(0, 0, 0, 0, 0)).items()
    }
    memory = there["LUT as memory"]
    full = Usage(there["LUT"] - memory, memory, there["FF"], there["BRAM36"], there["DSP"])
    check_fit("design", full, part)
    for name, what in (("lut", "LUT"), ("lutram", "LUT as memory"), ("ff", "FF"), ("bram36", "BRAM36"), ("dsp", "DSP")):
        with pytest.raises(ConfigError, match=f"design: takes .* {what}( .*)?; must fit the {part.name}"):
            check_fit("design", replace(full, **{name: getattr(full, name) + 0.5}), part)


def test_luts_as_memory_are_not_hidden_by_free_luts():
    """The lanes of SBE's engine for the Zynq: 79,000 LUTs as memory beside few others."""
    with pytest.raises(ConfigError, match=r"^lanes: takes 79000 of 70400 LUT as memory \(95% at most\); must fit"):
        check_fit("lanes", Usage(20000, 79000, 50000, 200, 900), part_of("xc7z045"))


def test_luts_of_both_uses_count_together():
    part = part_of("xc7z020")
    assert part.lacking(Usage(part.lut - 100, 200, 0, 0, 0)) == ["53300 of 53200 LUT (80% at most)"]


def test_names():
    assert part_of("xc7z045ffg900-2") is PARTS["xc7z045"] and part_of("LFE5U-85F-6BG381") is PARTS["lfe5u-85f"]
    with pytest.raises(ConfigError, match="part: 'xc7z030'; must be one of xc7z010, .*"):
        part_of("xc7z030")


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_boards_carry_known_parts(board):
    assert part_of(board.part).lut > 0 and board.clock_mhz > 0


def test_figures_of_the_field():
    """Those that the literature quotes for these parts."""
    assert astuple(part_of("xc7z020"))[2:-1] == (53200, 17400, 106400, 140, 220)
    assert astuple(part_of("xc7vx690t"))[2:-1] == (433200, 174200, 866400, 1470, 3600)


def test_usage_adds_and_reads_counts():
    stat = {"lut": 40, "lutram": 8, "ff": 30, "bram36": 2.5, "dsp": 5, "tool": "yosys"}
    usage = Usage.of_stat(stat)
    assert [getattr(usage, field.name) for field in fields(usage)] == [40, 8, 30, 2.5, 5]
    assert usage + usage == Usage(80, 16, 60, 5.0, 10)
