"""The C driver for tests: compiled programs, and sessions of them with a simulated engine."""

import json
import os
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

import pytest

from lstm_hw.gateware.top import Top
from lstm_hw.host.c_driver import write_c_driver
from lstm_hw.verilog.emit import emit_verilog
from sim.runner import run_bench

PROGRAMS = Path(__file__).parent / "c"
WARNINGS = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Werror"]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g"]
PLAIN = ("lstm_hw.c",)
ALL = ("lstm_hw.c", "lstm_hw_serial.c", "lstm_hw_dma.c", "lstm_hw_tty.c")
CC = os.environ.get("CC") or shutil.which("gcc") or "cc"
needs_compiler = pytest.mark.skipif(not os.environ.get("CI") and shutil.which(CC) is None, reason="no C compiler")
CXX = os.environ.get("CXX") or shutil.which("g++") or "c++"


def compiled(folder, program, sources=ALL, options=SANITIZE):
    """Path of a program of ``tests/host/c``, or of a file, linked with files of the driver."""
    driver = folder / "driver"
    write_c_driver(driver)
    source, target = PROGRAMS / program, folder / Path(program).stem
    command = [CC, *WARNINGS, "-O1", *options, f"-I{driver}", "-o", target, source, *(driver / s for s in sources)]
    result = subprocess.run([*command, "-lm"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return target


@lru_cache
def engine_verilog(config):
    """Verilog of an engine."""
    return emit_verilog(Top(config), "lstm_engine")


def session(
    folder,
    image,
    argv,
    mode="serial",
    base=0x1000_0000,
    size=1 << 20,
    environment=None,
    given=os.devnull,
    simulator="verilator",
    **faults,
):
    """Lines that a program prints that drives the engine of a firmware image.

    Parameters
    ----------
    folder : Path
    image : FirmwareImage
        Whose engine is simulated.
    argv : list of str
        The program and its arguments; FD and TTY stand for its line to the engine.
    mode : {"serial", "tty", "dma"}
    base, size : int
        Of the memory.
    environment : dict, optional
        Of the program.
    given : path-like
        File that the program reads.
    simulator : {"verilator", "icarus"}
    faults
        See :mod:`tests.host.c_bench`.

    Returns
    -------
    list of list of str
        Words of each line.
    """
    verilog = folder / "lstm_engine.v"
    verilog.write_text(engine_verilog(image.config))
    job, output = folder / "job.json", folder / "output.txt"
    job.write_text(
        json.dumps(
            {
                "argv": list(map(str, argv)),
                "config": image.config.to_dict(),
                "input": str(given),
                "output": str(output),
                "mode": mode,
                "memory_base": base,
                "memory_bytes": size,
                "environment": environment or {},
                "faults": faults,
            }
        )
    )
    environment = {"LSTM_HW_JOB": str(job)}
    options = {"short": True, "timeout": 500, "extra_env": environment}
    run_bench([verilog], "lstm_engine", "tests.host.c_bench", simulator=simulator, **options)
    return [line.split() for line in output.read_text().splitlines()]
