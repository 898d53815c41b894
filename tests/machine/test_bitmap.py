"""Bit map segments: there and back, the promise on when words end, and segments that are none."""

import numpy as np
import pytest

from lstm_hw.errors import FormatError
from lstm_hw.machine.bitmap import Bitmap

FORMS = [Bitmap(12, 16, 64), Bitmap(8, 16, 64), Bitmap(16, 8, 64), Bitmap(32, 16, 128), Bitmap(20, 4, 64)]


def weights(form, words, zeros, seed=0):
    rng = np.random.default_rng(seed)
    limit = 1 << form.weight_bits - 1
    return rng.integers(-limit, limit, (words, form.rows)) * (rng.random((words, form.rows)) >= zeros)


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("zeros", [0, 0.3, 0.8, 1])
def test_there_and_back(form, zeros):
    for count in (1, form.block_words, form.block_words + 1, 50):
        words = weights(form, count, zeros, count)
        beats = form.encode(words)
        assert len(beats) == form.beats(words[None])[0] >= count
        assert (form.decode(beats, count) == words).all()
        assert (form.decode(form.encode(words, len(beats) + 3), count) == words).all()


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_a_beat_ends_one_word_at_most(form):
    counts = (weights(form, form.block_words * 20, 0.6) != 0).sum(axis=1).reshape(20, -1)
    starts, beats = form.places(counts)
    ends = (starts + np.maximum(counts, 1) - 1) // form.per_beat
    assert (np.diff(ends, axis=1) > 0).all()
    assert (ends[:, -1] + 1 == beats).all()
    assert (np.diff(starts, axis=1) >= counts[:, :-1]).all()


def test_size():
    """Half the weights and their masks, with 4 % of padding."""
    form = FORMS[0]
    words = np.ones((1, 1500, 12), int)
    words[:, :, ::2] = 0
    assert form.beats(words)[0] * 64 <= 1.04 * words.size * (8 + 1)


@pytest.fixture
def segment():
    return FORMS[0].encode(weights(FORMS[0], 20, 0.5), 60)


def test_malformed_segments(segment):
    form = FORMS[0]
    words = form.decode(segment, 20)
    length = form.beats(words[None])[0]
    for cut in (0, 1, 4, length - 1):
        with pytest.raises(FormatError, match="is cut"):
            form.decode(segment[:cut], 20)
    with pytest.raises(FormatError, match="behind the last word"):
        form.decode(np.vstack([segment[:length], np.full((1, 8), 7, np.uint8)]), 20)
    with pytest.raises(FormatError, match="must be at most 10"):
        form.encode(words, 10)
    with pytest.raises(FormatError, match="must fit 16 bits"):
        form.encode(words << 9)


def test_every_bit_of_a_block_counts(segment):
    """A bit of masks or of the number of beats that is wrong is found, or is a weight of another row or value."""
    form = FORMS[0]
    words, found = form.decode(segment, 20), 0
    for bit in range(0, form.mask_beats * form.beat_bits):
        beats = segment.copy()
        beats[bit // 64, bit % 64 // 8] ^= 1 << bit % 8
        try:
            assert (form.decode(beats, 20) != words).any()
        except FormatError:
            found += 1
    assert found > form.mask_beats * form.beat_bits // 4
