"""The driver: what software does with the registers, the same on simulation and on a board.

A *port* gives ``await port.read(address)`` and ``await port.write(address, value)`` for 32-bit
registers: cocotbext-axi in simulation, a memory-mapped device or a UART bridge on a board.
"""

import hashlib
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from ..errors import NotLoadedError, ToolError
from ..machine.registers import (
    CLIPPED_PLACES,
    COUNTERS,
    IDENTITY,
    PROGRAM,
    REFUSAL_DOC,
    VERSION,
    ErrorCode,
    clipped_register,
    lookup,
    weights_registers,
)

INSTRUCTION_WORDS = PROGRAM.words
TIMEOUT_S = 30.0
"""Seconds after which a run is given up."""


class RegisterPort(Protocol):
    """Access to 32-bit registers by byte address."""

    async def read(self, address: int) -> int:
        """Value of a register."""

    async def write(self, address: int, value: int) -> None:
        """Set a register; ToolError if the bus answers with an error."""


@dataclass(frozen=True)
class WeightCheck:
    """How to look whether memory holds the right weights.

    Parameters
    ----------
    sha256 : str
        Digest (hex) of the weight image, as ``weights.json`` has it.
    read : async callable () -> bytes
        What memory holds where the image belongs, that of one port behind the other.
    """

    sha256: str
    read: Callable[[], Awaitable[bytes]]


class Driver:
    """Loads programs and runs them; whatever it cannot do is an error.

    Parameters
    ----------
    port : RegisterPort
    content_id : int
        Of the configuration that must have been built.
    interrupt : async callable, optional
        Returns when the interrupt output is high, or after a while; without it, runs are waited for by polling.
    weights : WeightCheck, optional
        Looked at before the first run that reads weights from where they were said to be.
    timeout : float
        Seconds after which a run is given up.
    clock : callable () -> float
        Seconds; in a simulation those of its time.
    pause : async callable, optional
        Called between two looks at CTRL.
    """

    def __init__(
        self,
        port: RegisterPort,
        content_id: int,
        interrupt: Callable[[], Awaitable[None]] | None = None,
        weights: WeightCheck | None = None,
        timeout: float = TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[], Awaitable[None]] | None = None,
    ):
        self.port, self.content_id, self.interrupt = port, content_id, interrupt
        self.weights, self.timeout, self.clock, self.pause = weights, timeout, clock, pause
        self._weights_right, self._addresses, self._image_id = weights is None, None, None

    async def read(self, name: str) -> int:
        """Value of a register."""
        return await self.port.read(lookup(name).address)

    async def write(self, name: str, value: int) -> None:
        """Set a register.

        Raises
        ------
        ToolError
            The engine refuses.
        """
        async with self._taken(name):
            await self._put(name, value)

    async def _put(self, name, value):
        await self.port.write(lookup(name).address, value)

    @asynccontextmanager
    async def _taken(self, what):
        """Writes that the engine must not refuse, which it tells by REFUSED alone."""
        await self._refused()  # a refusal of before is nobody's
        yield
        refused = await self._refused()
        if refused:
            code, address = (lookup("REFUSED").field(name).extract(refused) for name in ("code", "address"))
            raise ToolError(what, f"the write to {address:#x} was refused", f"must be taken; {REFUSAL_DOC[code]}")

    async def _refused(self):
        """Value of REFUSED, which is 0 after it."""
        refused = await self.read("REFUSED")
        if refused:
            await self._put("REFUSED", lookup("REFUSED").field("write").mask)
        return refused

    async def _field(self, register, field):
        return lookup(register).field(field).extract(await self.read(register))

    async def identify(self) -> None:
        """Check that an engine answers, in a version that this driver knows and with the right configuration.

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
        if found != self.content_id:
            rule = f"must be {self.content_id:#010x}: another configuration was built"
            raise ToolError("register CONTENT_ID", f"{found:#010x}", rule)

    async def check_idle(self, what: str) -> None:
        """ToolError if a run is in progress."""
        if await self._field("STATUS", "busy"):
            raise ToolError(what, "a run is in progress", "must wait for its end, or abort it")

    async def load_program(self, words: Iterable[int]) -> None:
        """Write encoded instructions to the program memory.

        Raises
        ------
        ToolError
            A run is in progress; the engine refuses a word, as of a program that is too long.
        """
        await self.check_idle("program")
        self._image_id = None
        async with self._taken("program"):
            for entry, word in enumerate(words):
                for n in range(INSTRUCTION_WORDS):
                    await self.port.write(PROGRAM.word_address(entry, n), word >> 32 * n & 0xFFFFFFFF)

    async def set_weights(self, *addresses: int) -> None:
        """Tell where in memory the weight image of each port is.

        Raises
        ------
        ToolError
            A run is in progress; the engine has no such port.
        """
        await self.check_idle("weight addresses")
        self._weights_right, self._addresses, self._image_id = self.weights is None, addresses, None
        async with self._taken("weight addresses"):
            for port, address in enumerate(addresses):
                low, high = weights_registers(port)
                await self._put(low, address & 0xFFFFFFFF)
                await self._put(high, address >> 32)

    async def check_weights(self) -> None:
        """Look whether the engine still has the addresses that it was told; a reset, or somebody else, changes them.

        Raises
        ------
        ToolError
            It has others.
        """
        for port, address in enumerate(self._addresses or ()):
            low, high = weights_registers(port)
            found = await self.read(low) | await self.read(high) << 32
            if found != address:
                rule = f"must be {address:#x}, as this driver told: load again"
                raise ToolError(f"weight address of port {port}", f"{found:#x}", rule)

    async def sign(self, image_id: int, entry: int) -> None:
        """Say what was loaded, when all of it was: from now on a start looks whether it is still there.

        Parameters
        ----------
        image_id : int
            Value of IMAGE_ID, not 0.
        entry : int
            Value of ENTRY of the runs to come.

        Raises
        ------
        NotLoadedError
            Somebody else has loaded since.
        ToolError
            A run is in progress; the engine has no such register.
        """
        await self.check_idle("sign")
        self._image_id = 0
        await self.check_image()
        async with self._taken("sign"):
            await self._put("ENTRY", entry)  # first: that it begins to load would clear the other
            await self._put("IMAGE_ID", image_id)
        self._image_id = image_id

    async def adopt(self, image_id: int) -> None:
        """Use what somebody else has loaded and signed, as a board does from its flash memory.

        Parameters
        ----------
        image_id : int
            Value of IMAGE_ID that it must have been signed with, not 0.

        Raises
        ------
        NotLoadedError
            The engine has nothing of that number.
        ToolError
            A run is in progress.
        """
        await self.check_idle("adopt")
        found = await self.read("IMAGE_ID")
        if found != image_id:
            what = "another image is loaded" if found else "no image is loaded, or it was changed"
            raise NotLoadedError("register IMAGE_ID", f"{found:#x}", f"must be {image_id:#x}: {what}; load it")
        self._image_id = image_id

    async def check_image(self) -> None:
        """Look whether the engine still has what this driver has loaded and signed.

        Raises
        ------
        NotLoadedError
            It has not.
        """
        found = await self.read("IMAGE_ID")
        if found != self._image_id:
            what = "somebody else has loaded" if found else "program or weights were changed, or the engine was reset"
            rule = f"must be {self._image_id:#x}, as this driver left it: {what}; load again"
            raise NotLoadedError("register IMAGE_ID", f"{found:#x}", rule)

    async def start(
        self,
        entry: int,
        steps: int = 1,
        clear: bool = False,
        sequence: bool = False,
        ignore_tlast: bool = False,
        one_packet: bool = False,
    ) -> None:
        """Start a run.

        Parameters
        ----------
        entry : int
            Value of ENTRY, as ``program.json`` lists it.
        steps : int
            Time steps.
        clear : bool
            h and c start from zero.
        sequence : bool
            tlast of x ends the whole sequence instead of each vector.
        ignore_tlast : bool
            tlast of x says nothing.
        one_packet : bool
            tlast of y ends the outputs of the run instead of each packet.

        Raises
        ------
        NotLoadedError
            No weights on the chip, or not what this driver has signed. Nothing was started.
        ToolError
            Another engine, one that is busy, weights that are not right or looked for elsewhere, no steps, or an
            argument that the engine refuses. Nothing was started.
        """
        await self.identify()
        await self.check_idle("start")
        if not 1 <= steps < 1 << 32:
            raise ToolError("start", f"{steps} steps", f"must be from 1 to {(1 << 32) - 1}")
        loads = lookup("ENTRY").field("loads").extract(entry)
        if not loads and not await self._field("STATUS", "loaded"):
            rule = "must follow a run of entry `load` without an error"
            raise NotLoadedError("start", "no weights on the chip", rule)
        if self._image_id is None:
            await self.check_weights()
        else:
            await self.check_image()  # which tells of other addresses too
        if loads and not self._weights_right:
            found = hashlib.sha256(await self.weights.read()).hexdigest()
            if found != self.weights.sha256:
                raise ToolError("weight image in memory", f"digest {found}", f"must be {self.weights.sha256}")
            self._weights_right = True
        flags = {"clear": clear, "sequence": sequence, "ignore_tlast": ignore_tlast, "one_packet": one_packet}
        options = sum(lookup("FLAGS").field(name).insert(int(on)) for name, on in flags.items())
        async with self._taken("start"):
            for name, value in (("ENTRY", entry), ("STEPS", steps), ("FLAGS", options)):
                await self._put(name, value)
        await self.write("CTRL", lookup("CTRL").field("start").insert(1))

    async def enable_interrupt(self) -> None:
        """Let the end of a run raise the interrupt output."""
        await self.write("IER", lookup("IER").field("done").mask)
        await self.write("GIE", lookup("GIE").field("enable").mask)

    async def wait(self) -> ErrorCode:
        """Wait until the run is done; returns its ErrorCode.

        Raises
        ------
        ToolError
            It is not done in the time that it was given; it was aborted.
        """
        if not await self._done():
            code = await self.abort()
            rule = "must end in the time it was given; it was aborted"
            raise ToolError("run", f"not done after {self.timeout:g} s, then {code.name}", rule)
        return await self.code()

    async def abort(self) -> ErrorCode:
        """Give the run up that is in progress, if one is; returns the code of the last run.

        Raises
        ------
        ToolError
            The engine stays busy.
        """
        if await self._field("STATUS", "busy"):
            await self.write("CTRL", lookup("CTRL").field("abort").insert(1))
            if not await self._done():
                raise ToolError("abort", "the engine stays busy", "must end; only a reset helps")
        return await self.code()

    async def code(self) -> ErrorCode:
        """How the last run ended, or NONE while it goes on well."""
        return ErrorCode(await self._field("STATUS", "code"))

    async def _done(self):
        """Wait for CTRL.done, which the start has cleared; False if it does not come."""
        end = self.clock() + self.timeout
        while True:
            late = self.clock() >= end
            if self.interrupt is not None:
                await self.interrupt()
            if await self.done():
                if self.interrupt is not None:
                    await self._put("ISR", await self.read("ISR"))  # a written 1 toggles
                return True
            if late:
                return False
            if self.pause is not None:
                await self.pause()

    async def done(self) -> bool:
        """Whether the run that was started last is done."""
        return bool(await self._field("CTRL", "done"))

    async def counters(self) -> dict[str, int]:
        """The counters of the last run: dict of lower-case name -> cycles."""
        return {name.lower(): await self.read(f"{name}_LO") | await self.read(f"{name}_HI") << 32 for name in COUNTERS}

    async def clipped(self) -> dict[str, int] | None:
        """Values of the last run that their format does not hold, by place in CLIPPED_PLACES; None: not counted."""
        if not await self._field("CLIPPED", "counted"):
            return None
        return {place: await self.read(clipped_register(place)) for place in CLIPPED_PLACES}
