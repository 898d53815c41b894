"""The roads to an engine: sockets and serial ports to a bridge, the DMA of an overlay, the devices of a Linux."""

import asyncio
import os
import pty
import re
import select
import socket
import threading
import tty
import warnings
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

import lstm_hw
from lstm_hw.cli import main
from lstm_hw.errors import ConfigError, DeviceError, InputError, ToolError
from lstm_hw.host import dma, linux
from lstm_hw.host import link as link_module
from lstm_hw.host.device import ClippedWarning, Device, blocking
from lstm_hw.host.link import Link, SerialLine, SocketLine
from lstm_hw.host.overlay import overlay
from lstm_hw.host.protocol import Capability, Op, Status, TestState
from lstm_hw.machine.registers import ErrorCode, clipped_register, lookup
from sim.bridge import Bridge

from ..projects import write_project
from .engine import BASE, Coroutines, ModelDma, ModelEngine, Registers, refuses


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return write_project(tmp_path_factory.mktemp("roads"), quantize={"weight_bits": 8})


@pytest.fixture(scope="module")
def project(config):
    return lstm_hw.load(config)


@pytest.fixture
def engine(project):
    return ModelEngine(project)


class FileLine:
    """The bridge's end of a line: a file descriptor, which is read until it is closed."""

    def __init__(self, read, write):
        self.file, self.send = read, write

    async def read(self, seconds):
        if not select.select([self.file], [], [], seconds)[0]:
            return b""
        content = os.read(self.file, 4096)
        if not content:
            raise EOFError
        return content

    async def write(self, content):
        self.send(content)


def serve(engine, file, write, create=Bridge):
    """A thread in which a bridge answers until the other end closes."""
    parts = Coroutines(engine)
    bridge = create(Registers(engine), parts, parts)

    def answer():
        try:
            asyncio.run(bridge.serve(FileLine(file, write)))
        except (EOFError, OSError):
            return

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    return thread


@contextmanager
def listening(engine, connections=1, create=Bridge):
    """A port at which a bridge answers, one connection after the other."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept():
            for _ in range(connections):
                peer, _ = server.accept()
                with peer:
                    serve(engine, peer.fileno(), peer.sendall, create).join()

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]


def checked(device, project):
    """Outputs as in the package, also in two parts; warnings are errors."""
    x = project.x
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(device.predict(x), project.predict(x))
        device.predict(x[:1, :1])
        assert np.array_equal(device.predict(x[:1, 1:], carry=True), project.predict(x[:1]))
    assert device.selftest() == 4


def test_socket(project, engine):
    with listening(engine) as port:
        link = blocking(Link.open(SocketLine.connect("127.0.0.1", port)))
        with Device(project.firmware, link.transport()) as device:
            checked(device, project)
    with pytest.raises(DeviceError, match=f"127.0.0.1:{port}: .*; must be an address that answers"):
        SocketLine.connect("127.0.0.1", port)


def test_serial(project, engine):
    """A pseudo terminal stands for the port."""
    ours, theirs = pty.openpty()
    tty.setraw(ours)
    tty.setraw(theirs)
    serve(engine, ours, lambda content: os.write(ours, content))
    link = blocking(Link.open(SerialLine(os.ttyname(theirs), 1_000_000)))
    with Device(project.firmware, link.transport()) as device:
        checked(device, project)
    with pytest.raises(
        DeviceError, match="/dev/tty_nowhere: No such file or directory; must be a serial port that can be opened"
    ):
        SerialLine("/dev/tty_nowhere", 115200)


def test_what_a_bridge_refuses(engine, monkeypatch):
    """Requests that make no sense change nothing, and a bus error is told."""
    with listening(engine) as port:
        line = SocketLine.connect("127.0.0.1", port)
        link = blocking(Link.open(line))
        for op, payload in (
            (Op.READ, b""),
            (Op.READ, bytes([1, 0, 0, 0, 1, 0])),
            (Op.WRITE, bytes(5)),
            (Op.X, bytes(2)),
            (Op.X, bytes(1)),
            (Op.Y, b"\xff\xff"),
            (Op.MEM_WRITE, bytes([2, 0, 0, 0]) + bytes(4)),
            (Op.MEM_READ, (len(engine.memory) - 4).to_bytes(4, "little") + bytes([8, 0])),
        ):
            with pytest.raises(DeviceError, match=f"{op.name} answered with LENGTH"):
                blocking(link.request(op, payload))
        with pytest.raises(DeviceError, match="SELFTEST answered with OP"):
            blocking(link.selftest(True))
        monkeypatch.setattr(engine, "write", refuses)
        with pytest.raises(DeviceError, match="WRITE answered with REFUSED"):
            blocking(link.write(0x20, 1))
        line.close()


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        ({"most": 63}, "payloads of 63; must take payloads of 64 bytes at least"),
        ({"x_beat_bytes": 0}, "beats of x of 0 bytes.*; must have a beat of x in a payload"),
        ({"x_beat_bytes": 64, "most": 64}, "beats of x of 64 bytes.*; must have a beat of x in a payload"),
        ({"y_beat_bytes": 4}, "of y of 4, .*; must have .* beats of y of 2 bytes"),
    ],
)
def test_bridges_that_cannot_be(engine, monkeypatch, said, rule):
    hello = Bridge.hello.fget
    monkeypatch.setattr(Bridge, "hello", property(lambda bridge: replace(hello(bridge), **said)))
    with listening(engine) as port, pytest.raises(DeviceError, match=rule):
        blocking(Link.open(SocketLine.connect("127.0.0.1", port)))


@pytest.mark.parametrize(
    ("taken", "message"),
    [
        (b"\xff\0\0\0", "255 beats of x taken; must be at most the 9 that were sent"),
        (b"\1\0\0\0", "some of the outputs were lost"),
    ],
)
def test_x_that_was_not_taken_as_it_was_sent(project, engine, monkeypatch, taken, message):
    """More beats than there were, or a run that ends before the last."""
    answer = Bridge.answer

    async def wrong(bridge, request):
        status, payload = await answer(bridge, request)
        if request.code == Op.X:
            bridge.sent = getattr(bridge, "sent", 0) + 1
            payload = taken if bridge.sent == 1 else bytes(4)
        return status, payload

    with Device(project.firmware, direct(engine), timeout=0.5) as device:
        device.load()
        monkeypatch.setattr(Bridge, "answer", wrong)
        with pytest.raises(DeviceError, match=message):
            device.predict(project.x[:1])


def test_a_request_is_done_once(engine):
    """The number of the one before: the same reply, and nothing is done."""
    parts = Coroutines(engine)
    bridge = Bridge(Registers(engine), parts, parts)
    came, sent = [], []

    class Line:
        async def read(self, seconds):
            if not came:
                raise EOFError
            return came.pop(0)

        async def write(self, content):
            sent.append(content)

    from lstm_hw.host.protocol import REQUEST, Frame

    engine.y.extend([(b"\1\0", False), (b"\2\0", True)])
    take = Frame(7, Op.Y, b"\1\0").to_bytes(REQUEST)
    came += [take, take, Frame(8, Op.Y, b"\1\0").to_bytes(REQUEST)]
    with pytest.raises(EOFError):
        asyncio.run(bridge.serve(Line()))
    assert sent[0] == sent[1] and sent[1] != sent[2] and not engine.y
    assert sent[2][2] == Status.OK and sent[2][5:8] == b"\2\0\1"


def fake_pynq(engine, **more):
    """The parts of the package ``pynq`` that an overlay uses."""
    core = ModelDma(engine)

    class Array(np.ndarray):
        def flush(self):
            if self.device_address == BASE:
                engine.memory[: len(self)] = self.tobytes()

        def invalidate(self):
            pass

        def freebuffer(self):
            core.buffers[:] = [buffer for buffer in core.buffers if buffer is not self]

    def allocate(shape, dtype):
        array = np.zeros(shape, dtype).view(Array)
        array.device_address = BASE + (len(core.buffers) << 28)
        core.buffers.append(array)
        return array

    cores = {
        "lstm_engine_0": {"type": "user:ip:lstm_engine:1.0", "phys_addr": 0x43C0_0000},
        "axi_dma_0": {"type": "xilinx.com:ip:axi_dma:7.1", "phys_addr": 0x4040_0000},
    }
    values = {
        "__version__": "3.0.1",
        "Overlay": lambda bitfile: SimpleNamespace(ip_dict=cores),
        "MMIO": lambda address, length: engine if address == 0x43C0_0000 else core,
        "allocate": allocate,
    }
    return SimpleNamespace(**values | more), core


@pytest.fixture
def bitfile(tmp_path):
    for suffix in ("bit", "hwh"):
        (tmp_path / f"design.{suffix}").write_bytes(b"x")
    return str(tmp_path / "design.bit")


def test_overlay_and_dma(project, engine, bitfile):
    module, core = fake_pynq(engine)
    with Device(project.firmware, overlay(bitfile, 2, 4096, 4096, module)) as device:
        checked(device, project)
    engine.stuck = True
    with Device(project.firmware, overlay(bitfile, 2, 4096, 4096, module), timeout=1.0) as device:
        with pytest.raises(DeviceError, match="a run of more than 1 s") as caught:
            device.predict(project.x[:1])
        assert "STATUS" in caught.value.registers
        engine.stuck = False
        engine.y.append((b"\7\0", False))  # an output that the run left
        before = core.resets
        assert np.array_equal(device.predict(project.x[:1]), project.predict(project.x[:1]))
        assert core.resets > before
        long = np.zeros((1, 2000, 3))
        with pytest.raises(InputError, match="fewer steps a call, and carry=True"):
            device.predict(long)
        device.session.streams.buffer.address += 1 << 30
        with pytest.raises(DeviceError, match="AXI DMA: .*no memory at that address"):
            device.predict(project.x[:1])


def test_a_dma_that_is_none_in_simple_mode(project, engine, bitfile, monkeypatch):
    module, core = fake_pynq(engine)
    with Device(project.firmware, overlay(bitfile, 2, 4096, 4096, module)) as device:
        core.made_with = dma.SCATTER_GATHER
        with pytest.raises(DeviceError, match="AXI DMA: made for scatter-gather; must be an AXI DMA in simple mode"):
            device.predict(project.x[:1])
        core.made_with = 0
        with monkeypatch.context() as patch:
            patch.setattr(dma, "RUN", 0)
            with pytest.raises(DeviceError, match="AXI DMA: it stays halted; must be an AXI DMA whose clocks run"):
                device.predict(project.x[:1])
        assert np.array_equal(device.predict(project.x[:1]), project.predict(project.x[:1]))


def test_a_transfer_that_has_not_begun_is_not_done(project, engine, bitfile, monkeypatch):
    """A channel that idles until the engine gives something: what the transfer before has left says nothing."""
    module, core = fake_pynq(engine)
    with Device(project.firmware, overlay(bitfile, 2, 4096, 4096, module)) as device:
        device.predict(project.x[:1])
        assert core.values[dma.S2MM + dma.STATUS] & dma.COMPLETE
        place, late = ModelDma._place, []

        def unchanged(self, channel, length):
            """The status is not yet that of the new transfer when it is looked at first."""
            late.append(self.values[channel + dma.STATUS])
            return place(self, channel, length)

        monkeypatch.setattr(ModelDma, "_place", unchanged)
        assert np.array_equal(device.predict(project.x[1:2]), project.predict(project.x[1:2]))
        assert late and not any(status & dma.COMPLETE for status in late[:2])


def test_what_an_overlay_lacks(engine, bitfile, tmp_path):
    module, _ = fake_pynq(engine, __version__="4.0.0")
    with pytest.raises(DeviceError, match="pynq: version 4.0.0; must be below 4"):
        overlay(bitfile, 2, 4096, module=module)
    module, _ = fake_pynq(engine, Overlay=lambda bitfile: SimpleNamespace(ip_dict={}))
    with pytest.raises(DeviceError, match="0 cores that could be the engine; must have one engine; it has no cores"):
        overlay(bitfile, 2, 4096, module=module)
    (tmp_path / "design.hwh").unlink()
    with pytest.raises(DeviceError, match="design.hwh: missing"):
        overlay(bitfile, 2, 4096, module=module)
    with pytest.raises(DeviceError, match="pynq: not installed"):
        overlay(bitfile, 2, 4096)


@pytest.fixture
def system(tmp_path):
    """Files as of a Linux system with two UIO devices and two u-dma-bufs."""
    for number, name in enumerate(("lstm_engine", "dma")):
        device = tmp_path / f"sys/class/uio/uio{number}"
        (device / "maps/map0").mkdir(parents=True)
        (device / "name").write_text(f"{name}\n")
        (device / "maps/map0/size").write_text("0x00010000\n")
        (tmp_path / "dev").mkdir(exist_ok=True)
        (tmp_path / f"dev/uio{number}").write_bytes(bytes(1 << 16))
        buffer = tmp_path / f"sys/class/u-dma-buf/udmabuf{number}"
        buffer.mkdir(parents=True)
        (buffer / "phys_addr").write_text(f"{0x3000_0000 + (number << 20):#018x}\n")
        (buffer / "size").write_text("65536\n")
        (tmp_path / f"dev/udmabuf{number}").write_bytes(bytes(1 << 16))
    (tmp_path / "dev/mem").write_bytes(bytes(1 << 17))
    return tmp_path


ROAD = ("lstm_engine", "uio1", "udmabuf0", "udmabuf1", 2)


def test_linux(system):
    """Registers, memory and the DMA's registers are where the system says."""
    road = linux.linux(*ROAD, root=system)
    blocking(road.registers.write(0x10, 0x12345678))
    assert (system / "dev/uio0").read_bytes()[0x10:0x14] == bytes.fromhex("78563412")
    assert blocking(road.registers.read(0x10)) == 0x12345678
    assert (road.memory.base, road.memory.size) == (0x3000_0000, 65536)
    blocking(road.memory.write(8, b"weights!"))
    assert (system / "dev/udmabuf0").read_bytes()[8:16] == b"weights!"
    assert blocking(road.memory.read(8, 8)) == b"weights!"
    with pytest.raises(DeviceError, match="its reset does not end"):
        blocking(road.streams.drain())
    assert (system / "dev/uio1").read_bytes()[0] == dma.RESET
    with pytest.raises(DeviceError, match="uio0: another process has it"):
        linux.linux(*ROAD, root=system)
    road.close()
    road = linux.linux("0x10000", *ROAD[1:], root=system)
    blocking(road.registers.write(0, 5))
    assert (system / "dev/mem").read_bytes()[0x10000] == 5
    road.close()


@pytest.mark.parametrize(
    "place, value, message",
    [
        (0, "uio7", r"UIO uio7: no such device; must be one of: uio0 \(lstm_engine\), uio1 \(dma\)"),
        (0, "0x1004", "/dev/mem at 0x1004: not at a page"),
        (2, "udmabuf9", "u-dma-buf udmabuf9: .* is not there; must be loaded: modprobe u-dma-buf"),
    ],
)
def test_what_linux_lacks(system, place, value, message):
    with pytest.raises(DeviceError, match=message):
        linux.linux(*(value if number == place else part for number, part in enumerate(ROAD)), root=system)


def test_small_maps_and_missing_files(system):
    (system / "sys/class/uio/uio0/maps/map0/size").write_text("0x1000")
    with pytest.raises(DeviceError, match="a map of 4096 bytes; must be of 32768"):
        linux.linux(*ROAD, root=system)
    (system / "dev/uio1").unlink()
    with pytest.raises(DeviceError, match="uio1: No such file.*must be there and open to this user"):
        linux.linux("0x10000", *ROAD[1:], root=system)
    (system / "sys/class/u-dma-buf/udmabuf1/size").write_text("much")
    (system / "dev/uio1").write_bytes(bytes(1 << 16))
    with pytest.raises(DeviceError, match="size: .*much"):
        linux.linux("0x10000", *ROAD[1:], root=system)
    with pytest.raises(DeviceError, match="no interrupt; must be a UIO device"):
        (system / "sys/class/u-dma-buf/udmabuf1/size").write_text("65536")
        linux.linux("0x10000", *ROAD[1:], interrupt=True, root=system)


def direct(engine):
    """A device on the engine without a line between."""
    with listening(engine) as port:
        link = blocking(Link.open(SocketLine.connect("127.0.0.1", port)))
    return link.transport()


def test_errors_have_the_words_of_the_registers(project, engine):
    with Device(project.firmware, direct(engine)) as device:
        device.load()
        engine.fails_with = ErrorCode.TIMEOUT_X
        with pytest.raises(
            DeviceError, match="run of 3 steps ended with TIMEOUT_X: no x came .*STATUS 0x20c"
        ) as caught:
            device.predict(project.x)
        assert caught.value.registers["STATUS"] & 15 == ErrorCode.TIMEOUT_X
        engine.fails_with = ErrorCode.NONE
        with pytest.raises(InputError, match="carry: no run before that left a state"):
            device.predict(project.x[:1], carry=True)
        device.predict(project.x[:1])
        with pytest.raises(InputError, match="carry: 2 sequences; .*at most 1 sequences"):
            device.predict(project.x[:2], carry=True)
        for wrong in (project.x[0], project.x[:, :, :2], np.full_like(project.x, np.nan), project.x[:0], "text"):
            with pytest.raises(InputError, match="x: "):
                device.predict(wrong)


def test_runs_are_waited_for_by_interrupt(project, engine):
    looks = []

    async def interrupt():
        looks.append(1)

    with Device(project.firmware, replace(direct(engine), interrupt=interrupt)) as device:
        assert np.array_equal(device.predict(project.x[:1]), project.predict(project.x[:1]))
    assert looks and engine.values[lookup("IER").address] and engine.values[lookup("GIE").address]


def test_a_bridge_that_is_busy_is_waited_for(project, engine, monkeypatch):
    """As with the self-test after its configuration; not for ever."""
    answer, busy = Bridge.answer, [3]

    async def testing(bridge, request):
        if request.code != Op.HELLO and busy[0]:
            busy[0] -= 1
            return Status.BUSY, b""
        return await answer(bridge, request)

    monkeypatch.setattr(Bridge, "answer", testing)
    with Device(project.firmware, direct(engine)) as device:
        assert device.selftest() == 4
        busy[0] = 1000
        monkeypatch.setattr(link_module, "BUSY_S", 0.3)
        with pytest.raises(DeviceError, match="READ answered with BUSY; must be OK; a self-test is running"):
            device.info()


def test_clipped_values_are_warned_about(project, engine):
    engine.values[lookup("CLIPPED").address] = lookup("CLIPPED").field("counted").mask
    engine.values[lookup(clipped_register("h")).address] = 3
    with Device(project.firmware, direct(engine)) as device:
        with pytest.warns(ClippedWarning, match="6 elements of h were beyond their format"):
            device.predict(project.x[:2])
        assert device.clipped == {"preact": 0, "c": 0, "h": 6, "output": 0}
        engine.values[lookup(clipped_register("h")).address] = 0
        with pytest.warns(ClippedWarning, match="9 of 18 inputs are beyond Q.*, the format of x"):
            device.predict(np.concatenate([project.x[:1], np.full((1, 3, 3), 1e6)]))


def test_another_engine(project, engine):
    engine.values[lookup("CONTENT_ID").address] ^= 1
    with pytest.raises(ToolError, match="CONTENT_ID: .*another configuration was built"):
        Device(project.firmware, direct(engine))
    image = replace(project.firmware, weights=project.firmware.weights * (1 << 11))
    engine.values[lookup("CONTENT_ID").address] ^= 1
    with pytest.raises(DeviceError, match="memory of 65536 bytes; must hold the"):
        Device(image, direct(engine))


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_command_line(project, engine, tmp_path):
    """An image, then info, selftest and predict through a socket."""
    image = project.firmware.write(tmp_path / "tiny.lstmfw")
    np.savez(tmp_path / "x.npz", x=project.x)
    with listening(engine, 10) as port:
        road = (image, "--socket", f"127.0.0.1:{port}")
        shown = call("device", "info", *road)
        assert shown.exit_code == 0 and "the engine of this image, free" in shown.output, shown.output
        shown = call("selftest", *road)
        assert shown.exit_code == 0 and "4 sequences right, in every bit" in shown.output, shown.output
        shown = call("device", "predict", *road, "--input", tmp_path / "x.npz", "--output", tmp_path / "y.npz")
        assert shown.exit_code == 0, shown.output
        with np.load(tmp_path / "y.npz") as found:
            assert np.array_equal(found["y"], project.predict(project.x))
        shown = call("device", "predict", *road, "--input", tmp_path / "x.npz")
        assert shown.output.splitlines()[0].startswith("sequence 0: ")
        again = call("device", "predict", *road, "--input", tmp_path / "x.npz", "--loaded")
        assert again.exit_code == 0 and again.output == shown.output, again.output
        for there, said in ((7, "another image is loaded; load it"), (0, "no image is loaded")):
            engine.values[lookup("IMAGE_ID").address] = there
            shown = call("device", "predict", *road, "--input", tmp_path / "x.npz", "--loaded")
            assert shown.exit_code == 1 and said in shown.output, shown.output
        np.savez(tmp_path / "large.npz", large=project.x[0] * 8, by=0.125)
        given = ("--input", tmp_path / "large.npz", "--array", "large", "--scale")
        for scale in ("by", "0.125"):
            shown = call("device", "predict", *road, *given, scale)
            assert shown.exit_code == 0 and len(shown.output.splitlines()) == 1, shown.output
            numbers = [float(word) for word in shown.output.split()[2:]]
            assert np.allclose(numbers, project.predict(project.x[:1])[0], rtol=1e-5)
        shown = call("device", "predict", *road, *given, "large")
        assert shown.exit_code == 1 and "large.npz: large: shape (3, 3)" in shown.output
        engine.values[lookup("CONTENT_ID").address] ^= 1
        shown = call("selftest", *road)
        assert shown.exit_code == 1 and "error: register CONTENT_ID" in shown.output
    for arguments, message in (
        ((image,), "no board; must be one of --port, --socket, --overlay, --registers"),
        ((image, "--port", "/dev/null0", "--socket", "a:1"), "--port and --socket"),
        ((image, "--socket", "nowhere"), "must be HOST:PORT"),
        ((image, "--registers", "uio0"), "--dma: not given"),
        ((tmp_path / "x.npz", "--socket", "a:1"), "must be a firmware image"),
        ((tmp_path / "none.lstmfw", "--socket", "a:1"), "No such file"),
    ):
        shown = call("selftest", *arguments)
        assert shown.exit_code == 1 and message in shown.output, shown.output


class TestedBridge(Bridge):
    """With a self-test that runs for two looks at it; ``ends`` are verdicts, one for each time that it begins."""

    __test__ = False
    ends = ()

    def __post_init__(self):
        super().__post_init__()
        self.looks = 0

    @property
    def hello(self):
        return replace(super().hello, capabilities=super().hello.capabilities | Capability.SELFTEST)

    async def answer(self, request):
        if request.code != Op.SELFTEST:
            return await super().answer(request)
        self.looks = 1 if request.payload[0] else self.looks + 1
        state, reason, right, cycles = self.ends if self.looks > 2 else (TestState.RUNNING, 0, 0, 0)
        return Status.OK, bytes([state, reason]) + right.to_bytes(2, "little") + cycles.to_bytes(4, "little")


@pytest.mark.parametrize(
    "ends, status, said",
    [
        (
            (TestState.PASSED, 0, 8, 5342),
            0,
            "self-test passed, 8 vectors right, 5342 cycles in the last run",
        ),
        (
            (TestState.FAILED, 1, 1, 7),
            1,
            "self-test: 1 vector right; must pass; reason 1: an output beat was wrong",
        ),
        ((TestState.FAILED, 9, 0, 7), 1, "self-test: 0 vectors right; must pass; reason 9: not a known one"),
        ((TestState.RUNNING, 0, 0, 0), 1, "self-test runs; must end within 0.05 s"),
    ],
)
def test_the_self_test_of_a_board(engine, ends, status, said):
    """Over the protocol, without an image; a failure is an error that says why."""
    with listening(engine, create=type("Ended", (TestedBridge,), {"ends": ends})) as port:
        shown = call("selftest", "--board", "--socket", f"127.0.0.1:{port}", "--timeout", "0.05")
    assert shown.exit_code == status and said in shown.output, shown.output


def test_boards_without_a_self_test(engine):
    with listening(engine) as port:
        shown = call("selftest", "--board", "--socket", f"127.0.0.1:{port}")
    assert shown.exit_code == 1 and "no selftest; must be a transport with selftest" in shown.output
    shown = call("selftest", "--board", "--overlay", "design.bit")
    assert shown.exit_code == 1 and "--board: with --overlay; must go with --port or --socket" in shown.output
    for arguments in ((), ("image.lstmfw", "--board")):
        shown = call("selftest", *arguments, "--socket", "a:1")
        assert shown.exit_code == 2 and "must have an image, or --board without one" in shown.output


@pytest.mark.parametrize("name", main.commands["device"].commands)
def test_help_of_device_has_examples_that_parse(name):
    shown = call("device", name, "--help")
    examples = re.findall(r"^    lstm-hw device (.*)$", shown.output, re.MULTILINE)
    assert shown.exit_code == 0 and examples
    for example in examples:
        verb, *arguments = example.split()
        assert verb == name
        main.commands["device"].commands[name].make_context(name, arguments)


def test_firmware_and_check(config, project, tmp_path):
    """The image that `firmware` writes is the one beside the Verilog; `check` takes it, and refuses a damaged one."""
    shown = call("firmware", config, "--output", tmp_path / "tiny.lstmfw")
    assert shown.exit_code == 0 and "wrote" in shown.output, shown.output
    content = (tmp_path / "tiny.lstmfw").read_bytes()
    assert project.files["firmware.lstmfw"] == content
    shown = call("check", tmp_path / "tiny.lstmfw")
    assert shown.exit_code == 0 and "as it was written: model" in shown.output
    (tmp_path / "tiny.lstmfw").write_bytes(content[:-1])
    shown = call("check", tmp_path / "tiny.lstmfw")
    assert shown.exit_code == 1 and "tiny.lstmfw" in shown.output


def test_config_errors_are_typed(project):
    from lstm_hw.project.board import transport_of

    with pytest.raises(ConfigError, match="device: no board"):
        transport_of(project.firmware, {})
