"""A report's figures as text: a table for the terminal, a Markdown page, an HTML page that needs nothing else.

The sections of both pages are the same; a template turns them into Markdown or HTML.
"""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from .plots import Drawing
from .sections import MARK, Bar, agreement, clock, headline, sections


def text_table(figures: dict) -> str:
    """The headline table as aligned text."""
    rows = [("figure", "unit", "estimate", "measured"), *headline(figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, "<<>>", widths, strict=True))
        for row in rows
    ]
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(line.rstrip() for line in lines)


def markdown(figures: dict, drawings: list[Drawing]) -> str:
    """The report as Markdown; drawings are files beside it."""
    return _page("report.md", figures, drawings)


def html(figures: dict, drawings: list[Drawing]) -> str:
    """The report as one HTML page that refers to nothing outside."""
    return _page("report.html", figures, drawings)


def _page(template, figures, drawings):
    return page(
        template,
        figures=figures,
        agreement=agreement(figures),
        clock=clock(figures),
        sections=sections(figures),
        drawings={drawing.name: drawing for drawing in drawings},
        is_bar=lambda cell: isinstance(cell, Bar),
        mark=MARK,
    )


def page(template: str, **values: Any) -> str:
    """A page from one of the templates; ``Markup`` is there for what is HTML already."""
    environment = Environment(
        loader=PackageLoader("lstm_hw.project"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(Markup=Markup, **values)
