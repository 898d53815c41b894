"""What a self-test does with the control port: a list of accesses, and the AXI4-Lite master that performs them."""

from enum import IntEnum

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from lstm_hw.gateware.axi import OKAY, Axi4Lite
from lstm_hw.host.driver import Driver
from lstm_hw.machine.registers import ADDRESS_BITS, lookup


class Action(IntEnum):
    """What to do with a register."""

    WRITE = 0
    """Write ``data``."""
    UNTIL = 1
    """Read until all bits of ``data`` are 1."""
    NEVER = 2
    """Read once; a bit that is 1 here and in ``data`` is a failure."""
    KEEP = 3
    """Read once and show the value on ``o_kept``."""


ACCESS = data.StructLayout({"action": 2, "address": ADDRESS_BITS, "data": 32})
"""One access of a script."""


def access(action, address, value=0):
    """An access as the bits of ACCESS."""
    return ACCESS.const({"action": action, "address": address, "data": value}).as_value().value


class Recorder:
    """A port of :class:`lstm_hw.host.driver.Driver` that writes down what is written to an engine that is idle.

    What was written is what is read.

    Parameters
    ----------
    content_id : int
        Of the engine.

    Attributes
    ----------
    accesses : list of int
        Bits of ACCESS.
    driver : Driver
    """

    def __init__(self, content_id):
        self.accesses, self.driver = [], Driver(self, content_id)
        answers = {name: lookup(name).reset for name in ("ID", "VERSION", "REFUSED", "IMAGE_ID")}
        answers |= {"CONTENT_ID": content_id, "STATUS": lookup("STATUS").field("loaded").mask}
        self.answers = {lookup(name).address: value for name, value in answers.items()}

    async def read(self, address):
        return self.answers[address]

    async def write(self, address, value):
        self.accesses.append(access(Action.WRITE, address, value))
        self.answers[address] = value

    def record(self, coroutine):
        """Write down what a coroutine of the driver does."""
        try:
            coroutine.send(None)
        except StopIteration:
            return
        raise RuntimeError("a recorded write must not wait")

    def run(self, entry, steps=1, clear=False):
        """A run that is begun, that no write was refused for, and that ends well."""
        self.record(self.driver.start(entry, steps, clear, sequence=True))
        self.unrefused()
        ctrl, status = lookup("CTRL"), lookup("STATUS")
        self.accesses.append(access(Action.UNTIL, ctrl.address, ctrl.field("done").mask))
        self.accesses.append(access(Action.NEVER, status.address, status.field("code").mask))

    def unrefused(self):
        """No write was refused."""
        refused = lookup("REFUSED")
        self.accesses.append(access(Action.NEVER, refused.address, refused.field("write").mask))


def script_of(scenario):
    """The accesses that load a scenario's program and play its runs, as :class:`lstm_hw.host.driver.Driver` does.

    Parameters
    ----------
    scenario : Scenario

    Returns
    -------
    list of int
        Bits of ACCESS. tlast of x ends the sequence of a run. Every run begins with a look at REFUSED, ends with one at
        STATUS, and shows its CYCLES.
    """
    recorder = Recorder(scenario.config.content_id)
    recorder.record(recorder.driver.load_program(scenario.program))
    recorder.record(recorder.driver.set_weights(*scenario.addresses))
    for run in scenario.runs:
        recorder.run(run.entry, run.steps, run.clear)
        recorder.accesses.append(access(Action.KEEP, lookup("CYCLES_LO").address))
    return recorder.accesses


class ScriptMaster(wiring.Component):
    """Performs accesses, one at a time.

    Members
    -------
    i : stream of ACCESS, in
        Taken when the access is complete.
    bus : AXI4-Lite master
    o_kept : Out(32)
        Value read by the latest KEEP.
    o_failed : Out(1)
        Stays 1 from the first answer other than OKAY, or NEVER that failed.
    """

    def __init__(self):
        super().__init__(
            {
                "i": In(stream.Signature(ACCESS)),
                "bus": Out(Axi4Lite(ADDRESS_BITS)),
                "o_kept": Out(32),
                "o_failed": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        bus, wanted = self.bus, self.i.payload
        m.d.comb += [
            bus.awaddr.eq(wanted.address),
            bus.araddr.eq(wanted.address),
            bus.wdata.eq(wanted.data),
            bus.wstrb.eq(0xF),
        ]
        answer = Signal(32)
        hit = answer & wanted.data
        failed = Signal()
        with m.If(failed):
            m.d.sync += self.o_failed.eq(1)
        with m.FSM():
            with m.State("idle"):
                with m.If(self.i.valid):
                    writes = wanted.action == Action.WRITE
                    m.d.sync += [bus.awvalid.eq(writes), bus.wvalid.eq(writes), bus.arvalid.eq(~writes)]
                    m.next = "ask"
            with m.State("ask"):
                for valid, ready in ((bus.awvalid, bus.awready), (bus.wvalid, bus.wready), (bus.arvalid, bus.arready)):
                    with m.If(ready):
                        m.d.sync += valid.eq(0)
                m.d.comb += [bus.bready.eq(1), bus.rready.eq(1)]
                with m.If(bus.bvalid | bus.rvalid):
                    m.d.sync += answer.eq(bus.rdata)
                    m.d.comb += failed.eq(Mux(bus.bvalid, bus.bresp, bus.rresp) != OKAY)
                    m.next = "judge"
            with m.State("judge"):
                m.d.comb += self.i.ready.eq(1)
                m.next = "idle"
                with m.Switch(wanted.action):
                    with m.Case(Action.UNTIL):
                        m.d.comb += self.i.ready.eq(hit == wanted.data)
                    with m.Case(Action.NEVER):
                        m.d.comb += failed.eq(hit != 0)
                    with m.Case(Action.KEEP):
                        m.d.sync += self.o_kept.eq(answer)
        return m
