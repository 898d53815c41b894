"""Names of the emitted top level and of its interfaces."""

from .config import EngineConfig

TOPLEVEL = "lstm_engine"
"""Module of the engine, and file of its Verilog."""
CONTROL, WEIGHTS, X, Y = "s_axi_ctrl", "m_axi_weights", "s_axis_x", "m_axis_y"
"""Prefixes of the interfaces; of several weight ports, each has its number behind."""


def weight_prefixes(config: EngineConfig) -> list[str]:
    """Prefix of each weight port: ``m_axi_weights``, or ``m_axi_weights0``, ``m_axi_weights1`` and so on."""
    return [f"{WEIGHTS}{port if config.axi_ports > 1 else ''}" for port in range(config.axi_ports)]
