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


def deciding(program: Program, timed: Sequence[Sequence[tuple[int, int]]]) -> set[int]:
    """Registers that a LOOP reads, or a command of ``timed``, see :func:`periods`."""
    counts = {instr.count_reg for instr in program.instructions if instr.op == "LOOP"}
    return counts.union(register for entries in timed for register, _ in entries)


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
    values, steps, read = list(registers), list(steps), deciding(program, timed)
    # Within these bounds no register wraps.
    limit = min(min(_same_side(v, d), _same_side(v - SIZE, d)) for v, d in zip(values, steps, strict=True))
    code, pc, loops = program.code, start, []
    while limit:
        (op, *fields), at = code[pc], pc
        pc += 1
        if op in ("SET", "ADD") and fields[0] not in read:
            continue
        if op == "SET":
            register, value = fields
            values[register], steps[register] = value, 0
        elif op == "ADD":
            register, value, wrap = fields
            if steps[register]:
                limit = min(limit, _unchanged(values[register] + value, steps[register], wrap))
            total = (values[register] + value) % SIZE
            values[register] = total - wrap if wrap and total >= wrap else total
        elif op == "LOOP":
            count, register, exit_, when = fields
            if register:
                count = values[register]
                if steps[register]:
                    limit = min(limit, _same_times(count, steps[register], when))
            count = count if when == LOOP_COUNT else int((count != 0) == (when == LOOP_IF))
            if count:
                loops.append([pc, count, values.copy(), steps.copy()])
            else:
                pc = exit_
        elif op == "END":
            if at == end and not loops:
                rounds -= 1
                if rounds == 0:
                    return limit
                pc = start
            else:
                loop = loops[-1]
                loop[1] -= 1
                if not loop[1] or loop[2:] == [values, steps]:  # what did not change anything does not the next time
                    loops.pop()
                else:
                    pc, loop[2], loop[3] = loop[0], values.copy(), steps.copy()
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


def _unchanged(total, step, wrap):
    """Last period in which an ADD wraps, and takes ``wrap`` off, as in the first one, in which it gives ``total``."""
    bound = _same_side(total - SIZE, step)
    return min(bound, _same_side(total % SIZE - wrap, step)) if wrap else bound


def _same_times(count, step, when):
    """Last period in which a LOOP with a count that moves does the same as in the first one."""
    return 0 if when == LOOP_COUNT or count == 0 else _same_side(count - 1, step)
