"""The front of an exploration as text: an aligned table, what was looked at in sentences, comma-separated values."""

import csv
import io
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ...explore.objectives import OBJECTIVES
from ...machine.config import EngineConfig
from .text import headed, in_column, shown
from .wanted import Choice


def table(values: Mapping[str, Any]) -> list[str]:
    """The front as an aligned table, and how the present configuration compares."""
    header = ("point", "part", "engine", *map(headed, shown(values)))
    rows = [
        (
            str(p["number"]),
            p["part"],
            p["described"],
            *(in_column(name, p["figures"].get(name)) for name in shown(values)),
        )
        for p in values["points"]
    ]
    for one in values["present"]:
        if "figures" in one:
            rows.append(
                (
                    "as is",
                    one["part"],
                    one["described"],
                    *(in_column(n, one["figures"].get(n)) for n in shown(values)),
                )
            )
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    sides = "<<<" + ">" * (len(header) - 3)
    lines = [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)).rstrip()
        for row in (header, *rows)
    ]
    lines.insert(1, "-" * max(map(len, lines)))
    return lines


def looked_at(values: Mapping[str, Any]) -> list[str]:
    """What was looked at, in sentences."""
    counts = values["counts"]
    dropped = counts["too_large"] + counts["beyond"] + counts["pruned"]
    lines = [
        f"{counts['candidates']:,} shapes: {counts['too_large']:,} too large, {counts['beyond']:,} beyond the "
        f"limits, {counts['pruned']:,} beaten before they were planned; {counts['plans']:,} plans of the other "
        f"{counts['candidates'] - dropped - counts['left']:,}: {counts['plans_beyond'] + counts['plans_pruned']:,} "
        f"dropped, {counts['timed']:,} timed"
    ]
    if counts["left"]:
        lines.append(f"{counts['left']:,} shapes were not looked at: the front is that of the others")
    lines += values["notes"]
    lines += [
        f"the configuration as it is, on {one['part']}: {one['refused']}"
        for one in values["present"]
        if "refused" in one
    ]
    beyond = {one["too_far"] for one in values["present"] if one.get("too_far")}
    lines += [f"the configuration as it is: {wrong}" for wrong in beyond]  # one, as parts change no numbers
    return lines


def as_csv(values: Mapping[str, Any]) -> str:
    """The front as comma-separated values: what each engine is, its figures, and of what it takes how many."""
    text = io.StringIO()
    figures, resources = list(OBJECTIVES), list(values["points"][0]["resources"]) if values["points"] else []
    engine = ("rows", "contexts", "cells", "parallel", "split", "weight_words", "axi_ports", "axi_data_bits")
    writer = csv.writer(text, lineterminator="\n")
    plain = ("number", "part", "clock_mhz", *(f.name for f in fields(Choice)), "schedule")
    writer.writerow([*plain, "options", *engine, *figures, *(f"{name}_count" for name in resources), "cycles"])
    for point in values["points"]:
        options = " ".join(f"{name}={value}" for name, value in point["options"].items())
        writer.writerow(
            [
                *(point[name] for name in plain),
                options,
                *(getattr(EngineConfig.from_dict(point["engine"]), name) for name in engine),
                *(point["figures"].get(name, "") for name in figures),
                *(point["resources"][name] for name in resources),
                point["counters"]["cycles"],
            ]
        )
    return text.getvalue()
