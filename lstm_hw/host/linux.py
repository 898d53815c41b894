"""The transport of a Linux system on the FPGA's own processor: UIO or /dev/mem, u-dma-buf, an AXI DMA."""

import fcntl
import mmap
import os
import re
import select
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from ..errors import DeviceError
from ..machine.registers import ADDRESS_BITS, WORD_BYTES
from .dma import BufferMemory, DmaStreams
from .transport import Transport

DMA_BYTES = 1 << 12
INTERRUPT_S = 0.1
"""Seconds after which an interrupt that has not come is not waited for any longer before CTRL is looked at."""
PAUSE_S = 1e-4
ROOT = Path("/")
"""Of /dev and /sys; tests have another."""


class Mapped:
    """A piece of a device file in this process's memory.

    Parameters
    ----------
    path : Path
    offset, length : int
    flags : int
        Of :func:`os.open`, beside reading and writing.

    Raises
    ------
    DeviceError
        It cannot be opened or mapped.
    """

    def __init__(self, path: Path, offset: int, length: int, flags: int = 0):
        self.path = path
        try:
            self.file = os.open(path, os.O_RDWR | os.O_CLOEXEC | flags)
        except OSError as error:
            rule = "must be there and open to this user (root, or a udev rule)"
            raise DeviceError(path, error.strerror or str(error), rule) from error
        try:
            if path.name != "mem":  # which other cores are behind as well
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self.file)
            raise DeviceError(path, "another process has it", "must be given back by that process") from error
        try:
            self.memory = mmap.mmap(self.file, length, offset=offset)
        except (OSError, ValueError) as error:
            os.close(self.file)
            raise DeviceError(path, str(error), f"must have {length} bytes from {offset:#x} on to be mapped") from error
        self.view = np.frombuffer(self.memory, np.uint8)
        self.words = self.view.view("<u4")  # one access of 32 bits a word

    def close(self) -> None:
        """Give it back; the memory stays mapped as long as somebody looks at it."""
        fcntl.flock(self.file, fcntl.LOCK_UN)
        os.close(self.file)


class MappedWords:
    """Registers in mapped memory, for the DMA at once and for the driver as coroutines.

    Parameters
    ----------
    mapped : Mapped
    """

    def __init__(self, mapped: Mapped):
        self.words = mapped.words

    def read(self, offset: int) -> int:
        """Value of a register."""
        return int(self.words[offset // WORD_BYTES])

    def write(self, offset: int, value: int) -> None:
        """Set a register."""
        self.words[offset // WORD_BYTES] = value


class DriverWords:
    """Registers as the driver wants them.

    Parameters
    ----------
    words : Words
    """

    def __init__(self, words: MappedWords):
        self.words = words

    async def read(self, address: int) -> int:
        """Value of a register."""
        return self.words.read(address)

    async def write(self, address: int, value: int) -> None:
        """Set a register."""
        self.words.write(address, value)


class UDmaBuf:
    """A buffer of the kernel module u-dma-buf, mapped without caches.

    Parameters
    ----------
    name : str
        As ``udmabuf0``.
    root : Path

    Raises
    ------
    DeviceError
        There is none of this name.
    """

    def __init__(self, name: str, root: Path = ROOT):
        places = [root / "sys/class" / kind / name for kind in ("u-dma-buf", "udmabuf")]
        place = next((place for place in places if place.is_dir()), None)
        if place is None:
            rule = "must be loaded: modprobe u-dma-buf udmabuf0=16777216, or an entry of the device tree"
            raise DeviceError(f"u-dma-buf {name}", f"{places[0]} is not there", rule)
        self.address, size = (_number(place / key) for key in ("phys_addr", "size"))
        self.mapped = Mapped(root / "dev" / name, 0, size, os.O_SYNC)
        self.view = self.mapped.view

    def flush(self) -> None:
        """Nothing: O_SYNC maps it without caches."""

    def invalidate(self) -> None:
        """Nothing, for the same reason."""


def _number(path):
    try:
        return int(path.read_text().strip(), 0)
    except (OSError, ValueError) as error:
        raise DeviceError(path, str(error), "must be a number, as u-dma-buf and UIO write it") from error


def mapped_registers(where: str, length: int, root: Path = ROOT) -> Mapped:
    """The registers of a core.

    Parameters
    ----------
    where : str
        A UIO device (``uio0``, or the name that its driver gives it), or an address for /dev/mem (``0x43c00000``).
    length : int
        Bytes.
    root : Path

    Raises
    ------
    DeviceError
        There is no such device, it is too small, or it cannot be opened.
    """
    if re.fullmatch(r"0x[0-9a-fA-F]+|\d+", where):
        address = int(where, 0)
        if address % mmap.PAGESIZE:
            raise DeviceError(f"/dev/mem at {where}", "not at a page", f"must be a multiple of {mmap.PAGESIZE:#x}")
        return Mapped(root / "dev/mem", address, length, os.O_SYNC)
    devices = sorted((root / "sys/class/uio").glob("uio*"))
    for device in devices:
        if where == device.name or where == _name(device):
            size = _number(device / "maps/map0/size")
            if size < length:
                raise DeviceError(f"UIO {where}", f"a map of {size} bytes", f"must be of {length}")
            return Mapped(root / "dev" / device.name, 0, length)
    known = ", ".join(f"{device.name} ({_name(device)})" for device in devices) or "none"
    raise DeviceError(f"UIO {where}", "no such device", f"must be one of: {known}")


def _name(device):
    try:
        return (device / "name").read_text().strip()
    except OSError:
        return ""


def linux(
    registers: str,
    dma: str,
    weights: str,
    streams: str,
    x_beat_bytes: int,
    interrupt: bool = False,
    root: Path = ROOT,
) -> Transport:
    """The transport to an engine beside this processor.

    Parameters
    ----------
    registers, dma : str
        Where the registers of the engine and of its AXI DMA are, as of :func:`mapped_registers`.
    weights, streams : str
        Names of two u-dma-bufs: one for the weight image, one for x and the outputs.
    x_beat_bytes : int
        Of a beat of x of the engine.
    interrupt : bool
        Wait for the engine's interrupt, which its UIO device must have.
    root : Path

    Raises
    ------
    DeviceError
        Something is missing; names it.
    """
    with ExitStack() as opened:

        def held(found):
            opened.callback(getattr(found, "mapped", found).close)
            return found

        engine = held(mapped_registers(registers, 1 << ADDRESS_BITS, root))
        dma_words = MappedWords(held(mapped_registers(dma, DMA_BYTES, root)))
        buffers = [held(UDmaBuf(name, root)) for name in (weights, streams)]
        if interrupt and not engine.path.name.startswith("uio"):
            raise DeviceError(registers, "no interrupt", "must be a UIO device to wait for one")
        name = f"engine at {registers}"
        return Transport(
            name,
            DriverWords(MappedWords(engine)),
            BufferMemory(buffers[0]),
            DmaStreams(dma_words, buffers[1], x_beat_bytes, f"AXI DMA at {dma}"),
            interrupt=_interrupt_of(engine.file) if interrupt else None,
            pause=pause_briefly,
            close=opened.pop_all().close,
        )


def _interrupt_of(file):
    async def wait():
        os.write(file, (1).to_bytes(4, "little"))  # let it come
        if select.select([file], [], [], INTERRUPT_S)[0]:
            os.read(file, 4)

    return wait


async def pause_briefly() -> None:
    """Between two looks at a register."""
    time.sleep(PAUSE_S)
