"""Mutated files against every reader: each must be taken or refused by a typed error, in bounded time and memory.

``python -m bench.fuzz`` damages valid files of every format: bytes, lengths, parts of other files, values and headers
(with digests and checksums put right, so that what is behind them is reached). The readers run in a process of their
own whose memory is limited. Whatever else happens than a typed error that names the file is a fault; its file is kept.
"""

import atexit
import base64
import hashlib
import io
import json
import os
import resource
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as deserialize

from bench import model_files
from lstm_hw.campaign import run_tasks, workers_kept
from lstm_hw.errors import LstmHwError
from lstm_hw.host import image as firmware
from lstm_hw.model.store import DIGEST_KEY, content_digest
from lstm_hw.process import environment, python, running
from lstm_hw.project import toml
from lstm_hw.provenance import STAMP, file_digest, stamped

MEMORY = 512 << 20
"""Bytes that a reader's process may take for data, all in all."""
SECONDS = 1.0
"""Processor time that a reader may take for a file."""
SILENCE = 20 * SECONDS
"""Wall time after which a reader counts as waiting for ever."""
START = 60.0
"""Seconds that the process may take to begin."""
CASES = 20_000
FAULTS = "build/bench/fuzz"
SHARD = 1000
"""Files of a task: seconds, beside which a process of readers starts quickly."""
KEPT = "build/bench/.fuzz"
"""Verdicts of an interrupted run."""
ODD = ("", "\0", "é", "x" * 5000, "../" * 30, "1e999", "nan", "Q3.12", "-1", "\x1b[31m", "'", "[", "__class__")
NUMBERS = (0, 1, -1, 2, 255, 1 << 16, (1 << 31) - 1, 1 << 31, 1 << 32, 10**9, 10**12, (1 << 63) - 1, 1 << 63, 10**30)
REALS = (0.0, -0.0, 1e-300, 1e300, 0.1, -1.5, 2.0**53)


# Mutations


def damaged(rng: np.random.Generator, content: bytes, others: list[bytes]) -> bytes:
    """Bytes with a few changes that know nothing of the format."""
    content = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        kind, size = rng.integers(5), len(content)
        if not size:
            break
        at = int(rng.integers(size))
        if kind == 0:
            content[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            content[at] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF, ord("["), ord("{"), ord('"'), ord("9")]))
        elif kind == 2:
            del content[at:]
        elif kind == 3:  # a part of this or another file, over or between what is here
            source = others[int(rng.integers(len(others)))]
            start = int(rng.integers(len(source)))
            part = source[start : start + int(rng.integers(1, 200))]
            content[at : at + (len(part) if rng.integers(2) else 0)] = part
        else:  # what may be a length
            width = int(rng.choice([2, 4, 8]))
            value = int(rng.choice([0, 1, size, size + 1, (1 << 31) - 1, 1 << 31, 1 << 62])) & ((1 << 8 * width) - 1)
            content[at : at + width] = value.to_bytes(width, "little")
    return bytes(content)


def edited(rng: np.random.Generator, values: object) -> object:
    """A tree of JSON-able values with one change somewhere."""
    if isinstance(values, dict) and values and rng.integers(8):
        keys = list(values)
        key = keys[int(rng.integers(len(keys)))]
        kind = rng.integers(10)
        if kind == 0:
            return {k: v for k, v in values.items() if k != key}
        if kind == 1:
            return {**values, ODD[int(rng.integers(len(ODD)))]: values[key]}
        return {**values, key: edited(rng, values[key])}
    if isinstance(values, list) and values and rng.integers(8):
        at = int(rng.integers(len(values)))
        if rng.integers(10) == 0:
            return values[:at] + values[at:] * 2
        return values[:at] + [edited(rng, values[at])] + values[at + 1 :]
    return anything(rng)


def anything(rng: np.random.Generator) -> object:
    """A value of any kind."""
    kind = rng.integers(7)
    if kind == 0:
        return NUMBERS[int(rng.integers(len(NUMBERS)))]
    if kind == 1:
        return REALS[int(rng.integers(len(REALS)))]
    if kind == 2:
        return ODD[int(rng.integers(len(ODD)))]
    if kind == 3:
        return bool(rng.integers(2))
    if kind == 4:
        return [anything(rng) for _ in range(int(rng.integers(3)))]
    if kind == 5:
        return {"a": anything(rng)}
    nested = []
    for _ in range(int(rng.choice([3, 100, 600]))):
        nested = [nested]
    return nested


def mutated_json(rng, content, others, put_right=lambda values: values):
    if rng.integers(2):
        return damaged(rng, content, others)
    values = json.loads(content)
    values = edited(rng, values)
    if isinstance(values, dict) and rng.integers(4):
        values = put_right(values)
    return json.dumps(values).encode()


def restamped(values: dict) -> dict:
    """Values whose digest is right again."""
    return stamped({key: value for key, value in values.items() if key != STAMP})


def mutated_stamped(rng, content, others):
    return mutated_json(rng, content, others, restamped)


def mutated_toml(rng, content, others):
    if rng.integers(2):
        return damaged(rng, content, others)
    lines = content.decode().splitlines()
    at = int(rng.integers(len(lines)))
    key, equals, _ = lines[at].partition(" = ")
    kind = rng.integers(6)
    if kind == 0:
        lines[at] = key + equals + "9" * int(rng.choice([20, 900, 5000]))
    elif kind == 1:
        lines[at] = ".".join("a" * int(rng.choice([3, 400, 20_000]))) + equals + "1"
    elif kind == 2:
        depth = int(rng.choice([3, 400, 20_000]))
        lines[at] = key + equals + "[" * depth + "]" * depth
    elif kind == 3:
        lines.insert(at, lines[int(rng.integers(len(lines)))])
    else:
        value = anything(rng)
        text = str(value).lower() if isinstance(value, bool) else json.dumps(value)
        lines[at] = key + equals + (hex(value) if isinstance(value, int) and value > 0 and kind == 5 else text)
    return "\n".join(lines).encode()


def mutated_safetensors(rng, content, others):
    if rng.integers(2):
        return damaged(rng, content, others)
    length = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    kind = rng.integers(6)
    if kind == 0:
        at = int(rng.integers(max(1, len(data) - 8)))
        odd = struct.pack("<f", float(rng.choice([np.nan, np.inf, -np.inf, 3e38, 1e-45])))
        data = data[:at] + odd + data[at + 4 :]
    header = edited(rng, header) if kind > 1 else header
    text = json.dumps(header)
    if kind == 5 and text.count('"') > 2:  # the same name twice
        text = text[:-1] + "," + text[1:]
    if isinstance(header, dict) and isinstance(header.get("__metadata__"), dict) and rng.integers(2):
        header["__metadata__"].pop("sha256", None)
        text = json.dumps(header)
    content = len(text.encode()).to_bytes(8, "little") + text.encode() + data
    return _signed(content) if rng.integers(2) else content


def _signed(content):
    """A safetensors file with a right digest, if it can have one."""
    length = int.from_bytes(content[:8], "little")
    try:
        header, tensors = json.loads(content[8 : 8 + length]), deserialize(content)
        metadata = header["__metadata__"]
        metadata[DIGEST_KEY] = content_digest(tensors, metadata)
    except (SafetensorError, ValueError, KeyError, TypeError):
        return content
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def mutated_npz(rng, content, others):
    if rng.integers(2):
        return damaged(rng, content, others)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    names = list(members)
    name = names[int(rng.integers(len(names)))]
    kind = rng.integers(5)
    if kind == 0:
        members[name] = damaged(rng, members[name], list(members.values()))
    elif kind == 1:
        shape = tuple(NUMBERS[int(rng.integers(len(NUMBERS)))] for _ in range(int(rng.integers(5))))
        members[name] = npy(rng, shape, members[name][128:])
    elif kind == 2:
        members[name] = npy(rng, "(" * 3000 if rng.integers(2) else [1, 2], members[name][128:])
    elif kind == 3:
        length = int(rng.choice([0, 5, 5000, 1 << 20]))
        members[name] = b"\x93NUMPY\x02\x00" + int(rng.choice(NUMBERS[:10]) & 0xFFFFFFFF).to_bytes(4, "little")
        members[name] += b" " * length
    else:
        members[ODD[int(rng.integers(len(ODD)))].replace("\0", "0")[:100] + name] = members.pop(name)
    result, method = io.BytesIO(), zipfile.ZIP_DEFLATED if rng.integers(2) else zipfile.ZIP_STORED
    with zipfile.ZipFile(result, "w") as archive:
        for member, data in members.items():
            archive.writestr(zipfile.ZipInfo(member), data, method)  # without the time of day
    return result.getvalue()


def npy(rng, shape, data):
    """An npy file of any shape and type."""
    descr = str(rng.choice(["<f8", "<i8", "|O", "<U99", "|V9", "<f4", "|b1", "<c16", "<M8[s]", "f8,f8", "x"]))
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


def resealed(content: bytes) -> bytes:
    """A firmware image whose CRCs and digests are right again, as far as its header can be followed."""
    content = bytearray(content)
    count = int.from_bytes(content[20:24], "little")
    head = firmware.HEADER_BYTES + count * firmware.ENTRY_BYTES
    if count > len(firmware.Kind) or head + 4 + firmware.DIGEST_BYTES > len(content):
        return bytes(content)  # refused for that before any digest is looked at
    for at in range(firmware.HEADER_BYTES, head, firmware.ENTRY_BYTES):
        offset, length = (int.from_bytes(content[at + n : at + n + 4], "little") for n in (4, 8))
        part = bytes(content[offset : offset + length])
        content[at + 12 : at + 48] = zlib.crc32(part).to_bytes(4, "little") + hashlib.sha256(part).digest()
    content[head : head + 4] = zlib.crc32(content[:head]).to_bytes(4, "little")
    content[-32:] = hashlib.sha256(content[:-32]).digest()
    return bytes(content)


def mutated_firmware(rng, content, others):
    if rng.integers(2):
        return damaged(rng, content, others)
    kind, body = rng.integers(3), bytearray(content)
    if kind == 0:  # a number of the header or of the table
        at = 4 * int(rng.integers(2, firmware.HEADER_BYTES // 4 + 9 * firmware.ENTRY_BYTES // 4))
        body[at : at + 4] = (int(rng.choice(NUMBERS[:9])) & 0xFFFFFFFF).to_bytes(4, "little")
    elif kind == 1:  # something in the sections
        at = int(rng.integers(firmware.HEADER_BYTES, len(body) - 4))
        body[at : at + 4] = rng.bytes(4)
    else:
        body = bytearray(damaged(rng, content, others))
    sealed = resealed(bytes(body))
    # A digest that was changed is right again, and a number may have been what it was.
    return sealed if sealed != content else damaged(rng, content, others)


# Formats


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Parameters
    ----------
    name : str
        Of the file, in the corpus.
    folder : str
        Its folder there: what else is in it is as it was.
    mutate : callable (rng, content, contents of all files) -> bytes
    read : callable (path)
        Returns, or raises LstmHwError.
    """

    name: str
    folder: str
    mutate: Callable
    read: Callable[[Path], object]


def read_project(path):
    from lstm_hw.project.settings import ProjectConfig

    return ProjectConfig.load(path)


def read_data(path):
    from lstm_hw.project.api import convert

    return convert(path.parent / "tiny.toml").data


def read_model(path):
    from lstm_hw.model.load import load

    return load(path)


def read_quantised(path):
    from lstm_hw.model.quant_model import QuantModel

    return QuantModel.load(path)


def read_hardware(path):
    from lstm_hw.verify.hardware import Hardware

    return Hardware.load(path.parent)


def read_scenario(path):
    from lstm_hw.verify.scenario import Scenario

    return Scenario.load(path.parent)


def read_vectors(path):
    """Of a scenario whose digests are put right."""
    scenario = path.parent / "scenario.json"
    values = json.loads(scenario.read_text())
    values["files"][path.name] = file_digest(path)
    scenario.write_text(json.dumps(restamped(values)))
    return read_scenario(path)


def read_results(path):
    from lstm_hw.reading import read_json
    from lstm_hw.verify.simulate import Measured

    return Measured.from_dict(read_json(path), path)


def read_seal(path):
    from lstm_hw.provenance import check_folder

    return check_folder(path.parent)


def read_firmware(path):
    return firmware.FirmwareImage.read(path)


def mutated_archive(rng, content, others):
    """A zip archive whose members are stored, one of them damaged."""
    if rng.integers(2):
        return damaged(rng, content, others)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = list(members)[int(rng.integers(len(members)))]
    if rng.integers(8) == 0:
        members[name + "x"] = members.pop(name)
    elif name.endswith(".json"):
        members[name] = mutated_json(rng, members[name], list(members.values()))
    else:
        members[name] = damaged(rng, members[name], list(members.values()))
    return model_files.zipped(members)


FORMATS = {
    "toml": Format("tiny.toml", "project", mutated_toml, read_project),
    "npz": Format("data.npz", "project", mutated_npz, read_data),
    "safetensors": Format("model.safetensors", "project", mutated_safetensors, read_model),
    "quantised": Format("quantized.safetensors", "project", mutated_safetensors, read_quantised),
    "engine.json": Format("engine.json", "hardware", mutated_stamped, read_hardware),
    "program.json": Format("program.json", "hardware", mutated_stamped, read_hardware),
    "weights.json": Format("weights.json", "hardware", mutated_stamped, read_hardware),
    "weights.bin": Format("weights.bin", "hardware", damaged, read_hardware),
    "scenario.json": Format("scenario.json", "scenario", mutated_stamped, read_scenario),
    "vectors.npz": Format("vectors.npz", "scenario", mutated_npz, read_vectors),
    "results.json": Format("results.json", "simulation", mutated_json, read_results),
    "provenance.json": Format("provenance.json", "sealed", mutated_json, read_seal),
    "firmware": Format("firmware.lstmfw", "hardware", mutated_firmware, read_firmware),
    "torch": Format("m.pt", "models", mutated_archive, read_model),
    "weights.npz": Format("m.npz", "models", mutated_npz, read_model),
    "amplifier.json": Format("amplifier.json", "models", mutated_json, read_model),
    "rtneural.json": Format("rtneural.json", "models", mutated_json, read_model),
    "nam": Format("m.nam", "models", mutated_json, read_model),
    "keras.h5": Format("m.h5", "models", damaged, read_model),
    "keras": Format("m.keras", "models", mutated_archive, read_model),
    "onnx": Format("m.onnx", "models", damaged, read_model),
    "tflite": Format("m.tflite", "models", damaged, read_model),
}
"""Every format that is read."""


def write_corpus(folder: Path) -> None:
    """A valid file of every format: a tiny project, what it emits, and what a simulation of it leaves."""
    from lstm_hw.files import write_file, write_json
    from lstm_hw.project.api import convert
    from lstm_hw.project.settings import ProjectConfig
    from lstm_hw.project.start import Sizes
    from lstm_hw.provenance import seal
    from lstm_hw.verify.simulate import Measured, expect

    rng, project = np.random.default_rng(0), folder / "project"
    Sizes(3, (4,), 3).write(project)
    arrays = {"x": rng.uniform(-1, 1, (3, 2, 3)), "calibration": rng.uniform(-1, 1, (4, 2, 3))}
    np.savez_compressed(project / "data.npz", **arrays, labels=rng.integers(0, 3, 3))
    given = {
        "name": "tiny",
        "model": {"path": "model.safetensors"},
        "data": {"path": "data.npz", "labels": "labels"},
        "engine": {"rows": 4},
    }
    write_file(project / "tiny.toml", toml.dumps(given))
    converted = convert(ProjectConfig.load(project / "tiny.toml"))
    converted.qmodel.save(project / "quantized.safetensors")
    write_file(project / "tiny.toml", converted.resolved.to_toml(project, converted.engine))
    for name in ("hardware", "sealed"):
        for file, content in converted.files.items():
            write_file(folder / name / file, content)
    seal(folder / "sealed", {"model": converted.qmodel.digest()})
    x = converted.qmodel.quantize_input(converted.x)
    expected = expect(converted.plan, converted.words, converted.qmodel, x)
    expected.scenario.save(folder / "scenario")
    runs = [{"outputs": run.outputs, "counters": run.counters} for run in expected.scenario.runs]
    write_json(folder / "simulation" / "results.json", Measured.of(expected, "verilator", runs).to_dict())
    model_files.write_all(folder / "models")


def case(name: str, corpus: dict[str, bytes], seed: int, number: int) -> bytes:
    """The content of a mutated file: the same for the same arguments."""
    rng = np.random.default_rng([seed, list(FORMATS).index(name), number])
    return FORMATS[name].mutate(rng, corpus[name], list(corpus.values()))


def contents(corpus: Path) -> dict[str, bytes]:
    """The valid files, by format."""
    return {name: (corpus / kind.folder / kind.name).read_bytes() for name, kind in FORMATS.items()}


# The process of the readers


class _Overtime(BaseException):
    """Not to be caught by a reader."""


def judged(read: Callable[[Path], object], path: Path) -> str:
    """What a reader does with a file: ``accepted``, the error's type, or ``fault: ...``."""

    def overtime(number, frame):
        raise _Overtime

    for number, timer, seconds in (
        (signal.SIGPROF, signal.ITIMER_PROF, SECONDS),
        (signal.SIGALRM, signal.ITIMER_REAL, SILENCE / 2),
    ):
        signal.signal(number, overtime)
        signal.setitimer(timer, seconds)
    try:
        read(path)
        return "accepted"
    except LstmHwError as error:
        # Without the file's name nobody knows which one is meant; the folder stands for the files that belong together.
        named = path.name in str(error) or str(path.parent) in str(error)
        return type(error).__name__ if named else f"fault: does not name the file: {error}"
    except _Overtime:
        return "fault: time"
    except MemoryError:
        return "fault: memory"
    except Exception as error:
        return f"fault: {type(error).__name__}: {error}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


def work() -> None:
    """Judge the files that standard input names; a line of JSON for each goes to standard output."""
    job = json.loads(sys.stdin.readline())
    kind = FORMATS[job["format"]]
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    if "paths" in job:
        for number, path in enumerate(job["paths"]):
            print(json.dumps([number, judged(kind.read, Path(path))[:300]]), flush=True)
        return
    corpus, folder = contents(Path(job["corpus"])), Path(job["folder"]) / kind.folder
    for number in range(job["first"], job["end"]):
        (folder / kind.name).write_bytes(case(job["format"], corpus, job["seed"], number))
        print(json.dumps([number, judged(kind.read, folder / kind.name)[:300]]), flush=True)


def verdicts(job: dict, count: int, first: int = 0) -> Iterator[tuple[int, str]]:
    """Number and verdict of each of so many cases; a process that dies or hangs is a fault of the case that it had."""
    number = first
    while number < first + count:
        one = {name: value[number:] if name == "paths" else value for name, value in job.items()} | {
            "first": number,
            "end": first + count,
        }
        base = number if "paths" in job else 0
        threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        with running(python("bench.fuzz:work"), env=environment(**threads), text=True, **pipes) as process:
            process.stdin.write(json.dumps(one) + "\n")
            process.stdin.flush()
            for line in _lines(process):
                found, verdict = json.loads(line)
                yield base + found, verdict
                number = base + found + 1
        if number < first + count:
            yield number, f"fault: the process ended or hung (status {process.returncode})"
            number += 1


def _lines(process):
    """Lines of a process as long as they come in time."""
    buffer, descriptor = b"", process.stdout.fileno()
    while select.select([descriptor], [], [], START + SILENCE)[0]:
        more = os.read(descriptor, 1 << 16)
        if not more:
            return
        *lines, buffer = (buffer + more).split(b"\n")
        yield from lines


def shard(task: dict) -> dict:
    """Judge some mutated files of a format; a task of a campaign.

    Parameters
    ----------
    task : dict
        ``format``, ``seed``, ``first`` and ``end``: numbers of the cases.

    Returns
    -------
    dict
        ``verdicts``: count of each; ``faults``: number, verdict and content (base64) of each file of a fault.
    """
    name, seed, first = task["format"], task["seed"], task["first"]
    corpus, faults, found = _corpus(), [], Counter()
    with tempfile.TemporaryDirectory() as folder:
        for kind in FORMATS.values():
            shutil.copytree(corpus / kind.folder, Path(folder) / kind.folder, dirs_exist_ok=True)
        job = {"format": name, "corpus": str(corpus), "folder": folder, "seed": seed}
        files = contents(corpus)
        for number, verdict in verdicts(job, task["end"] - first, first):
            found[verdict] += 1
            if verdict.startswith("fault"):
                faults.append([number, verdict, base64.b64encode(case(name, files, seed, number)).decode()])
    return {"verdicts": dict(sorted(found.items())), "faults": faults}


@cache
def _corpus() -> Path:
    """The valid files, made once a process."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    write_corpus(Path(folder.name))
    return Path(folder.name)


def fuzz(name: str, cases: int, seed: int, keep: Path, **workers) -> Counter:
    """Judge mutated files of a format; those of faults are kept.

    Parameters
    ----------
    name : str
    cases, seed : int
    keep : Path
        Folder for the files of faults.
    **workers
        ``jobs``, ``cluster`` and ``cache`` of :func:`lstm_hw.campaign.run_tasks`.

    Returns
    -------
    Counter
        Of verdicts; those of faults begin with ``fault``.
    """
    found: Counter = Counter()
    tasks = [
        {"format": name, "seed": seed, "first": first, "end": min(first + SHARD, cases)}
        for first in range(0, cases, SHARD)
    ]
    for result in run_tasks(shard, tasks, label=name, **workers):
        found.update(result["verdicts"])
        for number, _, content in result["faults"]:
            keep.mkdir(parents=True, exist_ok=True)
            (keep / f"{seed}-{number}-{FORMATS[name].name}").write_bytes(base64.b64decode(content))
    return found


def line(name: str, found: Counter, seconds: float) -> str:
    """What a format's files came to."""
    faults = sum(count for verdict, count in found.items() if verdict.startswith("fault"))
    refused = {verdict: n for verdict, n in found.items() if verdict != "accepted" and not verdict.startswith("fault")}
    types = ", ".join(f"{count} {verdict}" for verdict, count in sorted(refused.items()))
    return (
        f"{name:16} {sum(found.values())} files: {found['accepted']} accepted, {sum(refused.values())} refused "
        f"({types}), {faults} faults, {seconds:.0f} s"
    )


@click.command(
    epilog="""\b
Examples:
  make fuzz
  python -m bench.fuzz --cases 1000 --format npz --format toml
  python -m bench.fuzz --seed 7 --cases 200000 --jobs 2
  python -m bench.fuzz --cases 1000000 --cluster tcp://10.0.0.1:8786"""
)
@click.option("--cases", type=click.IntRange(1, 10**9), default=CASES, show_default=True, help="Files a format.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=1, show_default=True, help="Of the mutations.")
@click.option(
    "--format", "names", type=click.Choice(list(FORMATS)), multiple=True, help="Only this format; repeatable."
)
@click.option("--keep", type=click.Path(), default=FAULTS, show_default=True, help="Folder for the files of faults.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Processes that work at a time.")
@click.option("--cluster", metavar="ADDRESS", help="A dask.distributed scheduler, whose workers do it instead.")
def main(cases, seed, names, keep, jobs, cluster):
    """Read mutated files of every format; the exit status is 1 if one was neither taken nor refused.

    What an interrupted run has judged is not judged again.
    """
    failed = False
    try:
        with workers_kept():
            for name in names or FORMATS:
                start = time.monotonic()
                found = fuzz(name, cases, seed, Path(keep) / name, jobs=jobs, cluster=cluster, cache=KEPT)
                click.echo(line(name, found, time.monotonic() - start))
                for verdict, count in found.items():
                    if verdict.startswith("fault"):
                        failed = True
                        click.echo(f"  {count} x {verdict}; kept in {Path(keep) / name}")
    except LstmHwError as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
    shutil.rmtree(KEPT, ignore_errors=True)
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
