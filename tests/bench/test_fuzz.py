"""Mutated and hostile files: every reader takes them or refuses them by a typed error, in bounded time and memory."""

import io
import json
import os
import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from bench import fuzz
from bench.fuzz import FORMATS
from lstm_hw import reading
from lstm_hw.model import store
from lstm_hw.project import simulation, toml
from lstm_hw.verify import hardware, scenario

CASES = 100


@pytest.fixture(scope="module")
def corpus():
    return fuzz._corpus()


def verdicts(name, paths):
    return [verdict for _, verdict in fuzz.verdicts({"format": name, "paths": list(map(str, paths))}, len(paths))]


@pytest.mark.parametrize("name", FORMATS)
def test_mutated_files(corpus, tmp_path, name):
    kind = FORMATS[name]
    assert verdicts(name, [corpus / kind.folder / kind.name]) == ["accepted"]
    found = fuzz.fuzz(name, CASES, 1, tmp_path)
    assert sum(found.values()) == CASES
    assert [verdict for verdict in found if verdict.startswith("fault")] == [], fuzz.line(name, found, 0)
    assert sum(count for verdict, count in found.items() if verdict.endswith("Error")) > CASES / 4


def test_page_of_files_tells_the_limits():
    page = (Path(__file__).parents[2] / "docs" / "files.md").read_text()
    rows = {row.split("|")[1].strip(" `").split("`")[0]: row for row in page.splitlines() if row.startswith("| ")}
    for name, limits in {
        "project file, TOML": (
            f"{toml.MAX_BYTES >> 10} KiB",
            f"{toml.MAX_LINE:,} characters",
            f"{toml.MAX_DEPTH} levels",
        ),
        "model, safetensors": (
            f"{store.MAX_FILE_BYTES >> 20} MiB",
            f"header of {store.MAX_HEADER_BYTES >> 20} MiB",
            f"{store.MAX_TENSORS:,} tensors",
        ),
        "data set, npz": (
            f"{reading.MAX_NPZ_BYTES >> 20} MiB, {reading.MAX_ARRAYS:,} arrays",
            f"arrays of {reading.MAX_ARRAY_BYTES >> 20} MiB and {reading.MAX_VALUES:,} values",
        ),
        "hardware/engine.json": (f"{reading.MAX_JSON_BYTES >> 20} MiB",),
        "hardware/weights.bin": (f"{hardware.MAX_IMAGE_BYTES >> 20} MiB",),
        "simulation/results.json": (f"{simulation.MAX_RESULTS_BYTES >> 20} MiB",),
        "simulation/scenario.json": (f"{scenario.MAX_IMAGE_BYTES >> 30} GiB",),
    }.items():
        assert [limit for limit in limits if limit not in rows[name]] == []
    assert f"{fuzz.CASES:,} each" in page and f"{fuzz.MEMORY >> 20} MiB" in page


def test_mutations_are_reproducible(corpus, monkeypatch):
    """At another time of day too."""
    clock = iter(range(10**9, 2 * 10**9, 1000))
    monkeypatch.setattr("time.time", lambda: next(clock))
    files = fuzz.contents(corpus)
    for name in FORMATS:
        some = [fuzz.case(name, files, 3, number) for number in range(30)]
        assert some == [fuzz.case(name, files, 3, number) for number in range(30)]
        assert len(set(some)) > 10 and files[name] not in some[:5]


def hang(path):
    while b"slow" in path.read_bytes():
        pass
    if b"large" in path.read_bytes():
        bytearray(600 << 20)
    if b"wrong" in path.read_bytes():
        raise fuzz.LstmHwError("some file", "nothing", "must be named")
    raise KeyError("x")


@pytest.mark.parametrize(
    "content, verdict",
    [
        (b"slow", "fault: time"),
        (b"large", "fault: memory"),
        (b"wrong", "fault: does not name the file"),
        (b"any", "fault: KeyError"),
    ],
)
def test_faults_are_found(tmp_path, content, verdict):
    import resource

    path = tmp_path / "damaged"
    path.write_bytes(content)
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (fuzz.MEMORY, before[1]))
    try:
        assert fuzz.judged(hang, path).startswith(verdict)
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def archive(path, compression=zipfile.ZIP_DEFLATED, **members):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)


def npy(shape, data=b"", descr="<f8", version=1):
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    length = len(header).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + data


def sparse(path):
    path.touch()
    os.truncate(path, 1 << 40)


def test_hostile_data_sets(corpus, tmp_path):
    """Each in a folder of its own, with a valid project file."""
    good, cases = (corpus / "project" / "data.npz").read_bytes(), {}

    def add(name, **members):
        cases[name] = lambda path: archive(path, **{"x": npy((1, 1, 3), bytes(24)), **members})

    add("overflow", calibration=npy((2**40, 2**40, 3)))
    add("overflow beside zero", calibration=npy((2**62, 0, 3)))
    add("digits", calibration=npy(f"({'9' * 3000}, 1, 3)"))
    add("deep", calibration=npy("(" * 3000))
    add("signs", calibration=npy(f"({'-' * 3500}1, 1, 3)"))
    add("bomb", calibration=npy((1 << 25,), bytes(1 << 28)))
    add("bomb behind", calibration=npy((1, 1, 3), bytes(1 << 28)))
    add("header of 2 GiB", calibration=b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31 - 1) + bytes(1 << 20))
    add("pickle", calibration=npy((1, 1, 3), b"cos\nsystem\n", "|O"))
    add("lzma", calibration=npy((1, 1, 3), bytes(24)))
    cases["lzma"] = lambda path: archive(path, zipfile.ZIP_LZMA, calibration=npy((1, 1, 3), bytes(24)), x=b"")
    cases["truncated"] = lambda path: path.write_bytes(good[: len(good) // 2])
    cases["large"] = sparse
    cases["many"] = lambda path: archive(path, zipfile.ZIP_STORED, **{f"a{n}": b"" for n in range(20_000)})
    cases["pipe"] = os.mkfifo
    cases["folder"] = os.mkdir
    cases["device"] = lambda path: os.symlink("/dev/zero", path)
    cases["terminal"] = lambda path: os.symlink("/dev/tty", path)
    cases["loop"] = lambda path: os.symlink(path, path)
    paths = []
    for name, write in cases.items():
        paths.append(shutil.copytree(corpus / "project", tmp_path / name) / "data.npz")
        paths[-1].unlink()
        write(paths[-1])
    assert verdicts("npz", paths) == ["InputError"] * len(paths)


def test_hostile_project_files(tmp_path):
    texts = {
        "digits": "a = " + "9" * 5000,
        "short digits": "a = " + "9" * 900,
        "hexadecimal": "a = 0x" + "f" * 900,
        "parts": ".".join("a" * 20_000) + " = 1",
        "parts in lines": "\n".join(f"[{'.'.join('a' * 480)}.b{n}]\nc = 1" for n in range(64)),
        "keys in a deep table": f"[{'.'.join('a' * 490)}]\n" + "\n".join(f"k{n}=1" for n in range(9000)),
        "lists": "a = " + "[\n" * 30_000,
        "whole lists": "a = " + "[\n" * 150 + "]\n" * 150,
        "tables": "a = " + "{a = " * 150 + "1" + "}" * 150,
        "zero": "a = 'x\0y'",
        "long": "# " + "x" * (1 << 20),
    }
    paths = []
    for name, text in texts.items():
        paths.append(tmp_path / f"{name}.toml")
        paths[-1].write_text(text)
    for name, content in {"latin": b"name = '\xe9'", "utf 16": "name = 'a'".encode("utf-16"), "none": b""}.items():
        paths.append(tmp_path / f"{name}.toml")
        paths[-1].write_bytes(content)
    paths += [tmp_path / "pipe.toml", tmp_path / "folder.toml", tmp_path / "device.toml"]
    os.mkfifo(paths[-3])
    paths[-2].mkdir()
    paths[-1].symlink_to("/dev/zero")
    assert verdicts("toml", paths) == ["ConfigError"] * len(paths)


def tensors_file(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def test_hostile_models(corpus, tmp_path):
    def entry(shape, start, end, dtype="F32"):
        return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}

    good = (corpus / "project" / "model.safetensors").read_bytes()
    length = int.from_bytes(good[:8], "little") + 8
    twice = b'{"weight_ih_l0":%s,"weight_ih_l0":%s}'
    one, other = (json.dumps(entry(shape, 0, 32)).encode() for shape in ([4, 2], [8, 1]))
    headers = {
        "many": {f"t{n}": entry([0], 0, 0) for n in range(300_000)},
        "some": {f"t{n}": entry([0], 0, 0) for n in range(3000)},
        "overlap": {"a": entry([2], 0, 8), "b": entry([2], 4, 12)},
        "beyond": {"a": entry([2**40], 0, 2**42)},
        "overflow": {"a": entry([2**62, 4], 0, 0)},
        "twice": twice % (one, other),
        "spaces": b"{}" + b" " * (5 << 20),
        "deep": b'{"a":' * 100_000,
        "digits": b'{"a":' + b"9" * 100_000 + b"}",
    }
    paths = [tensors_file(tmp_path / f"{name}.safetensors", header, bytes(32)) for name, header in headers.items()]
    for name, content in {
        "length": (1 << 63).to_bytes(8, "little") + good[8:],
        "nan": good[:length] + struct.pack("<f", np.nan) + good[length + 4 :],
    }.items():
        paths.append(tmp_path / f"{name}.safetensors")
        paths[-1].write_bytes(content)
    paths.append(tmp_path / "sparse.safetensors")
    sparse(paths[-1])
    for name in ("safetensors", "quantised"):
        assert verdicts(name, paths) == ["ModelError"] * len(paths)


HOSTILE_JSON = (
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"a":' + b"9" * 100_000 + b"}",
    b"{" + b'"a":{},' * 900_000 + b'"b":0}',
    b'{"a":[' + b"0," * 4_000_000 + b"0]}",
    b'{"a":[' + b"[]," * 2_700_000 + b"0]}",
    b'{"a":NaN}',
    b'{"a":1e999}',
    b'{"a":1,"a":2}',
    b"\xff\xfe{}",
    b"null",
    b"",
    b"\0" * (64 << 20),
)


@pytest.mark.parametrize("name", ["engine.json", "program.json", "weights.json", "scenario.json", "results.json"])
def test_hostile_json(corpus, tmp_path, name):
    paths = []
    for number, content in enumerate(HOSTILE_JSON):
        paths.append(shutil.copytree(corpus / FORMATS[name].folder, tmp_path / str(number)) / name)
        paths[-1].write_bytes(content)
    paths.append(shutil.copytree(corpus / FORMATS[name].folder, tmp_path / "pipe") / name)
    paths[-1].unlink()
    os.mkfifo(paths[-1])
    assert verdicts(name, paths) == ["InputError"] * len(paths)


def test_bytes_behind_an_array(tmp_path):
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    archive(tmp_path / "a.npz", x=buffer.getvalue() + b" ")
    with pytest.raises(fuzz.LstmHwError, match="x: not readable"):
        from lstm_hw.reading import NpzFile

        NpzFile(tmp_path / "a.npz").read("x")


def test_verdicts_and_files_of_faults_are_the_same_whatever_the_workers(tmp_path, monkeypatch):
    """A reader that stumbles over some files."""
    monkeypatch.setattr(fuzz, "SHARD", 15)
    one = fuzz.fuzz("nam", 25, 1, tmp_path / "one")
    assert sum(one.values()) == 25 and one == fuzz.fuzz("nam", 25, 1, tmp_path / "two", jobs=2)

    def stumbling(job, count, first):
        return [
            (number, "fault: stumbled" if number % 7 == 3 else "accepted") for number in range(first, first + count)
        ]

    monkeypatch.setattr(fuzz, "verdicts", stumbling)
    assert fuzz.fuzz("nam", 25, 1, tmp_path / "faults") == {"accepted": 21, "fault: stumbled": 4}
    files = fuzz.contents(fuzz._corpus())
    kept = {path.name: path.read_bytes() for path in (tmp_path / "faults").iterdir()}
    assert kept == {f"1-{number}-m.nam": fuzz.case("nam", files, 1, number) for number in (3, 10, 17, 24)}
