"""A run of the command line that is told to end leaves no process and nothing half written."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lstm_hw.process import environment
from tests.isolation import alive, interruptible
from tests.projects import write_project


def processes(folder):
    """Processes whose command line or current folder is in a folder: pid -> command line."""
    found = {}
    for process in Path("/proc").iterdir():
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            here = str((process / "cwd").readlink()).startswith(str(folder))
            if process.name.isdigit() and (here or str(folder) in line):
                found[int(process.name)] = line
        except OSError:
            continue
    return {pid: line for pid, line in found.items() if alive(pid)}


def until(holds):
    deadline = time.monotonic() + 300
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


STAGES = {
    "icarus": (["simulate", "--simulator", "icarus"], r"^\S*vvp ", "simulation"),
    "verilator": (["simulate"], r"^\S*cc1plus ", "simulation"),
    "yosys": (["report"], r"lstm_hw\.verilog\.synthesis", "synth"),
}
"""What is asked for; the command line that runs when the signal comes; what must not be there in the end."""


@pytest.mark.icarus
@pytest.mark.parametrize(
    "stage, number, status",
    [
        ("icarus", signal.SIGTERM, 128 + signal.SIGTERM),
        ("verilator", signal.SIGINT, 128 + signal.SIGINT),
        ("yosys", signal.SIGTERM, 128 + signal.SIGTERM),
    ],
)
def test_a_signal_while_a_tool_runs(tmp_path, stage, number, status):
    arguments, tool, result = STAGES[stage]
    (tmp_path / "tmp").mkdir()
    path = write_project(
        tmp_path,
        sequences=400,
        simulate={"cache": str(tmp_path / "sim"), "images": 400},
        report={"synthesis": True, "plots": False},
    )
    command = [Path(sys.executable).parent / "lstm-hw", *arguments, path]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "preexec_fn": interruptible}
    run = subprocess.Popen(command, env=environment(TMPDIR=tmp_path / "tmp"), cwd=tmp_path, **silent)
    until(lambda: run.poll() is not None or any(re.search(tool, line) for line in processes(tmp_path).values()))
    assert run.poll() is None, "it ended before it could be told to"
    run.send_signal(number)
    assert run.wait(300) == status
    until(lambda: not processes(tmp_path))
    left = {name.relative_to(tmp_path).as_posix() for name in tmp_path.rglob("*")}
    assert not [n for n in left if re.search(rf"partial|\.old|{result}/|tmp/.", n) and not n.endswith(".lock")], left
