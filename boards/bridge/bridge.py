"""Bridge: requests in, replies out, and between them an engine's registers, memory and streams."""

from amaranth import Module, ResetInserter, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from lstm_hw.errors import ConfigError
from lstm_hw.gateware.axi import Axi4Lite
from lstm_hw.host.protocol import SILENCE_MS, VERSION, Capability, Hello
from lstm_hw.machine.limits import VALUE_BITS
from lstm_hw.machine.registers import ADDRESS_BITS

from .executor import VERDICT, Executor, beat
from .frames import MAX_PAYLOAD, FrameReceiver, FrameSender
from .uart import DIVISOR_BITS, MIN_DIVISOR, UartReceiver, UartTransmitter
from .weight_memory import byte_access

RESET_CYCLES = 16
"""Cycles for which a request resets the engine."""
BUFFER_BYTES = 4 * MAX_PAYLOAD
"""Bytes of x, and of outputs, that wait in a bridge."""


class Bridge(wiring.Component):
    """Speaks the host protocol, with a host at the other end of a stream of bytes, on behalf of an engine.

    Parameters
    ----------
    clock_hz : int
    divisor : int
        Cycles of a bit of the UART after reset.
    x_bits : int
        Width of a beat of x, a multiple of 8.
    memory_bytes : int
        Size of the memory that the host writes; 0: none.
    memory_base : int
        Address at which the weight ports see its first byte.
    timeout : int, optional
        Cycles that the engine may take; a quarter of a second by itself.
    gap : int, optional
        Cycles without a byte after which a request counts as cut off; SILENCE_MS by itself.
    buffer_bytes : int
        Bytes of x, and of outputs, that wait in the bridge.
    flash : bool
        The board loads a model from its flash.

    Members
    -------
    i_valid : In(1)
    i_data : In(8)
        A byte from the host; never refused, dropped while a request is answered.
    i_broken : In(1)
        A byte was damaged.
    i_break : In(1)
        ``o_divisor`` becomes what it was after reset.
    o : stream of 8 bits, out
        To the host.
    bus : AXI4-Lite master
    memory : stream of accesses to bytes, out
    i_memory_done : In(1), i_memory_byte : In(8)
    x : stream of {data, last}, out
    y : stream of {data, last}, in
        As of the engine.
    o_reset : Out(1)
        Reset of the engine.
    o_divisor : Out
        Cycles of a bit that the host wants from the next request on.
    o_active : Out(1)
        A request is being answered.
    i_testing : In(1)
        The engine is the self-test's; both streams are emptied.
    o_test : Out(1)
        Start the self-test.
    i_verdict : In(VERDICT)
        Of the self-test.
    i_flash : In(8)
        As of :class:`boards.bridge.executor.Executor`.

    Raises
    ------
    ConfigError
        The divisor is out of range.
    """

    def __init__(
        self,
        clock_hz,
        divisor,
        x_bits,
        memory_bytes,
        memory_base=0,
        timeout=None,
        gap=None,
        buffer_bytes=BUFFER_BYTES,
        flash=False,
    ):
        if not MIN_DIVISOR <= divisor < 1 << DIVISOR_BITS:
            raise ConfigError("UART divisor", divisor, f"must be from {MIN_DIVISOR} to {(1 << DIVISOR_BITS) - 1}")
        self.divisor = divisor
        timeout, self.gap = timeout or clock_hz // 4, gap or clock_hz // 1000 * SILENCE_MS
        x_bytes, y_bytes = x_bits // 8, VALUE_BITS // 8
        self.depth = buffer_bytes // max(x_bytes, y_bytes)
        has = Capability.REGISTERS | Capability.STREAMS | Capability.RESET | Capability.SELFTEST | Capability.SPEED
        if memory_bytes:
            has |= Capability.MEMORY
        if flash:
            has |= Capability.FLASH
        us = timeout * 1_000_000 // clock_hz
        sizes = (memory_base, memory_bytes, x_bytes, y_bytes, MAX_PAYLOAD, self.depth, us)
        hello = Hello(VERSION, has, *sizes).to_bytes()
        self.executor = Executor(hello, clock_hz, memory_bytes, x_bytes, y_bytes, self.depth, timeout, flash)
        super().__init__(
            {
                "i_valid": In(1),
                "i_data": In(8),
                "i_broken": In(1),
                "i_break": In(1),
                "o": Out(stream.Signature(8)),
                "bus": Out(Axi4Lite(ADDRESS_BITS)),
                "memory": Out(stream.Signature(byte_access(max(1, (memory_bytes - 1).bit_length())))),
                "i_memory_done": In(1),
                "i_memory_byte": In(8),
                "x": Out(stream.Signature(beat(x_bytes))),
                "y": In(stream.Signature(beat(y_bytes))),
                "o_reset": Out(1),
                "o_divisor": Out(DIVISOR_BITS, init=divisor),
                "o_active": Out(1),
                "i_testing": In(1),
                "o_test": Out(1),
                "i_verdict": In(VERDICT),
                "i_flash": In(8),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver = receiver = FrameReceiver(self.gap)
        m.submodules.sender = sender = FrameSender()
        m.submodules.executor = executor = self.executor
        wiring.connect(m, receiver.o, executor.i)
        wiring.connect(m, executor.o, sender.i)
        for side in ("bus", "memory"):
            wiring.connect(m, wiring.flipped(getattr(self, side)), getattr(executor, side))
        wiring.connect(m, wiring.flipped(self.o), sender.o)
        m.d.comb += [
            receiver.i_valid.eq(self.i_valid),
            receiver.i_data.eq(self.i_data),
            receiver.i_broken.eq(self.i_broken),
            self.o_active.eq(receiver.o.valid),
            executor.i_memory_done.eq(self.i_memory_done),
            executor.i_memory_byte.eq(self.i_memory_byte),
            executor.i_testing.eq(self.i_testing),
            executor.i_verdict.eq(self.i_verdict),
            executor.i_flash.eq(self.i_flash),
        ]
        m.d.sync += self.o_test.eq(executor.o_test)
        to_executor = executor.o_index, executor.i_byte
        self._payload(m, "request", receiver.o_write, receiver.o_index, receiver.o_byte, *to_executor)
        to_sender = sender.o_index, sender.i_byte
        self._payload(m, "reply", executor.o_write, executor.o_fill, executor.o_byte, *to_sender)
        self._reset_and_speed(m)
        self._streams(m)
        return m

    def _payload(self, m, name, write, place, byte, index, found):
        """A buffer for a payload."""
        m.submodules[name] = ram = memory.Memory(shape=8, depth=MAX_PAYLOAD, init=[])
        writes, reads = ram.write_port(), ram.read_port()
        m.d.comb += [
            writes.en.eq(write),
            writes.addr.eq(place),
            writes.data.eq(byte),
            reads.addr.eq(index),
            found.eq(reads.data),
        ]

    def _reset_and_speed(self, m):
        executor = self.executor
        left = Signal(range(RESET_CYCLES + 1))
        m.d.comb += [
            self.o_reset.eq(left != 0),
            executor.i_busy.eq(self.i_testing | executor.o_reset | self.o_reset),
            executor.i_divisor.eq(self.o_divisor),
        ]
        with m.If(executor.o_reset):
            m.d.sync += left.eq(RESET_CYCLES)
        with m.Elif(self.o_reset):
            m.d.sync += left.eq(left - 1)
        with m.If(self.i_break):
            m.d.sync += self.o_divisor.eq(self.divisor)
        with m.Elif(executor.o_speed):
            m.d.sync += self.o_divisor.eq(executor.o_divisor)

    def _streams(self, m):
        executor = self.executor
        for name, source, target in (("x", executor.x, self.x), ("y", self.y, executor.y)):
            fifo = SyncFIFOBuffered(width=len(source.payload.as_value()), depth=self.depth)
            m.submodules[f"{name}_buffer"] = ResetInserter(executor.i_busy)(fifo)
            m.d.comb += [
                fifo.w_data.eq(source.payload),
                fifo.w_en.eq(source.valid),
                source.ready.eq(fifo.w_rdy),
                target.payload.eq(fifo.r_data),
                target.valid.eq(fifo.r_rdy),
                fifo.r_en.eq(target.ready),
            ]
            if name == "y":
                m.d.comb += executor.i_y_level.eq(fifo.r_level)


class UartBridge(wiring.Component):
    """A :class:`Bridge` behind a UART.

    Parameters
    ----------
    As of :class:`Bridge`.

    Members
    -------
    i_rx : In(1), o_tx : Out(1)
        The wires.
    others
        As of the bridge, but for its stream of bytes.
    """

    def __init__(self, *args, **options):
        self.bridge = Bridge(*args, **options)
        own = {"i_valid", "i_data", "i_broken", "i_break", "o", "o_divisor", "o_active"}
        self.passed = {name: member for name, member in self.bridge.signature.members.items() if name not in own}
        super().__init__({"i_rx": In(1), "o_tx": Out(1), **self.passed})

    def elaborate(self, platform):
        m = Module()
        m.submodules.bridge = bridge = self.bridge
        m.submodules.receiver = receiver = UartReceiver()
        m.submodules.transmitter = transmitter = UartTransmitter()
        divisor = Signal(DIVISOR_BITS, init=bridge.divisor)
        # A new divisor waits until the reply has gone.
        with m.If(~bridge.o_active & transmitter.o_idle):
            m.d.sync += divisor.eq(bridge.o_divisor)
        m.d.comb += [
            receiver.i_rx.eq(self.i_rx),
            self.o_tx.eq(transmitter.o_tx),
            receiver.i_divisor.eq(divisor),
            transmitter.i_divisor.eq(divisor),
            bridge.i_valid.eq(receiver.o_valid),
            bridge.i_data.eq(receiver.o_data),
            bridge.i_broken.eq(receiver.o_broken),
            bridge.i_break.eq(receiver.o_broken & receiver.o_break),
        ]
        wiring.connect(m, bridge.o, transmitter.i)
        for name, member in self.passed.items():
            inner, outer = getattr(bridge, name), getattr(self, name)
            if member.is_signature:
                wiring.connect(m, wiring.flipped(outer), inner)
            else:
                m.d.comb += inner.eq(outer) if member.flow == In else outer.eq(inner)
        return m
