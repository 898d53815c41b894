"""LoadPath: from LOAD commands to beats on their way into the weight memories, over all weight ports."""

from functools import reduce

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import bits_for

from ..machine.config import EngineConfig
from ..machine.isa import BEATS_BITS, WORD_BITS
from ..machine.registers import CODE_BITS, ErrorCode
from .axi import Axi4Read
from .fill_unit import FillUnit
from .instruction import command_layout
from .lane_group import fill_layout
from .load_unit import LoadUnit
from .stream_fork import StreamFork
from .token_joiner import TokenJoiner
from .unpack_unit import UnpackUnit


class LoadPath(wiring.Component):
    """A :class:`LoadUnit` and a :class:`FillUnit` for each weight port, each of which brings its part of every word.

    The one port of an engine with a decoder has an :class:`UnpackUnit` instead.

    All ports execute the same LOADs, each on its own image, and get the same credit for the ring. They may drift apart,
    by the LOADs that the fill units can await and by the room of the ring; a word counts when every port has brought
    its part.

    Parameters
    ----------
    config : EngineConfig

    Members
    -------
    i : stream of LOAD commands
    i_start, i_stop, i_timeout : In
        As of :class:`LoadUnit`, for all ports.
    i_restart : In(1)
        Forget all LOADs; the load units, which know what their buses owe, stay as they are.
    i_weights : list of In(address bits)
        Byte address of each port's image.
    i_ring, i_ring_base, where weights stream
        The words from this one on become the ring, empty; they are the credit of the ports.
    i_release : In, where weights stream
        Ring words that become free in this cycle.
    bus : list of Axi4Read, out
    o_fill : list of Out
        A beat of each port on its way to the lane groups.
    o_fresh, o_ring_word : Out(1)
        Every port has brought its part of a resident word or, where weights stream, of a ring word.
    o_beats : Out
        Beats that were received in this cycle, the sum over the ports.
    o_error, o_error_address, o_error_port : Out
        As of :class:`LoadUnit`, from the first port that has met an error, and the number of that port; of an address
        without an error nothing is known.
    o_moves : Out(1)
        Some port takes a request or a beat in this cycle.
    o_waiting : Out(1)
        Requested beats are owed.
    o_quiet : Out(1)
        Every :class:`LoadUnit` is idle.
    o_idle : Out(1)
        Quiet, and no LOAD waits for beats.

    Timing
    ------
    A LOAD is taken by a port in the cycle in which it is offered. With one port, or with ports that are answered in the
    same cycles, ``o_fresh`` and ``o_ring_word`` follow the last beat of a word by two cycles; else the later one's.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        ports, words = config.axi_ports, range(config.weight_words + 1)
        super().__init__(
            {
                "i": In(stream.Signature(command_layout("LOAD", config))),
                "i_start": In(1),
                "i_stop": In(1),
                "i_restart": In(1),
                "i_timeout": In(32),
                "i_weights": In(config.axi_address_bits).array(ports),
                **({"i_ring": In(1), "i_ring_base": In(WORD_BITS), "i_release": In(words)} if config.streams else {}),
                "bus": Out(Axi4Read(config.axi_address_bits, config.axi_data_bits)).array(ports),
                "o_fill": Out(fill_layout(config)).array(ports),
                "o_fresh": Out(1),
                **({"o_ring_word": Out(1)} if config.streams else {}),
                "o_beats": Out(range(ports + 1)),
                "o_moves": Out(1),
                "o_error": Out(3 if config.decoder == "off" else CODE_BITS),
                "o_error_address": Out(config.axi_address_bits),
                "o_error_port": Out(bits_for(ports - 1)),
                "o_waiting": Out(1),
                "o_quiet": Out(1),
                "o_idle": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        # Each port has a load unit, which reads, and a fill unit in front of it, which knows where the beats go. Loads
        # are forked to all ports; tokens of words are given when every port has its part.
        m = Module()
        config = self.config
        fresh = ResetInserter(self.i_restart)
        m.submodules.fork = fork = fresh(StreamFork(self.i.payload.shape(), config.axi_ports))
        connect(m, flipped(self.i), fork.i)

        credit = self._credit(m) if config.streams else None
        fills, loads = zip(
            *(self._port(m, port, fresh, fork.o[port], credit) for port in range(config.axi_ports)), strict=True
        )

        def joined(a, b):
            joiner = fresh(TokenJoiner(config.weight_words))
            m.submodules += joiner
            m.d.comb += [joiner.i_a.eq(a), joiner.i_b.eq(b)]
            return joiner.o

        m.d.comb += [
            self.o_fresh.eq(reduce(joined, [fill.o_fresh for fill in fills])),
            self.o_beats.eq(sum(load.o_beats for load in loads)),
            self.o_moves.eq(Cat(load.o_moves for load in loads).any()),
            self.o_waiting.eq(Cat(load.o_waiting for load in loads).any()),
            self.o_quiet.eq(Cat(load.o_idle for load in loads).all()),
            self.o_idle.eq(self.o_quiet & Cat(fill.o_idle for fill in fills).all()),
        ]
        if config.streams:
            m.d.comb += self.o_ring_word.eq(reduce(joined, [fill.o_ring_word for fill in fills]))
        m.d.comb += [self.o_error.eq(loads[-1].o_error), self.o_error_address.eq(loads[-1].o_error_address)]
        for port, load in reversed(list(enumerate(loads))):
            with m.If(load.o_error != 0):
                m.d.comb += self.o_error_port.eq(port)
                if load is not loads[-1]:
                    m.d.comb += [self.o_error.eq(load.o_error), self.o_error_address.eq(load.o_error_address)]
        if config.decoder != "off":
            with m.If(fills[0].o_bad & (loads[0].o_error == 0)):
                m.d.comb += [self.o_error.eq(ErrorCode.MALFORMED), self.o_error_address.eq(fills[0].o_bad_address)]
        return m

    def _credit(self, m):
        """The ring's room is the credit of every port, in beats of that port."""
        config = self.config
        ring_words = Signal.like(self.i_release)
        credit_words = Signal.like(self.i_release)
        credit = Signal(BEATS_BITS)
        m.d.comb += [
            ring_words.eq(config.weight_words - self.i_ring_base),
            credit_words.eq(Mux(self.i_ring, ring_words, self.i_release)),
        ]
        m.d.sync += credit.eq(credit_words * config.beats_per_word)
        return credit

    def _port(self, m, port, fresh, forked, credit):
        """Fill unit and load unit of a port."""
        config = self.config
        decodes = config.decoder != "off"
        m.submodules[f"fill_unit{port}"] = fill = fresh((UnpackUnit if decodes else FillUnit)(config))
        m.submodules[f"load_unit{port}"] = load = LoadUnit(
            config.axi_address_bits,
            config.axi_data_bits,
            config.outstanding,
            config.max_burst,
            decodes,
            fill.o.payload.shape(),
        )
        connect(m, forked, fill.i)
        connect(m, fill.o, load.i)
        connect(m, load.bus, flipped(self.bus[port]))
        m.d.comb += [
            load.base.eq(self.i_weights[port]),
            load.i_start.eq(self.i_start),
            load.i_timeout.eq(self.i_timeout),
            load.i_stop.eq(self.i_stop),
            fill.i_beat.eq(load.o_valid),
            fill.i_data.eq(load.o.data),
            self.o_fill[port].eq(fill.o_fill),
        ]
        if config.streams:
            m.d.comb += [
                load.i_capacity.eq(0),
                load.i_credit.eq(0 if decodes else credit),
                fill.i_ring.eq(self.i_ring),
                fill.i_ring_base.eq(self.i_ring_base),
            ]
        if decodes:
            m.d.comb += [fill.i_release.eq(self.i_release), fill.i_address.eq(load.o_address)]
        return fill, load
