"""Weight reuse over time, ours beside SACC, TSI-WR and E-LSTM (``make bench-reuse``).

Every schedule is a program for the same engine. Programs are proved by the checker; words are counted by replaying
their LOADs, cycles by the interpreter's model. At the sizes named in ``VERILOG`` the same figures come from the
emitted Verilog: outputs equal the integer reference, counters the model, and a monitor in the memory counts the words
of each matrix that were read.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import click

from lstm_hw.errors import LstmHwError, VerificationError
from lstm_hw.machine.network import LayerShape, Network
from lstm_hw.plan.conventional import ConventionalPlanner
from lstm_hw.plan.fusion import FusionPlanner
from lstm_hw.plan.row_window import RowWindowPlanner
from lstm_hw.plan.sacc import SaccPlanner
from lstm_hw.plan.sbe import BatchPlanner
from lstm_hw.plan.sizing import ample_engine, engine_formats, network_of
from lstm_hw.proof.checker import check
from lstm_hw.proof.count import count_cycles
from lstm_hw.proof.energy import Events, energy
from lstm_hw.proof.load_timing import MemoryModel
from lstm_hw.proof.traffic import words_read

from .reuse_plot import plot
from .table import FOLDER, Row, text, write
from .verilog import play
from .workloads import Workload, random_model, random_stack

RESULT = f"{FOLDER}/reuse.json"
SACC, TSI_WR = "Tewari et al., DATE", "Park et al., ISLPED 2020"
ROWS = 64
"""R with two contexts: a tile has 16 units, as in SACC's example."""
LANES = 2 * ROWS
PORT_BITS = 256
MEMORY = MemoryModel(latency=40)
WEIGHT_BITS = OPERAND_BITS = 16
STEPS = 16
BATCH = 8
TSI_WR_SHARE = 0.79
"""Share of W_h that must be on chip for half of the traffic, as SACC's authors put it."""
LEAST_RING = 256
"""Words beside pinned ones: room for a burst."""
VERILOG = (128, 256)
VERILOG_STEPS = 4


@dataclass(frozen=True)
class Schedule:
    """A way to run a layer for one sequence or a few.

    Parameters
    ----------
    name : str
    make : callable (network, config, steps) -> Plan
    pinned : int
        Row blocks of W_h that stay on chip.
    window : float
        Share of the row blocks that stay on chip behind the one that passes.
    contexts : int
        K; all engines have the same lanes.
    """

    name: str
    make: object
    pinned: int = 0
    window: float | None = None
    contexts: int = 2

    def stored(self, n):
        """Weights of a gate of W_h that stay on chip, of n^2."""
        units = ROWS // 4
        return (round((self.window or 0) * (n // units)) + self.pinned) * units * n


def conventional(pinned=0):
    name = "pinned" if pinned else "conventional"
    units = ROWS // 4

    def make(network, config, steps):
        blocks = network.layers[0].blocks(config.rows)
        return ConventionalPlanner(network, config, min(pinned, blocks - 1) * units).plan()

    return Schedule(name, make, pinned)


def split_and_combine(pinned=0, batch=1, sequences=1):
    name = "sacc" + "+pinned" * bool(pinned) + f"+batch{batch}" * (batch > 1)
    return Schedule(
        name,
        lambda network, config, steps: SaccPlanner(network, config, batch, pinned).plan(),
        pinned,
        contexts=2 * sequences,
    )


def row_window_of(share):
    """TSI-WR with a share of the row blocks on chip."""

    def make(network, config, steps):
        blocks = network.layers[0].blocks(config.rows)
        return RowWindowPlanner(network, config, round(share * blocks)).plan()

    return Schedule(f"row window, {100 * share:g} %", make, window=share)


def fusion(batch):
    """E-LSTM's cell fusion for dense weights: W_x for a batch of steps behind the steps before."""
    return Schedule(
        f"fusion, batch {batch}", lambda network, config, steps: FusionPlanner(network, config, batch).plan()
    )


def blocking_batching(batch, sequences=1):
    def make(network, config, steps):
        return BatchPlanner(network, config, batch, 1, 3).plan()

    return Schedule(f"sbe case 3, batch {batch}", make, contexts=sequences)


def network_for(inputs, hidden):
    return Network((LayerShape("lstm", inputs, hidden, 15),))


def engine(network, schedule, ring=512, port_bits=PORT_BITS, lanes=LANES, **formats):
    """An engine that has what the schedule needs, with ``ring`` words beside the resident ones."""
    layer, rows = network.layers[0], lanes // schedule.contexts
    blocks = layer.blocks(rows)
    bias = blocks * sum(columns for _, columns in layer.bias_columns)
    stored = schedule.pinned
    if schedule.window is not None:
        stored += round(schedule.window * blocks) + 1  # the row block in front of the window
    words = bias + stored * blocks * rows // 4 + ring
    return ample_engine(
        network,
        True,
        rows=rows,
        contexts=schedule.contexts,
        weight_words=words,
        cells=2,
        axi_data_bits=port_bits,
        **{"activation": "pwl"} | formats,
    )


def words_a_step(plan, steps):
    """Words of each matrix that a time step reads, averaged over a run."""
    (run,) = words_read(plan, ((steps, True),))
    return {part: count / steps for part, count in run.items()}


def planned(network, schedule, steps, **fields):
    """A plan that the checker has proved."""
    plan = schedule.make(network, engine(network, schedule, **fields), steps)
    check(plan, steps=min(steps, 2))
    return plan


def gate_words(words, rows):
    """Weights of one gate in so many words of R weights."""
    return words * rows / 4


def bound(n, stored):
    """(N - M) / 2: no exact dense schedule with M of the N weights on chip loads fewer a step."""
    return (n * n - stored) / 2


def in_verilog(layer, schedule, folder, steps=VERILOG_STEPS):
    """Run a schedule in Verilog; returns the plan and its counters, with the beats of each matrix.

    Raises
    ------
    VerificationError
        Verilog, interpreter and integer reference differ.
    """
    model, x = random_model(layer, 1, "pwl")
    x = x[:, :steps]
    network = network_of(model)
    plan = planned(network, schedule, steps, shifts=tuple(s.shift for s in network.layers), **engine_formats(model))
    name = f"{schedule.name}, n = {layer.hidden}"
    return plan, play(name, model, plan, x, MEMORY, folder, steps_checked=2)


def hidden_words(folder, sizes=(128, 256, 512, 1024), verilog=VERILOG):
    """(a) Words of W_h a step and gate, beside the bound with what the schedule keeps on chip."""
    result = []
    for n in sizes:
        half = n // (ROWS // 4) // 2
        for schedule in (
            conventional(),
            conventional(half),
            row_window_of(TSI_WR_SHARE),
            split_and_combine(),
            split_and_combine(half),
            split_and_combine(batch=min(BATCH, 4096 // n)),
        ):
            simulated = n in verilog and schedule.name in ("conventional", "sacc")
            if simulated:
                plan, counters = in_verilog(
                    Workload(f"sacc_{n}", n, n, VERILOG_STEPS, SACC), schedule, f"{folder}/{schedule.name}-{n}"
                )
                words = counters["beats_h"] / plan.config.beats_per_word / VERILOG_STEPS
            else:
                plan = planned(network_for(n, n), schedule, STEPS)
                words = words_a_step(plan, STEPS)["h"]
            ours = gate_words(words, plan.config.rows)
            least = bound(n, schedule.stored(n))
            if schedule.name.startswith("sacc") and ours != least:
                raise VerificationError(f"{schedule.name}, n = {n}", f"{ours} words", f"must be the bound, {least}")
            how = "memory monitor in Verilog" if simulated else "program replayed"
            result.append(
                Row(
                    "hidden_words_per_step",
                    f"{schedule.name}/n{n}",
                    ours,
                    "weights a gate",
                    least,
                    f"{how}; published: bound (N - M)/2, M = {schedule.stored(n)}",
                )
            )
    return result


def curve(n=256):
    """(b) Traffic of W_h against the share of it that is on chip, both in parts of the matrix."""
    blocks = n // (ROWS // 4)
    result = [
        (name, make(pinned))
        for pinned in range(0, blocks, 2)
        for name, make in (("pinned", conventional), ("sacc", split_and_combine))
    ]
    result += [("row window", row_window_of(share / 8)) for share in range(8)]
    result.append(("row window", row_window_of(TSI_WR_SHARE)))
    points = []
    for name, schedule in result:
        plan = planned(network_for(n, n), schedule, STEPS)
        words = gate_words(words_a_step(plan, STEPS)["h"], ROWS)
        points.append((name, schedule.stored(n) / n**2, words / n**2))
    return points


def curve_rows(points, n=256):
    """The curve as rows; the published figure is the formula of the row window, and the bound for the others."""
    result = []
    for name, stored, words in points:
        formula = 1 / 2 + (1 - stored) ** 2 / 4 if name == "row window" else (1 - stored) / 2
        source = f"{TSI_WR}, model 1/2 + (1 - m)^2/4" if name == "row window" else "bound (1 - m)/2"
        result.append(
            Row(
                "hidden_traffic_share",
                f"{name}/m{stored:.3f}",
                words,
                f"of n^2 a step, n = {n}",
                formula,
                f"program replayed; published: {source}",
            )
        )
    return result


MODELS = {
    "character LM": (((65, 128), (128, 128)), -28.0, -13.0),
    "speech": (((39, 256), (256, 256)), -32.0, -16.0),
}
"""Two-layer models, (Lx, Lh) of each layer, with the published changes of total traffic and of energy, in percent.

SACC's deck gives no sizes; these are common ones: 65 characters, 39 cepstral coefficients.
"""


def stack_events(stacked, schedule):
    """What a step of a stack does, layer after layer."""
    words = read = macs = 0.0
    for layer in stacked.layers:
        network = Network((layer,))
        plan = planned(network, schedule, STEPS)
        words += sum(words_a_step(plan, STEPS).values()) * ROWS
        read += read_words(plan, STEPS) * ROWS
        macs += network.layers[0].macs
    return Events(words * WEIGHT_BITS, words * WEIGHT_BITS, read * WEIGHT_BITS, macs * WEIGHT_BITS * OPERAND_BITS)


def read_words(plan, steps):
    """Weight words that the lanes read from the buffer in a step."""
    return (
        sum(
            command.slots * command.columns
            for command in plan.program.run("run", steps, True)
            if command.op == "MAC" and command.mask
        )
        / steps
    )


def stack_in_verilog(name, model, x, schedule, folder):
    """Run a stack in Verilog, and return the weights that a step reads, as the memory saw them.

    Raises
    ------
    VerificationError
        Verilog, interpreter and integer reference differ, or the memory saw other words than the program loads.
    """
    network, steps = network_of(model), x.shape[1]
    blocks = sum(layer.blocks(ROWS) * sum(columns for _, columns in layer.bias_columns) for layer in network.layers)
    config = ample_engine(
        network,
        True,
        rows=ROWS,
        contexts=2,
        weight_words=blocks + 512,
        cells=2,
        axi_data_bits=PORT_BITS,
        **engine_formats(model),
    )
    plan = schedule.make(network, config, steps)
    counters = play(f"{schedule.name}, {name}", model, plan, x, MEMORY, folder, steps_checked=2)
    seen = sum(counters[f"beats_{part}"] for part in ("x", "h", "bias")) // config.beats_per_word
    loaded = round(sum(words_a_step(plan, steps).values()) * steps)
    if seen != loaded:
        raise VerificationError(f"{schedule.name}, {name}", f"{seen} words", f"must be {loaded} as in the program")
    return seen * ROWS / steps


def models(folder, verilog=True):
    """(c), (e) Total traffic and energy of two-layer models, against the conventional schedule.

    Of the conventional schedule and of SACC, with a batch of steps too, the traffic is that of Verilog: both layers in
    one run.
    """
    result = []
    for name, (layers, traffic, saved) in MODELS.items():
        sizes = (layers[0][0], *(hidden for _, hidden in layers))
        model, x = random_stack(name, sizes, BATCH, activation="pwl")
        base, seen = stack_events(network_of(model), conventional()), {}
        few, batch = x[:, :VERILOG_STEPS], split_and_combine(batch=BATCH)
        for schedule, run in ((conventional(), few), (split_and_combine(), few), (batch, x)) if verilog else ():
            seen[schedule.name] = stack_in_verilog(name, model, run, schedule, f"{folder}/{schedule.name}-{name}")
        weights = base.dram / WEIGHT_BITS
        if seen.get("conventional", weights) != weights:
            raise VerificationError(name, f"{seen['conventional']} weights", f"must be {weights} as counted")
        for schedule in (
            split_and_combine(),
            split_and_combine(batch=BATCH),
            row_window_of(TSI_WR_SHARE),
            fusion(BATCH),
        ):
            events = stack_events(network_of(model), schedule)
            weights = events.dram / WEIGHT_BITS
            if seen.get(schedule.name, weights) != weights:
                raise VerificationError(name, f"{seen[schedule.name]} weights", f"must be {weights} as counted")
            how = "memory monitor in Verilog" if schedule.name in seen else "programs replayed"
            published, source = (None, None), "no such figure"
            if schedule.name == "sacc":
                published, source = (traffic, saved), SACC
            elif schedule.window is not None:
                published, source = (None, -57.3), f"-28.4 to -57.3, {TSI_WR}"
            for metric, ours, figure in (
                ("total_traffic_change", events.dram / base.dram - 1, published[0]),
                ("energy_change", energy(events) / energy(base) - 1, published[1]),
            ):
                result.append(
                    Row(
                        metric,
                        f"{name}/{schedule.name}",
                        100 * ours,
                        "% of conventional",
                        figure,
                        f"{how}; published: {source}",
                    )
                )
    return result


def speeds(n=256):
    """(d) Speed at fixed bandwidth, on the same engine and port, against the conventional schedule."""
    network, result = network_for(n, n), []
    base = count_cycles(planned(network, conventional(), STEPS, port_bits=64), STEPS, memory=MEMORY).cycles
    for schedule in (row_window_of(TSI_WR_SHARE), fusion(BATCH), split_and_combine(), split_and_combine(batch=BATCH)):
        plan = planned(network, schedule, STEPS, port_bits=64)
        gain = 100 * (base / count_cycles(plan, STEPS, memory=MEMORY).cycles - 1)
        result.append(
            Row(
                "speedup_fixed_bandwidth",
                f"{schedule.name}/n{n}",
                gain,
                "% over conventional",
                110.8 if schedule.name.startswith("row window") else None,
                f"cycles of the model, {STEPS} steps, port of 64 bits; published: {TSI_WR}",
            )
        )
    return result


def third_case(n=1024, batch=4, lanes=256, buffer_bytes=2 << 20):
    """(f) SBE's third case for one sequence and for two, with and without SACC: same lanes, buffer bytes and port."""
    network, result = network_for(n, n), []
    for sequences in (1, 2):
        of_sacc = buffer_bytes // (lanes // sequences)  # words of one half of the lanes, 16 bits each
        pinned = max(0, (of_sacc - LEAST_RING) // n)
        for schedule, ring in (
            (blocking_batching(batch, sequences), of_sacc // 2),
            (split_and_combine(pinned, batch, sequences), of_sacc - pinned * n),
        ):
            plan = planned(network, schedule, STEPS, ring=ring, port_bits=2 * lanes, lanes=lanes)
            found = count_cycles(plan, STEPS, memory=MEMORY).cycles
            read = sum(words_a_step(plan, STEPS).values()) * plan.config.word_bytes
            figures = ("cycles_per_step", found / STEPS, "cycles"), ("dram_bytes_per_step", read, "bytes")
            source = f"model, {lanes} lanes, {buffer_bytes >> 10} KiB, port of {2 * lanes} bits"
            for metric, value, unit in figures:
                result.append(Row(metric, f"n{n}/{sequences} sequences/{schedule.name}", value, unit, None, source))
    return result


@click.command()
@click.option("--output", default=RESULT, show_default=True, help="JSON file that the rows are written to.")
def main(output):
    """Print traffic, speed and energy of every schedule beside the published figures, and write them as JSON."""
    try:
        rows, points = [], curve()
        for name, measure in (
            ("words of W_h a step", lambda: hidden_words("build/reuse")),
            ("traffic against storage", lambda: curve_rows(points)),
            ("two-layer models", lambda: models("build/reuse")),
            ("speed at fixed bandwidth", speeds),
            ("the third case of blocking-batching", third_case),
        ):
            click.echo(f"measuring {name}", err=True)
            found = measure()
            print(text(found), flush=True)
            rows += found
        print("Every program was proved. Verilog outputs equal the integer reference, counters the model.")
        print(f"wrote {write(output, rows)}")
        print(f"wrote {plot(points, Path(output).with_name('reuse_traffic.png'))}")
    except LstmHwError as error:
        sys.exit(f"error: {' '.join(str(error).split())}")


if __name__ == "__main__":
    main()
