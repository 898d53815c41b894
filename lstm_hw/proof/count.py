"""Counters of a run of a plan, without arithmetic and in a time that does not grow with its steps."""

from ..errors import ProgramError
from ..machine.isa import REGISTER_BITS, REGISTERS
from ..machine.plan import Plan
from .lists import Assumed
from .load_timing import MemoryModel
from .period import walk
from .timing import Counters, Timing


def count_cycles(
    plan: Plan, steps: int, clear: bool = True, entry: str = "run", memory: MemoryModel | None = None
) -> Counters:
    """Count the cycles of a run of a plan whose weights have been loaded.

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
    Counters

    Raises
    ------
    ProgramError
        The program does not run to its end, or the engine does not count so many steps.
    """
    if steps > plan.config.most_steps:
        rule = f"must be at most {plan.config.most_steps}; engine.register_bits = {REGISTER_BITS} counts more"
        raise ProgramError("run", f"{steps} steps", rule)
    timing = Timing(plan.config, memory, assumed=Assumed.of(plan))
    walk(timing, plan.program, entry, steps, clear, registers_before(plan, entry))
    return timing.counters


def registers_before(plan: Plan, entry: str) -> list[int]:
    """Registers as a run finds them: whatever loading the weights left there."""
    registers = [0] * REGISTERS
    if "load" in plan.program.entries and entry != "load":
        for _ in plan.program.run("load", 1, False, registers):
            pass
    return registers
