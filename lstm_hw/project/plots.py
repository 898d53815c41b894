"""Plots of a report: what the lanes do over time, errors of quantisation, accuracies."""

import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..files import write_file
from ..proof.timeline import STATES

WINDOWS = 120
"""Points of the lanes' plot over a run."""
COLOURS = {
    "busy": "#2a7f62",
    "stall_weights": "#b3261e",
    "stall_h": "#e08e0b",
    "stall_x": "#3b6fb6",
    "stall_output": "#7b4ea3",
    "empty": "#d0d0d0",
}


def draw(report, folder):
    """Draw all plots of a report as PNG files.

    Parameters
    ----------
    report : Report
    folder : Path

    Returns
    -------
    list of (str, str)
        Title and file name of each.
    """
    plots = [
        ("What the lanes do over a run", "lanes.png", _lanes),
        ("Error of h and c over the steps", "error.png", _error),
    ]
    if report.figures["accuracy"]:
        plots.append(("Accuracy", "accuracy.png", _accuracy))
    for title, file, plot in plots:
        figure = Figure(figsize=(8, 3.6), layout="constrained")
        plot(report, figure)
        figure.suptitle(title)
        save(figure, folder / file)
    return [(title, file) for title, file, _ in plots]


def save(figure, path):
    """Write a figure as a PNG file without a trace of the program that drew it; it appears whole or not at all."""
    image = io.BytesIO()
    FigureCanvasAgg(figure).print_png(image, metadata={"Software": None})
    write_file(path, image.getvalue())


def shares(states, windows=WINDOWS):
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


def _lanes(report, figure):
    axes = figure.add_subplot()
    edges, share = shares(report.curves["lanes"])
    middle = (edges[:-1] + edges[1:]) / 2
    shown = [n for n in range(len(STATES)) if share[n].any()]
    axes.stackplot(
        middle,
        *(100 * share[n] for n in shown),
        step="mid",
        colors=[COLOURS[STATES[n]] for n in shown],
        labels=[STATES[n].replace("_", ", ") for n in shown],
    )
    axes.set(xlabel="cycle", ylabel="share of cycles (%)", xlim=(0, edges[-1]), ylim=(0, 100))
    axes.legend(loc="lower left", framealpha=0.9)


def _error(report, figure):
    for position, name in enumerate("hc", 1):
        axes = figure.add_subplot(1, 2, position)
        for layer, (largest, rms) in enumerate(report.curves[name]):
            steps = np.arange(1, len(largest) + 1)
            (line,) = axes.plot(steps, largest, marker="o", markersize=3, label=f"layer {layer}, largest")
            axes.plot(
                steps,
                rms,
                marker="o",
                markersize=3,
                linestyle="--",
                color=line.get_color(),
                label=f"layer {layer}, RMS",
            )
        axes.set(xlabel="step", ylabel=f"error of {name} against float", yscale="log")
        axes.grid(alpha=0.3)
        axes.legend()


def _accuracy(report, figure):
    accuracy = report.figures["accuracy"]
    bars = [(name, accuracy[name], accuracy["sequences"]) for name in ("float", "integer")]
    if accuracy["verilog"] is not None:
        bars += [
            ("integer", accuracy["integer_simulated"], accuracy["simulated"]),
            ("Verilog", accuracy["verilog"], accuracy["simulated"]),
        ]
    axes = figure.add_subplot()
    drawn = axes.barh(
        [f"{name}, {count} sequences" for name, _, count in bars],
        [100 * share for _, share, _ in bars],
        color="#3b6fb6",
    )
    axes.bar_label(drawn, fmt="%.2f %%", label_type="center", color="white")
    axes.invert_yaxis()
    axes.set(xlabel="accuracy (%)", xlim=(0, 100))
