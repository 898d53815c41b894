"""How a bench tells the process that started it how far it is, and that it is alive."""

import re
import time

CLOCK_NS = 10
"""Of a cycle, in every bench."""
_LINE = re.compile(r"^@progress (\d+)/(\d+)$", re.MULTILINE)


def report_progress(done: int, total: int) -> None:
    """Print how far a bench is; :func:`sim.runner.run_bench` passes it to its ``progress`` callable.

    Parameters
    ----------
    done, total : int
        Units finished and units in all; any unit.
    """
    print(f"@progress {int(done)}/{int(total)}", flush=True)


def seconds() -> float:
    """Simulated time, for the driver's waits."""
    from cocotb.utils import get_sim_time

    return get_sim_time("ns") * 1e-9


async def heartbeat(every_s: float = 5.0) -> None:
    """Print now and then that simulated time goes on; without any output a run counts as hung after a while.

    Parameters
    ----------
    every_s : float
        Seconds of wall time between two lines; the clock is looked at every 10,000 cycles.
    """
    from cocotb.triggers import Timer
    from cocotb.utils import get_sim_time

    spoke = time.monotonic()
    while True:
        await Timer(10_000 * CLOCK_NS, "ns")
        if time.monotonic() - spoke >= every_s:
            spoke = time.monotonic()
            print(f"@alive {get_sim_time('ns'):.0f} ns", flush=True)


def last_progress(text: str) -> tuple[int, int] | None:
    """Return the last ``(done, total)`` in a log text, or None."""
    found = _LINE.findall(text)
    return tuple(map(int, found[-1])) if found else None
