"""A run of the command line that is told to end leaves no process and nothing half written."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lstm_hw.process import environment
from tests.isolation import alive
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


@pytest.mark.icarus
def test_sigterm_while_simulating(tmp_path):
    cache = {"cache": str(tmp_path / "sim"), "images": 400}
    path = write_project(tmp_path, sequences=400, simulate=cache)
    command = [Path(sys.executable).parent / "lstm-hw", "simulate", path, "--simulator", "icarus"]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    run = subprocess.Popen(command, env=environment(), cwd=tmp_path, **silent)

    def simulating():
        return any("vvp" in line.partition(" ")[0] for line in processes(tmp_path).values())

    until(lambda: run.poll() is not None or simulating())
    assert run.poll() is None, "it ended before it could be told to"
    run.send_signal(signal.SIGTERM)
    assert run.wait(60) == 128 + signal.SIGTERM
    until(lambda: not processes(tmp_path))
    left = {name.relative_to(tmp_path / "build").as_posix() for name in (tmp_path / "build").rglob("*")}
    assert not [name for name in left if "partial" in name or ".old" in name or "simulation" in name], left
