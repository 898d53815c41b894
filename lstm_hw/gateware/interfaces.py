"""How the ports of the top level form interfaces, in the words of Vivado's IP integrator (UG994, UG1118)."""

from collections.abc import Iterable

from ..machine.config import EngineConfig
from ..machine.latency import in_flight
from ..machine.limits import VALUE_BITS
from ..machine.ports import CONTROL, X, Y, weight_prefixes
from ..machine.registers import ADDRESS_BITS

CLOCK, RESET, INTERRUPT = "aclk", "aresetn", "interrupt"
"""Ports that are a whole interface."""
_ROLES = {CLOCK: "CLK", RESET: "RST", INTERRUPT: "INTERRUPT"}


def interface_attributes(config: EngineConfig, ports: Iterable[str]) -> dict[str, dict[str, str]]:
    """Attributes of the top level's ports.

    Parameters
    ----------
    config : EngineConfig
    ports : iterable of str
        Names of all ports.

    Returns
    -------
    dict of str to dict of str to str
        Port -> ``X_INTERFACE_INFO``, what the port is in its interface, and in one port of each interface
        ``X_INTERFACE_PARAMETER``, what the interface is.
    """
    kinds = interfaces_of(config)
    found, described = {}, set()
    for port in ports:
        interface, role = role_of(port)
        kind, parameters = kinds[interface]
        found[port] = {"X_INTERFACE_INFO": f"xilinx.com:{kind} {interface} {role}"}
        if interface not in described:
            described.add(interface)
            words = ", ".join(f"{name} {value}" for name, value in parameters.items())
            found[port]["X_INTERFACE_PARAMETER"] = f"XIL_INTERFACENAME {interface}, {words}"
    return found


def role_of(port: str) -> tuple[str, str]:
    """The interface that a port is of, and what it is there."""
    if port in _ROLES:
        return port, _ROLES[port]
    interface, _, role = port.rpartition("_")
    return interface, role.upper()


def interfaces_of(config: EngineConfig) -> dict[str, tuple[str, dict[str, str | int]]]:
    """Kind and parameters of each interface, by name."""
    weights = {
        "PROTOCOL": "AXI4",
        "READ_WRITE_MODE": "READ_ONLY",
        "DATA_WIDTH": config.axi_data_bits,
        "ADDR_WIDTH": config.axi_address_bits,
        "ID_WIDTH": 1,
        "HAS_BURST": 1,
        "MAX_BURST_LENGTH": config.max_burst,
        "SUPPORTS_NARROW_BURST": 0,
        "NUM_READ_OUTSTANDING": in_flight(config.outstanding),
    }
    masters = weight_prefixes(config)
    stream = {"HAS_TREADY": 1, "HAS_TLAST": 1, "HAS_TKEEP": 0, "HAS_TSTRB": 0}
    buses = ":".join((CONTROL, *masters, X, Y))
    kinds = {
        CLOCK: "signal:clock:1.0",
        RESET: "signal:reset:1.0",
        INTERRUPT: "signal:interrupt:1.0",
        CONTROL: "interface:aximm:1.0",
        X: "interface:axis:1.0",
        Y: "interface:axis:1.0",
        **dict.fromkeys(masters, "interface:aximm:1.0"),
    }
    parameters = {
        CLOCK: {"ASSOCIATED_BUSIF": buses, "ASSOCIATED_RESET": RESET},
        RESET: {"POLARITY": "ACTIVE_LOW"},
        INTERRUPT: {"SENSITIVITY": "LEVEL_HIGH"},
        CONTROL: {"PROTOCOL": "AXI4LITE", "DATA_WIDTH": 32, "ADDR_WIDTH": ADDRESS_BITS},
        X: {"TDATA_NUM_BYTES": config.operand_bits * config.x_per_beat // 8} | stream,
        Y: {"TDATA_NUM_BYTES": VALUE_BITS // 8} | stream,
        **dict.fromkeys(masters, weights),
    }
    return {name: (kind, parameters[name]) for name, kind in kinds.items()}
