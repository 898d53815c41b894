"""Bus signatures: AXI4 read channels and AXI4-Lite, with the member names of the AMBA specification.

Both are described from the master's side; a slave port is ``In(signature)``.
"""

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..machine.limits import PAGE_BYTES

__all__ = ["BURST_INCR", "DECERR", "EXOKAY", "OKAY", "PAGE_BYTES", "SLVERR", "Axi4Lite", "Axi4Read"]

OKAY, EXOKAY, SLVERR, DECERR = range(4)
"""Response codes of RRESP and BRESP."""

BURST_INCR = 1


class Axi4Read(wiring.Signature):
    """Read address and read data channel of AXI4, as seen by the master.

    Parameters
    ----------
    address_bits : int
        Width of ``araddr``.
    data_bits : int
        Width of ``rdata``, a power of two from 64 to 1024.
    id_bits : int
        Width of ``arid`` and ``rid``.
    """

    def __init__(self, address_bits: int, data_bits: int, id_bits: int = 1):
        self.address_bits, self.data_bits, self.id_bits = address_bits, data_bits, id_bits
        super().__init__(
            {
                "arid": Out(id_bits),
                "araddr": Out(address_bits),
                "arlen": Out(8),
                "arsize": Out(3),
                "arburst": Out(2),
                "arlock": Out(1),
                "arcache": Out(4),
                "arprot": Out(3),
                "arqos": Out(4),
                "arvalid": Out(1),
                "arready": In(1),
                "rid": In(id_bits),
                "rdata": In(data_bits),
                "rresp": In(2),
                "rlast": In(1),
                "rvalid": In(1),
                "rready": Out(1),
            }
        )


class Axi4Lite(wiring.Signature):
    """The five channels of AXI4-Lite with 32 data bits, as seen by the master."""

    def __init__(self, address_bits: int):
        self.address_bits = address_bits
        super().__init__(
            {
                "awaddr": Out(address_bits),
                "awprot": Out(3),
                "awvalid": Out(1),
                "awready": In(1),
                "wdata": Out(32),
                "wstrb": Out(4),
                "wvalid": Out(1),
                "wready": In(1),
                "bresp": In(2),
                "bvalid": In(1),
                "bready": Out(1),
                "araddr": Out(address_bits),
                "arprot": Out(3),
                "arvalid": Out(1),
                "arready": In(1),
                "rdata": In(32),
                "rresp": In(2),
                "rvalid": In(1),
                "rready": Out(1),
            }
        )
