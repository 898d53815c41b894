"""Digilent Arty Z7-20 (Zynq-7000 XC7Z020), its self-test clocked and reset by the programmable logic alone."""

from lstm_hw.machine.parts import BOARDS

from .xilinx import ZynqBoard, z7_20_processor, z7_20_resources


class ArtyZ720Platform(ZynqBoard):
    """The board; ``restart`` is the button BTN0. The 125 MHz come from the Ethernet PHY."""

    board = BOARDS["arty-z7-20"]
    device, package, speed = "xc7z020", "clg400", "1"
    input_mhz, default_clk = 125, "clk125"
    resources = z7_20_resources()
    processor = z7_20_processor("preset of the Arty Z7-20 in Digilent's repository vivado-boards")
