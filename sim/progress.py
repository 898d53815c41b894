"""How a bench tells the process that started it how far it is."""

import re

_LINE = re.compile(r"^@progress (\d+)/(\d+)$", re.MULTILINE)


def report_progress(done, total):
    """Print how far a bench is; :func:`sim.runner.run_bench` passes it to its ``progress`` callable.

    Parameters
    ----------
    done, total : int
        Units finished and units in all; any unit.
    """
    print(f"@progress {int(done)}/{int(total)}", flush=True)


def last_progress(text):
    """Return the last ``(done, total)`` in a log text, or None."""
    found = _LINE.findall(text)
    return tuple(map(int, found[-1])) if found else None
