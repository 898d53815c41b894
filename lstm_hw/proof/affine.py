"""How long a loop of a program goes on doing the same while registers change by equal steps."""

from collections.abc import Sequence

from ..machine.isa import LOOP_COUNT, LOOP_IF, REGISTER_BITS
from ..machine.program import Program

EVER = 1 << 62
"""More periods than any run has."""
SIZE = 1 << REGISTER_BITS


def signed(number: int) -> int:
    """A difference of registers as a step up or down."""
    return (number + SIZE // 2) % SIZE - SIZE // 2


def periods(
    program: Program,
    start: int,
    end: int,
    rounds: int,
    registers: Sequence[int],
    steps: Sequence[int],
    timed: Sequence[Sequence[tuple[int, int]]],
) -> int:
    """Periods that follow one and do the same as it.

    The period begins at ``start`` and ends when the loop of the END at ``end`` has gone round ``rounds`` times. In
    period n a register that was ``registers[r]`` is ``registers[r] + n * steps[r]``, and so is a linear function of n
    wherever no SET came between; every decision is the sign of such a function, which changes once.

    Parameters
    ----------
    program : Program
    start, end, rounds : int
    registers : sequence of int
        At the start of the first period.
    steps : sequence of int
        By how much each of them is more at the start of the next one.
    timed : sequence of sequence of (register, modulus)
        For every address the registers of a command that must be the same in every period, modulo so much.

    Returns
    -------
    int
        0 if already the next period differs.
    """
    values, steps = list(registers), list(steps)
    # Within these bounds no register wraps.
    limit = min(min(_same_side(v, d), _same_side(v - SIZE, d)) for v, d in zip(values, steps, strict=True))
    pc, loops = start, []
    while limit:
        instr, at = program.instructions[pc], pc
        pc += 1
        if instr.op == "SET":
            values[instr.register], steps[instr.register] = instr.value, 0
        elif instr.op == "ADD":
            values[instr.register], bound = _add(values[instr.register], steps[instr.register], instr)
            limit = min(limit, bound)
        elif instr.op == "LOOP":
            count, bound = _times(values[instr.count_reg], steps[instr.count_reg], instr)
            limit = min(limit, bound)
            if count:
                loops.append([pc, count])
            else:
                pc = instr.exit
        elif instr.op == "END":
            if at == end and not loops:
                rounds -= 1
                if rounds == 0:
                    return limit
                pc = start
            else:
                loops[-1][1] -= 1
                pc = loops[-1][0] if loops[-1][1] else pc
                if not loops[-1][1]:
                    loops.pop()
        else:
            for register, modulus in timed[at]:
                if steps[register] % modulus:
                    return 0
        values[0] = steps[0] = 0
    return 0


def _same_side(value, step):
    """Largest n up to which ``value + n * step`` is on the same side: at least 0, or below."""
    if value >= 0:
        return value // -step if step < 0 else EVER
    return (-value - 1) // step if step > 0 else EVER


def _add(value, step, instr):
    total = value + instr.value
    bound = _same_side(total - SIZE, step)
    total %= SIZE
    if instr.limit:
        bound = min(bound, _same_side(total - instr.limit, step))
        total -= instr.limit if total >= instr.limit else 0
    return total, bound


def _times(value, step, instr):
    """How often a LOOP runs in the first period, and the last period in which it does the same."""
    count, step = (value, step) if instr.count_reg else (instr.count, 0)
    if instr.when == LOOP_COUNT:
        return count, 0 if step else EVER
    bound = 0 if count == 0 and step else _same_side(count - 1, step)
    return int((count != 0) == (instr.when == LOOP_IF)), bound
