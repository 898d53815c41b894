"""Top: the engine behind AXI4-Lite, AXI4 and AXI4-Stream ports that Vivado groups into interfaces."""

import json
from importlib.metadata import version

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..machine.config import EngineConfig
from ..machine.limits import VALUE_BITS
from ..machine.ports import CONTROL, X, Y, weight_prefixes
from ..machine.registers import ADDRESS_BITS, CLIPPED_PLACES, COUNTERS
from .axi import Axi4Lite, Axi4Read
from .control import Control
from .engine import Engine
from .interfaces import interface_attributes


def config_words(config: EngineConfig) -> dict[str, int]:
    """Values of the read-only configuration registers."""
    return {
        "CONTENT_ID": config.content_id,
        "ROWS": config.rows,
        "CONTEXTS": config.contexts,
        "WEIGHT_BITS": config.weight_bits,
        "OPERAND_BITS": config.operand_bits,
        "WEIGHT_WORDS": config.weight_words,
        "H_ELEMENTS": config.h_elements,
        "X_ELEMENTS": config.x_elements,
        "ACCUMULATORS": config.accumulators,
        "STATES": config.states,
        "PROGRAM_LENGTH": config.program_length,
        "CELLS": config.cells,
        "AXI_DATA_BITS": config.axi_data_bits,
    }


def members_of(config: EngineConfig) -> dict:
    """Members of the top level's signature, by name."""
    members = {"aclk": In(1), "aresetn": In(1), "interrupt": Out(1)}
    weights = Axi4Read(config.axi_address_bits, config.axi_data_bits)
    for prefix, signature in (
        (CONTROL, Axi4Lite(ADDRESS_BITS).flip()),
        *((prefix, weights) for prefix in weight_prefixes(config)),
    ):
        for name, member in signature.members.items():
            members[f"{prefix}_{name}"] = member
    x_bits = config.operand_bits * config.x_per_beat
    members |= {
        f"{X}_tdata": In(x_bits),
        f"{X}_tvalid": In(1),
        f"{X}_tready": Out(1),
        f"{X}_tlast": In(1),
        f"{Y}_tdata": Out(VALUE_BITS),
        f"{Y}_tvalid": Out(1),
        f"{Y}_tready": In(1),
        f"{Y}_tlast": Out(1),
    }
    return members


class Top(wiring.Component):
    """The engine behind AXI4-Lite, AXI4 and AXI4-Stream ports: what is emitted as Verilog.

    Parameters
    ----------
    config : EngineConfig

    Members
    -------
    aclk, aresetn : In(1)
        Clock of everything, and its synchronous active-low reset.
    s_axi_ctrl_* : AXI4-Lite slave
        The registers of :mod:`lstm_hw.machine.registers`.
    m_axi_weights_* : AXI4 read master
        Weights; with several ports m_axi_weights0_*, m_axi_weights1_* and so on.
    s_axis_x_tdata, _tvalid, _tready, _tlast : AXI4-Stream slave
        x vectors, ``x_per_beat`` elements a beat, the first in the low bits; tlast ends a vector,
        or the sequence of a run, or says nothing.
    m_axis_y_tdata, _tvalid, _tready, _tlast : AXI4-Stream master
        Outputs, one element of 16 bits a beat (h sign-extended); tlast ends a packet,
        or the outputs of a run.
    interrupt : Out(1)
        Level, see GIE, IER and ISR.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        self.engine = Engine(config)
        super().__init__(members_of(config))

    @property
    def verilog_comment(self) -> list[str]:
        """The configuration, for the head of the emitted file."""
        words = {f"engine.{name}": value for name, value in self.config.to_dict().items()}
        facts = {"lstm-hw": version("lstm-hw"), "content id": f"0x{self.config.content_id:08x}"} | words
        return ["", "Configuration:", *(f"  {name} = {json.dumps(value)}" for name, value in facts.items())]

    @property
    def verilog_attributes(self) -> dict[str, dict[str, str]]:
        """What Vivado's IP integrator needs to know of the ports; see :mod:`lstm_hw.gateware.interfaces`."""
        return interface_attributes(self.config, self.signature.members)

    def elaborate(self, platform) -> Module:
        m = Module()
        m.domains.sync = ClockDomain("sync", local=True)
        m.d.comb += [ClockSignal().eq(self.aclk), ResetSignal().eq(~self.aresetn)]
        m.submodules.engine = engine = self.engine
        m.submodules.control = control = Control(
            config_words(self.config),
            self.config.program_length,
            ports=self.config.axi_ports,
            address_bits=self.config.axi_address_bits,
            count_clipped=self.config.count_clipped,
            bus_errors=self.config.bus_errors,
            steps_bits=self.config.register_bits,
        )

        def port(prefix, name):
            return getattr(self, f"{prefix}_{name}")

        for prefix, bus in ((CONTROL, control.bus), *zip(weight_prefixes(self.config), engine.bus, strict=True)):
            for name, member in bus.signature.members.items():
                inner, outer = getattr(bus, name), port(prefix, name)
                m.d.comb += inner.eq(outer) if member.flow == In else outer.eq(inner)
        m.d.comb += [
            engine.i_x.payload.data.eq(port(X, "tdata")),
            engine.i_x.payload.last.eq(port(X, "tlast")),
            engine.i_x.valid.eq(port(X, "tvalid")),
            port(X, "tready").eq(engine.i_x.ready),
            port(Y, "tdata").eq(engine.o_y.payload.data),
            port(Y, "tlast").eq(engine.o_y.payload.last),
            port(Y, "tvalid").eq(engine.o_y.valid),
            engine.o_y.ready.eq(port(Y, "tready")),
            self.interrupt.eq(control.o_interrupt),
            engine.i_start.eq(control.o_start),
            engine.i_clear.eq(control.o_clear),
            engine.i_entry.eq(control.o_entry),
            engine.i_steps.eq(control.o_steps),
            engine.i_timeout.eq(control.o_timeout),
            engine.i_timeout_streams.eq(control.o_timeout_streams),
            engine.i_sequence.eq(control.o_sequence),
            engine.i_ignore_tlast.eq(control.o_ignore_tlast),
            engine.i_join.eq(control.o_one_packet),
            engine.i_abort.eq(control.o_abort),
            engine.i_program_write.eq(control.o_program_write),
            engine.i_program_address.eq(control.o_program_address),
            engine.i_program_data.eq(control.o_program_data),
            control.i_busy.eq(engine.o_busy),
            control.i_done.eq(engine.o_done),
            control.i_error.eq(engine.o_error),
            control.i_error_code.eq(engine.o_error_code),
            control.i_error_address.eq(engine.o_error_address),
            control.i_error_port.eq(engine.o_error_port),
            *(engine.i_weights[port].eq(address) for port, address in enumerate(control.o_weights)),
        ]
        for name in COUNTERS:
            m.d.comb += getattr(control, f"i_count_{name.lower()}").eq(engine.o_count[name.lower()])
        for place in CLIPPED_PLACES if self.config.count_clipped else ():
            m.d.comb += [
                getattr(control, f"i_clipped_{place}").eq(engine.o_clipped[place]),
                getattr(control, f"i_clipped_flag_{place}").eq(engine.o_clipped_flags[place]),
            ]
        return m
