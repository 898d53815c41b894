"""The process in which :mod:`sim.runner` drives cocotb's runner: ``sim.process JOB.json``.

A process of its own, so that the environment, the log and a time limit that ends the simulator with everything it
started concern nobody else.
"""

import json
import os
import sys
from pathlib import Path

from cocotb_tools.runner import get_runner


def main(job_file: str | os.PathLike) -> None:
    """Build or run what a job file says: ``{"simulator": ..., "build": {...}}`` or ``{..., "test": {...}}``.

    The keyword arguments are those of ``cocotb_tools.runner.Runner.build`` and ``test``.
    """
    job = json.loads(Path(job_file).read_text())
    runner = get_runner(job["simulator"])
    if "build" in job:
        runner.build(**job["build"])
    if "test" in job:
        runner.test(**job["test"])


if __name__ == "__main__":
    main(sys.argv[1])
