"""What the boards' FPGAs hold, and the check that a design fits."""

from dataclasses import dataclass

from lstm_hw.errors import ConfigError

KINDS = ("lut", "ff", "bram36", "dsp")
"""What is counted, in the units of :class:`Part`."""


@dataclass(frozen=True)
class Part:
    """An FPGA.

    Parameters
    ----------
    name : str
        Device, package and speed grade.
    family : str
        Of :func:`lstm_hw.verilog.tools.yosys_stat`.
    lut, ff, dsp : int
        LUTs, flip-flops and multiplier blocks.
    bram36 : float
        Block RAMs of 36 kbit; one of 18 kbit counts half.
    source : str
        Data sheet of these figures.
    """

    name: str
    family: str
    lut: int
    ff: int
    bram36: float
    dsp: int
    source: str


ECP5_85 = Part("LFE5U-85F-6BG381", "ecp5", 83640, 83640, 104, 156, "Lattice FPGA-DS-02012, ECP5 family, table 1.1")
ZYNQ_7045 = Part("xc7z045ffg900-2", "xc7", 218600, 437200, 545, 900, "Xilinx DS190, Zynq-7000 overview, table 1")
VIRTEX_485T = Part("xc7vx485tffg1761-2", "xc7", 303600, 607200, 1030, 2800, "Xilinx DS180, 7 series overview, table 7")


@dataclass(frozen=True)
class Usage:
    """What a design takes, in the units of :class:`Part`."""

    lut: int
    ff: int
    bram36: float
    dsp: int

    @classmethod
    def of_stat(cls, stat):
        """From :func:`lstm_hw.verilog.tools.yosys_stat`; LUTs used as memory are LUTs."""
        return cls(stat["lut"] + stat["lutram"], stat["ff"], stat["bram36"], stat["dsp"])


def check_fit(design, usage, part):
    """Compare a design with a part.

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
    lacking = [
        f"{getattr(usage, name):g} of {getattr(part, name):g} {name.upper()}"
        for name in KINDS
        if getattr(usage, name) > getattr(part, name)
    ]
    if lacking:
        raise ConfigError(design, f"takes {', '.join(lacking)}", f"must fit the {part.name}")
