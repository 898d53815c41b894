"""What the lanes do in every cycle of a run: the cycle model, recorded instead of only counted."""

import numpy as np

from ..machine.isa import REGISTERS
from .timing import Timing

STATES = ("busy", "stall_weights", "stall_h", "stall_x", "stall_output", "empty")
"""What the lanes can be doing in a cycle; the names are those of the counters."""


class Timeline(Timing):
    """A Timing that also keeps in which cycles each counter counted.

    Parameters
    ----------
    config : EngineConfig
    memory : MemoryModel, optional
    h_tokens : int
        As for Timing.
    """

    def __init__(self, config, memory=None, h_tokens=0):
        super().__init__(config, memory, h_tokens)
        self._spans = []

    def _account(self, take, issued, reasons):
        super()._account(take, issued, reasons)
        before = np.concatenate([[take], issued[:-1]])
        for kind in STATES[1:-1]:
            of_kind = [earliest for name, earliest in reasons if name == kind]
            if of_kind:
                until = np.minimum(np.max(of_kind, axis=0), issued)
                for first, last in zip(before + 1, until, strict=True):
                    if last > first:
                        self._spans.append((STATES.index(kind), int(first), int(last)))
                before = np.maximum(before, until - 1)
        self._spans.append((0, issued, None))

    def states(self):
        """Index into ``STATES`` for every cycle of the run (int8 array)."""
        cycles = np.full(self.counters.cycles, STATES.index("empty"), dtype=np.int8)
        for state, first, last in self._spans:
            cycles[first if last is None else slice(first, last)] = state
        return cycles


def timeline(plan, steps, clear=True, entry="run", memory=None):
    """Record a run of a plan whose weights have been loaded.

    Parameters
    ----------
    plan : Plan
    steps : int
    clear : bool
        The run starts from zero state.
    entry : str
    memory : MemoryModel, optional

    Returns
    -------
    counters : Counters
    states : int8 array (cycles,)
        Index into ``STATES``.

    Raises
    ------
    ProgramError
        The program does not run to its end.
    """
    registers = [0] * REGISTERS
    if "load" in plan.program.entries and entry != "load":
        for _ in plan.program.run("load", 1, False, registers):
            pass
    recorded = Timeline(plan.config, memory)
    for command in plan.program.run(entry, steps, clear, registers):
        recorded.execute(command)
    return recorded.counters, recorded.states()
