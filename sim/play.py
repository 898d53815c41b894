"""Plays a scenario on the emitted Verilog; what comes back has been judged.

The engine stands between Verilog models of its memories and streams (:mod:`sim.harness`), so that a cycle costs no
Python. What a scenario says of memory and of pauses reaches the models as plusargs: one compiled design plays them all.
"""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lstm_hw.errors import ToolError
from lstm_hw.machine.layout import Image
from lstm_hw.verify.runs import judge
from lstm_hw.verify.scenario import Scenario

from .harness import MODELS, NAME, PARTS, harness
from .runner import GIVEN, SILENCE_S, run_bench

BENCH = "sim.bench_runs"
OUTPUT = "y.txt"
MATRICES = ("x", "h", "bias")
"""Parts of an image by the number under which the memory models count them; whatever else there is has the last."""
_COUNTED_AS = {"skip": "x"}
SHORT_CYCLES = 30_000
"""Cycles from which on a faster simulation is worth what it takes longer to compile."""
SHARES = 1 << 16
"""The models take shares of cycles as integers of so many."""


@dataclass(frozen=True)
class Played:
    """What the Verilog did; all of it was as expected, or there would be none of these.

    Parameters
    ----------
    simulator : str
    runs : list of dict
        Of every run ``outputs`` (packets), ``counters``, ``clipped`` (None if the engine does not count), ``response``
        (cycles from its last beat of x to that of its outputs) and ``beats``: those that the memories saw being read,
        by matrix, if the image was given.
    seconds : float
        Wall time of the simulation without the compilation.
    waves : Path or None
        The waveform file, if one was asked for.
    """

    simulator: str
    runs: list[dict[str, Any]]
    seconds: float
    waves: Path | None


def play(
    scenario: Scenario,
    verilog: str | os.PathLike,
    folder: str | os.PathLike,
    *,
    image: Image | None = None,
    simulator: str = "verilator",
    seed: int = 1,
    waves: bool = False,
    timeout: float = SILENCE_S,
    cache: str | os.PathLike = "build/sim",
    progress: Callable[[int, int], None] | None = None,
) -> Played:
    """Play a scenario on the Verilog and compare.

    Parameters
    ----------
    scenario : Scenario
    verilog : path-like
        The emitted engine.
    folder : path-like
        Gets the scenario, the files of the models and what was measured; replaced.
    image : Image, optional
        What the beats in memory are, to count those that are read.
    simulator : {"verilator", "icarus"}
    seed : int
        Of what has no value yet.
    waves : bool
        Record every signal.
    timeout : float
        Seconds without a sign of life after which the simulation has hung.
    cache : path-like
        Folder of compiled designs.
    progress : callable, optional
        Called as ``progress(done, total)`` in elements of the outputs.

    Returns
    -------
    Played

    Raises
    ------
    VerificationError
        An output, a counter or a count of values beyond their format differs, or a run met an error.
    ToolError
        A tool is missing, or the design does not compile.
    """
    folder = Path(folder).resolve()
    if folder.exists():
        shutil.rmtree(folder)
    scenario.save(folder)
    config = scenario.config
    beats = len(scenario.images[0]) // config.beat_bytes
    files = _write_files(folder, scenario, image, beats)
    (folder / f"{NAME}.v").write_text(harness(config, scenario.addresses, beats))
    stress = asdict(scenario.stress)
    numbers = {name: round(SHARES * stress[name]) for name in ("x_idle", "y_stall", "memory_stall")}
    numbers |= {name: stress[name] for name in ("memory_latency", "seed")} | asdict(scenario.memory) | {"beats": beats}
    result = run_bench(
        [verilog, folder / f"{NAME}.v", *MODELS],
        NAME,
        BENCH,
        simulator=simulator,
        extra_env={"LSTM_HW_SCENARIO": folder, "LSTM_HW_OUTPUT": folder / OUTPUT},
        plusargs=[f"+{name}={value}" for name, value in (files | numbers).items()],
        given=folder,
        seed=seed,
        waves=waves,
        short=sum((run.counters or {}).get("cycles", SHORT_CYCLES) for run in scenario.runs) < SHORT_CYCLES,
        build_dir=cache,
        timeout=timeout,
        progress=progress,
    )
    try:
        runs = json.loads((folder / "measured.json").read_text())
    except (OSError, ValueError) as error:
        rule = f"must leave measured.json; the log is {result.log}"
        raise ToolError(f"{BENCH} on {simulator}", f"left no measurement ({error})", rule) from error
    judge(scenario, runs)
    for run in runs:
        taken = run.pop("taken")
        run["beats"] = dict(zip(MATRICES, taken, strict=False)) if image else None
    return Played(simulator, runs, result.run_seconds, result.waves)


def _write_files(folder, scenario, image, beats):
    """Write what the models read; dict of plusarg to their path, with the file that they write."""
    config, width = scenario.config, scenario.config.beat_bytes
    lines = {
        f"image{port}": [content[n : n + width][::-1].hex() for n in range(0, len(content), width)]
        for port, content in enumerate(scenario.images)
    }
    names = [_COUNTED_AS.get(tile.part, tile.part) for tile in image.tiles for _ in range(tile.words)] if image else []
    words = [MATRICES.index(name) for name in names]
    per_word = beats // len(words) if words else 0
    lines["parts"] = [str(part) for part in words for _ in range(per_word)] or [str(PARTS - 1)] * beats
    bits, x_bits = config.operand_bits, config.operand_bits * config.x_per_beat
    mask, digits = (1 << bits) - 1, -(-(x_bits + 1) // 4)
    lines["x"] = [
        f"{sum((v & mask) << bits * e for e, v in enumerate(values)) | last << x_bits:0{digits}x}"
        for run in scenario.runs
        for values, last in zip(run.x.tolist(), run.lasts.tolist(), strict=True)
    ]
    for name, text in lines.items():
        (folder / f"{name}.hex").write_text("\n".join(text) + "\n")
    return {name: f"{GIVEN}/{name}.hex" for name in lines} | {"y": f"{GIVEN}/{OUTPUT}"}
