"""UART: what is sent comes in, at every divisor; noise is no byte."""

import random

import pytest

from boards.bridge.uart import UartReceiver, UartTransmitter
from tests.simulation import observe, simulate, source


async def character(context, wire, bits, cycles):
    """Put the bits of a character on a wire."""
    for bit in bits:
        context.set(wire, bit)
        await context.tick().repeat(cycles)
    context.set(wire, 1)


def bits_of(byte, stop=1):
    return [0, *(byte >> n & 1 for n in range(8)), stop]


def listen(sent, divisor):
    """Run a receiver while ``sent(context, wire)`` drives its wire; returns bytes and (broken, break) events."""
    receiver = UartReceiver()
    found, broken = [], []

    def see(now, valid, byte, was_broken, was_break):
        if valid:
            found.append(byte)
        if was_broken:
            broken.append(was_break)

    async def bench(context):
        context.set(receiver.i_divisor, divisor)
        context.set(receiver.i_rx, 1)
        await context.tick().repeat(5)
        await sent(context, receiver.i_rx)
        await context.tick().repeat(2 * divisor + 5)

    watch = observe(see, receiver.o_valid, receiver.o_data, receiver.o_broken, receiver.o_break)
    simulate(receiver, bench, background=[watch])
    return found, broken


@pytest.mark.parametrize("divisor", [2, 3, 4, 7, 50])
def test_bytes_come_in_without_a_pause_between(divisor):
    wanted = [0x00, 0xFF, 0x55, 0xAA, *random.Random(divisor).randbytes(12)]

    async def send(context, wire):
        for byte in wanted:
            await character(context, wire, bits_of(byte), divisor)

    assert listen(send, divisor) == (wanted, [])


@pytest.mark.parametrize("off", [-0.04, 0.04])
def test_a_host_may_be_four_percent_off(off):
    wanted = list(random.Random(1).randbytes(6))

    async def send(context, wire):
        for byte in wanted:
            await character(context, wire, bits_of(byte), round(100 * (1 + off)))

    assert listen(send, 100) == (wanted, [])


def test_a_short_pulse_is_no_start_bit():
    async def send(context, wire):
        await character(context, wire, [0], 7)
        await context.tick().repeat(20)
        await character(context, wire, bits_of(0x42), 20)

    assert listen(send, 20) == ([0x42], [])


def test_a_character_without_a_stop_bit_is_dropped_and_the_next_one_found():
    async def send(context, wire):
        await character(context, wire, bits_of(0x42, stop=0), 10)
        await context.tick().repeat(10)
        await character(context, wire, 40 * [0], 10)  # a break
        await context.tick().repeat(10)
        await character(context, wire, bits_of(0x43), 10)

    assert listen(send, 10) == ([0x43], [0, 1])


@pytest.mark.parametrize("divisor", [2, 3, 16])
def test_what_is_sent_is_what_was_given(divisor):
    wanted = [0x00, 0xFF, *random.Random(2).randbytes(5)]
    transmitter = UartTransmitter()
    wire, idle = [], []

    async def bench(context):
        context.set(transmitter.i_divisor, divisor)
        await context.tick().repeat(2)
        await source(transmitter.i, wanted, random.Random(3))(context)
        await context.tick().repeat(11 * divisor)

    def see(now, tx, at_rest):
        wire.append(tx)
        idle.append(at_rest)

    simulate(transmitter, bench, background=[observe(see, transmitter.o_tx, transmitter.o_idle)])
    found, at = [], 0
    while 0 in wire[at:]:
        at = wire.index(0, at)
        bits = [wire[at + divisor * n : at + divisor * (n + 1)] for n in range(10)]
        assert all(len(set(bit)) == 1 for bit in bits) and bits[9][0] == 1
        assert not any(idle[at : at + 10 * divisor])
        found.append(sum(bits[1 + n][0] << n for n in range(8)))
        at += 10 * divisor
    assert found == wanted and idle[-1]
