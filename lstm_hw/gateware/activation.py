"""The component of an activation unit."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..machine.activation import PairActivation as PairParameters
from ..machine.activation_unit import ActivationUnit
from ..machine.magnitude_activation import MagnitudeActivation as MagnitudeParameters
from .coefficient_table import register
from .magnitude_activation import MagnitudeActivation
from .shared_activation import SharedActivation


class PairActivation(wiring.Component):
    """Sigmoid by one component and tanh by another, with the members of either.

    Timing
    ------
    Latency of the slower one, one more if ``registered``; ``o_y`` is a choice of two registers.
    """

    def __init__(self, parameters: PairParameters, registered: bool = False):
        self.parameters, self.registered = parameters, registered
        self.latency = parameters.latency + registered
        super().__init__(
            {
                "i_x": In(signed(parameters.i_format.width)),
                "i_tanh": In(1),
                "o_y": Out(signed(parameters.o_format.width)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        tanh, results = self.i_tanh, []
        for name in ("sigmoid", "tanh"):
            parameters = getattr(self.parameters, name)
            m.submodules[f"{name}_unit"] = unit = activation_component(parameters, self.registered)
            m.d.comb += [unit.i_x.eq(self.i_x), unit.i_tanh.eq(name == "tanh")]
            result = unit.o_y
            for n in range(self.latency - unit.latency):
                result = register(m, result, f"{name}_waits{n}")
            results.append(result)
        for n in range(self.latency):
            tanh = register(m, tanh, f"tanh{n}")
        m.d.comb += self.o_y.eq(Mux(tanh, results[1], results[0]))
        return m


def activation_component(
    parameters: ActivationUnit, registered: bool = False
) -> SharedActivation | MagnitudeActivation | PairActivation:
    """The component that gives the bits of ``parameters.compute()`` after ``parameters.latency`` cycles.

    Parameters
    ----------
    parameters : ActivationUnit
    registered : bool
        Where arguments would pass a register before it anyway, it has one itself, behind the magnitude, so that the
        magnitude and the table are no path: results are a cycle later.
    """
    if isinstance(parameters, PairParameters):
        return PairActivation(parameters, registered)
    create = MagnitudeActivation if isinstance(parameters, MagnitudeParameters) else SharedActivation
    return create(parameters, registered)
