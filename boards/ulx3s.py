"""Radiona ULX3S with an ECP5 85F, by open tools from Verilog to bitstream."""

from amaranth.build import Attrs, Pins, Resource
from amaranth_boards.resources import UARTResource
from amaranth_boards.ulx3s import ULX3S_85F_Platform

from lstm_hw.machine.parts import BOARDS

from .ecp5 import Device
from .lattice import Ecp5Board, model_flash


class ULX3SPlatform(Ecp5Board, ULX3S_85F_Platform):
    """The board; ``restart`` is the button FIRE 1."""

    board = BOARDS["ulx3s"]
    open_tools = Device("85k", "CABGA381", "6")
    input_mhz = 25
    clock_checked = True
    """nextpnr refuses a design that is too slow for the clock."""
    restart = "button_fire", 0
    uart, baud = ("host_uart", 0), 115_200
    """The FT231X behind US1."""
    held_high = (("wifi_gpio0", 0),)
    """At low, the ESP32 would take the FPGA over."""
    resources = [
        *ULX3S_85F_Platform.resources,
        UARTResource("host_uart", 0, rx="M1", tx="L4", attrs=Attrs(IO_TYPE="LVCMOS33", PULLMODE="UP")),
        model_flash(cs="R2", copi="W2", cipo="V2", wp="Y2", hold="W1"),
        Resource("wifi_gpio0", 0, Pins("L2", dir="o"), Attrs(IO_TYPE="LVCMOS33", PULLMODE="UP")),
    ]
