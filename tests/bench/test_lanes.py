"""The lane bench on small arrays: what it counts, and that it refuses lanes that cost too much."""

import json
from dataclasses import replace

import pytest

from bench import lanes
from bench.lanes import (
    DEEP,
    DEPTHS,
    ENGINE,
    FORMATS,
    MODES,
    WITH_LISTS,
    cell_rows,
    check_groups,
    decoder_rows,
    lane_rows,
    level_rows,
)
from bench.table import Row, update
from lstm_hw.errors import VerificationError
from lstm_hw.gateware.lane_group import LaneArray
from lstm_hw.machine.config import EngineConfig
from lstm_hw.plan.resources import Mapped
from lstm_hw.verilog.emit import write_verilog
from lstm_hw.verilog.tools import yosys_stat

MEMORIES = {"weight_words": 512, "accumulators": 8, "finish_entries": 4, "axi_data_bits": 64}


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_small_array(mode, tmp_path):
    shape = (8, 1) if "lists" in mode.engine else (4, 2)
    found = {row.metric: row for row in lane_rows(mode, *shape, tmp_path, **MEMORIES)}
    assert {row.config for row in found.values()} == {f"{mode.name}/8"}
    assert found["dsp_per_lane"].ours == 1 / mode.lanes_per_dsp
    assert found["accumulator_registers_per_lane"].ours == 1 / mode.lanes_per_dsp
    assert 0 < found["lut_per_lane"].ours < 200 and 0 < found["ff_per_lane"].ours < 200
    assert "8 accumulators and 4 finished" in found["lutram_per_lane"].unit and found["lutram_per_lane"].ours > 10


def test_lanes_that_cost_too_much_are_refused(tmp_path, monkeypatch):
    """One netlist, held to less than it takes."""
    mode, shape = MODES[0], (4, 2)
    for field, value, message in (
        ("lanes_per_dsp", 3, "DSP slices; must be one for 3"),
        ("carry_per_dsp", -9, "CARRY4; must be at most -9"),
    ):
        with pytest.raises(VerificationError, match=message):
            lane_rows(replace(mode, **{field: value}), *shape, tmp_path, **MEMORIES)
    monkeypatch.setitem(lanes.REGISTERS, "start", ("DREG",))
    with pytest.raises(VerificationError, match="start register in 0 of"):
        lane_rows(mode, *shape, tmp_path, **MEMORIES)


def test_deep_sums_are_in_block_ram(tmp_path):
    found = {row.metric: row for row in lane_rows(MODES[0], 4, 1, tmp_path, **{**MEMORIES, **DEEP})}
    assert {row.config for row in found.values()} == {"16bit/4, sums in block RAM"}
    assert found["lutram_per_lane"].ours == found["loaded_registers_per_lane"].ours == 0
    assert found["ff_per_lane"].ours < 60 and found["bram_per_lane"].ours > 1


def test_deep_sums_leave_windows_in_lut_memory(tmp_path, monkeypatch):
    mode = next(mode for mode in MODES if "window" in mode.engine)
    found = {row.metric: row for row in lane_rows(mode, 4, 1, tmp_path, **{**MEMORIES, **DEEP})}
    assert found["lutram_per_lane"].ours == 48  # two windows of 64 16-bit elements
    monkeypatch.setattr(lanes, "mapped", lambda *_: Mapped(lutram=47, bram36=0.0, deep=2))
    with pytest.raises(VerificationError, match="192 LUTs as memory; must be 188, those of windows"):
        lane_rows(mode, 4, 1, tmp_path, **{**MEMORIES, **DEEP})


def test_a_count_by_groups_is_that_of_all_lanes(tmp_path):
    """Of two kinds of groups: the last one has no group behind it."""
    config = EngineConfig(rows=8, contexts=1, **{**DEPTHS, **MEMORIES}, **MODES[0].engine)
    verilog = write_verilog(tmp_path / "lanes.v", LaneArray(config), "lanes")
    flat = yosys_stat(verilog, "lanes", build_dir=tmp_path)
    check_groups(verilog, "lanes", flat, tmp_path)
    for kind in ("ff", "lut", "bram36", "dsp"):
        for factor in (0.5, 1.5):
            with pytest.raises(VerificationError, match=f"lanes by groups: [0-9.]+ {kind}; must be .*, as made flat"):
                check_groups(verilog, "lanes", {**flat, kind: flat[kind] * factor}, tmp_path)


def test_levels(tmp_path):
    """The components that decide most in a cycle; the bench holds the others to the same."""
    rows = level_rows(ENGINE, tmp_path, only=("Control", "MacUnit", "Sequencer"))
    assert [row.config for row in rows] == ["component/Control", "component/Sequencer", "component/MacUnit"]
    assert all(3 < row.ours <= 6 for row in rows)
    with pytest.raises(VerificationError, match="component MacUnit: . LUTs in a row; must be at most 3"):
        level_rows(ENGINE, tmp_path, only=("MacUnit",), most=3)


def test_lists_are_no_deeper(tmp_path):
    """Components of an engine with lists are held to the same, and their sizes are told."""
    rows = {
        (row.metric, row.config): row.ours for row in level_rows(WITH_LISTS, tmp_path, only=("MacUnit", "ListPath"))
    }
    assert rows["lut_levels", "lists/MacUnit"] <= 6 and rows["lut_levels", "lists/ListPath"] <= 6
    assert 250 < rows["component_lut", "lists/ListPath"] < 500


def test_a_cell_with_a_wide_c_takes_no_more_dsp_slices(tmp_path):
    rows = {row.metric: row.ours for row in cell_rows(tmp_path, {"24-bit c": FORMATS["24-bit c"]})}
    assert rows["cell_dsp"] == 3 and 100 < rows["cell_lut"] < 500 and 100 < rows["cell_ff"] < 900


def test_rows_are_added(tmp_path):
    path = tmp_path / "rows.json"
    first, second = Row("a", "x", 1, "u", None, "s"), Row("a", "y", 2, "u", None, "s")
    update(path, [first, second])
    update(path, [replace(first, ours=3), Row("b", "x", 4, "u", None, "s")])
    assert [(row["config"], row["metric"], row["ours"]) for row in json.loads(path.read_text())] == [
        ("y", "a", 2),
        ("x", "a", 3),
        ("x", "b", 4),
    ]
    path.write_text("{")
    update(path, [first])
    assert [row["ours"] for row in json.loads(path.read_text())] == [1], "a file that somebody changed is not read back"


def test_the_decoder_of_esell_beside_that_of_bit_maps(tmp_path):
    """Memories of the rows take the place of logic, and no path is longer than a component's may be."""
    counted = {row.metric: row.ours for row in decoder_rows("esell", tmp_path)}
    assert counted["lut_levels"] <= 6 and counted["component_lut"] <= 900 and counted["component_lutram"] == 192
