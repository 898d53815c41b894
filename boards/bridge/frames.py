"""Frames of the host protocol: found in a stream of bytes, and sent."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.crc import Algorithm
from amaranth.lib.wiring import In, Out

from lstm_hw.host.protocol import REPLY, REQUEST

MAX_PAYLOAD = 1024
"""Bytes that a request or a reply carries at most; a power of two."""
LENGTH_BITS = 16
INDEX_BITS = (MAX_PAYLOAD - 1).bit_length()
"""Width of a place in a payload."""
FRAME = data.StructLayout({"number": 8, "op": 8, "length": LENGTH_BITS, "wrong": 1})
"""A request whose payload is in the buffer, or too long for it; ``wrong``: its CRC was."""
ANSWER = data.StructLayout({"number": 8, "status": 8, "length": LENGTH_BITS})
"""A reply whose payload is in the buffer."""
_CRC = Algorithm(
    crc_width=16,
    polynomial=0x1021,
    initial_crc=0xFFFF,
    reflect_input=False,
    reflect_output=False,
    xor_output=0,
)(data_width=8)


class FrameReceiver(wiring.Component):
    """Finds requests in a stream of bytes.

    Whatever is no request is dropped, a request that is cut off after ``gap`` cycles without a byte. One whose payload
    is longer than the buffer is offered as soon as it says so.

    Parameters
    ----------
    gap : int
        Cycles between two bytes after which a request counts as cut off.

    Members
    -------
    i_valid : In(1)
    i_data : In(8)
        A byte; dropped while a request is offered on ``o``.
    i_broken : In(1)
        A byte was damaged: the request that it was part of is dropped.
    o : stream of FRAME, out
    o_write : Out(1)
    o_index : Out
    o_byte : Out(8)
        A byte of the payload and its place.
    """

    def __init__(self, gap):
        self.gap = gap
        super().__init__(
            {
                "i_valid": In(1),
                "i_data": In(8),
                "i_broken": In(1),
                "o": Out(stream.Signature(FRAME)),
                "o_write": Out(1),
                "o_index": Out(INDEX_BITS),
                "o_byte": Out(8),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = _CRC.create()
        found, byte = self.o.payload, self.i_data
        place, left = Signal(LENGTH_BITS), Signal(range(self.gap))
        inside = Signal()
        length = Cat(found.length[8:], byte)
        m.d.comb += [crc.data.eq(byte), self.o_index.eq(place), self.o_byte.eq(byte)]
        m.d.sync += left.eq(Mux(self.i_valid | ~inside, self.gap - 1, left - 1))

        def within(checked=True):
            """What all states of a frame do; the CRC is over the bytes of most."""
            m.d.comb += [inside.eq(1), crc.valid.eq(self.i_valid & checked)]
            with m.If(self.i_broken | (left == 0) & ~self.i_valid):
                m.next = "hunt"

        with m.FSM():
            with m.State("hunt"):
                m.d.comb += crc.start.eq(1)
                m.d.sync += [found.wrong.eq(0), place.eq(0)]
                with m.If(self.i_valid & (byte == REQUEST)):
                    m.next = "number"
            for field, after in (("number", "op"), ("op", "length")):
                with m.State(field):
                    with m.If(self.i_valid):
                        m.d.sync += found[field].eq(byte)
                        m.next = after
                    within()
            with m.State("length"):
                with m.If(self.i_valid):
                    m.d.sync += [found.length.eq(length), place.eq(1)]
                    with m.If(place == 1):
                        m.d.sync += place.eq(0)
                        m.next = "payload"
                        with m.If(length == 0):
                            m.next = "crc"
                        with m.Elif(length > MAX_PAYLOAD):
                            m.next = "held"
                within()
            with m.State("payload"):
                m.d.comb += self.o_write.eq(self.i_valid)
                with m.If(self.i_valid):
                    m.d.sync += place.eq(place + 1)
                    with m.If(place == found.length - 1):
                        m.d.sync += place.eq(0)
                        m.next = "crc"
                within()
            with m.State("crc"):
                with m.If(self.i_valid):
                    right = crc.crc.word_select(place[0], 8)
                    m.d.sync += [found.wrong.eq(found.wrong | (byte != right)), place.eq(1)]
                    with m.If(place == 1):
                        m.next = "held"
                within(checked=False)
            with m.State("held"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.next = "hunt"
        return m


class FrameSender(wiring.Component):
    """Sends replies.

    Members
    -------
    i : stream of ANSWER, in
        Taken when its last byte has been.
    o_index : Out
        Place of the byte of the payload that ``i_byte`` must be in the cycle after.
    i_byte : In(8)
    o : stream of 8 bits, out
    """

    def __init__(self):
        super().__init__(
            {
                "i": In(stream.Signature(ANSWER)),
                "o_index": Out(INDEX_BITS),
                "i_byte": In(8),
                "o": Out(stream.Signature(8)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = _CRC.create()
        answer = self.i.payload
        head = Cat(Const(REPLY, 8), answer.number, answer.status, answer.length)
        head_bytes = len(head) // 8
        place, next_place = Signal(LENGTH_BITS), Signal(LENGTH_BITS)
        taken = self.o.valid & self.o.ready
        m.d.comb += [next_place.eq(place), self.o_index.eq(next_place), crc.data.eq(self.o.payload)]
        m.d.sync += place.eq(next_place)

        def part(value, length, after):
            m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(value)]
            with m.If(taken):
                m.d.comb += next_place.eq(place + 1)
                with m.If(place == length - 1):
                    m.d.comb += next_place.eq(0)
                    m.next = after

        with m.FSM():
            with m.State("rest"):
                m.d.comb += crc.start.eq(1)
                with m.If(self.i.valid):
                    m.next = "head"
            with m.State("head"):
                m.d.comb += crc.valid.eq(taken & (place != 0))
                part(head.word_select(place[:3], 8), head_bytes, "payload")
                with m.If(taken & (place == head_bytes - 1) & (answer.length == 0)):
                    m.next = "crc"
            with m.State("payload"):
                m.d.comb += crc.valid.eq(taken)
                part(self.i_byte, answer.length, "crc")
            with m.State("crc"):
                part(crc.crc.word_select(place[0], 8), 2, "taken")
            with m.State("taken"):
                m.d.comb += self.i.ready.eq(1)
                m.next = "rest"
        return m
