"""A model on an engine: a firmware image opened on a transport, real numbers in and out.

:class:`Session` has the coroutines, for simulations; :class:`Device` is the same for boards, whose transports block.
"""

import hashlib
import warnings
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np

from ..errors import DeviceError, InputError, LstmHwError, VerificationError
from ..machine.limits import PAGE_BYTES
from ..machine.registers import CLIPPED_PLACES, ERROR_DOC, ErrorCode
from .driver import TIMEOUT_S, Driver, WeightCheck
from .image import FirmwareImage
from .transport import Transport

SHOWN = ("STATUS", "CTRL", "ERROR_ADDRESS_LO", "ERROR_ADDRESS_HI", "REFUSED", "STEPS", "FLAGS", "ENTRY")
"""Registers whose words an error has."""


class ClippedWarning(UserWarning):
    """Values of a run were beyond their number format, so its outputs may be far from the float model's."""


class Session:
    """A firmware image on an engine.

    Parameters
    ----------
    image : FirmwareImage
    transport : Transport
    timeout : float
        Seconds that a run may take.

    Attributes
    ----------
    clipped : dict of str to int, or None
        Values of the last call that were beyond their format, by place; None: the engine does not count them.
    counters : dict of str to int
        Of the last run.
    """

    def __init__(self, image: FirmwareImage, transport: Transport, timeout: float = TIMEOUT_S):
        self.image, self.transport, self.timeout = image, transport, timeout
        self.memory, self.streams = transport.need("memory"), transport.need("streams")
        size, pages = len(image.images[0]), -(-len(image.images[0]) // PAGE_BYTES)
        self.offsets = [port * pages * PAGE_BYTES for port in range(image.config.axi_ports)]
        if self.offsets[-1] + size > self.memory.size:
            rule = f"must hold the {self.offsets[-1] + size} bytes of the weight image"
            raise DeviceError(transport.name, f"memory of {self.memory.size} bytes", rule)
        x_bytes = image.config.operand_bits * image.config.x_per_beat // 8
        if self.streams.x_beat_bytes != x_bytes:
            rule = f"must be {x_bytes}, as the image has them: another engine was built"
            raise DeviceError(transport.name, f"beats of x of {self.streams.x_beat_bytes} bytes", rule)
        self.driver = Driver(
            transport.need("registers"),
            image.config.content_id,
            transport.interrupt,
            WeightCheck(hashlib.sha256(image.weights).hexdigest(), self._weights),
            timeout,
            transport.clock,
            transport.pause,
        )
        self.loaded, self.clipped, self.counters = False, None, {}
        self._steps = None

    @classmethod
    async def open(cls, image: FirmwareImage, transport: Transport, timeout: float = TIMEOUT_S) -> "Session":
        """Look whether the engine is the image's, and whether it is free.

        Raises
        ------
        DeviceError
            The transport lacks a part, its memory is too small, or a run is in progress.
        ToolError
            Another engine, or none.
        """
        session = cls(image, transport, timeout)
        await session.driver.identify()
        await session.driver.check_idle("open")
        return session

    async def _weights(self):
        parts = zip(self.offsets, self.image.images, strict=True)
        return b"".join([(await self.memory.read(at, _fours(part)))[: len(part)] for at, part in parts])

    async def load(self) -> None:
        """Bring program and weights to the engine; :meth:`predict` does it where it was not done.

        Raises
        ------
        ToolError
            A run is in progress, memory does not hold what was written to it, or the engine could not load it.
        NotLoadedError
            Somebody else has loaded in the meantime.
        """
        self.loaded, self._steps = False, None
        driver, image = self.driver, self.image
        await driver.identify()
        await driver.check_idle("load")
        await driver.load_program(image.program.encoded())  # first: it tells others, before memory is another
        for offset, part in zip(self.offsets, image.images, strict=True):
            await self.memory.write(offset, part + bytes(_fours(part) - len(part)))
        if self.transport.interrupt is not None:
            await driver.enable_interrupt()
        await driver.set_weights(*(self.memory.base + offset for offset in self.offsets))
        if "load" in image.program.entries:
            await driver.start(image.program.entry_word("load"))
            await self._judge(await driver.wait(), "load")
        await driver.sign(image.image_id, image.program.entry_word("run"))
        self.loaded = True

    async def adopt(self) -> None:
        """Use the engine as it is, where it has this image already: loaded by another program, or from a board's flash.

        Raises
        ------
        NotLoadedError
            It has another, or none; :meth:`load` brings this one.
        ToolError
            A run is in progress, or another engine.
        """
        self.loaded, self._steps = False, None
        await self.driver.identify()
        await self.driver.adopt(self.image.image_id)
        self.loaded = True

    async def predict(
        self,
        x: np.ndarray,
        carry: bool = False,
        stored: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> np.ndarray:
        """Outputs for real inputs, with the bits of the integer reference.

        Parameters
        ----------
        x : float array (N, T, Lx)
        carry : bool
            Go on from the state that the call before left, sequence by sequence; without it from zero state.
        stored : bool
            Return stored integers instead of real numbers.
        progress : callable, optional
            Called as ``progress(done, total)`` in sequences.

        Returns
        -------
        array
            (N, O), (N, T, O) or (N, T, H), as the model has its head on the last step, on every step or not at all.

        Raises
        ------
        InputError
            ``x`` does not fit the model, there is no state to go on from, or there must not be one.
        DeviceError
            A run failed, or took too long: ``registers`` has what the engine said.
        NotLoadedError
            Somebody else has loaded, or the engine was reset, since :meth:`load`, which has to be called again.

        Warns
        -----
        ClippedWarning
            Inputs, or values of a run, were beyond their format.
        """
        image = self.image
        x = np.asarray(x)
        if x.ndim != 3 or 0 in x.shape:
            raise InputError("x", f"shape {x.shape}", f"must be (sequences, steps, {image.inputs})")
        if x.shape[2] != image.inputs:
            raise InputError("x", f"shape {x.shape}", f"must end with {image.inputs}")
        if carry:
            image.arrangement.check_whole("carry")
        arranged = image.arrangement.x(x)
        stored_x = image.x_code.quantize(arranged)
        if beyond := image.x_code.beyond(arranged, image.inputs):
            warnings.warn(beyond, ClippedWarning, stacklevel=4)
        outputs = await self._run(stored_x, carry, progress)
        for place, count in (self.clipped or {}).items():
            if count:
                text = f"{count} {CLIPPED_PLACES[place]} were beyond their format: outputs may be wrong"
                warnings.warn(text, ClippedWarning, stacklevel=4)
        outputs = image.arrangement.outputs(outputs if image.streams.every_step else outputs[:, 0])
        return outputs if stored else image.y_format.to_float(outputs)

    async def _run(self, x, carry, progress=None):
        """Stored outputs (N, vectors, O) for stored inputs (N, T, Lx), group by group."""
        count, width = len(x), self.image.streams.sequences
        if carry and (self._steps is None or count > width):
            found = "no run before that left a state" if count <= width else f"{count} sequences"
            rule = f"must follow a call from zero state, with at most {width} sequences, to go on from it"
            raise InputError("carry", found, rule)
        if not self.loaded:
            await self.load()
        filled = np.concatenate([x, np.repeat(x[-1:], -count % width, axis=0)])
        groups = filled.reshape(-1, width, *x.shape[1:])
        self.clipped, found = None, []
        for group in groups:
            found.append(await self._run_group(group, carry))
            if progress:
                progress(min(len(found) * width, count), count)
        if len(groups) > 1:
            self._steps = None  # the state is the last group's
        return np.concatenate(found)[:count]

    async def _run_group(self, x, carry):
        image, driver, streams = self.image, self.driver, self.image.streams
        steps, first_step = x.shape[1], self._steps if carry else 0
        self._steps = None
        beats, _ = streams.beats(x)
        kind = np.dtype("<i1" if image.config.operand_bits == 8 else "<i2")
        await self.streams.drain()
        lengths, one = streams.packet_lengths(steps, first_step), self.streams.one_packet
        entry = image.program.entry_word("run")
        await driver.start(entry, steps, not carry, sequence=True, one_packet=one)
        end = driver.clock() + self.timeout

        async def ended():
            if driver.clock() > end:
                raise DeviceError(
                    self.transport.name, f"a run of more than {self.timeout:g} s", "must end in that time"
                )
            return await driver.done()

        lengths = streams.packet_lengths(steps, first_step)
        try:
            wanted = [sum(lengths)] if one else lengths
            packets = await self.streams.transfer(beats.astype(kind).tobytes(), wanted, ended)
            code = await driver.wait()
        except BaseException as error:
            await self._give_up(error)
            raise
        await self._judge(code, f"run of {steps} steps")
        if [len(packet) for packet in packets] != wanted:
            found = f"packets of {[len(packet) for packet in packets]} elements"
            raise DeviceError(self.transport.name, found, f"must be of {wanted}: some of the outputs were lost")
        if one:
            ends = np.cumsum(lengths)[:-1]
            packets = [part.tolist() for part in np.split(np.asarray(packets[0]), ends)]
        self._steps = first_step + steps
        self.counters = await driver.counters()
        clipped = await driver.clipped()
        if clipped is not None:
            self.clipped = {place: count + (self.clipped or {}).get(place, 0) for place, count in clipped.items()}
        return streams.outputs_of(packets, steps, first_step)

    async def _give_up(self, error):
        """Abort what is in progress, so that the next run finds an engine that is free."""
        try:
            if isinstance(error, DeviceError) and not error.registers:
                error.registers = await self.registers()
            await self.driver.abort()
        except LstmHwError as other:
            error.add_note(f"and the run could not be aborted: {other}")

    async def _judge(self, code, what):
        """DeviceError with the words of the registers unless a run went well."""
        if code != ErrorCode.NONE:
            words = await self.registers()
            told = ", ".join(f"{name} {value:#x}" for name, value in words.items() if value)
            found = f"{what} ended with {code.name}: {ERROR_DOC[code]} ({told})"
            raise DeviceError(self.transport.name, found, "must end without an error", words)

    async def registers(self) -> dict[str, int]:
        """What the registers that tell of errors say, by name."""
        names = SHOWN + (("ERROR_PORT",) if self.image.config.axi_ports > 1 else ())
        return {name: await self.driver.read(name) for name in names}

    async def abort(self) -> ErrorCode:
        """Give the run up that is in progress, if one is, whoever has started it; returns the code of the last run."""
        self._steps = None
        return await self.driver.abort()

    async def selftest(self) -> int:
        """Run the image's test vectors; returns the number of sequences.

        Raises
        ------
        InputError
            The image has none.
        VerificationError
            An output differs; names the first.
        """
        vectors = self.image.vectors
        if vectors is None:
            raise InputError("firmware image", "no test vectors", "must have some for a self-test")
        found = await self._run(vectors.x, False)
        wrong = np.argwhere(found != vectors.y)
        if len(wrong):
            place = tuple(wrong[0])
            subject = f"{self.transport.name}: sequence {place[0]}, output vector {place[1]}, element {place[2]}"
            rule = f"must be {vectors.y[place]}, as the image says; {len(wrong)} of {found.size} outputs are wrong"
            raise VerificationError(subject, int(found[place]), rule)
        return len(found)

    async def info(self) -> dict[str, Any]:
        """What the engine says of itself and of its last run: JSON-able values."""
        return {"registers": await self.registers(), "counters": await self.driver.counters()}


def _fours(part):
    """Length of a part, rounded up to whole words."""
    return -(-len(part) // 4) * 4


def blocking(coroutine: Coroutine) -> Any:
    """What a coroutine returns that never suspends, as those on a board's transport."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    raise RuntimeError("a transport of a board must block, not suspend")


class Device:
    """A :class:`Session` on a transport that blocks: the same methods, without ``await``.

    Parameters
    ----------
    image : FirmwareImage
    transport : Transport
    timeout : float
        Seconds that a run may take.

    Raises
    ------
    DeviceError, ToolError
        As of :meth:`Session.open`.
    """

    def __init__(self, image: FirmwareImage, transport: Transport, timeout: float = TIMEOUT_S):
        self.session = blocking(Session.open(image, transport, timeout))

    def __enter__(self) -> "Device":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the device back."""
        if self.session.transport.close is not None:
            self.session.transport.close()

    def load(self) -> None:
        """See :meth:`Session.load`."""
        blocking(self.session.load())

    def adopt(self) -> None:
        """See :meth:`Session.adopt`."""
        blocking(self.session.adopt())

    def predict(
        self,
        x: np.ndarray,
        carry: bool = False,
        stored: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> np.ndarray:
        """See :meth:`Session.predict`."""
        return blocking(self.session.predict(x, carry, stored, progress))

    def selftest(self) -> int:
        """See :meth:`Session.selftest`."""
        return blocking(self.session.selftest())

    def abort(self) -> ErrorCode:
        """See :meth:`Session.abort`."""
        return blocking(self.session.abort())

    def info(self) -> dict[str, Any]:
        """See :meth:`Session.info`."""
        return blocking(self.session.info())

    @property
    def clipped(self) -> dict[str, int] | None:
        """Values of the last call that were beyond their format, by place; None: the engine does not count them."""
        return self.session.clipped
