"""Xilinx VC709 (Virtex-7 XC7VX690T)."""

from amaranth.build import Attrs, Clock, DiffPairs, Pins, Resource
from amaranth_boards.resources import LEDResources, UARTResource

from lstm_hw.machine.parts import BOARDS

from .xilinx import VirtexBoard

_LEVEL = Attrs(IOSTANDARD="LVCMOS18")


class VC709Platform(VirtexBoard):
    """The board; ``restart`` is the button CPU RESET. The clock's bank is on 1.5 V."""

    board = BOARDS["vc709"]
    device, package, speed = "xc7vx690t", "ffg1761", "2"
    clock_pins = "H19", "G18", "DIFF_SSTL15"
    resources = [
        Resource("clk200", 0, DiffPairs("H19", "G18", dir="i"), Clock(200e6), Attrs(IOSTANDARD="DIFF_SSTL15")),
        Resource("cpu_reset", 0, Pins("AV40", dir="i"), _LEVEL),
        *LEDResources(pins="AM39 AN39 AR37 AT37 AR35 AP41 AP42 AU39", attrs=_LEVEL),
        UARTResource(0, rx="AU33", tx="AU36", attrs=_LEVEL),
    ]
