"""Run every benchmark: ``python -m bench``."""

import sys

from lstm_hw.process import python, running

BENCHMARKS = (
    "digits",
    "accuracy",
    "predict",
    "prune",
    "sbe",
    "lanes",
    "activations",
    "reuse",
    "schedules",
    "sparse",
    "elstm",
    "audio",
    "explore",
)
"""Modules of this package, each with a command line."""


def main():
    """Run each; the exit status is that of the first that fails, after all have run."""
    failed = 0
    for name in BENCHMARKS:
        print(f"== {name}", flush=True)
        with running(python(f"bench.{name}")) as process:
            status = process.wait()
        failed = failed or status
    sys.exit(failed)


if __name__ == "__main__":
    main()
