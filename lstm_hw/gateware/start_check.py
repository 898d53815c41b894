"""StartCheck: whether a run can begin with the arguments that it was given."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, exact_log2

from ..machine.registers import CODE_BITS, ErrorCode


class StartCheck(wiring.Component):
    """Refuses a run of no steps or too many, one at a weight address that the port cannot ask for, and one without its
    weights.

    Parameters
    ----------
    ports : int
        Weight ports.
    address_bits, data_bits : int
        Widths of a weight port.
    steps_bits : int
        Bits of the most steps that the engine can count.

    Members
    -------
    i_steps : In(32)
        Time steps of the run.
    i_weights : list of In(64)
        Byte address of the weight image of each port.
    i_loads, i_loaded : In(1)
        The run needs no words that an earlier one loaded; those that one has loaded are there.
    o_code : Out
        NONE, or why the run cannot begin: STEPS, ADDRESS or UNLOADED, the first that applies.
    o_port : Out
        First port whose address is wrong, with ADDRESS; there with several ports.

    Timing
    ------
    ``i_steps`` and ``i_weights`` count one cycle later, ``i_loads`` and ``i_loaded`` at once.
    """

    def __init__(self, ports: int, address_bits: int, data_bits: int, steps_bits: int = 32):
        self.address_bits, self.data_bits, self.steps_bits = address_bits, data_bits, steps_bits
        members = {
            "i_steps": In(32),
            "i_weights": In(64).array(ports),
            "i_loads": In(1),
            "i_loaded": In(1),
            "o_code": Out(CODE_BITS),
        }
        super().__init__(members | ({"o_port": Out(bits_for(ports - 1))} if ports > 1 else {}))

    def elaborate(self, platform) -> Module:
        m = Module()
        low = exact_log2(self.data_bits // 8)
        wrong_steps = Signal()
        wrong = Signal(len(self.i_weights))
        m.d.sync += [
            wrong_steps.eq((self.i_steps == 0) | self.i_steps[self.steps_bits :].any()),
            wrong.eq(Cat(Cat(address[:low], address[self.address_bits :]).any() for address in self.i_weights)),
        ]
        with m.If(wrong_steps):
            m.d.comb += self.o_code.eq(ErrorCode.STEPS)
        with m.Elif(wrong.any()):
            m.d.comb += self.o_code.eq(ErrorCode.ADDRESS)
        with m.Elif(~self.i_loads & ~self.i_loaded):
            m.d.comb += self.o_code.eq(ErrorCode.UNLOADED)
        for port, bad in reversed(list(enumerate(wrong[1:], 1))):
            with m.If(bad & ~wrong[0]):
                m.d.comb += self.o_port.eq(port)
        return m
