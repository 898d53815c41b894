"""The engine as an IP-XACT component (IEEE 1685-2009), as IP catalogues of FPGA tools read it."""

from xml.etree import ElementTree

from amaranth.hdl import Shape
from amaranth.lib.wiring import In

from ..machine.config import EngineConfig
from ..machine.ports import CONTROL, TOPLEVEL, weight_prefixes
from ..machine.registers import ADDRESS_BITS, PROGRAM, WORD_BYTES, Access, register_map
from .interfaces import interfaces_of, role_of
from .top import config_words, members_of

NAMESPACE = "http://www.spiritconsortium.org/XMLSchema/SPIRIT/1685-2009"
VENDOR, LIBRARY = "lstm-hw", "ip"
ADDRESS_BLOCK = "reg0"
_ACCESS = {Access.RO: "read-only", Access.WO: "write-only"}
_MODIFIED = {Access.W1S: "oneToSet", Access.W1C: "oneToClear", Access.W1T: "oneToToggle"}


def component_xml(config: EngineConfig, name: str, version: str, files: list[str]) -> str:
    """The component's description.

    Ports and interfaces are those of the emitted Verilog, registers those of the control port, with the values of the
    configuration.

    Parameters
    ----------
    config : EngineConfig
    name, version : str
        Of the component.
    files : list of str
        Verilog files beside the description.

    Returns
    -------
    str
        XML.
    """
    ElementTree.register_namespace("spirit", NAMESPACE)
    root = ElementTree.Element(_tag("component"))
    _texts(root, vendor=VENDOR, library=LIBRARY, name=name, version=version)
    ports = members_of(config)
    interfaces = _add(root, "busInterfaces")
    for interface, (kind, parameters) in interfaces_of(config).items():
        _interface(interfaces, interface, kind, parameters, list(ports))
    spaces = _add(root, "addressSpaces")
    for prefix in weight_prefixes(config):
        space = _add(spaces, "addressSpace")
        _texts(space, name=prefix, range=f"{1 << config.axi_address_bits:#x}", width=config.axi_data_bits)
    _memory_map(_add(_add(root, "memoryMaps"), "memoryMap"), config)
    _model(_add(root, "model"), ports)
    file_set = _add(_add(root, "fileSets"), "fileSet")
    _texts(file_set, name="verilog")
    for file in files:
        _texts(_add(file_set, "file"), name=file, fileType="verilogSource")
    _texts(root, description="An LSTM accelerator: weights by AXI4, x and outputs by AXI4-Stream, control by AXI4-Lite")
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _tag(name):
    return f"{{{NAMESPACE}}}{name}"


def _add(parent, tag, text=None, /, **attributes):
    child = ElementTree.SubElement(parent, _tag(tag), {_tag(key): value for key, value in attributes.items()})
    child.text = None if text is None else str(text)
    return child


def _texts(parent, **texts):
    for name, text in texts.items():
        _add(parent, name, text)


def _reference(parent, name, kind, suffix=""):
    library, word, version = kind.split(":")
    attributes = {"vendor": "xilinx.com", "library": library, "name": f"{word}{suffix}", "version": version}
    _add(parent, name, **attributes)


def _interface(parent, name, kind, parameters, ports):
    interface = _add(parent, "busInterface")
    _texts(interface, name=name)
    _reference(interface, "busType", kind)
    _reference(interface, "abstractionType", kind, "_rtl")
    if kind.startswith("interface:") and name.startswith("m_"):
        mode = _add(interface, "master")
        if "aximm" in kind:
            _add(mode, "addressSpaceRef", addressSpaceRef=name)
    elif "aximm" in kind:
        _add(_add(interface, "slave"), "memoryMapRef", memoryMapRef=name)
    else:
        _add(interface, "master" if "interrupt" in kind else "slave")
    maps = _add(interface, "portMaps")
    for port in ports:
        owner, role = role_of(port)
        if owner == name:
            pair = _add(maps, "portMap")
            _texts(_add(pair, "logicalPort"), name=role)
            _texts(_add(pair, "physicalPort"), name=port)
    described = _add(interface, "parameters")
    for key, value in parameters.items():
        parameter = _add(described, "parameter")
        _texts(parameter, name=key)
        _add(parameter, "value", value, id=f"BUSIFPARAM_VALUE.{name.upper()}.{key}")


def _memory_map(memory_map, config):
    _texts(memory_map, name=CONTROL)
    block = _add(memory_map, "addressBlock")
    _texts(block, name=ADDRESS_BLOCK, baseAddress="0x0", range=f"{1 << ADDRESS_BITS:#x}", width=8 * WORD_BYTES)
    _texts(block, usage="register", access="read-write")
    values = config_words(config)
    for register in register_map(config.axi_ports, config.count_clipped):
        entry = _add(block, "register")
        _texts(entry, name=register.name, description=register.doc, addressOffset=f"{register.address:#x}")
        _texts(entry, size=8 * WORD_BYTES, access=_ACCESS.get(register.access, "read-write"))
        reset = values.get(register.name, register.reset)
        _texts(_add(entry, "reset"), value=f"{reset:#x}", mask=f"{register.mask:#x}")
        for field in register.fields:
            part = _add(entry, "field")
            _texts(part, name=field.name, description=field.doc, bitOffset=field.lsb, bitWidth=field.width)
            _texts(part, access=_ACCESS.get(field.access, "read-write"))
            if field.access in _MODIFIED:
                _texts(part, modifiedWriteValue=_MODIFIED[field.access])
    window = _add(block, "register")
    _texts(window, name=PROGRAM.name, description=PROGRAM.doc, dim=PROGRAM.size // WORD_BYTES)
    _texts(window, addressOffset=f"{PROGRAM.address:#x}", size=8 * WORD_BYTES, access="write-only")
    _texts(memory_map, addressUnitBits=8)


def _model(model, ports):
    views = _add(model, "views")
    for use in ("synthesis", "simulation"):
        view = _add(views, "view")
        environment = f"verilogSource:vivado.xilinx.com:{use}"
        _texts(view, name=f"verilog_{use}", envIdentifier=environment, language="verilog", modelName=TOPLEVEL)
        _texts(_add(view, "fileSetRef"), localName="verilog")
    listed = _add(model, "ports")
    for name, member in ports.items():
        port = _add(listed, "port")
        _texts(port, name=name)
        wire = _add(port, "wire")
        _texts(wire, direction="in" if member.flow == In else "out")
        width = Shape.cast(member.shape).width
        if width > 1:
            _texts(_add(wire, "vector"), left=width - 1, right=0)
