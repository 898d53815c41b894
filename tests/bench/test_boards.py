"""The bench of boards: counts beside capacities, each resource by itself, and what they miss."""

import json
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from bench import boards
from bench.boards import ENGINES, MISSED, rows
from boards.plan import Plan
from lstm_hw.errors import ToolError
from lstm_hw.machine.parts import HEADROOM, Usage, part_of
from lstm_hw.plan.resources import estimate
from tests.boards.scenarios import small_scenario

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
    """The one that is too small is marked, and all have their rows."""
    found = rows("design", replace(FITTING, **more), part_of("xc7z020"), "counted")
    (marked,) = [row for row in found if row.source.startswith(MISSED)]
    assert re.fullmatch(f"MISSED: takes {said}; counted", marked.source) and len(found) == 10
    assert marked.ours == found[[row.metric for row in found].index(marked.metric)].ours
    assert HEADROOM == {"LUT": 0.8, "LUT as memory": 0.95, "FF": 0.8}


def test_a_case_that_misses_does_not_cost_the_others_their_rows(tmp_path, monkeypatch):
    """A clock that is too low, a part that is too small, a tool that fails: rows of all, and status 1 at the end."""
    monkeypatch.setattr(boards, "convert", lambda *_, **__: None)
    monkeypatch.setattr(boards, "scenario_of", lambda *_: small_scenario(vectors=2))
    monkeypatch.setattr(Plan, "counted", lambda plan: replace(FITTING, dsp=157, bram36=40))
    layout = SimpleNamespace(fmax_mhz={"clk25": 400.0, "clk": 43.62})
    monkeypatch.setattr(Plan, "layout", lambda plan, progress: layout)

    def fails(*_, **__):
        raise ToolError("nextpnr", "no such tool", "must be installed")

    monkeypatch.setattr(boards, "simulate", fails)
    output = tmp_path / "boards.json"

    def run(*names):
        options = [word for name in names for word in ("--case", name)]
        result = CliRunner().invoke(boards.main, [*options, "--output", str(output)])
        return result, {(row["metric"], row["config"]): row for row in json.loads(output.read_text())}

    result, found = run("ulx3s/netlist", "ulx3s", "zc706")
    assert result.exit_code == 1, result.output
    assert result.output.splitlines()[-1] == "error: missed: failed of ulx3s/netlist, dsp of ulx3s, fmax_mhz of ulx3s"
    assert found["fmax_mhz", "ulx3s"]["ours"] == 43.62
    assert found["fmax_mhz", "ulx3s"]["source"] == "MISSED: must reach 50 MHz; nextpnr-ecp5, slowest clock"
    assert found["dsp", "ulx3s"]["source"].startswith("MISSED: takes 157 of 156 DSP; Yosys")
    assert found["failed", "ulx3s/netlist"]["source"] == "MISSED: nextpnr: no such tool; must be installed"
    assert found["dsp_capacity", "zc706"]["ours"] == 900
    monkeypatch.setattr(boards, "simulate", lambda *_, **__: None)
    result, found = run("ulx3s/netlist")
    assert result.exit_code == 0, result.output
    assert ("failed", "ulx3s/netlist") not in found and found["gate_level_digits", "ulx3s"]["ours"] == 10
    assert found["fmax_mhz", "ulx3s"]["ours"] == 43.62


@pytest.mark.parametrize("name", ENGINES)
def test_the_engines_fit_by_the_estimate(name):
    part, create = ENGINES[name]
    config = create()
    assert config.lanes >= {"sbe/zynq7045": 896, "sbe/virtex690t": 2048, "streamed/xc7z020": 192}[name]
    assert not part_of(part).lacking(estimate(config))
    assert config.weight_words % 512 == 0 and 0 < config.block_sum_rows < 16, "accumulators in both kinds of memory"
