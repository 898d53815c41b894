"""Traffic of W_h against the part of it that is on chip: every schedule, and the bound."""

import io

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lstm_hw.files import write_file


def plot(points, path):
    """Draw points (schedule, share of W_h on chip, words a step over n^2) and the bound (1 - m) / 2 as a PNG file.

    Returns
    -------
    pathlib.Path
    """
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name in dict.fromkeys(name for name, _, _ in points):
        found = sorted((stored, words) for other, stored, words in points if other == name)
        axes.plot(*zip(*found, strict=True), marker="o", markersize=4, label=name)
    axes.plot([0, 1], [0.5, 0], "k--", linewidth=1, label="bound (1 - m)/2")
    axes.set_xlabel("share m of W_h on chip")
    axes.set_ylabel("words of W_h read a step, in parts of W_h")
    axes.set_ylim(bottom=0)
    axes.legend()
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120, metadata={"Software": None})
    return write_file(path, content.getvalue())
