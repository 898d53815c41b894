"""Radiona ULX3S with an ECP5 85F, by open tools from Verilog to bitstream."""

from amaranth import ClockDomain, ClockSignal, Const, Instance, Signal
from amaranth.build import Attrs, Pins, Resource
from amaranth.lib import io
from amaranth.lib.cdc import ResetSynchronizer
from amaranth_boards.resources import UARTResource
from amaranth_boards.ulx3s import ULX3S_85F_Platform

from lstm_hw.machine.parts import BOARDS

from .ecp5 import Device

_VCO_MHZ = 600
"""The PLL's oscillator runs at 400 to 800 MHz."""


class ULX3SPlatform(ULX3S_85F_Platform):
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
        Resource("wifi_gpio0", 0, Pins("L2", dir="o"), Attrs(IO_TYPE="LVCMOS33", PULLMODE="UP")),
    ]
    overrides = {}
    """Texts for the gaps of Amaranth's file templates."""

    def add_clock(self, m):
        """Make the domain ``sync`` from the board's 25 MHz by a PLL, in reset until it has locked."""
        m.domains.sync = ClockDomain("sync")
        m.submodules.clock_buffer = clock_buffer = io.Buffer("i", self.request("clk25", dir="-"))
        locked = Signal(name="pll_locked")
        divider = _VCO_MHZ // self.board.clock_mhz
        m.submodules.pll = Instance(
            "EHXPLLL",
            a_FREQUENCY_PIN_CLKI=str(self.input_mhz),
            a_FREQUENCY_PIN_CLKOP=str(self.board.clock_mhz),
            a_ICP_CURRENT="12",
            a_LPF_RESISTOR="8",
            a_MFG_ENABLE_FILTEROPAMP="1",
            a_MFG_GMCREF_SEL="2",
            p_PLLRST_ENA="DISABLED",
            p_INTFB_WAKE="DISABLED",
            p_STDBY_ENABLE="DISABLED",
            p_DPHASE_SOURCE="DISABLED",
            p_OUTDIVIDER_MUXA="DIVA",
            p_OUTDIVIDER_MUXB="DIVB",
            p_OUTDIVIDER_MUXC="DIVC",
            p_OUTDIVIDER_MUXD="DIVD",
            p_FEEDBK_PATH="CLKOP",
            p_CLKI_DIV=1,
            p_CLKFB_DIV=self.board.clock_mhz // self.input_mhz,
            p_CLKOP_ENABLE="ENABLED",
            p_CLKOP_DIV=divider,
            p_CLKOP_CPHASE=divider // 2 - 1,
            p_CLKOP_FPHASE=0,
            i_CLKI=clock_buffer.i,
            i_CLKFB=ClockSignal(),
            o_CLKOP=ClockSignal(),
            o_LOCK=locked,
            i_RST=Const(0),
            i_STDBY=Const(0),
            i_PHASESEL0=Const(0),
            i_PHASESEL1=Const(0),
            i_PHASEDIR=Const(1),
            i_PHASESTEP=Const(1),
            i_PHASELOADREG=Const(1),
            i_PLLWAKESYNC=Const(0),
            i_ENCLKOP=Const(0),
        )
        m.submodules.reset = ResetSynchronizer(~locked, domain="sync")

    def integration_files(self, engine_config):
        """Files beside the self-test: none."""
        return {}
