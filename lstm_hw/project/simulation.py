"""The simulation of a project: made once, and read back while everything that it follows from is the same."""

import shutil
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from ..campaign import check_workers
from ..errors import InputError, ToolError
from ..files import whole_folder, write_json
from ..host.image import FIRMWARE
from ..machine.ports import TOPLEVEL
from ..process import sibling
from ..provenance import changed, file_digest, seal
from ..reading import read_json
from ..verify.scenario import Stress
from ..verify.simulate import Measured, expect
from .shards import simulate_in_shards, whole

if TYPE_CHECKING:
    from .api import Project

RESULTS = "results.json"
MAX_RESULTS_BYTES = 1 << 24
"""Largest file of a simulation's results that is read back: a million outputs; what is larger is simulated again."""


def simulate(
    project: "Project", asked: dict[str, Any], force: bool, jobs: int = 1, cluster: str | None = None
) -> Measured:
    """Simulate, or take what is kept; see :meth:`.api.Project.simulate`. The project's folder is locked.

    Parameters
    ----------
    project : Project
    asked : dict
        ``sequences``, ``simulator``, ``seed``, ``stress`` (as a dict) and ``waves``.
    force : bool
        Simulate in any case.
    jobs : int
    cluster : str, optional
        Workers, as for :func:`lstm_hw.campaign.run_tasks`.
    """
    check_workers(jobs, cluster)
    folder, _ = project.folder / "simulation", project.verilog  # emitted before anything is looked at
    kept, _ = (None, None) if force else last(project, asked)
    if kept:
        project.note(f"simulation: unchanged since {_written(folder / RESULTS)}, kept")
        return kept
    x, sources = project.qmodel.quantize_input(project.x[: asked["sequences"]]), _sources(project, asked)
    reason = None if jobs == 1 and cluster is None else whole(project, asked)
    if reason:
        project.note(f"simulation: in one piece, since {reason}")
    if reason or jobs == 1 and cluster is None:
        return _simulate_whole(project, asked, x, sources)
    measured = simulate_in_shards(project, asked, x, jobs, cluster, force)
    with whole_folder(folder) as new:
        _write(new, asked, measured, sources)
    return measured


def _simulate_whole(project, asked, x, sources):
    """In one run of the simulator, which stays in the folder."""
    sibling("sim")
    from sim.play import play

    folder, section = project.folder / "simulation", project.config.simulate
    with project.progress("interpret") as progress:
        held = Stress(**asked["stress"])
        expected = expect(project.plan, project.words, project.qmodel, x, held, project.memory, progress)
    with project.progress("simulate") as progress, whole_folder(folder) as new:
        played = play(
            expected.scenario,
            project.verilog,
            new,
            simulator=asked["simulator"],
            seed=asked["seed"],
            waves=asked["waves"],
            timeout=section.timeout,
            cache=section.cache,
            progress=progress,
        )
        waves = played.waves and f"waves{played.waves.suffix}"
        if waves:
            shutil.move(played.waves, new / waves)
        measured = Measured.of(
            expected, played.simulator, played.runs, played.seconds, folder / waves if waves else None
        )
        _write(new, asked, measured, sources)
    return measured


def _write(new, asked, measured, sources):
    write_json(new / RESULTS, {"asked": asked, **measured.to_dict()})
    seal(new, sources)


def last(project: "Project", asked: dict[str, Any] | None = None) -> tuple[Measured | None, str | None]:
    """The kept simulation, of what is asked if anything is, or None; and why there is none."""
    folder, hardware = project.folder / "simulation", project.folder / "hardware"
    if not (folder / RESULTS).exists():
        return None, "Not simulated yet."
    try:
        kept = read_json(folder / RESULTS, most=MAX_RESULTS_BYTES)
        then, measured = kept.get("asked"), Measured.from_dict(kept, folder / RESULTS)
        if asked and isinstance(then, dict) and {**asked, "waves": asked["waves"] or then.get("waves")} != then:
            return None, "Another simulation was asked for."
        # The firmware image holds test vectors: other test inputs make another one, but no other Verilog.
        known = "verilog" in vars(project)
        differs = None if known else changed(hardware, project.hardware_sources, besides=[FIRMWARE])
        if differs is None:
            project.verilog = hardware / f"{TOPLEVEL}.v"
            differs = changed(folder, _sources(project, then))
    except (KeyError, TypeError):
        differs = RESULTS
    except (InputError, ToolError) as error:
        differs = error.subject
    if differs is not None:
        return (
            None,
            f"Not simulated: {differs} changed since the last simulation, which does not count any more.",
        )
    return replace(measured, waves=next(folder.glob("waves.*"), None)), None


def _sources(project, asked):
    """What a simulation follows from, by name; ``asked`` is what results.json says of it."""
    sibling("sim")
    from sim.runner import tool_versions

    return {
        "test inputs": project.qmodel.quantize_input(project.x[: asked["sequences"]]),
        "model": project.qmodel.digest(),
        **project.hardware_sources,
        "Verilog": file_digest(project.verilog),
        "asked": asked,
        "memory": asdict(project.memory),
        "tools": tool_versions(asked["simulator"]),
    }


def _written(path):
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(path.stat().st_mtime))
