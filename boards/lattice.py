"""What boards with an ECP5 share: the PLL, and the open tools from Verilog to bitstream."""

from math import gcd

from amaranth import ClockDomain, ClockSignal, Const, Instance, Signal
from amaranth.build import Attrs, Pins, PinsN, Resource, Subsignal
from amaranth.lib import io
from amaranth.lib.cdc import ResetSynchronizer

VCO_MHZ = 600
"""The PLL's oscillator runs at 400 to 800 MHz."""


def model_flash(cs, copi, cipo, wp, hold):
    """The flash that holds the bitstream, on pins of these names (Resource); its write protection and hold stay off."""
    return Resource(
        *Ecp5Board.flash,
        Subsignal("cs", PinsN(cs, dir="o")),
        Subsignal("copi", Pins(copi, dir="o")),
        Subsignal("cipo", Pins(cipo, dir="i"), Attrs(PULLMODE="UP")),
        Subsignal("wp", PinsN(wp, dir="o")),
        Subsignal("hold", PinsN(hold, dir="o")),
        Attrs(IO_TYPE="LVCMOS33"),
    )


class Ecp5Board:
    """A board with an ECP5, beside its platform of amaranth_boards; ``open_tools`` is its :class:`boards.ecp5.Device`,
    ``input_mhz`` the frequency of its clock pin, ``default_clk``."""

    held_high = ()
    flash = "model_flash", 0
    """The flash with the bitstream, for a model behind it; its clock pin is none of the design's."""
    overrides = {}
    """Texts for the gaps of Amaranth's file templates."""

    def add_clock(self, m):
        """Make the domain ``sync`` from the board's clock by a PLL, in reset until it has locked."""
        m.domains.sync = ClockDomain("sync")
        m.submodules.clock_buffer = clock_buffer = io.Buffer("i", self.request(self.default_clk, dir="-"))
        locked = Signal(name="pll_locked")
        divider, common = VCO_MHZ // self.board.clock_mhz, gcd(self.input_mhz, self.board.clock_mhz)
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
            p_CLKI_DIV=self.input_mhz // common,
            p_CLKFB_DIV=self.board.clock_mhz // common,
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

    def add_flash_clock(self, m, clock):
        """The clock of the flash that holds the bitstream: its pin is the FPGA's own while it is configured."""
        m.submodules.flash_clock = Instance("USRMCLK", i_USRMCLKI=clock, i_USRMCLKTS=Const(0))

    def integration_files(self, engine_config):
        """Files beside the self-test: none."""
        return {}
