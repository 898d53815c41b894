"""The engines that are looked at: number formats, parts, schedules and shapes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import ConfigError
from ..machine.config import EngineConfig, group_rows, widest_beat
from ..machine.limits import CELL_PHASES, MAX_CONTEXTS, SPLIT_NEED
from ..machine.network import Network
from ..machine.parts import Part
from ..plan.resident_layer import may_split
from ..plan.schedules import SCHEDULES
from ..plan.target import Target, worthwhile_ports, worthwhile_rows
from ..proof.load_timing import MemoryModel

BUFFERS = (*range(1 << 10, 1 << 13, 1 << 10), 1 << 13, 1 << 14, 1 << 15)
"""Depths of the weight buffer where weights stream: whole block RAMs, finer where wide words fill a part."""
PORT_BITS = (64, 128, 256, 512)
"""Widths of the weight port where weights stream and nobody says what the memory brings."""
KNOBS = ("rows", "contexts", "cells", "weight_words", "axi_data_bits")
"""Fields of the engine that are explored."""


@dataclass(frozen=True)
class Memory:
    """What the weight ports meet, in cycles of the engine.

    Parameters
    ----------
    latency : int
        To the first beat.
    interval : int
        From one beat to the next.
    bytes_per_cycle : float, optional
        Of all ports together, instead of the interval.
    """

    latency: int
    interval: int = 1
    bytes_per_cycle: float | None = None

    def model(self, config: EngineConfig) -> MemoryModel:
        """The memory of an engine."""
        if self.bytes_per_cycle is None:
            return MemoryModel(self.latency, self.interval)
        return MemoryModel.of_bandwidth(self.latency, self.bytes_per_cycle, config.axi_ports * config.beat_bytes)


@dataclass(frozen=True)
class Place:
    """Where engines are to go.

    Parameters
    ----------
    name : str
        Of the part or board, as it was asked for.
    part : Part
    clock_mhz : float
    memory : Memory
    lanes : int, optional
        At most.
    """

    name: str
    part: Part
    clock_mhz: float
    memory: Memory
    lanes: int | None = None

    @property
    def target(self) -> Target:
        """What the engine has to fit."""
        return Target(self.lanes, self.part, self.memory.bytes_per_cycle)


@dataclass(frozen=True)
class Numbers:
    """A model in number formats.

    Parameters
    ----------
    label : str
    network : Network
    fields : dict
        Of EngineConfig: what follows from the formats, and what is given for all engines.
    figures : dict of str to float
        ``accuracy`` and ``error``, as far as they are known.
    """

    label: str
    network: Network
    fields: Mapping[str, Any]
    figures: Mapping[str, float]


@dataclass(frozen=True)
class Space:
    """What is tried; without a list all that is worth it.

    Parameters
    ----------
    schedules : tuple of str
    rows, contexts, cells, weight_words, axi_data_bits : tuple of int
        Values of the fields of EngineConfig.
    """

    schedules: tuple[str, ...] = ()
    rows: tuple[int, ...] = ()
    contexts: tuple[int, ...] = ()
    cells: tuple[int, ...] = ()
    weight_words: tuple[int, ...] = ()
    axi_data_bits: tuple[int, ...] = ()

    def __post_init__(self):
        for name in self.schedules:
            if name not in SCHEDULES:
                raise ConfigError("schedule", repr(name), f"must be one of {', '.join(SCHEDULES)}")
        for name in KNOBS:
            for value in getattr(self, name):
                EngineConfig(**{"axi_data_bits": 64, "rows": 1 << 10, name: value})  # says what is wrong with it


@dataclass(frozen=True)
class Candidate:
    """A shape of an engine under a schedule; the schedule's options and the depths of memories follow.

    Parameters
    ----------
    numbers, place : int
        Which of each.
    schedule : str
    shape : dict of str to int or bool
        Fields of EngineConfig beside those of the numbers.
    """

    numbers: int
    place: int
    schedule: str
    shape: Mapping[str, int] = field(hash=False)


def candidates(
    numbers: Sequence[Numbers], places: Sequence[Place], space: Space, sequences: int
) -> Iterator[Candidate]:
    """All candidates, in a fixed order.

    Parameters
    ----------
    numbers : sequence of Numbers
    places : sequence of Place
    space : Space
    sequences : int
        Independent sequences of a run.
    """
    for at, place in enumerate(places):
        for which, one in enumerate(numbers):
            for name, kind in SCHEDULES.items():
                if space.schedules and name not in space.schedules or not _suits(name, one):
                    continue
                for shape in _shapes(name, one, place, space, sequences):
                    yield Candidate(which, at, name, kind.fields | shape)


def not_streamed(
    numbers: Sequence[Numbers], space: Space, sequences: int, tried: Sequence[Candidate]
) -> tuple[list[str], int]:
    """Schedules whose weights stream and that are not tried on so many rows and more, since each buffer would hold all
    weights there, which schedules of their own keep on chip; none and 0 where nothing is left out."""
    least = min(space.weight_words or BUFFERS)
    shapes = {(one.numbers, one.shape["rows"]) for one in tried if not SCHEDULES[one.schedule].streams}
    rows = [rows for which, rows in shapes if _words(numbers[which].network, rows) <= least]
    names = [
        name
        for name, kind in SCHEDULES.items()
        if kind.streams and name in (space.schedules or SCHEDULES) and _contexts(name, space, sequences)
    ]
    names = [name for name in names if any(_suits(name, one) and _on_chip(space, one) for one in numbers)]
    return (names, min(rows)) if rows and names else ([], 0)


def _words(network, rows):
    """Words of all weights."""
    return sum(layer.blocks(rows) * layer.columns for layer in network.layers)


def _suits(name, numbers):
    """Whether a schedule is for the model, and for what is given of all engines."""
    return SCHEDULES[name].tried(numbers.network, numbers.fields)


def _on_chip(space, numbers):
    """Whether a schedule whose weights stay on chip is tried for the model."""
    names = [name for name, kind in SCHEDULES.items() if not kind.streams and _suits(name, numbers)]
    return any(name in (space.schedules or names) for name in names)


def _contexts(name, space, sequences):
    """Contexts that do different work: further ones of the conventional schedule are idle."""
    possible = [k for k in SCHEDULES[name].contexts(sequences) if k <= MAX_CONTEXTS]
    if name == "conventional":
        possible = possible[:1]
    return [k for k in sorted(possible) if not space.contexts or k in space.contexts]


def _shapes(name, numbers, place, space, sequences):
    network, fields, streams = numbers.network, SCHEDULES[name].fields | numbers.fields, SCHEDULES[name].streams
    for contexts in _contexts(name, space, sequences):
        try:
            every = worthwhile_rows(place.target, contexts, network, fields)
        except ConfigError:  # not even the smallest engine has so many contexts
            continue
        for rows in sorted(every) if not space.rows else space.rows:
            words = _words(network, rows)
            for cells in _cells(fields, space):
                shape = {"rows": rows, "contexts": contexts, **cells}
                if not streams:
                    yield shape
                    yield from (shape | {"split": parts} for parts in _parts(name, network, rows, fields))
                    continue
                for ports in _ports(place.target, rows, fields, space):
                    # A buffer that holds all weights is for the schedules that stay on chip, if there are any.
                    depths = [n for n in space.weight_words or BUFFERS if n < words]
                    for depth in depths or (
                        [] if _on_chip(space, numbers) else sorted(space.weight_words or BUFFERS)[:1]
                    ):
                        yield {**shape, **ports, "weight_words": depth}


def _cells(fields, space):
    """Numbers of cells, and the parallel one in place of the most, which has no peepholes."""
    counts, most = space.cells or sorted(CELL_PHASES), max(CELL_PHASES)
    yield from ({"cells": count} for count in counts)
    if most in counts and not fields.get("peepholes"):
        yield {"cells": most, "parallel": True}


def _parts(name, network, rows, fields):
    """The most parts of the lanes over which columns of some layer can be split, if any."""
    groups = rows // group_rows(rows)
    suits = (
        name == "resident"
        and fields.get("operand_bits", 16) == SPLIT_NEED["operand_bits"]
        and not groups & (groups - 1)
    )
    powers = (1 << n for n in range(groups.bit_length() - 1, 0, -1))
    return [n for n in powers if suits and any(may_split(layer, rows, n) for layer in network.recurrent)][:1]


def _ports(target, rows, fields, space):
    if target.bytes_per_cycle is not None and not space.axi_data_bits:
        return [worthwhile_ports(target, rows, fields)]
    # A beat is no wider than the part of a word that its port brings.
    part = rows * fields["weight_bits"] // fields.get("axi_ports", 1)
    widest = widest_beat(part, fields.get("decoder", "off"))
    return [{"axi_data_bits": bits} for bits in space.axi_data_bits or PORT_BITS if bits <= widest]
