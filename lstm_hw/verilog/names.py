"""Names of ports, and what each module is, taken from the components of a design.

Amaranth names a module's port after the first signal that it finds there, whoever it belongs to: with a number behind
it where two signals of one name meet, and by number alone where the port is a part of a signal. Here a port has the
name of the component's own member, or of the part of it.
"""

import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager

from amaranth.hdl import Elaboratable, Fragment, Module, Signal, Value, _ir
from amaranth.hdl._ast import SignalDict
from amaranth.hdl._xfrm import TransformedElaboratable
from amaranth.lib import wiring


def component_of(fragment: Fragment) -> Elaboratable | None:
    """What a fragment was elaborated from; None if it was made on the spot."""
    for origin in fragment.origins or ():
        if not isinstance(origin, (TransformedElaboratable, Module)):
            return origin
    return None


def descriptions(design: _ir.Design) -> dict[str, str]:
    """Path of each module -> the first sentence of its component's docstring, as plain text."""
    texts = {}
    for fragment, info in design.fragments.items():
        component = component_of(fragment)
        text = inspect.getdoc(type(component)) if component is not None else None
        if text:
            first = re.split(r"(?<=\.)\s|\n\n", text, maxsplit=1)[0]
            texts[".".join(info.name)] = re.sub(r":\w+:|`", "", " ".join(first.split())).replace("~", "")
    return texts


def name_members(design: _ir.Design) -> dict[str, set[str]]:
    """Give the members of each component the names that they have there, and all other signals different ones.

    Returns
    -------
    dict of str to set of str
        Path of each module -> names of the members.
    """
    named = {}
    for fragment, info in design.fragments.items():
        component = component_of(fragment)
        members = SignalDict()
        if fragment is not design.fragment and isinstance(getattr(component, "signature", None), wiring.Signature):
            for path, _, value in component.signature.flatten(component):
                signal = Value.cast(value)
                if isinstance(signal, Signal) and signal in info.signal_names:
                    members[signal] = plain("__".join(map(str, path)))
        taken = set(members.values())
        for signal, name in list(info.signal_names.items()):
            if signal not in members and fragment is not design.fragment:
                name = _free(plain(name), taken)
                taken.add(name)
            info.signal_names[signal] = members.get(signal, name)
        named[".".join(info.name)] = set(members.values())
    return named


def plain(name: str) -> str:
    """A name with the number of an array's element behind the array's name: ``i_fill__0`` is ``i_fill0``."""
    return re.sub(r"__(\d+)(?=__|$)", r"\1", name)


def _free(name, taken):
    base, number = name.partition("$")[0], 0
    while name in taken:
        number += 1
        name = f"{base}${number}"
    return name


@contextmanager
def ports_by_name(named: dict[str, set[str]]) -> Iterator[None]:
    """Let Amaranth name ports after members: bits 39 to 4 of ``araddr`` are ``araddr_39_4``.

    Parameters
    ----------
    named : dict
        Of :func:`name_members`.
    """
    original = _ir._compute_ports

    def compute_ports(netlist):
        original(netlist)
        for module in netlist.modules[1:]:
            own = named[".".join(module.name)]
            signals = {name: netlist.signals[signal] for signal, name in module.signal_names.items()}
            others = {name: bits for name, bits in signals.items() if name not in own and "$" not in name}
            members = {name: bits for name, bits in signals.items() if name in own}
            ports = {}
            for name, (value, flow) in module.ports.items():
                taken = {*ports, *signals}
                parts = _parts(value, members, taken) or _parts(value, others, taken) or [(name, value)]
                ports |= {part: (bits, flow) for part, bits in parts}
            module.ports.clear()
            module.ports.update(ports)

    _ir._compute_ports = compute_ports
    try:
        yield
    finally:
        _ir._compute_ports = original


def _parts(value, signals, taken):
    """The signal that a value is, or the signals and parts of signals that it consists of: pairs of name and value."""
    for name, bits in signals.items():
        if bits == value:
            return [(name, value)]
    places = {}
    for name, bits in signals.items():
        for place, net in enumerate(bits):
            places.setdefault(net, (name, place))
    runs = []  # signal, place of the first bit, nets
    for net in value:
        if net not in places:
            return None
        name, place = places[net]
        if runs and runs[-1][0] == name and runs[-1][1] + len(runs[-1][2]) == place:
            runs[-1][2].append(net)
        else:
            runs.append((name, place, [net]))
    parts = []
    for name, first, nets in runs:
        last = first + len(nets) - 1
        if len(nets) < len(signals[name]):
            name = f"{name}_{last}_{first}" if last > first else f"{name}_{first}"
            if name in taken:
                return None
        parts.append((name, type(value)(nets)))
    return parts
