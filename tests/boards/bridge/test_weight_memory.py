"""Weight memory: bursts as of a ROM, and bytes written and read between them."""

import random

import pytest

from boards.bridge.weight_memory import WeightMemory
from lstm_hw.errors import ConfigError
from lstm_hw.gateware.axi import DECERR, OKAY
from tests.boards.test_rom_reader import read_burst
from tests.simulation import simulate

SIZE = 8 * 64


async def access(context, memory, write, address, byte=0):
    """One access to a byte; returns what was read."""
    context.set(memory.i.payload, {"write": write, "address": address, "byte": byte})
    context.set(memory.i.valid, 1)
    taken = False
    while not taken:
        _, _, taken = await context.tick().sample(memory.i.ready)
    context.set(memory.i.valid, 0)
    while not write:
        _, _, done, found = await context.tick().sample(memory.o_done, memory.o_byte)
        if done:
            return found


def words_of(content):
    return [int.from_bytes(content[at : at + 8], "little") for at in range(0, len(content), 8)]


@pytest.mark.parametrize("stall", [0.0, 0.6])
@pytest.mark.parametrize("base", [0, 0x10000])
def test_bursts_read_what_bytes_were_written(base, stall):
    rng = random.Random(f"{base} {stall}")
    content = bytearray(rng.randbytes(100) + bytes(SIZE - 100))
    memory = WeightMemory(32, 64, base, SIZE, bytes(content[:100]))

    async def bench(context):
        for _ in range(15):
            for address in rng.sample(range(SIZE), 5):
                content[address] = rng.randrange(256)
                await access(context, memory, 1, address, content[address])
            first = rng.randrange(64)
            length = rng.randrange(1, min(64 - first, 16) + 1)
            beats = await read_burst(context, memory.bus, base + 8 * first, length, stall, rng)
            assert beats == [
                (word, OKAY, int(n == length - 1))
                for n, word in enumerate(words_of(content[8 * first : 8 * (first + length)]))
            ]
            address = rng.randrange(SIZE)
            assert await access(context, memory, 0, address) == content[address]

    simulate(memory, bench)


def test_bytes_are_written_and_read_beside_bursts():
    """A read waits for the end of a burst, a write does not disturb it; at full rate a beat comes in every cycle."""
    rng = random.Random(5)
    content = bytearray(rng.randbytes(SIZE))
    memory = WeightMemory(32, 64, 0, SIZE, bytes(content))

    async def bursts(context):
        for _ in range(20):
            beats = await read_burst(context, memory.bus, 0, 32, 0.3, rng)
            assert [beat[0] for beat in beats] == words_of(content[:256])

    async def host(context):
        for _ in range(60):
            address = rng.randrange(256, SIZE)
            content[address] = rng.randrange(256)
            await access(context, memory, 1, address, content[address])
            address = rng.randrange(SIZE)
            assert await access(context, memory, 0, address) == content[address]

    simulate(memory, bursts, host)


def test_bursts_that_lie_outside_are_refused():
    memory = WeightMemory(32, 64, SIZE, SIZE)

    async def bench(context):
        for address, length in [(0, 1), (SIZE - 8, 2), (2 * SIZE, 1), (2 * SIZE - 8, 2), (1 << 31, 3)]:
            beats = await read_burst(context, memory.bus, address, length, 0.0, random)
            assert [beat[1:] for beat in beats] == [(DECERR, int(n == length - 1)) for n in range(length)]
        assert (await read_burst(context, memory.bus, SIZE, 2, 0.0, random))[0] == (0, OKAY, 0)

    simulate(memory, bench)


@pytest.mark.parametrize(
    "base, size, image, message",
    [
        (0, 24, b"", "weight memory: 24 bytes; must be a power of two from 16 on"),
        (0, 8, b"", "weight memory: 8 bytes; must be a power of two from 16 on"),
        (8, 16, b"", "base of the weight memory: 0x8; must be a multiple of 16"),
        (0, 16, bytes(17), "weight image: 17 bytes; must fit the memory of 16"),
    ],
)
def test_sizes_are_checked(base, size, image, message):
    with pytest.raises(ConfigError, match=message):
        WeightMemory(32, 64, base, size, image)
