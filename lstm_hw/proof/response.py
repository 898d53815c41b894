"""How long outputs take behind the x that they follow from, where x comes slower than the engine would take it."""

from copy import deepcopy

import numpy as np

from ..machine.limits import SERIAL_SLOTS
from ..machine.plan import Plan
from .count import count_cycles, registers_before
from .lists import Assumed
from .load_timing import MemoryModel
from .timing import SETTLED, Timing


def late_beats(plan: Plan) -> int:
    """Beats of x of the steps that a schedule takes together, which :func:`response` lets come late."""
    streams = plan.streams
    return len(streams.beats(np.zeros((streams.sequences, plan.batch, streams.inputs), dtype=np.int64))[0])


def bounds(cycles: tuple[int, ...]) -> dict[str, int]:
    """The least and the most of what :func:`response` returns."""
    return {"least": min(cycles), "most": max(cycles)}


def response(plan: Plan, memory: MemoryModel | None = None, steps: int = 2, from_end: bool = False) -> tuple[int, ...]:
    """Count the cycles from the last beat of x of a step to the last beat of its outputs; where a layer waits for all
    steps, from the last beat of x of a sequence to the last one of all outputs.

    The engine waits for that x, and all that can be done without it has been done. Where a schedule takes steps
    together, the x of all of them comes at once, and the step is the last of them. Where x is read from the end, the
    last x is in the first beat, so they are counted from there.

    Parameters
    ----------
    plan : Plan
    memory : MemoryModel, optional
    steps : int
        Of the sequence where a layer waits, or x is read from the end; two at least.
    from_end : bool
        Whether software gives the engine x of a sequence from the end, or from both ends.

    Returns
    -------
    tuple of int
        One for each of the cycles after one another in which x may come: the cell unit gives its slots in turn, and
        finished sums wait for one.

    Raises
    ------
    ProgramError
        The program does not run to its end.
    """
    steps = max(2, steps) if plan.network.waits or from_end else 2 * plan.batch
    beats = 0 if from_end else late_beats(plan) * (steps // plan.batch - 1)
    settled = count_cycles(plan, steps, memory=memory).cycles + SETTLED
    timing = Timing(plan.config, memory, assumed=Assumed.of(plan))
    commands = plan.program.run("run", steps, True, registers_before(plan, "run"))
    rest = []
    for command in commands:
        if command.op == "INPUT" and timing.x_beats >= beats:
            rest = [command, *commands]
            break
        timing.execute(command)
    found = []
    for phase in range(SERIAL_SLOTS):
        late = deepcopy(timing)
        late.held = beats, settled + phase
        for command in rest:
            late.execute(command)
        found.append(late.cells.last_sent - (late.held[1] if from_end else late.last_x))
    return tuple(found)
