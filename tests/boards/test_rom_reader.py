"""ROM reader, ROM source and AXI ROM: content, order, timing, back-pressure and responses."""

import random

import pytest

from boards.axi_rom import AxiRom
from boards.rom_reader import RomReader, RomSource
from lstm_hw.errors import ConfigError
from lstm_hw.gateware.axi import DECERR, OKAY
from tests.simulation import monitor, simulate, sink, source


@pytest.mark.parametrize("stall", [0.0, 0.6])
@pytest.mark.parametrize("idle", [0.0, 0.6])
def test_reader_streams_runs_of_words(idle, stall):
    rng = random.Random(f"{idle} {stall}")
    words = [rng.getrandbits(11) for _ in range(37)]
    runs = [(at, rng.randrange(min(8, len(words) - at))) for at in (rng.randrange(len(words)) for _ in range(60))]
    reader = RomReader(11, words, max_words=8)
    received, times, taken = [], [], []

    async def wait(context):
        while len(received) < sum(extra + 1 for _, extra in runs):
            await context.tick()

    simulate(
        reader,
        source(reader.i, [{"address": at, "extra": extra} for at, extra in runs], rng, idle, taken=taken),
        wait,
        background=[sink(reader.o, rng, stall, received, times), monitor(reader.o)],
    )
    assert [(beat["data"], beat["last"]) for beat in received] == [
        (words[at + n], int(n == extra)) for at, extra in runs for n in range(extra + 1)
    ]
    if not stall:
        first = 0
        for (_, extra), start in zip(runs, taken, strict=True):
            assert times[first : first + extra + 1] == list(range(start + 2, start + 3 + extra))
            first += extra + 1


@pytest.mark.parametrize("stall", [0.0, 0.6])
def test_source_streams_everything_once(stall):
    words = [3, 1, 4, 1, 5]
    rom = RomSource(3, words)
    received, times = [], []

    async def wait(context):
        while not context.get(rom.o_done):
            await context.tick()
        await context.tick().repeat(20)

    simulate(rom, wait, background=[sink(rom.o, random.Random(1), stall, received, times), monitor(rom.o)])
    assert received == words
    if not stall:
        assert times == [2, 3, 4, 5, 6]


async def read_burst(context, bus, address, length, stall, rng):
    """Read one burst; returns its beats as (data, response, last)."""
    context.set(bus.arvalid, 1)
    context.set(bus.araddr, address)
    context.set(bus.arlen, length - 1)
    context.set(bus.arid, length & 1)
    taken = False
    while not taken:
        _, _, taken = await context.tick().sample(bus.arready)
    context.set(bus.arvalid, 0)
    beats = []
    while not (beats and beats[-1][2]):
        ready = rng.random() >= stall
        context.set(bus.rready, ready)
        _, _, valid, rid, *beat = await context.tick().sample(bus.rvalid, bus.rid, bus.rdata, bus.rresp, bus.rlast)
        if ready and valid:
            assert rid == length & 1
            beats.append(tuple(beat))
    return beats


@pytest.mark.parametrize("stall", [0.0, 0.6])
@pytest.mark.parametrize("base", [0, 0x10000, 0x10048])
def test_axi_rom_answers_bursts(base, stall):
    rng = random.Random(f"{base} {stall}")
    image = rng.randbytes(8 * 300 - 3)
    padded = image + bytes(3)
    rom = AxiRom(32, 64, base, image)

    async def bench(context):
        for first, length in [(0, 1), (0, 256), (44, 256), (299, 1), (7, 13)]:
            words = [int.from_bytes(padded[8 * at : 8 * at + 8], "little") for at in range(first, first + length)]
            beats = await read_burst(context, rom.bus, base + 8 * first, length, stall, rng)
            assert beats == [(word, OKAY, int(n == length - 1)) for n, word in enumerate(words)]

    simulate(rom, bench)


def test_axi_rom_refuses_what_lies_outside():
    rom = AxiRom(32, 64, 0x10000, bytes(8 * 300))

    async def bench(context):
        for address, length in [(0, 1), (0xFFF8, 2), (0x10000 + 8 * 300, 1), (0x10000 + 8 * 299, 2), (1 << 31, 3)]:
            beats = await read_burst(context, rom.bus, address, length, 0.0, random)
            assert [beat[1:] for beat in beats] == [(DECERR, int(n == length - 1)) for n in range(length)]
        assert (await read_burst(context, rom.bus, 0x10000, 2, 0.0, random))[0][1] == OKAY

    simulate(rom, bench)


@pytest.mark.parametrize(
    "base, image, message",
    [
        (0, b"", "ROM image: no bytes; must hold at least one word"),
        (4, bytes(8), "ROM base: 0x4; must be a multiple of 8"),
    ],
)
def test_axi_rom_refuses_a_wrong_image(base, image, message):
    with pytest.raises(ConfigError, match=message):
        AxiRom(32, 64, base, image)
