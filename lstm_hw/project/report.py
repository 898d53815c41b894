"""The report of a project: one set of figures, as JSON, Markdown and HTML, with drawings and a trace of a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files import to_json, whole_folder, write_file
from ..proof.timeline import STATES, timeline
from ..proof.trace import record, to_trace_events
from . import render, sections
from .figures import figures_of

if TYPE_CHECKING:
    from .api import Project

SHOWN_STEPS = 64
"""Steps of the run that is drawn and recorded, where a run may have any number of them."""


@dataclass(frozen=True)
class Report:
    """Figures of a project.

    Parameters
    ----------
    figures : dict
        JSON-able; the content of ``report.json``.
    curves : dict
        What only drawings need; see :func:`lstm_hw.project.plots.draw`.
    events : str
        The content of ``trace.json``.
    """

    figures: dict[str, Any]
    curves: dict[str, Any]
    events: str

    @classmethod
    def of(cls, project: "Project", resources: dict | None = None, fmax_mhz: float | None = None) -> "Report":
        """Collect the figures of a project, simulated or not.

        Parameters
        ----------
        project : Project
        resources : dict, optional
            The result of a Synthesis.
        fmax_mhz : float, optional
            Clock in MHz that place and route reached.
        """
        figures, curves = figures_of(project, resources, fmax_mhz)
        plan, steps = project.plan, figures["cycles"]["estimated"]["steps"]
        curves["steps"] = steps = min(steps, SHOWN_STEPS)
        curves["lanes"] = timeline(plan, steps, memory=project.memory)
        curves["trace"] = record(plan, steps, memory=project.memory)
        curves["step"] = _one_step(figures, curves["lanes"][: curves["trace"].cycles])
        return cls(figures, curves, to_trace_events(curves["trace"], figures["clock"]["mhz"], plan.program))

    def rows(self) -> list[tuple[str, str, str, str]]:
        """The headline table; see :func:`lstm_hw.project.sections.headline`."""
        return sections.headline(self.figures)

    def table(self) -> str:
        """The headline table as aligned text."""
        return render.text_table(self.figures)

    def agreement(self) -> str:
        """What was found equal, in one sentence."""
        return sections.agreement(self.figures)

    def clock(self) -> str:
        """The clock, what it rests on and the time of a run, in one sentence."""
        return sections.clock(self.figures)

    def write(self, folder: Path, plots: bool = True) -> "Report":
        """Write ``report.json``, ``report.html``, ``report.md``, ``trace.json`` and drawings into a folder.

        The folder is replaced. Without ``plots`` there are no drawings.

        Returns
        -------
        Report
            This.
        """
        drawings = []
        if plots:
            from .plots import draw

            drawings = draw(self.figures, self.curves)
        with whole_folder(folder) as new:
            write_file(new / "report.json", to_json(self.figures))
            write_file(new / "report.html", render.html(self.figures, drawings))
            write_file(new / "report.md", render.markdown(self.figures, drawings))
            write_file(new / "trace.json", self.events)
            for drawing in drawings:
                write_file(new / f"{drawing.name}.svg", drawing.file)
        return self


def _one_step(figures, lanes):
    """Cycles of one step in the middle of a run: from the first of its columns to the last, by their number."""
    busy, steps = np.flatnonzero(lanes == STATES.index("busy")), figures["cycles"]["estimated"]["steps"]
    every_step = [layer["lane_cycles"] for layer in figures["layers"] if layer["vectors"] == steps]
    columns = max(1, sum(every_step) // steps)
    first = len(busy) // columns // 2 * columns
    return int(busy[first]), int(busy[min(first + columns, len(busy)) - 1]) + 1
