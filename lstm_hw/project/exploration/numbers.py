"""The model of a project in other number formats, and what each of them costs."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError, FormatError, VerificationError
from ...explore.evaluate import numbers_from_json, numbers_to_json
from ...explore.search import Run
from ...explore.space import KNOBS, Numbers
from ...plan.sizing import counting, engine_formats, network_of, stored_weight_bits
from .tasks import read_project, task_of
from .wanted import Choice

if TYPE_CHECKING:
    from ..api import Project

FREED = (
    *KNOBS,
    *("parallel", "split", "axi_ports", "x_per_beat", "accumulator_bits", "block_sums"),
    *("h_elements", "x_elements", "accumulators", "finish_entries", "states", "program_length", "shifts", "lifts"),
    *(
        "weight_bits",
        "operand_bits",
        "preact",
        "cell",
        "activated",
        "hidden",
        "preact_shifts",
        "h_shifts",
        "c_shifts",
        "row_bits",
        "lists",
    ),
)
"""Keys of [engine] that are not taken from the configuration, but explored or derived."""


def with_numbers(project: "Project", choice: Choice) -> "Project":
    """The project with so many bits of weights and operands, and what else is chosen, its engine not chosen yet.

    Raises
    ------
    ConfigError
        The pattern takes no such sparsity; thresholds do not go with what else is configured.
    """
    from ..api import Project

    quantize = project.config.quantize
    changes = {"weight_bits": choice.weight_bits, "operand_bits": choice.operand_bits}
    if quantize.weight_bits != choice.weight_bits:
        changes["matrix_bits"] = None
    if choice.activation is not None:
        changes["activation"] = choice.activation
    engine = {name: value for name, value in project.config.engine.items() if name not in FREED}
    config = replace(
        project.config,
        prune=choice.prunes(project.config.prune),
        delta=choice.passes_on(project.config.delta),
        quantize=replace(quantize, **changes),
        engine=MappingProxyType(engine),
    )
    made = Project(config, project.trained, project.data, project.progress)
    made.metric = project.metric
    return made


def numbers_of(project: "Project", label: str) -> Numbers:
    """The model in the numbers of a project, with what they cost: by the integer reference, for the test inputs.

    Parameters
    ----------
    project : Project
        Of :func:`with_numbers`.
    label : str

    Raises
    ------
    ConfigError, FormatError
        The model cannot have them.
    """
    stored = stored_weight_bits(project.qmodel)
    given = dict(project.config.engine)
    return Numbers(
        label,
        network_of(project.qmodel, stored, project.activity),
        {**engine_formats(project.qmodel), **counting(project._steps(), given), "weight_bits": stored, **given},
        cost_of_numbers(project),
    )


def cost_of_numbers(project: "Project") -> dict[str, float]:
    """``error`` and, with labels that are right or wrong, ``accuracy`` of a project's numbers."""
    output = project.numbers["output"]
    figures = {"error": output["max"] / output["peak"] if output["peak"] else 0.0}
    if project.metric is not None and project.metric.is_share:
        figures["accuracy"] = project.accuracy()["integer"]
    return figures


def too_far(project: "Project") -> str | None:
    """By how much outputs are further off than ``quantize.max_error``, or what stands for it, allows; None if not."""
    try:
        project.check_error()
    except VerificationError as error:
        return f"{error.found}, beyond quantize.max_error = {project.config.quantize.error_bound:g} of that"
    return None


def measured(task: dict[str, Any]) -> dict[str, Any]:
    """A model in other numbers as a task, see :func:`.tasks.task_of`: as :func:`_numbers` says."""
    return _numbers(read_project(task), Choice(**task["choice"]))


def _numbers(project, choice):
    """The numbers, JSON-able, and ``too_far``, or why the model has none."""
    try:
        made = with_numbers(project, choice)
        return numbers_to_json(numbers_of(made, choice.label)) | {"too_far": too_far(made)}
    except (ConfigError, FormatError) as error:
        return {"refused": " ".join(str(error).split())}


def numbers_tried(project: "Project", choices: Sequence[Choice], run: Run) -> list[tuple[Numbers | None, str | None]]:
    """Numbers of each choice, with what :func:`too_far` says of them; or None, and why the model cannot have it."""
    if project.is_of_files:
        about = task_of(project)
        results = run(measured, [{**about, "choice": asdict(choice)} for choice in choices], label="numbers")
    else:
        results = []
        with project.progress("numbers") as progress:
            for choice in choices:
                results.append(_numbers(project, choice))
                if progress:
                    progress(len(results), len(choices))
    return [(None, one["refused"]) if "refused" in one else (numbers_from_json(one), one["too_far"]) for one in results]
