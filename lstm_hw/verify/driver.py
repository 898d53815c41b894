"""The driver: what software does with the registers, the same on simulation and on a board.

A *port* gives ``await port.read(address)`` and ``await port.write(address, value)`` for 32-bit
registers: cocotbext-axi in simulation, a memory-mapped device or a UART bridge on a board.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from ..errors import ToolError
from ..machine.registers import COUNTERS, IDENTITY, PROGRAM, VERSION, ErrorCode, lookup, weights_registers

INSTRUCTION_WORDS = PROGRAM.words


class RegisterPort(Protocol):
    """Access to 32-bit registers by byte address."""

    async def read(self, address: int) -> int:
        """Value of a register."""

    async def write(self, address: int, value: int) -> None:
        """Set a register."""


class Driver:
    """Loads programs and runs them.

    Parameters
    ----------
    port : RegisterPort
    interrupt : async callable, optional
        Returns when the interrupt output is high; without it, runs are waited for by polling.
    """

    def __init__(self, port: RegisterPort, interrupt: Callable[[], Awaitable[None]] | None = None):
        self.port, self.interrupt = port, interrupt

    async def read(self, name: str) -> int:
        """Value of a register."""
        return await self.port.read(lookup(name).address)

    async def write(self, name: str, value: int) -> None:
        """Set a register."""
        await self.port.write(lookup(name).address, value)

    async def identify(self, content_id: int | None = None) -> None:
        """Check that an engine answers, in a version that this driver knows and, if given, with this configuration.

        Raises
        ------
        ToolError
            Something else answers.
        """
        identity = await self.read("ID")
        if identity != IDENTITY:
            raise ToolError("register ID", f"{identity:#x}", f"must be {IDENTITY:#x}: no engine at this address")
        major = (await self.read("VERSION")) >> 16
        if major != VERSION[0]:
            raise ToolError("register VERSION", f"major number {major}", f"must be {VERSION[0]}")
        found = await self.read("CONTENT_ID")
        if content_id is not None and found != content_id:
            raise ToolError(
                "register CONTENT_ID", f"{found:#010x}", f"must be {content_id:#010x}: another configuration was built"
            )

    async def load_program(self, words: Iterable[int]) -> None:
        """Write encoded instructions to the program memory."""
        for entry, word in enumerate(words):
            for n in range(INSTRUCTION_WORDS):
                await self.port.write(PROGRAM.word_address(entry, n), word >> 32 * n & 0xFFFFFFFF)

    async def set_weights(self, *addresses: int) -> None:
        """Tell where in memory the weight image of each port is."""
        for port, address in enumerate(addresses):
            low, high = weights_registers(port)
            await self.write(low, address & 0xFFFFFFFF)
            await self.write(high, address >> 32)

    async def start(self, entry: int, steps: int = 1, clear: bool = False) -> None:
        """Start a run at an entry of the program, as ``program.json`` lists it."""
        await self.write("ENTRY", entry)
        await self.write("STEPS", steps)
        await self.write("FLAGS", lookup("FLAGS").field("clear").insert(int(clear)))
        await self.write("CTRL", lookup("CTRL").field("start").insert(1))

    async def enable_interrupt(self) -> None:
        """Let the end of a run raise the interrupt output."""
        await self.write("IER", lookup("IER").field("done").mask)
        await self.write("GIE", lookup("GIE").field("enable").mask)

    async def wait(self) -> ErrorCode:
        """Wait until the run is done; returns its ErrorCode."""
        if self.interrupt is not None:
            await self.interrupt()
            await self.write("ISR", await self.read("ISR"))  # a written 1 toggles
        done = lookup("CTRL").field("done")  # the start cleared that of the run before
        while not done.extract(await self.read("CTRL")):
            pass
        return ErrorCode(lookup("STATUS").field("code").extract(await self.read("STATUS")))

    async def counters(self) -> dict[str, int]:
        """The counters of the last run: dict of lower-case name -> cycles."""
        return {name.lower(): await self.read(f"{name}_LO") | await self.read(f"{name}_HI") << 32 for name in COUNTERS}
