"""Simulations in shards, on several processors or a cluster."""

import shutil
import tempfile
import time
import zlib
from base64 import b64decode, b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..campaign import run_tasks
from ..errors import VerificationError
from ..machine.ports import TOPLEVEL
from ..process import sibling
from ..proof.count import count_cycles
from ..proof.cycles import long_steps
from ..verify.runs import judge
from ..verify.shards import Shard, shards_of
from ..verify.simulate import Measured, expect_outputs

if TYPE_CHECKING:
    from .api import Project

SHARD_CYCLES = 50_000
"""Of a shard, about: some seconds of simulation, beside which the start of a simulator counts little."""


def whole(project: "Project", asked: dict[str, Any]) -> str | None:
    """Why a simulation cannot be cut into shards, a sentence; None if it can."""
    held = [name for name, value in asked["stress"].items() if value and name != "seed"]
    if held:
        return f"{', '.join(held)} hold back streams or memory by one series of random numbers over all runs"
    if asked["waves"]:
        return "waveforms go to one file"
    if asked["sequences"] <= project.plan.sequences:
        return "the engine works on all sequences at once"
    return None


def simulate_in_shards(
    project: "Project", asked: dict[str, Any], x: Any, jobs: int, cluster: str | None, force: bool
) -> Measured:
    """Simulate with workers; see :meth:`.api.Project.simulate`.

    Parameters
    ----------
    project : Project
    asked : dict
        As for :func:`.simulation.simulate`.
    x : int array (N, T, Lx)
        Stored integers of the test inputs.
    jobs : int
    cluster : str or None
        As for :func:`lstm_hw.campaign.run_tasks`.
    force : bool
        Take nothing that an interrupted simulation has left.
    """
    begun, section, plan, memory = time.monotonic(), project.config.simulate, project.plan, project.memory
    with project.progress("references"):
        expected = expect_outputs(plan, project.words, project.qmodel, x, memory)
        steps = expected.steps
        one, long = (count_cycles(plan, n, memory=memory).cycles for n in (steps, long_steps(steps)))
        groups = len(expected.scenario.runs) - expected.loads - 1
        cycles = [0] * expected.loads + [one] * groups + [long]
        shards = shards_of(expected, project.words, cycles, SHARD_CYCLES)
    common = {
        "simulator": asked["simulator"],
        "seed": asked["seed"],
        "timeout": section.timeout,
        "cache": None if cluster else str(Path(section.cache).resolve()),
        "verilog": b64encode(zlib.compress(project.verilog.read_bytes())).decode(),
    }
    tasks = [{**shard.to_dict(), **common} for shard in shards]
    kept = project.folder / ".shards"  # until all are done
    if force:
        shutil.rmtree(kept, ignore_errors=True)
    done = run_tasks(play_shard, tasks, jobs=jobs, cluster=cluster, cache=kept, label="simulate")
    runs = [run for found in done for run in found]
    judge(expected.scenario, runs)
    measured = Measured.of(expected, asked["simulator"], runs, time.monotonic() - begun)
    shutil.rmtree(kept, ignore_errors=True)
    return measured


def play_shard(task: dict[str, Any]) -> list[dict[str, Any]]:
    """Simulate a shard: what was measured in its own runs.

    Parameters
    ----------
    task : dict
        :meth:`.Shard.to_dict` with ``simulator``, ``seed``, ``timeout``, ``verilog`` (compressed) and ``cache`` (the
        folder of compiled designs; None: ``build/sim`` where the worker was started).

    Returns
    -------
    list of dict
        ``outputs``, ``counters`` and ``clipped`` of every run.

    Raises
    ------
    VerificationError
        The Verilog, the interpreter and the integer reference do not agree.
    """
    sibling("sim")
    from sim.play import play

    shard = Shard.from_dict(task)
    with tempfile.TemporaryDirectory(prefix="lstm-hw-") as folder:
        verilog = Path(folder) / f"{TOPLEVEL}.v"
        verilog.write_bytes(zlib.decompress(b64decode(task["verilog"])))
        try:
            played = play(
                shard.scenario(),
                verilog,
                Path(folder) / "scenario",
                simulator=task["simulator"],
                seed=task["seed"],
                timeout=task["timeout"],
                cache=task["cache"] or "build/sim",
            )
        except VerificationError as error:
            raise shard.renumbered(error) from error
    return [{name: run[name] for name in ("outputs", "counters", "clipped")} for run in shard.own(played.runs)]
