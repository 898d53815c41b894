"""A small design with one of everything that emission must get right, and a bench that compares it with a trace."""

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import data, enum, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator


class Kind(enum.Enum, shape=3):
    ADD, SUB, MUL, AND, OR, XOR, KEEP = range(7)


class Stage(wiring.Component):
    """Registered multiplier with handshake; three equal ones make the chain of :class:`Toy`."""

    def __init__(self):
        super().__init__({"i": In(stream.Signature(signed(16))), "o": Out(stream.Signature(signed(16)))})

    def elaborate(self, platform):
        m = Module()
        a, product = Signal(signed(16), reset_less=True), Signal(signed(32), reset_less=True)
        valid = Signal(2)
        step = Signal()
        m.d.comb += [
            step.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(step),
            self.o.valid.eq(valid[1]),
            self.o.payload.eq(product >> 15),
        ]
        with m.If(step):
            m.d.sync += [a.eq(self.i.payload), product.eq(a * 0x5A83), valid.eq(Cat(self.i.valid, valid[0]))]
        return m


class Link(wiring.Component):
    """Hands on its number plus one: a constant between modules, as in a chain of lane groups."""

    def __init__(self):
        super().__init__({"i": In(4), "o": Out(4), "through": Out(4)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += [self.o.eq(self.i + 1), self.through.eq(self.i)]
        return m


class Toy(wiring.Component):
    """Stream through three stages; an ALU by a wide switch; a ROM, a block RAM and a LUT RAM; a chain of constants."""

    i: In(stream.Signature(signed(16)))
    o: Out(stream.Signature(signed(16)))
    kind: In(Kind)
    address: In(10)
    write: In(1)
    result: Out(signed(33))
    state: Out(3)
    read: Out(16)
    chain: Out(8)

    def elaborate(self, platform):
        m = Module()
        previous = self.i
        for n in range(3):
            stage = m.submodules[f"stage{n}"] = Stage()
            wiring.connect(m, stage.i, wiring.flipped(previous) if n == 0 else previous)
            previous = stage.o
        wiring.connect(m, previous, wiring.flipped(self.o))

        links = m.submodules["1st-link"], m.submodules["wire"] = Link(), Link()
        m.d.comb += [links[0].i.eq(5), links[1].i.eq(links[0].o), self.chain.eq(Cat(links[1].o, links[1].through))]

        pair = Signal(data.StructLayout({"high": signed(16), "low": signed(16)}))
        m.d.sync += [pair.high.eq(pair.low), pair.low.eq(self.i.payload)]
        with m.Switch(self.kind):
            with m.Case(Kind.ADD):
                m.d.sync += self.result.eq(pair.high + pair.low)
            with m.Case(Kind.SUB):
                m.d.sync += self.result.eq(pair.high - pair.low)
            with m.Case(Kind.MUL):
                m.d.sync += self.result.eq(pair.high * pair.low)
            with m.Case(Kind.AND):
                m.d.sync += self.result.eq(pair.high & pair.low)
            with m.Case(Kind.OR):
                m.d.sync += self.result.eq(pair.high | pair.low)
            with m.Case(Kind.XOR):
                m.d.sync += self.result.eq(pair.high ^ pair.low)

        table = m.submodules.table = memory.Memory(shape=16, depth=1024, init=[n * n % 65521 for n in range(1024)])
        block = m.submodules.block = memory.Memory(shape=16, depth=1024, init=[])
        small = m.submodules.small = memory.Memory(shape=16, depth=32, init=[])
        rom, ram = table.read_port(), block.read_port()
        block_write, small_write, small_read = block.write_port(), small.write_port(), small.read_port(domain="comb")
        m.d.comb += [
            rom.addr.eq(self.address),
            ram.addr.eq(~self.address),
            small_read.addr.eq(self.address[5:]),
            block_write.addr.eq(self.address),
            block_write.en.eq(self.write),
            block_write.data.eq(self.i.payload),
            small_write.addr.eq(self.address),
            small_write.en.eq(self.write),
            small_write.data.eq(rom.data),
        ]
        seen = Signal()
        m.d.sync += seen.eq(1)  # the read registers have no value before their first clock edge
        with m.If(seen):
            m.d.comb += self.read.eq(rom.data ^ ram.data ^ small_read.data)

        with m.FSM():  # nested conditions with priority
            with m.State("IDLE"):
                m.d.comb += self.state.eq(1)
                with m.If(self.write & self.i.valid):
                    m.next = "RUN"
                with m.Elif(self.write):
                    m.next = "WAIT"
            with m.State("RUN"):
                m.d.comb += self.state.eq(2)
                with m.If(self.kind == Kind.KEEP):
                    m.next = "IDLE"
            with m.State("WAIT"):
                m.d.comb += self.state.eq(4)
                m.next = "RUN"
        return m


INPUTS = {"i_payload": 16, "i_valid": 1, "o_ready": 1, "kind": 3, "address": 10, "write": 1}
OUTPUTS = {"o_valid": 1, "o_payload": 16, "i_ready": 1, "result": 33, "state": 3, "read": 16, "chain": 8}


def trace(stimulus):
    """Outputs of :class:`Toy` in Amaranth's simulator, a dict of ints for each cycle of a list of such inputs."""
    toy, outputs = Toy(), []
    inputs = {
        "i_payload": toy.i.payload,
        "i_valid": toy.i.valid,
        "o_ready": toy.o.ready,
        "kind": toy.kind.as_value(),
        "address": toy.address,
        "write": toy.write,
    }
    values = {
        "o_valid": toy.o.valid,
        "o_payload": toy.o.payload,
        "i_ready": toy.i.ready,
        "result": toy.result,
        "state": toy.state,
        "read": toy.read,
        "chain": toy.chain,
    }

    async def drive(ctx):
        for cycle in stimulus:
            for name, signal in inputs.items():
                ctx.set(signal, cycle[name] - (cycle[name] >> 15 << 16) if name == "i_payload" else cycle[name])
            outputs.append({name: ctx.get(signal) & (1 << OUTPUTS[name]) - 1 for name, signal in values.items()})
            await ctx.tick()

    simulator = Simulator(toy)
    simulator.add_clock(1e-8)
    simulator.add_testbench(drive)
    simulator.run()
    return outputs
