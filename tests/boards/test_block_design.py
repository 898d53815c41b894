"""Block designs: in a model of Vivado every connection fits, everything is clocked, reset and mapped."""

import re

import pytest

from boards import block_design
from boards.plan import BOARDS
from boards.xilinx import VirtexBoard, ZynqBoard
from lstm_hw.errors import ConfigError
from lstm_hw.gateware.top import Top
from lstm_hw.machine.ports import CONTROL, X, Y
from lstm_hw.machine.registers import ADDRESS_BITS, lookup
from lstm_hw.verilog.emit import emit_verilog
from tests.boards.vivado import Vivado
from tests.builders import config_of

ZYNQ = [name for name, platform in BOARDS.items() if issubclass(platform, ZynqBoard)]
VIRTEX = [name for name, platform in BOARDS.items() if issubclass(platform, VirtexBoard)]
ENGINES = {
    "one-port": {},
    "four-ports-eight-a-beat": {"rows": 64, "axi_ports": 4, "x_per_beat": 8},
}


@pytest.fixture(scope="module")
def engines():
    """Configuration and Verilog of engines, by name."""
    return {
        name: (config, emit_verilog(Top(config), "lstm_engine"))
        for name, config in ((name, config_of(**fields)) for name, fields in ENGINES.items())
    }


def files_of(board, engine):
    config, verilog = engine
    return BOARDS[board]().integration_files(config) | {"lstm_engine.v": verilog}


@pytest.mark.parametrize("board", [*ZYNQ, *VIRTEX])
def test_design_is_whole(board, engines):
    for engine in engines.values():
        vivado = Vivado(files_of(board, engine))
        assert vivado.run("block_design.tcl") == 0
        commands = {words[0] for words in vivado.seen}
        assert {"create_project", "validate_bd_design", "wait_on_run", "write_hw_platform"} <= commands
        assert [name.rpartition("/")[2] for name in vivado.copied] == ["lstm_hw.bit", "lstm_hw.hwh"]
        assert {f"engine/{name}" for name in (CONTROL, X, Y)} <= vivado.links.keys()
        assert board in ZYNQ or vivado.config["sysclk"] == {"FREQ_HZ": "200000000"}
        assert vivado.config["dma"]["c_include_mm2s_dre"] == vivado.config["dma"]["c_include_s2mm_dre"] == "1"
        assert ("-part", BOARDS[board].board.part) == next(
            words[-2:] for words in vivado.seen if words[0] == "create_project"
        )
        words = {word for seen in vivado.seen for word in seen}
        assert not words & {"board_part", "get_board_parts", "apply_bd_automation"}, "needs a board's files"


@pytest.mark.parametrize("board", ZYNQ)
def test_processor(board, engines):
    """Weights have an HP port each, the DMA what is left, and the interrupts reach the processor."""
    for name, dma in (("one-port", "S_AXI_HP1"), ("four-ports-eight-a-beat", "S_AXI_GP0")):
        vivado = Vivado(files_of(board, engines[name]))
        vivado.run("block_design.tcl")
        assert vivado.links["vectors/M00_AXI"] == f"ps7/{dma}"
        for port in range(engines[name][0].axi_ports):
            assert vivado.links[f"weights{port}/M00_AXI"] == f"ps7/S_AXI_HP{port}"
        assert [vivado.drivers[f"interrupts/In{n}"] for n in range(3)][0] == "engine/interrupt"
        assert vivado.addresses["ps7/Data"][f"engine/{CONTROL}/reg0"][1] == 1 << ADDRESS_BITS
        processor = vivado.config["ps7"]
        memory = BOARDS[board].processor.memory_bytes
        assert int(processor["PCW_DDR_RAM_HIGHADDR"], 0) == memory - 1
        chips = int(processor["PCW_UIPARAM_DDR_BUS_WIDTH"].split()[0]) // int(
            processor["PCW_UIPARAM_DDR_DRAM_WIDTH"].split()[0]
        )
        mbits = int(processor["PCW_UIPARAM_DDR_DEVICE_CAPACITY"].split()[0])
        assert chips * mbits << 17 == memory
        width = int(processor["PCW_UIPARAM_DDR_DRAM_WIDTH"].split()[0])
        assert width << (int(processor["PCW_UIPARAM_DDR_ROW_ADDR_COUNT"]) + 10 + 3) == mbits << 20
        pins = re.findall(r"MIO (\d+)(?: \.\. (\d+))?", " ".join(v for k, v in processor.items() if k.endswith("_IO")))
        taken = [pin for first, last in pins for pin in range(int(first), int(last or first) + 1)]
        assert len(taken) == len(set(taken)), "two peripherals on one pin"


@pytest.mark.parametrize("slack", [{"wns": "-0.2"}, {"whs": "-0.01"}, {"wns": ""}, {"progress": "40%"}])
def test_what_misses_its_clock_or_fails_is_an_error(slack, engines):
    for board in ("zedboard", "vc707"):
        vivado = Vivado(files_of(board, engines["one-port"]), **slack)
        assert vivado.run("block_design.tcl") == 1 and not vivado.copied
        assert re.search("error: (timing: (setup|hold) slack|implementation)", vivado.said)


def test_missing_files_stop_the_script_before_a_project_is_made(engines):
    files = files_of("vc707", engines["one-port"])
    text = files.pop("block_design.xdc")
    assert "PACKAGE_PIN E19" in text and "PACKAGE_PIN AV40" in text
    vivado = Vivado(files)
    assert vivado.run("block_design.tcl") == 1 and "block_design.xdc: not in" in vivado.said
    assert "create_project" not in {words[0] for words in vivado.seen}


@pytest.mark.parametrize(
    "missing, said",
    [
        ("xc7z020clg400-1", "part xc7z020clg400-1: not in this Vivado; must be installed"),
        ("axi_dma:7.1", "core axi_dma:7.1: not in this Vivado, which has: xilinx.com:ip:axi_dma:99.0; must be there"),
    ],
)
def test_a_part_or_a_core_that_is_missing_stops_the_script(engines, missing, said):
    vivado = Vivado(files_of("pynq-z2", engines["one-port"]), missing=missing)
    assert vivado.run("block_design.tcl") == 1 and said in vivado.said
    assert not vivado.cells and not vivado.written()


def test_a_design_that_does_not_fit_together_is_noticed(engines):
    """The model of Vivado finds wrong pins, widths, missing clocks and missing addresses."""
    files = files_of("zedboard", engines["one-port"])
    for old, new in (
        ("dma/M_AXIS_MM2S", "dma/M_AXIS_MMS"),
        ("c_m_axis_mm2s_tdata_width 16", "c_m_axis_mm2s_tdata_width 32"),
        (" weights0/aclk", ""),
        ("weights0/aresetn ", ""),
        ("-range 64K", "-range 48K"),
        ("0x40400000", "0x43c00000"),
    ):
        assert old in files["block_design.tcl"]
        changed = files | {"block_design.tcl": files["block_design.tcl"].replace(old, new)}
        with pytest.raises(AssertionError):
            Vivado(changed).run("block_design.tcl")


def test_beats_wider_than_the_dma(engines, monkeypatch):
    monkeypatch.setattr(block_design, "DMA_BITS", 64)
    for board in ("zedboard", "vc707"):
        with pytest.raises(ConfigError, match="engine.x_per_beat: 8; must make beats of up to 64 bits for the DMA"):
            files_of(board, engines["four-ports-eight-a-beat"])


class Bridge(Vivado):
    """The hardware manager with memory behind the bridge."""

    def __init__(self, files):
        super().__init__(files)
        self.words, self.transactions, self.found = {}, {}, ""

    def _get_hw_axis(self):
        return "axi"

    def _create_hw_axi_txn(self, *words):
        options = dict(zip(words[3::2], words[4::2], strict=True))
        self.transactions[words[1]] = options
        assert 1 <= int(options["-len"]) <= 256
        return words[1]

    def _run_hw_axi(self, _, name):
        options = self.transactions[name]
        address, count = int(options["-address"], 16), int(options["-len"])
        if options["-type"] == "write":
            assert len(options["-data"]) == 8 * count
            for n in range(count):
                end = len(options["-data"]) - 8 * n
                self.words[address + 4 * n] = int(options["-data"][end - 8 : end], 16)
        else:
            self.found = "".join(f"{self.words.get(address + 4 * n, 0):08x}" for n in reversed(range(count)))

    def _get_property(self, name, owner):
        return self.found if name == "DATA" else super()._get_property(name, owner)


def test_host_over_jtag(tmp_path, engines):
    """Bytes in memory and back, registers, transfers of the DMA."""
    config, _ = engine = engines["one-port"]
    files = files_of("vc707", engine)
    data = bytes(range(251)) * 9
    (tmp_path / "in.bin").write_bytes(data)
    files["test.tcl"] = files["jtag_host.tcl"] + (
        f"load_file 64 {tmp_path}/in.bin\n"
        f"save_file 64 {len(data)} {tmp_path}/out.bin; check_identity; send_x 64 10; take_y 80 6\n"
    )
    bridge = Bridge(files)
    control = 0x43C00000
    bridge.words = {
        control + lookup("ID").address: lookup("ID").reset,
        control + lookup("CONTENT_ID").address: config.content_id,
    }
    assert bridge.run("test.tcl") == 0
    assert (tmp_path / "out.bin").read_bytes() == data
    dma = {address - 0x40400000: value for address, value in bridge.words.items() if address >> 16 == 0x4040}
    assert dma == {0x00: 1, 0x18: 64, 0x28: 10, 0x30: 1, 0x48: 80, 0x58: 6}
