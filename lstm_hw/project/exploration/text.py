"""Engines and their figures in words."""

from collections.abc import Mapping
from typing import Any

from ...explore.objectives import OBJECTIVES


def describe(point: Mapping[str, Any], label: str) -> str:
    """An engine in a line."""
    engine, options = point["engine"], point["options"]
    cells = "parallel cell" if engine.get("parallel") else f"{engine['cells']} cell{'s' * (engine['cells'] > 1)}"
    split = f" split in {engine['split']}" if "split" in engine else ""
    shown = "".join(
        f", {name} {'+'.join(map(str, value)) if isinstance(value, list) else value}" for name, value in options.items()
    )
    return f"{label}, {point['schedule']}{shown}, {engine['rows']} x {engine['contexts']} lanes{split}, {cells}"


def shown(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Figures of the table: the objectives, what is limited, and the shares of the part."""
    return tuple(dict.fromkeys([*values["objectives"], *values["limits"], "lut", "dsp", "bram"]))


def headed(name: str) -> str:
    """A figure as the head of a column of :func:`in_column`."""
    unit = OBJECTIVES[name].unit
    return name if unit == "share" else f"{name} ({unit})"


def in_column(name: str, value: float | None) -> str:
    """A figure in a column of its unit."""
    if value is None:
        return "-"
    return (
        f"{100 * value:.2f} %"
        if OBJECTIVES[name].unit == "share"
        else f"{value:,.4g}"
        if value < 1e4
        else f"{value:,.0f}"
    )


def with_unit(name: str, value: float) -> str:
    """A figure with its unit."""
    unit = OBJECTIVES[name].unit
    if unit == "share":
        return f"{value:.2%}"
    return f"{value:,.4g} {unit}"
