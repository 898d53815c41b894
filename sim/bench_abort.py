"""cocotb bench of the emitted engine whose runs are given up, in any cycle and whatever they wait for.

The environment variable LSTM_HW_SCENARIO names the folder of a scenario as of :mod:`sim.bench_faults`, a small one.
"""

import cocotb
from cocotb.handle import HierarchyObject
from cocotb.triggers import RisingEdge, with_timeout
from cocotbext.axi import AxiStreamFrame

from lstm_hw.machine.latency import DEADLOCK_CYCLES, SETTLE_CYCLES
from lstm_hw.machine.ports import weight_prefixes
from lstm_hw.machine.registers import ErrorCode, lookup

from .bench_faults import CLEAR_RUN, LOAD, NEXT_RUN, FaultTB
from .progress import CLOCK_NS, report_progress

ABORT, START = (lookup("CTRL").field(name).mask for name in ("abort", "start"))
DRAIN_CYCLES = 200
"""More than this memory takes for all that was asked for, and the source for its x."""


class AbortTB(FaultTB):
    """The bench with a watch over the read channels, and aborts."""

    def __init__(self, dut: HierarchyObject):
        super().__init__(dut)
        self.owed = 0
        for prefix in weight_prefixes(self.scenario.config):
            cocotb.start_soon(self.watch({n: getattr(dut, f"{prefix}_{n}") for n in ("arvalid", "arready", "araddr")}))
            cocotb.start_soon(self.count(prefix))

    async def watch(self, signals: dict[str, HierarchyObject]) -> None:
        """A request that is offered stays as it is until it is taken."""
        waiting = None
        while True:
            await RisingEdge(self.dut.aclk)
            valid, ready, address = (int(signal.value) for signal in signals.values())
            assert waiting is None or (valid, address) == (1, waiting), "a request was withdrawn or changed"
            waiting = address if valid and not ready and int(self.dut.aresetn.value) else None

    async def count(self, prefix: str) -> None:
        """Beats that a port has asked for and not taken."""
        signals = [getattr(self.dut, f"{prefix}_{n}") for n in ("arvalid", "arready", "arlen", "rvalid", "rready")]
        while True:
            await RisingEdge(self.dut.aclk)
            asks, asked, length, comes, taken = signals
            if int(asks.value) and int(asked.value):
                self.owed += int(length.value) + 1
            if int(comes.value) and int(taken.value):
                self.owed -= 1

    async def abort(self) -> None:
        await self.driver.write("CTRL", ABORT)

    async def ends_within(self, cycles: int) -> ErrorCode:
        """Code of the run, which must end in so many cycles."""

        async def poll():
            while not self.ctrl.field("done").extract(await self.driver.read("CTRL")):
                pass

        await with_timeout(cocotb.start_soon(poll()), (cycles + 20) * CLOCK_NS, "ns")
        return await self.code()

    async def again(self) -> None:
        """Start the run that the registers describe, with its x."""
        await self.send(self.scenario.runs[CLEAR_RUN])
        await self.driver.write("CTRL", START)


async def aborted_at(tb: AbortTB, number: int, cycle: int) -> bool:
    """A run is aborted about so many cycles after its start; whether it was still running."""
    if number == LOAD:
        await tb.start(LOAD)
    else:
        await tb.again()
    await tb.cycles(cycle)
    await tb.abort()
    code = await tb.ends_within(DRAIN_CYCLES)
    assert code in (ErrorCode.ABORTED, ErrorCode.NONE), code.name
    assert tb.owed == 0, "done with beats owed"
    assert not int(tb.dut.m_axis_y_tvalid.value) and tb.source.empty(), "done with a beat on a stream"
    loaded = bool(tb.status.field("loaded").extract(await tb.driver.read("STATUS")))
    assert loaded == (number != LOAD or code == ErrorCode.NONE)
    return code == ErrorCode.ABORTED


@cocotb.test()
async def abort_in_every_cycle_of_a_run(dut: HierarchyObject) -> None:
    """The buses are left in order, and the next run has the right bits in the right number of cycles."""
    tb = AbortTB(dut)
    await tb.ready()
    await tb.check(CLEAR_RUN)
    run, cycle = tb.scenario.runs[CLEAR_RUN], 0
    total, running = run.counters["cycles"], True
    while running:
        running = await aborted_at(tb, CLEAR_RUN, cycle)
        await tb.restart_sink()
        await tb.again()
        await tb.outputs(CLEAR_RUN)
        assert await tb.driver.read("CYCLES_LO") == total
        cycle += 1
        report_progress(min(cycle, total), total)
    assert cycle > total - 20, "the last aborts were not of the run"


@cocotb.test()
async def abort_before_the_end_of_a_sequence(dut: HierarchyObject) -> None:
    """The rest of the sequence is dropped, and the one that waits behind it is the next run's."""
    tb = AbortTB(dut)
    await tb.ready()
    run, flags = tb.scenario.runs[CLEAR_RUN], lookup("FLAGS")
    beats = [word for frame in tb.frames(CLEAR_RUN, run.steps) for word in frame]
    await tb.check(CLEAR_RUN)
    await tb.driver.write("FLAGS", flags.field("clear").mask | flags.field("sequence").mask)
    for cycle in range(0, run.counters["cycles"] - 20, 3):
        for _ in range(2):
            await tb.source.send(AxiStreamFrame(beats))
        await tb.driver.write("CTRL", START)
        await tb.cycles(cycle)
        await tb.abort()
        assert await tb.ends_within(DRAIN_CYCLES) == ErrorCode.ABORTED
        await tb.restart_sink()
        await tb.driver.write("CTRL", START)
        await tb.outputs(CLEAR_RUN)
        assert tb.source.empty()


@cocotb.test()
async def abort_in_every_cycle_of_a_load(dut: HierarchyObject) -> None:
    """What was loaded does not count, and after another load the bits are right."""
    tb = AbortTB(dut)
    await tb.ready(weights=False)
    cycle, running = 0, True
    while running:
        running = await aborted_at(tb, LOAD, cycle)
        cycle += 1
        if running:
            await tb.force(CLEAR_RUN)
            assert await tb.ends() == ErrorCode.UNLOADED
        await tb.check(LOAD, CLEAR_RUN)
    assert cycle > 5


@cocotb.test()
async def abort_without_a_run(dut: HierarchyObject) -> None:
    """It does nothing, also for the run that follows."""
    tb = AbortTB(dut)
    await tb.ready()
    await tb.abort()
    await tb.check(CLEAR_RUN)
    await tb.abort()
    await tb.check(NEXT_RUN)


@cocotb.test()
async def abort_of_a_run_that_waits_for_x(dut: HierarchyObject) -> None:
    """For any vector of it: the run ends soon, and the next one is right."""
    tb = AbortTB(dut)
    await tb.ready()
    for vectors in range(tb.scenario.runs[CLEAR_RUN].steps):
        await tb.vectors(CLEAR_RUN, vectors)
        await tb.start(CLEAR_RUN, x=False)
        await tb.cycles(400)
        assert await tb.code() == ErrorCode.NONE
        await tb.abort()
        assert await tb.ends_within(SETTLE_CYCLES + 20) == ErrorCode.ABORTED
        await tb.restart_sink()
        await tb.check(CLEAR_RUN, NEXT_RUN)


@cocotb.test()
async def abort_of_a_run_whose_outputs_nobody_takes(dut: HierarchyObject) -> None:
    """The output that is offered stays so until it is taken, and is no part of the next run."""
    tb = AbortTB(dut)
    await tb.ready()
    tb.sink.pause = True
    await tb.start(CLEAR_RUN)
    await tb.cycles(400)
    await tb.abort()
    assert await tb.ends_within(DEADLOCK_CYCLES + DRAIN_CYCLES) == ErrorCode.ABORTED
    assert int(dut.m_axis_y_tvalid.value)
    await tb.cycles(50)
    beat = int(dut.m_axis_y_tdata.value)
    tb.sink.pause = False
    await tb.cycles(5)
    assert not int(dut.m_axis_y_tvalid.value)
    first = tb.scenario.runs[CLEAR_RUN].outputs[0][0]
    assert beat == first & 0xFFFF
    await tb.restart_sink()
    await tb.check(CLEAR_RUN, NEXT_RUN)


@cocotb.test()
async def abort_while_the_memory_is_dead(dut: HierarchyObject) -> None:
    """The run ends with a request offered or beats owed; they are not data of the load that follows."""
    tb = AbortTB(dut)
    await tb.ready(weights=False)
    for channel in (tb.memories[0].ar_channel, tb.memories[0].r_channel):
        channel.pause = True
        await tb.driver.write("TIMEOUT", 0)
        await tb.start(LOAD)
        await tb.cycles(100)
        await tb.abort()
        assert await tb.ends_within(DEADLOCK_CYCLES + DRAIN_CYCLES) == ErrorCode.ABORTED
        await tb.start(LOAD)
        await tb.cycles(100)
        channel.pause = False
        assert await tb.ends() == ErrorCode.NONE
        await tb.check(CLEAR_RUN, LOAD, NEXT_RUN)
