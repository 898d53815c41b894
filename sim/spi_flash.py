"""A serial flash memory behind a design's pins, in simulation: the command READ of SPI mode 0."""

import cocotb
from cocotb.handle import LogicObject
from cocotb.triggers import Edge, First

from lstm_hw.errors import ToolError

READ = 0x03
ERASED = 0xFF


class SpiFlash:
    """Answers on ``cipo`` whatever the design asks for.

    Parameters
    ----------
    cs, sck, copi, cipo : cocotb handle
        The design's pins.
    base : int
        Address of the first byte of ``content``; all other bytes are erased.
    content : bytes
        May be replaced at any time.
    selected : int
        Level of ``cs`` that selects the flash.
    """

    def __init__(
        self,
        cs: LogicObject,
        sck: LogicObject,
        copi: LogicObject,
        cipo: LogicObject,
        base: int,
        content: bytes = b"",
        selected: int = 1,
    ):
        self.cs, self.sck, self.copi, self.cipo = cs, sck, copi, cipo
        self.base, self.content, self.selected = base, content, selected
        cipo.value = 1
        cocotb.start_soon(self._serve())

    def _byte(self, address):
        at = address - self.base
        return self.content[at] if 0 <= at < len(self.content) else ERASED

    async def _serve(self):
        while True:
            while int(self.cs.value) != self.selected:
                await Edge(self.cs)
            await self._answer()

    async def _answer(self):
        """One command, until the flash is no longer selected."""
        bits = command = 0
        while True:
            await First(Edge(self.sck), Edge(self.cs))
            if int(self.cs.value) != self.selected:
                return
            if int(self.sck.value):
                if bits < 32:
                    command = command << 1 | int(self.copi.value)
                bits += 1
                if bits == 8 and command != READ:
                    raise ToolError("flash", f"command {command:#04x}", f"must be {READ:#04x}")
            elif bits >= 32:
                at, bit = divmod(bits - 32, 8)
                self.cipo.value = self._byte((command & 0xFFFFFF) + at) >> 7 - bit & 1
