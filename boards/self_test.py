"""SelfTest: the emitted engine with all that it needs to play test vectors and judge the outputs, without a host."""

from functools import lru_cache

from amaranth import ClockSignal, Instance, Module, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from lstm_hw.errors import ConfigError
from lstm_hw.gateware.axi import Axi4Lite, Axi4Read
from lstm_hw.gateware.top import Top
from lstm_hw.host.protocol import Reason
from lstm_hw.machine.limits import VALUE_BITS
from lstm_hw.machine.ports import CONTROL, X, Y, weight_prefixes
from lstm_hw.machine.registers import ADDRESS_BITS
from lstm_hw.verilog.emit import emit_verilog

from .axi_rom import AxiRom
from .checker import Checker, beat_layout, expectation_layout, expectations
from .judge import Judge
from .lights import Lights
from .rom_reader import RomSource
from .script import ACCESS, ScriptMaster, script_of

ENGINE = "lstm_engine"
"""Name of the engine's module; its Verilog belongs beside that of the self-test."""
NAME = "lstm_self_test"
"""Name of the self-test's module."""
PATIENCE = 1 << 24
"""Cycles that one access of the script may take, a whole run included."""


VERDICT = {
    "o_running": Out(1),
    "o_pass": Out(1),
    "o_fail": Out(1),
    "o_reason": Out(Reason),
    "o_cycles": Out(32),
}
"""Members of what shows the verdict of a self-test, but for ``o_passed``."""


class Player(wiring.Component):
    """Plays a scenario from read-only memories on an engine and compares every output.

    After reset, and whenever ``i_restart`` is high, the engine is reset, its program written, and every run of the
    scenario played through its ports: weights from an AXI4 memory, x and outputs at full rate.

    Parameters
    ----------
    scenario : Scenario
        Runs that send outputs are the test vectors; at least one must.
    patience : int
        Cycles that one access of the script, or a whole run, may take.

    Members
    -------
    i_restart : In(1)
        Start again, whatever is going on; the test begins when it is low.
    control : AXI4-Lite master
    weights : list of AXI4 read slaves
        One for each weight port.
    x : stream of {data, last}, out
    y : stream of {data, last}, in
    o_clear : Out(1)
        Reset of the engine before a test.
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

    Raises
    ------
    ConfigError
        The scenario has no run with x, or none with outputs.
    """

    def __init__(self, scenario, patience=PATIENCE):
        config = scenario.config
        vectors = [run for run in scenario.runs if any(run.outputs)]
        if not vectors or not sum(len(run.x) for run in scenario.runs):
            raise ConfigError("self-test", f"{len(scenario.runs)} runs", "must have x beats and outputs among them")
        self.patience, self.vectors = patience, len(vectors)
        bits, self.x_bits = config.operand_bits, config.operand_bits * config.x_per_beat
        self.script = RomSource(ACCESS.size, script_of(scenario))
        self.roms = [
            AxiRom(config.axi_address_bits, config.axi_data_bits, address, image)
            for address, image in zip(scenario.addresses, scenario.images, strict=True)
        ]
        self.inputs = RomSource(self.x_bits + 1, _x_words(scenario.runs, bits))
        self.expected = RomSource(expectation_layout(VALUE_BITS).size, expectations(vectors, VALUE_BITS))
        super().__init__(
            {
                "i_restart": In(1),
                "control": Out(Axi4Lite(ADDRESS_BITS)),
                "weights": In(Axi4Read(config.axi_address_bits, config.axi_data_bits)).array(config.axi_ports),
                "x": Out(stream.Signature(beat_layout(self.x_bits))),
                "y": In(stream.Signature(beat_layout(VALUE_BITS))),
                "o_clear": Out(1),
                "o_passed": Out(range(self.vectors + 1)),
                **VERDICT,
            }
        )

    def elaborate(self, platform):
        m = Module()
        clear = Signal()
        fresh = ResetInserter(clear)
        m.submodules.script = script = fresh(self.script)
        m.submodules.master = master = fresh(ScriptMaster())
        m.submodules.x = x = fresh(self.inputs)
        m.submodules.expected = expected = fresh(self.expected)
        m.submodules.checker = checker = fresh(Checker(VALUE_BITS, self.vectors))
        for port, rom in enumerate(self.roms):
            m.submodules[f"rom{port}"] = fresh(rom)
            wiring.connect(m, wiring.flipped(self.weights[port]), rom.bus)
        wiring.connect(m, wiring.flipped(self.control), master.bus)
        wiring.connect(m, wiring.flipped(self.y), checker.i)
        m.d.comb += [
            self.x.payload.data.eq(x.o.payload[: self.x_bits]),
            self.x.payload.last.eq(x.o.payload[self.x_bits]),
            self.x.valid.eq(x.o.valid),
            x.o.ready.eq(self.x.ready),
            master.i.valid.eq(script.o.valid),
            master.i.payload.eq(script.o.payload),
            script.o.ready.eq(master.i.ready),
            checker.i_expected.valid.eq(expected.o.valid),
            checker.i_expected.payload.eq(expected.o.payload),
            expected.o.ready.eq(checker.i_expected.ready),
            checker.i_done.eq(expected.o_done),
            self.o_passed.eq(checker.o_passed),
            self.o_cycles.eq(master.o_kept),
            self.o_clear.eq(clear),
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
        return m


def engine_instance(config, engine, reset, buses, x, y):
    """The engine as an instance of its emitted Verilog, so that what a board runs is what was simulated.

    Parameters
    ----------
    config : EngineConfig
    engine : wiring.Signature
        Ports of the engine (:class:`lstm_hw.gateware.top.Top`), which is emitted on its own, as module ``ENGINE``.
    reset : Value
    buses : list of interface
        What drives the control port, then what answers each weight port.
    x, y : stream of {data, last}
        What comes from the one, and goes to the other.

    Returns
    -------
    Instance
    """
    ports = {
        "aclk": ClockSignal(),
        "aresetn": ~reset,
        "interrupt": Signal(name="interrupt"),
        f"{X}_tdata": x.payload.data,
        f"{X}_tlast": x.payload.last,
        f"{X}_tvalid": x.valid,
        f"{X}_tready": x.ready,
        f"{Y}_tdata": y.payload.data,
        f"{Y}_tlast": y.payload.last,
        f"{Y}_tvalid": y.valid,
        f"{Y}_tready": y.ready,
    }
    for prefix, bus in zip((CONTROL, *weight_prefixes(config)), buses, strict=True):
        ports |= {f"{prefix}_{name}": getattr(bus, name) for name in bus.signature.members}
    directions = {In: "i", Out: "o"}
    members = engine.members.items()
    return Instance(ENGINE, **{f"{directions[member.flow]}_{name}": ports[name] for name, member in members})


class SelfTest(wiring.Component):
    """The engine with a :class:`Player` and nothing else.

    Parameters
    ----------
    scenario : Scenario
        As of :class:`Player`.
    engine : wiring.Signature
        As of :func:`engine_instance`.
    clock_hz : int
        Clock frequency, for the lights.
    patience : int
        As of :class:`Player`.

    Members
    -------
    i_restart : In(1)
    o_pass, o_fail, o_reason, o_passed, o_cycles
        As of :class:`Player`.
    o_running, o_heartbeat : Out(1)
        As of :class:`boards.lights.Lights`.
    """

    def __init__(self, scenario, engine, clock_hz, patience=PATIENCE):
        self.config, self.engine, self.clock_hz = scenario.config, engine, clock_hz
        self.player = Player(scenario, patience)
        passed = self.player.signature.members["o_passed"]
        super().__init__({"i_restart": In(1), "o_passed": passed, "o_heartbeat": Out(1), **VERDICT})

    def elaborate(self, platform):
        m = Module()
        m.submodules.player = player = self.player
        buses = [player.control, *player.weights]
        m.submodules.engine = engine_instance(self.config, self.engine, player.o_clear, buses, player.x, player.y)
        m.d.comb += player.i_restart.eq(self.i_restart)
        m.submodules.lights = lights = Lights(self.clock_hz)
        show_verdict(m, self, player, lights)
        return m


def show_verdict(m, shown, player, lights):
    """Bring the verdict of a player, and the lights, to the members of a design."""
    names = [name for name in ("o_passed", *VERDICT) if name != "o_running"]
    m.d.comb += [getattr(shown, name).eq(getattr(player, name)) for name in names]
    m.d.comb += [
        lights.i_running.eq(player.o_running),
        lights.i_fail.eq(player.o_fail),
        lights.i_reason.eq(player.o_reason),
        shown.o_running.eq(lights.o_running),
        shown.o_heartbeat.eq(lights.o_heartbeat),
    ]


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
def engine_verilog(config):
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
    ports, engine = engine_verilog(scenario.config)
    return {f"{ENGINE}.v": engine, f"{NAME}.v": emit_verilog(SelfTest(scenario, ports, clock_hz, **options), NAME)}
