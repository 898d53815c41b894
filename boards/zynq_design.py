"""The engine beside the processor of a Zynq-7000: a block design for Vivado."""

from dataclasses import dataclass

from lstm_hw.machine.limits import VALUE_BITS
from lstm_hw.machine.ports import CONTROL, X, Y, weight_prefixes

from . import block_design as bd

HP_PORTS, HP_BITS = 4, 64
"""Ports from the fabric to the memory of the processor, and their width."""
INTERRUPTS = (
    f"{bd.ENGINE}/interrupt",
    f"{bd.DMA}/mm2s_introut",
    f"{bd.DMA}/s2mm_introut",
)
"""What drives IRQ_F2P, from bit 0 on."""


@dataclass(frozen=True)
class Processor:
    """What a board decides of its processor.

    Parameters
    ----------
    memory_bytes : int
        DDR of the processor.
    config : dict of str to value
        Properties of the core processing_system7, without ``PCW_``: clocks, DDR, pins of the peripherals.
    source : str
        Where they come from.
    """

    memory_bytes: int
    config: dict
    source: str


def ddr_delays(board, dqs):
    """Properties of the traces to the DDR: delay of each byte lane, and of its strobe to the clock, in ns."""
    return {f"UIPARAM_DDR_BOARD_DELAY{lane}": delay for lane, delay in enumerate(board)} | {
        f"UIPARAM_DDR_DQS_TO_CLK_DELAY_{lane}": delay for lane, delay in enumerate(dqs)
    }


DDR3_1066 = {
    "UIPARAM_DDR_ENABLE": 1,
    "UIPARAM_DDR_MEMORY_TYPE": "DDR 3",
    "UIPARAM_DDR_SPEED_BIN": "DDR3_1066F",
    "UIPARAM_DDR_ECC": "Disabled",
    "UIPARAM_DDR_BL": 8,
    "UIPARAM_DDR_AL": 0,
    "UIPARAM_DDR_CL": 7,
    "UIPARAM_DDR_CWL": 6,
    "UIPARAM_DDR_T_RCD": 7,
    "UIPARAM_DDR_T_RP": 7,
    "UIPARAM_DDR_BANK_ADDR_COUNT": 3,
    "UIPARAM_DDR_COL_ADDR_COUNT": 10,
    "UIPARAM_DDR_TRAIN_WRITE_LEVEL": 1,
    "UIPARAM_DDR_TRAIN_READ_GATE": 1,
    "UIPARAM_DDR_TRAIN_DATA_EYE": 1,
}
"""Properties of the DDR that the boards here have in common."""
PERIPHERALS = {
    "PRESET_BANK0_VOLTAGE": "LVCMOS 3.3V",
    "PRESET_BANK1_VOLTAGE": "LVCMOS 1.8V",
    "QSPI_PERIPHERAL_ENABLE": 1,
    "QSPI_GRP_FBCLK_ENABLE": 1,
    "ENET0_PERIPHERAL_ENABLE": 1,
    "ENET0_ENET0_IO": "MIO 16 .. 27",
    "ENET0_GRP_MDIO_ENABLE": 1,
    "ENET0_GRP_MDIO_IO": "MIO 52 .. 53",
    "SD0_PERIPHERAL_ENABLE": 1,
    "SD0_SD0_IO": "MIO 40 .. 45",
    "SD0_GRP_CD_ENABLE": 1,
    "SDIO_PERIPHERAL_FREQMHZ": 50,
    "USB0_PERIPHERAL_ENABLE": 1,
    "USB0_USB0_IO": "MIO 28 .. 39",
    "GPIO_MIO_GPIO_ENABLE": 1,
}
"""Properties of the peripherals that the boards here have in common."""


def files(engine_config, board, processor):
    """The files of the block design.

    Parameters
    ----------
    engine_config : EngineConfig
        Decides the weight ports and the widths of the stream DMA.
    board : lstm_hw.machine.parts.Board
    processor : Processor

    Returns
    -------
    dict of str to str
        File name -> text.

    Raises
    ------
    ConfigError
        A beat of x is wider than the DMA has beats.
    """
    ports = weight_prefixes(engine_config)
    memory = [f"S_AXI_HP{number}" for number in range(len(ports))]
    notes = [
        f"registers  {CONTROL}  <- M_AXI_GP0, at {bd.CONTROL_BASE:#010x}",
        *(f"weights    {port} -> {slave}" for port, slave in zip(ports, memory, strict=True)),
        f"x          {X}  <- AXI DMA, MM2S, {bd.x_bits_of(engine_config)} bits; its registers at {bd.DMA_BASE:#010x}",
        f"outputs    {Y}  -> AXI DMA, S2MM, {VALUE_BITS} bits",
        f"vectors    AXI DMA <-> {_dma_slave(engine_config)}",
        f"interrupts IRQ_F2P: {', '.join(f'{n} {pin}' for n, pin in enumerate(INTERRUPTS))}",
        "",
        "The DMA is in simple mode and has realignment engines: FLAGS.sequence for one transfer of all x of a run,",
        "FLAGS.one_packet for one transfer of all its outputs. Vectors of x begin with a beat of their own.",
        f"Settings of the processor: {processor.source}",
    ]
    title = f"The engine beside the processor of the {board.name}: a block design for Vivado."
    return bd.script(design(engine_config, board.clock_mhz, processor), board.name, board.part, title, notes)


def design(engine_config, clock_mhz, processor):
    """The block design (Design); parameters and errors as of :func:`files`."""
    ports = weight_prefixes(engine_config)
    dma_slave = _dma_slave(engine_config)
    found = bd.Design()
    memory = {f"S_AXI_HP{number}": f"weights{number}" for number in range(len(ports))} | {dma_slave: "vectors"}
    found.cells = {
        "ps7": bd.Cell("processing_system7:5.5", _processor_config(processor, clock_mhz, memory)),
        **bd.engine_cells(engine_config),
        "reset": bd.Cell("proc_sys_reset:5.0", {"C_EXT_RESET_HIGH": 0}),
        "registers": bd.Cell("smartconnect:1.0", {"NUM_SI": 1, "NUM_MI": 2}),
        **{f"weights{number}": bd.Cell("smartconnect:1.0", {"NUM_SI": 1, "NUM_MI": 1}) for number in range(len(ports))},
        "vectors": bd.Cell("smartconnect:1.0", {"NUM_SI": 2, "NUM_MI": 1}),
        "interrupts": bd.Cell("xlconcat:2.1", {"NUM_PORTS": len(INTERRUPTS)}),
    }
    found.ports = {
        "DDR": ("Master", "xilinx.com:interface:ddrx_rtl:1.0", {}),
        "FIXED_IO": ("Master", "xilinx.com:display_processing_system7:fixedio_rtl:1.0", {}),
    }
    found.interfaces = [
        ("ps7/DDR", "DDR"),
        ("ps7/FIXED_IO", "FIXED_IO"),
        ("ps7/M_AXI_GP0", "registers/S00_AXI"),
        *bd.registers_behind("registers"),
        *((f"{bd.ENGINE}/{port}", f"weights{number}/S00_AXI") for number, port in enumerate(ports)),
        (f"{bd.DMA}/M_AXI_MM2S", "vectors/S00_AXI"),
        (f"{bd.DMA}/M_AXI_S2MM", "vectors/S01_AXI"),
        *((f"{cell}/M00_AXI", f"ps7/{slave}") for slave, cell in memory.items()),
        *bd.STREAMS,
    ]
    connects = ["registers", *memory.values()]
    found.nets = [
        (
            "ps7/FCLK_CLK0",
            [
                "ps7/M_AXI_GP0_ACLK",
                *(f"ps7/{slave}_ACLK" for slave in memory),
                *bd.CLOCKED,
                *(f"{cell}/aclk" for cell in connects),
                "reset/slowest_sync_clk",
            ],
        ),
        ("ps7/FCLK_RESET0_N", ["reset/ext_reset_in"]),
        (
            "reset/peripheral_aresetn",
            [*bd.RESET, *(f"{cell}/aresetn" for cell in connects)],
        ),
        *((pin, [f"interrupts/In{number}"]) for number, pin in enumerate(INTERRUPTS)),
        ("interrupts/dout", ["ps7/IRQ_F2P"]),
    ]
    size = processor.memory_bytes

    def ddr(slave):
        return f"ps7/{slave}/{slave.removeprefix('S_AXI_')}_DDR_LOWOCM"

    found.addresses = [
        *bd.registers_in("ps7/Data"),
        *((f"{bd.ENGINE}/{port}", ddr(f"S_AXI_HP{number}"), 0, size) for number, port in enumerate(ports)),
        *bd.vectors_at(ddr(dma_slave), 0, size),
    ]
    return found


def _processor_config(processor, clock_mhz, memory):
    config = processor.config | {
        "USE_M_AXI_GP0": 1,
        "EN_CLK0_PORT": 1,
        "EN_RST0_PORT": 1,
        "FPGA0_PERIPHERAL_FREQMHZ": clock_mhz,
        "USE_FABRIC_INTERRUPT": 1,
        "IRQ_F2P_INTR": 1,
        "DDR_RAM_HIGHADDR": f"{processor.memory_bytes - 1:#010X}".replace("X", "x"),
    }
    for slave in memory:
        config[f"USE_{slave}"] = 1
        if "HP" in slave:
            config[f"{slave}_DATA_WIDTH"] = HP_BITS
    return {f"PCW_{name}": value for name, value in config.items()}


def _dma_slave(engine_config):
    """The HP port that is left for the DMA, or where the weights take all of them a port of 32 bits."""
    ports = engine_config.axi_ports
    return f"S_AXI_HP{ports}" if ports < HP_PORTS else "S_AXI_GP0"
