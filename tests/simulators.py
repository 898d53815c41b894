"""Which simulator a test takes for what it plays."""

import shutil

QUICK = "icarus" if shutil.which("iverilog") else "verilator"
"""For an engine that is played a few times: Icarus compiles it in a tenth of Verilator's time, and what has no value is
X. Engines that are played often, and one of each kind, are Verilator's: it is faster, with random bits for X."""
