"""The clock of every bench."""

import cocotb
from cocotb.clock import Clock
from cocotb.handle import LogicObject

from .progress import CLOCK_NS


def start_clock(signal: LogicObject, period_ns: float = CLOCK_NS) -> None:
    """Drive a clock, low at first, to the end of the test.

    cocotb's default under Icarus is a clock in Python, whose edges take two thirds of a simulation's time.

    Parameters
    ----------
    signal : cocotb.handle.LogicObject
    period_ns : float
    """
    cocotb.start_soon(Clock(signal, period_ns, unit="ns", impl="gpi").start(start_high=False))
