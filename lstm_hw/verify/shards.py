"""Shards: some runs of a scenario as a scenario of their own, to be simulated beside the others.

Every run starts from zero state, so that no value goes from one run to the next. What an engine has in its buffers and
queues when a run begins may count in cycles, however: a shard begins with a load, if there is one, and with the run
before its own, which does not count.
"""

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..errors import InputError, VerificationError
from ..machine.config import EngineConfig
from ..machine.layout import Image, Tile
from ..machine.pack import to_bytes
from ..machine.program import Program
from ..proof.interpreter import Interpreter
from ..proof.load_timing import MemoryModel
from .runs import counted_runs
from .scenario import Run, Scenario, Stress
from .simulate import Expected


@dataclass(frozen=True)
class Shard:
    """Some runs, with all that it takes to simulate them.

    Parameters
    ----------
    numbers : tuple of int
        The runs' numbers in the whole scenario.
    before : int
        How many of them, the first ones, belong to others.
    program : Program
    words : int array (words, R)
        The weight image.
    layout : Image
    config : EngineConfig
    memory : MemoryModel
    runs : list of Run
        Without counters.
    """

    numbers: tuple[int, ...]
    before: int
    config: EngineConfig
    program: Program
    words: np.ndarray
    layout: Image
    memory: MemoryModel
    runs: list[Run]

    def scenario(self) -> Scenario:
        """The scenario, its counters by the interpreter, whose outputs are proved equal to the reference's.

        Raises
        ------
        VerificationError
            They differ.
        """
        interpreter = Interpreter(self.config, self.program, self.words, self.memory, self.layout)
        runs = list(counted_runs(interpreter, self.runs))
        image = to_bytes(self.words, self.config, self.layout)
        return Scenario(self.config, self.program.encoded(), image, runs, Stress(), self.memory)

    def own(self, measured: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """What was measured in the runs of this shard, of that in all of them."""
        return list(measured[self.before :])

    def renumbered(self, error: VerificationError) -> VerificationError:
        """An error about a run, with the number that it has in the whole scenario."""
        subject = re.sub(
            r"^run (\d+)", lambda found: f"run {self.numbers[min(int(found[1]), len(self.numbers) - 1)]}", error.subject
        )
        return VerificationError(subject, error.found, error.rule)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values."""
        arrays = {
            "words": self.words,
            "x": np.concatenate([run.x for run in self.runs]),
            "lasts": np.concatenate([run.lasts for run in self.runs]),
        }
        entries = [
            {"beats": len(run.x), **{name: getattr(run, name) for name in _RUN}, "outputs": run.outputs}
            for run in self.runs
        ]
        return {
            "runs": [*self.numbers],
            "before": self.before,
            "entries": entries,
            "engine": self.config.to_dict(),
            "program": self.program.to_dict(),
            "tiles": [asdict(tile) for tile in self.layout.tiles],
            "stored": list(self.layout.stored),
            "memory": asdict(self.memory),
            "arrays": _packed(arrays),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Shard":
        """Inverse of :meth:`to_dict`, for values of this package."""
        arrays = _unpacked(values["arrays"])
        runs, at = [], 0
        for entry in values["entries"]:
            mine, at = slice(at, at + entry["beats"]), at + entry["beats"]
            given = {name: entry[name] for name in _RUN}
            runs.append(Run(x=arrays["x"][mine], lasts=arrays["lasts"][mine], outputs=entry["outputs"], **given))
        return cls(
            tuple(values["runs"]),
            values["before"],
            EngineConfig.from_dict(values["engine"]),
            Program.from_dict(values["program"]),
            arrays["words"],
            Image(tuple(Tile(**tile) for tile in values["tiles"]), tuple(values["stored"])),
            MemoryModel(**values["memory"]),
            runs,
        )


_RUN = ("entry", "steps", "clear", "clipped")


def _packed(arrays):
    """Arrays as text."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return base64.b64encode(file.getvalue()).decode()


def _unpacked(text):
    with np.load(io.BytesIO(base64.b64decode(text)), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def shards_of(expected: Expected, words: np.ndarray, cycles: Sequence[int], most: int) -> list[Shard]:
    """Cut the runs of a scenario into shards of about as many cycles.

    Parameters
    ----------
    expected : Expected
        As :func:`.simulate.expect_outputs` gives it.
    words : int array (words, R)
        The weight image.
    cycles : sequence of int
        Of the runs, about; the load's too.
    most : int
        Cycles of a shard; a shard has one run at least, and there are two shards at least.

    Returns
    -------
    list of Shard
        Every run but the load is in one of them, and the load in each; the first has it as its own.

    Raises
    ------
    InputError
        There are fewer than two runs beside the load, or one of them goes on where another one ended.
    """
    plan, loads, runs = expected.plan, expected.loads, expected.scenario.runs
    if len(runs) - loads < 2 or not all(run.clear for run in runs[loads:]):
        raise InputError("runs", f"{len(runs) - loads}", "must be two at least, each from zero state")
    ends = np.cumsum(cycles[loads:])
    count = min(max(2, -(-int(ends[-1]) // most)), len(ends))
    middles = ends - np.asarray(cycles[loads:]) / 2
    of = np.minimum((middles * count / ends[-1]).astype(int), count - 1)
    shards = []
    for shard in np.unique(of):
        own = [loads + int(number) for number in np.flatnonzero(of == shard)]
        before = [*range(loads), *([own[0] - 1] if shards else [])]
        numbers = (*before, *own)
        mine = [runs[number] for number in numbers]
        own_from = len(before) if shards else 0
        shards.append(
            Shard(numbers, own_from, plan.config, plan.program, words, plan.image, expected.scenario.memory, mine)
        )
    return shards
