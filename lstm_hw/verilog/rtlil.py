"""Rewriting of Amaranth's RTLIL text before Yosys turns it into Verilog.

Amaranth names modules ``top.child``, renames clashes to ``name$14``, adds a wire for each field of a structure and
writes one module for each instance. All of that is legal RTLIL, but becomes escaped identifiers, unused wires and
repeated text in Verilog. :func:`tidy` removes it without touching what the circuit does.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

VERILOG_KEYWORDS = frozenset(
    """
always and assign automatic begin buf bufif0 bufif1 case casex casez cell cmos config deassign default defparam design
disable edge else end endcase endconfig endfunction endgenerate endmodule endprimitive endspecify endtable endtask
event for force forever fork function generate genvar highz0 highz1 if ifnone incdir include initial inout input
instance integer join large liblist library localparam macromodule medium module nand negedge nmos nor noshowcancelled
not notif0 notif1 or output parameter pmos posedge primitive pull0 pull1 pulldown pullup pulsestyle_ondetect
pulsestyle_onevent rcmos real realtime reg release repeat rnmos rpmos rtran rtranif0 rtranif1 scalared showcancelled
signed small specify specparam strong0 strong1 supply0 supply1 table task time tran tranif0 tranif1 tri tri0 tri1
triand trior trireg unsigned use uwire vectored wait wand weak0 weak1 while wire wor xnor xor
""".split()
)
"""Reserved words of Verilog-2005, which cannot name anything without an escape."""

_DROPPED_ATTRIBUTE = re.compile(r"\s*attribute \\(generator|top|src|enum_\w+|amaranth\.\w+) ")
_WIRE = re.compile(r"(  wire width \d+) (?:(input|output|inout) \d+ )? ?(signed )?(\S+)$")
_MEMID = re.compile(r'(\s*parameter \\MEMID )"\\\\(.*)"$')
_ZERO_DATA = re.compile(r"\s*connect \\DATA \d+'0+$")
_IDENTIFIER = re.compile(r"\\[^\s\"]+")


@dataclass
class _Item:
    """One wire, memory, cell, process or connection, with the attributes before it."""

    kind: str
    lines: list[str]


@dataclass
class _Module:
    name: str
    items: list[_Item] = field(default_factory=list)


@dataclass(frozen=True)
class Tidied:
    """What :func:`tidy` returns.

    Parameters
    ----------
    text : str
        The RTLIL to hand to Yosys.
    zeroed : frozenset of (str, str)
        Module and memory name of each memory whose rows all start at zero. Their initial values are not in the text
        any more: a memory of a million bits would otherwise be a line of a million digits.
    paths : dict of str to str
        Name of each module -> its path in Amaranth's text, of one of the instances that share it.
    """

    text: str
    zeroed: frozenset[tuple[str, str]]
    paths: dict[str, str]


def tidy(text: str, top: str, ports: Iterable[str] = ()) -> Tidied:
    """Give every module and net of an RTLIL text a plain Verilog name and write equal modules once.

    Parameters
    ----------
    text : str
        Output of ``amaranth.back.rtlil.convert(..., name=top, emit_src=False)``.
    top : str
        Name of the top module. Other modules become ``<top>_<path of the instance>``; modules that several instances
        share lose the number at the end of the first one's path.
    ports : iterable of str
        Order of the top's ports. Those that it does not name, which are clocks and resets, come first.

    Returns
    -------
    Tidied
    """
    modules = _parse(text)
    _rename_nets(modules)
    zeroed = {module.name: _take_zeroed_memories(module) for module in modules}
    kept, stands_for = _merge_equal(modules, top, list(ports))
    names = _module_names(kept, stands_for, top)
    return Tidied(
        text="\n".join(_write(module, names) for module in kept),
        zeroed=frozenset((names[module.name], memory) for module in kept for memory in zeroed[module.name]),
        paths={names[module.name]: module.name for module in kept},
    )


def expand_pmux(text: str) -> str:
    """Replace the parallel multiplexers of an RTLIL text, which Yosys writes as functions, by two-way ones.

    The selects of a ``$pmux`` are one-hot or all zero. Up to four of them become a chain, more a balanced tree.

    Parameters
    ----------
    text : str
        RTLIL as Yosys's ``proc`` leaves it.

    Returns
    -------
    str
        The same circuit with ``$mux`` and ``$or`` cells.
    """
    return re.sub(
        r"^  cell \$pmux (\S+)\n((?:    .*\n)+)  end\n", lambda match: _Pmux(*match.groups()).text(), text, flags=re.M
    )


def drop_unused_inputs(text: str, top: str) -> str:
    """Remove the input ports that their module does not use, such as the reset of one that has nothing to reset.

    Yosys's own ``rmports``, in the version that Amaranth brings, removes outputs that are constant as well.

    Parameters
    ----------
    text : str
        RTLIL as Yosys writes it, without processes.
    top : str
        The module that keeps all its ports.

    Returns
    -------
    str
    """
    chunks = re.split(r"^(?:attribute .*\n)*module \\(\S+)\n", text, flags=re.M)
    bodies = dict(zip(chunks[1::2], chunks[2::2], strict=True))
    while True:
        unused = {module: _unused_inputs(body) for module, body in bodies.items() if module != top}
        if not any(unused.values()):
            break
        for module, ports in unused.items():
            for port in ports:
                bodies[module] = re.sub(rf"^(?:  attribute .*\n)*  wire .*\\{port}\n", "", bodies[module], flags=re.M)
        for module, body in bodies.items():
            bodies[module] = re.sub(
                r"^  cell \\(\S+) .*\n(?:    .*\n)*",
                lambda match, unused=unused: _without_ports(match, unused),
                body,
                flags=re.M,
            )
    return "".join(f"module \\{module}\n{body}" for module, body in bodies.items())


def _unused_inputs(body):
    inputs = re.findall(r"^  wire .*\binput \d+ (?:signed )?\\(\S+)$", body, flags=re.M)
    uses = re.sub(r"^  wire .*$|^    connect \S+", "", body, flags=re.M)  # not the names of ports of the cells inside
    return sorted(set(inputs) - set(re.findall(r"\\(\w+)", uses)))


def _without_ports(match, unused):
    ports = unused.get(match[1], ())
    return "".join(
        line
        for line in match[0].splitlines(keepends=True)
        if not (line.startswith("    connect \\") and line.split()[1][1:] in ports)
    )


class _Pmux:
    """One ``$pmux`` cell and the cells that replace it, named after it."""

    def __init__(self, name, body):
        values = dict(re.findall(r"^    (?:parameter|connect) \\(\w+) (.*)$", body, flags=re.M))
        self.name, self.lines, self.made = name, [], 0
        self.width, self.count = int(values["WIDTH"]), int(values["S_WIDTH"])
        self.default, self.output = values["A"], values["Y"]
        selects, data = self._wire(self.count), self._wire(self.width * self.count)
        self.connections = [f"  connect {selects} {values['S']}", f"  connect {data} {values['B']}"]
        self.cases = [
            (f"{selects} [{n}]", f"{data} [{(n + 1) * self.width - 1}:{n * self.width}]") for n in range(self.count)
        ]

    def text(self) -> str:
        if self.count <= 4:
            value = self.default
            for select, case in reversed(self.cases):
                value = self._mux(select, case, value)
        else:
            select, case = self._tree(self.cases)
            value = self._mux(select, case, self.default)
        return "\n".join([*self.lines, *self.connections, f"  connect {self.output} {value}"]) + "\n"

    def _tree(self, cases):
        """Return the signals "any select is set" and "the selected case"."""
        if len(cases) == 1:
            return cases[0]
        (left, one), (right, zero) = self._tree(cases[: len(cases) // 2]), self._tree(cases[len(cases) // 2 :])
        both = self._wire(1)
        self._cell(
            "$or",
            {"A_SIGNED": 0, "B_SIGNED": 0, "A_WIDTH": 1, "B_WIDTH": 1, "Y_WIDTH": 1},
            {"A": left, "B": right, "Y": both},
        )
        return both, self._mux(left, one, zero)

    def _mux(self, select, one, zero):
        out = self._wire(self.width)
        self._cell("$mux", {"WIDTH": self.width}, {"A": zero, "B": one, "S": select, "Y": out})
        return out

    def _wire(self, width):
        self.made += 1
        self.lines.append(f"  wire width {width} {self.name}$expanded{self.made}")
        return f"{self.name}$expanded{self.made}"

    def _cell(self, kind, parameters, ports):
        self.lines += [
            f"  cell {kind} {ports['Y']}$cell",
            *(f"    parameter \\{key} {value}" for key, value in parameters.items()),
            *(f"    connect \\{port} {signal}" for port, signal in ports.items()),
            "  end",
        ]


def _parse(text):
    modules = []
    for chunk in text.split("\nend\n"):
        lines = [line for line in chunk.split("\n") if line.strip() and not _DROPPED_ATTRIBUTE.match(line)]
        if not lines:
            continue
        module = _Module(lines[0].removeprefix("module \\"))
        pending, closed = [], True
        for line in lines[1:]:
            pending.append(line)
            if closed:
                kind = line.split(maxsplit=1)[0]
                closed = kind not in ("cell", "process")
            else:
                closed = line == "  end"
            if closed and kind != "attribute":
                module.items.append(_Item(kind, pending))
                pending = []
        modules.append(module)
    return modules


def _plain(name, taken):
    """Return ``name`` as a Verilog identifier outside ``taken``."""
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)
    if plain[0].isdigit() or plain in VERILOG_KEYWORDS:
        plain = f"{plain}_" if plain in VERILOG_KEYWORDS else f"_{plain}"
    while plain in taken:
        plain += "_"
    return plain


def _rename_nets(modules):
    # One map for all modules: the name of a port must change alike in its module and where that is instantiated.
    names = dict.fromkeys(
        item.lines[-1].split()[-1]
        if item.kind in ("wire", "memory")
        else next(line for line in item.lines if line.startswith("  cell")).split()[-1]
        for module in modules
        for item in module.items
        if item.kind in ("wire", "memory", "cell")
    )
    wires = {item.lines[-1].split()[-1] for module in modules for item in module.items if item.kind == "wire"}
    public = [name[1:] for name in names if name.startswith("\\")]
    taken = {name for name in public if _plain(name, ()) == name}
    renamed = {}
    for name in public:
        if name in taken:
            continue
        if re.search(r"[.\[]", name) and "\\" + name in wires:
            renamed["\\" + name] = "$" + name  # alias of a field of a structure: Yosys drops it when unnamed
        else:
            renamed["\\" + name] = "\\" + _plain(name, taken)
            taken.add(renamed["\\" + name][1:])

    def rename(match):
        return renamed.get(match[0], match[0])

    def rename_memid(match):
        return f'{match[1]}"\\{renamed.get(chr(92) + match[2], chr(92) + match[2])}"'

    for module in modules:
        for item in module.items:
            for number, line in enumerate(item.lines):
                if line.lstrip().startswith("parameter"):
                    item.lines[number] = _MEMID.sub(rename_memid, line)
                elif line.startswith("  cell \\"):
                    kind, name = line.split()[1:]
                    item.lines[number] = f"  cell {kind} {renamed.get(name, name)}"
                elif not line.lstrip().startswith("attribute"):
                    item.lines[number] = _IDENTIFIER.sub(rename, line)


def _take_zeroed_memories(module):
    """Remove the all-zero initial values from a module and return the names of their memories."""
    zeroed = set()
    for item in list(module.items):
        if item.kind == "cell" and item.lines[0].startswith("  cell $meminit_v2 "):
            if any(_ZERO_DATA.match(line) for line in item.lines):
                zeroed.update(match[2] for match in map(_MEMID.match, item.lines) if match)
                module.items.remove(item)
    return zeroed


def _merge_equal(modules, top, order):
    """Return the distinct modules and, for every module's name, the name of the one that stands for it."""
    kept, stands_for, seen = [], {}, {}
    for module in reversed(modules):  # Amaranth writes parents first: children are settled when a parent is compared
        for item in module.items:
            if item.kind == "cell":
                for number, line in enumerate(item.lines):
                    if line.startswith("  cell \\"):
                        kind, name = line.split()[1:]
                        item.lines[number] = f"  cell \\{stands_for.get(kind[1:], kind[1:])} {name}"
        # The order of a submodule's ports is the order in which its parent happens to use them.
        _sort_ports(module, order if module.name == top else [])
        body = "\n".join("\n".join(item.lines) for item in module.items)
        stands_for[module.name] = seen.setdefault(body, module.name)
        if stands_for[module.name] == module.name:
            kept.append(module)
    kept.reverse()
    return kept, stands_for


def _sort_ports(module, order):
    def rank(item):
        name = item.lines[-1].split()[-1]
        return order.index(name[1:]) if name[1:] in order else -1, name

    ports = sorted((item for item in module.items if item.kind == "wire" and _WIRE.match(item.lines[-1])[2]), key=rank)
    others = [item for item in module.items if not any(item is port for port in ports)]
    for number, item in enumerate(ports, start=1):  # Yosys puts a port of number 0 last
        item.lines[-1] = _WIRE.sub(rf"\1 \2 {number} \3\4", item.lines[-1])
    module.items = ports + others


def _module_names(kept, stands_for, top):
    instances = {}
    for name, representative in stands_for.items():
        instances.setdefault(representative, []).append(name)
    names, taken = {top: top}, {top}
    for module in kept:
        if module.name == top:
            continue
        path = min(instances[module.name], key=lambda name: (len(name), name)).removeprefix(f"{top}.")
        if len(instances[module.name]) > 1:
            path = re.sub(r"_?\d+$", "", path)
        names[module.name] = _plain(f"{top}_{path}", taken)
        taken.add(names[module.name])
    return names


def _write(module, names):
    lines = [f"module \\{names[module.name]}"]
    for item in module.items:
        for line in item.lines:
            if line.startswith("  cell \\"):
                kind, name = line.split()[1:]
                line = f"  cell \\{names.get(kind[1:], kind[1:])} {name}"
            lines.append(line)
    return "\n".join([*lines, "end", ""])
