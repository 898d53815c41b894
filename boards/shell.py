"""Shell: a board's design between its clock, button, LEDs and, where it has one, UART."""

from amaranth import ClockSignal, Elaboratable, Instance, Module, ResetSignal, Signal
from amaranth.lib import io
from amaranth.lib.cdc import FFSynchronizer

LIGHTS = ("heartbeat", "running", "pass", "fail")
"""What the first LEDs show."""


class Shell(Elaboratable):
    """Top level of a board.

    The platform brings, besides Amaranth's resources, ``add_clock(m)``, which makes the domain ``sync``; ``restart``,
    the (name, number) of a button; ``uart``, the (name, number) of a UART or None; and ``held_high``, those of outputs
    that must be high; and, with a flash memory, ``flash``, the (name, number) of its pins, and ``add_flash_clock(m,
    clock)``. LEDs, as far as the board has them: LIGHTS, and the low bits of the number of right vectors.

    Parameters
    ----------
    name : str
        Module of the design.
    files : dict of str to str
        Verilog of the design and of its engine.
    passed_bits : int
        Width of the design's ``o_passed``.
    """

    def __init__(self, name, files, passed_bits):
        self.name, self.files, self.passed_bits = name, files, passed_bits

    def elaborate(self, platform):
        m = Module()
        for name, text in self.files.items():
            platform.add_file(name, text)
        platform.add_clock(m)
        restart = Signal()
        m.submodules.button = button = io.Buffer("i", platform.request(*platform.restart, dir="-"))
        m.submodules.restart = FFSynchronizer(button.i, restart)
        shown = {name: Signal(name=name) for name in LIGHTS}
        passed = Signal(self.passed_bits)
        ports = {"i_i_restart": restart, **{f"o_o_{name}": signal for name, signal in shown.items()}}
        if platform.uart:
            pins = platform.request(*platform.uart, dir={"rx": "-", "tx": "-"})
            m.submodules.uart_rx = rx = io.Buffer("i", pins.rx)
            m.submodules.uart_tx = tx = io.Buffer("o", pins.tx)
            ports |= {"i_i_rx": rx.i, "o_o_tx": tx.o}
        if platform.flash:
            pins = platform.request(*platform.flash, dir=dict.fromkeys(("cs", "copi", "cipo", "wp", "hold"), "-"))
            outputs = {"cs": Signal(name="flash_cs"), "copi": Signal(name="flash_copi"), "wp": 0, "hold": 0}
            for pin, value in outputs.items():
                m.submodules[f"flash_{pin}"] = buffer = io.Buffer("o", getattr(pins, pin))
                m.d.comb += buffer.o.eq(value)
            m.submodules.flash_cipo = cipo = io.Buffer("i", pins.cipo)
            clock = Signal(name="flash_clock")
            platform.add_flash_clock(m, clock)
            ports |= {"i_i_cipo": cipo.i, "o_o_sck": clock, "o_o_cs": outputs["cs"], "o_o_copi": outputs["copi"]}
        m.submodules.design = Instance(
            self.name,
            i_clk=ClockSignal(),
            i_rst=ResetSignal(),
            **ports,
            o_o_passed=passed,
            o_o_reason=Signal(3),
            o_o_cycles=Signal(32),
        )
        leds = [number for name, number in platform.resources if name == "led"]
        for number, value in zip(sorted(leds), [*shown.values(), *passed], strict=False):
            m.submodules[f"led{number}"] = led = io.Buffer("o", platform.request("led", number, dir="-"))
            m.d.comb += led.o.eq(value)
        for name, number in platform.held_high:
            m.submodules[f"{name}{number}"] = pin = io.Buffer("o", platform.request(name, number, dir="-"))
            m.d.comb += pin.o.eq(1)
        return m
