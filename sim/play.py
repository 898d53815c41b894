"""Plays a scenario on the emitted Verilog; what comes back has been judged."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from lstm_hw.errors import ToolError
from lstm_hw.machine.ports import TOPLEVEL
from lstm_hw.verify.runs import judge

from .runner import run_bench

BENCH = "sim.bench_engine"


@dataclass(frozen=True)
class Played:
    """What the Verilog did; all of it was as expected, or there would be none of these.

    Parameters
    ----------
    simulator : str
    runs : list of dict
        ``outputs`` (packets) and ``counters`` of every run.
    seconds : float
        Wall time of the simulation without the compilation.
    waves : Path or None
        The waveform file, if one was asked for.
    """

    simulator: str
    runs: list
    seconds: float
    waves: Path | None


def play(
    scenario,
    verilog,
    folder,
    *,
    simulator="verilator",
    seed=1,
    waves=False,
    timeout=None,
    cache="build/sim",
    progress=None,
):
    """Play a scenario on the Verilog and compare.

    Parameters
    ----------
    scenario : Scenario
    verilog : path-like
        The emitted design.
    folder : path-like
        Gets the scenario and what was measured; emptied first.
    simulator : {"verilator", "icarus"}
    seed : int
    waves : bool
        Record every signal.
    timeout : float, optional
        Seconds.
    cache : path-like
        Folder of compiled designs.
    progress : callable, optional
        Called as ``progress(done, total)`` in runs.

    Returns
    -------
    Played

    Raises
    ------
    VerificationError
        An output or a counter differs, or a run met an error.
    ToolError
        A tool is missing, or the design does not compile.
    """
    folder = Path(folder).resolve()
    if folder.exists():
        shutil.rmtree(folder)
    scenario.save(folder)
    result = run_bench(
        [verilog],
        TOPLEVEL,
        BENCH,
        simulator=simulator,
        extra_env={"LSTM_HW_SCENARIO": str(folder)},
        seed=seed,
        waves=waves,
        build_dir=cache,
        timeout=timeout,
        progress=progress,
    )
    try:
        measured = json.loads((folder / "measured.json").read_text())
    except (OSError, ValueError) as error:
        rule = f"must leave measured.json; the log is {result.log}"
        raise ToolError(f"{BENCH} on {simulator}", f"left no measurement ({error})", rule) from error
    judge(scenario, measured)
    return Played(simulator, measured, result.run_seconds, result.waves)
