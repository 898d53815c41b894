"""TUL PYNQ-Z2 (Zynq-7000 XC7Z020), its self-test clocked and reset by the programmable logic alone."""

from lstm_hw.machine.parts import BOARDS

from .xilinx import ZynqBoard, z7_20_processor, z7_20_resources


class PynqZ2Platform(ZynqBoard):
    """The board; ``restart`` is the button BTN0. The 125 MHz come from the Ethernet PHY."""

    board = BOARDS["pynq-z2"]
    device, package, speed = "xc7z020", "clg400", "1"
    input_mhz, default_clk = 125, "clk125"
    resources = z7_20_resources()
    processor = z7_20_processor("pynqz2.tcl of the PYNQ-Z2 in Xilinx's repository PYNQ")
