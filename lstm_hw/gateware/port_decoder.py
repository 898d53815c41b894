"""What stands between a weight port and its UnpackUnit: the decoders' common side, and which there are."""

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..machine.config import EngineConfig
from ..machine.isa import WORD_BITS


class PortDecoder(wiring.Component):
    """Expands segments to whole weight words, and gathers the beats of words that lie in memory as they are.

    Beats come whenever they like and are never held back.

    Parameters
    ----------
    config : EngineConfig

    Members
    -------
    i_valid : In(1), i_data : In(beat bits)
        A beat.
    i_first, i_last : In(1)
        It is the first, the last one of its LOAD.
    i_packed : In(1), i_words : In
        Its LOAD is a segment, of so many words; else its words lie in memory as they are, each in whole beats.
    o_valid : Out(1), o_word : Out(rows * weight bits)
        A word.
    o_bad : Out(1)
        A beat does not belong to any segment that an encoder makes.
    o_busy : Out(1)
        Beats are inside, but for one whose word is on the output.

    Timing
    ------
    What a beat leads to is on the outputs :data:`lstm_hw.machine.latency.DECODE` cycles later. Of a segment of so many
    words and beats, word ``n`` is not later than what beat ``beats - words + n`` leads to.
    """

    def __init__(self, config: EngineConfig):
        self.config, self.form = config, config.segment_form
        super().__init__(
            {
                "i_valid": In(1),
                "i_data": In(config.axi_data_bits),
                "i_first": In(1),
                "i_last": In(1),
                "i_packed": In(1),
                "i_words": In(WORD_BITS),
                "o_valid": Out(1),
                "o_word": Out(config.word_bits),
                "o_bad": Out(1),
                "o_busy": Out(1),
            }
        )
