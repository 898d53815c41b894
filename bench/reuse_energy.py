"""Energy from counted events, with published energies an event."""

DRAM, BUFFER_WRITE, BUFFER_READ, MAC = 320.0, 2.5, 2.5, 0.8
"""Picojoules for 16 bits, 45 nm.

Horowitz, "Computing's energy problem", ISSCC 2014: DRAM 1.3 to 2.6 nJ for 64 bits, an 8 KB SRAM 10 pJ for 64 bits, an
integer multiplication 0.2 pJ (8 bits) and 3.1 pJ (32 bits), an addition 0.1 pJ (32 bits). DRAM is taken at its lower
end; a 16-bit multiplication at the geometric mean of the two.
"""


def energy(events):
    """Picojoules of counted events.

    Parameters
    ----------
    events : dict of str to float
        ``dram``, ``writes``, ``reads``: 16-bit weights from memory, into the buffer, out of it; ``macs``.

    Returns
    -------
    float
    """
    return (
        events["dram"] * DRAM + events["writes"] * BUFFER_WRITE + events["reads"] * BUFFER_READ + events["macs"] * MAC
    )
