"""Activation units by name: what a project file, a model file and an engine's configuration call them.

A name may have parameters in brackets, ``quadratic(segments=64, guard=4)``, and two names with a slash between them are
sigmoid's unit and tanh's: ``hard5/quadratic``.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np

from ..errors import ConfigError
from .activation_unit import DEFAULT_INPUT, DEFAULT_OUTPUT, RANGE_BITS, ActivationUnit
from .formats import QFormat
from .magnitude_activation import (
    CatmullRom,
    Hard5,
    Hard6,
    NonuniformLinear,
    PlainTable,
    Plan,
    SegmentActivation,
    Taylor,
    UniformCubic,
    UniformLinear,
    UniformQuadratic,
)
from .shared_activation import LinearActivation, QuadraticActivation

LONGEST_NAME = 120


def _piecewise_linear(i_format, o_format):
    # A coarse input format has fewer values than the default has segments.
    segments = min(LinearActivation.segments, 1 << max(RANGE_BITS, i_format.fraction + RANGE_BITS - 1))
    return LinearActivation(i_format, o_format, segments)


SHARED: dict[str, Callable[[QFormat, QFormat], ActivationUnit]] = {
    "quadratic64": lambda i_format, o_format: QuadraticActivation(i_format, o_format, 64),
    "quadratic128": lambda i_format, o_format: QuadraticActivation(i_format, o_format, 128),
    "pwl": _piecewise_linear,
}
"""Units without parameters by name: functions of the input and the output format."""

METHODS: dict[str, type[ActivationUnit]] = {
    "hard5": Hard5,
    "hard6": Hard6,
    "plan": Plan,
    "table": PlainTable,
    "linear": UniformLinear,
    "nonuniform": NonuniformLinear,
    "quadratic": UniformQuadratic,
    "cubic": UniformCubic,
    "taylor": Taylor,
    "catmull_rom": CatmullRom,
}
"""Classes by name, whose fields but the formats are parameters."""

NAMES = (*SHARED, *METHODS)


@dataclass(frozen=True)
class PairActivation(ActivationUnit):
    """Sigmoid by one unit and tanh by another, side by side; the faster one waits for the other.

    Parameters
    ----------
    sigmoid, tanh : ActivationUnit
        Of the same formats.
    """

    sigmoid: ActivationUnit | None = None
    tanh: ActivationUnit | None = None

    @property
    def latency(self) -> int:
        return max(self.sigmoid.latency, self.tanh.latency)

    @property
    def multiplier_bits(self) -> tuple[int, ...]:
        return self.sigmoid.multiplier_bits + self.tanh.multiplier_bits

    @property
    def tables(self) -> tuple[tuple[int, int], ...]:
        return self.sigmoid.tables + self.tanh.tables

    def _evaluate(self, x, tanh):
        return np.where(tanh, self.tanh.compute(x, True), self.sigmoid.compute(x, False))


def parameters_of(name: str) -> tuple[str, ...]:
    """Names of the parameters of a unit of :data:`NAMES`."""
    if name in SHARED:
        return ()
    names = [f.name for f in fields(METHODS[name]) if f.name not in ("i_format", "o_format")]
    return tuple(sorted(names, reverse=True))  # segments, order, guard


def _parsed(text, subject):
    """(name, parameters) of one unit."""
    match = re.fullmatch(r"\s*(\w+)\s*(?:\(([^()]*)\))?\s*", text)
    if match is None or match[1] not in NAMES:
        raise ConfigError(subject, f"{text!r:.{LONGEST_NAME}}", f"must be one of {', '.join(NAMES)}")
    name, given, known = match[1], {}, parameters_of(match[1])
    for item in (match[2] or "").split(",") if (match[2] or "").strip() else ():
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals or key not in known:
            rule = f"must be one of its parameters {', '.join(known)}, as segments=64" if known else "has no parameters"
            raise ConfigError(f"{subject} {name}", f"{item.strip()!r:.{LONGEST_NAME}}", rule)
        if key in given or not re.fullmatch(r"[0-9]{1,6}", value):
            rule = "must be given once" if key in given else "must be a whole number"
            raise ConfigError(f"{subject} {name}: {key}", f"{value!r:.{LONGEST_NAME}}", rule)
        given[key] = int(value)
    return name, given


def _built(name, given, i_format, o_format):
    if name in SHARED:
        return SHARED[name](i_format, o_format)
    unit = METHODS[name]
    if issubclass(unit, SegmentActivation) and "segments" not in given:
        # A coarse input format has fewer values than the default has segments.
        given = given | {"segments": max(unit.least, min(unit.segments, unit.finest(i_format)))}
    return unit(i_format, o_format, **given)


@lru_cache(maxsize=32)
def make_activation(
    text: str, i_format: QFormat = DEFAULT_INPUT, o_format: QFormat = DEFAULT_OUTPUT, subject: str = "activation"
) -> ActivationUnit:
    """The unit that a text names: one of :data:`NAMES`, with parameters or without, or two with a slash between them.

    Raises
    ------
    ConfigError
        Unknown name or parameter, or one that is out of range; ``subject`` is what the message begins with.
    FormatError
        A format that the unit does not support.
    """
    units = [_parsed(part, subject) for part in text.split("/")]
    if len(units) > 2:
        raise ConfigError(
            subject, f"{text!r:.{LONGEST_NAME}}", "must be one unit, or sigmoid's and tanh's as hard5/quadratic"
        )
    built = []
    for name, given in units:
        try:
            built.append(_built(name, given, i_format, o_format))
        except ConfigError as error:
            raise ConfigError(f"{subject} {name}: {error.subject}", error.found, error.rule) from error
    return built[0] if len(built) == 1 else PairActivation(i_format, o_format, *built)
