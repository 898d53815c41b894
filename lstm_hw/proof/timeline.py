"""What the lanes do in every cycle of a run: the cycle model, recorded instead of only counted."""

import numpy as np

from ..machine.plan import Plan
from .count import count_cycles, registers_before
from .lists import Assumed
from .load_timing import MemoryModel
from .mac_timing import STALLS
from .timing import Timing

STATES = ("busy", *STALLS, "empty")
"""What the lanes can be doing in a cycle; the names are those of the counters."""
RECORDED = 1 << 20
"""Cycles that are recorded: of a longer run the first ones."""


def timeline(
    plan: Plan, steps: int, entry: str = "run", memory: MemoryModel | None = None, recorded: int = RECORDED
) -> np.ndarray:
    """Record the start of a run from zero state; parameters and errors are those of :func:`count_cycles`.

    Returns
    -------
    int8 array (cycles,)
        Index into ``STATES`` for every cycle, or for the first ``recorded`` of them.
    """
    cycles = count_cycles(plan, steps, entry=entry, memory=memory).cycles
    timing = Timing(plan.config, memory, assumed=Assumed.of(plan))
    spans = timing.lanes.spans = []
    for command in plan.program.run(entry, steps, True, registers_before(plan, entry), kept=timing.kept):
        timing.execute(command)
        if timing.clock > recorded:
            break  # columns of later commands come behind it
    states = np.full(min(cycles, recorded), STATES.index("empty"), dtype=np.int8)
    for state, first, end in spans:
        states[first:end] = state
    return states
