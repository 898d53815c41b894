"""Checker: compares a stream with what was expected."""

from amaranth import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out


def beat_layout(bits):
    """One beat of the output stream."""
    return data.StructLayout({"data": bits, "last": 1})


def expectation_layout(bits):
    """One expected beat; ``ends`` marks the last one of a test vector."""
    return data.StructLayout({"beat": beat_layout(bits), "ends": 1})


def expectations(runs, bits):
    """The expected beats of some runs, as bits of :func:`expectation_layout`.

    Parameters
    ----------
    runs : sequence of Run
    bits : int
        Width of an element.

    Returns
    -------
    list of int
    """
    layout, words = expectation_layout(bits), []
    for run in runs:
        beats = [(value, n == len(packet) - 1) for packet in run.outputs for n, value in enumerate(packet)]
        for n, (value, last) in enumerate(beats):
            beat = {"data": int(value) & (1 << bits) - 1, "last": last}
            words.append(layout.const({"beat": beat, "ends": n == len(beats) - 1}).as_value().value)
    return words


class Checker(wiring.Component):
    """Takes a stream beat by beat together with its expectation.

    Parameters
    ----------
    bits : int
        Width of an element.
    vectors : int
        Test vectors in the expectation.

    Members
    -------
    i : stream of {data, last}, in
        Ready while there is an expectation, and after the last one, so that a beat too many is seen.
    i_expected : stream of expectation_layout, in
    i_done : In(1)
        No expectation will follow.
    o_passed : Out
        Test vectors whose every beat was right.
    o_failed : Out(1)
        Stays 1 from the first beat that was wrong or one too many.

    Timing
    ------
    One beat a cycle; ``o_passed`` and ``o_failed`` change one cycle after the beat.
    """

    def __init__(self, bits, vectors):
        self.vectors = vectors
        super().__init__(
            {
                "i": In(stream.Signature(beat_layout(bits))),
                "i_expected": In(stream.Signature(expectation_layout(bits))),
                "i_done": In(1),
                "o_passed": Out(range(vectors + 1)),
                "o_failed": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        expected = self.i_expected.payload
        wrong = Signal()  # some beat of this vector was
        matches = self.i_expected.valid & (self.i.payload.as_value() == expected.beat.as_value())
        m.d.comb += [
            self.i.ready.eq(self.i_expected.valid | self.i_done),
            self.i_expected.ready.eq(self.i.valid),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [self.o_failed.eq(self.o_failed | ~matches), wrong.eq(~expected.ends & (wrong | ~matches))]
            with m.If(matches & ~wrong & expected.ends):
                m.d.sync += self.o_passed.eq(self.o_passed + 1)
        return m
