"""Evaluating a candidate: its plans, their exact cycles, resources and energy; a task that any process can do.

A task and its result are JSON-able, so that they can be sent to other machines and kept by their content.
"""

import json
from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import ConfigError, ProgramError
from ..machine.config import EngineConfig
from ..machine.formats import QFormat
from ..machine.limits import SERIAL_SLOTS
from ..machine.network import LayerShape, Network, Source, Start
from ..machine.parts import PARTS, Part
from ..machine.plan import Plan
from ..plan.choose import on_shape
from ..plan.resources import estimate
from ..plan.schedules import SCHEDULES, Request
from ..plan.target import Target
from ..proof.count import count_cycles
from ..proof.cycles import long_steps
from ..proof.energy import energy
from ..proof.work import work
from .bounds import cell_cycles, events_of, shares_of
from .space import Candidate, Memory, Numbers, Place


def task_of(candidate: Candidate, numbers: Numbers, place: Place, steps: int, sequences: int) -> dict[str, Any]:
    """What :func:`planned` needs to know of a candidate, JSON-able, but for ``goes_on``."""
    memory = place.memory
    return {
        "network": network_to_json(numbers.network),
        "fields": _fields_to_json({**numbers.fields, **candidate.shape}),
        "schedule": candidate.schedule,
        "steps": steps,
        "sequences": sequences,
        "part": place.part.name,
        "lanes": place.lanes,
        "clock_mhz": place.clock_mhz,
        "memory": [memory.latency, memory.interval, memory.bytes_per_cycle],
    }


def planned(task: dict[str, Any]) -> list[dict[str, Any]]:
    """All plans of a candidate, not timed yet.

    Parameters
    ----------
    task : dict
        Of :func:`task_of`, with ``goes_on``: whether the rate of a sequence that goes on is asked for.

    Returns
    -------
    list of dict
        One a plan that fits: ``options``, ``engine`` (as EngineConfig.to_dict), ``resources`` by name, and ``least``:
        what its figures cannot be better than, by the name of the objective. Or one with ``refused`` alone: why none
        fits.
    """
    ask, part = _asked(task), PARTS[task["part"]]
    target = Target(task["lanes"], part, _memory(task).bytes_per_cycle)
    try:
        outcomes = on_shape(task["schedule"], ask, _fields(task["fields"]), target)
    except (ConfigError, ProgramError) as error:
        return [{"refused": " ".join(str(error).split())}]
    return [_unmeasured(outcome, ask, part, task["clock_mhz"], task["goes_on"]) for outcome in outcomes if outcome.plan]


def timed(task: dict[str, Any]) -> dict[str, Any]:
    """A plan with its cycles by the exact model.

    Parameters
    ----------
    task : dict
        Of :func:`task_of`, with ``goes_on``, which takes as long again, and ``options`` and ``engine`` of a plan of
        :func:`planned`.

    Returns
    -------
    dict
        ``counters`` of a run, and ``figures`` by the name of the objective.
    """
    ask, config = _asked(task), EngineConfig.from_dict(task["engine"])
    options = {name: tuple(value) if isinstance(value, list) else value for name, value in task["options"].items()}
    plan = SCHEDULES[task["schedule"]].plan(ask, ask.network, config, **options).plan()
    counters, figures = figures_of(plan, ask, PARTS[task["part"]], task["clock_mhz"], task["goes_on"])
    return {"counters": counters, "figures": figures}


def figures_of(
    plan: Plan, ask: Request, part: Part, clock_mhz: float, goes_on: bool = True
) -> tuple[dict[str, int], dict[str, float]]:
    """Counters of a run of a plan, and its figures by the name of the objective.

    Figures are those of the engine alone: what follows from the numbers, as its accuracy, is not among them; nor is the
    rate, unless it ``goes_on``.
    """
    config, memory, steps = plan.config, ask.memory(plan.config), ask.steps
    run = count_cycles(plan, steps, memory=memory)
    read = run.read_beats * config.beat_bytes  # beats of all ports together
    picojoules = energy(events_of(config, run.busy, read))
    latency = run.cycles / clock_mhz
    figures = {
        "latency": latency,
        **shares_of(estimate(config, part.family), part),
        "energy": picojoules / ask.sequences / 1000,
        "power": picojoules / latency / 1000,
        "bytes": read,
        "throughput": ask.sequences * steps / latency * 1e6,
    }
    if goes_on:
        long = count_cycles(plan, long_steps(steps), memory=memory)
        figures["rate"] = (long_steps(steps) - steps) * clock_mhz * 1e6 / (long.cycles - run.cycles)
    return run.to_dict(), figures


def _unmeasured(outcome, ask, part, clock_mhz, goes_on):
    config, needs = outcome.plan.config, work(outcome.plan, ask.steps)
    usage, memory = estimate(config, part.family), ask.memory(config)
    cycles = max(
        needs.columns,
        needs.beats * memory.interval,
        cell_cycles(ask.network, config.cells, ask.steps, ask.sequences),
        1,
    )
    read = needs.beats * config.axi_ports * config.beat_bytes
    latency = cycles / clock_mhz
    rate = _rate_at_most(outcome, ask, memory, clock_mhz) if goes_on else None
    return {
        "options": {
            name: list(value) if isinstance(value, tuple) else value for name, value in outcome.options.items()
        },
        "engine": config.to_dict(),
        "resources": {f.name: getattr(usage, f.name) for f in fields(usage)},
        "least": {
            "latency": latency,
            **shares_of(usage, part),
            "energy": energy(events_of(config, needs.columns, read)) / ask.sequences / 1000,
            "bytes": read,
            "throughput": ask.sequences * ask.steps / latency * 1e6,
            **({} if rate is None else {"rate": rate}),
        },
    }


def _rate_at_most(outcome, ask, memory, clock_mhz):
    """Time steps a second that a plan does not exceed while a sequence goes on; None where that is not known.

    A run of whole batches, no shorter than that asked for, is the beginning of the long run: lanes, port and cells do
    there in the same order what they do here, and then the rest of it. Only the slot of the cell unit in which the last
    unit is taken may differ.
    """
    batch = outcome.options.get("batch", 1) * outcome.plan.config.contexts
    whole, long = -(-ask.steps // batch) * batch, long_steps(ask.steps)
    if whole >= long:
        return None
    before, after = work(outcome.plan, whole), work(outcome.plan, long)
    least = max(
        after.columns - before.columns,
        (after.beats - before.beats) * memory.interval,
        cell_cycles(ask.network, outcome.plan.config.cells, long, ask.sequences, since=whole),
    )
    return (long - ask.steps) * clock_mhz * 1e6 / max(1, least - SERIAL_SLOTS)


def _asked(task):
    network = network_of_json(json.dumps(task["network"], sort_keys=True))
    return Request(network, task["steps"], task["sequences"], {}, _memory(task).model)


def _memory(task):
    return Memory(*task["memory"])


def _fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of EngineConfig from their JSON."""
    formats = {f.name for f in fields(EngineConfig) if f.type in (QFormat, QFormat | None)}

    def of_json(name, value):
        if name in formats and value is not None:
            return QFormat.parse(value)
        return tuple(value) if isinstance(value, list) else value

    return {name: of_json(name, value) for name, value in values.items()}


def _fields_to_json(values):
    """Inverse of :func:`_fields`."""
    return {name: str(value) if isinstance(value, QFormat) else _plain(value) for name, value in values.items()}


def numbers_to_json(numbers: Numbers) -> dict[str, Any]:
    """Numbers as JSON-able values."""
    return {
        "label": numbers.label,
        "network": network_to_json(numbers.network),
        "fields": _fields_to_json(numbers.fields),
        "figures": dict(numbers.figures),
    }


def numbers_from_json(values: Mapping[str, Any]) -> Numbers:
    """Inverse of :func:`numbers_to_json`."""
    network = network_of_json(json.dumps(values["network"], sort_keys=True))
    return Numbers(values["label"], network, _fields(values["fields"]), values["figures"])


def network_to_json(network: Network) -> dict[str, Any]:
    """A network as JSON-able values; of a pruned one with which weights are not zero."""
    used = network.pruned
    return {
        **{f.name: _plain(getattr(network, f.name)) for f in fields(Network) if f.name != "layers"},
        "layers": [
            {f.name: _plain(getattr(layer, f.name)) for f in fields(LayerShape) if used or f.name != "used"}
            for layer in network.layers
        ],
    }


@lru_cache(maxsize=64)
def network_of_json(text: str) -> Network:
    """Inverse of :func:`network_to_json`, from its text."""
    values = {name: _restored(value) for name, value in json.loads(text).items() if name != "layers"}
    layers = [{name: _restored(value) for name, value in layer.items()} for layer in json.loads(text)["layers"]]
    return Network(tuple(LayerShape(**layer) for layer in layers), **values)


PARTS_OF_LAYERS = {cls.__name__: cls for cls in (Start, Source)}
"""Name -> class of what a layer holds beside numbers, names and arrays."""


def _plain(value):
    if isinstance(value, np.ndarray):
        return {"shape": list(value.shape), "bits": np.packbits(value).tobytes().hex()}
    if type(value) in PARTS_OF_LAYERS.values():
        return {"of": type(value).__name__, **{f.name: _plain(getattr(value, f.name)) for f in fields(value)}}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _restored(value):
    if isinstance(value, dict) and "of" in value:
        return PARTS_OF_LAYERS[value["of"]](**{n: _restored(item) for n, item in value.items() if n != "of"})
    if isinstance(value, dict):
        shape = value["shape"]
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(value["bits"]), np.uint8), count=int(np.prod(shape)))
        return bits.astype(bool).reshape(shape)
    return tuple(_restored(item) for item in value) if isinstance(value, list) else value
