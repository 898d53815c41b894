"""HostDesign: the engine, a bridge for a host at the other end of a UART, and the self-test, on boards without a
processor."""

from amaranth import Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from lstm_hw.errors import ConfigError
from lstm_hw.host.protocol import FlashState, TestState
from lstm_hw.machine.limits import PAGE_BYTES
from lstm_hw.verilog.emit import emit_verilog

from .bridge.bridge import UartBridge
from .bridge.flash_loader import FlashLoader
from .bridge.weight_memory import WeightMemory
from .lights import Lights
from .self_test import ENGINE, PATIENCE, VERDICT, Player, engine_instance, engine_verilog, show_verdict

NAME = "lstm_host_design"
"""Name of the module."""
FLASH = {"i_cipo": In(1), "o_copi": Out(1), "o_sck": Out(1), "o_cs": Out(1)}
"""Members of a design with a flash memory."""
RELEASE_CYCLES = 16
"""Cycles of reset between a self-test and the host."""


def memory_bytes_of(config, image_bytes):
    """Bytes of a weight memory that holds an image, and any whose words all stay on the chip.

    Parameters
    ----------
    config : EngineConfig
    image_bytes : int
        Of each weight port.

    Returns
    -------
    int
        A power of two.
    """
    resident = config.weight_words * config.word_bytes // config.axi_ports
    pages = -(-max(image_bytes, resident) // PAGE_BYTES)
    return 1 << (config.axi_ports * pages * PAGE_BYTES - 1).bit_length()


class HostDesign(wiring.Component):
    """The engine with a bridge and a weight memory in block RAM, which is the self-test's first and then a host's.

    The self-test runs after reset, when ``i_restart`` falls and when the host asks for it, on weights of its own. Then
    the engine is reset and is the host's. All weight ports see the same memory, from address 0 on.

    On a board with a flash memory, a self-test that has passed is followed by a look at it: a model that lies there is
    loaded before the engine is the host's.

    Parameters
    ----------
    scenario : Scenario
        As of :class:`boards.self_test.Player`.
    engine : wiring.Signature
        As of :func:`boards.self_test.engine_instance`.
    clock_hz : int
    baud : int
        Bits a second of the UART after reset.
    memory_bytes : int, optional
        Size of the memory, a power of two.
    flash : int, optional
        Address of a model in the board's flash memory; without it, there is none.
    bridge : dict, optional
        More parameters of :class:`boards.bridge.bridge.Bridge`.

    Members
    -------
    i_rx : In(1), o_tx : Out(1)
        The UART.
    i_cipo : In(1), o_copi, o_sck, o_cs : Out(1)
        With ``flash``, as of :class:`boards.bridge.flash_reader.FlashReader`.
    others
        As of :class:`boards.self_test.SelfTest`.

    Raises
    ------
    ConfigError
        The clock is too slow for the UART.
    """

    def __init__(self, scenario, engine, clock_hz, baud, memory_bytes=None, flash=None, bridge=None):
        self.config, self.engine, self.clock_hz = scenario.config, engine, clock_hz
        config = scenario.config
        divisor = round(clock_hz / baud)
        if divisor < 2 or abs(clock_hz / divisor / baud - 1) > 0.02:
            rule = "must be within 2 % of the clock by a whole number from 2 on"
            raise ConfigError("UART", f"{baud} baud of a clock of {clock_hz} Hz", rule)
        size = memory_bytes or memory_bytes_of(config, len(scenario.images[0]))
        self.player = Player(scenario)
        self.bridge = UartBridge(clock_hz, divisor, self.player.x_bits, size, flash=flash is not None, **bridge or {})
        self.loader = None if flash is None else FlashLoader(flash, config.content_id, size, PATIENCE)
        self.memories = [
            WeightMemory(config.axi_address_bits, config.axi_data_bits, 0, size) for _ in range(config.axi_ports)
        ]
        passed = self.player.signature.members["o_passed"]
        super().__init__(
            {"i_restart": In(1), "i_rx": In(1), "o_tx": Out(1), "o_passed": passed, "o_heartbeat": Out(1), **VERDICT}
            | ({} if flash is None else FLASH)
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.player = player = self.player
        m.submodules.bridge = bridge = self.bridge
        m.submodules.lights = lights = Lights(self.clock_hz)
        show_verdict(m, self, player, lights)

        # Whose the engine is: the player's from its reset to its verdict, and nobody's for a while after.
        testing, left, reset = Signal(), Signal(range(RELEASE_CYCLES + 1)), Signal()
        restart, loading, undone = Signal(), Signal(), Signal()  # the first is a register: it reaches far
        m.d.sync += restart.eq(self.i_restart | bridge.o_test)
        tested = ~bridge.i_testing | loading
        m.d.comb += [
            player.i_restart.eq(restart),
            testing.eq(player.o_clear | player.o_running),
            bridge.i_testing.eq(testing | (left != 0) | bridge.o_test | restart | loading),
            reset.eq(player.o_clear | (~testing & (left != 0)) | bridge.o_reset | undone),
            bridge.i_rx.eq(self.i_rx),
            self.o_tx.eq(bridge.o_tx),
            bridge.i_verdict.state.eq(
                Mux(tested, Mux(player.o_pass, TestState.PASSED, TestState.FAILED), TestState.RUNNING)
            ),
            bridge.i_verdict.reason.eq(player.o_reason),
            bridge.i_verdict.passed.eq(player.o_passed),
            bridge.i_verdict.cycles.eq(player.o_cycles),
        ]
        with m.If(testing):
            m.d.sync += left.eq(RELEASE_CYCLES)
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)

        def chosen(name, sides, first=testing):
            """An interface to the engine, and beside it the ones of the player and of the host, or of other two."""
            joint = sides[0].signature.create(path=(name,))
            for member_name, member in joint.signature.members.items():
                value, *ends = (Value.cast(getattr(side, member_name)) for side in (joint, *sides))
                if member.flow == Out:
                    m.d.comb += value.eq(Mux(first, *ends))
                    continue
                handshake = member_name.endswith(("valid", "ready"))
                for end, mine in zip(ends, (first, ~first), strict=True):
                    m.d.comb += end.eq(value & mine if handshake else value)
            return joint

        bus = bridge.bus
        if self.loader is not None:
            m.submodules.loader = loader = ResetInserter(testing)(self.loader)
            m.d.comb += [
                loader.i_start.eq((left == 1) & player.o_pass),
                loading.eq(loader.o_running),
                undone.eq(loader.o_reset),
                bridge.i_flash.eq(
                    Mux(tested, Mux(player.o_pass, loader.o_state, FlashState.SKIPPED), FlashState.RUNNING)
                ),
                *(
                    getattr(self, name).eq(getattr(loader, name))
                    for name, member in FLASH.items()
                    if member.flow == Out
                ),
                loader.i_cipo.eq(self.i_cipo),
            ]
            with m.If(player.o_pass):
                m.d.comb += [
                    lights.i_running.eq(loading),
                    lights.i_fail.eq(loader.o_state >= FlashState.DAMAGED),
                    lights.i_reason.eq(loader.o_state),
                ]
            bus = chosen("bus", (loader.bus, bus), loading)
        control = chosen("control", (player.control, bus))
        x = chosen("x", (player.x, bridge.x))
        y = chosen("y", (player.y, bridge.y))
        weights = []
        for port, memory in enumerate(self.memories):
            m.submodules[f"memory{port}"] = ResetInserter(reset)(memory)
            weights.append(chosen(f"weights{port}", (player.weights[port], memory.bus)))
            # All are written, the first is read.
            m.d.comb += [
                memory.i.payload.eq(bridge.memory.payload),
                memory.i.valid.eq(bridge.memory.valid & (bridge.memory.payload.write | (port == 0))),
            ]
            if self.loader is not None:
                with m.If(loading):
                    m.d.comb += [memory.i.payload.eq(loader.memory.payload), memory.i.valid.eq(loader.memory.valid)]
        m.d.comb += [
            bridge.memory.ready.eq(self.memories[0].i.ready),
            bridge.i_memory_done.eq(self.memories[0].o_done),
            bridge.i_memory_byte.eq(self.memories[0].o_byte),
        ]
        m.submodules.engine = engine_instance(self.config, self.engine, reset, [control, *weights], x, y)
        return m


def emit(scenario, clock_hz, baud, **options):
    """The Verilog of a host design and of its engine; parameters as of :class:`HostDesign`.

    Returns
    -------
    dict of str to str
        File name -> text.
    """
    ports, engine = engine_verilog(scenario.config)
    return {
        f"{ENGINE}.v": engine,
        f"{NAME}.v": emit_verilog(HostDesign(scenario, ports, clock_hz, baud, **options), NAME),
    }
