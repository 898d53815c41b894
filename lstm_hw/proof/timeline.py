"""What the lanes do in every cycle of a run: the cycle model, recorded instead of only counted."""

import numpy as np

from ..machine.plan import Plan
from .count import count_cycles, registers_before
from .load_timing import MemoryModel
from .mac_timing import STALLS
from .timing import Counters, Timing

STATES = ("busy", *STALLS, "empty")
"""What the lanes can be doing in a cycle; the names are those of the counters."""
RECORDED = 1 << 20
"""Cycles that are recorded: of a longer run the first ones."""


def timeline(
    plan: Plan,
    steps: int,
    clear: bool = True,
    entry: str = "run",
    memory: MemoryModel | None = None,
    recorded: int = RECORDED,
) -> tuple[Counters, np.ndarray]:
    """Record the start of a run of a plan whose weights have been loaded.

    Parameters
    ----------
    plan : Plan
    steps : int
    clear : bool
        The run starts from zero state.
    entry : str
    memory : MemoryModel, optional
    recorded : int
        Cycles to record.

    Returns
    -------
    counters : Counters
        Of the whole run.
    states : int8 array (cycles,)
        Index into ``STATES`` for every cycle, or for the first ``recorded`` of them.

    Raises
    ------
    ProgramError
        The program does not run to its end.
    """
    counters = count_cycles(plan, steps, clear, entry, memory)
    timing = Timing(plan.config, memory)
    spans = timing.lanes.spans = []
    for command in plan.program.run(entry, steps, clear, registers_before(plan, entry)):
        timing.execute(command)
        if timing.clock > recorded:
            break  # columns of later commands come behind it
    states = np.full(min(counters.cycles, recorded), STATES.index("empty"), dtype=np.int8)
    for state, first, end in spans:
        states[first:end] = state
    return counters, states
