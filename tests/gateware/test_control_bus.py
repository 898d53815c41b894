"""The control port's bus: handshakes, access rules, reset."""

import pytest

from lstm_hw.gateware.axi import OKAY, SLVERR
from lstm_hw.machine.registers import (
    CLIPPED_PLACES,
    PROGRAM,
    REGISTERS,
    Access,
    clipped_register,
    lookup,
    port_registers,
    weights_registers,
)
from tests.gateware.control_bench import (
    ALL_ONES,
    AUTO_RESTART,
    CTRL,
    DONE,
    GIE,
    IDLE,
    IER,
    LENGTH,
    LOADS,
    MAPPED,
    READY,
    START,
    TB,
    address,
    begin,
    end,
    expected_reset,
    ticks,
    traffic,
    until,
)


@traffic
def test_reset_values(idle, stall):
    tb = TB(1, idle, stall)

    async def test(ctx):
        for register in tb.random.sample(REGISTERS, len(REGISTERS)):
            await tb.expect(ctx, register.address, expected_reset(register))

    tb.run(test)


@pytest.mark.parametrize("first, second", [(0, 0), (0, 1), (1, 0), (0, 5), (5, 0)])
@pytest.mark.parametrize("take", [0, 3])
def test_handshake_order_and_write_latency(first, second, take):
    tb = TB()

    async def test(ctx):
        await ticks(ctx, 2)
        for value in (0xA5A5_0001, 0x5A5A_0002, 0x0F0F_0003):
            before = ctx.get(tb.cycle)
            assert await tb.write(ctx, address("STEPS"), value, waits=(first, second), take=take) == OKAY
            # handshake, access, response: READYs were high when the VALIDs rose
            assert ctx.get(tb.cycle) - before == max(max(first, second) + 3, take + 1)
            assert ctx.get(tb.dut.o_steps) == value

    tb.run(test)


def test_read_latency():
    tb = TB()

    async def test(ctx):
        await ticks(ctx, 2)
        for take in (0, 0, 4, 0):
            before = ctx.get(tb.cycle)
            assert await tb.read(ctx, address("ID"), take=take) == (0x4C53_544D, OKAY)
            assert ctx.get(tb.cycle) - before == max(3, take + 1)

    tb.run(test)


def test_ready_rises_in_the_first_cycle_after_reset():
    tb = TB()

    async def test(ctx):
        channels = tb.bus.awready, tb.bus.wready, tb.bus.arready
        ctx.set(tb.domain.rst, 1)
        for _ in range(3):
            await ctx.tick()
            assert not any(map(ctx.get, channels))
        ctx.set(tb.domain.rst, 0)
        await ctx.tick()
        assert all(map(ctx.get, channels))

    tb.run(test)


def test_no_path_from_bus_inputs_to_bus_outputs():
    tb = TB(3)
    bus = tb.bus
    inputs = [
        bus.awaddr,
        bus.awprot,
        bus.awvalid,
        bus.wdata,
        bus.wstrb,
        bus.wvalid,
        bus.bready,
        bus.araddr,
        bus.arprot,
        bus.arvalid,
        bus.rready,
    ]
    outputs = [bus.awready, bus.wready, bus.bvalid, bus.bresp, bus.arready, bus.rvalid, bus.rdata, bus.rresp]

    async def test(ctx):
        for _ in range(300):
            await ctx.tick()
            before = [ctx.get(signal) for signal in outputs]
            for _ in range(3):
                for signal in inputs:
                    ctx.set(signal, tb.random.getrandbits(len(signal)))
                assert [ctx.get(signal) for signal in outputs] == before
            for valid, ready in ((bus.awvalid, bus.awready), (bus.wvalid, bus.wready), (bus.arvalid, bus.arready)):
                ctx.set(valid, ctx.get(ready))  # whatever is offered is taken at the next edge

    tb.run(test, engine=False)


@traffic
def test_access_rule_of_every_register(idle, stall):
    tb = TB(4, idle, stall)
    plain = {r.name: (r.mask if r.name != "ENTRY" else LENGTH - 1) for r in REGISTERS if r.stored}

    async def test(ctx):
        for register in tb.random.sample(REGISTERS, len(REGISTERS)):
            if register.name in ("CTRL", "ISR"):
                continue  # have tests of their own
            value = LENGTH - 1 if register.name == "ENTRY" else ALL_ONES
            read_only = register.access is Access.RO
            for written in (value, 0, value):
                response = await tb.write(ctx, register.address, written)
                assert response == (SLVERR if read_only else OKAY), register.name
            await tb.expect(ctx, register.address, plain.get(register.name, expected_reset(register)))
            for offset in range(4):
                await tb.expect(ctx, register.address + offset, plain.get(register.name, expected_reset(register)))
        dut = tb.dut
        assert ctx.get(dut.o_steps) == ctx.get(dut.o_timeout) == ALL_ONES
        assert ctx.get(dut.o_weights[0]) == (1 << 64) - 1
        assert ctx.get(dut.o_clear) == 1 and ctx.get(dut.o_entry) == LENGTH - 1
        assert not tb.starts and not tb.program

    tb.run(test)


def test_registers_of_clipped_values():
    """Read only; holes in an engine that does not count."""
    tb = TB(26, count_clipped=True)

    async def test(ctx):
        assert await tb.write(ctx, address("CLIPPED"), ALL_ONES) == SLVERR
        await tb.expect(ctx, address("CLIPPED"), 1 << 31)
        for bit, place in enumerate(CLIPPED_PLACES):
            count, register = tb.random.getrandbits(32), address(clipped_register(place))
            ctx.set(getattr(tb.dut, f"i_clipped_{place}"), count)
            ctx.set(getattr(tb.dut, f"i_clipped_flag_{place}"), 1)
            assert await tb.write(ctx, register, 0) == SLVERR
            await tb.expect(ctx, register, count)
            await tb.expect(ctx, address("CLIPPED"), 1 << 31 | (2 << bit) - 1)

    tb.run(test)


@pytest.mark.parametrize("ports", [2, 4])
def test_registers_of_further_weight_ports(ports):
    """Each port has an address of its own, locked during a run, and the number of a port that failed can be read."""
    tb = TB(24, ports=ports)
    further = port_registers(ports)
    addresses = [r for r in further if r.stored]
    other = [r for r in port_registers(4) if r not in further]

    async def test(ctx):
        dut, values = tb.dut, {}
        for register in tb.random.sample(addresses, len(addresses)):
            values[register.name] = tb.random.getrandbits(32) & ~15
            assert await tb.write(ctx, register.address, values[register.name]) == OKAY
        await tb.put(ctx, "WEIGHTS_LO", 0x50)
        assert ctx.get(dut.o_weights[0]) == 0x50
        for port in range(1, ports):
            assert ctx.get(dut.o_weights[port]) == (values[f"WEIGHTS{port}_HI"] << 32 | values[f"WEIGHTS{port}_LO"])
        for register in other:
            assert await tb.write(ctx, register.address, 1) == SLVERR
            await tb.expect(ctx, register.address, 0)
        for failing in (ports - 1, 0):
            tb.run_cycles, tb.errors = 60, {3: (1, 4 * 77 + failing), 5: (2, 4 * 77 + 1 - failing % 2)}
            await tb.put(ctx, "CTRL", START)
            for register in addresses:
                assert await tb.write(ctx, register.address, 0) == SLVERR
                await tb.expect(ctx, register.address, values[register.name])
            await tb.expect(ctx, address("ERROR_PORT"), failing)
            assert await tb.write(ctx, address("ERROR_PORT"), 0) == SLVERR
            while ctx.get(dut.i_busy):
                await ctx.tick()
            await ticks(ctx, 3)

    tb.run(test)


def test_unmapped_addresses():
    tb = TB(5)
    below = [a for a in range(0, 0x200, 4) if a not in MAPPED]
    above = [4 * word for word in tb.random.sample(range(0x200 // 4, PROGRAM.address // 4), 40)]
    gaps = [PROGRAM.address + 32 * tb.random.randrange(PROGRAM.entries) + 4 * w for w in (5, 6, 7) for _ in range(5)]

    async def test(ctx):
        for at in (*below, *above, PROGRAM.address - 4, *gaps):
            assert await tb.write(ctx, at, ALL_ONES) == SLVERR, hex(at)
            await tb.expect(ctx, at, 0)
        await tb.put(ctx, "REFUSED", lookup("REFUSED").field("write").mask)
        for register in REGISTERS:
            await tb.expect(ctx, register.address, expected_reset(register))
        assert not tb.starts and not tb.program

    tb.run(test)


def test_dump_of_the_whole_map_changes_nothing():
    """Every word of the address space, before a run, during one and after it: no error answer, and done stays."""
    tb = TB(25)
    tb.run_cycles = 2000
    busy = lookup("STATUS").field("busy").mask

    async def dump(ctx, differs):
        for at in (*range(0, 0x400, 4), PROGRAM.address - 4, *(PROGRAM.address + 4 * word for word in range(16))):
            value = expected_reset(lookup(names[at])) if at in MAPPED else 0
            await tb.expect(ctx, at, differs.get(names.get(at), value))

    names = {r.address: r.name for r in REGISTERS}

    async def test(ctx):
        await dump(ctx, {})
        await tb.put(ctx, "CTRL", START)
        arguments = {"STEPS": 1, "ENTRY": LOADS}
        await dump(ctx, arguments | {"CTRL": START, "STATUS": busy})
        await tb.until_done(ctx)
        for _ in range(2):
            await dump(ctx, arguments | {"CTRL": DONE | IDLE | READY})
        await tb.put(ctx, "CTRL", DONE)
        await dump(ctx, arguments)
        assert len(tb.starts) == 1 and not tb.program

    tb.run(test)


@traffic
def test_byte_enables(idle, stall):
    tb = TB(6, idle, stall)
    rest = [r for r in REGISTERS if r.stored and r.width < 32]
    wide = [r for r in REGISTERS if r.stored and r.width == 32]

    async def test(ctx):
        values = {r.name: r.reset for r in REGISTERS}
        cases = [(tb.random.choice(wide), strobe) for strobe in range(16)]
        cases += [(register, strobe) for register in rest for strobe in (0, 1, 14, 15)]
        for register, strobe in tb.random.sample(cases, len(cases)):
            data = tb.random.randrange(LENGTH) if register.name == "ENTRY" else tb.random.getrandbits(32)
            assert await tb.write(ctx, register.address, data, strobe) == OKAY
            lanes = sum(0xFF << 8 * byte for byte in range(4) if strobe >> byte & 1)
            values[register.name] = (values[register.name] & ~lanes | data & lanes) & register.mask
            if register.name in weights_registers(0):
                values["IMAGE_ID"] = 0
            await tb.expect(ctx, register.address, values[register.name])
        for name in values:
            if lookup(name).stored:
                await tb.expect(ctx, address(name), values[name])

    tb.run(test)


@traffic
def test_reads_and_writes_at_the_same_time(idle, stall):
    """A writer fills arguments while a reader reads constants; then the roles of the registers are checked."""
    tb = TB(7, idle, stall)
    values = {name: lookup(name).reset for name in ("STEPS", "WEIGHTS_LO", "WEIGHTS_HI", "TIMEOUT")}
    constant = [r for r in REGISTERS if r.access is Access.RO and r.name != "STATUS"]

    async def writer(ctx):
        for _ in range(60):
            name = tb.random.choice(list(values))
            values[name] = tb.random.getrandbits(32)
            await tb.put(ctx, name, values[name])

    async def reader(ctx):
        for _ in range(60):
            register = tb.random.choice(constant)
            await tb.expect(ctx, register.address, expected_reset(register))

    tb.run(writer, reader)

    async def check(ctx):
        dut = tb.dut
        for name, value in values.items():
            await tb.put(ctx, name, value)
        await ctx.tick()
        assert ctx.get(dut.o_weights[0]) == values["WEIGHTS_HI"] << 32 | values["WEIGHTS_LO"]
        assert (ctx.get(dut.o_steps), ctx.get(dut.o_timeout)) == (values["STEPS"], values["TIMEOUT"])
        for name, value in values.items():
            await tb.expect(ctx, address(name), value)

    tb.run(check)


@traffic
def test_channels_that_run_ahead(idle, stall):
    """Addresses and data of later writes are offered while earlier writes are not complete."""
    tb = TB(13, idle, stall)
    bus = tb.bus
    names = ["STEPS", "WEIGHTS_LO", "ID", "TIMEOUT"]
    writes = [(tb.random.choice(names), tb.random.getrandbits(32)) for _ in range(60)]
    responses = []

    async def send(ctx, valid, ready, signal, values):
        for value in values:
            await ticks(ctx, tb._wait(idle))
            ctx.set(valid, 1)
            ctx.set(signal, value)
            await until(ctx, ready)
            ctx.set(valid, 0)

    async def addresses(ctx):
        await send(ctx, bus.awvalid, bus.awready, bus.awaddr, [address(name) for name, _ in writes])

    async def words(ctx):
        ctx.set(bus.wstrb, 15)
        await send(ctx, bus.wvalid, bus.wready, bus.wdata, [value for _, value in writes])

    async def take(ctx):
        while len(responses) < len(writes):
            ready = tb.random.random() >= stall
            ctx.set(bus.bready, ready)
            *_, valid, response = await ctx.tick().sample(bus.bvalid, bus.bresp)
            if valid and ready:
                responses.append(response)
        ctx.set(bus.bready, 0)
        values = {name: expected_reset(lookup(name)) for name in names} | {
            name: value for name, value in writes if name != "ID"
        }
        for name, value in values.items():
            await tb.expect(ctx, address(name), value)

    tb.run(addresses, words, take)
    assert responses == [SLVERR if name == "ID" else OKAY for name, _ in writes]


def test_entry_beyond_the_program_is_refused():
    tb = TB()

    async def test(ctx):
        await tb.put(ctx, "ENTRY", LENGTH - 1)
        for value in (LENGTH, 127, 128, 128 + 3, 1 << 17, ALL_ONES):
            await tb.put(ctx, "ENTRY", value, SLVERR)
            await tb.expect(ctx, address("ENTRY"), LENGTH - 1)
        assert await tb.write(ctx, address("ENTRY"), 0x0000_0103, strobe=1) == OKAY
        await tb.expect(ctx, address("ENTRY"), 3)
        assert ctx.get(tb.dut.o_entry) == 3

    tb.run(test)


def test_reset_in_flight():
    """Reset in every cycle of a run with traffic on both channels; afterwards all is as after power-on."""
    for when in range(2, 40):
        tb = TB(when)
        tb.run_cycles = 8

        async def test(ctx, tb=tb, when=when):
            bus = tb.bus
            ctx.set(bus.awaddr, CTRL)
            ctx.set(bus.wdata, START | AUTO_RESTART)
            ctx.set(bus.wstrb, 15)
            ctx.set(bus.araddr, address("ID"))
            for signal in (bus.awvalid, bus.wvalid, bus.arvalid):
                ctx.set(signal, 1)
            ctx.set(tb.dut.i_error, 1)
            ctx.set(tb.dut.i_error_code, 3)
            ctx.set(tb.dut.i_error_address, ALL_ONES << 10)
            for _ in range(when):
                ready = tb.random.random() < 0.5
                ctx.set(bus.bready, ready)
                ctx.set(bus.rready, ready)
                ctx.set(tb.dut.i_done, tb.random.random() < 0.2)
                ctx.set(tb.dut.i_busy, tb.random.random() < 0.2)
                ctx.set(bus.awaddr, tb.random.choice([CTRL, IER, GIE, address("STEPS"), PROGRAM.word_address(1, 4)]))
                await ctx.tick()
            for signal in (
                bus.awvalid,
                bus.wvalid,
                bus.arvalid,
                bus.bready,
                bus.rready,
                tb.dut.i_done,
                tb.dut.i_busy,
                tb.dut.i_error,
            ):
                ctx.set(signal, 0)
            ctx.set(tb.domain.rst, 1)
            await ctx.tick()
            ctx.set(tb.domain.rst, 0)
            tb.program.clear()
            assert not any(
                map(ctx.get, (bus.bvalid, bus.rvalid, tb.dut.o_start, tb.dut.o_interrupt, tb.dut.o_program_write))
            )
            for register in REGISTERS:
                await tb.expect(ctx, register.address, expected_reset(register))
            await tb.put(ctx, "STEPS", 5)
            await tb.write(ctx, PROGRAM.word_address(7, 4), 1)
            starts = len(tb.starts)
            await begin(tb, ctx)
            await end(tb, ctx)
            await tb.expect(ctx, CTRL, DONE | IDLE | READY)
            assert len(tb.starts) == starts + 1 and tb.program == {7: 1 << 128}

        tb.run(test, engine=False)
