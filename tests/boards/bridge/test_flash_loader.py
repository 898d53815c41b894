"""Flash loader: an image that is whole and for this engine is loaded, and any other one leaves everything as it was."""

import random
import zlib

import pytest

from boards.bridge.flash_loader import RESET_CYCLES, FlashLoader
from boards.bridge.flash_reader import READ
from boards.flash_image import HEAD_BYTES, identity
from boards.script import Action, access
from lstm_hw.host.protocol import FlashState
from tests.boards.bridge.test_bridge import Engine
from tests.simulation import simulate

BASE, CONTENT_ID, MEMORY = 0x1234, 0xCAFE_0123, 16
RNG = random.Random(3)
WEIGHTS = RNG.randbytes(9)
ACCESSES = [access(Action.WRITE, 0x10, 0x1234_5678), access(Action.UNTIL, 0x20, 8), access(Action.WRITE, 0x14, 7)]


def image(content_id=CONTENT_ID, weights=WEIGHTS, accesses=ACCESSES, sizes=None):
    sizes = sizes or (len(weights), len(accesses))
    content = identity(content_id) + b"".join(size.to_bytes(4, "little") for size in sizes) + weights
    content += b"".join(word.to_bytes(8, "little") for word in accesses)
    return content + zlib.crc32(content).to_bytes(4, "little")


def flash(loader, contents):
    """Background bench: a serial flash in SPI mode 0; ``contents`` of the first, second, ... time it is read."""

    async def bench(context):
        selected, clock, bits, read, reads = 0, 0, 0, 0, 0
        while True:
            context.set(loader.i_cipo, (read >> 7 - bits % 8) & 1)
            _, _, select, sck, copi = await context.tick().sample(loader.o_cs, loader.o_sck, loader.o_copi)
            if not select:
                selected, bits, command, read = 0, 0, 0, 0
            elif sck and not clock:
                assert selected, "selected before the clock rises"
                command = command << 1 | copi if bits < 32 else command
                bits += 1
            elif clock and not sck and bits >= 32 and bits % 8 == 0:
                assert command >> 24 == READ
                content = contents[min(reads + (bits == 32) - 1, len(contents) - 1)]
                reads += bits == 32
                at = (command & 0xFFFFFF) - BASE + bits // 8 - 4
                read = content[at] if at < len(content) else 0xFF
            selected, clock = select, sck

    return bench


def loaded(*contents, engine=None, patience=200):
    """State, weight memory, engine and cycles of its reset after a start on a flash with these contents."""
    loader = FlashLoader(BASE, CONTENT_ID, MEMORY, patience)
    engine, memory, resets = engine or Engine(), bytearray(MEMORY), []

    async def writes(context):
        while True:
            _, _, valid, at, byte, reset = await context.tick().sample(
                loader.memory.valid, loader.memory.payload.address, loader.memory.payload.byte, loader.o_reset
            )
            resets.append(reset)
            if valid:
                memory[at] = byte

    async def bench(context):
        await context.tick().repeat(3)
        assert context.get(loader.o_state) == FlashState.NONE
        context.set(loader.i_start, 1)
        await context.tick()
        context.set(loader.i_start, 0)
        await context.tick()
        while context.get(loader.o_running):
            await context.tick()
        await context.tick().repeat(40)
        assert not context.get(loader.o_cs)
        found.append(FlashState(context.get(loader.o_state)))

    async def reads(context):
        await engine.reads(context, loader.bus)

    async def register_writes(context):
        await engine.writes_(context, loader.bus)

    found = []
    simulate(loader, bench, background=(writes, reads, register_writes, flash(loader, contents)))
    return found[0], bytes(memory), engine, sum(resets)


UNTOUCHED = bytes(MEMORY)


def ready():
    engine = Engine()
    engine.registers[0x20] = 0xC
    return engine


def test_a_whole_image_is_loaded():
    state, memory, engine, resets = loaded(image(), engine=ready())
    assert state == FlashState.LOADED and resets == 0
    assert memory == WEIGHTS + bytes(MEMORY - len(WEIGHTS))
    assert engine.writes == [(0x10, 0x1234_5678), (0x14, 7)]


@pytest.mark.parametrize("empty", [b"", bytes(200)], ids=["erased", "no flash"])
def test_an_empty_flash_is_no_fault(empty):
    state, memory, engine, resets = loaded(empty)
    assert (state, memory, engine.writes, resets) == (FlashState.NONE, UNTOUCHED, [], 0)


def damaged(at, bit=0):
    content = bytearray(image())
    content[at] ^= 1 << bit
    return bytes(content)


@pytest.mark.parametrize(
    "content",
    [
        *(damaged(at, at % 8) for at in (0, 12, HEAD_BYTES, len(image()) - 1)),
        image()[:-6],
        image(weights=bytes(MEMORY + 1)),
        image(sizes=(0, 3)),
        image(sizes=(9, 0)),
        image(sizes=(9, 1 << 16)),
    ],
    ids=lambda content: f"{zlib.crc32(content):08x}",
)
def test_a_damaged_image_touches_nothing(content):
    state, memory, engine, resets = loaded(content)
    assert (state, memory, engine.writes, resets) == (FlashState.DAMAGED, UNTOUCHED, [], 0)


@pytest.mark.parametrize("content_id", [CONTENT_ID ^ 1, CONTENT_ID ^ 1 << 31])
def test_an_image_for_another_engine_touches_nothing(content_id):
    state, memory, engine, resets = loaded(image(content_id))
    assert (state, memory, engine.writes, resets) == (FlashState.OTHER, UNTOUCHED, [], 0)


def test_what_changes_between_the_reads_is_undone():
    state, _, _, resets = loaded(image(), damaged(HEAD_BYTES + 5), engine=ready())
    assert (state, resets) == (FlashState.DAMAGED, RESET_CYCLES)


@pytest.mark.parametrize("fault", ["refused", "last refused", "never ready", "silent"])
def test_an_engine_that_does_not_take_it_is_reset(fault):
    engine = ready()
    if fault == "never ready":
        engine.registers[0x20] = 4
    engine.refused = {"refused": {0x10}, "last refused": {0x14}}.get(fault, set())
    engine.silent = fault == "silent"
    state, _, _, resets = loaded(image(), engine=engine)
    assert (state, resets) == (FlashState.REFUSED, RESET_CYCLES)
