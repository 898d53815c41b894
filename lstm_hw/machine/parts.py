"""What FPGAs hold, the boards that carry them, and the check that a design fits."""

from dataclasses import astuple, dataclass, fields

from ..errors import ConfigError

HEADROOM = {"LUT": 0.8, "LUT as memory": 0.95, "FF": 0.8}
"""Share of a part's resource that a design may take, where that is not all: a full part is not routed."""


@dataclass(frozen=True)
class Usage:
    """What a design takes, each resource by itself.

    Parameters
    ----------
    lut : int
        LUTs used as logic.
    lutram : int
        LUTs used as memory or shift registers; an ECP5's 16 x 4 memory takes six, two of which drive its write port.
    ff : int
        Flip-flops.
    bram36 : float
        Block RAMs of 36 kbit; one of 18 kbit counts half.
    dsp : int
        Multiplier blocks.
    """

    lut: int
    lutram: int
    ff: int
    bram36: float
    dsp: int

    @classmethod
    def of_stat(cls, stat: dict) -> "Usage":
        """From :func:`lstm_hw.verilog.tools.yosys_stat`."""
        return cls(**{field.name: stat[field.name] for field in fields(cls)})

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(*(ours + theirs for ours, theirs in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class Part:
    """An FPGA.

    Parameters
    ----------
    name : str
        Device, and where a board fixes them package and speed grade.
    family : str
        Of :func:`lstm_hw.verilog.tools.yosys_stat`, or one that it does not know.
    lut : int
        All LUTs; one that is memory is none that is logic.
    lutram : int
        LUTs that can be memory.
    ff, dsp : int
        Flip-flops and multiplier blocks.
    bram36 : float
        Block RAMs of 36 kbit.
    source : str
        Data sheet of these figures.
    """

    name: str
    family: str
    lut: int
    lutram: int
    ff: int
    bram36: float
    dsp: int
    source: str

    def shares(self, usage: Usage) -> dict[str, tuple[float, float]]:
        """Resource -> (taken, there), for each resource by itself; ``LUT`` are those of both uses."""
        return {
            "LUT": (usage.lut + usage.lutram, self.lut),
            "LUT as memory": (usage.lutram, self.lutram),
            "FF": (usage.ff, self.ff),
            "BRAM36": (usage.bram36, self.bram36),
            "DSP": (usage.dsp, self.dsp),
        }

    def lacking(self, usage: Usage) -> list[str]:
        """What is too small for a design, as ``79000 of 70400 LUT as memory (95% at most)``; empty where it fits, with
        the headroom of ``HEADROOM``."""
        lacking = []
        for name, (taken, there) in self.shares(usage).items():
            share = HEADROOM.get(name, 1)
            if taken > share * there:
                lacking.append(f"{taken:g} of {there:g} {name}" + (f" ({share:.0%} at most)" if share < 1 else ""))
        return lacking


_ZYNQ = "Xilinx DS190, Zynq-7000 overview, table 1; LUTs as memory as Vivado reports them"
_SEVEN = "Xilinx DS180, 7 series overview; 64 bits of distributed RAM a LUT"
_LATTICE = "Lattice FPGA-DS-02012, ECP5 family, table 1.1; 64 bits of distributed RAM a block of eight LUTs"
_ULTRAPLUS = "Lattice FPGA-DS-02008, iCE40 UltraPlus, table 2.1; block RAM without the single port RAM"
_HX = "Lattice FPGA-DS-02029, iCE40 LP/HX, table 1.1"
_LITTLE_BEE = "Gowin DS100, GW1N series, table 1-1; 64 bits of distributed RAM for six LUTs, as on an ECP5"
_ARORA = "Gowin DS102, GW2A series, table 1-1; 64 bits of distributed RAM for six LUTs, as on an ECP5"

PARTS = {
    part.name: part
    for part in (
        Part("xc7z010", "xc7", 17600, 6000, 35200, 60, 80, _ZYNQ),
        Part("xc7z020", "xc7", 53200, 17400, 106400, 140, 220, _ZYNQ),
        Part("xc7z045", "xc7", 218600, 70400, 437200, 545, 900, _ZYNQ),
        Part("xc7a35t", "xc7", 20800, 6400, 41600, 50, 90, _SEVEN),
        Part("xc7a100t", "xc7", 63400, 19000, 126800, 135, 240, _SEVEN),
        Part("xc7k325t", "xc7", 203800, 64000, 407600, 445, 840, _SEVEN),
        Part("xc7vx485t", "xc7", 303600, 130800, 607200, 1030, 2800, _SEVEN),
        Part("xc7vx690t", "xc7", 433200, 174200, 866400, 1470, 3600, _SEVEN),
        Part("lfe5u-25f", "ecp5", 24288, 18216, 24288, 28, 28, _LATTICE),
        Part("lfe5u-45f", "ecp5", 43848, 32886, 43848, 54, 72, _LATTICE),
        Part("lfe5u-85f", "ecp5", 83640, 62730, 83640, 104, 156, _LATTICE),
        Part("lfe5um5g-85f", "ecp5", 83640, 62730, 83640, 104, 156, _LATTICE),
        Part("ice40up5k", "ice40", 5280, 0, 5280, 30 / 9, 8, _ULTRAPLUS),
        Part("ice40hx8k", "ice40", 7680, 0, 7680, 32 / 9, 0, _HX),
        Part("gw1n-9", "gowin", 8640, 1620, 6480, 13, 20, _LITTLE_BEE),
        Part("gw2a-18", "gowin", 20736, 3888, 15552, 23, 48, _ARORA),
    )
}
"""Parts by the name of the device. Of families that nothing here is synthesised for, to say what they could hold."""


@dataclass(frozen=True)
class Board:
    """A board: its part, ordering code included, and the clock of the design on it, MHz."""

    name: str
    part: str
    clock_mhz: float


BOARDS = {
    board.name: board
    for board in (
        Board("ulx3s", "LFE5U-85F-6BG381", 50),
        Board("ecpix5", "LFE5UM5G-85F-8BG554", 50),
        Board("pynq-z2", "xc7z020clg400-1", 100),
        Board("arty-z7-20", "xc7z020clg400-1", 100),
        Board("zedboard", "xc7z020clg484-1", 100),
        Board("zc706", "xc7z045ffg900-2", 100),
        Board("vc707", "xc7vx485tffg1761-2", 100),
        Board("vc709", "xc7vx690tffg1761-2", 100),
    )
}
"""The boards that ``boards/`` has build plans for, by name."""


def part_of(name: str) -> Part:
    """The part of a device's name, or of an ordering code that begins with one; case does not matter.

    Raises
    ------
    ConfigError
        Nobody knows it; names those that are known.
    """
    known = [device for device in PARTS if name.lower().startswith(device)]
    if not known:
        raise ConfigError("part", repr(name), f"must be one of {', '.join(PARTS)}, package and speed grade may follow")
    return PARTS[max(known, key=len)]


def check_fit(design: str, usage: Usage, part: Part) -> None:
    """Compare a design with a part, each resource by itself.

    Parameters
    ----------
    design : str
        What the error message calls the design.
    usage : Usage
    part : Part

    Raises
    ------
    ConfigError
        Something is too small; names everything that is.
    """
    lacking = part.lacking(usage)
    if lacking:
        raise ConfigError(design, f"takes {', '.join(lacking)}", f"must fit the {part.name}")
