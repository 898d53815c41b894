"""Benchmark rows: one type, printed as a table and written as JSON, by one kind of command line."""

import functools
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from lstm_hw.errors import LstmHwError
from lstm_hw.files import locked, write_file, write_json
from lstm_hw.process import INTERRUPTED, interrupted
from lstm_hw.provenance import code, file_digest

ROOMS = ("lstm_hw", "sim", "boards", "bench")
"""Packages that figures follow from."""
FOLDER = "build/bench"
"""Where benchmarks leave their JSON files, relative to the current folder."""
MISSED = "MISSED: "
"""Begins the source of a row whose figure is not what it must be."""


@dataclass(frozen=True)
class Row:
    """A figure beside the published one.

    Parameters
    ----------
    metric : str
        Stable name, as ``cycles_per_step``.
    config : str
        What was measured, in words.
    ours : int, float or None
        None where it could not be measured.
    unit : str
    published : int, float or None
        The same figure of the system that is compared with.
    source : str
        Where ours comes from, and the published one if there is one.
    """

    metric: str
    config: str
    ours: float | None
    unit: str
    published: float | None
    source: str


def text(rows):
    """Rows as an aligned table.

    Parameters
    ----------
    rows : sequence of Row

    Returns
    -------
    str
    """
    cells = [("metric", "config", "ours", "published", "unit", "source")]
    cells += [(row.metric, row.config, _number(row.ours), _number(row.published), row.unit, row.source) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(line, "<<>><<", widths, strict=True))
        for line in cells
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)


def write(path, rows):
    """Write rows as a JSON list of objects with the fields of Row; the file appears whole or not at all.

    Returns
    -------
    pathlib.Path
    """
    return write_json(path, [asdict(row) for row in rows])


def update(path, rows, without=()):
    """As :func:`write`, but other figures stay, before these, if this very package wrote them.

    What wrote them stands in a hidden file beside it.

    Parameters
    ----------
    path : path-like
    rows : sequence of Row
    without : iterable of (str, str)
        Metric and configuration of figures that do not stay either.

    Returns
    -------
    pathlib.Path
    """
    path = Path(path)
    follows = path.with_name(f".{path.name}.follows")

    def state():
        return f"{code(ROOMS)} {file_digest(path)}"

    figures, kept = {(row.metric, row.config) for row in rows} | set(without), []
    with locked(path.with_name(f".{path.name}.lock")):
        if path.is_file() and follows.is_file() and follows.read_text() == state():
            kept = [Row(**row) for row in json.loads(path.read_text())]
        write(path, [row for row in kept if (row.metric, row.config) not in figures] + list(rows))
        write_file(follows, state())
    return path


def command(result: str, save: Callable = write) -> Callable:
    """Decorator: the command line of a benchmark, with ``--output``; an error, or the keyboard, ends it in one line.

    The function takes what other options there are and gives its rows, or a pair of them and of lines to print behind.

    Parameters
    ----------
    result : str
        JSON file of the rows, if ``--output`` names no other.
    save : callable
        :func:`write` or :func:`update`.
    """

    def decorate(function):
        @click.command()
        @click.option("--output", default=result, show_default=True, help="JSON file of the rows.")
        @functools.wraps(function)
        def main(output, **options):
            try:
                found = function(**options)
                rows, lines = found if isinstance(found, tuple) else (found, ())
                print(text(rows))
                for line in lines:
                    print(line)
                print(f"wrote {save(output, rows)}")
            except LstmHwError as error:
                sys.exit(f"error: {' '.join(str(error).split())}")
            except KeyboardInterrupt as error:
                print(interrupted(error), file=sys.stderr)
                sys.exit(INTERRUPTED)

        return main

    return decorate


def _number(value):
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
