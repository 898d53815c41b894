"""Executor: does what requests ask for, and fills replies."""

from amaranth import Cat, Const, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from lstm_hw.gateware.axi import Axi4Lite
from lstm_hw.host.protocol import Op, Status
from lstm_hw.machine.registers import ADDRESS_BITS

from .axi_lite_master import AxiLiteMaster
from .frames import ANSWER, FRAME, INDEX_BITS, MAX_PAYLOAD
from .uart import DIVISOR_BITS, MIN_DIVISOR
from .weight_memory import byte_access

VERDICT = data.StructLayout({"state": 8, "reason": 8, "passed": 16, "cycles": 32})
"""What a self-test has to say: the payload of the reply to SELFTEST."""
SPEED = data.StructLayout({"clock_hz": 32, "divisor": 32})
"""Payload of the reply to SPEED: cycles a second, and of a bit."""


def beat(data_bytes):
    """A beat of a stream."""
    return data.StructLayout({"data": 8 * data_bytes, "last": 1})


class Executor(wiring.Component):
    """Takes requests one at a time and answers each, whatever it says and whatever the engine does.

    What a request asks for is checked first where it can be, and one that is not in order changes nothing. One that has
    the number of the one before is answered with the same reply again, from the buffer, and not done again.

    Parameters
    ----------
    hello : bytes
        Payload of the reply to HELLO.
    clock_hz : int
    memory_bytes : int
        Size of the memory; 0: there is none.
    x_bytes, y_bytes : int
        Bytes of a beat.
    depth : int
        Beats that the buffer of either stream holds.
    timeout : int
        Cycles that the engine may take for a word or a beat.
    flash : bool
        The board loads a model from its flash.

    Members
    -------
    i : stream of FRAME, in
        Taken when its reply is.
    o_index, i_byte
        Read port of the buffer with the payload: ``i_byte`` is what ``o_index`` asked for one cycle before.
    o : stream of ANSWER, out
    o_write, o_fill, o_byte
        Write port of the reply's buffer.
    bus : AXI4-Lite master
        Registers of the engine.
    memory : stream of accesses to bytes, out
        Withdrawn if it is not taken in time.
    i_memory_done : In(1), i_memory_byte : In(8)
        A byte has been read.
    x : stream of beats, out
        Into a buffer; taken or dropped.
    y : stream of beats, in
        From a buffer whose beats are ``i_y_level``.
    i_flash : In(8)
        A :class:`lstm_hw.host.protocol.FlashState`, on boards whose flash is looked at.
    i_busy : In(1)
        The engine is in reset or somebody else's, and both buffers are emptied: every access to it is BUSY.
    i_testing : In(1)
        It is the self-test's.
    o_reset, o_test : Out(1)
        Reset the engine; start the self-test; each for one cycle.
    i_verdict : In(VERDICT)
    o_speed : Out(1), o_divisor : Out, i_divisor : In
        The UART's divisor: a new one, with ``o_speed``, and that of now.
    """

    def __init__(self, hello, clock_hz, memory_bytes, x_bytes, y_bytes, depth, timeout, flash):
        self.hello, self.clock_hz, self.memory_bytes = hello, clock_hz, memory_bytes
        self.x_bytes, self.y_bytes, self.timeout, self.flash = x_bytes, y_bytes, timeout, flash
        self.most_y = MAX_PAYLOAD // (y_bytes + 1)
        super().__init__(
            {
                "i": In(stream.Signature(FRAME)),
                "o_index": Out(INDEX_BITS),
                "i_byte": In(8),
                "o": Out(stream.Signature(ANSWER)),
                "o_write": Out(1),
                "o_fill": Out(INDEX_BITS),
                "o_byte": Out(8),
                "bus": Out(Axi4Lite(ADDRESS_BITS)),
                "memory": Out(stream.Signature(byte_access(max(1, (memory_bytes - 1).bit_length())))),
                "i_memory_done": In(1),
                "i_memory_byte": In(8),
                "x": Out(stream.Signature(beat(x_bytes))),
                "y": In(stream.Signature(beat(y_bytes))),
                "i_y_level": In(range(depth + 1)),
                "i_busy": In(1),
                "i_testing": In(1),
                "o_reset": Out(1),
                "o_test": Out(1),
                "i_verdict": In(VERDICT),
                "i_flash": In(8),
                "o_speed": Out(1),
                "o_divisor": Out(DIVISOR_BITS),
                "i_divisor": In(DIVISOR_BITS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # An access that is not answered stays with the master until the engine is reset.
        self.master = master = ResetInserter(self.i_busy)(AxiLiteMaster(ADDRESS_BITS))
        m.submodules.master = master
        wiring.connect(m, wiring.flipped(self.bus), master.bus)
        # Place of the byte of the payload that `i_byte` is, and bytes of the reply.
        self.cursor, self.fill = cursor, fill = Signal(16), Signal(16)
        self.take = take = Signal()
        # A request that is none is answered with a fault, and the reply of the one before is kept.
        self.status, self.fault = Signal(Status), Signal(Status)
        self.word, self.address, self.count = Signal(32), Signal(32), Signal(16)
        self.done = Signal(16)  # words
        self.part = Signal(range(max(4, self.x_bytes, self.y_bytes + 1)))
        self.left, self.begin_wait = Signal(range(self.timeout + 1)), Signal()
        index = Mux(take, cursor + 1, cursor)
        m.d.comb += [
            self.o_index.eq(index),
            self.o_fill.eq(fill),
            self.o.payload.number.eq(self.i.payload.number),
            self.o.payload.status.eq(Mux(self.fault == Status.OK, self.status, self.fault)),
            self.o.payload.length.eq(Mux(self.fault == Status.OK, fill, 0)),
        ]
        m.d.sync += [cursor.eq(index), self.left.eq(Mux(self.left == 0, 0, self.left - 1))]
        with m.If(self.begin_wait):
            m.d.sync += self.left.eq(self.timeout)
        with m.If(self.o_write):
            m.d.sync += fill.eq(fill + 1)
        with m.FSM():
            with m.State("rest"):
                m.d.comb += self.o_index.eq(0)
                m.d.sync += [cursor.eq(0), self.part.eq(0), self.done.eq(0), self.fault.eq(Status.OK)]
                with m.If(self.i.valid):
                    self._dispatch(m)
            with m.State("answer"):
                m.d.comb += [self.o.valid.eq(1), self.i.ready.eq(self.o.ready)]
                with m.If(self.o.ready):
                    m.next = "rest"
            self._words_of_the_bridge(m)
            self._fields(m)
            self._registers(m)
            self._streams(m)
            self._memory(m)
        return m

    def _end(self, m, status=Status.OK):
        """Answer with what has been filled in, or with nothing if something was wrong."""
        m.d.sync += self.status.eq(status)
        if status != Status.OK:
            m.d.sync += self.fill.eq(0)
        m.next = "answer"

    def _dispatch(self, m):
        """Look at a request's op and length."""
        frame = self.i.payload
        latest, answered = Signal(8), Signal()
        kinds = {  # op -> what its length must be, and the state that does it
            Op.READ: (frame.length == 6, "address"),
            Op.WRITE: ((frame.length >= 8) & (frame.length[:2] == 0), "address"),
            Op.X: ((frame.length > 1) & ((frame.length - 1) % self.x_bytes == 0), "flag"),
            Op.Y: (frame.length == 2, "count"),
            Op.RESET: (frame.length == 0, "reset"),
            Op.SELFTEST: (frame.length == 1, "self-test"),
            Op.SPEED: ((frame.length == 0) | (frame.length == 4), "speed"),
        }
        if self.flash:
            kinds[Op.FLASH] = (frame.length == 0, "flash")
        if self.memory_bytes:
            kinds |= {
                Op.MEM_WRITE: ((frame.length > 4) & (frame.length[:2] == 0), "address"),
                Op.MEM_READ: (frame.length == 6, "address"),
            }
        with m.If(frame.wrong | (frame.length > MAX_PAYLOAD)):
            m.d.sync += self.fault.eq(Mux(frame.length > MAX_PAYLOAD, Status.LENGTH, Status.CRC))
            m.next = "answer"
        with m.Elif(answered & (frame.number == latest) & (frame.op != Op.HELLO)):
            m.next = "answer"
        with m.Else():
            m.d.sync += [latest.eq(frame.number), answered.eq(1), self.fill.eq(0)]
            with m.Switch(frame.op):
                with m.Case(Op.HELLO):
                    self._end(m, Status.LENGTH)
                    with m.If(frame.length == 0):
                        m.next = "hello"
                for op, (fits, state) in kinds.items():
                    with m.Case(op):
                        self._end(m, Status.LENGTH)
                        with m.If(fits):
                            m.next = state
                with m.Default():
                    self._end(m, Status.OP)
            told = (Op.HELLO, Op.SELFTEST, Op.FLASH) if self.flash else (Op.HELLO, Op.SELFTEST)
            with m.If(self.i_testing & ~frame.op.matches(*told)):
                self._end(m, Status.BUSY)

    def _tell(self, m, value, status=Status.OK):
        """Fill the reply with the bytes of a value, the low one first; ``status`` None: it has been set."""
        value = Value.cast(value)
        m.d.comb += [self.o_write.eq(1), self.o_byte.eq(value.word_select(self.fill, 8))]
        with m.If(self.fill == len(value) // 8 - 1):
            m.next = "answer"
            if status is not None:
                m.d.sync += self.status.eq(status)

    def _words_of_the_bridge(self, m):
        """HELLO, RESET, SELFTEST, FLASH and SPEED."""
        speed = Signal(SPEED)
        m.d.comb += [speed.clock_hz.eq(self.clock_hz), speed.divisor.eq(self.i_divisor)]
        m.d.comb += self.o_divisor.eq(self.word)
        with m.State("hello"):
            self._tell(m, Const(int.from_bytes(self.hello, "little"), 8 * len(self.hello)))
        with m.State("reset"):
            m.d.comb += self.o_reset.eq(1)
            m.next = "in reset"
        with m.State("in reset"):
            with m.If(~self.i_busy):
                self._end(m)
        with m.State("self-test"):
            m.d.comb += self.o_test.eq(self.i_byte == 1)
            m.next = "verdict"
            with m.If(self.i_byte > 1):
                self._end(m, Status.LENGTH)
        with m.State("verdict"):
            self._tell(m, self.i_verdict)
        if self.flash:
            with m.State("flash"):
                self._tell(m, self.i_flash)
        with m.State("speed"):
            m.next = "tell speed"
            with m.If(self.i.payload.length != 0):
                m.next = "divisor"
        with m.State("divisor"):

            def after_divisor(value):
                self._end(m, Status.LENGTH)
                with m.If((value >= MIN_DIVISOR) & (value < 1 << DIVISOR_BITS)):
                    m.next = "set speed"

            self._field(m, self.word, 4, after_divisor)
        with m.State("set speed"):
            m.d.comb += self.o_speed.eq(1)
            m.next = "tell speed"
        with m.State("tell speed"):
            self._tell(m, speed)

    def _field(self, m, target, size, after):
        """Take the bytes of a number into the high end of ``target``; with the last one, ``after(target)``."""
        value = Cat(target[8:], self.i_byte)
        m.d.comb += self.take.eq(1)
        m.d.sync += [target.eq(value), self.part.eq(self.part + 1)]
        with m.If(self.part == size - 1):
            m.d.sync += self.part.eq(0)
            after(value)

    def _fields(self, m):
        """The numbers at the beginning of a payload, and what they must be."""
        op, length = self.i.payload.op, self.i.payload.length

        def after_address(value):
            m.next = "count"
            with m.If(op == Op.WRITE):
                m.d.sync += self.count.eq((length >> 2) - 1)
                m.next = "range of registers"
            if self.memory_bytes:
                with m.If(op == Op.MEM_WRITE):
                    m.d.sync += self.count.eq(length - 4)
                    m.next = "range of memory"

        def after_count(value):
            with m.Switch(op):
                for kind, most, state in (
                    (Op.READ, MAX_PAYLOAD // 4, "range of registers"),
                    (Op.MEM_READ, MAX_PAYLOAD, "range of memory"),
                    (Op.Y, self.most_y, "output"),
                ):
                    if kind == Op.MEM_READ and not self.memory_bytes:
                        continue
                    with m.Case(kind):
                        m.d.comb += self.begin_wait.eq(1)
                        self._end(m, Status.LENGTH)
                        right = (value != 0) & (value <= most)
                        if kind == Op.MEM_READ:
                            right &= value[:2] == 0
                        with m.If(right):
                            m.next = state

        with m.State("address"):
            self._field(m, self.address, 4, after_address)
        with m.State("count"):
            self._field(m, self.count, 2, after_count)

        ranges = {"registers": (self.count << 2, 1 << ADDRESS_BITS)}
        if self.memory_bytes:
            ranges["memory"] = (self.count, self.memory_bytes)
        for place, (size, end) in ranges.items():
            with m.State(f"range of {place}"):
                m.d.comb += self.begin_wait.eq(1)
                self._end(m, Status.LENGTH)
                with m.If((self.address[:2] == 0) & (self.address + size <= end)):
                    m.next = "value" if place == "registers" else "memory"
                    if place == "registers":
                        with m.If(op == Op.READ):
                            m.next = "access"

    def _registers(self, m):
        """READ and WRITE; ``address`` and ``count`` are of the words that are left."""
        master = self.master
        writes = self.i.payload.op == Op.WRITE
        done = self.done
        m.d.comb += [
            master.i.payload.write.eq(writes),
            master.i.payload.address.eq(self.address),
            master.i.payload.data.eq(self.word),
        ]

        def next_word():
            m.d.sync += [self.address.eq(self.address + 4), self.count.eq(self.count - 1), done.eq(done + 1)]
            m.d.comb += self.begin_wait.eq(1)
            m.next = "value"
            with m.If(~writes):
                m.next = "access"
            with m.If(self.count == 1):
                self._end(m)

        def give_up(status):
            """The reply tells how many words there were before."""
            self._end(m, status)
            m.next = "given up"

        with m.State("value"):

            def after_value(value):
                m.d.comb += self.begin_wait.eq(1)
                m.next = "access"

            self._field(m, self.word, 4, after_value)
        with m.State("access"):
            m.d.comb += master.i.valid.eq(self.left != 0)
            with m.If(self.left == 0):
                give_up(Status.TIMEOUT)
            with m.Elif(master.i.ready):
                m.next = "register"
            with m.If(self.i_busy):
                self._end(m, Status.BUSY)
        with m.State("register"):
            with m.If(master.o_done):
                m.d.sync += self.word.eq(master.o_data)
                with m.If(master.o_refused):
                    give_up(Status.REFUSED)
                with m.Elif(writes):
                    next_word()
                with m.Else():
                    m.next = "show"
            with m.Elif(self.left == 0):
                give_up(Status.TIMEOUT)
            with m.If(self.i_busy):
                self._end(m, Status.BUSY)
        with m.State("show"):
            m.d.comb += [self.o_write.eq(1), self.o_byte.eq(self.word)]
            m.d.sync += [self.word.eq(self.word >> 8), self.part.eq(self.part + 1)]
            with m.If(self.part == 3):
                m.d.sync += self.part.eq(0)
                next_word()
        with m.State("given up"):
            self._tell(m, done, None)

    def _streams(self, m):
        """X and Y."""
        length, x, y = self.i.payload.length, self.x, self.y
        flag, ends, value = Signal(), Signal(), Signal(8 * self.x_bytes)
        m.d.comb += [
            x.payload.data.eq(Cat(value[8:], self.i_byte)),
            x.payload.last.eq(flag & (self.cursor == length - 1)),
            ends.eq(self.part == self.x_bytes - 1),
        ]

        def taken(status):
            self._end(m, status)
            m.next = "taken"

        with m.State("flag"):
            m.d.comb += [self.take.eq(1), self.begin_wait.eq(1)]
            m.d.sync += flag.eq(self.i_byte[0])
            m.next = "beat"
            with m.If(self.i_byte > 1):
                self._end(m, Status.LENGTH)
        with m.State("beat"):
            # The last byte of a beat waits until the beat is taken.
            m.d.comb += [x.valid.eq(ends), self.take.eq(~ends | x.ready)]
            with m.If(self.take):
                m.d.sync += [value.eq(x.payload.data), self.part.eq(self.part + 1)]
            with m.If(ends & x.ready):
                m.d.comb += self.begin_wait.eq(1)
                m.d.sync += [self.part.eq(0), self.done.eq(self.done + 1)]
                with m.If(self.cursor == length - 1):
                    taken(Status.OK)
            with m.Elif(self.left == 0):
                taken(Status.TIMEOUT)
            with m.If(self.i_busy):
                self._end(m, Status.BUSY)
        with m.State("taken"):
            waiting = Signal(16)
            m.d.comb += waiting.eq(self.i_y_level)
            self._tell(m, Cat(self.done, waiting), None)

        with m.State("output"):
            m.d.comb += self.o_byte.eq(Cat(y.payload.data, y.payload.last).word_select(self.part, 8))
            with m.If(y.valid):
                m.d.comb += self.o_write.eq(1)
                m.d.sync += self.part.eq(self.part + 1)
                with m.If(self.part == self.y_bytes):
                    m.d.comb += [y.ready.eq(1), self.begin_wait.eq(1)]
                    m.d.sync += [self.part.eq(0), self.count.eq(self.count - 1)]
                    with m.If(self.count == 1):
                        self._end(m)
            with m.Elif(self.left == 0):  # what came is told
                m.d.sync += self.status.eq(Status.TIMEOUT)
                m.next = "answer"
            with m.If(self.i_busy):
                self._end(m, Status.BUSY)

    def _memory(self, m):
        """MEM_WRITE and MEM_READ; ``address`` and ``count`` are of the bytes that are left."""
        if not self.memory_bytes:
            return
        writes = self.i.payload.op == Op.MEM_WRITE
        m.d.comb += [
            self.memory.payload.write.eq(writes),
            self.memory.payload.address.eq(self.address),
            self.memory.payload.byte.eq(self.i_byte),
        ]

        def next_byte():
            m.d.sync += [self.address.eq(self.address + 1), self.count.eq(self.count - 1)]
            m.next = "memory"
            with m.If(self.count == 1):
                self._end(m)

        with m.State("memory"):
            with m.If(self.left == 0):
                self._end(m, Status.TIMEOUT)
            with m.Else():
                m.d.comb += self.memory.valid.eq(1)
                with m.If(self.memory.ready):
                    m.d.comb += [self.take.eq(writes), self.begin_wait.eq(1)]
                    with m.If(writes):
                        next_byte()
                    with m.Else():
                        m.next = "memory byte"
        with m.State("memory byte"):
            m.d.comb += self.o_byte.eq(self.i_memory_byte)
            with m.If(self.i_memory_done):
                m.d.comb += [self.o_write.eq(1), self.begin_wait.eq(1)]
                next_byte()
            with m.Elif(self.left == 0):
                self._end(m, Status.TIMEOUT)
