"""Run control: start, done, auto restart, errors and interrupts, with the meaning they have in Vitis HLS."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..machine.registers import CODE_BITS, ErrorCode, lookup
from .register_file import layout


class RunControl(wiring.Component):
    """Starts the engine, waits for it and keeps CTRL, ISR, STATUS and ERROR_ADDRESS.

    A run begins with the write of CTRL.start and ends in the cycle in which the engine has given ``i_done`` and
    ``i_busy`` is low: with the engine idle, so that whoever sees CTRL.done may change arguments or start at once.

    - A run that cannot begin, as ``i_refusal`` says when the engine could start, ends at once with that error.
    - A run that is aborted ends with ABORTED, before it has begun or as soon as the engine has given it up.
    - STATUS.loaded is set at the end of a run that loads and met no error, and cleared when such a run begins and by
      ``i_unload``.
    - CTRL.start reads 1 during the run. A write of 1 to it is refused then, in the last cycle of the run too.
    - At the end CTRL.done and CTRL.ready are set. If CTRL.auto_restart is set (a write in that very cycle is too
      late) and the run met no error, the next run begins without CTRL.start ever reading 0.
    - A write of CTRL.start that begins a run, and one of 1 to CTRL.done, clear done and ready, except in the cycle that
      sets them.
    - An event (end of run: done and ready; ``i_error``: error) sets its bit of ISR if it is enabled in IER. Writing
      1 toggles a bit, except in the cycle that sets it.
    - The first error of a run is kept until ``o_start`` of the next.

    Members
    -------
    i_ctrl_write, i_isr_write : In(1)
        Strobes of the writes.
    i_start, i_abort, i_clear_done, i_auto_restart : In(1)
        Bits being written, valid with ``i_ctrl_write``.
    o_refused : Out(1)
        The write of CTRL has no effect: it would start a run during another.
    i_toggle : In(3)
        Bits being written, valid with ``i_isr_write``.
    i_gie, i_ier : In
        Values of GIE (1) and IER (3).
    i_refusal, i_refusal_port : In
        Why a run cannot begin, an :class:`lstm_hw.machine.registers.ErrorCode`, and the weight port that it is about.
    i_loads : In(1)
        The run brings the weights that it needs and those that stay on the chip.
    i_unload : In(1)
        What is on the chip is not what the next run needs; only outside of a run.
    o_ctrl, o_isr, o_status : Out(layout)
        Values of the registers.
    o_error_address : Out(64)
        Value of ERROR_ADDRESS.
    o_error_port : Out(2)
        Value of ERROR_PORT.
    o_start : Out(1)
        One-cycle pulse; the engine takes its arguments in this cycle.
    o_abort : Out(1)
        Give the run up; high until it is over.
    i_busy : In(1)
        The engine runs or drains. A start waits until it is low.
    i_done : In(1)
        One-cycle pulse, once a run, not before the cycle of ``o_start``; ignored outside of a run.
    i_error : In(1)
        Pulse: the run met an error; ``i_done`` must still be given, in the same cycle or later.
    i_error_code : In(4)
        Not 0, valid with ``i_error``.
    i_error_address, i_error_port : In(64), In(2)
        Valid with ``i_error``.
    o_lock : Out(1)
        A run is requested or in progress, or the engine is busy.
    o_interrupt : Out(1)
        High while GIE and any bit of ISR are set.

    Timing
    ------
    ``o_start`` comes 2 cycles after the write of CTRL.start, and 2 cycles after the end of the run before on an
    automatic restart; more if ``i_busy`` is high. CTRL, ISR and STATUS change one cycle after the event,
    ``o_interrupt`` two.
    """

    def __init__(self):
        super().__init__(
            {
                "i_ctrl_write": In(1),
                "i_isr_write": In(1),
                "i_start": In(1),
                "i_abort": In(1),
                "i_clear_done": In(1),
                "i_auto_restart": In(1),
                "o_refused": Out(1),
                "i_toggle": In(3),
                "i_gie": In(1),
                "i_ier": In(3),
                "i_refusal": In(CODE_BITS),
                "i_refusal_port": In(2),
                "i_loads": In(1),
                "i_unload": In(1),
                "o_ctrl": Out(layout(lookup("CTRL"))),
                "o_isr": Out(layout(lookup("ISR"))),
                "o_status": Out(layout(lookup("STATUS"))),
                "o_error_address": Out(64),
                "o_error_port": Out(2),
                "o_start": Out(1),
                "o_abort": Out(1),
                "i_busy": In(1),
                "i_done": In(1),
                "i_error": In(1),
                "i_error_code": In(CODE_BITS),
                "i_error_address": In(64),
                "i_error_port": In(2),
                "o_lock": Out(1),
                "o_interrupt": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        starting = Signal()
        refused = Signal()
        finished = Signal()
        refusal = Signal(CODE_BITS)
        m.d.comb += refusal.eq(Mux(self.o_abort, ErrorCode.ABORTED, self.i_refusal))
        self._run(m, starting, refused, refusal, finished)
        self._errors(m, starting, refused, refusal)
        self._interrupts(m, finished, refused)
        return m

    def _run(self, m, starting, refused, refusal, finished):
        ctrl = self.o_ctrl
        requested = Signal()
        done = Signal()
        auto_restart = Signal()
        loaded = Signal()
        failed = (self.o_status.code != ErrorCode.NONE) | self.i_error

        def finish():
            m.d.comb += finished.eq(1)
            m.next = "IDLE"
            with m.If(~failed):
                m.d.sync += loaded.eq(loaded | self.i_loads)
                with m.If(auto_restart):
                    m.next = "REQUESTED"  # an abort in this very cycle is of that run
            with m.If(failed | ~auto_restart):
                m.d.sync += self.o_abort.eq(0)

        write = self.i_ctrl_write & ~self.o_refused
        m.d.comb += self.o_refused.eq(self.i_ctrl_write & self.i_start & requested)
        with m.If(write):
            m.d.sync += auto_restart.eq(self.i_auto_restart)
        with m.If(write & self.i_abort & requested):
            m.d.sync += self.o_abort.eq(1)
        with m.If(finished):
            m.d.sync += done.eq(1)
        with m.Elif(write & (self.i_clear_done | self.i_start)):
            m.d.sync += done.eq(0)
        with m.FSM() as run:
            with m.State("IDLE"):
                with m.If(write & self.i_start):
                    m.next = "REQUESTED"
            with m.State("REQUESTED"):
                with m.If(~self.i_busy & (refusal != ErrorCode.NONE)):
                    m.d.comb += [refused.eq(1), finished.eq(1)]
                    m.d.sync += self.o_abort.eq(0)
                    m.next = "IDLE"
                with m.Elif(~self.i_busy):
                    m.d.comb += starting.eq(1)
                    m.next = "RUNNING"
                    with m.If(self.i_loads):
                        m.d.sync += loaded.eq(0)
            with m.State("RUNNING"):
                with m.If(self.i_done & self.i_busy):
                    m.next = "DRAINING"
                with m.Elif(self.i_done):
                    finish()
            with m.State("DRAINING"):
                with m.If(~self.i_busy):
                    finish()
        with m.If(self.i_unload):
            m.d.sync += loaded.eq(0)
        m.d.sync += self.o_start.eq(starting)
        m.d.comb += [
            requested.eq(~run.ongoing("IDLE")),
            self.o_lock.eq(requested | self.i_busy),
            ctrl.start.eq(requested),
            ctrl.done.eq(done),
            ctrl.idle.eq(~self.o_lock),
            ctrl.ready.eq(done),
            ctrl.abort.eq(self.o_abort),
            ctrl.auto_restart.eq(auto_restart),
            ctrl.interrupt.eq(self.o_interrupt),
            self.o_status.busy.eq(self.o_lock),
            self.o_status.loaded.eq(loaded),
        ]

    def _errors(self, m, starting, refused, refusal):
        code = Signal.like(self.i_error_code)
        m.d.comb += self.o_status.code.eq(code)
        fails = self.i_error & (starting | (code == ErrorCode.NONE))
        with m.If(refused):
            m.d.sync += [code.eq(refusal), self.o_error_port.eq(self.i_refusal_port)]
        with m.Elif(fails):
            m.d.sync += [code.eq(self.i_error_code), self.o_error_port.eq(self.i_error_port)]
        with m.Elif(starting):
            m.d.sync += [code.eq(ErrorCode.NONE), self.o_error_port.eq(0)]
        # First that it becomes zero, which flip-flops can by themselves.
        with m.If(refused | starting & ~self.i_error):
            m.d.sync += self.o_error_address.eq(0)
        with m.Elif(fails):
            m.d.sync += self.o_error_address.eq(self.i_error_address)

    def _interrupts(self, m, finished, refused):
        events = Cat(finished, finished, self.i_error | refused)
        toggled = Mux(self.i_isr_write, self.i_toggle, 0)
        isr = Value.cast(self.o_isr)
        m.d.sync += [isr.eq((isr ^ toggled) | (events & self.i_ier)), self.o_interrupt.eq(self.i_gie & isr.any())]
