"""Simulation of the emitted Verilog against the references: every output bit and every cycle count.

A scenario loads the weights (run 0), then runs once for each group of K sequences, and last over several groups back
to back: two lengths tell the cycles that every step costs from those that a run costs once.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError, ToolError, VerificationError
from ..machine.config import GATES
from ..machine.pack import to_bytes
from ..model.reference import integer_reference
from ..process import sibling
from ..proof.cycles import long_steps
from ..proof.interpreter import Interpreter
from .scenario import BENCH_MEMORY, Run, Scenario, Stress, pack_beats

TOPLEVEL = "lstm_engine"
BENCH = "sim.bench_engine"


def packet_order(contexts, size, head):
    """In which order a packet holds the outputs of K contexts.

    Elements of h leave one by one, outputs of a head four by four; each time, the contexts follow each other.

    Parameters
    ----------
    contexts, size : int
        K, and elements of one output vector.
    head : bool

    Returns
    -------
    int array (K * size,)
        For each element of the packet ``context * size + element``.
    """
    group = GATES if head else 1
    return np.array(
        [
            context * size + element
            for first in range(0, size, group)
            for context in range(contexts)
            for element in range(first, min(size, first + group))
        ]
    )


def to_packets(outputs, head):
    """Outputs of K sequences to the packets of the output stream.

    Parameters
    ----------
    outputs : int array (K, O) or (K, T, O)
        One vector a sequence, or one a step.
    head : bool
        They are a head's.

    Returns
    -------
    list of int lists
    """
    outputs = outputs[:, None] if outputs.ndim == 2 else outputs
    contexts, steps, size = outputs.shape
    return outputs.transpose(1, 0, 2).reshape(steps, -1)[:, packet_order(contexts, size, head)].tolist()


def from_packets(packets, contexts, head, every_step):
    """Inverse of :func:`to_packets`."""
    packets = np.asarray(packets, dtype=np.int64)
    size = packets.shape[1] // contexts
    outputs = np.empty_like(packets)
    outputs[:, packet_order(contexts, size, head)] = packets
    outputs = outputs.reshape(len(packets), contexts, size).transpose(1, 0, 2)
    return outputs if every_step else outputs[:, 0]


def grouped(x, contexts):
    """Sequences (N, T, Lx) in groups (G, K, T, Lx); the last group is filled up with its last sequence."""
    missing = -len(x) % contexts
    filled = np.concatenate([x, np.repeat(x[-1:], missing, axis=0)])
    return filled.reshape(-1, contexts, *x.shape[1:])


@dataclass(frozen=True)
class Expected:
    """What a simulation must show, from the integer reference (outputs) and the interpreter (counters).

    Parameters
    ----------
    scenario : Scenario
    outputs : int64 array (N, O) or (N, T, O)
        Of the single runs.
    head, every_step : bool
        Outputs are a head's; there is a vector for every step.
    counters : list of dict
        Of the runs, the load first and the long one last.
    """

    scenario: Scenario
    outputs: np.ndarray
    head: bool
    every_step: bool
    counters: list


def expect(plan, words, qmodel, x, stress=None, progress=None):
    """Build the scenario of some sequences and prove the interpreter equal to the integer reference on it.

    Parameters
    ----------
    plan : Plan
    words : int array (words, R)
        The weight image.
    qmodel : QuantModel
    x : int array (N, T, Lx)
        Stored integers of the model's input format.
    stress : Stress, optional
    progress : callable, optional
        Called as ``progress(done, total)``.

    Returns
    -------
    Expected

    Raises
    ------
    InputError
        ``x`` does not fit the model.
    VerificationError
        The interpreter's outputs differ from the reference's; names the run and the first difference.
    """
    config = plan.config
    head, every_step = plan.network.head is not None, plan.network.output_vectors(2) == 2
    if not len(x):
        raise InputError("x", "no sequence", "must have at least one")
    groups = grouped(x, config.contexts)
    endless = np.concatenate([groups[n % len(groups)] for n in range(-(-long_steps(x.shape[1]) // x.shape[1]))], axis=1)
    long = endless[:, : long_steps(x.shape[1])]
    interpreter = Interpreter(config, plan.program, words, BENCH_MEMORY)
    packets, counters, outputs = interpreter.run("load"), [interpreter.timing.counters.to_dict()], []
    runs = [
        Run(
            plan.program.entries["load"],
            1,
            False,
            np.zeros((0, config.x_per_beat), dtype=np.int64),
            np.zeros(0, dtype=np.int64),
            packets,
            counters[0],
        )
    ]
    for number, group in enumerate([*groups, long], 1):
        reference, _ = integer_reference(qmodel, group)
        beats, lasts = pack_beats(group, config)
        packets, found = to_packets(reference, head), interpreter.run("run", group.shape[1], True, beats)
        _compare(f"run {number}", "interpreter", found, "integer reference", packets)
        counters.append(interpreter.timing.counters.to_dict())
        runs.append(Run(plan.program.entries["run"], group.shape[1], True, beats, lasts, packets, counters[-1]))
        outputs.append(reference)
        if progress:
            progress(number, len(groups) + 1)
    scenario = Scenario(config, plan.program.encoded(), to_bytes(words, config), runs, stress or Stress())
    return Expected(scenario, np.concatenate(outputs[:-1])[: len(x)], head, every_step, counters)


@dataclass(frozen=True)
class Measured:
    """What the Verilog did; every output was equal to the reference's, or there would be none of these.

    Parameters
    ----------
    simulator : str
    outputs : int64 array (N, O) or (N, T, O)
    load, run, long : dict
        Counters of loading, of a run over one group and of the long run.
    steps : int
        Time steps of a sequence.
    cycles_equal : bool or None
        Whether every counter of every run was the interpreter's; None when streams or memory were held back.
    cycles_simulated : int
        Cycles that all runs took together.
    seconds : float
        Wall time of the simulation without the compilation.
    waves : Path or None
        The waveform file, if one was asked for.
    """

    simulator: str
    outputs: np.ndarray
    load: dict
    run: dict
    long: dict
    steps: int
    cycles_equal: bool | None
    cycles_simulated: int
    seconds: float = 0.0
    waves: Path | None = None

    def to_dict(self):
        """JSON-able values that are the same in every run."""
        return {
            "simulator": self.simulator,
            "sequences": len(self.outputs),
            "steps": self.steps,
            "outputs_equal": True,
            "cycles_equal": self.cycles_equal,
            "cycles_simulated": self.cycles_simulated,
            "counters": {"load": self.load, "run": self.run, "long": self.long},
            "outputs": self.outputs.tolist(),
        }

    @classmethod
    def from_dict(cls, values):
        """Inverse of :meth:`to_dict`."""
        counters = values["counters"]
        return cls(
            values["simulator"],
            np.asarray(values["outputs"], dtype=np.int64),
            counters["load"],
            counters["run"],
            counters["long"],
            values["steps"],
            values["cycles_equal"],
            values["cycles_simulated"],
        )


def play(
    expected,
    verilog,
    folder,
    *,
    simulator="verilator",
    seed=1,
    waves=False,
    timeout=None,
    cache="build/sim",
    progress=None,
):
    """Play a scenario on the Verilog and compare.

    Parameters
    ----------
    expected : Expected
    verilog : path-like
        The emitted design.
    folder : path-like
        Gets the scenario and what was measured; emptied first.
    simulator : {"verilator", "icarus"}
    seed : int
    waves : bool
        Record every signal.
    timeout : float, optional
        Seconds.
    cache : path-like
        Folder of compiled designs.
    progress : callable, optional
        Called as ``progress(done, total)`` in runs.

    Returns
    -------
    Measured

    Raises
    ------
    VerificationError
        An output or a counter differs, or a run met an error.
    ToolError
        A tool is missing, or the design does not compile.
    """
    sibling("sim")
    from sim.runner import run_bench

    folder = Path(folder).resolve()
    if folder.exists():
        shutil.rmtree(folder)
    expected.scenario.save(folder)
    result = run_bench(
        [verilog],
        TOPLEVEL,
        BENCH,
        simulator=simulator,
        extra_env={"LSTM_HW_SCENARIO": str(folder)},
        seed=seed,
        waves=waves,
        build_dir=cache,
        timeout=timeout,
        progress=progress,
    )
    try:
        measured = json.loads((folder / "measured.json").read_text())
    except (OSError, ValueError) as error:
        rule = f"must leave measured.json; the log is {result.log}"
        raise ToolError(f"{BENCH} on {simulator}", f"left no measurement ({error})", rule) from error
    return _judge(expected, measured, simulator, result)


def _judge(expected, measured, simulator, result):
    """Compare once more, here: the bench may not be the only judge of what it did."""
    scenario = expected.scenario
    if len(measured) != len(scenario.runs):
        raise VerificationError("simulation", f"{len(measured)} runs", f"must be {len(scenario.runs)}")
    outputs = []
    for number, (run, found) in enumerate(zip(scenario.runs, measured, strict=True)):
        _compare(f"run {number}", "Verilog", found["outputs"], "integer reference", run.outputs)
        if scenario.stress.quiet and run.counters is not None and found["counters"] != run.counters:
            raise VerificationError(f"run {number}", f"counters {found['counters']}", f"must be {run.counters}")
        if 0 < number < len(measured) - 1:
            outputs.append(from_packets(found["outputs"], scenario.config.contexts, expected.head, expected.every_step))
    counters = [found["counters"] for found in measured]
    return Measured(
        simulator,
        np.concatenate(outputs)[: len(expected.outputs)],
        counters[0],
        counters[1],
        counters[-1],
        scenario.runs[1].steps,
        True if scenario.stress.quiet else None,
        sum(c["cycles"] for c in counters),
        result.run_seconds,
        result.waves,
    )


def _compare(subject, name, found, reference_name, wanted):
    """Raise VerificationError with the first difference of two lists of packets."""
    if [len(p) for p in found] != [len(p) for p in wanted]:
        raise VerificationError(
            subject,
            f"{name} sends packets of {[len(p) for p in found]} elements",
            f"must be {[len(p) for p in wanted]} as in the {reference_name}",
        )
    for packet, (ours, theirs) in enumerate(zip(found, wanted, strict=True)):
        for element, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            if a != b:
                raise VerificationError(
                    f"{subject}, packet {packet}, element {element}",
                    f"{name} gives {a}",
                    f"must be {b} as in the {reference_name}",
                )
