"""The program window and the counters of the control port."""

import pytest

from lstm_hw.gateware.axi import OKAY, SLVERR
from lstm_hw.machine.registers import (
    COUNTER_BITS,
    COUNTERS,
    PROGRAM,
)
from tests.gateware.control_bench import ALL_ONES, LENGTH, START, TB, address, ticks, traffic, until


@traffic
@pytest.mark.parametrize("bits", [160, 129])
def test_program_window(idle, stall, bits):
    tb = TB(9, idle, stall, instruction_bits=bits)
    expected = {}

    async def test(ctx):
        for entry in (0, LENGTH - 1, *(tb.random.randrange(LENGTH) for _ in range(8))):
            expected[entry] = tb.random.getrandbits(bits)
            order = [*tb.random.sample(range(4), 4), 4]
            for word in order:
                assert tb.program.get(entry) != expected[entry]
                value = expected[entry] >> 32 * word & ALL_ONES
                assert await tb.write(ctx, PROGRAM.word_address(entry, word), value) == OKAY
            await ticks(ctx, 2)
            assert tb.program == expected
            await tb.expect(ctx, PROGRAM.word_address(entry, tb.random.randrange(5)), 0)

    tb.run(test)


def test_program_write_latency():
    tb = TB()
    pulses = []

    async def observer(ctx):
        await until(ctx, tb.dut.o_program_write)
        pulses.append(ctx.get(tb.cycle) - 1)

    async def test(ctx):
        await ticks(ctx, 2)
        before = ctx.get(tb.cycle)
        await tb.write(ctx, PROGRAM.word_address(3, 4), 1)
        await ticks(ctx, 3)
        assert [cycle - before for cycle in pulses] == [2]
        assert tb.program == {3: 1 << 128}

    tb.run(test, observer)


def test_program_is_written_before_a_start_that_follows():
    tb = TB()

    async def test(ctx):
        await tb.write(ctx, PROGRAM.word_address(3, 4), 1)
        await tb.put(ctx, "CTRL", START)
        await tb.until_done(ctx)

    tb.run(test)  # the arguments monitor refuses a program write during the run
    assert 3 in tb.program and len(tb.starts) == 1


def test_instructions_beyond_the_program_memory_do_not_exist():
    tb = TB()

    async def test(ctx):
        for entry in (LENGTH, PROGRAM.entries - 1):
            for word in range(5):
                assert await tb.write(ctx, PROGRAM.word_address(entry, word), ALL_ONES) == SLVERR
        await tb.write(ctx, PROGRAM.word_address(LENGTH - 1, 4), 1)
        await ticks(ctx, 2)
        assert tb.program == {LENGTH - 1: 1 << 128}  # nothing of the refused words was staged

    tb.run(test)


def test_byte_enables_of_the_program_window():
    tb = TB(10)

    async def test(ctx):
        staged, expected = 0, {}
        for _ in range(80):
            entry, word = tb.random.randrange(LENGTH), tb.random.randrange(5)
            data, strobe = tb.random.getrandbits(32), tb.random.choice([0, 15, tb.random.getrandbits(4)])
            assert await tb.write(ctx, PROGRAM.word_address(entry, word), data, strobe) == OKAY
            lanes = sum(0xFF << 8 * byte for byte in range(4) if strobe >> byte & 1)
            staged = staged & ~(lanes << 32 * word) | (data & lanes) << 32 * word
            if word == 4 and strobe:
                expected[entry] = staged
            await ticks(ctx, 2)
            assert tb.program == expected

    tb.run(test)


def test_counter_pairs_are_read_consistently():
    """Each counter carries out of its low half between the two reads; reads of other counters do not disturb it."""
    tb = TB(11)
    ports = {name: getattr(tb.dut, f"i_count_{name.lower()}") for name in COUNTERS}

    async def test(ctx):
        highs = {}
        for name in (*COUNTERS, *reversed(COUNTERS)):
            value = tb.random.getrandbits(COUNTER_BITS - 32) << 32 | ALL_ONES
            ctx.set(ports[name], value)
            await tb.expect(ctx, address(f"{name}_LO"), ALL_ONES)
            ctx.set(ports[name], value + 1 & (1 << COUNTER_BITS) - 1)
            highs[name] = value >> 32
            for other, high in highs.items():
                await tb.expect(ctx, address(f"{other}_HI"), high)
        for name in COUNTERS:
            await tb.expect(ctx, address(f"{name}_LO"), 0)
            await tb.expect(ctx, address(f"{name}_HI"), (highs[name] + 1) & (1 << (COUNTER_BITS - 32)) - 1)

    tb.run(test)


@traffic
def test_running_counter(idle, stall):
    tb = TB(12, idle, stall)
    value = (5 << 32) - 150

    async def count(ctx):
        for step in range(600):
            ctx.set(tb.dut.i_count_cycles, value + step)
            await ctx.tick()

    async def test(ctx):
        last = value - 1
        for _ in range(10):
            low = await tb.get(ctx, "CYCLES_LO")
            high = await tb.get(ctx, "CYCLES_HI")
            now = high << 32 | low
            assert last < now < value + 600
            last = now

    tb.run(count, test)
