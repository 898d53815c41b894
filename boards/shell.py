"""Shell: the self-test between a board's clock, button and LEDs."""

from amaranth import ClockSignal, Elaboratable, Instance, Module, ResetSignal, Signal
from amaranth.lib import io
from amaranth.lib.cdc import FFSynchronizer

from .self_test import NAME


class Shell(Elaboratable):
    """Top level of a board's self-test.

    The platform brings, besides Amaranth's resources, ``add_clock(m)``, which makes the domain ``sync``, and
    ``restart``, the (name, number) of a button. LEDs, as far as the board has them: heartbeat, running, pass, fail, and
    the low bits of the number of vectors that passed.

    Parameters
    ----------
    files : dict of str to str
        Verilog of the self-test and of its engine, from :func:`boards.self_test.emit`.
    passed_bits : int
        Width of the self-test's ``o_passed``.
    """

    def __init__(self, files, passed_bits):
        self.files, self.passed_bits = files, passed_bits

    def elaborate(self, platform):
        m = Module()
        for name, text in self.files.items():
            platform.add_file(name, text)
        platform.add_clock(m)
        restart = Signal()
        m.submodules.button = button = io.Buffer("i", platform.request(*platform.restart, dir="-"))
        m.submodules.restart = FFSynchronizer(button.i, restart)
        shown = {name: Signal(name=name) for name in ("heartbeat", "running", "pass", "fail")}
        passed = Signal(self.passed_bits)
        m.submodules.self_test = Instance(
            NAME,
            i_clk=ClockSignal(),
            i_rst=ResetSignal(),
            i_i_restart=restart,
            **{f"o_o_{name}": signal for name, signal in shown.items()},
            o_o_passed=passed,
            o_o_reason=Signal(3),
            o_o_cycles=Signal(32),
        )
        leds = [number for name, number in platform.resources if name == "led"]
        for number, value in zip(sorted(leds), [*shown.values(), *passed], strict=False):
            m.submodules[f"led{number}"] = led = io.Buffer("o", platform.request("led", number, dir="-"))
            m.d.comb += led.o.eq(value)
        return m
