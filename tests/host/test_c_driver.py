"""The C driver: against firmware images of all kinds, and against the simulated engine."""

import json
import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import lstm_hw
from bench.fuzz import resealed
from boards import flash_image, host_design
from boards.plan import scenario_of
from lstm_hw.host import c_driver
from lstm_hw.host.fields import offset_of
from lstm_hw.host.image import ENTRY, ENTRY_BYTES, HEADER, HEADER_BYTES, Kind
from lstm_hw.host.protocol import HELLO, FlashState, Hello, TestState
from lstm_hw.machine.formats import OVERFLOWS, ROUNDINGS, InputCode
from lstm_hw.machine.registers import PROGRAM, ErrorCode, Refusal, lookup
from lstm_hw.model.float_model import FloatModel
from sim.runner import run_bench

from ..plan.test_plain import cells, head, rnn
from ..projects import tensors, write_project
from ..simulators import QUICK
from .c_driver import CC, CXX, PLAIN, SANITIZE, WARNINGS, compiled, needs_compiler, session
from .test_image import put, section

pytestmark = needs_compiler

ROOT = Path(__file__).parents[2]
HEADER_FILE = c_driver.SOURCES / "lstm_hw.h"
STATUS = {
    name: number
    for number, name in enumerate(
        re.findall(r"^    LSTM_HW_(\w+)(?: = 0)?,? ", re.sub(r",\n", ", \n", HEADER_FILE.read_text()), re.M)
    )
}
STATUS_NAMES = list(STATUS)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A layer and a head on the last step, which counts what is clipped."""
    folder = tmp_path_factory.mktemp("tiny")
    return lstm_hw.load(write_project(folder, steps=4, engine={"rows": 4, "count_clipped": True}))


@pytest.fixture(scope="module")
def streamed(tmp_path_factory):
    """A layer whose weights stream from two ports, two sequences side by side, h of every step sent."""
    folder = tmp_path_factory.mktemp("streamed")
    model = tensors(np.random.default_rng(3), inputs=41, hidden=(12,), outputs=0)
    engine = {"rows": 32, "contexts": 2, "x_per_beat": 4, "axi_ports": 2, "axi_data_bits": 64}
    plan = {"schedule": "sbe", "batch": 2, "pinned": 9}
    return lstm_hw.load(
        write_project(folder, model=model, steps=6, engine=engine, plan=plan, data={"labels": None}, random=None)
    )


@pytest.fixture(scope="module")
def content(project):
    return project.firmware.to_bytes()


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    """Folder of the compiled programs."""
    folder = tmp_path_factory.mktemp("programs")
    compiled(folder, "play.c")
    return folder


def image_file(folder, content):
    path = folder / "model.lstmfw"
    path.write_bytes(content)
    return str(path)


def outputs(line):
    """y[sequences x vectors x outputs] of a line of ``predict``, which went well."""
    assert line[:6] == ["predict", "0", "error", "0", "refused", "0"], line
    return [int(word) for word in line[7:]]


def status(line):
    """Name of the status, and what else a line says of errors."""
    return STATUS_NAMES[int(line[1])], *(int(word, 0) for word in line[3:7:2])


# -- the files


def test_statuses():
    """Each has a number, in the order of the header, and a sentence."""
    assert STATUS["OK"] == 0 and STATUS["E_SYSTEM"] == len(STATUS) - 1 == 24
    source = (c_driver.SOURCES / "lstm_hw.c").read_text()
    for name in STATUS:
        assert f"case LSTM_HW_{name}: return" in source


def test_layout_header():
    """What the header says is what the page says."""
    defines = dict(re.findall(r"^#define LSTM_HW_(\w+) (\d+)u$", c_driver.layout_header(), re.M))
    page = (ROOT / "docs" / "host.md").read_text()
    fields = re.findall(r"^\| (\d+) \| [ui0-9 bytes]+ \| `(\w+)` \|", page, re.M)
    names = {"version": "VERSION_AT", "kind": "ENTRY_KIND", "offset": "ENTRY_OFFSET", "bytes": "ENTRY_BYTES_AT"}
    names |= {"crc32": "ENTRY_CRC32", "sha256": "ENTRY_SHA256"}
    known = {name: at for at, name in fields if name != "magic" and "_beat_bytes" not in name}
    assert len(known) == 30 + 5
    for name, at in known.items():
        assert defines[f"IMAGE_{names.get(name, name.upper())}"] == at, name
    for kind, name in re.findall(r"^\| (\d+) \| ([A-Z_]+) \|", page, re.M):
        found = defines.get(f"IMAGE_KIND_{name}", defines.get(f"LINE_STATUS_{name}"))
        assert found == kind, name
    (hello,) = re.findall(r"^HELLO is answered with (\d+) bytes:\n(.*?)\n\n- ", page, re.M | re.S)
    offsets = re.findall(r"^\| (\d+) \| ([ui]\d+) \|", hello[1], re.M)
    assert hello[0] == defines["LINE_HELLO_BYTES"]
    assert [field.name for field in HELLO] == list(Hello.__dataclass_fields__)
    assert [defines[f"LINE_HELLO_{field.name.upper()}"] for field in HELLO] == [at for at, _ in offsets]
    assert [{"H": "u16", "I": "u32", "Q": "u64"}[field.code] for field in HELLO] == [kind for _, kind in offsets]
    for op, name in re.findall(r"^\| 0x(\d\d) \| ([A-Z_]+) \|", page, re.M):
        assert int(defines[f"LINE_OP_{name}"]) == int(op, 16)


def test_files_are_written(tmp_path):
    paths = c_driver.write_c_driver(tmp_path / "driver")
    assert {path.name for path in paths} == set(c_driver.c_driver()) == set(map(str, os.listdir(tmp_path / "driver")))
    assert {path.name for path in c_driver.SOURCES.iterdir()} < set(c_driver.c_driver())


@pytest.mark.parametrize("options", [["-O2"], ["-O2", "-DLSTM_HW_SHA256", "-DLSTM_HW_SERIAL_PAYLOAD=64"]])
def test_every_file_compiles(tmp_path, options):
    """Each alone, as C99 with every warning an error, without a call of an allocator; headers as C++ too, once."""
    for path in c_driver.write_c_driver(tmp_path):
        if path.suffix == ".h" and len(options) > 1:
            continue
        command = [CC, *WARNINGS, *options, "-c", path.name, "-o", f"{path.stem}.o"]
        if path.suffix == ".h":
            command = [
                CXX,
                "-std=c++11",
                "-pedantic",
                "-Wall",
                "-Wextra",
                "-Werror",
                "-fsyntax-only",
                "-x",
                "c++",
                path.name,
            ]
            result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
            assert result.returncode == 0, result.stderr
        else:
            result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
            assert result.returncode == 0, result.stderr
            assert not re.search(r"\b(malloc|calloc|realloc|alloca|free)\b", path.read_text())
            if path.stem != "lstm_hw_float":
                assert not re.search(r"\b(float|double)\b", re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S))


# -- images


def read_images(program, images):
    """Words of the line for each image."""
    feed = b"".join(len(image).to_bytes(4, "little") + image for image in images)
    result = subprocess.run([program], input=feed, capture_output=True)
    assert result.returncode == 0, result.stderr.decode()
    lines = result.stdout.decode().splitlines()
    assert len(lines) == len(images)
    return [line.split() for line in lines]


@pytest.fixture(scope="module")
def readers(tmp_path_factory):
    """The reader of images, without and with SHA-256."""
    plain, hashed = (tmp_path_factory.mktemp(name) for name in ("plain", "hashed"))
    return (
        compiled(plain, "images.c", PLAIN),
        compiled(hashed, "images.c", (*PLAIN, "lstm_hw_sha256.c"), [*SANITIZE, "-DLSTM_HW_SHA256"]),
    )


def test_images_are_read(readers, project, streamed):
    """And their streams are as long as the planner's."""
    for one in (project, streamed):
        firmware = one.firmware
        x = firmware.vectors.x[: firmware.streams.sequences, :3]
        beats, _ = firmware.streams.beats(np.resize(x, (firmware.streams.sequences, 3, x.shape[2])))
        elements = sum(firmware.streams.packet_lengths(3))
        expected = [0, beats.size * firmware.config.operand_bits // 8, 2 * elements, firmware.vectors.y.ravel()[-1]]
        bare = replace(firmware, vectors=None).to_bytes()
        for reader in readers:
            found = read_images(reader, [firmware.to_bytes(), bare])
            assert found == [list(map(str, expected)), list(map(str, expected[:3]))]


def test_damaged_images_are_refused(readers, content):
    """Any bit of the head, some of the rest, any cut; what SHA-256 alone protects is its own digest."""
    rng = np.random.default_rng(2)
    head = HEADER_BYTES + 9 * ENTRY_BYTES + 4
    places = [8 * at + int(rng.integers(8)) for at in range(head)]
    places += [int(bit) for bit in rng.integers(8 * head, 8 * (len(content) - 32), 300)]
    digest = [int(bit) for bit in rng.integers(8 * (len(content) - 32), 8 * len(content), 5)]
    damaged = []
    for bit in places + digest:
        image = bytearray(content)
        image[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(image))
    lengths = [*range(0, head + 8, 7), *rng.integers(head, len(content), 40).tolist(), len(content) - 1]
    cut = [content[:length] for length in lengths] + [content + b"\0"]
    for reader, protected in zip(readers, (False, True), strict=True):
        found = [STATUS_NAMES[int(line[0])] for line in read_images(reader, damaged + cut)]
        assert {name for name in found[: len(places)]} <= {"E_IMAGE", "E_LENGTH", "E_DAMAGED", "E_CONTENT", "E_VERSION"}
        assert set(found[len(places) : len(damaged)]) == {"E_DAMAGED" if protected else "OK"}
        assert set(found[len(damaged) :]) <= {"E_IMAGE", "E_LENGTH"}


FREE = {"content_id", "beat_bytes", "entry_run", "batch", "every_step", "elements_together", "since_zero", "x_fraction"}
FREE |= {"x_rounding", "x_overflow", "y_width", "y_fraction", "x_width", "x_per_beat", "entry_load", "sequences"}
"""Fields of which the reader in C takes some other values, which only the digest of identity tells to be wrong."""


def test_images_that_contradict_themselves(readers, content):
    """Every field with other values and all digests right: refused, or taken without harm."""
    values = (0, 1, 2, 3, 4, 7, 8, 9, 16, 17, 1 << 16, 1 << 20, (1 << 20) + 1, (1 << 31) - 1, 1 << 31, -1)
    images, fields = [], []
    for field in HEADER[1:-1]:
        at = offset_of(HEADER, field.name)
        for value in values:
            image = put(content, field.name, value)
            if image[at : at + 4] != content[at : at + 4]:
                images.append(image)
                fields.append(field.name)
    for reader in readers:
        taken = {name for name, line in zip(fields, read_images(reader, images), strict=True) if line[0] == "0"}
        assert taken <= FREE, taken - FREE


def test_sections_that_contradict_themselves(readers, content):
    """Entries of the table, parts and test vectors of any value, all digests right: refused."""
    images = []
    for number in range(9):
        base = HEADER_BYTES + number * ENTRY_BYTES
        about = content[base] in (Kind.ENGINE, Kind.ABOUT)  # whose text may end in zeros
        for name in ("kind", "offset") if about else ("kind", "offset", "bytes"):
            for value in (0, 1, 5, 16, 31, 32, 33, 128, 1 << 16, 1 << 31, -1):
                image = put(content, name, value, ENTRY, base)
                if image != content:
                    images.append(image)
    for kind in (Kind.X_PARTS, Kind.Y_EVEN, Kind.Y_ODD, Kind.VECTORS):
        offset, _ = section(content, kind)
        for at in range(offset, offset + (16 if kind is Kind.VECTORS else 8), 4):
            for value in (0, 1, 2, 5, 1 << 16, 1 << 31, (1 << 32) - 1):
                image = resealed(content[:at] + value.to_bytes(4, "little") + content[at + 4 :])
                if image != content:
                    images.append(image)
    offset, _ = section(content, Kind.EXPONENTS)
    images.append(resealed(content[:offset] + b"\x80" + content[offset + 1 :]))
    for reader in readers:
        found = {line[0] for line in read_images(reader, images)}
        assert "0" not in found and found <= {str(STATUS[f"E_{name}"]) for name in ("LENGTH", "CONTENT", "DAMAGED")}


# -- numbers


@pytest.fixture(scope="module")
def quantizer(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("quantize"), "quantize.c", ("lstm_hw.c", "lstm_hw_float.c"))


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("overflow", OVERFLOWS)
def test_rounding(tmp_path, project, quantizer, rounding, overflow):
    """As in Python, exponents of inputs included; infinities and NaN are no numbers."""
    code = project.firmware.x_code
    x_format = replace(code.format, rounding=rounding, overflow=overflow)
    firmware = replace(project.firmware, x_code=InputCode(x_format, 3, (0, -3, 5)))
    path = image_file(tmp_path, firmware.to_bytes())
    rng = np.random.default_rng(4)
    lsb = x_format.lsb
    values = np.concatenate([rng.normal(0, 2, 300), np.arange(-30, 30) * lsb / 4, [1e30, -1e30, 0, -0.0, 40, -40]])
    values = values[: len(values) // 3 * 3].astype(np.float32)
    result = subprocess.run([quantizer, path], input=values.tobytes(), capture_output=True, check=True)
    first, *lines = result.stdout.decode().split("\n")[:-1]
    expected = firmware.x_code.quantize(values.astype(np.float64).reshape(-1, 3)).ravel()
    assert list(map(int, lines[: len(values)])) == expected.tolist()
    beyond = x_format.count_clipped(values.astype(np.float64).reshape(-1, 3) * 2.0 ** np.array([0, -3, 5]))
    assert first.split() == ["0", str(beyond)] and beyond
    again = [float.fromhex(line) for line in lines[len(values) :]]
    assert again == (expected * firmware.y_format.lsb).tolist()
    for wrong in (np.nan, np.inf, -np.inf):
        feed = np.array([0, wrong, 0], np.float32).tobytes()
        result = subprocess.run([quantizer, path], input=feed, capture_output=True, check=True)
        assert result.stdout.split()[0] == str(STATUS["E_VALUE"]).encode()


# -- runs on the simulated engine


def halves(project, group):
    """Commands: a run of a group in two parts, and what they must answer."""
    firmware = project.firmware
    sequences, steps = firmware.streams.sequences, firmware.vectors.x.shape[1]
    rows = np.arange(group * sequences, (group + 1) * sequences) % len(firmware.vectors.x)
    y = firmware.vectors.y[rows]
    cut = steps // 2 - 1 + steps % 2
    commands = [f"predict {group} 0 {cut} 1", f"predict {group} {cut} {steps - cut} 0"]
    return commands, [y[:, :cut].ravel().tolist(), y[:, cut:].ravel().tolist()]


def play(folder, tools, firmware, *commands, mode="serial", environment=None, **more):
    """Lines of ``c/play.c`` for its commands."""
    path = image_file(folder, firmware.to_bytes())
    environment = {"LONGEST": "16383"} | (environment or {})
    return session(
        folder, firmware, [tools / "play", mode, "FD", path, *commands], mode, environment=environment, **more
    )


@pytest.mark.parametrize("mode", ["serial", "dma"])
def test_streamed_weights(tmp_path, tools, streamed, mode):
    """Two ports, two sequences side by side; a run that goes on where the one before ended, after an odd step."""
    firmware = streamed.firmware
    parts, expected = halves(streamed, 0)
    whole = firmware.vectors.y[2:4].ravel().tolist()
    more = [f"write {lookup('WEIGHTS1_LO').address} 0", "predict 1 0 6 1", "load", "predict 1 0 6 1"]
    more += ["beat 4", "predict 1 0 6 1", "load"]
    lines = play(tmp_path, tools, firmware, "open", "load", *parts, "predict 1 0 6 1", "clipped", *more, mode=mode)
    assert [status(line)[0] for line in lines[:4]] == ["OK"] * 4
    assert [outputs(line) for line in lines[4:7]] == [*expected, whole]
    assert status(lines[7])[0] == "E_UNSUPPORTED"
    assert status(lines[9])[0] == "E_NOT_LOADED" and status(lines[10])[0] == "OK"  # an address that was lost
    assert status(lines[-2])[0] == status(lines[-1])[0] == "E_OTHER_ENGINE"  # beats of x of another length
    assert outputs(lines[11]) == whole


@pytest.mark.parametrize("kind", ["gru", "rnn"])
def test_other_layers(tmp_path, tools, kind):
    """GRUs and plain RNNs: bits of the integer reference, also where a run goes on from another."""
    rng = np.random.default_rng(8)
    layers = {
        "gru": (*cells(rng, 3, 5, "gru"), *cells(rng, 5, 4, "gru")),
        "rnn": (*rnn(rng, 3, 6), *rnn(rng, 6, 4, "relu")),
    }
    model = FloatModel(tuple(layers[kind]), head(rng, 4, 2), True)
    x = rng.uniform(-1, 1, (2, 3, 3))
    project = lstm_hw.convert(model, calibration=x, x=x, engine={"rows": 4}, output=tmp_path / "build")
    expected = project.predict(x, stored=True)
    commands = ["open", "load", "predict 1 0 2 1", "predict 1 2 1 0", "predict 0 0 3 1"]
    lines = play(tmp_path, tools, project.firmware, *commands, simulator=QUICK)
    found = [outputs(line) for line in lines[4:]]
    assert found == [expected[1, :2].ravel().tolist(), expected[1, 2].tolist(), expected[0].ravel().tolist()]


def test_digits(tmp_path, tools):
    """The digits example behind a DMA: outputs of the integer reference."""
    project = lstm_hw.load(ROOT / "examples/digits/digits.toml", output=tmp_path / "build")
    firmware = project.firmware
    steps = firmware.vectors.x.shape[1]
    commands = ["open", "load", *(f"predict {number} 0 {steps} 1" for number in range(3)), "counters"]
    lines = play(tmp_path, tools, firmware, *commands, mode="dma")
    assert [outputs(line) for line in lines[4:7]] == project.predict(project.x[:3], stored=True).tolist()
    assert int(lines[7][2]) > 1000


@pytest.mark.parametrize("kind", ["project", "streamed"])
def test_masters_that_take_turns(tmp_path, tools, request, kind):
    """Another one loads another model of the same configuration, or parts of one: an error, and never its outputs."""
    firmware = request.getfixturevalue(kind).firmware
    other = replace(firmware, weights=bytes(255 - byte for byte in firmware.weights))
    assert other.config == firmware.config and other.image_id != firmware.image_id
    (tmp_path / "other").write_bytes(other.to_bytes())
    steps = firmware.vectors.x.shape[1]
    right = f"predict 0 0 {steps} 1"
    story = [("open", "OK"), ("load", "OK"), (right, "OK"), (f"other {tmp_path / 'other'}", "OK")]
    story += [
        (right, "E_OTHER_IMAGE"),
        ("adopt", "E_OTHER_IMAGE"),
        (right, "E_NOT_LOADED"),
        ("swap", ""),
        (right, "OK"),
    ]
    story += [("swap", ""), ("load", "OK"), (right, "OK")]
    story += [("swap", ""), (right, "E_OTHER_IMAGE"), ("adopt", "OK"), (right, "OK")]
    story += [("swap", ""), (right, "OK")]
    parts = [PROGRAM.word_address(0, PROGRAM.words - 1), lookup("WEIGHTS_LO").address]
    if "load" in firmware.program.entries:  # what is on the chip can be changed without a change of the program
        parts.append(lookup("ENTRY").address)
    for address in parts:
        story += [(f"write {address} {lookup('ENTRY').field('loads').mask}", ""), (right, "E_NOT_LOADED")]
        story += [("load", "OK"), (right, "OK")]
    story += [("adopt", "OK"), (right, "OK"), (f"write {parts[0]} 0", ""), ("adopt", "E_NOT_LOADED")]
    lines = play(tmp_path, tools, firmware, *(command for command, _ in story))
    found = [line[7:] for line in lines[2:] if line[0] == "predict" and line[1] == "0"]
    for (command, expected), line in zip(story, lines[2:], strict=True):
        assert not expected or STATUS_NAMES[int(line[1])] == expected, f"{command}: {' '.join(line)}"
    y = list(map(str, firmware.vectors.y[: firmware.streams.sequences].ravel()))
    assert found[1] != y and [found[0], *found[2:]] == [y] * (len(found) - 1)


def test_a_bad_line(tmp_path, tools, project):
    """Frames with wrong bits, frames that are lost, and noise between: everything is done once, and right."""
    firmware = project.firmware
    commands = ["open", "load", *(f"predict {number} 0 4 1" for number in range(3)), "repeats", "flash"]
    faults = {"garble": 0.04, "noise": 0.1, "drop": [30, -60]}
    lines = play(tmp_path, tools, firmware, *commands, environment={"REPLY_MS": "1500"}, **faults)
    assert [outputs(line) for line in lines[4:7]] == firmware.vectors.y[:3, 0].tolist()
    assert int(lines[7][1]) >= 10
    assert status(lines[8])[0] == "E_UNSUPPORTED"  # a bridge that does not look at a flash


def test_faults(tmp_path, tools, project):
    """Each is told by a code, and the next run is right."""
    firmware = project.firmware
    content = firmware.to_bytes()
    for name, other in (("other", put(content, "content_id", firmware.config.content_id ^ 1)), ("cut", content[:-9])):
        (tmp_path / name).write_bytes(other)
    timeout, steps, entry, identity = (lookup(name).address for name in ("TIMEOUT_STREAMS", "STEPS", "ENTRY", "ID"))
    right = "predict 1 0 4 1"
    story = [  # command, status or refusal, error of the run
        ("open", "OK"),
        (right, "E_NOT_LOADED"),
        (f"image {tmp_path / 'cut'}", "E_LENGTH"),
        ("load", "E_ARGUMENT"),
        (f"image {tmp_path / 'other'}", "OK"),
        ("load", "E_OTHER_ENGINE"),
        (f"image {tmp_path / 'model.lstmfw'}", "OK"),
        ("load", "E_MEMORY"),
        ("load", "OK"),
        ("predict 1 0 4 0", "E_STATE"),  # goes on from nothing
        ("open 40", "OK"),
        ("load", "OK"),
        ("predict 0 0 4 1", "E_TIMEOUT", ErrorCode.ABORTED),  # no x is taken
        ("predict 1 0 4 0", "E_STATE"),
        (right, "OK"),
        ("start 3", ""),
        (f"write {steps} 5", Refusal.RUN, steps),
        (right, "E_BUSY"),
        ("load", "E_BUSY"),
        ("abort", "OK", ErrorCode.ABORTED),
        (right, "OK"),
        (f"write {entry} {firmware.config.program_length}", Refusal.VALUE, entry),
        (f"write {identity} 1", Refusal.VALUE, entry),  # the first is kept ...
        (right, "OK"),  # ... until somebody looks, and is nobody's
        (f"write {identity} 1", Refusal.ADDRESS, identity),
        (f"write {timeout} 5", Refusal.ADDRESS, identity),
        (right, "E_RUN", ErrorCode.TIMEOUT_X),
        (f"write {timeout} 0", Refusal.NONE, 0),
        (right, "OK"),
        ("abort", "OK"),  # of no run
        ("clipped", "OK"),
        ("reset", "OK"),
        (right, "E_NOT_LOADED"),
        ("load", "OK"),
        (right, "OK"),
    ]
    lines = play(tmp_path, tools, firmware, *(command for command, *_ in story), hold_x=2, spoil_memory=65)
    refused = [lookup("REFUSED").field(name) for name in ("code", "address")]
    for number, ((command, *expected), line) in enumerate(zip(story, lines[2:], strict=True)):
        where = f"{number}, {command}: {' '.join(line)}"
        if command.startswith("write"):
            assert [field.extract(int(line[1], 16)) for field in refused] == expected, where
        elif expected[0]:
            assert STATUS_NAMES[int(line[1])] == expected[0], where
            if command.startswith("predict") and expected[0] == "OK":
                assert list(map(int, line[7:])) == firmware.vectors.y[1, 0].tolist(), where
        if len(expected) == 2 and not command.startswith("write"):
            assert int(line[3]) == expected[1], where


def test_through_the_bridge(tmp_path, tools, project):
    """The boards' host design: engine, memory and bridge in gateware, behind a UART, with a model in its flash."""
    scenario, firmware = scenario_of(project, 2), project.firmware
    files = []
    for name, text in host_design.emit(scenario, 1_000_000, 125_000, flash=flash_image.ADDRESS).items():
        files.append(tmp_path / name)
        files[-1].write_text(text)
    path = image_file(tmp_path, firmware.to_bytes())
    kept = flash_image.flash_image(firmware, host_design.memory_bytes_of(firmware.config, len(firmware.images[0])))
    contents = {
        "altered": kept[:99] + bytes([kept[99] ^ 8]) + kept[100:],
        "cut": kept[:-9],
        "whole": kept,
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    again = (("selftest 0", "OK"), ("selftest 2", "OK"))
    run = "predict 1 0 4 1"
    story = [  # command, status
        (f"flash {FlashState.DAMAGED}", "OK"),
        ("speed 400000", "E_UNSUPPORTED"),  # 2.5 cycles a bit
        ("speed 500000", "OK"),
        ("open", "OK"),
        ("adopt", "E_NOT_LOADED"),
        *again,
        (f"flash {FlashState.DAMAGED}", "OK"),
        *again,
        (f"flash {FlashState.LOADED}", "OK"),
        ("adopt", "OK"),
        ("predict 0 0 4 1", "OK"),
        ("load", "OK"),
        ("start 3", ""),
        (run, "E_BUSY"),
        ("abort", "OK"),
        (run, "OK"),
        ("repeats", ""),
    ]
    job = {
        "argv": [str(tools / "play"), "serial", "FD", path, *(command for command, _ in story)],
        "flash": [str(tmp_path / name) for name in contents],
        "flash_base": flash_image.ADDRESS,
        "output": str(tmp_path / "output.txt"),
        "environment": {"REPLY_MS": "20000"},
        "divisor": 8,
    }
    (tmp_path / "job.json").write_text(json.dumps(job))
    extra_env = {"LSTM_HW_JOB": str(tmp_path / "job.json")}
    run_bench(files, host_design.NAME, "tests.host.c_uart_bench", short=True, timeout=500, extra_env=extra_env)
    lines = [line.split() for line in (tmp_path / "output.txt").read_text().splitlines()]
    found = dict(zip((command for command, _ in story), lines[2:], strict=True))
    for (command, expected), line in zip(story, lines[2:], strict=True):
        assert not expected or STATUS_NAMES[int(line[1])] == expected, f"{command}: {' '.join(line)}"
        if command.startswith("flash"):
            assert line[2] == command.split()[1]
    assert found["selftest 2"] == ["selftest", "0", str(TestState.PASSED.value), "0", "3"]
    assert [list(map(int, found[run][7:])) for run in ("predict 0 0 4 1", run)] == firmware.vectors.y[:2, 0].tolist()
    assert found["repeats"] == ["repeats", "0"]


def test_the_example_of_the_page(tmp_path, project):
    """The program of docs/host.md, on a serial port that is a terminal here: what the Python API predicts."""
    (program,) = re.findall(r"```c\n(.*?)```", (ROOT / "docs" / "host.md").read_text(), re.S)
    source, given = tmp_path / "predict.c", tmp_path / "x.f32"
    source.write_text(program)
    given.write_bytes(project.x[2].astype(np.float32).tobytes())
    driver = ("lstm_hw.c", "lstm_hw_serial.c", "lstm_hw_tty.c", "lstm_hw_linux.c", "lstm_hw_mapped.c", "lstm_hw_dma.c")
    path = image_file(tmp_path, project.firmware.to_bytes())
    binary = compiled(tmp_path, source, (*driver, "lstm_hw_float.c"))
    lines = session(tmp_path, project.firmware, [binary, "TTY", path], "tty", given=given)
    assert np.allclose([float(word) for (word,) in lines], project.predict(project.x[2:3])[0], rtol=1e-5)


def test_faults_of_a_dma(tmp_path, tools, project):
    """A run that gets no x is aborted and the DMA reset; one that is too long for a transfer is not begun."""
    firmware = project.firmware
    x, _ = firmware.streams.beats(firmware.vectors.x[:1])
    environment = {"LONGEST": str(max(x.size * 2, 64))}
    commands = [
        "open 300",
        "load",
        "predict 0 0 4 1",
        "predict 1 0 4 1",
        "predict 0 0 60 1",
        "predict 2 0 4 1",
        "pauses",
    ]
    lines = play(tmp_path, tools, firmware, *commands, mode="dma", environment=environment, hold_x=2)
    assert [status(line)[0] for line in lines[4:8]] == ["E_TIMEOUT", "OK", "E_BUFFER", "OK"]
    assert status(lines[4])[1] == ErrorCode.ABORTED
    assert [list(map(int, lines[n][7:])) for n in (5, 7)] == firmware.vectors.y[1:3, 0].tolist()
    assert int(lines[8][1]) >= 300


# -- Linux


MAIN = """
#include <stdio.h>
#include <stdlib.h>
#include "lstm_hw_linux.h"

int main(int count, char **arguments)
{
    static lstm_hw_linux linux_;
    lstm_hw_block engine = {arguments[1], 4096}, dma = {count > 5 ? arguments[5] : NULL, 4096};
    lstm_hw_transport transport;
    uint32_t words[2] = {0x11223344u, 0x55667788u}, value = 0;
    uint8_t bytes[8] = {0};
    lstm_hw_status opened = lstm_hw_linux_open(&linux_, engine, dma, arguments[2], arguments[3], 5000,
                                               (size_t)atoi(arguments[4]), 16383, &transport);
    printf("%d\\n", opened);
    if (opened != LSTM_HW_OK || count != 5) return 0;
    printf("%d\\n", transport.registers.write(transport.registers.context, 0x10, words, 2));
    printf("%d\\n", transport.registers.read(transport.registers.context, 0x14, &value));
    printf("%x\\n", value);
    printf("%d\\n", transport.memory.write(transport.memory.context, 4096, (const uint8_t *)"8 bytes", 8));
    printf("%d\\n", transport.memory.read(transport.memory.context, 4096, bytes, 8));
    printf("%d\\n", transport.memory.write(transport.memory.context, transport.memory.bytes - 4, bytes, 8));
    printf("%s %lx %lx\\n", (char *)bytes, (unsigned long)transport.memory.base, (unsigned long)transport.memory.bytes);
    lstm_hw_linux_close(&linux_);
    return 0;
}
"""


def test_linux(tmp_path):
    """Files in place of devices: registers and memory are where they belong, and what is missing is told."""
    source = tmp_path / "main.c"
    source.write_text(MAIN)
    program = compiled(tmp_path, source, ("lstm_hw.c", "lstm_hw_dma.c", "lstm_hw_mapped.c", "lstm_hw_linux.c"))
    engine, buffer, folder = tmp_path / "mem", tmp_path / "udmabuf0", tmp_path / "sysfs"
    engine.write_bytes(bytes(4096 + (1 << 15)))
    buffer.write_bytes(bytes(65536))
    folder.mkdir()
    (folder / "phys_addr").write_text("0x38000000\n")
    (folder / "size").write_text("65536\n")

    def lines(*arguments):
        return subprocess.run([program, *arguments], capture_output=True, text=True, check=True).stdout.splitlines()

    found = lines(engine, buffer, folder, "100")
    memory = 65536 - 8192 - 4096
    expected = ["0", "0", "0", "55667788", "0", "0", str(STATUS["E_MEMORY"]), f"8 bytes 38000000 {memory:x}"]
    assert found == expected
    assert engine.read_bytes()[4096 + 0x10 : 4096 + 0x18] == bytes.fromhex("4433221188776655")
    assert buffer.read_bytes()[4096:4104] == b"8 bytes\0"
    assert lines(engine, buffer, folder, "65536") == [str(STATUS["E_MEMORY"])]
    assert lines(engine, buffer, folder, "100", engine) == [str(STATUS["E_DMA"])]  # whose reset does not end
    (folder / "size").write_text("many\n")
    assert lines(engine, buffer, folder, "100") == [str(STATUS["E_SYSTEM"])]
    assert lines(engine, buffer, tmp_path / "none", "100") == [str(STATUS["E_SYSTEM"])]
    (folder / "size").write_text("65536\n")
    assert lines(tmp_path / "none", buffer, folder, "100") == [str(STATUS["E_SYSTEM"])]
