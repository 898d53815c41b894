"""What is explored, and for what: as a user writes it, and which parts and number formats that means."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError
from ...explore.objectives import check_objectives
from ...explore.space import Memory, Place, Space
from ...machine.activation import make_activation
from ...machine.limits import WEIGHT_WIDTHS
from ...machine.parts import BOARDS, PARTS
from ...prune.patterns import PATTERNS
from ...prune.settings import DENSE, NUMBERS, PruneConfig
from ..keys import MAX_SEQUENCES, DeltaSection, TargetSection
from ..quantity import UNITS, quantity

if TYPE_CHECKING:
    from ..api import Project

WIDTHS = (16, 12, 8, 6, 4)
"""Weight bits that are tried, beside those of the configuration, where nobody says which."""
OPERAND_BITS = (16, 8)
LIMITS = {"latency": 1e6, "accuracy": 1.0, "error": 1.0, "power": 1e3, "rate": 1.0}
"""Figures that can be limited -> their units in that of the option."""


@dataclass(frozen=True)
class Choice:
    """What is changed of a model before it becomes numbers; None is as the configuration says.

    Parameters
    ----------
    weight_bits, operand_bits : int
    activation : str, optional
        As ``quantize.activation``.
    sparsity : float, optional
        As ``prune.sparsity``; 0 prunes nothing.
    pattern : str, optional
        As ``prune.pattern``, with the other numbers of the configuration.
    delta_x, delta_h : float, optional
        As ``delta.x`` and ``delta.h``; with 0 for both the model is no delta network.
    """

    weight_bits: int
    operand_bits: int
    activation: str | None = None
    sparsity: float | None = None
    pattern: str | None = None
    delta_x: float | None = None
    delta_h: float | None = None

    @property
    def label(self) -> str:
        """In a few words."""
        words = [f"w{self.weight_bits} x{self.operand_bits}", self.activation]
        share = None if self.sparsity is None else f"{self.sparsity:.0%}"
        if share or self.pattern:
            words.append(" ".join(filter(None, (self.pattern, share, "pruned"))))
        delta = [f"{name} {value:g}" for name, value in (("x", self.delta_x), ("h", self.delta_h)) if value is not None]
        words.append("delta " + " ".join(delta) if delta else None)
        return ", ".join(filter(None, words))

    def prunes(self, given: PruneConfig) -> PruneConfig:
        """The pruning, of a configuration with that of ``given``."""
        if self.sparsity == 0:
            return PruneConfig()
        if self.pattern is None:
            return given if self.sparsity is None else replace(given, sparsity=self.sparsity)
        numbers = {name: getattr(given, name) for name in _numbers_of(self.pattern)}
        if self.sparsity is not None:
            numbers["sparsity"] = self.sparsity
        return PruneConfig(self.pattern, **numbers, skip=given.skip)

    def passes_on(self, given: DeltaSection | None) -> DeltaSection | None:
        """The thresholds, of a configuration with those of ``given``."""
        changes = {name: value for name, value in (("x", self.delta_x), ("h", self.delta_h)) if value is not None}
        if not changes:
            return given
        section = replace(given or DeltaSection(), **changes)
        return section if section.x or section.h else None


@dataclass(frozen=True)
class Wanted:
    """What is explored, and for what.

    Parameters
    ----------
    parts : tuple of str
        Parts and boards; those of the configuration without any.
    objectives : tuple of str
        Names of :data:`~lstm_hw.explore.objectives.OBJECTIVES`; those of ``DEFAULT`` without any.
    limits : dict of str to float
        ``latency`` in seconds, ``accuracy`` and ``error`` as shares, ``power`` in watts, ``rate`` in steps a second.
    weight_bits, operand_bits : tuple of int
        Number formats; ``WIDTHS`` and ``OPERAND_BITS`` without any.
    activation : tuple of str
        Activation units; that of the configuration without any.
    sparsity : tuple of float
        Shares of the weights that are pruned; that of the configuration without any.
    pattern : tuple of str
        Patterns of the weights that are pruned; that of the configuration without any.
    delta_x, delta_h : tuple of float
        Thresholds of x and of every layer's h; those of the configuration without any.
    space : Space
        Shapes and schedules.
    sequences, steps : int, optional
        Of a run; those of the configuration and its data without it.
    clock : float, optional
        MHz, for all parts.
    most_points : int, optional
        No further round of the search begins after so many engines.
    most_seconds : float, optional
        ... after so many seconds; what is found then depends on the machine.
    """

    parts: tuple[str, ...] = ()
    objectives: tuple[str, ...] = ()
    limits: Mapping[str, float] = field(default_factory=dict)
    weight_bits: tuple[int, ...] = ()
    operand_bits: tuple[int, ...] = ()
    activation: tuple[str, ...] = ()
    sparsity: tuple[float, ...] = ()
    pattern: tuple[str, ...] = ()
    delta_x: tuple[float, ...] = ()
    delta_h: tuple[float, ...] = ()
    space: Space = field(default_factory=Space)
    sequences: int | None = None
    steps: int | None = None
    clock: float | None = None
    most_points: int | None = None
    most_seconds: float | None = None

    def __post_init__(self):
        if self.objectives:
            check_objectives(self.objectives)
        for name, value in self.limits.items():
            if name not in LIMITS:
                raise ConfigError("limit", repr(name), f"must be of {', '.join(LIMITS)}")
            most = 1 if name == "accuracy" else float("inf")
            if not 0 < value <= most:
                raise ConfigError(name, value, "must be above 0" + " and at most 1" * (name == "accuracy"))
        for name, values, known in (
            ("weight_bits", self.weight_bits, WEIGHT_WIDTHS),
            ("operand_bits", self.operand_bits, OPERAND_BITS),
        ):
            for value in values:
                if value not in known:
                    raise ConfigError(name, value, f"must be of {', '.join(map(str, known))}")
        for name in self.activation:
            make_activation(name, subject="activation")
        for share in self.sparsity:
            if not 0 <= share < 1:
                raise ConfigError("sparsity", share, "must be at least 0 and below 1")
        if self.most_points is not None and self.most_points < 1:
            raise ConfigError("budget", self.most_points, "must be at least 1 engine")
        if self.sequences is not None and not 1 <= self.sequences <= MAX_SEQUENCES:
            raise ConfigError("sequences", self.sequences, f"must be between 1 and {MAX_SEQUENCES:,}")


def wanted(
    objective: str | None = None,
    schedule: str | None = None,
    activation: str | None = None,
    pattern: str | None = None,
    latency: str | None = None,
    rate: str | None = None,
    power: str | None = None,
    accuracy: float | None = None,
    error: float | None = None,
    budget: str | None = None,
    rows: tuple[int, ...] = (),
    contexts: tuple[int, ...] = (),
    cells: tuple[int, ...] = (),
    buffer: tuple[int, ...] = (),
    port_bits: tuple[int, ...] = (),
    **more: Any,
) -> Wanted:
    """What a user writes as a Wanted: lists with commas, quantities with units.

    Raises
    ------
    ConfigError
        A quantity, a name or a value that cannot be.
    """
    quantities = {"latency": (latency, "s"), "rate": (rate, "Hz"), "power": (power, "W")}
    limits = {name: quantity(name, text, unit) for name, (text, unit) in quantities.items() if text is not None}
    limits |= {name: value for name, value in {"accuracy": accuracy, "error": error}.items() if value is not None}
    budgets = {}
    if budget is not None:
        count = budget.isascii() and budget.isdigit()
        budgets = {"most_points": int(budget)} if count else {"most_seconds": _time_of(budget)}
    return Wanted(
        objectives=_names(objective),
        activation=_names(activation),
        pattern=_names(pattern),
        limits=limits,
        space=Space(_names(schedule), rows, contexts, cells, buffer, port_bits),
        **budgets,
        **more,
    )


def _time_of(budget):
    try:
        return quantity("budget", budget, "s")
    except ConfigError:
        raise ConfigError("budget", repr(budget), f"must be {UNITS['s']}, or a number of engines, as 500") from None


def _names(text):
    """Names with commas between them, but for commas in parentheses."""
    return () if text is None else tuple(name.strip() for name in re.split(r",(?![^(]*\))", text))


def place_of(project: "Project", name: str, clock: float | None = None) -> Place:
    """A part or board with the project's memory.

    Raises
    ------
    ConfigError
        Nobody knows it; names those that are spelled alike.
    """
    try:
        target = TargetSection(board=name.lower()) if name.lower() in BOARDS else TargetSection(part=name)
    except ConfigError as error:
        near = difflib.get_close_matches(name.lower(), [*PARTS, *BOARDS], n=3, cutoff=0.5)
        known = f"the parts {', '.join(PARTS)} and the boards {', '.join(BOARDS)}"
        rule = (
            f"must be a known part or board: did you mean {' or '.join(near)}?" if near else f"must be one of {known}"
        )
        raise ConfigError("part", repr(name), rule) from error
    config = project.config
    clock = clock or config.target.clock or target.clock_mhz
    replace(target, clock=clock)  # checks it
    memory = config.memory
    place = Place(
        name,
        target.fpga,
        clock,
        Memory(memory.latency, memory.interval or 1, memory.bytes_per_cycle(clock)),
        config.target.lanes,
    )
    _ = place.target  # a part of a family that nothing is synthesised for is refused
    return place


def asked_parts(project: "Project", wanted: Wanted) -> tuple[str, ...]:
    """Names of the parts and boards that are asked for, else that of the configuration.

    Raises
    ------
    ConfigError
        There is none.
    """
    if wanted.parts:
        lower = [name.lower() for name in wanted.parts]
        return tuple(name for n, name in enumerate(wanted.parts) if name.lower() not in lower[:n])
    target = project.config.target
    name = target.board or target.part
    if name is None:
        raise ConfigError("part", "none", "must be given (--part), here or as target.part or target.board")
    return (name,)


def choices_tried(project: "Project", wanted: Wanted) -> list[Choice]:
    """Bits of weights and operands, activation units, prunings and thresholds, all with all.

    Raises
    ------
    ConfigError
        No operands are as wide as the weights; a pattern takes no such share, or lacks a number; a threshold is
        negative.
    """
    config, found = project.config, []
    own = config.quantize.weight_bits
    widths = wanted.weight_bits or sorted({*WIDTHS, own} & set(WEIGHT_WIDTHS), reverse=True)
    thresholds = product(wanted.delta_x or (None,), wanted.delta_h or (None,))
    for activation, (pattern, share), (x, h) in product(
        wanted.activation or (None,), _prunings(config.prune, wanted), list(thresholds)
    ):
        others = {"activation": activation, "sparsity": share, "pattern": pattern, "delta_x": x, "delta_h": h}
        delta = Choice(0, 0, **others).passes_on(config.delta)
        operands = wanted.operand_bits or OPERAND_BITS[: 1 if delta is not None else 2]
        found += [Choice(width, bits, **others) for width in widths for bits in operands if bits >= width]
    if not found:
        raise ConfigError("operand_bits", list(operands), f"must be at least one of weight_bits = {list(widths)}")
    return found


def _prunings(given, wanted):
    """Each pattern with each share, as far as it takes one, and pruning nothing once."""
    result = []
    for pattern, share in product(wanted.pattern or (None,), wanted.sparsity or (None,)):
        if share == 0 or pattern == DENSE:
            pattern, share = None, 0.0
        elif pattern is not None and "sparsity" not in _numbers_of(pattern):
            share = None
        Choice(0, 0, sparsity=share, pattern=pattern).prunes(given)  # checks it
        result.append((pattern, share))
    return list(dict.fromkeys(result))


def _numbers_of(pattern):
    """Keys of [prune] that a pattern takes; none if nobody knows it."""
    return [key for key in getattr(PATTERNS.get(pattern), "KEYS", ()) if key in NUMBERS]
