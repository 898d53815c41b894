"""The driver against registers that are a dict: what it refuses, and that its waits end."""

import asyncio
import hashlib
import itertools

import pytest

from lstm_hw.errors import NotLoadedError, ToolError
from lstm_hw.host.driver import Driver, WeightCheck
from lstm_hw.machine.registers import IDENTITY, PROGRAM, ErrorCode, Refusal, lookup

LOADS, BUSY, LOADED = (
    lookup(register).field(field).mask
    for register, field in (("ENTRY", "loads"), ("STATUS", "busy"), ("STATUS", "loaded"))
)
START, DONE, ABORT = (lookup("CTRL").field(name).mask for name in ("start", "done", "abort"))
IMAGE = bytes(range(64))


class Engine:
    """Registers of an engine whose runs take some looks at CTRL, or never end."""

    def __init__(self, looks=3, dies=False, refuses=None):
        self.values = {
            "ID": IDENTITY,
            "VERSION": lookup("VERSION").reset,
            "CONTENT_ID": 77,
            "STATUS": LOADED,
            "CTRL": 0,
            "REFUSED": 0,
            "IMAGE_ID": 0,
        }
        self.looks, self.left, self.dies, self.written, self.refuses = looks, 0, dies, [], refuses or {}
        kept = ("ENTRY", "STEPS", "FLAGS", "WEIGHTS_LO", "WEIGHTS_HI", "WEIGHTS1_LO", "WEIGHTS1_HI")
        self.names = {lookup(name).address: name for name in (*self.values, *kept)}

    async def read(self, address):
        name = self.names.get(address)
        if name == "CTRL" and self.values["STATUS"] & BUSY:
            self.left -= 1
            if self.left <= 0:
                self.end(0)
        return self.values.get(name, 0)

    def end(self, code):
        self.values["STATUS"] = self.values["STATUS"] & ~BUSY & ~15 | code
        self.values["CTRL"] |= DONE

    async def write(self, address, value):
        assert not self.values["STATUS"] & BUSY or value == ABORT, "a write during a run"
        name = self.names.get(address, hex(address))
        if name in self.refuses:
            self.values["REFUSED"] = 1 | self.refuses[name] << 4 | address << 16
            return
        self.written.append((name, value))
        if name.startswith(("WEIGHTS", "0x4")) or name == "ENTRY" and value & ~self.values.get(name, 0) & LOADS:
            self.values["IMAGE_ID"] = 0
        if name.startswith("WEIGHTS") or name in ("ENTRY", "IMAGE_ID"):
            self.values[name] = value
        if name == "REFUSED" and value & 1:
            self.values["REFUSED"] = 0
        if name == "CTRL" and value & START:
            self.values["CTRL"] &= ~DONE
            self.values["STATUS"] = self.values["STATUS"] & ~15 | BUSY
            self.left = self.looks
        elif name == "CTRL" and value == ABORT and not self.dies:
            self.end(ErrorCode.ABORTED)


def run(coroutine):
    return asyncio.run(coroutine)


def refused(coroutine, engine, message):
    before = len(engine.written)
    with pytest.raises(ToolError, match=message):
        run(coroutine)
    assert len(engine.written) == before, "something was written"


def test_start_and_wait():
    """The second wait is for the second run, whatever the first one left."""
    engine = Engine()
    driver = Driver(engine, 77)
    for steps, flags, value in (
        (3, {"clear": True}, 1),
        (4, {"sequence": True, "one_packet": True}, 10),
        (1, {"ignore_tlast": True}, 4),
    ):
        run(driver.start(5, steps, **flags))
        assert engine.written[-4:] == [("ENTRY", 5), ("STEPS", steps), ("FLAGS", value), ("CTRL", START)]
        assert engine.values["STATUS"] & BUSY
        assert run(driver.wait()) == ErrorCode.NONE
        assert not engine.values["STATUS"] & BUSY


def test_clipped_values():
    """None from an engine that does not count: the registers are holes, which read 0."""
    engine = Engine()
    assert run(Driver(engine, 77).clipped()) is None
    for number, name in enumerate(("CLIPPED", "CLIPPED_PREACT", "CLIPPED_C", "CLIPPED_H", "CLIPPED_OUTPUT")):
        engine.names[lookup(name).address], engine.values[name] = name, number
    assert run(Driver(engine, 77).clipped()) is None
    engine.values["CLIPPED"] = lookup("CLIPPED").field("counted").mask | 15
    assert run(Driver(engine, 77).clipped()) == {"preact": 1, "c": 2, "h": 3, "output": 4}


def test_writes_that_the_engine_refuses():
    """Each is an error, nothing is started, and a refusal of before is nobody's."""
    engine = Engine(refuses={"ENTRY": Refusal.VALUE, "WEIGHTS_LO": Refusal.RUN, hex(0x4000): Refusal.ADDRESS})
    driver = Driver(engine, 77)
    for coroutine, message in (
        (
            driver.start(600),
            "start: the write to 0x20 was refused; must be taken; an address in ENTRY of PROGRAM_LENGTH",
        ),
        (
            driver.set_weights(64),
            "weight addresses: the write to 0x28 was refused; must be taken; a run is in progress",
        ),
        (driver.load_program([1]), "program: the write to 0x4000 was refused; must be taken; nothing can be written"),
        (driver.write("ENTRY", 600), "ENTRY: the write to 0x20 was refused"),
    ):
        with pytest.raises(ToolError, match=message):
            run(coroutine)
        assert engine.values["REFUSED"] == 0 and not engine.values["STATUS"] & BUSY
    engine.values["REFUSED"] = 0x0040_0011
    run(driver.write("STEPS", 3))
    engine.refuses = {"CTRL": Refusal.RUN}
    with pytest.raises(ToolError, match="CTRL: the write to 0x0 was refused"):
        run(Driver(engine, 77).start(5))


@pytest.mark.parametrize("steps", [0, -1, 1 << 32])
def test_no_steps(steps):
    engine = Engine()
    refused(Driver(engine, 77).start(5, steps), engine, f"start: {steps} steps; must be from 1 to 4294967295")


def test_another_engine():
    engine = Engine()
    refused(Driver(engine, 78).start(5), engine, "CONTENT_ID: 0x0000004d; must be 0x0000004e: another configuration")
    engine.values["VERSION"] = 9 << 16
    refused(Driver(engine, 77).start(5), engine, "VERSION: major number 9; must be 0")
    engine.values["ID"] = 0
    refused(Driver(engine, 77).start(5), engine, "register ID: 0x0; must be 0x4c53544d: no engine")


def test_a_busy_engine():
    engine = Engine()
    driver = Driver(engine, 77)
    run(driver.start(5))
    for coroutine, what in (
        (driver.start(5), "start"),
        (driver.load_program([0]), "program"),
        (driver.set_weights(0), "weight"),
    ):
        refused(coroutine, engine, f"{what}.*: a run is in progress; must wait for its end, or abort it")
    assert run(driver.wait()) == ErrorCode.NONE
    run(driver.load_program([0]))
    assert engine.written[-1] == (hex(PROGRAM.word_address(0, 4)), 0)


def test_weights_that_are_not_there():
    engine = Engine()
    engine.values["STATUS"] = 0
    refused(Driver(engine, 77).start(5), engine, "start: no weights on the chip; must follow a run of entry `load`")
    run(Driver(engine, 77).start(LOADS | 5))
    assert engine.values["STATUS"] & BUSY


def test_weights_that_are_not_right():
    """Memory is read before the first load, and again after new addresses, until it is right."""
    engine, memory, reads = Engine(), [bytes(64)], []

    async def read():
        reads.append(1)
        return memory[0]

    driver = Driver(engine, 77, weights=WeightCheck(hashlib.sha256(IMAGE).hexdigest(), read))
    run(driver.start(5))
    run(driver.wait())
    assert not reads
    refused(driver.start(LOADS), engine, "weight image in memory: digest [0-9a-f]{64}; must be [0-9a-f]{64}")
    memory[0] = IMAGE
    for _ in range(2):
        run(driver.start(LOADS))
        run(driver.wait())
    assert len(reads) == 2
    run(driver.set_weights(0x1000))
    memory[0] = IMAGE[:-1]
    refused(driver.start(LOADS), engine, "weight image in memory")


@pytest.mark.parametrize("register", ["WEIGHTS_LO", "WEIGHTS_HI", "WEIGHTS1_LO", "WEIGHTS1_HI"])
@pytest.mark.parametrize("entry", [5, LOADS | 5])
def test_weights_that_are_looked_for_elsewhere(register, entry):
    """Another master, or a reset, has changed an address since this driver told it."""
    engine = Engine()
    driver = Driver(engine, 77)
    run(driver.set_weights(0x1_0000_1000, 0x1_0000_3000))
    run(driver.start(entry))
    run(driver.wait())
    run(Driver(engine, 77).write(register, 0))
    port, wrong = ("1", "3000") if "1" in register else ("0", "1000")
    found = "0x100000000" if "LO" in register else f"0x{wrong}"
    rule = f"must be 0x10000{wrong}, as this driver told: load again"
    refused(driver.start(entry), engine, f"weight address of port {port}: {found}; {rule}")
    run(driver.set_weights(0x1_0000_1000, 0x1_0000_3000))
    run(driver.start(entry))
    assert engine.values["STATUS"] & BUSY


@pytest.mark.parametrize("entry", [5, LOADS | 5])
def test_what_somebody_else_has_loaded(entry):
    """After a signature every start looks whether it is there; the driver's own runs do not change it."""

    async def signs(driver, image_id):
        await driver.load_program([1])
        await driver.set_weights(64)
        await driver.start(LOADS)
        await driver.wait()
        await driver.sign(image_id, entry)

    async def runs(driver):
        for _ in range(2):
            await driver.start(entry)
            assert await driver.wait() == ErrorCode.NONE

    engine = Engine()
    driver, other = Driver(engine, 77), Driver(engine, 77)
    run(signs(driver, 0xA))
    run(runs(driver))
    run(signs(other, 0xB))
    theirs = "register IMAGE_ID: 0xb; must be 0xa, as this driver left it: somebody else has loaded; load again"
    refused(driver.start(entry), engine, theirs)
    run(runs(other))
    run(signs(driver, 0xA))
    refused(other.start(entry), engine, "register IMAGE_ID: 0xa; must be 0xb, .*: somebody else has loaded")
    for name, value in ((hex(PROGRAM.word_address(0, 4)), 3), ("WEIGHTS_LO", 64), ("IMAGE_ID", 0), ("ENTRY", LOADS)):
        run(signs(driver, 0xA))
        run(runs(driver))
        if name != "ENTRY" or entry == 5:
            run(engine.write(lookup(name).address if name.isupper() else int(name, 16), value))
            before = len(engine.written)
            with pytest.raises(NotLoadedError, match="IMAGE_ID: 0x0; must be 0xa, .*: program or weights were changed"):
                run(driver.start(entry))
            assert len(engine.written) == before
    run(driver.load_program([1]))
    run(signs(other, 0xB))
    refused(driver.sign(0xA, entry), engine, "register IMAGE_ID: 0xb; must be 0x0, .*: somebody else has loaded")
    run(runs(other))
    engine.refuses = {"IMAGE_ID": Refusal.ADDRESS}  # an engine of before
    with pytest.raises(ToolError, match="sign: the write to 0x3c was refused"):
        run(signs(other, 0xB))


@pytest.mark.parametrize("interrupt", [False, True])
def test_waits_end(interrupt):
    """A run that does not end is aborted, and one that stays busy even then is told."""

    async def nothing():
        return

    for dies, message in (
        (False, "run: not done after 20 s, then ABORTED; must end"),
        (True, "abort: the engine stays busy"),
    ):
        engine = Engine(looks=10**6, dies=dies)
        driver = Driver(engine, 77, nothing if interrupt else None, timeout=20, clock=itertools.count().__next__)
        run(driver.start(5))
        with pytest.raises(ToolError, match=message):
            run(driver.wait())
        assert ("CTRL", ABORT) in engine.written


def test_abort_without_a_run_writes_nothing():
    engine = Engine()
    assert run(Driver(engine, 77).abort()) == ErrorCode.NONE
    assert not engine.written
