"""Xilinx ZC706 (Zynq-7000 XC7Z045), clocked and reset by the programmable logic alone.

The board's UART belongs to the processor. LED 0 and 2 and the buttons left and right are on a 2.5 V bank, the others
on a 1.5 V bank.
"""

from amaranth.build import Attrs, Clock, DiffPairs, Pins, Resource
from amaranth_boards.resources import SwitchResources

from lstm_hw.machine.parts import BOARDS

from .xilinx import ZynqBoard
from .zynq_design import DDR3_1066, PERIPHERALS, Processor, ddr_delays

_LOW, _HIGH = Attrs(IOSTANDARD="LVCMOS15"), Attrs(IOSTANDARD="LVCMOS25")


class ZC706Platform(ZynqBoard):
    """The board; ``restart`` is the left button."""

    board = BOARDS["zc706"]
    device, package, speed = "xc7z045", "ffg900", "2"
    input_mhz, default_clk = 200, "clk200"
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
    processor = Processor(
        1 << 30,
        DDR3_1066
        | ddr_delays(("0.521", "0.636", "0.54", "0.621"), ("0.226", "0.278", "0.184", "0.309"))
        | {
            "CRYSTAL_PERIPHERAL_FREQMHZ": "33.333333",
            "APU_PERIPHERAL_FREQMHZ": "666.666667",
            "UIPARAM_DDR_FREQ_MHZ": "533.333313",
            "UIPARAM_DDR_PARTNO": "Custom",
            "UIPARAM_DDR_BUS_WIDTH": "32 Bit",
            "UIPARAM_DDR_DRAM_WIDTH": "8 Bits",
            "UIPARAM_DDR_DEVICE_CAPACITY": "2048 MBits",
            "UIPARAM_DDR_ROW_ADDR_COUNT": 15,
            "UIPARAM_DDR_T_RC": "49.5",
            "UIPARAM_DDR_T_RAS_MIN": "36.0",
            "UIPARAM_DDR_T_FAW": "30.0",
            "UIPARAM_DDR_USE_INTERNAL_VREF": 1,
        }
        | PERIPHERALS
        | {
            "PRESET_BANK0_VOLTAGE": "LVCMOS 1.8V",
            "QSPI_GRP_SINGLE_SS_ENABLE": 0,
            "QSPI_GRP_IO1_ENABLE": 1,
            "UART1_PERIPHERAL_ENABLE": 1,
            "UART1_UART1_IO": "MIO 48 .. 49",
            "ENET0_RESET_ENABLE": 1,
            "ENET0_RESET_IO": "MIO 47",
            "USB0_RESET_ENABLE": 1,
            "USB0_RESET_IO": "MIO 7",
            "I2C0_PERIPHERAL_ENABLE": 1,
            "I2C0_I2C0_IO": "MIO 50 .. 51",
            "SD0_GRP_CD_IO": "MIO 14",
            "SD0_GRP_WP_ENABLE": 1,
            "SD0_GRP_WP_IO": "MIO 15",
        },
        "preset of the ZC706 in Vivado, as public projects for the board have it; UG954; Micron MT41J256M8-15E",
    )
