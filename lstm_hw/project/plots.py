"""Drawings of a report as SVG: what the units do over time, errors of quantisation, accuracies.

Text and axes have the colour of the text around them (``currentColor``), so that a page can be light or dark, and the
bytes of a drawing depend on the figures and on Matplotlib alone.
"""

import io
import re
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogFormatter

from ..files import write_file
from ..proof.timeline import STATES
from ..proof.trace import UNITS

WINDOWS = 150
"""Points of a drawing over a run."""
STEPS = 250
"""Points of the errors over the steps; of many steps, each is for several."""
MARKS = 800
"""Columns of the drawing of one step: what is closer than one of them is drawn together."""
BAR = 0.72
"""Height of a unit's bar, of the distance between two units."""
COLOURS = {
    "busy": "#2e8b6a",
    "stall_weights": "#c8402f",
    "stall_h": "#e08e0b",
    "stall_x": "#4a7fc9",
    "stall_output": "#8e63b5",
    "empty": "#9aa0a6",
}
UNIT_COLOURS = {
    "sequencer": "#8a8f98",
    "load port": "#4a7fc9",
    "input": "#3aa6b9",
    "MAC": COLOURS["busy"],
    "cell": "#c77d1a",
    "output": "#8e63b5",
}
_INK = "#010203"
"""Stands for the colour of the text around a drawing."""
_STYLE = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    **{
        name: _INK
        for name in ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color")
    },
}


@dataclass(frozen=True)
class Drawing:
    """A drawing.

    Parameters
    ----------
    name : str
        Of its file.
    title : str
    description : str
        What it shows, for those who do not see it.
    svg : str
        An ``<svg>`` element to be put into a page.
    """

    name: str
    title: str
    description: str
    svg: str

    @property
    def file(self) -> str:
        """The element as the content of a file: dark ink, light where the reader's page is dark."""
        style = "svg{color:#1b1f24}@media(prefers-color-scheme:dark){svg{color:#e4e7eb}}"
        opened = self.svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
        return opened.replace("</title>", f"</title><style>{style}</style>", 1) + "\n"


def draw(figures: dict, curves: dict) -> list[Drawing]:
    """Draw all that a report shows.

    Parameters
    ----------
    figures : dict
        The content of ``report.json``.
    curves : dict
        ``lanes``, the state of the lanes in every cycle; ``trace``, a Trace; ``step``, the first cycle and the
        one behind the last of a step; ``h`` and ``c``, errors over the steps.

    Returns
    -------
    list of Drawing
    """
    trace, lanes, (first, end) = curves["trace"], curves["lanes"], curves["step"]
    run = f"a run of {curves['steps']} steps"
    shown = run if trace.complete else f"the first {trace.cycles:,} cycles of {run}"
    drawings = [
        _drawn(
            "run",
            f"What the units do over {shown}",
            f"Share of cycles, over {shown}, in which the weight port takes a beat, in which the lanes are in each "
            "state, and of the cell unit's starts that are taken",
            4.4,
            lambda figure: _run(figure, trace, lanes),
        ),
        _drawn(
            "step",
            f"One step of it: cycles {first} to {end}",
            "Bars of the commands of each unit; at the load port and the lanes (MAC) the height is a share of cycles",
            3.4,
            lambda figure: _step(figure, trace, lanes, first, end),
        ),
        _drawn(
            "error",
            "Error of h and c over the steps, against the float model",
            "Largest and RMS error of each layer in every step",
            3.4,
            lambda figure: _error(figure, curves),
        ),
        draw_budget(figures["budget"]),
        draw_histogram(figures["numbers"]["output"]["histogram"]),
    ]
    accuracy = figures["accuracy"]
    if accuracy and accuracy["metric"] != "error":  # an error has no end to draw it against
        drawings.append(
            _drawn(
                "accuracy",
                "Accuracy",
                "Share of the outputs that are as labelled, by model",
                2.2,
                lambda figure: _accuracy(figure, accuracy),
            )
        )
    return drawings


def draw_budget(budget: dict) -> Drawing:
    """Draw what :func:`~lstm_hw.model.budget.error_budget` returns."""
    return _drawn(
        "budget",
        "Error of the outputs when one place alone is rounded",
        "RMS error of the outputs against the float model, for each place of each layer by itself",
        3.4,
        lambda figure: _budget(figure, budget),
    )


def draw_histogram(histogram: dict) -> Drawing:
    """Draw the ``histogram`` of :func:`~lstm_hw.model.error_report.quantization_report`."""
    return _drawn(
        "histogram",
        "Errors of the outputs, in units of their last bit",
        "Number of output values by absolute error against the float model",
        2.8,
        lambda figure: _histogram(figure, histogram),
    )


def draw_front(panels: dict[str, tuple[dict, list]], axes: list[tuple[str, float, bool]]) -> Drawing:
    """Draw engines by two figures, and a link to each that none other beats.

    Parameters
    ----------
    panels : dict of str to (dict, list)
        Part -> engines of the front by their kind, each a list of (number, x, y), and (x, y) of the others.
    axes : list of (str, float, bool)
        Of x and y the label, a factor and whether the axis is logarithmic.
    """
    titles = " and ".join(label for label, *_ in axes)
    return _drawn(
        "front",
        f"Engines by {titles}",
        f"For each part the engines that were timed, by {titles}, those of the front with their numbers",
        4.6,
        lambda figure: _front(figure, panels, axes),
    )


def save(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG file without a trace of the program that drew it; it appears whole or not at all."""
    image = io.BytesIO()
    FigureCanvasAgg(figure).print_png(image, metadata={"Software": None})
    write_file(path, image.getvalue())


def shares(states: np.ndarray, windows: int = WINDOWS) -> tuple[np.ndarray, np.ndarray]:
    """Share of each state in equal windows.

    Parameters
    ----------
    states : int array (cycles,)
    windows : int
        At most one a cycle.

    Returns
    -------
    edges : int array (windows + 1,)
    shares : float array (states, windows)
    """
    edges = np.linspace(0, len(states), min(windows, len(states)) + 1).astype(int)
    counts = [np.diff(np.concatenate([[0], np.cumsum(states == state)])[edges]) for state in range(len(STATES))]
    return edges, np.array(counts) / np.diff(edges)


def _drawn(name, title, description, height, plot):
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": name}):
        figure = Figure(figsize=(11, height), layout="constrained")
        figure.patch.set_visible(False)
        plot(figure)
        for axes in figure.axes:
            axes.patch.set_visible(False)
        text = io.StringIO()
        FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None})
    return Drawing(name, title, description, _element(text.getvalue(), name, title, description))


def _element(text, name, title, description):
    """An ``<svg>`` element that stands by itself in a page: own ids, a title, the page's ink and font."""
    body = re.search(r"<svg [^>]*?viewBox=\"([^\"]*)\"[^>]*>(.*)</svg>", text, re.DOTALL)
    inside = re.sub(r"<metadata>.*?</metadata>", "", body[2], flags=re.DOTALL)
    inside = re.sub(r"<style type=\"text/css\">.*?</style>", "", inside, flags=re.DOTALL)
    inside = re.sub(r"<!--.*?-->\s*", "", inside, flags=re.DOTALL)
    inside = re.sub(r"\bid=\"", f'id="{name}-', inside)
    inside = re.sub(r"(?:xlink:)?href=\"#", f'href="#{name}-', inside).replace("url(#", f"url(#{name}-")
    inside = re.sub(r"font: (\d+(?:\.\d+)?px)[^;\"]*", r"font-size: \1", inside).replace(_INK, "currentColor")
    return (
        f'<svg viewBox="{body[1]}" role="img" aria-label="{title}. {description}." fill="currentColor" '
        f'font-family="system-ui, sans-serif" stroke-linejoin="round"><title>{title}</title>{inside}</svg>'
    )


def _filled(axes, edges, values, colour):
    axes.stairs(100 * values, edges, fill=True, color=colour)
    axes.set(xlim=(edges[0], edges[-1]), ylim=(0, 100), yticks=(0, 50, 100))


def _share(cycles, weight, edges):
    """Share of each window that events of so many cycles take."""
    return np.minimum(1, np.histogram(cycles, edges)[0] * weight / np.diff(edges))


def _run(figure, trace, lanes):
    lanes = lanes[: trace.cycles]
    port, array, cell = figure.subplots(3, 1, sharex=True, height_ratios=(1, 2, 1))
    edges, share = shares(lanes)
    _filled(port, edges, _share(trace.beats, 1, edges), UNIT_COLOURS["load port"])
    if not len(trace.beats):
        port.text(edges[-1] / 2, 50, "no beats in this run: the weights are on chip", ha="center", va="center")
    _filled(cell, edges, _share(trace.starts, trace.cell_cycles, edges), UNIT_COLOURS["cell"])
    below, patches = np.zeros(len(edges) - 1), []
    for number, state in enumerate(STATES):
        if share[number].any():
            array.stairs(100 * (below + share[number]), edges, baseline=100 * below, fill=True, color=COLOURS[state])
            below = below + share[number]
            patches.append(Patch(color=COLOURS[state], label=state.replace("_", ", ")))
    array.set(ylim=(0, 100), yticks=(0, 50, 100))
    array.legend(handles=patches, loc="center left", bbox_to_anchor=(1.005, 0.5), frameon=False)
    for axes, name in ((port, "weight port"), (array, "lanes"), (cell, "cell unit")):
        axes.set_ylabel(f"{name}\n(% of cycles)")
    cell.set_xlabel("cycle")


def _step(figure, trace, lanes, first, end):
    axes = figure.add_subplot()
    rows = {unit: len(UNITS) - 1 - number for number, unit in enumerate(UNITS)}
    edges, share = shares(lanes[first:end], MARKS)
    edges = edges + first
    bottom, legend = rows["MAC"] - BAR / 2, []
    for number, state in enumerate(STATES[:-1]):
        if share[number].any():
            top = bottom + BAR * share[number]
            axes.stairs(top, edges, baseline=bottom, fill=True, color=COLOURS[state])
            bottom = top
            legend.append(Patch(color=COLOURS[state], label=f"MAC: {state.replace('_', ', ')}"))
    beats, bottom = _share(trace.beats, 1, edges), rows["load port"] - BAR / 2
    axes.stairs(bottom + BAR * beats, edges, baseline=bottom, fill=True, color=UNIT_COLOURS["load port"])
    for unit in UNITS:
        bars = [(span.first, span.end) for span in trace.spans if span.unit == unit]
        colour = UNIT_COLOURS[unit] if unit not in ("MAC", "load port") else "none"
        _bars(axes, rows[unit], _joined(bars, first, end), colour)
    axes.set(xlim=(first, end), ylim=(-0.6, len(UNITS) - 0.4), xlabel="cycle")
    axes.set_yticks([rows[unit] for unit in UNITS], UNITS)
    axes.legend(handles=legend, loc="center left", bbox_to_anchor=(1.005, 0.5), frameon=False)


def _joined(bars, first, end):
    """Bars cut to a window: (start, length); in a long one those that would touch are one."""
    grain, joined = (end - first) / MARKS, []
    for start, stop in bars:
        start, stop = max(start, first), min(stop, end)
        if stop <= start:
            continue
        if joined and grain > 1 and start - joined[-1][1] < grain:
            joined[-1][1] = max(joined[-1][1], stop)
        else:
            joined.append([start, stop])
    return [(start, max(stop - start, grain)) for start, stop in joined]


def _bars(axes, row, bars, colour):
    edge = "none" if len(bars) > MARKS / 4 else "white"
    axes.broken_barh(bars, (row - BAR / 2, BAR), facecolor=colour, edgecolor=edge, linewidth=0.6)


def _error(figure, curves):
    for position, name in enumerate("hc", 1):
        axes = figure.add_subplot(1, 2, position)
        for layer, (largest, rms) in curves[name].items():
            edges = np.linspace(0, len(rms), min(STEPS, len(rms)) + 1).astype(int)
            largest = np.maximum.reduceat(largest, edges[:-1])
            rms = np.sqrt(np.add.reduceat(rms**2, edges[:-1]) / np.diff(edges))
            steps, colour = (edges[:-1] + edges[1:] + 1) / 2, list(UNIT_COLOURS.values())[1 + layer % 5]
            style = {"markersize": 3, "color": colour, "marker": "o" if len(steps) < 40 else None}
            axes.plot(steps, largest, label=f"layer {layer}, largest", **style)
            axes.plot(steps, rms, linestyle="--", label=f"layer {layer}, RMS", **style)
        axes.set(xlabel="step", ylabel=f"error of {name}", yscale="log")
        axes.grid(alpha=0.25)
        if curves[name]:
            axes.legend(frameon=False)


def _budget(figure, budget):
    axes, places = figure.add_subplot(), budget["places"]
    layers = list(dict.fromkeys(entry["layer"] for entry in places))
    colours = [list(UNIT_COLOURS.values())[1 + layers.index(entry["layer"]) % 5] for entry in places]
    errors = [entry["rms"] for entry in places]
    axes.bar(range(len(places)), errors, color=colours)
    axes.axhline(budget["all"]["rms"], linestyle="--", color=_INK, linewidth=1, label="all places together")
    axes.set_xticks(range(len(places)), [f"{entry['layer']} {entry['place']}" for entry in places], rotation=40)
    if any(errors):
        axes.set_yscale("log")
    axes.set(xlabel="layer and place", ylabel="RMS error of the outputs")
    axes.grid(alpha=0.25, axis="y")
    axes.legend(frameon=False)


def _histogram(figure, histogram):
    axes, counts = figure.add_subplot(), histogram["counts"]
    axes.bar(range(len(counts)), counts, width=0.9, color=UNIT_COLOURS["cell"])
    axes.set_xticks([n - 0.5 for n in range(len(counts) + 1)], [f"{edge:g}" for edge in histogram["edges"]])
    axes.set(xlabel="absolute error, last bits of an output", ylabel="values", yscale="log")
    axes.grid(alpha=0.25, axis="y")


def _accuracy(figure, accuracy):
    bars = [(name, accuracy[name], accuracy["sequences"]) for name in ("float", "integer")]
    if accuracy["verilog"] is not None:
        bars += [
            ("integer", accuracy["integer_simulated"], accuracy["simulated"]),
            ("Verilog", accuracy["verilog"], accuracy["simulated"]),
        ]
    axes = figure.add_subplot()
    names = [f"{name}, {count} sequences" for name, _, count in bars]
    drawn = axes.barh(range(len(bars)), [100 * share for _, share, _ in bars], color=UNIT_COLOURS["load port"])
    axes.bar_label(drawn, fmt="%.2f %%", label_type="center", color="white")
    axes.set_yticks(range(len(bars)), names)
    axes.invert_yaxis()
    axes.set(xlabel="accuracy (%)", xlim=(0, 100))


def _front(figure, panels, labels):
    (_, of_x, _), (_, of_y, _) = labels
    for axes, (part, (kinds, others)) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        if others:
            x, y = zip(*others, strict=True)
            axes.scatter(np.multiply(of_x, x), np.multiply(of_y, y), s=9, color=COLOURS["empty"], alpha=0.5)
        for number, (kind, points) in enumerate(sorted(kinds.items())):
            numbers, x, y = zip(*points, strict=True)
            x, y = np.multiply(of_x, x), np.multiply(of_y, y)
            drawn = axes.scatter(x, y, s=60, color=list(UNIT_COLOURS.values())[1 + number % 5], label=kind)
            drawn.set_urls([f"#point-{n}" for n in numbers])
            for n, *place in zip(numbers, x, y, strict=True):
                axes.annotate(str(n), place, xytext=(4, 4), textcoords="offset points", url=f"#point-{n}")
        axes.set(title=part, xlabel=labels[0][0], ylabel=labels[1][0])
        for axis, (*_, logarithmic) in zip((axes.xaxis, axes.yaxis), labels, strict=True):
            if logarithmic:
                axis.axes.set(**{f"{axis.axis_name}scale": "log"})
                axis.set_major_formatter(LogFormatter())
                axis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
