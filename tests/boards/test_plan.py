"""Plans: reproducible, checked against the part, and printed."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from boards import __main__ as command
from boards import plan as plans
from boards.plan import Plan
from lstm_hw.errors import ConfigError
from lstm_hw.machine.parts import BOARDS, part_of
from tests.boards.scenarios import small_scenario
from tests.boards.smoke import plan_of


@pytest.mark.parametrize("board", ["ulx3s", "zc706"])
def test_plans_are_reproducible(board, monkeypatch):
    first = plan_of(board).files
    monkeypatch.setenv("AMARANTH_VERBOSE", "1")
    monkeypatch.setenv("AMARANTH_USE_YOSYS", "system")
    assert plan_of.__wrapped__(board).files == first


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_every_board_has_a_page(board):
    """With its part and the truth on what was tried; the index names it and its part too."""
    docs = Path(__file__).parents[2] / "docs"
    page, index = (docs / "boards" / f"{board.name}.md").read_text(), (docs / "boards.md").read_text()
    assert "Never tried on" in page and part_of(board.part).name.upper() in page.upper()
    assert f"(boards/{board.name}.md) | {board.part} |" in index


def test_unknown_board():
    with pytest.raises(
        ConfigError,
        match="board: 'zc702'; must be one of ulx3s, ecpix5, pynq-z2, arty-z7-20, zedboard, zc706, vc707, vc709",
    ):
        Plan("zc702", small_scenario())


def test_bitstreams_need_open_tools(tmp_path):
    with pytest.raises(ConfigError, match="board zc706: no open tools"):
        plan_of("zc706").bitstream(tmp_path)


def test_usage_is_compared_with_the_part(tmp_path, monkeypatch):
    plan = plan_of("ulx3s")
    stat = {"lut": 80000, "lutram": 10000, "ff": 1, "bram36": 1, "dsp": 1}
    monkeypatch.setattr(plans, "yosys_stat", lambda *_: stat)
    with pytest.raises(ConfigError, match="lstm_host_design on ulx3s: takes 90000 of 83640 LUT"):
        plan.usage(tmp_path)


def test_command_writes_plans_and_prints_what_they_take(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "FOLDER", tmp_path / "boards")
    monkeypatch.setattr(command, "convert", lambda *_, **__: None)
    monkeypatch.setattr(command, "scenario_of", lambda _: small_scenario(vectors=2))
    stat = {"lut": 900, "lutram": 100, "ff": 2000, "bram36": 3.5, "dsp": 8}
    monkeypatch.setattr(plans, "yosys_stat", lambda *_: stat)
    result = CliRunner().invoke(command.main, ["ulx3s", "vc707"])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "boards" / "ulx3s" / "top.lpf").is_file() and not (tmp_path / "boards" / "zc706").exists()
    assert "1000/83640 (1%)" in result.output and "3.5/1030 (0%)" in result.output
    entries = json.loads((tmp_path / "boards" / "boards.json").read_text())
    assert [entry["board"] for entry in entries] == ["ulx3s", "vc707"]
    assert entries[0]["sequences_per_second"] == round(50e6 / entries[0]["cycles"])
    assert CliRunner().invoke(command.main, ["zc702"]).exit_code == 2


@pytest.mark.slow
@pytest.mark.parametrize("board", ["ulx3s", "zc706"])
def test_small_self_test_is_synthesised(board, tmp_path):
    """On either family: with a bridge for a host, and alone."""
    plan = Plan(board, small_scenario(vectors=2, rows=4))
    usage = plan.usage(tmp_path)
    assert usage.dsp >= plan.scenario.config.lanes and usage.bram36 > 0
    assert 500 < usage.lut < 20000 and 500 < usage.ff < 20000
    assert not part_of(plans.BOARDS[board].board.part).lacking(usage)
