"""Stacked layers under schedules for one layer: a program and an image for all of them, one entry a layer.

Layers share lanes, x memory and the ring; each has memory of its own for what a run leaves behind: h, c, sums and
resident words. So a layer's program works on with other addresses, and its proof holds. A piece of a sequence
goes through the layers one after the other, the outputs of each being the x of the next, and the
next piece goes on where this one ended.

A planner may also leave registers and h tokens to the next run, as SACC does with the direction of
its next pass. Another layer's run would take them. Both depend only on the steps behind the run, so
every such *phase* gets an entry, which sets these registers and gives these tokens first, and the
end of a run takes what it would leave.
"""

from dataclasses import dataclass, replace
from itertools import zip_longest

from ..errors import ConfigError, ProgramError
from ..machine.config import EngineConfig
from ..machine.isa import CLEAR_REGISTER, MODE_ZERO, OPS, REGISTERS, SPACE_H, instruction
from ..machine.layout import Image
from ..machine.network import Network
from ..machine.program import Program, ProgramBuilder

SHARED_ENTRY = 1
"""Accumulator entries that no layer has to itself: entry 0, which is zero."""


@dataclass(frozen=True)
class Phase:
    """What a run has to find as the run before left it.

    Parameters
    ----------
    registers : dict of int to int
    tokens : int
        Elements of h that nothing has taken yet.
    """

    registers: dict
    tokens: int


@dataclass(frozen=True)
class Stack:
    """A program with the image that it reads, for all layers.

    Parameters
    ----------
    config : EngineConfig
    network : Network
    program : Program
        Entry ``load`` brings the resident words of all layers; :meth:`entry` names the others.
    image : Image
    plans : tuple of Plan
        Of each layer by itself.
    phases : tuple of int
        Entries of each layer.
    """

    config: EngineConfig
    network: Network
    program: Program
    image: Image
    plans: tuple
    phases: tuple

    def entry(self, layer, done=0):
        """Name of the entry at which a layer's run starts that has ``done`` steps behind it since zero state."""
        return _entry(layer, done // (self.plans[layer].steps or 1) % self.phases[layer])


def stack(network, config, make):
    """Plan every layer of a stack.

    Parameters
    ----------
    network : Network
        LSTM layers without a head.
    config : EngineConfig
        Memories for all layers together.
    make : callable (Network, EngineConfig) -> Plan
        Plans one layer on its part of the memories.

    Returns
    -------
    Stack

    Raises
    ------
    ConfigError
        A layer does not fit what the others leave.
    ProgramError
        The programs do not fit together into the program memory.
    """
    if network.head:
        raise ConfigError("network", "a linear head", "must be LSTM layers alone for this schedule")
    layers = [Network((layer,)) for layer in network.layers]
    parts = [_needs(make(layer, replace(config, shifts=(layer.layers[0].shift,)))) for layer in layers]
    plans = []
    for n, layer in enumerate(layers):
        others = {field: sum(part[field] for part in (*parts[:n], *parts[n + 1 :])) for field in parts[n]}
        for field, words in others.items():
            if getattr(config, field) <= words:
                raise ConfigError(f"engine.{field}", getattr(config, field), f"must be more than {words} here")
        left = {field: getattr(config, field) - words for field, words in others.items()}
        plans.append(make(layer, replace(config, shifts=(layer.layers[0].shift,), **left)))
    return _joined(network, config, plans, parts)


def _needs(plan):
    """What a layer has to itself: entries or words of each memory."""
    return {
        "weight_words": _resident(plan),
        "accumulators": plan.needs["accumulators"] - SHARED_ENTRY,
        "h_elements": plan.needs["h_elements"],
        "states": plan.needs["states"],
    }


def _resident(plan):
    """Words before the ring."""
    return next(i.base for i in plan.program.instructions if i.op == "RING")


def _joined(network, config, plans, parts):
    builder, tiles, words, moves = ProgramBuilder(), [], 0, []
    ring = sum(part["weight_words"] for part in parts)
    for n, plan in enumerate(plans):
        base = {field: sum(part[field] for part in parts[:n]) for field in parts[n]}
        moves.append(_Move(n, base, words * config.beats_per_word, ring))
        tiles += [replace(tile, layer=n) for tile in plan.image.tiles]
        words += plan.image.words
    builder.entry("load")
    for plan, move in zip(plans, moves, strict=True):
        for load in _section(plan, "load")[1]:
            builder.add(move.moved(load, 0))
    builder.emit("HALT")
    phases = [_phases(plan) for plan in plans]
    scratch = sum(part["states"] for part in parts)
    need = scratch + max(phase.tokens for found in phases for phase in found)
    if config.states < need:
        raise ConfigError("engine.states", config.states, f"must be at least {need} for this stack")
    for plan, move, found in zip(plans, moves, phases, strict=True):
        _layer(builder, plan, move, found, scratch, config.program_length)
    program = builder.build(config.program_length)
    return Stack(config, network, program, Image(tuple(tiles)), tuple(plans), tuple(len(found) for found in phases))


def _layer(builder, plan, move, phases, scratch, limit):
    """The entries of a layer and its run."""
    first, body = _section(plan, "run")
    behind = len(builder) + sum(_length(phase) for phase in phases) + len(phases) - 1
    if behind + len(body) >= limit:
        found = f"{behind + len(body) + 1} instructions or more"
        raise ProgramError("program", found, f"must fit the program memory of {limit}")
    for number, phase in enumerate(phases):
        builder.entry(_entry(move.layer, number))
        for register, value in phase.registers.items():
            builder.emit("SET", register=register, value=value)
        if phase.tokens:
            with builder.unless(CLEAR_REGISTER, "h tokens; c of nobody is set to zero"):
                builder.emit("CELL", units=phase.tokens, mask=1, mode=MODE_ZERO, state=scratch, signal=1)
        if number < len(phases) - 1:
            builder.emit("LOOP", exit=behind, comment="to the layer's run")
    for at, step in enumerate(body, first):
        builder.add(move.moved(step, behind - first), plan.program.comments.get(at))
    _take(builder, phases)
    builder.emit("HALT")


def _take(builder, phases):
    """The tokens that the run would leave to the one behind it."""
    if len({phase.tokens for phase in phases}) == 1:
        if phases[0].tokens:
            builder.await_tokens(SPACE_H, phases[0].tokens)
        return
    register = _telling(phases)
    for phase in phases:
        if phase.tokens:
            with builder.when(register) if phase.registers[register] else builder.unless(register):
                builder.await_tokens(SPACE_H, phase.tokens)


def _length(phase):
    """Instructions that prepare a phase."""
    return len(phase.registers) + 3 * bool(phase.tokens)


def _telling(phases):
    """A register that is zero in one of two phases alone."""
    for register in phases[0].registers:
        if bool(phases[0].registers[register]) != bool(phases[1].registers[register]):
            return register
    raise ProgramError("registers", "none is zero in one phase alone", "must tell how many tokens a run leaves")


def _entry(layer, phase):
    return f"layer{layer}_{phase}"


def _section(plan, entry):
    """Address of an entry, and the instructions from there up to its HALT; none if there is no such entry."""
    instructions = plan.program.instructions
    if entry not in plan.program.entries:
        return 0, ()
    first = plan.program.entries[entry]
    length = next(n for n, step in enumerate(instructions[first:]) if step.op == "HALT")
    return first, instructions[first : first + length]


def _phases(plan):
    """What a run finds, for no steps behind it, for as many as a run has at the least, and so on up to the period."""
    registers, tokens, found = [0] * REGISTERS, 0, []
    for clear in (True, False, False):
        for command in plan.program.run("run", plan.steps or 1, clear, registers):
            if command.op == "CELL" and command.signal:
                tokens += command.units
            elif command.op == "MAC" and command.take and command.space == SPACE_H:
                tokens -= command.offset + 1
        found.append((tuple(registers[:CLEAR_REGISTER]), tokens))
    if found[2] != found[0]:
        raise ProgramError("registers", "no period of one or two runs", "must repeat for stacked layers")
    states = found[:1] if found[1] == found[0] else [found[1], found[0]]
    live = [r for r in range(1, CLEAR_REGISTER) if any(_is_read(plan, state, r) for state, _ in states)]
    return [Phase({register: state[register] for register in live}, left) for state, left in states]


def _is_read(plan, state, register):
    """Whether a run does anything else with another value in a register."""
    steps = plan.steps or 2
    other = [*state, 0, 0]
    other[register] ^= 1
    runs = (plan.program.run("run", steps, False, found) for found in ([*state, 0, 0], other))
    return any(a is None or b is None or (a.op, a.fields) != (b.op, b.fields) for a, b in zip_longest(*runs))


@dataclass(frozen=True)
class _Move:
    """Where a layer's part of each memory begins."""

    layer: int
    base: dict
    beats: int
    ring: int

    def moved(self, step, distance):
        """An instruction on that part; ``distance`` is that of the program."""
        fields = dict(step.fields)

        def add(memory, *names):
            for name in names:
                fields[name] = fields[name] + self.base[memory] & (1 << OPS[step.op].fields[name]) - 1

        if step.op == "LOOP":
            fields["exit"] += distance
        elif step.op == "RING":
            fields["base"] = self.ring
        elif step.op == "LOAD":
            fields["offset"] += self.beats
            if not step.stream:
                add("weight_words", "base")
        elif step.op == "CELL":
            add("states", "state")
            add("h_elements", "target")
            fields["scale"] = self.layer
        elif step.op == "MAC" and step.mask:
            if not step.stream:
                add("weight_words", "weight")
            if step.space == SPACE_H:
                add("h_elements", "operand")
            if step.source or step.source_reg:
                add("accumulators", "source")
            if step.store:
                add("accumulators", "target")
        return instruction(step.op, **fields)
