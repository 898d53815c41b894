"""What the 7 series boards share: a PLL, the check of the clock, and the block design with the engine."""

from amaranth import ClockDomain, ClockSignal, Instance, Signal
from amaranth.build import Attrs, Clock, DiffPairs, Pins, Resource
from amaranth.lib import io
from amaranth.lib.cdc import ResetSynchronizer
from amaranth.vendor import XilinxPlatform
from amaranth_boards.resources import ButtonResources, LEDResources, UARTResource

from lstm_hw.machine.parts import BOARDS

from . import jtag_design, zynq_design
from .zynq_design import DDR3_1066, PERIPHERALS, Processor, ddr_delays

VIRTEX_RESET, VIRTEX_LEVEL = "AV40", "LVCMOS18"
"""Pin of the button CPU RESET of VC707 and VC709, and the level of its bank."""
SLACK_CHECK = """
foreach {check kind} {setup max hold min} {
    set slack [get_property SLACK [lindex [get_timing_paths -delay_type $kind] 0]]
    if {![string is double -strict $slack] || $slack < 0} {
        puts stderr "error: timing: $check slack is $slack ns, must not be negative"
        exit 1
    }
}"""
"""No bitstream of a design that is too slow for its clock."""


def add_pll(m, clock_io, input_mhz, output_mhz, vco_mhz=1000):
    """Make the domain ``sync`` from a clock pin, in reset until the PLL has locked.

    Parameters
    ----------
    m : Module
    clock_io : port
        A clock pin.
    input_mhz, output_mhz, vco_mhz : int
        The VCO's frequency is a multiple of both others (800 to 1600 for speed grades 1 and 2).
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


class SevenSeries(XilinxPlatform):
    """A 7 series board, with the files of a block design beside those of the self-test."""

    connectors = []
    clock_checked = False
    """No vendor tool has been at hand to confirm the clock rate."""
    open_tools = None
    """Vivado builds the bitstream."""
    uart, held_high, flash = None, (), None
    """A processor is the host, where there is one."""
    overrides = {"script_before_bitstream": SLACK_CHECK}
    """Texts for the gaps of Amaranth's file templates."""

    def add_clock(self, m):
        add_pll(m, self.request(self.default_clk, dir="-"), self.input_mhz, self.board.clock_mhz)


class ZynqBoard(SevenSeries):
    """A board with a Zynq-7000; ``processor`` is its :class:`boards.zynq_design.Processor`."""

    restart = "button", 0

    def integration_files(self, engine_config):
        """Files beside the self-test: a Vivado script with the engine beside the processor."""
        return zynq_design.files(engine_config, self.board, self.processor)


class VirtexBoard(SevenSeries):
    """A VC707 or a VC709, without a processor, whose host is at its UART; ``clock_pins``: pins of its clock, and their
    level. ``restart`` is the button CPU RESET."""

    package, speed = "ffg1761", "2"
    input_mhz, default_clk = 200, "clk200"
    restart = "cpu_reset", 0
    uart, baud = ("uart", 0), 115_200
    """The CP2103 behind the USB socket."""
    # Bank 0, whose pins configure the device, is on 1.8 V.
    overrides = SevenSeries.overrides | {
        "add_constraints": "set_property CFGBVS GND [current_design]\nset_property CONFIG_VOLTAGE 1.8 [current_design]"
    }

    def __init_subclass__(cls):
        """Clock, button, LEDs and UART: the same pins on both boards, but for the clock's."""
        positive, negative, clock_level = cls.clock_pins
        level, clock = Attrs(IOSTANDARD=VIRTEX_LEVEL), Attrs(IOSTANDARD=clock_level)
        cls.resources = [
            Resource("clk200", 0, DiffPairs(positive, negative, dir="i"), Clock(cls.input_mhz * 1e6), clock),
            Resource("cpu_reset", 0, Pins(VIRTEX_RESET, dir="i"), level),
            *LEDResources(pins="AM39 AN39 AR37 AT37 AR35 AP41 AP42 AU39", attrs=level),
            UARTResource(0, rx="AU33", tx="AU36", attrs=level),
        ]

    def integration_files(self, engine_config):
        """Files beside the self-test: a Vivado script with the engine behind a bridge from JTAG, and its host."""
        clock = (*self.clock_pins, self.input_mhz)
        return jtag_design.files(engine_config, self.board, clock, VIRTEX_RESET, VIRTEX_LEVEL)


class VC707Platform(VirtexBoard):
    """Xilinx VC707 (Virtex-7 XC7VX485T)."""

    board = BOARDS["vc707"]
    device = "xc7vx485t"
    clock_pins = "E19", "E18", "LVDS"


class VC709Platform(VirtexBoard):
    """Xilinx VC709 (Virtex-7 XC7VX690T). The clock's bank is on 1.5 V."""

    board = BOARDS["vc709"]
    device = "xc7vx690t"
    clock_pins = "H19", "G18", "DIFF_SSTL15"


def z7_20_resources():
    """Clock, LEDs and buttons of the PYNQ-Z2 and the Arty Z7-20, which have the same pins."""
    level = Attrs(IOSTANDARD="LVCMOS33")
    return [
        Resource("clk125", 0, Pins("H16", dir="i"), Clock(125e6), level),
        *LEDResources(pins="R14 P14 N16 M14", attrs=level),
        *ButtonResources(pins="D19 D20 L20 L19", attrs=level),
    ]


def z7_20_processor(source):
    """The processor of the PYNQ-Z2 and the Arty Z7-20, which have the same memory, peripherals and traces."""
    config = (
        DDR3_1066
        | ddr_delays(("0.223", "0.212", "0.085", "0.092"), ("0.040", "0.058", "-0.009", "-0.033"))
        | {
            "CRYSTAL_PERIPHERAL_FREQMHZ": "50",
            "APU_PERIPHERAL_FREQMHZ": "650",
            "UIPARAM_DDR_FREQ_MHZ": "525",
            "UIPARAM_DDR_PARTNO": "MT41J256M16 RE-125",
            "UIPARAM_DDR_BUS_WIDTH": "16 Bit",
            "UIPARAM_DDR_DRAM_WIDTH": "16 Bits",
            "UIPARAM_DDR_DEVICE_CAPACITY": "4096 MBits",
            "UIPARAM_DDR_ROW_ADDR_COUNT": 15,
            "UIPARAM_DDR_T_RC": "48.91",
            "UIPARAM_DDR_T_RAS_MIN": "35.0",
            "UIPARAM_DDR_T_FAW": "40.0",
            "UIPARAM_DDR_USE_INTERNAL_VREF": 0,
        }
        | PERIPHERALS
        | {
            "QSPI_GRP_SINGLE_SS_ENABLE": 1,
            "UART0_PERIPHERAL_ENABLE": 1,
            "UART0_UART0_IO": "MIO 14 .. 15",
            "ENET0_RESET_ENABLE": 1,
            "ENET0_RESET_IO": "MIO 9",
            "USB0_RESET_ENABLE": 1,
            "USB0_RESET_IO": "MIO 46",
            "SD0_GRP_CD_IO": "MIO 47",
        }
    )
    return Processor(512 << 20, config, source)
