"""Hostile surroundings: modules in the current folder and variables of the shell that must decide nothing."""

import signal
from pathlib import Path

HOSTILE = {
    "COCOTB_TEST_FILTER": "nothing",
    "COCOTB_TESTCASE": "nothing",
    "COCOTB_TEST_MODULES": "nothing",
    "COCOTB_RANDOM_SEED": "nothing",
    "COCOTB_USER_COVERAGE": "1",
    "GPI_EXTRA": "/nothing.so",
    "PYGPI_PYTHON_BIN": "/nothing",
    "WAVES": "1",
    "GUI": "1",
    "SIM_CMD_PREFIX": "false",
    "VERILATOR_BIN": "/nothing",
    "VERILATOR_ROOT": "/nothing",
    "PYTHONPATH": "/nothing",
    "PYTHONOPTIMIZE": "2",
    "PYTHONWARNINGS": "error",
    "MAKEFLAGS": "-n",
    "MAKELEVEL": "3",
    "CXXFLAGS": "-nothing",
    "YOWASP_MOUNT": "/nothing=/nothing",
    "AMARANTH_USE_YOSYS": "system",
    "IVERILOG_VPI_MODULE_PATH": "/nothing",
}
"""Variables that other tools listen to. (PYTHONHOME would stop any Python, also the first.)"""
MODULES = ("sim", "bench", "boards", "json", "random", "types")


def hostile_folder(folder):
    """Fill a folder with modules that fail when they are imported, and return it."""
    for name in MODULES:
        (Path(folder) / f"{name}.py").write_text(f"raise SystemExit('hostile {name}.py was imported')\n")
    return folder


def alive(pid):
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def interruptible() -> None:
    """In a new process: what a shell starts in the background ignores SIGINT, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
