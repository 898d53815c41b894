"""Xilinx ZC706 (Zynq-7000 XC7Z045), clocked and reset by the programmable logic alone.

The board's UART belongs to the processor. LED 0 and 2 and the buttons left and right are on a 2.5 V bank, the others
on a 1.5 V bank.
"""

from amaranth.build import Attrs, Clock, DiffPairs, Pins, Resource
from amaranth.vendor import XilinxPlatform
from amaranth_boards.resources import SwitchResources

from lstm_hw.machine.parts import BOARDS

from . import zynq_design
from .xilinx import SevenSeries

_LOW, _HIGH = Attrs(IOSTANDARD="LVCMOS15"), Attrs(IOSTANDARD="LVCMOS25")


class ZC706Platform(SevenSeries, XilinxPlatform):
    """The board; ``restart`` is the left button."""

    board = BOARDS["zc706"]
    device, package, speed = "xc7z045", "ffg900", "2"
    default_clk = "clk200"
    restart = "button", 0
    resources = [
        Resource("clk200", 0, DiffPairs("H9", "G9", dir="i"), Clock(200e6), Attrs(IOSTANDARD="LVDS")),
        *(
            Resource("led", number, Pins(pin, dir="o"), level)
            for number, (pin, level) in enumerate([("Y21", _HIGH), ("G2", _LOW), ("W21", _HIGH), ("A17", _LOW)])
        ),
        *(
            Resource("button", number, Pins(pin, dir="i"), level)
            for number, (pin, level) in enumerate([("AK25", _HIGH), ("K15", _LOW), ("R27", _HIGH)])
        ),
        *SwitchResources(pins="AB17 AC16 AC17 AJ13", attrs=_HIGH),
    ]
    connectors = []

    def integration_files(self, engine_config):
        """Files beside the self-test: a Vivado script with the engine beside the processor."""
        return {"block_design.tcl": zynq_design.script(engine_config)}
