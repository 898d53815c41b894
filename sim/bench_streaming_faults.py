"""cocotb bench of the emitted engine on a memory that fails in the middle of a stream of weights.

The environment variable LSTM_HW_SCENARIO names the folder of a scenario that loads the resident words (run 0), starts
from zero state (run 1) and goes on from there (run 2); both runs read weights from memory all the while.
"""

import os
import random

import cocotb
from cocotb.handle import HierarchyObject
from cocotb.triggers import RisingEdge, with_timeout
from cocotbext.axi import AxiResp

from lstm_hw.machine.ports import weight_prefixes
from lstm_hw.machine.registers import IDENTITY, ErrorCode

from .bench_faults import CLEAR_RUN, LOAD, NEXT_RUN, RUN_CYCLES, FaultTB
from .progress import CLOCK_NS

TIMEOUT = 300


class Requests:
    """Address of every beat that a port has asked for since :meth:`clear`, and how many of them have come."""

    def __init__(self, dut: HierarchyObject, prefix: str, beat_bytes: int):
        self.signals = {
            name: getattr(dut, f"{prefix}_{name}")
            for name in ("arvalid", "arready", "araddr", "arlen", "rvalid", "rready")
        }
        self.clock, self.beat_bytes = dut.aclk, beat_bytes
        self.clear()
        cocotb.start_soon(self.watch())

    def clear(self) -> None:
        self.addresses, self.received = [], 0

    async def watch(self) -> None:
        def now(name):  # no more than is needed: Python is slow
            return int(self.signals[name].value)

        offered = False
        while True:
            await RisingEdge(self.clock)
            asks = now("arvalid")
            if asks and not offered:
                self.addresses += [now("araddr") + n * self.beat_bytes for n in range(now("arlen") + 1)]
            offered = asks and not now("arready")
            self.received += now("rvalid") and now("rready")


class StreamTB(FaultTB):
    """The bench with a look at what is asked of the memory."""

    def __init__(self, dut: HierarchyObject):
        super().__init__(dut)
        config = self.scenario.config
        self.requests = [Requests(dut, prefix, config.beat_bytes) for prefix in weight_prefixes(config)]
        self.ports = config.axi_ports

    async def afresh(self) -> None:
        """Reset engine and streams, then the program and the resident words."""
        await self.ready(weights=False)
        await self.restart_streams()
        await self.check(LOAD)

    async def begin(self) -> None:
        """Start the first run."""
        for requests in self.requests:
            requests.clear()
        await self.start(CLEAR_RUN)

    async def error_port(self) -> int:
        return await self.driver.read("ERROR_PORT") if self.ports > 1 else 0

    async def beats(self, port: int, count: int) -> None:
        """Wait until that many beats have come over a port."""

        async def reach():
            while self.requests[port].received < count:
                await RisingEdge(self.dut.aclk)

        await with_timeout(cocotb.start_soon(reach()), RUN_CYCLES * CLOCK_NS, "ns")

    async def recovers(self) -> None:
        """Both runs are right."""
        await self.restart_streams()
        for faults in self.faults:
            faults.arm({})
        await self.check(CLEAR_RUN, NEXT_RUN)

    @property
    def total(self) -> int:
        """Beats of each port in the first run."""
        return self.scenario.runs[CLEAR_RUN].counters["read_beats"] // self.ports

    def moments(self, count: int) -> list[int]:
        """Beats at which something happens: the first, the last and some between."""
        rng = random.Random(int(os.environ.get("COCOTB_RANDOM_SEED", 1)))
        return [0, *sorted(rng.sample(range(1, self.total - 1), count)), self.total - 1]


@cocotb.test()
async def memory_errors(dut: HierarchyObject) -> None:
    """SLVERR and DECERR at any beat: the code, the address, and then both runs with the right bits and cycles."""
    tb = StreamTB(dut)
    await tb.afresh()
    for number, beat in enumerate(tb.moments(4)):
        response, other = (AxiResp.SLVERR, AxiResp.DECERR)[:: 1 - 2 * (number % 2)]
        port = number // 2 % tb.ports
        # A later error of the other kind must not replace the first.
        tb.faults[port].arm({beat: response, beat + 1: other})
        await tb.begin()
        assert await tb.ends() == {AxiResp.SLVERR: ErrorCode.SLVERR, AxiResp.DECERR: ErrorCode.DECERR}[response]
        assert (await tb.error_port(), await tb.error_address()) == (port, tb.requests[port].addresses[beat])
        assert all(r.received == len(r.addresses) for r in tb.requests), "done with beats owed"
        await tb.recovers()


@cocotb.test()
async def dead_memory(dut: HierarchyObject) -> None:
    """A memory that falls silent, on either channel: time-out at the oldest beat owed, control port alive, recovery."""
    tb = StreamTB(dut)
    await tb.afresh()
    await tb.driver.write("TIMEOUT", TIMEOUT)
    for number, beat in enumerate((0, 1, tb.total // 3, tb.total // 2)):
        port = number % tb.ports
        requests, memory = tb.requests[port], tb.memories[port]
        for channel in (memory.ar_channel, memory.r_channel):
            await tb.begin()
            await tb.beats(port, beat)
            channel.pause = True
            assert await tb.fails() == ErrorCode.TIMEOUT
            assert (await tb.error_port(), await tb.error_address()) == (port, requests.addresses[requests.received])
            assert await tb.driver.read("ID") == IDENTITY
            assert not tb.ctrl.field("done").extract(await tb.driver.read("CTRL")), "done with beats owed"
            channel.pause = False
            assert await tb.ends() == ErrorCode.TIMEOUT
            await tb.recovers()


@cocotb.test()
async def bursts_that_end_wrongly(dut: HierarchyObject) -> None:
    """RLAST early or missing in the middle of a stream, and bursts that are cut off: the code, and then both runs."""
    tb = StreamTB(dut)
    await tb.afresh()
    for number, beat in enumerate(tb.moments(1)):
        port = number % tb.ports
        for cuts in (False, True):
            tb.faults[port].arm({}, [beat], cuts)
            await tb.begin()
            assert await tb.ends() == ErrorCode.RLAST
            assert (await tb.error_port(), await tb.error_address()) == (port, tb.requests[port].addresses[beat])
            await tb.recovers()


@cocotb.test()
async def aborts(dut: HierarchyObject) -> None:
    """An abort in any phase of a run, with requests offered and beats owed, then both runs."""
    tb, rng = StreamTB(dut), random.Random(int(os.environ.get("COCOTB_RANDOM_SEED", 1)))
    await tb.afresh()
    cycles = tb.scenario.runs[CLEAR_RUN].counters["cycles"]
    for _ in range(6):
        await tb.start(CLEAR_RUN)
        await tb.cycles(rng.randrange(cycles - 50))
        assert await tb.driver.abort() == ErrorCode.ABORTED
        await tb.recovers()


@cocotb.test()
async def reset_while_the_memory_is_silent(dut: HierarchyObject) -> None:
    """A memory that never answers again is reset together with the engine."""
    tb = StreamTB(dut)
    for beat in (1, tb.total // 2):
        await tb.afresh()
        await tb.driver.write("TIMEOUT", TIMEOUT)
        await tb.begin()
        await tb.beats(tb.ports - 1, beat)
        tb.memories[-1].r_channel.pause = True
        assert await tb.fails() == ErrorCode.TIMEOUT
        tb.memories[-1].r_channel.pause = False
        await tb.afresh()
        await tb.recovers()


@cocotb.test()
async def hard_reset(dut: HierarchyObject) -> None:
    """A reset in any phase of a run, then everything from the start."""
    tb, rng = StreamTB(dut), random.Random(int(os.environ.get("COCOTB_RANDOM_SEED", 1)))
    await tb.afresh()
    cycles = tb.scenario.runs[CLEAR_RUN].counters["cycles"]
    for _ in range(6):
        await tb.start(CLEAR_RUN)
        await tb.cycles(rng.randrange(cycles))
        await tb.afresh()
        await tb.recovers()
