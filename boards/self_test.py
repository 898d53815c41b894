"""SelfTest: the emitted engine with everything it needs to play test vectors and judge the outputs, without a host."""

from functools import lru_cache

from amaranth import ClockSignal, Instance, Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from lstm_hw.errors import ConfigError
from lstm_hw.gateware.top import Top
from lstm_hw.machine.config import VALUE_BITS
from lstm_hw.machine.ports import CONTROL, X, Y, weight_prefixes
from lstm_hw.verilog.emit import emit_verilog

from .axi_rom import AxiRom
from .checker import Checker, expectation_layout, expectations
from .judge import Judge, Reason
from .rom_reader import RomSource
from .script import ACCESS, ScriptMaster, script_of

ENGINE = "lstm_engine"
"""Name of the engine's module; its Verilog belongs beside that of the self-test."""
NAME = "lstm_self_test"
"""Name of the self-test's module."""
PATIENCE = 1 << 24
"""Cycles that one access of the script may take, a whole run included."""


class SelfTest(wiring.Component):
    """Plays a scenario from read-only memories and compares every output.

    After reset, and whenever ``i_restart`` is high, the engine is reset, its program written, and every run of the
    scenario played through its ports: weights from an AXI4 memory, x and outputs at full rate. The engine is an
    instance of the emitted Verilog, so what a board runs is what was simulated.

    Parameters
    ----------
    scenario : Scenario
        Runs that send outputs are the test vectors; at least one must.
    engine : wiring.Signature
        Ports of the engine (:class:`lstm_hw.gateware.top.Top`), which is emitted on its own, as module ``ENGINE``.
    clock_hz : int
        Clock frequency, for the heartbeat.
    patience : int
        Cycles that one access of the script, or a whole run, may take.

    Members
    -------
    i_restart : In(1)
        Start again, whatever is going on; the test begins when it is low.
    o_running : Out(1)
        The test is under way.
    o_pass, o_fail : Out(1)
        The test has ended, with every vector right or not; all three are low for the reset before a test.
    o_reason : Out(3)
        A :class:`boards.judge.Reason`: why the test failed.
    o_passed : Out
        Vectors that were right so far.
    o_cycles : Out(32)
        Cycles of the latest run, as counted by the engine.
    o_heartbeat : Out(1)
        Toggles about twice a second while there is a clock.

    Raises
    ------
    ConfigError
        The scenario has no run with x, or none with outputs.
    """

    def __init__(self, scenario, engine, clock_hz, patience=PATIENCE):
        config = scenario.config
        vectors = [run for run in scenario.runs if any(run.outputs)]
        if not vectors or not sum(len(run.x) for run in scenario.runs):
            raise ConfigError("self-test", f"{len(scenario.runs)} runs", "must have x beats and outputs among them")
        self.scenario, self.clock_hz, self.patience = scenario, clock_hz, patience
        self.vectors = len(vectors)
        self.engine = engine
        bits = config.operand_bits
        self.script = RomSource(ACCESS.size, script_of(scenario))
        self.weights = [
            AxiRom(config.axi_address_bits, config.axi_data_bits, address, image)
            for address, image in zip(scenario.addresses, scenario.images, strict=True)
        ]
        self.x = RomSource(bits * config.x_per_beat + 1, _x_words(scenario.runs, bits))
        self.expected = RomSource(expectation_layout(VALUE_BITS).size, expectations(vectors, VALUE_BITS))
        super().__init__(
            {
                "i_restart": In(1),
                "o_running": Out(1),
                "o_pass": Out(1),
                "o_fail": Out(1),
                "o_reason": Out(Reason),
                "o_passed": Out(range(self.vectors + 1)),
                "o_cycles": Out(32),
                "o_heartbeat": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        clear = Signal()
        fresh = ResetInserter(clear)
        m.submodules.script = script = fresh(self.script)
        m.submodules.master = master = fresh(ScriptMaster())
        m.submodules.x = x = fresh(self.x)
        m.submodules.expected = expected = fresh(self.expected)
        m.submodules.checker = checker = fresh(Checker(VALUE_BITS, self.vectors))

        bits = self.scenario.config.operand_bits * self.scenario.config.x_per_beat
        ports = {
            "aclk": ClockSignal(),
            "aresetn": ~clear,
            "interrupt": Signal(name="interrupt"),
            f"{X}_tdata": x.o.payload[:bits],
            f"{X}_tlast": x.o.payload[bits],
            f"{X}_tvalid": x.o.valid,
            f"{X}_tready": x.o.ready,
            f"{Y}_tdata": checker.i.payload.data,
            f"{Y}_tlast": checker.i.payload.last,
            f"{Y}_tvalid": checker.i.valid,
            f"{Y}_tready": checker.i.ready,
        }
        buses = {CONTROL: master.bus}
        for prefix, rom in zip(weight_prefixes(self.scenario.config), self.weights, strict=True):
            m.submodules[f"rom_{prefix}"] = fresh(rom)
            buses[prefix] = rom.bus
        for prefix, bus in buses.items():
            ports |= {f"{prefix}_{name}": getattr(bus, name) for name in bus.signature.members}
        directions = {In: "i", Out: "o"}
        m.submodules.engine = Instance(
            ENGINE, **{f"{directions[member.flow]}_{name}": ports[name] for name, member in self.engine.members.items()}
        )
        m.d.comb += [
            master.i.valid.eq(script.o.valid),
            master.i.payload.eq(script.o.payload),
            script.o.ready.eq(master.i.ready),
            checker.i_expected.valid.eq(expected.o.valid),
            checker.i_expected.payload.eq(expected.o.payload),
            expected.o.ready.eq(checker.i_expected.ready),
            checker.i_done.eq(expected.o_done),
            self.o_passed.eq(checker.o_passed),
            self.o_cycles.eq(master.o_kept),
        ]
        m.submodules.judge = judge = ResetInserter(self.i_restart)(Judge(self.vectors, self.patience))
        m.d.comb += [
            clear.eq(judge.o_clear | self.i_restart),
            judge.i_access.eq(script.o.ready),
            judge.i_done.eq(script.o_done),
            judge.i_refused.eq(master.o_failed),
            judge.i_wrong.eq(checker.o_failed),
            judge.i_passed.eq(checker.o_passed),
            self.o_running.eq(judge.o_running),
            self.o_pass.eq(judge.o_pass),
            self.o_fail.eq(judge.o_fail),
            self.o_reason.eq(judge.o_reason),
        ]
        self._heartbeat(m)
        return m

    def _heartbeat(self, m):
        half = max(2, self.clock_hz // 2)
        count = Signal(range(half))
        with m.If(count == half - 1):
            m.d.sync += [count.eq(0), self.o_heartbeat.eq(~self.o_heartbeat)]
        with m.Else():
            m.d.sync += count.eq(count + 1)


def vectors_of(scenario):
    """Number of test vectors in a scenario: runs that send outputs."""
    return sum(any(run.outputs) for run in scenario.runs)


def _x_words(runs, bits):
    """The x beats of all runs: elements from the low bits up, and above them tlast, on the last beat of a run."""
    words = []
    for run in runs:
        for number, beat in enumerate(run.x.tolist(), 1):
            word = sum((int(value) & (1 << bits) - 1) << bits * n for n, value in enumerate(beat))
            words.append(word | (number == len(run.x)) << bits * len(beat))
    return words


@lru_cache
def _engine(config):
    """Ports and Verilog of an engine."""
    top = Top(config)
    return top.signature, emit_verilog(top, ENGINE)


def emit(scenario, clock_hz, **options):
    """The Verilog of a self-test and of its engine; parameters as of :class:`SelfTest`.

    Returns
    -------
    dict of str to str
        File name -> text.
    """
    ports, engine = _engine(scenario.config)
    return {f"{ENGINE}.v": engine, f"{NAME}.v": emit_verilog(SelfTest(scenario, ports, clock_hz, **options), NAME)}
