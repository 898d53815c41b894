"""cocotb bench of the emitted engine when things go wrong: what is reported, and that the next run has the right bits.

The environment variable LSTM_HW_SCENARIO names the folder of a scenario: its first run loads the weights, the second
starts from zero state, the third goes on from there.
"""

import os
import random
from collections.abc import Callable, Iterable
from copy import copy
from typing import Any

import cocotb
from cocotb.handle import HierarchyObject
from cocotb.triggers import with_timeout
from cocotbext.axi import AxiRamRead, AxiResp, AxiStreamFrame

from lstm_hw.errors import ToolError
from lstm_hw.machine.registers import IDENTITY, PROGRAM, ErrorCode, Refusal, lookup
from lstm_hw.verify.scenario import Scenario

from .progress import CLOCK_NS
from .testbench import TB

RUN_CYCLES = 20_000
ILLEGAL_OPCODE = 15
LOAD, CLEAR_RUN, NEXT_RUN = range(3)


def replaced(transaction: Any, **fields: int) -> Any:
    """A copy of a transaction with other fields."""
    other = copy(transaction)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


class Faults:
    """Makes chosen beats of a memory answer with an error or a wrong RLAST; beats are counted from :meth:`arm`."""

    def __init__(self, memory: AxiRamRead):
        self.send = memory.r_channel.send
        memory.r_channel.send = self.answer
        self.arm({})

    def arm(self, responses: dict[int, AxiResp], early: Iterable[int] = (), cuts: bool = False) -> None:
        """Response of each faulty beat, and the beats that have RLAST before their time; a burst may be cut off there.

        An ``early`` beat that ends a burst has no RLAST: with ``cuts`` the burst has one more beat.
        """
        self.responses, self.early, self.cuts = responses, set(early), cuts
        self.beat, self.cut = 0, False

    async def answer(self, transaction: Any) -> None:
        transaction.rresp = self.responses.get(self.beat, transaction.rresp)
        ends, wrong = transaction.rlast, self.beat in self.early
        transaction.rlast = int(bool(ends) != wrong)
        self.beat += 1
        if not self.cut:
            await self.send(transaction)
            if ends and wrong and self.cuts:
                await self.send(replaced(transaction, rlast=1))
        self.cut = not ends and (self.cut or (wrong and self.cuts))


class FaultTB(TB):
    """The bench of the engine, with the runs of the scenario as single steps."""

    def __init__(self, dut: HierarchyObject):
        super().__init__(dut, Scenario.load(os.environ["LSTM_HW_SCENARIO"]))
        self.faults = [Faults(memory) for memory in self.memories]
        self.ctrl, self.status = lookup("CTRL"), lookup("STATUS")

    async def ready(self, weights: bool = True) -> None:
        """Reset, then the program and, with ``weights``, the weights."""
        await self.reset()
        await self.driver.load_program(self.scenario.program)
        await self.driver.set_weights(*self.scenario.addresses)
        if weights:
            await self.check(LOAD)

    async def start(self, number: int, x: bool = True, sequence: bool = False) -> None:
        run = self.scenario.runs[number]
        if x:
            await self.send(run)
        await self.driver.start(run.entry, run.steps, run.clear, sequence)

    async def force(self, number: int, steps: int = 1) -> None:
        """Start a run that the driver would refuse, without x."""
        await self.driver.write("ENTRY", self.scenario.runs[number].entry)
        await self.driver.write("STEPS", steps)
        await self.driver.write("CTRL", self.ctrl.field("start").mask)

    async def vectors(self, number: int, count: int) -> None:
        """Queue the first vectors of a run; beyond its steps they begin again."""
        steps = self.scenario.runs[number].steps
        for vector in range(count):
            await self.source.send(AxiStreamFrame(self.frames(number, steps)[vector % steps]))

    async def ends(self) -> ErrorCode:
        """Poll for the end of the run; returns its code."""

        async def poll():
            while not self.ctrl.field("done").extract(await self.driver.read("CTRL")):
                pass

        await with_timeout(cocotb.start_soon(poll()), RUN_CYCLES * CLOCK_NS, "ns")
        assert self.ctrl.field("idle").extract(await self.driver.read("CTRL")), "done, but not idle"
        return await self.code()

    async def code(self) -> ErrorCode:
        return await self.driver.code()

    async def fails(self) -> ErrorCode:
        """Poll until the run has met an error; returns its code."""

        async def poll():
            while await self.code() == ErrorCode.NONE:
                pass

        await with_timeout(cocotb.start_soon(poll()), RUN_CYCLES * CLOCK_NS, "ns")
        return await self.code()

    async def check(self, *numbers: int) -> None:
        """Runs of the scenario without an error, with the right outputs and in the right number of cycles."""
        for number in numbers:
            await self.start(number)
            await self.outputs(number)
            found, expected = await self.driver.counters(), self.scenario.runs[number].counters
            assert found == expected, f"run {number}: counters {found}, expected {expected}"

    async def outputs(self, number: int) -> None:
        assert await self.ends() == ErrorCode.NONE
        expected = self.scenario.runs[number].outputs
        assert self.sink.count() == len(expected), f"{self.sink.count()} packets at done"
        assert await self.receive(len(expected)) == expected, f"run {number}: outputs differ from the reference"

    async def error_address(self) -> int:
        return await self.driver.read("ERROR_ADDRESS_LO") | await self.driver.read("ERROR_ADDRESS_HI") << 32

    async def restart_streams(self) -> None:
        """What software does after a failed run: reset the source of x and the sink of outputs."""
        for stream in (self.source, self.sink):
            stream.assert_reset(True)
            stream.clear()
        await self.cycles(2)
        for stream in (self.source, self.sink):
            stream.assert_reset(False)
        await self.cycles(2)

    def frames(self, number: int, vectors: int) -> list[list[int]]:
        """Beats of the first vectors of a run, without their tlast: list of lists."""
        run, bits = self.scenario.runs[number], self.scenario.config.operand_bits
        words = [sum((int(v) & (1 << bits) - 1) << bits * e for e, v in enumerate(beat)) for beat in run.x.tolist()]
        length = run.lasts.tolist().index(1) + 1
        return [words[n * length : (n + 1) * length] for n in range(vectors)]


async def tlast_fails(dut: HierarchyObject, change: Callable[[list[list[int]]], list[list[int]]]) -> None:
    """A run whose vectors ``change`` has put tlast at other beats of fails, and the next one is right."""
    tb = FaultTB(dut)
    await tb.ready()
    for vectors in (1, 2):
        for frame in change(tb.frames(CLEAR_RUN, vectors)):
            await tb.source.send(AxiStreamFrame(frame))
        await tb.start(CLEAR_RUN, x=False)
        assert await tb.ends() == ErrorCode.TLAST
        await tb.cycles(50)
        await tb.restart_streams()
        await tb.check(CLEAR_RUN, NEXT_RUN)


@cocotb.test()
async def tlast_early(dut: HierarchyObject) -> None:
    """tlast one beat before the end of a vector."""
    await tlast_fails(dut, lambda frames: [*frames[:-1], frames[-1][:-1]])


@cocotb.test()
async def tlast_on_the_first_beat(dut: HierarchyObject) -> None:
    """tlast on the first beat of a vector of several."""
    await tlast_fails(dut, lambda frames: [*frames[:-1], frames[-1][:1]])


@cocotb.test()
async def tlast_late(dut: HierarchyObject) -> None:
    """tlast one beat after the end of a vector: that beat stays offered until the stream is reset."""
    tb = FaultTB(dut)
    await tb.ready()
    for vectors in (1, 2):
        for frame in tb.frames(CLEAR_RUN, vectors):
            await tb.source.send(AxiStreamFrame([*frame, 1]))
        await tb.start(CLEAR_RUN, x=False)
        assert await tb.ends() == ErrorCode.TLAST
        await tb.restart_streams()
        await tb.check(CLEAR_RUN, NEXT_RUN)


@cocotb.test()
async def illegal_instruction(dut: HierarchyObject) -> None:
    """An unknown opcode ends the run; with the instruction mended the next run is right."""
    tb = FaultTB(dut)
    await tb.ready()
    entry = tb.scenario.runs[CLEAR_RUN].entry
    for address in (entry, entry + 3):
        await tb.driver.port.write(PROGRAM.word_address(address, 0), ILLEGAL_OPCODE)
        await tb.driver.port.write(PROGRAM.word_address(address, PROGRAM.words - 1), 0)
        await tb.check(LOAD)
        await tb.start(CLEAR_RUN, x=False)
        assert await tb.ends() == ErrorCode.ILLEGAL
        await tb.driver.load_program(tb.scenario.program)
        await tb.check(LOAD, CLEAR_RUN, NEXT_RUN)


@cocotb.test()
async def memory_errors(dut: HierarchyObject) -> None:
    """SLVERR and DECERR at beats of a load: the code, the address, and after another load the right bits."""
    tb = FaultTB(dut)
    await tb.ready(weights=False)
    beats = len(tb.scenario.images[0]) // tb.scenario.config.beat_bytes
    codes = {AxiResp.SLVERR: ErrorCode.SLVERR, AxiResp.DECERR: ErrorCode.DECERR}
    for beat, response, other in (
        (0, AxiResp.SLVERR, AxiResp.DECERR),
        (1, AxiResp.DECERR, AxiResp.SLVERR),
        (beats // 2, AxiResp.SLVERR, AxiResp.DECERR),
        (beats - 1, AxiResp.DECERR, AxiResp.SLVERR),
    ):
        # A later error of the other kind must not replace the first.
        tb.faults[0].arm({beat: response, beat + 1: other, beat + 5: other})
        await tb.start(LOAD)
        assert await tb.ends() == codes[response]
        assert await tb.error_address() == tb.scenario.weights_address + beat * tb.scenario.config.beat_bytes
        tb.faults[0].arm({})
        await tb.force(CLEAR_RUN)
        assert await tb.ends() == ErrorCode.UNLOADED, "a run on what is left of a load that failed"
        await tb.check(LOAD, CLEAR_RUN)


@cocotb.test()
async def bursts_that_end_wrongly(dut: HierarchyObject) -> None:
    """RLAST early or missing, with all beats, fewer, or one more: a code, and no reset: the next load is right."""
    tb = FaultTB(dut)
    await tb.ready()
    config, base = tb.scenario.config, tb.scenario.weights_address
    beats = len(tb.scenario.images[0]) // config.beat_bytes
    for beat in (0, beats // 2, beats - 1):
        for cuts in (False, True):
            tb.faults[0].arm({}, [beat], cuts)
            await tb.start(LOAD)
            assert await tb.ends() == ErrorCode.RLAST, f"RLAST wrong at beat {beat}"
            assert await tb.error_address() == base + beat * config.beat_bytes
            tb.faults[0].arm({})
            await tb.force(CLEAR_RUN)
            assert await tb.ends() == ErrorCode.UNLOADED
            await tb.check(LOAD, CLEAR_RUN)


@cocotb.test()
async def vectors_too_many(dut: HierarchyObject) -> None:
    """A code, and what was too many is not the next run's: nothing is reset in between."""
    tb = FaultTB(dut)
    await tb.ready()
    for more in (1, 2, 30):
        await tb.vectors(CLEAR_RUN, tb.scenario.runs[CLEAR_RUN].steps + more)
        await tb.start(CLEAR_RUN, x=False)
        assert await tb.ends() == ErrorCode.SURPLUS
        assert tb.source.empty(), "x is left over"
        tb.sink.clear()
        await tb.check(CLEAR_RUN, NEXT_RUN)


@cocotb.test()
async def whole_sequences(dut: HierarchyObject) -> None:
    """tlast on the end of a sequence: the count is checked, and x that waits for the next run stays what it is."""
    tb = FaultTB(dut)
    await tb.ready()

    async def sequence(number, vectors):
        frames = tb.frames(number, tb.scenario.runs[number].steps)
        beats = [word for n in range(vectors) for word in frames[n % len(frames)]]
        await tb.source.send(AxiStreamFrame(beats))

    runs, order = tb.scenario.runs, (CLEAR_RUN, NEXT_RUN, CLEAR_RUN, CLEAR_RUN, NEXT_RUN)
    for number in order:
        await sequence(number, runs[number].steps)
    for number in order:
        await tb.start(number, x=False, sequence=True)
        await tb.outputs(number)
        assert await tb.driver.counters() == runs[number].counters
    for vectors in (1, runs[CLEAR_RUN].steps - 1, runs[CLEAR_RUN].steps + 1, 3 * runs[CLEAR_RUN].steps):
        await sequence(CLEAR_RUN, vectors)
        await sequence(CLEAR_RUN, runs[CLEAR_RUN].steps)  # of the next run
        await tb.start(CLEAR_RUN, x=False, sequence=True)
        few = vectors < runs[CLEAR_RUN].steps
        assert await tb.ends() == (ErrorCode.TLAST if few else ErrorCode.SURPLUS), f"{vectors} vectors"
        await tb.restart_sink()
        await tb.start(CLEAR_RUN, x=False, sequence=True)
        await tb.outputs(CLEAR_RUN)
        assert tb.source.empty()
    await tb.check(CLEAR_RUN, NEXT_RUN)


@cocotb.test()
async def streams_that_stand_still(dut: HierarchyObject) -> None:
    """x that does not come, or comes no more, and outputs that nobody takes: each has a code, after as many cycles."""
    tb = FaultTB(dut)
    await tb.ready()
    await tb.driver.write("TIMEOUT_STREAMS", 250)
    for vectors in range(tb.scenario.runs[CLEAR_RUN].steps):
        await tb.vectors(CLEAR_RUN, vectors)
        await tb.start(CLEAR_RUN, x=False)
        await tb.cycles(100)
        assert await tb.code() == ErrorCode.NONE
        assert await tb.ends() == ErrorCode.TIMEOUT_X
        await tb.restart_sink()
        await tb.check(CLEAR_RUN, NEXT_RUN)
    tb.sink.pause = True
    await tb.start(CLEAR_RUN)
    assert await tb.fails() == ErrorCode.TIMEOUT_Y
    tb.sink.pause = False
    assert await tb.ends() == ErrorCode.TIMEOUT_Y
    await tb.restart_sink()
    await tb.check(CLEAR_RUN, NEXT_RUN)


@cocotb.test()
async def dead_memory(dut: HierarchyObject) -> None:
    """A memory that does not answer: time-out, control port alive; then it wakes up, or everything is reset."""
    tb = FaultTB(dut)
    await tb.ready(weights=False)
    await tb.driver.write("TIMEOUT", 300)
    asked, answered = tb.memories[0].ar_channel, tb.memories[0].r_channel
    for channel, wakes in ((asked, True), (answered, True), (answered, False)):
        channel.pause = True
        await tb.start(LOAD)
        await tb.cycles(200)
        assert await tb.code() == ErrorCode.NONE
        await tb.cycles(400)
        assert await tb.code() == ErrorCode.TIMEOUT
        assert await tb.driver.read("ID") == IDENTITY
        assert not tb.ctrl.field("done").extract(await tb.driver.read("CTRL")), "done with beats owed"
        channel.pause = False
        if wakes:
            assert await tb.ends() == ErrorCode.TIMEOUT
            await tb.check(LOAD, CLEAR_RUN)
        else:
            await tb.ready()
            await tb.check(CLEAR_RUN, NEXT_RUN)


@cocotb.test()
async def hard_reset(dut: HierarchyObject) -> None:
    """A reset in any phase of a load or a run, then everything from the start."""
    tb, rng = FaultTB(dut), random.Random(int(os.environ.get("COCOTB_RANDOM_SEED", 1)))
    await tb.ready()
    for number in (LOAD, CLEAR_RUN, CLEAR_RUN, CLEAR_RUN, NEXT_RUN):
        await tb.start(number)
        await tb.cycles(rng.randrange(400))
        await tb.restart_streams()
        await tb.ready()
        await tb.check(CLEAR_RUN, NEXT_RUN)


@cocotb.test()
async def nothing_to_go_on_from(dut: HierarchyObject) -> None:
    """A run that shall go on from h that never was: the run ends, and the next one is right."""
    tb = FaultTB(dut)
    for _ in range(2):
        await tb.ready()
        await tb.start(NEXT_RUN)
        assert await tb.ends() == ErrorCode.DEADLOCK
        assert await tb.error_address() == 0
        await tb.restart_streams()
        await tb.check(CLEAR_RUN, NEXT_RUN)


@cocotb.test()
async def writes_during_a_run(dut: HierarchyObject) -> None:
    """A start is refused, arguments and program are locked, and the run does not notice."""
    tb = FaultTB(dut)
    await tb.ready()
    await tb.start(CLEAR_RUN)
    refused = lookup("REFUSED")
    locked = [lookup(name).address for name in ("STEPS", "FLAGS", "ENTRY", "WEIGHTS_LO", "TIMEOUT", "CTRL")]
    for address in (*locked, *(PROGRAM.word_address(entry, PROGRAM.words - 1) for entry in range(4))):
        result = await tb.control.write(address, (1).to_bytes(4, "little"))
        assert result.resp == AxiResp.OKAY, f"write to {address:#x} during a run"
        found = await tb.driver.read("REFUSED")
        told = [refused.field(name).extract(found) for name in ("write", "code", "address")]
        assert told == [1, Refusal.RUN, address], f"write to {address:#x} during a run: REFUSED {found:#x}"
        await tb.control.write(refused.address, refused.field("write").mask.to_bytes(4, "little"))
    try:
        await tb.driver.write("STEPS", 1)
        raise AssertionError("the driver does not notice")
    except ToolError as error:
        assert error.found == "the write to 0x10 was refused" and "a run is in progress" in error.rule
    assert await tb.driver.read("REFUSED") == 0
    assert not tb.ctrl.field("done").extract(await tb.driver.read("CTRL")), "the run is too short for this test"
    await tb.outputs(CLEAR_RUN)
    await tb.check(NEXT_RUN)


@cocotb.test()
async def runs_that_cannot_begin(dut: HierarchyObject) -> None:
    """No weights, no steps, addresses that the port cannot ask for: a code, nothing done, and the state is kept."""
    tb = FaultTB(dut)
    await tb.ready(weights=False)
    config, address = tb.scenario.config, tb.scenario.weights_address

    async def refused(number, code, steps=1):
        before = await tb.driver.counters()
        await tb.force(number, steps)
        assert await tb.ends() == code
        assert await tb.driver.counters() == before and tb.sink.empty()
        assert all(not int(getattr(dut, f"{signal}valid").value) for signal in ("m_axi_weights_ar", "m_axis_y_t"))

    await refused(CLEAR_RUN, ErrorCode.UNLOADED)
    for number in (LOAD, CLEAR_RUN):
        await refused(number, ErrorCode.STEPS, steps=0)
    for wrong in (8 % config.beat_bytes or 4, 1, 1 << config.axi_address_bits, 1 << 63):
        await tb.driver.set_weights(address | wrong)
        await refused(LOAD, ErrorCode.ADDRESS)
    await tb.driver.set_weights(address)
    await tb.check(LOAD, CLEAR_RUN)
    await refused(NEXT_RUN, ErrorCode.STEPS, steps=0)
    await tb.check(NEXT_RUN)
    await tb.driver.set_weights(address)
    await refused(CLEAR_RUN, ErrorCode.UNLOADED)
    await tb.check(LOAD, CLEAR_RUN)


@cocotb.test()
async def dump_of_the_registers(dut: HierarchyObject) -> None:
    """Every word below 0x400 and some of the window, before, during and after a run: all OKAY, and done stays."""
    tb = FaultTB(dut)
    await tb.ready()

    async def dump():
        for address in (*range(0, 0x400, 4), *range(PROGRAM.address, PROGRAM.address + 64, 4)):
            assert (await tb.control.read(address, 4)).resp == AxiResp.OKAY, f"read of {address:#x}"

    await dump()
    tb.sink.pause = True
    await tb.start(CLEAR_RUN)
    await dump()
    tb.sink.pause = False
    await tb.outputs(CLEAR_RUN)
    await dump()
    assert tb.ctrl.field("done").extract(await tb.driver.read("CTRL"))
    await tb.check(NEXT_RUN)


@cocotb.test()
async def done_waits_for_the_output(dut: HierarchyObject) -> None:
    """With an output that takes nothing the run does not end; then it ends with every beat."""
    tb = FaultTB(dut)
    await tb.ready()
    for number in (CLEAR_RUN, NEXT_RUN, CLEAR_RUN):
        tb.sink.pause = True
        await tb.start(number)
        await tb.cycles(3000)
        assert not tb.ctrl.field("done").extract(await tb.driver.read("CTRL"))
        tb.sink.pause = False
        await tb.outputs(number)
        await tb.cycles(50)
        assert tb.sink.empty() and not int(dut.m_axis_y_tvalid.value), "an output after done"


@cocotb.test()
async def runs_repeat(dut: HierarchyObject) -> None:
    """The same run gives the same bits after another one: no h, c or sum is left over."""
    tb = FaultTB(dut)
    await tb.ready()
    await tb.check(CLEAR_RUN, NEXT_RUN, CLEAR_RUN, CLEAR_RUN, NEXT_RUN, LOAD, CLEAR_RUN)
