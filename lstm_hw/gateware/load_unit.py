"""Load unit: AXI4 read master that fetches weight words in order."""

from types import SimpleNamespace

from amaranth import *
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ..errors import ConfigError
from ..machine.isa import BEATS_BITS
from ..machine.latency import BEAT, REQUEST, in_flight
from ..machine.limits import MAX_BURST
from ..machine.registers import ErrorCode
from .axi import BURST_INCR, DECERR, PAGE_BYTES, Axi4Read
from .burst_splitter import BurstSplitter, load_descriptor
from .timeout import Timeout

CACHE_MODIFIABLE = 0b0011
"""ARCACHE of normal, non-cacheable, bufferable memory: interconnects may resize these bursts."""


class LoadUnit(wiring.Component):
    """Executes load descriptors over AXI4 and delivers the beats in order.

    Descriptors become INCR bursts that are as long as possible and never cross 4 KiB (see
    :class:`BurstSplitter`); several are in flight. A burst of a *credited* descriptor is requested
    once the whole burst fits in the free buffer space that the consumer has reported, so the
    consumer never has to refuse a beat and RREADY is always high.

    Beats are counted: a burst has as many as were asked for, whatever RLAST says, and RLAST on another
    beat than the last, or a beat that nobody asked for, is an error.

    The first error ends the run: no new requests, queued descriptors are dropped, beats still owed
    are taken and discarded. ``i_stop`` does the same without an error. Both last until the next
    ``i_start``. An ARVALID that is up stays up until ARREADY in any case, so the bus is never left
    in the middle of a transaction. Beats that are still owed at a start are discarded when they
    come; after an error of RLAST they are taken to have been cut off, and forgotten.

    Parameters
    ----------
    address_bits : int
        Width of ARADDR, 32 to 64.
    data_bits : int
        Width of RDATA, a power of two from 64 to 1024. A beat is ``data_bits`` wide.
    outstanding : int
        Latency to hide, in bursts, 1 to 64 (see Timing).
    max_burst : int, optional
        Longest burst in beats, 1 to 256 and at most 4 KiB; the longest such by default.
    address : bool
        Whether there is ``o_address``.
    descriptor : StructLayout, optional
        Of :func:`load_descriptor`, which says how long images may be; ``i_capacity`` and ``i_credit`` are there if
        some descriptors are credited.

    Members
    -------
    i : stream of descriptors, in
        ``offset`` from ``base`` in beats (32 bits), ``beats`` (24 bits, 0 has no effect) and
        ``credited``. The addresses are taken modulo the address space; the descriptor must lie
        inside the image.
    base : In(address_bits)
        Byte address of the weight image, a multiple of ``data_bits / 8`` (lower bits are taken as
        0). Stable while not idle.
    i_start : In(1)
        Begin a run: ``i_capacity`` becomes the free space, error and stop are cleared. The unit must be
        idle or stopped.
    i_capacity : In(24)
        Beats of buffer space at the start.
    i_credit : In(24)
        Beats of buffer space added or given back in this cycle. A burst is never shortened to fit, so
        the buffer must hold at least ``max_burst`` beats in all, and free space below 2**24.
    i_stop : In(1)
        Abandon the run; the unit stays stopped until ``i_start``. A descriptor that is accepted in the
        first cycle of ``i_stop`` is dropped like those accepted before; from the next on ``i.ready``
        is low.
    i_timeout : In(32)
        Cycles without progress, that is with something owed but neither an AR nor an R handshake,
        after which TIMEOUT is raised; 0 is never. Stable while beats are owed.
    bus : Axi4Read(address_bits, data_bits), out
        One ID, all beats full width. Payloads are stable while VALID waits for READY.
    o : Out({data, first, last})
        A beat, and whether it is the first and the last of its descriptor.
    o_address : Out(address_bits), with ``address`` only
        Byte address of the beat on ``o``.
    o_valid : Out(1)
        ``o`` is a beat in this cycle. There is no ready: the consumer takes it.
    o_beats : Out(1)
        A beat was received that was asked for since the start, delivered or not.
    o_moves : Out(1)
        A handshake of a request or of a beat that is owed, in this cycle.
    o_error : Out(3)
        First error since the start: an :class:`lstm_hw.machine.registers.ErrorCode`: NONE, SLVERR, DECERR, TIMEOUT or
        RLAST.
    o_error_address : Out(address_bits)
        Byte address of the beat that failed or, for a time-out, of the oldest beat owed.
    o_waiting : Out(1)
        Requested beats are owed; low while a descriptor waits for credit only.
    o_idle : Out(1)
        Nothing queued, nothing requested, no beat owed, no beat on ``o``.

    Attributes
    ----------
    request_latency : int
        Cycles from the acceptance of a descriptor to its first ARVALID, the unit being idle and
        credit at hand: 4.
    beat_latency : int
        Cycles from an R handshake to ``o_valid``, ``o_beats`` and ``o_error``: 1.
    in_flight : int
        Most bursts requested and not yet received, ``outstanding + 2``: one is being received and
        one covers the turn-round of the slot that the last beat frees.

    Timing
    ------
    One AR and one beat a cycle. With ``e[k]`` of :class:`BurstSplitter`, ``x[k] + 1`` the first
    cycle of burst k's ARVALID, ``h[k]`` the cycle of its AR handshake, ``r[k]`` that of its last R
    handshake and ``g[k]`` the cycle of the ``i_credit`` (or ``i_start``) that makes it fit::

        x[k] = max(e[k] + 1, h[k-1], r[k - in_flight] + 1, g[k] + 1 if credited)

    so burst k's ARVALID rises in cycle ``accepted + 4 + k`` if nothing holds it up. Hence beats
    follow one another without a gap, across bursts and queued descriptors, on a slave that takes an
    AR in every cycle and starts to answer L cycles later, as long as L is at most ``outstanding``
    times the burst length.

    From the cycle after ``i_stop``, and from the second cycle after a failing beat, no ARVALID
    rises. Neither a failing beat nor any beat after it or from the first cycle of ``i_stop`` on is
    delivered. ``o_error`` is set in the cycle after the last of ``i_timeout`` successive cycles
    without progress; they are counted from the cycle after the latest AR or R handshake, or after
    ARVALID rose with nothing else owed.

    After a time-out the unit keeps ARVALID up and takes the beats owed whenever they come, as AXI
    demands; ``o_idle`` stays low until then. On a dead bus only a reset of the bus, this unit
    included, helps.

    Raises
    ------
    ConfigError
        A parameter is out of range.
    """

    request_latency = BurstSplitter.latency + REQUEST
    beat_latency = BEAT

    def __init__(
        self,
        address_bits: int,
        data_bits: int,
        outstanding: int = 8,
        max_burst: int | None = None,
        address: bool = False,
        descriptor: data.StructLayout | None = None,
    ):
        def check(name, value, valid, rule):
            if not isinstance(value, int) or not valid(value):
                raise ConfigError(f"LoadUnit {name}", repr(value), rule)

        check("address_bits", address_bits, lambda v: 32 <= v <= 64, "must be between 32 and 64")
        check("data_bits", data_bits, lambda v: v in (64, 128, 256, 512, 1024), "must be a power of two, 64 to 1024")
        check("outstanding", outstanding, lambda v: 1 <= v <= 64, "must be between 1 and 64")
        longest = min(MAX_BURST, PAGE_BYTES * 8 // data_bits)
        max_burst = longest if max_burst is None else max_burst
        check("max_burst", max_burst, lambda v: 1 <= v <= longest, f"must be between 1 and {longest} beats")
        self.address_bits, self.data_bits, self.address = address_bits, data_bits, address
        self.outstanding, self.max_burst = outstanding, max_burst
        self.in_flight = in_flight(outstanding)
        self.descriptor = descriptor or load_descriptor()
        self.credited = "credited" in self.descriptor.members
        super().__init__(
            {
                "i": In(stream.Signature(self.descriptor)),
                "base": In(address_bits),
                "i_start": In(1),
                **({"i_capacity": In(BEATS_BITS), "i_credit": In(BEATS_BITS)} if self.credited else {}),
                "i_stop": In(1),
                "i_timeout": In(32),
                "bus": Out(Axi4Read(address_bits, data_bits)),
                "o": Out(data.StructLayout({"data": data_bits, "first": 1, "last": 1})),
                **({"o_address": Out(address_bits)} if address else {}),
                "o_valid": Out(1),
                "o_beats": Out(1),
                "o_moves": Out(1),
                "o_error": Out(3),
                "o_error_address": Out(address_bits),
                "o_waiting": Out(1),
                "o_idle": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.splitter = splitter = BurstSplitter(
            self.address_bits, self.data_bits, self.max_burst, self.descriptor
        )
        layout = data.StructLayout({"word": splitter.word_bits, "arlen": 8, "first": 1, "last": 1})
        # Bursts requested behind the one that is being received, which stands in _beats.
        forget = Signal()  # what is owed at a start was cut off
        owed = fifo.SyncFIFO(width=layout.size, depth=self.in_flight - 1)
        m.submodules.owed = ResetInserter(forget)(owed)
        request = Signal(layout)
        oldest = data.View(layout, owed.r_data)

        halted = Signal()
        live = Signal()
        receiving = Signal()
        m.d.comb += [
            live.eq(~halted & ~self.i_stop),
            forget.eq(self.i_start & (self.o_error == ErrorCode.RLAST) & ~self.bus.arvalid),
            self.o_waiting.eq(owed.r_rdy | receiving),
            self.o_idle.eq(splitter.o_idle & ~self.o_waiting & ~self.o_valid),
        ]

        connect(m, flipped(self.i), splitter.i)
        burst = splitter.o.payload
        m.d.comb += [
            splitter.i_base.eq(self.base[self.address_bits - splitter.word_bits :]),
            splitter.i_flush.eq(halted),
            request.word.eq(burst.word),
            request.arlen.eq(burst.length - 1),
            request.first.eq(burst.first),
            request.last.eq(burst.last),
            owed.w_data.eq(request),
        ]
        commit, ar_handshake = self._requests(m, splitter.o, request, owed.w_rdy & live)
        beats = self._beats(m, oldest, owed.r_rdy, receiving, splitter.page_bits)
        stale = self._stale(m, commit, beats.ends, forget)
        m.submodules.timeout = timeout = Timeout()
        failed = Signal()
        expired = timeout.o_expired
        m.d.comb += [
            owed.w_en.eq(commit),
            owed.r_en.eq(beats.take),
            failed.eq(beats.failed & ~stale),
            self.o_moves.eq(ar_handshake | beats.handshake),
            timeout.i_cycles.eq(self.i_timeout),
            timeout.i_waiting.eq(receiving),
            timeout.i_progress.eq(self.o_moves),
        ]
        m.d.sync += [
            receiving.eq(~forget & (beats.take | (receiving & ~beats.ends))),
            self.o_valid.eq(beats.handshake & live & ~failed & ~stale),
            self.o_beats.eq(beats.handshake & ~stale),
        ]

        error_word = Signal(splitter.word_bits, reset_less=True)
        m.d.comb += self.o_error_address.eq(Cat(C(0, self.address_bits - splitter.word_bits), error_word))
        response = Mux(self.bus.rresp == DECERR, ErrorCode.DECERR, ErrorCode.SLVERR)
        error = Mux(expired, ErrorCode.TIMEOUT, Mux(beats.answered, response, ErrorCode.RLAST))
        with m.If(self.i_start):
            m.d.sync += [halted.eq(0), self.o_error.eq(ErrorCode.NONE)]
        with m.Else():
            with m.If(failed | expired | self.i_stop):
                m.d.sync += halted.eq(1)
            with m.If((failed | expired) & (self.o_error == ErrorCode.NONE)):
                m.d.sync += [self.o_error.eq(error), error_word.eq(beats.word)]
        return m

    def _stale(self, m, commit, ends, forget):
        """Whether the burst that is being received was asked for before the start."""
        bursts = Signal(range(self.in_flight + 1))  # requested, and not wholly received
        left = Signal.like(bursts, name="stale")
        after = Signal.like(bursts)
        m.d.comb += after.eq(bursts + Mux(commit ^ ends, Mux(commit, 1, -1), 0))
        m.d.sync += bursts.eq(Mux(forget, 0, after))
        with m.If(self.i_start):
            m.d.sync += left.eq(Mux(forget, 0, after))
        with m.Elif(ends & (left != 0)):
            m.d.sync += left.eq(left - 1)
        return left != 0

    def _requests(self, m, bursts, request, allowed):
        """Read address channel: the next burst enters the AR register once a slot and credit are there."""
        bus, burst = self.bus, bursts.payload
        shift = self.address_bits - len(request.word)
        address = Signal(len(request.word), reset_less=True)
        arlen = Signal(8, reset_less=True)
        commit = Signal()
        fits = self._credit(m, burst, commit) if self.credited else 1
        m.d.comb += [
            commit.eq(bursts.valid & allowed & fits & (~bus.arvalid | bus.arready)),
            bursts.ready.eq(commit),
            bus.araddr.eq(Cat(C(0, shift), address)),
            bus.arlen.eq(arlen),
            bus.arsize.eq(shift),
            bus.arburst.eq(BURST_INCR),
            bus.arcache.eq(CACHE_MODIFIABLE),
        ]
        with m.If(commit):
            m.d.sync += [address.eq(request.word), arlen.eq(request.arlen), bus.arvalid.eq(1)]
        with m.Elif(bus.arready):
            m.d.sync += bus.arvalid.eq(0)
        return commit, bus.arvalid & bus.arready

    def _credit(self, m, burst, commit):
        """Whether the buffer has room for a burst."""
        free = Signal(BEATS_BITS)
        with m.If(self.i_start):
            m.d.sync += free.eq(self.i_capacity)
        with m.Elif(commit & burst.credited):
            m.d.sync += free.eq(free + self.i_credit - burst.length)
        with m.Else():
            m.d.sync += free.eq(free + self.i_credit)
        return ~burst.credited | (free >= burst.length)

    def _beats(self, m, oldest, oldest_valid, receiving, page_bits):
        """Read data channel: follows the burst that is being received and registers its beats on the output."""
        bus = self.bus
        current = Signal(oldest.shape(), reset_less=True)  # word of the next beat, beats after it, first, last
        final = Signal(reset_less=True)
        beat = Signal(self.o.shape(), reset_less=True)
        handshake = Signal()
        failed = Signal()
        ends = Signal()
        take = Signal()
        answered = Signal()
        m.d.comb += [
            bus.rready.eq(1),
            handshake.eq(bus.rvalid & receiving),
            answered.eq(handshake & bus.rresp[1]),
            failed.eq(answered | (bus.rvalid & (~receiving | (bus.rlast != final)))),
            ends.eq(handshake & final),
            take.eq(oldest_valid & (ends | ~receiving)),
            self.o.eq(beat),
        ]
        not_left = Signal(8, name="beats_not_left", reset_less=True)  # behind this one; sums up take carries alone
        with m.If(take):
            m.d.sync += [current.eq(oldest), not_left.eq(~oldest.arlen), final.eq(oldest.arlen == 0)]
        with m.Elif(handshake):
            # No carry into the page number, since no burst leaves its page.
            m.d.sync += [
                current.word[:page_bits].eq(current.word[:page_bits] + 1),
                current.first.eq(0),
                not_left.eq(not_left + 1),
                final.eq(~not_left == 1),
            ]
        # Whether it is one, ``o_valid`` says.
        m.d.sync += [beat.data.eq(bus.rdata), beat.first.eq(current.first), beat.last.eq(current.last & final)]
        if self.address:
            m.d.sync += self.o_address.eq(Cat(C(0, self.address_bits - len(current.word)), current.word))
        return SimpleNamespace(
            take=take, handshake=handshake, answered=answered, failed=failed, ends=ends, word=current.word
        )
