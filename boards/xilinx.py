"""What the 7 series boards share: a PLL."""

from amaranth import ClockDomain, ClockSignal, Instance, Signal
from amaranth.lib import io
from amaranth.lib.cdc import ResetSynchronizer


def add_pll(m, clock_io, input_mhz, output_mhz, vco_mhz=1000):
    """Make the domain ``sync`` from a clock pin, in reset until the PLL has locked.

    Parameters
    ----------
    m : Module
    clock_io : port
        A differential clock pin.
    input_mhz, output_mhz, vco_mhz : int
        The VCO's frequency is a multiple of both others (800 to 1600 for speed grade 2).
    """
    m.domains.sync = ClockDomain("sync")
    m.submodules.clock_buffer = clock_buffer = io.Buffer("i", clock_io)
    feedback, divided, locked = Signal(name="pll_feedback"), Signal(name="pll_clock"), Signal(name="pll_locked")
    m.submodules.pll = Instance(
        "PLLE2_BASE",
        p_CLKIN1_PERIOD=1000 / input_mhz,
        p_CLKFBOUT_MULT=vco_mhz // input_mhz,
        p_DIVCLK_DIVIDE=1,
        p_CLKOUT0_DIVIDE=vco_mhz // output_mhz,
        i_CLKIN1=clock_buffer.i,
        i_CLKFBIN=feedback,
        o_CLKFBOUT=feedback,
        i_RST=0,
        i_PWRDWN=0,
        o_CLKOUT0=divided,
        o_LOCKED=locked,
    )
    m.submodules.clock = Instance("BUFG", i_I=divided, o_O=ClockSignal())
    m.submodules.reset = ResetSynchronizer(~locked, domain="sync")


class SevenSeries:
    """Mix-in of a 7 series board."""

    input_mhz = 200
    clock_checked = False
    """No vendor tool has been at hand to confirm the clock rate."""
    uart, held_high = None, ()
    overrides = {}
    """Texts for the gaps of Amaranth's file templates."""

    def add_clock(self, m):
        add_pll(m, self.request(self.default_clk, dir="-"), self.input_mhz, self.board.clock_mhz)

    def integration_files(self, engine_config):
        """Files beside the self-test, file name -> text: none, unless a board has some."""
        return {}
