"""What a report's pages say: sections of sentences, tables and drawings, made of the figures alone."""

from collections.abc import Callable
from dataclasses import dataclass, field

from ..machine.limits import CELL_SUMS
from ..machine.registers import CLIPPED_PLACES
from ..model.budget import PLACES
from ..proof.cycles import STALLS
from .score import METRICS

MARK = "†"
"""Behind the unit of what rests on a clock that was not measured."""
_RESOURCES = (
    ("dsp", "DSP", "blocks"),
    ("bram36", "BRAM36", "blocks of 36 Kb"),
    ("lut", "LUT as logic", "LUTs"),
    ("lutram", "LUT as memory", "LUTs"),
    ("ff", "FF", "flip-flops"),
)


@dataclass(frozen=True)
class Bar:
    """A share of what there is, as a bar."""

    taken: float
    there: float

    @property
    def share(self) -> float:
        return self.taken / self.there if self.there else float(bool(self.taken))

    @property
    def percent(self) -> str:
        return f"{min(100, 100 * self.share):.2f}"

    def __str__(self):
        return f"{100 * self.share:.1f} %"


@dataclass(frozen=True)
class Table:
    """A table.

    Parameters
    ----------
    caption : str
    columns : tuple of str
        Headers; those of numbers begin with ``>``.
    rows : list of tuple
        Texts or Bars; the first is the row's header.
    folded : bool
        Long, and of interest to few: shown on demand.
    """

    caption: str
    columns: tuple[str, ...]
    rows: list[tuple]
    folded: bool = False

    @property
    def headers(self) -> list[tuple[str, bool]]:
        """Header and whether it is one of numbers."""
        return [(column.removeprefix(">"), column.startswith(">")) for column in self.columns]


@dataclass(frozen=True)
class Section:
    """A section of a page: a title, sentences, tables, names of drawings."""

    title: str
    text: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    drawings: tuple[str, ...] = field(default=())

    @property
    def anchor(self) -> str:
        return self.title.lower().replace(" ", "-").replace(",", "")


def headline(figures: dict) -> list[tuple[str, str, str, str]]:
    """The table of a run: tuples of figure, unit, estimate and measurement; an empty text where there is none."""
    accuracy, resources = figures["accuracy"], figures["resources"]
    estimated, measured = figures["cycles"]["estimated"], figures["cycles"]["measured"]
    rows = []
    if accuracy:
        judged, unit, form = scale_of(accuracy)
        judges = [("float", "float model"), ("integer", "integer reference")]
        if accuracy["unpruned"] is not None:
            judges = [("unpruned", "float model before pruning"), ("float", "float model, pruned"), judges[1]]
        rows += [
            (f"{judged}, {label} ({accuracy['sequences']} sequences)", unit, "", form(accuracy[name]))
            for name, label in judges
        ]
        if accuracy["verilog"] is not None:
            rows.append(
                (
                    f"{judged}, Verilog ({accuracy['simulated']} sequences; estimate: integer reference)",
                    unit,
                    form(accuracy["integer_simulated"]),
                    form(accuracy["verilog"]),
                )
            )

    numbers = figures["numbers"]
    relative = "" if numbers["relative_error"] is None else _percent(numbers["relative_error"])
    beyond = numbers["relative_error"] is not None and numbers["relative_error"] > numbers["bound"]
    mark = "" if not beyond else ", labels agree" if numbers["within_bound"] else " TOO LARGE"
    rows.append((f"largest output error (bound {100 * numbers['bound']:g} %)", "% of peak", "", f"{relative}{mark}"))

    def cycles(label, unit, value):
        rows.append((label, unit, value(estimated), value(measured) if measured else ""))

    cycles(f"run of {estimated['steps']} steps", "cycles", lambda c: str(c["run"]["cycles"]))
    cycles("step", "cycles", lambda c: f"{c['per_step']:.1f}")
    cycles("further step", "cycles", lambda c: _number(c["per_further_step"], ".1f"))
    rows.append(("latency from x to y", "cycles", f"{figures['x_to_y']['most']}", ""))
    cycles("stalls between steps", "cycles a step", lambda c: _number(c["interstep_stalls"], ".1f"))
    cycles("lanes busy", "%", lambda c: _percent(c["lanes_busy"]))
    cycles("products of the model", "a lane and cycle", lambda c: _number(c["products_per_lane_cycle"], ".4f"))
    for name in ("busy", *STALLS, "empty"):
        cycles(f"run: {name.replace('_', ', ')}", "cycles", lambda c, name=name: str(c["run"][name]))
    cycles("load", "beats", lambda c: str(c["load"]["read_beats"]))
    ours, found = resources["estimated"], resources["synthesised"]
    rows += [
        (label, unit, f"{ours[key]:g}", f"{found[key]:g}" if found else "")
        for key, label, unit in (
            ("dsp", "DSP", "blocks"),
            ("bram36", "BRAM", "blocks of 36 Kb"),
            ("lut", "LUT as logic", "LUTs"),
            ("lutram", "LUT as memory", "LUTs"),
            ("ff", "FF", "flip-flops"),
        )
    ]
    if found:
        rows.append(("longest path", "LUTs", "", str(found["lut_levels"])))
    return rows


def scale_of(accuracy: dict) -> tuple[str, str, Callable[[float], str]]:
    """What the scores of a report are: their name, their unit and the function that writes one."""
    if accuracy["metric"] == "error":
        return "mean error", "of an output", lambda error: f"{error:.3g}"
    return "accuracy", "%", _percent


def agreement(figures: dict) -> str:
    """What was found equal, in one sentence."""
    if not figures["simulation"]:
        return figures["agreement"]["missing"]
    simulation, equal = figures["simulation"], figures["agreement"]
    sentence = (
        f"Integer reference, interpreter and Verilog ({simulation['simulator']}) agree in every output bit "
        f"of {simulation['sequences']} sequence{'s' * (simulation['sequences'] > 1)}"
    )
    if not equal["cycles"]:
        sentence += "; cycles were not compared, since streams or memory were held back."
    elif figures["activity"] is None:
        sentence += ", and estimated and measured counters in every run."
    else:
        sentence += (
            ", and the counters of interpreter and Verilog in every run. The estimate is for shares of x and h that "
            "are taken to count, and not for these very sequences."
        )
    if simulation["clipped"] is not None:
        sentence += f" Reference and Verilog clipped as many values: {clipped_values(simulation['clipped'])}."
    return sentence


def clipped_values(clipped: dict[str, int]) -> str:
    """Counts of values beyond their format, as a list of places."""
    return ", ".join(f"{count:,} {CLIPPED_PLACES[place]}" for place, count in clipped.items())


def clock(figures: dict) -> str:
    """The clock and what it rests on, with the time that a run takes, in one sentence."""
    performance = figures["performance"]["measured"] or figures["performance"]["estimated"]
    run, rate = performance["run_us"], performance["sequences_per_second"]
    where = f"{figures['clock']['mhz']:g} MHz ({figures['clock']['basis']})"
    return f"At {where} a run takes {run:,.2f} µs: {rate:,.0f} sequences a second."


def sections(figures: dict) -> list[Section]:
    """The sections of a page."""
    made = [_summary(figures), _time(figures), _resources(figures), _schedule(figures), _traffic(figures)]
    return [*made, _errors(figures), _model(figures), _hardware(figures), _tools(figures)]


def _percent(share):
    return f"{100 * share:.2f}"


def _number(value, form):
    return "" if value is None else format(value, form)


def _counted(count, thing):
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def _pairs(estimated, measured, rows):
    """Rows of estimate and measurement from (label, unit, function of either)."""
    return [(label, unit, value(estimated), value(measured) if measured else "") for label, unit, value in rows]


_BOTH = ("figure", "unit", ">estimate", ">measured")


def _summary(figures):
    accuracy, text = figures["accuracy"], ()
    if accuracy:
        text = (f"Labels judge the outputs by the metric {accuracy['metric']}: {METRICS[accuracy['metric']]}.",)
    return Section("Figures", text, (Table("Accuracy, cycles and resources", _BOTH, headline(figures)),))


def _time(figures):
    rate = figures["clock"]
    mark = "" if rate["measured"] else f" {MARK}"
    rows = _pairs(
        figures["performance"]["estimated"],
        figures["performance"]["measured"],
        [
            ("latency of a run", f"µs{mark}", lambda p: f"{p['run_us']:,.2f}"),
            ("a step", f"µs{mark}", lambda p: f"{p['step_us']:,.3f}"),
            ("a further step", f"µs{mark}", lambda p: _number(p["further_step_us"], ",.3f")),
            ("loading the weights", f"µs{mark}", lambda p: f"{p['load_us']:,.2f}"),
            ("sequences in a run", "sequences", lambda p: f"{p['sequences_per_run']:,}"),
            ("throughput, sequences", f"1/s{mark}", lambda p: f"{p['sequences_per_second']:,.0f}"),
            ("throughput, steps", f"1/s{mark}", lambda p: f"{p['steps_per_second']:,.0f}"),
            ("throughput, operations", f"GOPS{mark}", lambda p: f"{p['gops']:,.3f}"),
        ],
    )
    rows.insert(3, ("latency from x to y", f"µs{mark}", f"{figures['x_to_y']['most_us']:,.2f}", ""))
    text = [
        f"The clock is {rate['mhz']:g} MHz, {rate['basis']}. A multiply-accumulate is two operations; all of "
        "the model's count, also those by pruned weights, or by elements of x and h that are left out."
    ]
    if not rate["measured"]:
        text.append(f"{MARK} Rests on a clock that was not measured: the column says where the cycles come from.")
    if figures["assumed"]:
        text.append(f"In the estimate {figures['assumed']}.")
    return Section("Clock and time", tuple(text), (Table("Latency and throughput", _BOTH, rows),))


def _resources(figures):
    estimated, found, target = figures["resources"]["estimated"], figures["resources"]["synthesised"], figures["target"]
    rows = []
    for key, label, unit in _RESOURCES:
        row = (label, unit, f"{estimated[key]:g}", f"{found[key]:g}" if found else "")
        if target:
            part = target["resources"]["LUT" if key == "lut" else label]
            row += (f"{part['there']:g}", Bar(part["taken"], part["there"]))
        rows.append(row)
    columns = ("resource", "unit", ">estimate", ">synthesised")
    text = []
    if target:
        columns += (">part holds", "taken")
        fits = "The design fits" if target["fits"] else "The design does not fit"
        text.append(f"{fits} the {target['part']} ({target['source']}).")
        text.append(
            f"Shares are of the {'synthesised' if found else 'estimated'} counts; LUTs as memory are LUTs of the part, "
            "and count in both rows."
        )
    else:
        text.append("No part is given: counts only.")
    text.append(
        f"Counted by {found['tool']} for {found['family']}, before place and route. The longest path between registers "
        f"has {found['lut_levels']} LUTs."
        if found
        else "Not synthesised: the counts are estimates."
    )
    tables = [Table("Resources", columns, rows)]
    components = found.get("components") if found else None
    if components:
        tables.append(
            Table(
                "Resources of each component (blocks, LUTs, flip-flops)",
                ("component", *(f">{label}" for _, label, _ in _RESOURCES)),
                [(part["name"], *(f"{part[key]:g}" for key, _, _ in _RESOURCES)) for part in components],
            )
        )
        text.append("Components are synthesised one by one, and so take more together than the design as a whole.")
    return Section("Part and resources", tuple(text), tuple(tables))


def _schedule(figures):
    schedule = figures["schedule"]
    count, sequences = schedule["instructions"], _counted(schedule["sequences"], "sequence")
    text = [f"{schedule['name']}: {count} instructions, {sequences} in a run."]
    if schedule["reason"]:
        text.append(f"Chosen by the exact model: {schedule['reason']}.")
    rows = [
        (
            f"{number} {layer['kind']}",
            f"{layer['inputs']} -> {layer['outputs']}",
            f"{layer['parameters']:,}",
            f"{layer['vectors']:,}",
            f"{layer['operations']:,}",
            f"{layer['lane_cycles']:,}",
            _number(layer["products_per_lane_cycle"], ".3f"),
        )
        for number, layer in enumerate(figures["layers"])
    ]
    columns = (
        "layer",
        "size",
        ">parameters",
        ">vectors",
        ">operations",
        ">cycles of the lanes",
        ">products a lane and cycle",
    )
    memory = schedule["choice"]["memory"]
    text.append(
        f"The memory answers after {_counted(memory['latency'], 'cycle')}, with a beat of a port every "
        f"{_counted(memory['interval'], 'cycle')}."
    )
    tables = [Table("Work of each layer in a run (estimate)", columns, rows)]
    tried = schedule["choice"]["tried"]
    if len(tried) > 1:
        tables.append(_tried(tried, schedule["choice"]["steps"]))
    return Section("Schedule and layers", tuple(text), tuple(tables), ("run", "step"))


def _tried(tried, steps):
    rows = [
        (
            outcome["schedule"],
            *(
                ("", "", "", outcome["refused"])
                if "refused" in outcome
                else (
                    f"{outcome['lanes']:,}",
                    f"{outcome['cycles'] / steps:,.1f}",
                    f"{outcome['read_bytes'] / steps:,.0f}",
                    "",
                )
            ),
        )
        for outcome in tried
    ]
    columns = ("schedule", ">lanes", ">cycles a step", ">bytes a step", "why not")
    return Table(f"Schedules that were tried, for {_counted(steps, 'step')} (estimate)", columns, rows, folded=True)


def _traffic(figures):
    mark = "" if figures["clock"]["measured"] else f" {MARK}"
    rows = _pairs(
        figures["performance"]["estimated"],
        figures["performance"]["measured"],
        [
            ("read when the weights are loaded", "bytes", lambda p: f"{p['load_bytes']:,}"),
            ("read in a run", "bytes", lambda p: f"{p['run_bytes']:,}"),
            ("read a step", "bytes", lambda p: f"{p['bytes_per_step']:,.1f}"),
            ("read in a run", f"GB/s{mark}", lambda p: f"{p['gbytes_per_s']:,.3f}"),
        ],
    )
    memory = figures["memory"]
    sizes = [
        ("weight image", "bytes", f"{memory['image_bytes']:,}"),
        ("weight word", "bytes", f"{memory['word_bytes']:,}"),
        ("weight buffer on chip", "bytes", f"{memory['buffer_bytes']:,}"),
        ("weight ports together, at most", f"GB/s{mark}", f"{memory['port_gbytes_per_s']:,.3f}"),
    ]
    return Section(
        "Weight traffic",
        ("GB are 10^9 bytes.",),
        (Table("Weights read from memory", _BOTH, rows), Table("Sizes", ("figure", "unit", ">value"), sizes)),
    )


def _errors(figures):
    numbers, keys = figures["numbers"], ("max", "mean", "rms")
    output = numbers["output"]
    worst = [
        ("largest output of the float model", f"{output['peak']:.3g}"),
        ("sequence with the largest error", str(output["sequence"])),
        ("step with the largest error", str(output["step"])),
    ]
    places = [
        (label, layer[place]) for n, layer in enumerate(numbers["layers"]) for label, place in places_of(n, layer)
    ]
    places += [(f"dense.{n}", layer) for n, layer in enumerate(numbers["dense"])]
    rounded = [
        ("inputs", "", "", "", "", f"{numbers['input']['clipped']:.3%}"),
        *(
            (name, *(f"{values[key]:.3g}" for key in keys), worst_of(values), f"{values['clipped']:.3%}")
            for name, values in (*places, ("outputs", output))
        ),
    ]
    zeroed = [
        (f"{n} {name}", f"{share:.3%}")
        for n, layer in enumerate(numbers["layers"])
        for name, share in layer["zeroed"].items()
    ]
    zeroed += [(f"dense.{n}", f"{layer['zeroed']:.3%}") for n, layer in enumerate(numbers["dense"])]
    zeroed += [("head", f"{numbers['head']['zeroed']:.3%}")] if numbers["head"] else []
    where = f"{numbers['sequences']} {numbers['inputs']} sequences and all steps"
    text = f"Integer reference against the float model, over {where}."
    return Section(
        "Error of quantisation",
        (text,),
        (
            Table(
                "Where values are rounded: error, in units of the value, and values beyond their format",
                ("layer and place", ">largest error", ">mean error", ">RMS error", ">sequence, step", ">clipped"),
                rounded,
            ),
            Table(
                "Where accuracy goes: error of the outputs when only so much is rounded",
                (BUDGET_COLUMNS[0], *(f">{column}" for column in BUDGET_COLUMNS[1:])),
                budget_rows(figures["budget"]),
            ),
            Table("Where outputs are worst", ("figure", ">value"), worst),
            Table("Weights that became 0", ("layer and matrix", ">share"), zeroed),
        ),
        ("error", "budget", "histogram", "accuracy"),
    )


BUDGET_COLUMNS = ("rounded", "largest error", "mean error", "RMS error", "dB")


def budget_rows(budget: dict) -> list[tuple[str, ...]]:
    """Rows of the error budget, under ``BUDGET_COLUMNS``: places by layer, layers, places in all layers, everything."""

    def row(label, found):
        ratio = "" if found["ratio_db"] is None else f"{found['ratio_db']:.1f}"
        return (label, *(f"{found[key]:.3g}" for key in ("max", "mean", "rms")), ratio)

    def layer(entry):
        return entry["layer"] if isinstance(entry["layer"], str) else f"layer {entry['layer']}"

    names = [entry["place"] for entry in budget["places"]]
    shared = [entry for entry in budget["by_place"] if names.count(entry["place"]) > 1]
    return [
        *(row(f"{layer(entry)}: {PLACES[entry['place']]}", entry) for entry in budget["places"]),
        *(row(f"{layer(entry)}: all", entry) for entry in budget["together"]),
        *(row(f"everywhere: {PLACES[entry['place']]}", entry) for entry in shared),
        row("everything", budget["all"]),
    ]


def places_of(number: int, layer: dict) -> list[tuple[str, str]]:
    """Label and key of each place of a layer whose numbers are told: pre-activations in all and by sum, c and h; of a
    plain layer h."""
    sums = next((names for names in CELL_SUMS.values() if names[0] in layer), None)
    if sums is None:
        return [(f"{number} h", "h")]
    return [
        (f"{number} pre", "pre"),
        *((f"{number} pre of {gate}", gate) for gate in sums),
        (f"{number} c", "c"),
        (f"{number} h", "h"),
    ]


def worst_of(found: dict) -> str:
    """Sequence and step of the largest error."""
    return f"{found['sequence']}, {found['step']}"


def _model(figures):
    model = figures["model"]
    rows = [
        (
            f"{n} {layer['kind']}",
            str(layer["inputs"]),
            str(layer["outputs"]),
            ", ".join(layer["weights"]),
            layer["preact"],
            layer["cell"],
            layer["result"],
        )
        for n, layer in enumerate(model["layers"])
    ]
    columns = ("layer", ">inputs", ">outputs", "weights", "pre-activations", "c", "result")
    unit = figures["engine"]["activation"]
    text = f"Inputs are {model['input']}, outputs {model['output']}; the activation unit is {unit}."
    assumed = [f"Assumed: {assumption}." for assumption in model["assumptions"]]
    tables = [Table("Layers and number formats", columns, rows)]
    pruning = figures["pruning"]
    if pruning:
        tables.append(Table(*PRUNING, pruning_rows(pruning)))
        assumed.append(ZEROS)
    return Section("Model", (text, *assumed), tuple(tables))


PRUNING = (
    "Pruned matrices: weights that need no storage, and stored weights that are 0",
    ("matrix", "pattern", ">weights", ">asked", ">reached", ">zeros"),
)
"""Caption and columns."""
ZEROS = (
    "The schedules gather, gather_sbe and gather_sacc leave zeros out, in memory, on ports and on lanes. Other lanes "
    "multiply by zeros as by other weights, and ports read them too, but for weights that stream through a decoder."
)


def pruning_rows(pruning: dict) -> list[tuple[str, ...]]:
    """What became of each matrix, under the columns of ``PRUNING``."""
    return [
        (matrix["matrix"], matrix["pattern"], f"{matrix['weights']:,}", *(f"{matrix[key]:.2%}" for key in _SHARES))
        for matrix in pruning["matrices"]
    ]


_SHARES = ("asked", "reached", "zeros")


def _hardware(figures):
    engine = [(name, str(value)) for name, value in figures["engine"].items()]
    ports = [(port["name"], port["direction"], str(port["bits"]), port["interface"]) for port in figures["ports"]]
    return Section(
        "Hardware",
        (f"Configuration {figures['content_id']}, which the hardware shows in its register CONTENT_ID.",),
        (
            Table("Configuration of the engine", ("setting", "value"), engine, folded=True),
            Table("Ports of the top module", ("port", "direction", ">bits", "interface"), ports, folded=True),
        ),
    )


def _tools(figures):
    rows = [(name, version or "not installed") for name, version in figures["tools"].items()]
    return Section("Tools", (), (Table("Versions", ("tool", "version"), rows),))
