"""Scenarios: everything that a simulation of the emitted Verilog needs, in one folder.

The package writes a scenario, the cocotb bench reads it: configuration, program, weight image, the
runs with their input beats and what they must answer. Both sides use this module, so the file
format exists once.
"""

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from ..errors import InputError, LstmHwError
from ..files import write_json
from ..machine.config import EngineConfig
from ..machine.limits import PAGE_BYTES
from ..proof.load_timing import MemoryModel
from ..provenance import file_digest, read_stamped, stamped
from ..reading import NpzFile, check_file, read_file

BENCH_MEMORY = MemoryModel(latency=2)
"""What the weight ports meet unless something else is said; cocotbext-axi's memory is as fast."""
MAX_IMAGE_BYTES = 1 << 30
"""Largest weight image and test vectors that are read."""
FILE, IMAGE, VECTORS = "scenario.json", "weights.bin", "vectors.npz"


@dataclass
class Run:
    """One run of the engine.

    Parameters
    ----------
    entry : int
        Value of register ENTRY.
    steps : int
    clear : bool
    x : int array (beats, elements a beat)
    lasts : int array (beats,)
        1 where a beat carries tlast.
    outputs : list of int lists
        Expected packets of the output stream.
    counters : dict or None
        Expected counters; compared when streams and memory run without pauses.
    clipped : dict or None
        Expected values beyond their format by place; compared where the engine counts them.
    """

    entry: int
    steps: int
    clear: bool
    x: np.ndarray
    lasts: np.ndarray
    outputs: list[list[int]]
    counters: dict[str, int] | None = None
    clipped: dict[str, int] | None = None


@dataclass
class Stress:
    """Pauses: probabilities that x is idle, the output is not ready, and the memory holds back, in each cycle, and the
    cycles that the memory takes longer to answer a request (of weight port p, p + 1 times as many). With ``x_late`` the
    second half of a run's beats of x only comes so many cycles behind its start, and one more for every run before."""

    x_idle: float = 0.0
    y_stall: float = 0.0
    memory_stall: float = 0.0
    seed: int = 1
    memory_latency: int = 0
    x_late: int = 0

    @property
    def quiet(self) -> bool:
        return not (self.x_idle or self.y_stall or self.memory_stall or self.memory_latency or self.x_late)


@dataclass
class Scenario:
    """A configuration with its program, weights and runs, and the memory that every weight port meets."""

    config: EngineConfig
    program: list[int]
    image: bytes
    runs: list[Run]
    stress: Stress = field(default_factory=Stress)
    memory: MemoryModel = BENCH_MEMORY
    weights_address: int = 0x10000

    @property
    def images(self) -> list[bytes]:
        """The weight image of each port."""
        size = len(self.image) // self.config.axi_ports
        return [self.image[port * size : (port + 1) * size] for port in range(self.config.axi_ports)]

    @property
    def addresses(self) -> list[int]:
        """Where the image of each port is: one behind the other, each from the start of a page on."""
        pages = -(-len(self.image) // self.config.axi_ports // PAGE_BYTES)
        return [self.weights_address + port * pages * PAGE_BYTES for port in range(self.config.axi_ports)]

    def save(self, folder: str | os.PathLike) -> None:
        """Write the scenario to a folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / IMAGE).write_bytes(self.image)
        # The arrays of all runs behind each other: an archive has few members, however many the runs are.
        arrays = {
            "x": np.concatenate([run.x for run in self.runs]),
            "lasts": np.concatenate([run.lasts for run in self.runs]),
            "y": np.asarray([value for run in self.runs for packet in run.outputs for value in packet], dtype=np.int64),
            "lengths": np.asarray([len(packet) for run in self.runs for packet in run.outputs], dtype=np.int64),
            "sizes": np.asarray([(len(run.x), len(run.outputs)) for run in self.runs], dtype=np.int64),
        }
        np.savez_compressed(folder / VECTORS, **arrays)
        write_json(
            folder / FILE,
            stamped(
                {
                    "files": {name: file_digest(folder / name) for name in (IMAGE, VECTORS)},
                    "config": self.config.to_dict(),
                    "program": [f"{word:x}" for word in self.program],
                    "stress": asdict(self.stress),
                    "memory": asdict(self.memory),
                    "weights_address": self.weights_address,
                    "runs": [
                        {name: getattr(r, name) for name in ("entry", "steps", "clear", "counters", "clipped")}
                        for r in self.runs
                    ],
                }
            ),
        )

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "Scenario":
        """Read a scenario back.

        Raises
        ------
        InputError
            A file is missing, unreadable or changed.
        """
        folder = Path(folder)
        values = read_stamped(folder / FILE)
        try:
            for name in (IMAGE, VECTORS):
                check_file(folder / name, MAX_IMAGE_BYTES)
                if file_digest(folder / name) != values["files"][name]:
                    raise InputError(folder / name, "another content", f"must be as {FILE} beside it says")
            arrays = NpzFile(folder / VECTORS)
            numbers = [*values["stress"].values(), *values["memory"].values(), values["weights_address"]]
            if not all(type(number) in (int, float) for number in numbers):
                raise TypeError("stress, memory or weights_address")
            return cls(
                EngineConfig.from_dict(values["config"]),
                [int(w, 16) for w in values["program"]],
                read_file(folder / IMAGE, MAX_IMAGE_BYTES),
                _runs(values["runs"], arrays),
                Stress(**values["stress"]),
                MemoryModel(**values["memory"]),
                values["weights_address"],
            )
        except InputError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, LstmHwError) as error:
            rule = f"must be as it was written ({error!r:.80})"
            raise InputError(folder / FILE, "another scenario", rule) from error


def _runs(entries, arrays):
    """The runs from their entries in the file and the arrays of all of them."""
    x, lasts, flat, lengths, sizes = (arrays.read(name) for name in ("x", "lasts", "y", "lengths", "sizes"))
    right = lengths.min(initial=0) >= 0 and lengths.sum() == len(flat) and lasts.shape == x.shape[:1]
    if not right or sizes.shape != (len(entries), 2) or sizes.min(initial=0) < 0:
        raise ValueError("sizes of beats or packets")
    if sizes.sum(axis=0).tolist() != [len(x), len(lengths)]:
        raise ValueError("beats or packets of all runs")
    ends, (beat_ends, packet_ends) = np.cumsum(lengths), np.cumsum(sizes, axis=0).T
    packets = [flat[end - length : end].tolist() for end, length in zip(ends, lengths, strict=True)]
    runs = []
    for number, (entry, (beats, count)) in enumerate(zip(entries, sizes, strict=True)):
        mine = slice(beat_ends[number] - beats, beat_ends[number])
        sent = packets[packet_ends[number] - count : packet_ends[number]]
        runs.append(_run(entry, x[mine], lasts[mine], sent, number))
    return runs


def _run(values, x, lasts, packets, number):
    """A run from its entry in the file and its part of the arrays."""
    kinds = {"entry": int, "steps": int, "clear": bool}
    if not all(type(values[name]) is kind for name, kind in kinds.items()):
        raise TypeError(f"values of run {number}")
    return Run(
        values["entry"], values["steps"], values["clear"], x, lasts, packets, values["counters"], values["clipped"]
    )
