"""cocotb bench between the boards' host design and a program that drives it: the bridge is gateware, the line a UART.

LSTM_HW_JOB as in :mod:`tests.host.c_bench`, with ``divisor``, cycles of a bit after reset, and what is in the flash
memory from ``flash_base`` on: ``flash``, files, of which the next one is there from each request of a self-test on.
"""

import json
import os
import select
import struct
import subprocess
from pathlib import Path

import cocotb
from cocotb.handle import HierarchyObject
from cocotb.triggers import ClockCycles, Timer

from lstm_hw.host.protocol import REPLY, REQUEST, Op, Parser, Status
from sim.clock import start_clock
from sim.progress import CLOCK_NS, heartbeat
from sim.spi_flash import SpiFlash
from sim.uart_host import UartWires

from .c_bench import Line


class Wire(UartWires):
    """The UART at the program's end of the line."""

    async def reply(self):
        """The next frame that comes whole."""
        parser = Parser(REPLY, 1 << 16)
        while True:
            for found in parser.feed(bytes([await self.receive()])):
                return found

    async def forward(self, line, flash, contents):
        """Bring requests to the design and replies to the program, until that hangs up."""
        requests = Parser(REQUEST, 1 << 16)
        while True:
            select.select([line], [], [])
            content = line.receive()
            if not content:
                return
            for frame in requests.feed(content):
                if frame.code == Op.SELFTEST and frame.payload == b"\1":
                    flash.content = next(contents)
                await self.send(frame.to_bytes(REQUEST))
                reply = await self.reply()
                line.send(reply.to_bytes(REPLY))
                if frame.code == Op.SPEED and reply.code == Status.OK:
                    await Timer(2 * self.divisor * CLOCK_NS, "ns")  # the stop bit is on its way
                    (self.divisor,) = struct.unpack_from("<I", reply.payload, 4)


@cocotb.test()
async def a_program_drives_the_design(dut: HierarchyObject) -> None:
    """It ends with status 0."""
    job = json.loads(Path(os.environ["LSTM_HW_JOB"]).read_text())
    start_clock(dut.clk)
    cocotb.start_soon(heartbeat())
    wire = Wire(dut.i_rx, dut.o_tx, CLOCK_NS, job["divisor"])
    dut.i_restart.value = 0
    contents = (Path(path).read_bytes() for path in job["flash"])
    flash = SpiFlash(dut.o_cs, dut.o_sck, dut.o_copi, dut.i_cipo, job["flash_base"], next(contents))
    dut.rst.value = 1
    await ClockCycles(dut.clk, 4)
    dut.rst.value = 0
    await ClockCycles(dut.clk, 50)
    line = Line(device=False)
    argv = [line.name if word == "FD" else word for word in job["argv"]]
    with open(job["output"], "w") as output:
        program = subprocess.Popen(argv, pass_fds=[line.theirs], stdout=output, env=os.environ | job["environment"])
        line.started()
        try:
            await wire.forward(line, flash, contents)
        finally:
            os.close(line.ours)
            status = program.wait(600)
    assert status == 0, f"the program ends with status {status}"
