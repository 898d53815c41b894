"""What the command line says of results: lines of text, nothing else."""

from collections.abc import Iterator

from ..machine.arrangement import OF_X
from ..model.budget import PLACES
from ..model.delta_search import Thresholds
from ..model.precision import Found
from ..model.quant_config import QuantConfig
from ..model.quant_layer import QuantPlain, QuantSkip
from ..plan.outcome import Outcome
from ..plan.schedules import SCHEDULES
from ..proof.cycles import STALLS, Cycles
from ..proof.response import bounds
from ..verify.simulate import Measured
from . import toml
from .api import Project
from .figures import pruning_of
from .sections import (
    BUDGET_COLUMNS,
    PRUNING,
    ZEROS,
    budget_rows,
    clipped_values,
    places_of,
    pruning_rows,
    worst_of,
)

BAR = 40
"""Characters of the longest bar of a histogram."""


def quantized(project: Project) -> Iterator[str]:
    """The number formats, and with labels what they say of the outputs."""
    qmodel = project.quantize()
    yield from project.format_choices
    if qmodel.input_exponents:
        scales = ", ".join(f"x[{n}] by 2^{e}" for n, e in enumerate(qmodel.input_exponents) if e)
        yield f"inputs of unlike range are multiplied before they are stored, and W_x divided: {scales}"
    if project.pruned is not None:
        pruning = pruning_of(project)
        yield "the model is pruned so, as it says:" if pruning["done"] else "pruned by magnitude:"
        yield from _aligned([tuple(column.removeprefix(">") for column in PRUNING[1]), *pruning_rows(pruning)])
        yield ZEROS
    for number, layer in enumerate(qmodel.layers):
        size = f"{_read(layer)}{layer.input_size} -> {layer.hidden_size}, W_x {layer.w_x_format}, "
        size += f"W_h {layer.w_h_format}, " if layer.w_h.size else ""
        if isinstance(layer, QuantPlain):
            yield f"layer {number}: plain {size}{_rows(layer)}{layer.activation}, h {layer.hidden}"
            continue
        yield (
            f"layer {number}: {layer.KIND.upper()}{' projected' * layer.projected} {size}"
            f"{_rows(layer)}pre-activations {layer.preact}, c {layer.cell}, h {layer.hidden}"
        )
    for name, layer in qmodel.named_linear.items():
        skip = f"x is added by {layer.skip_format}, " if isinstance(layer, QuantSkip) else ""
        activation = "" if layer.activation == "none" else f"{layer.activation}, "
        line = f"{name}: {_read(layer)}{layer.input_size} -> {layer.output_size}, W {layer.w_format}, {skip}"
        yield f"{line}{_rows(layer)}{activation}outputs {layer.output}"
    accuracy = project.accuracy() if project.data.x is not None else None
    if accuracy:
        judged, form = ("accuracy", ".2%") if project.metric.is_share else ("mean error against the labels", ".3g")
        yield (
            f"{judged} of {accuracy['sequences']} sequences: "
            + (f"before pruning {accuracy['unpruned']:{form}}, " if project.pruned is not None else "")
            + f"float {accuracy['float']:{form}}, integer {accuracy['integer']:{form}}"
        )
    yield from numbers(project)


def _read(layer):
    """What a layer reads, if it is not the vector below alone."""
    names = ["x" if source == OF_X else f"h of layer {source}" for source in layer.sources]
    return f"of {', '.join(names)}: " if names else ""


def _rows(layer):
    """Of the shifts of rows, if there are some."""
    shifts = layer.row_shift
    return f"rows up to {shifts.max()} fraction bits more, " if shifts.any() else ""


def numbers(project: Project) -> Iterator[str]:
    """What rounding did: errors against the float model, values clipped, weights lost."""
    found = project.numbers
    rows = [("", "largest error", "mean error", "sequence, step", "clipped")]
    rows.append(("inputs", "", "", "", f"{found['input']['clipped']:.3%}"))
    places = [
        (f"layer {label}", layer[place])
        for n, layer in enumerate(found["layers"])
        for label, place in places_of(n, layer)
    ]
    places += [(f"dense.{n}", layer) for n, layer in enumerate(found["dense"])]
    for label, place in (*places, ("outputs", found["output"])):
        rows.append((label, f"{place['max']:.3g}", f"{place['mean']:.3g}", worst_of(place), f"{place['clipped']:.3%}"))
    yield from _aligned(rows)
    zeroed = [
        f"{s:.2%} of {name} of layer {n}" for n, x in enumerate(found["layers"]) for name, s in x["zeroed"].items()
    ]
    zeroed += [f"{layer['zeroed']:.2%} of dense.{n}" for n, layer in enumerate(found["dense"])]
    zeroed += [f"{found['head']['zeroed']:.2%} of the head"] if found["head"] else []
    yield f"weights rounded to zero: {', '.join(zeroed)}"
    output = found["output"]
    yield (
        f"error of the outputs: {output['max']:.3g} at most (sequence {output['sequence']}, step {output['step']}), "
        f"{output['mean']:.3g} in the mean, where the float model's reach {output['peak']:.3g}"
    )
    yield from histogram(project)


def histogram(project: Project) -> Iterator[str]:
    """The errors of the outputs, a bar for each power of two of their last bit."""
    found = project.numbers["output"]["histogram"]
    yield "errors of the outputs, in units of their last bit:"
    most, edges = max(found["counts"]), found["edges"]
    rows = [
        (f"{low:g} to {high:g}", str(count), "#" * -(-BAR * count // most))
        for low, high, count in zip(edges, edges[1:], found["counts"], strict=False)
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for label, count, bar in rows:
        yield f"  {label.rjust(widths[0])}  {count.rjust(widths[1])}  {bar}".rstrip()


def traced(project: Project, budget: dict) -> Iterator[str]:
    """Where accuracy goes: errors of the outputs when only so much is rounded."""
    yield from numbers(project)
    yield ""
    yield f"error of the outputs of {budget['sequences']} sequences when only so much is rounded:"
    yield from _aligned([BUDGET_COLUMNS, *budget_rows(budget)])
    worst = max(budget["places"], key=lambda entry: entry["rms"])
    where = worst["layer"] if isinstance(worst["layer"], str) else f"layer {worst['layer']}"
    yield f"most is lost in {where}: {PLACES[worst['place']]}"


def precise(found: Found, accuracy: float | None, bound: float) -> Iterator[str]:
    """How few bits of each matrix would do, what that is worth, and the settings of it.

    Parameters
    ----------
    found : Found
        Of :meth:`Project.precision`.
    accuracy : float or None
        The bound where it is an accuracy.
    bound : float
        The bound.
    """
    rows = [("layer", "matrix", "weights", "bits")]
    for name, size in found.sizes.items():
        layer, _, matrix = name.rpartition(".")
        label = (f"layer {layer}", matrix.replace("w_", "W_")) if layer.isdecimal() else (name, "W")
        rows.append((*label, f"{size:,}", str(found.bits[name])))
    yield from _aligned(rows)
    yield (
        f"engine: {found.engine_bits}-bit weights. It stores all of them at the widest width, so narrower matrices "
        "save no memory; they tell where accuracy needs bits"
    )
    if accuracy is None:
        judged, form = "largest error of an output for the calibration set, of the float model's largest", ".3%"
    else:
        judged, form = "accuracy on the test inputs, whose labels this choice has seen", ".2%"
    yield (
        f"{judged}: {found.figure:{form}} where {bound:{form}} is the bound; "
        f"{found.uniform_figure:{form}} with {found.uniform} bits for all"
    )
    yield (
        f"weight bits in all: {found.total:,} by matrix, {1 - found.total / found.uniform_total:.1%} less than the "
        f"{found.uniform_total:,} of {found.uniform} bits for all, the narrowest width that meets the bound"
    )
    end = "no single bit more can go" if found.finished else "ended there: more bits may be able to go"
    yield f"{found.evaluations} models were measured; {end}"
    yield ""
    default, config = QuantConfig().to_dict(), found.config.to_dict()
    given = {name: value for name, value in config.items() if value != default[name] or name == "weight_bits"}
    yield from toml.dumps({"quantize": given}).splitlines()


def thresholds(found: Thresholds, loss: float | None, bound: float) -> Iterator[str]:
    """What thresholds do, and the section that sets them.

    Parameters
    ----------
    found : Thresholds
        Of :meth:`Project.thresholds`.
    loss : float or None
        The bound where it is a share of labels.
    bound : float
        The bound.
    """
    x, *h = (f"{share:.1%}" for share in found.activity)
    yield f"changes in a step: {x} of x, {', '.join(h)} of h; {found.products:.1%} of the products are left"
    if loss is None:
        judged, form = "largest error of an output for the calibration set, of the float model's largest", ".3%"
    else:
        judged, form = "accuracy on the test inputs, whose labels this choice has seen", ".2%"
    within = f"where {bound:{form}} is the bound" if loss is None else f"where {loss:{form}} may be lost"
    yield f"{judged}: {found.figure:{form}} {within}; {found.dense_figure:{form}} with thresholds of 0"
    yield ""
    yield from toml.dumps({"delta": {"x": found.x, "h": list(found.h)}}).strip().splitlines()


def planned(project: Project) -> Iterator[str]:
    """The engine, the memory and the schedule."""
    engine, memory, clock = project.engine, project.memory, project.clock_mhz
    yield (
        f"engine: {engine.rows} rows x {engine.contexts} contexts = {engine.lanes} lanes, "
        f"{engine.weight_bits}-bit weights, {engine.weight_words} weight words"
    )
    if 8 * engine.word_bytes > engine.word_bits:
        yield f"a weight word of {engine.word_bits} bits takes {8 * engine.word_bytes} bits of memory, in whole beats"
    rate = engine.axi_ports * engine.beat_bytes * clock / memory.interval / 1000
    yield f"memory: {memory.latency} cycles of latency, {rate:.2f} GB/s at {clock:g} MHz"
    yield f"schedule: {project.choice.reason}"


def estimated(project: Project, cycles: Cycles) -> Iterator[str]:
    """The plan, and what a run of it takes."""
    yield from planned(project)
    clock = project.clock_mhz
    repeats = project.plan.network.repeats
    of_x = f" of x, {repeats} behind the last" * (repeats > 0)
    yield (
        f"run of {cycles.steps} steps{of_x}: {cycles.run['cycles']} cycles, {cycles.per_step:.1f} a step, "
        f"{cycles.per_further_step:.1f} a further step ({_time(cycles.per_further_step, clock)} at {clock:g} MHz)"
    )
    found, slow = bounds(project.response), "where x comes slower than steps are done"
    reads_end, waits = project.qmodel.arrangement.from_end, project.plan.network.waits
    if reads_end or waits:
        why = "x is read from the end" if reads_end else "a layer waits for all steps"
        slow = f"from the last x of a sequence to its last output, as {why}"
    yield (
        f"latency from x to y: {found['least']} to {found['most']} cycles, {_time(found['most'], clock)} at the most, "
        f"{slow}"
    )
    yield (
        f"lanes: {cycles.run['busy']} cycles busy, {', '.join(f'{cycles.run[n]} {n}' for n in STALLS)}, "
        f"{cycles.run['empty']} empty; busy {cycles.lanes_busy:.1%} of the time, "
        f"{cycles.products_per_lane_cycle:.3f} products of the model a lane and cycle"
    )
    yield (
        f"load: {cycles.load['cycles']} cycles, {cycles.load['read_beats']} beats of {project.engine.beat_bytes} bytes"
    )


def simulated(measured: Measured) -> Iterator[str]:
    """What the Verilog did."""
    yield f"{measured.simulator}: {len(measured.outputs)} sequences, every output bit as in the integer reference"
    yield (
        "counters of every run as in the interpreter"
        if measured.cycles_equal
        else "counters not compared, since streams or memory were held back"
    )
    if measured.clipped is not None:
        yield f"values clipped in all runs, as many as in the integer reference: {clipped_values(measured.clipped)}"
    yield f"{measured.cycles_simulated} cycles in {measured.seconds:.1f} s"


COLUMNS = (
    "schedule",
    "lanes",
    "cycles a step",
    "time a step",
    "bytes a step",
    "GB/s",
    "image",
    "lanes busy",
    "products a cycle",
)


def compared(project: Project) -> Iterator[str]:
    """All schedules side by side: a table, what each does, which were left out and why, and the one to take."""
    choice = project.choice
    rows = [COLUMNS, *(_row(o, choice.steps, project.clock_mhz) for o in choice.tried if o.counters)]
    yield from _aligned(rows)
    yield ""
    for name in dict.fromkeys(o.name for o in choice.tried if o.counters):
        yield f"{name}: {SCHEDULES[name].doc}"
    left_out = dict.fromkeys(_left_out(o) for o in choice.tried if not o.counters)
    if left_out:
        yield ""
        yield "not timed:"
        yield from left_out
    network = choice.outcome.plan.network
    refused = {name: kind.planner.refuses(network) for name, kind in SCHEDULES.items()}
    for reason in dict.fromkeys(filter(None, refused.values())):
        names = [name for name, found in refused.items() if found == reason]
        yield f"not for a model {reason}: {', '.join(names)}"
    yield ""
    yield choice.reason


def _left_out(outcome):
    """Why a schedule was not timed; one may be planned for several engines."""
    engine = f" on {outcome.plan.config.lanes} lanes" if outcome.plan else ""
    return f"  {outcome.label}{engine}: {outcome.refused}"


def _aligned(rows):
    """Rows of a table as lines: the first column is of text, the others are of numbers."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        yield "  ".join(cells)


def _row(outcome: Outcome, steps: int, clock: float) -> tuple[str, ...]:
    plan = outcome.plan
    per_step, read = outcome.cycles / steps, outcome.read_bytes / steps
    return (
        outcome.label,
        str(plan.config.lanes),
        f"{per_step:.1f}",
        _time(per_step, clock),
        f"{read:.0f}",
        f"{read / per_step * clock / 1000:.3f}",
        _bytes(plan.image.bytes(plan.config)),
        f"{outcome.busy:.1%}",
        f"{outcome.products_per_cycle:.1f}",
    )


def _time(cycles, clock):
    microseconds = cycles / clock
    return f"{microseconds:.2f} us" if microseconds < 1000 else f"{microseconds / 1000:.3f} ms"


def _bytes(count):
    return f"{count / 1024:.1f} KiB" if count < 1 << 20 else f"{count / (1 << 20):.2f} MiB"
