"""Energy from counted events, with published energies an event: to compare engines, not to tell a board's power.

Horowitz, "Computing's energy problem", ISSCC 2014, 45 nm: DRAM 1.3 to 2.6 nJ for 64 bits, an 8 KB SRAM 10 pJ for 64
bits, an integer multiplication 0.2 pJ (8 bits) and 3.1 pJ (32 bits). DRAM is taken at its lower end. A multiplication
is taken to grow with the product of its widths: 0.2 pJ for 8 x 8 bits, 0.8 for 16 x 16, 3.2 for 32 x 32. Clocks,
leakage and whatever else a chip does are not counted.
"""

from dataclasses import dataclass

DRAM = 20.0
"""Picojoules a bit that is read from memory."""
BUFFER = 10 / 64
"""Picojoules a bit that is written into memory on chip or read from it."""
MULTIPLY = 0.2 / 64
"""Picojoules of a multiplication, by the product of the widths of its operands."""


@dataclass(frozen=True)
class Events:
    """What a run does.

    Parameters
    ----------
    dram, writes, reads : float
        Bits from memory, into memories on chip, out of them.
    products : float
        Multiplications, each times the widths of its operands.
    """

    dram: float = 0.0
    writes: float = 0.0
    reads: float = 0.0
    products: float = 0.0


def energy(events: Events) -> float:
    """Picojoules of counted events."""
    return events.dram * DRAM + (events.writes + events.reads) * BUFFER + events.products * MULTIPLY
