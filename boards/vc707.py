"""Xilinx VC707 (Virtex-7 XC7VX485T)."""

from amaranth.build import Attrs, Clock, DiffPairs, Pins, Resource
from amaranth_boards.resources import LEDResources, UARTResource

from lstm_hw.machine.parts import BOARDS

from .xilinx import VirtexBoard

_LEVEL = Attrs(IOSTANDARD="LVCMOS18")


class VC707Platform(VirtexBoard):
    """The board; ``restart`` is the button CPU RESET."""

    board = BOARDS["vc707"]
    device, package, speed = "xc7vx485t", "ffg1761", "2"
    clock_pins = "E19", "E18", "LVDS"
    resources = [
        Resource("clk200", 0, DiffPairs("E19", "E18", dir="i"), Clock(200e6), Attrs(IOSTANDARD="LVDS")),
        Resource("cpu_reset", 0, Pins("AV40", dir="i"), _LEVEL),
        *LEDResources(pins="AM39 AN39 AR37 AT37 AR35 AP41 AP42 AU39", attrs=_LEVEL),
        UARTResource(0, rx="AU33", tx="AU36", attrs=_LEVEL),
    ]
