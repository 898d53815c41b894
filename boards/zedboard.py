"""Avnet ZedBoard (Zynq-7000 XC7Z020), its self-test clocked and reset by the programmable logic alone.

LEDs are on a 3.3 V bank, the buttons on one of Vadj, whose jumper J18 stands at 1.8 V when the board is delivered.
"""

from amaranth.build import Attrs, Clock, Pins, Resource
from amaranth_boards.resources import LEDResources

from lstm_hw.machine.parts import BOARDS

from .xilinx import ZynqBoard
from .zynq_design import DDR3_1066, PERIPHERALS, Processor, ddr_delays

_HIGH = Attrs(IOSTANDARD="LVCMOS33")


class ZedBoardPlatform(ZynqBoard):
    """The board; ``restart`` is the button BTNC."""

    board = BOARDS["zedboard"]
    device, package, speed = "xc7z020", "clg484", "1"
    input_mhz, default_clk = 100, "clk100"
    resources = [
        Resource("clk100", 0, Pins("Y9", dir="i"), Clock(100e6), _HIGH),
        *LEDResources(pins="T22 T21 U22 U21 V22 W22 U19 U14", attrs=_HIGH),
        Resource("button", 0, Pins("P16", dir="i"), Attrs(IOSTANDARD="LVCMOS18")),
    ]
    processor = Processor(
        512 << 20,
        DDR3_1066
        | ddr_delays(("0.41", "0.411", "0.341", "0.358"), ("0.025", "0.028", "-0.009", "-0.061"))
        | {
            "CRYSTAL_PERIPHERAL_FREQMHZ": "33.333333",
            "APU_PERIPHERAL_FREQMHZ": "666.666667",
            "UIPARAM_DDR_FREQ_MHZ": "533.333313",
            "UIPARAM_DDR_PARTNO": "MT41J128M16 HA-15E",
            "UIPARAM_DDR_BUS_WIDTH": "32 Bit",
            "UIPARAM_DDR_DRAM_WIDTH": "16 Bits",
            "UIPARAM_DDR_DEVICE_CAPACITY": "2048 MBits",
            "UIPARAM_DDR_ROW_ADDR_COUNT": 14,
            "UIPARAM_DDR_T_RC": "49.5",
            "UIPARAM_DDR_T_RAS_MIN": "36.0",
            "UIPARAM_DDR_T_FAW": "45.0",
            "UIPARAM_DDR_USE_INTERNAL_VREF": 1,
        }
        | PERIPHERALS
        | {
            "QSPI_GRP_SINGLE_SS_ENABLE": 1,
            "UART1_PERIPHERAL_ENABLE": 1,
            "UART1_UART1_IO": "MIO 48 .. 49",
            "SD0_GRP_CD_IO": "MIO 47",
            "SD0_GRP_WP_ENABLE": 1,
            "SD0_GRP_WP_IO": "MIO 46",
        },
        "preset of the ZedBoard in Vivado, as public projects for the board have it; Micron MT41J128M16",
    )
