"""What lies in a board's serial flash memory beside the bitstream: a model, as the board loads it without a host.

Little-endian: magic (8 bytes), version, CONTENT_ID of the engine, bytes of the weight memory, number of accesses (u32
each); what the weight memory holds from its first byte on; the accesses to the engine's registers, in 8 bytes each; and
the CRC-32 (of zlib) of all bytes before it.
"""

import zlib

from lstm_hw.errors import ConfigError
from lstm_hw.machine.limits import PAGE_BYTES

from .script import Recorder

MAGIC = b"LSTMBOOT"
VERSION = 1
ADDRESS = 2 << 20
"""Where it begins: behind the largest bitstream of an ECP5 85F, and inside the smallest flash of the boards."""
IDENTITY_BYTES = 16
"""Magic, version and CONTENT_ID."""
HEAD_BYTES = IDENTITY_BYTES + 8
ACCESS_BYTES, CRC_BYTES = 8, 4
MAX_ACCESSES = (1 << 16) - 1


def identity(content_id):
    """The bytes that an image for an engine begins with."""
    return MAGIC + VERSION.to_bytes(4, "little") + content_id.to_bytes(4, "little")


def accesses_of(image):
    """The accesses that load a firmware image whose weights are in memory from address 0 on (list of int).

    They are those of :meth:`lstm_hw.host.device.Session.load`: program, addresses, the run that loads, IMAGE_ID.
    """
    recorder, entries = Recorder(image.config.content_id), image.program.entries
    driver = recorder.driver
    recorder.record(driver.load_program(image.program.encoded()))
    recorder.record(driver.set_weights(*_offsets(image)))
    if "load" in entries:
        recorder.run(image.program.entry_word("load"))
    recorder.record(driver.sign(image.image_id, image.program.entry_word("run")))
    recorder.unrefused()
    return recorder.accesses


def _offsets(image):
    pages = -(-len(image.images[0]) // PAGE_BYTES)
    return [port * pages * PAGE_BYTES for port in range(image.config.axi_ports)]


def flash_image(image, memory_bytes):
    """The bytes for the flash.

    Parameters
    ----------
    image : FirmwareImage
    memory_bytes : int
        Size of the board's weight memory.

    Returns
    -------
    bytes

    Raises
    ------
    ConfigError
        The weights do not fit the memory, or the program is too long.
    """
    memory = bytearray()
    for offset, part in zip(_offsets(image), image.images, strict=True):
        memory += bytes(offset - len(memory)) + part
    if len(memory) > memory_bytes:
        rule = f"must fit the board's weight memory of {memory_bytes}"
        raise ConfigError("weight image", f"{len(memory)} bytes", rule)
    accesses = accesses_of(image)
    if len(accesses) > MAX_ACCESSES:
        raise ConfigError("program", f"{len(accesses)} accesses", f"must be at most {MAX_ACCESSES}")
    sizes = len(memory).to_bytes(4, "little") + len(accesses).to_bytes(4, "little")
    content = identity(image.config.content_id) + sizes + memory
    content += b"".join(word.to_bytes(ACCESS_BYTES, "little") for word in accesses)
    return bytes(content + zlib.crc32(content).to_bytes(CRC_BYTES, "little"))
