"""A board with an engine, as the command line opens it: the road to it, by what the user said."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, DeviceError, InputError, VerificationError
from ..files import writable
from ..host.device import Device, blocking
from ..host.driver import Driver
from ..host.image import FirmwareImage
from ..host.link import Line, Link, SerialLine, SocketLine
from ..host.protocol import FLASH_DOC, REASON_DOC, TestState
from ..host.transport import Transport
from ..model.features import features
from ..reading import NpzFile

BAUD, FAST = 115_200, 1_000_000
"""Of a serial port: that of a bridge after its reset, and what it is set to if it can be."""
STREAM_BYTES = 1 << 22
LOOK_SECONDS = 0.02
"""Between two looks at a self-test."""


def transport_of(image: FirmwareImage | None, where: dict[str, Any]) -> Transport:
    """The road to an engine.

    Parameters
    ----------
    image : FirmwareImage or None
        What it is wanted for; a port and a socket need none.
    where : dict
        One of ``port`` (a serial port, with ``baud`` and ``fast``), ``socket`` (``HOST:PORT``), ``overlay`` (a PYNQ
        .bit file) or ``registers`` (with ``dma``, ``weights`` and ``streams``; see :func:`lstm_hw.host.linux.linux`).

    Raises
    ------
    ConfigError
        None of them, or more than one, or a part of the last is missing.
    DeviceError
        What it needs is missing; nothing answers.
    """
    roads: dict[str, Callable[[], Transport]] = {
        "port": lambda: _linked(lambda: SerialLine(where["port"], where.get("baud") or BAUD), where.get("fast", FAST)),
        "socket": lambda: _linked(lambda: SocketLine.connect(*_address(where["socket"]))),
        "overlay": lambda: _overlay(image, where["overlay"]),
        "registers": lambda: _linux(image, where),
    }
    given = [name for name in roads if where.get(name)]
    if len(given) != 1:
        found = " and ".join(f"--{name}" for name in given) or "no board"
        raise ConfigError("device", found, f"must be one of {', '.join(f'--{name}' for name in roads)}")
    return roads[given[0]]()


def _linked(line: Callable[[], Line], fast: int | None = None) -> Transport:
    link = blocking(Link.open(line()))
    if fast:
        blocking(link.speed_up(fast))
    return link.transport()


def _address(text):
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit():
        raise ConfigError("--socket", repr(text), "must be HOST:PORT")
    return host, int(port)


def _x_beat_bytes(image):
    return image.config.operand_bits * image.config.x_per_beat // 8


def _overlay(image, bitfile):
    from ..host.overlay import overlay

    pages = sum(-(-len(part) // 4096) * 4096 for part in image.images)
    return overlay(bitfile, _x_beat_bytes(image), pages, STREAM_BYTES)


def _linux(image, where):
    from ..host.linux import linux

    missing = [name for name in ("dma", "weights", "streams") if not where.get(name)]
    if missing:
        raise ConfigError(f"--{missing[0]}", "not given", "must be given beside --registers")
    names = [where[name] for name in ("registers", "dma", "weights", "streams")]
    return linux(*names, _x_beat_bytes(image), bool(where.get("interrupt")))


def open_device(image: FirmwareImage, where: dict[str, Any], timeout: float) -> Device:
    """A device that runs a firmware image; errors as of :func:`transport_of` and :class:`.Device`."""
    return Device(image, transport_of(image, where), timeout)


def tested(where: dict[str, Any], timeout: float) -> str:
    """Run the self-test that is in a board's bitstream, which resets the engine, and tell its verdict.

    Parameters
    ----------
    where : dict
        As for :func:`transport_of`: a port or a socket.
    timeout : float
        Seconds that it may take.

    Raises
    ------
    ConfigError
        Another road.
    DeviceError
        The board has no such test, or it does not end.
    VerificationError
        It failed; says why.
    """
    for name in ("overlay", "registers"):
        if where.get(name):
            rule = "must go with --port or --socket: elsewhere the self-test is a bitstream of its own, with LEDs"
            raise ConfigError("--board", f"with --{name}", rule)
    transport = transport_of(None, where)
    try:
        look = transport.need("selftest")
        until = transport.clock() + timeout
        state, reason, right, cycles = blocking(look(True))
        while state == TestState.RUNNING:
            if transport.clock() > until:
                raise DeviceError(transport.name, "self-test runs", f"must end within {timeout:g} s")
            time.sleep(LOOK_SECONDS)
            state, reason, right, cycles = blocking(look(False))
    finally:
        if transport.close is not None:
            transport.close()
    vectors = f"{right} vector{'s' * (right != 1)} right"
    if state != TestState.PASSED:
        why = REASON_DOC.get(reason, "not a known one")
        raise VerificationError(f"{transport.name}: self-test", vectors, f"must pass; reason {reason}: {why}")
    return f"{transport.name}: the board's self-test passed, {vectors}, {cycles} cycles in the last run"


def read_inputs(
    path: str | os.PathLike, name: str | None, scale: str | None = None, names: Sequence[str] = ()
) -> np.ndarray:
    """Inputs (N, T, Lx) from an npz file.

    Parameters
    ----------
    path : path-like
    name : str, optional
        Of the array; ``x``, or the only one, without it.
    scale : str, optional
        A number, or the name of an array of one, that the values are multiplied by.
    names : sequence of str
        Features of them that are the model's inputs; see :func:`~lstm_hw.model.features.features`.

    Raises
    ------
    InputError
        The file or the array is not usable.
    """
    file = NpzFile(path)
    if name is None:
        name = file.names[0] if len(file.names) == 1 else "x"
    x = file.read(name)
    if x.ndim == 2:  # one sequence
        x = x[None]
    if x.dtype.kind not in "iuf" or x.ndim != 3:
        rule = "must be real numbers (sequences, steps, inputs), or (steps, inputs) of one sequence"
        raise InputError(f"{path}: {name}", f"shape {x.shape} of {x.dtype}", rule)
    x = x if scale is None else x.astype(np.float64) * _scale(file, scale)
    return features(x, names, f"{path}: {name}") if names else x


def _scale(file, scale):
    """The number that a text says, or that is in the array of this name."""
    try:
        return float(scale)
    except ValueError:
        found = file.read(scale)
    if found.shape != () or found.dtype.kind not in "iuf" or not np.isfinite(found):
        raise InputError(f"{file.path}: {scale}", f"shape {found.shape} of {found.dtype}", "must be one finite number")
    return float(found)


def write_outputs(path: str | os.PathLike, outputs: np.ndarray) -> Path:
    """Write outputs as the array ``y`` of an npz file."""
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial.npz")
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(partial, y=outputs)
        partial.replace(path)
    return path


def told(path: str | os.PathLike, where: dict[str, Any], timeout: float, abort: bool) -> list[str]:
    """Lines about an image and the engine that it is opened on."""
    image = FirmwareImage.read(path)
    streams = image.streams
    lines = [
        f"image: {image.about.get('name', 'without a name')}, model {image.identity[:16]}, "
        f"engine {image.config.content_id:#010x}, {len(image.weights)} bytes of weights",
        f"x: {streams.inputs} elements in {image.x_code.format}, {streams.sequences} sequences a run; "
        f"outputs: {streams.outputs} in {image.y_format}, {'every step' if streams.every_step else 'one a sequence'}",
    ]
    transport = transport_of(image, where)
    if abort:
        blocking(Driver(transport.need("registers"), image.config.content_id, timeout=timeout).abort())
    with Device(image, transport, timeout) as device:
        found = device.info()
        flash = None if transport.flash is None else blocking(transport.flash())
    lines.append(f"{transport.name}: the engine of this image, free")
    if flash is not None:
        lines.append(f"flash: {FLASH_DOC[flash]}")
    lines += [f"  {name:<20}{value:#010x}" for name, value in found["registers"].items()]
    return lines + [f"  {name:<20}{value}" for name, value in found["counters"].items()]


def shown(outputs: np.ndarray) -> list[str]:
    """Outputs as lines, a vector each."""
    lines = []
    for place in np.ndindex(outputs.shape[:-1]):
        name = " step ".join(map(str, place))
        lines.append(f"sequence {name}: {' '.join(f'{value:g}' for value in outputs[place])}")
    return lines
