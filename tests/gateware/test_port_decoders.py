"""The decoders against the encoders of the package: every word of random segments, and all that is malformed."""

import random

import numpy as np
import pytest
from amaranth import ResetInserter, Signal

from lstm_hw.errors import FormatError
from lstm_hw.gateware.unpack_unit import DECODERS
from lstm_hw.machine.esell import BLOCK_COLUMNS, TAIL, encode
from lstm_hw.machine.latency import DECODE
from tests.builders import config_of
from tests.simulation import simulate

CONFIGS = {
    "12 rows": {"rows": 12},
    "8 rows": {"rows": 8},
    "8 bit": {"rows": 16, "weight_bits": 8},
    "20 rows, 4 bit": {"rows": 20, "weight_bits": 4},
    "wide port": {"rows": 12, "axi_data_bits": 128},
    "eSELL, 8 rows": {"rows": 8, "decoder": "esell"},
    "eSELL, 12 rows": {"rows": 12, "decoder": "esell"},
    "eSELL, 16 rows": {"rows": 16, "decoder": "esell"},
    "eSELL, 20 rows": {"rows": 20, "decoder": "esell"},
}


def config(name):
    return config_of(**{"decoder": "bitmap", **CONFIGS[name]})


def lengths(config):
    """Words of some segments: eSELL has four columns of each row block, also where its blocks do not divide these."""
    if config.decoder == "esell":
        return [BLOCK_COLUMNS * blocks for blocks in (1, 6, 9, 3, 7, 2)]
    return [1, config.segment_form.block_words, 33, 9, 31, 5]


def random_words(config, count, zeros, rng):
    limit = 1 << config.weight_bits - 1
    return rng.integers(-limit, limit, (count, config.rows)) * (rng.random((count, config.rows)) >= zeros)


def raw_beats(config, words):
    """Words as they are (beats, bytes of a beat)."""
    bits = (words[:, :, None] >> np.arange(config.weight_bits) & 1).reshape(len(words), -1).astype(np.uint8)
    bits = np.pad(bits, ((0, 0), (0, config.beats_per_word * config.axi_data_bits - bits.shape[1])))
    return np.packbits(bits, axis=1, bitorder="little").reshape(-1, config.axi_data_bits // 8)


def expand(config, cases, gap=0.0, seed=0):
    """Feed LOADs, (beats, words or None for raw), to a decoder that is reset in front of each case.

    Yields, a case, (cycle, word) of what comes out, cycles of the beats, cycles of o_bad.
    """
    unit, rng, reset = DECODERS[config.decoder](config), random.Random(seed), Signal()
    results, mask = [], (1 << config.weight_bits) - 1

    async def feed(context):
        now = 0

        async def tick():
            nonlocal now
            await context.tick()
            if context.get(unit.o_valid):
                word = context.get(unit.o_word)
                row = [word >> n * config.weight_bits & mask for n in range(config.rows)]
                words.append((now, [value - (value >> config.weight_bits - 1 << config.weight_bits) for value in row]))
            if context.get(unit.o_bad):
                bad.append(now)
            now += 1

        for loads in cases:
            fed, words, bad = [], [], []
            context.set(reset, 1)
            await tick()
            context.set(reset, 0)
            words.clear()
            bad.clear()
            for beats, count in loads:
                for number, beat in enumerate(beats):
                    while rng.random() < gap:
                        context.set(unit.i_valid, 0)
                        context.set(unit.i_data, rng.getrandbits(config.axi_data_bits))
                        await tick()
                    context.set(unit.i_valid, 1)
                    context.set(unit.i_data, int.from_bytes(bytes(beat), "little"))
                    context.set(unit.i_first, number == 0)
                    context.set(unit.i_last, number == len(beats) - 1)
                    context.set(unit.i_packed, count is not None)
                    context.set(unit.i_words, count or 0)
                    fed.append(now)
                    await tick()
            context.set(unit.i_valid, 0)
            for _ in range(DECODE + 1):
                await tick()
            assert bad or not context.get(unit.o_busy)
            results.append((words, fed, bad))

    simulate(ResetInserter(reset)(unit), feed)
    return results


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("gap", [0.0, 0.4])
def test_random_segments(name, gap):
    found, rng = config(name), np.random.default_rng(1)
    form, loads, wanted = found.segment_form, [], []
    for case, (count, zeros) in enumerate(zip(lengths(found), (0.5, 0.9, 0.0, 1.0, 0.7, 0.0), strict=True)):
        words = random_words(found, count, zeros, rng)
        wanted += words.tolist()
        beats = form.encode(words)
        if case == 4:
            beats = form.encode(words, len(beats) + 2)
        loads.append((raw_beats(found, words), None) if case == 2 else (beats, count))
    ((words, fed, bad),) = expand(found, [loads], gap)
    assert [word for _, word in words] == wanted
    assert not bad
    if not gap:
        # Word n of a segment is there with beat (beats - words + n) at the latest.
        cycles, first, begin = [cycle for cycle, _ in words], 0, 0
        for beats, count in loads:
            count = count or lengths(found)[2]
            ends = fed[begin + len(beats) - count : begin + len(beats)]
            late = [cycle - end for cycle, end in zip(cycles[first : first + count], ends, strict=True)]
            assert max(late) <= DECODE - 1
            first, begin = first + count, begin + len(beats)


@pytest.mark.parametrize("name", ["12 rows", "eSELL, 12 rows"])
def test_everything_malformed_is_seen(name):
    """What the package's decoder refuses is bad; what it takes gives the same words."""
    found, rng, refused = config(name), np.random.default_rng(2), 0
    form, cases = found.segment_form, []
    for _ in range(60):
        words = random_words(found, 20, 0.6, rng)
        beats = form.encode(words)
        if rng.random() < 0.3:
            beats = np.vstack([beats, np.zeros((2, 8), np.uint8)])
        match rng.integers(3):
            case 0:
                beats = beats[: -int(rng.integers(1, len(beats)))]
            case 1:
                beats = np.vstack([beats, np.uint8(rng.integers(0, 2, (1, 8)))])
            case _:
                beats[rng.integers(len(beats)), rng.integers(8)] ^= 1 << rng.integers(8)
        cases.append([(beats, 20)])
    if found.decoder == "esell":  # row blocks of nothing, as published: too close
        stream, _ = encode(np.zeros((found.rows * 20 // BLOCK_COLUMNS, BLOCK_COLUMNS), int))
        cases.append([(np.pad(stream, (0, TAIL)).astype("<u8").view(np.uint8).reshape(-1, 8), 20)])
        with pytest.raises(FormatError, match="chunks are to be wider"):
            form.decode(cases[-1][0][0], 20)
    for ((beats, _),), (got, _, bad) in zip(cases, expand(found, cases), strict=True):
        try:
            wanted = form.decode(beats, 20)
        except FormatError:
            refused += 1
            assert bad
            continue
        assert not bad
        assert [word for _, word in got] == wanted.tolist()
    assert 15 < refused < len(cases)
