"""The whole flow: a list of named steps, each of which leaves something in the project's folder."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

from ..campaign import check_workers
from ..verilog.synthesis import Synthesis
from .api import Project
from .report import Report


@dataclass
class Context:
    """What the steps of one flow share.

    Parameters
    ----------
    project : Project
    simulator : str or None
        Instead of the configuration's.
    images : int or None
        Test sequences to simulate, instead of the configuration's number.
    force : bool
        Simulate even what has not changed since the last time.
    jobs : int
    cluster : str or None
        Workers that simulate, see :meth:`.api.Project.simulate`.
    """

    project: Project
    simulator: str | None = None
    images: int | None = None
    force: bool = False
    jobs: int = 1
    cluster: str | None = None
    background: ExitStack = field(default_factory=ExitStack)
    synthesis: Synthesis | None = None
    report: Report | None = None


@dataclass(frozen=True)
class Step:
    """A step of the flow.

    Parameters
    ----------
    name : str
        The command line's verb.
    doc : str
        What it does, for people.
    artefacts : tuple of str
        What it leaves in the project's folder.
    action : callable
        Does it, on a Context.
    """

    name: str
    doc: str
    artefacts: tuple[str, ...]
    action: Callable[[Context], object]


def _quantize(context):
    project = context.project
    _ = project.engine  # what is wrong is told before anything is written
    context.background.enter_context(project.locked())
    project.write_settings()


def _generate(context):
    context.project.generate()
    if context.project.config.report.synthesis:
        # Yosys takes longer than the simulation: it goes on beside it.
        context.synthesis = context.background.enter_context(context.project.synthesis())


def _simulate(context):
    workers = {"jobs": context.jobs, "cluster": context.cluster}
    context.project.simulate(context.images, context.simulator, force=context.force, **workers)


def _report(context):
    context.report = context.project.report(context.synthesis.result() if context.synthesis else None)


STEPS = (
    Step(
        "quantize",
        "choose number formats and round the weights",
        ("quantized.safetensors", "resolved.toml"),
        _quantize,
    ),
    Step(
        "estimate",
        "plan, check the plan and count cycles",
        ("estimate.json",),
        lambda context: context.project.write_estimate(),
    ),
    Step(
        "generate",
        "emit the Verilog, the register map, the program, the weights and the firmware image",
        ("hardware/",),
        _generate,
    ),
    Step(
        "simulate",
        "compare every bit and cycle of the Verilog with the references",
        ("simulation/",),
        _simulate,
    ),
    Step("report", "count resources and write the report", ("report/",), _report),
)


def run(
    project: Project,
    on_step: Callable[[Step], None] | None = None,
    simulator: str | None = None,
    images: int | None = None,
    force: bool = False,
    jobs: int = 1,
    cluster: str | None = None,
) -> Report:
    """Run all steps.

    Parameters
    ----------
    project : Project
    on_step : callable, optional
        Called as ``on_step(step)`` before each.
    simulator : {"verilator", "icarus"}, optional
    images : int, optional
        Test sequences to simulate.
    force : bool
        Simulate even what has not changed since the last time.
    jobs : int
    cluster : str, optional
        Workers that simulate, see :meth:`.api.Project.simulate`.

    Returns
    -------
    Report

    Raises
    ------
    LstmHwError
        A step failed; nothing of it is left half written.
    """
    check_workers(jobs, cluster)
    context = Context(project, simulator, images, force, jobs, cluster)
    with context.background:
        for step in STEPS:
            if on_step:
                on_step(step)
            step.action(context)
    return context.report
