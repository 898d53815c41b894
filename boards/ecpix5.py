"""LambdaConcept ECPIX-5 with an ECP5-5G 85F, by open tools from Verilog to bitstream."""

from amaranth.build import Attrs
from amaranth_boards.ecpix5 import ECPIX585Platform
from amaranth_boards.resources import LEDResources

from lstm_hw.machine.parts import BOARDS

from .ecp5 import Device
from .lattice import Ecp5Board, model_flash


class ECPIX5Platform(Ecp5Board, ECPIX585Platform):
    """The board; ``restart`` is the button RESET. Of each light with three colours the green one is used."""

    board = BOARDS["ecpix5"]
    open_tools = Device("um5g-85k", "CABGA554", "8")
    input_mhz = 100
    clock_checked = True
    """nextpnr refuses a design that is too slow for the clock."""
    restart = "rst", 0
    uart, baud = ("uart", 0), 115_200
    """Channel B of the FT2232H behind the USB socket."""
    resources = [
        *(resource for resource in ECPIX585Platform.resources if resource.name != "rgb_led"),
        model_flash(cs="AA2", copi="AD2", cipo="AE2", wp="AF2", hold="AE1"),
        *LEDResources(pins="R21 W21 K24 R23", invert=True, attrs=Attrs(IO_TYPE="LVCMOS33", PULLMODE="UP")),
    ]
