"""The transport of a PYNQ overlay: the bitstream is loaded, its cores are found by the names in the .hwh file.

The package ``pynq`` is looked for here only, and on a board only; of it a version below 4 is needed (Zynq-7000).
"""

from pathlib import Path
from typing import Any

from ..errors import DeviceError
from ..machine.registers import ADDRESS_BITS
from .dma import BufferMemory, DmaStreams
from .linux import DMA_BYTES, DriverWords, pause_briefly
from .transport import Transport

DMA_TYPE = "xilinx.com:ip:axi_dma:"
ENGINE_NAME = "lstm_engine"
"""What the engine's name in the block design, or its type, has in it."""


class PynqBuffer:
    """Memory from ``pynq.allocate``.

    Parameters
    ----------
    array : pynq.buffer.PynqBuffer
    """

    def __init__(self, array: Any):
        self.array, self.address, self.view = array, array.device_address, array

    def flush(self) -> None:
        """The FPGA sees what was written."""
        self.array.flush()

    def invalidate(self) -> None:
        """What the FPGA has written is seen."""
        self.array.invalidate()


def overlay(
    bitfile: str, x_beat_bytes: int, weight_bytes: int, stream_bytes: int = 1 << 22, module: Any = None
) -> Transport:
    """Load an overlay and find the engine and its DMA in it.

    Parameters
    ----------
    bitfile : str
        The .bit file, its .hwh file beside it.
    x_beat_bytes : int
        Of a beat of x of the engine.
    weight_bytes, stream_bytes : int
        Sizes of the buffers for the weight image, and for x and outputs.
    module : module, optional
        Instead of ``pynq``.

    Raises
    ------
    DeviceError
        ``pynq`` is not installed or too new, a file is missing, or the overlay has no engine or no DMA.
    """
    if module is None:
        try:
            import pynq as module
        except ImportError as error:
            raise DeviceError("pynq", "not installed", "must be a board with PYNQ 2.5 to 3.1") from error
    major = str(getattr(module, "__version__", "0")).split(".")[0]
    if not major.isdigit() or int(major) >= 4:
        raise DeviceError("pynq", f"version {module.__version__}", "must be below 4: later ones know no Zynq-7000")
    for path in (Path(bitfile), Path(bitfile).with_suffix(".hwh")):
        if not path.is_file():
            raise DeviceError(path, "missing", "must be there: .bit and .hwh of one design beside each other")
    try:
        cores = module.Overlay(bitfile).ip_dict
    except (OSError, RuntimeError, ValueError) as error:
        raise DeviceError(bitfile, str(error), "must be an overlay of this board") from error
    engine = _one(bitfile, cores, "engine", lambda name, core: ENGINE_NAME in name or ENGINE_NAME in core["type"])
    dma = _one(bitfile, cores, "AXI DMA", lambda name, core: core["type"].startswith(DMA_TYPE))
    registers = module.MMIO(engine["phys_addr"], 1 << ADDRESS_BITS)
    dma_registers = module.MMIO(dma["phys_addr"], DMA_BYTES)
    weights, streams = (PynqBuffer(module.allocate(shape=(size,), dtype="u1")) for size in (weight_bytes, stream_bytes))

    def close():
        for buffer in (weights, streams):
            buffer.array.freebuffer()

    return Transport(
        f"overlay {bitfile}",
        DriverWords(registers),
        BufferMemory(weights),
        DmaStreams(dma_registers, streams, x_beat_bytes),
        pause=pause_briefly,
        close=close,
    )


def _one(bitfile, cores, what, fits):
    """The one core that fits."""
    found = [name for name, core in cores.items() if fits(name, core)]
    if len(found) != 1:
        rule = f"must have one {what}; it has {', '.join(cores) or 'no cores'}"
        raise DeviceError(bitfile, f"{len(found)} cores that could be the {what}", rule)
    return cores[found[0]]
