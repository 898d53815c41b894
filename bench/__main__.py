"""Run every benchmark: ``python -m bench``."""

import subprocess
import sys

BENCHMARKS = ("digits", "sbe", "lanes", "reuse")
"""Modules of this package, each with a command line."""


def main():
    """Run each; the exit status is that of the first that fails, after all have run."""
    failed = 0
    for name in BENCHMARKS:
        print(f"== {name}", flush=True)
        status = subprocess.run([sys.executable, "-m", f"bench.{name}"], check=False).returncode
        failed = failed or status
    sys.exit(failed)


if __name__ == "__main__":
    main()
