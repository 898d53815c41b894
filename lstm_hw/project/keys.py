"""The keys of a configuration file: every section is a frozen dataclass, whose fields are its keys."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields

from ..errors import ConfigError
from ..machine.config import EngineConfig
from ..machine.limits import MAX_CONTEXTS, MAX_ROWS
from ..machine.parts import BOARDS, PARTS, Part, part_of
from ..model.features import parse as parse_features
from ..model.quant_config import QuantConfig
from ..model.readers.options import ReadOptions
from ..plan.schedules import AUTO, OPTIONS, SCHEDULES
from ..proof.load_timing import MemoryModel
from ..prune.settings import PruneConfig
from ..verify.scenario import Stress
from .score import METRICS

DEFAULT_CLOCK_MHZ = 100.0
"""Clock that times are told for, where nobody says one."""
MAX_CYCLES = 10_000
"""Longest latency of the memory, and most cycles a beat."""
MAX_STEPS = 1 << 24
"""Most time steps of a sequence."""
MAX_SEQUENCES = 1 << 12
"""Most sequences of a run."""
MAX_COUNT = 1 << 16
"""Most of whatever else a plan counts: columns, row blocks, steps of a batch, random sequences."""
CLOCK_MHZ = (0.001, 2000.0)
"""Slowest and fastest clock, MHz."""
MOST_FACTOR = 10**9
"""Largest scale or offset of inputs and outputs, and value of an input that is held."""


def _key(default, doc):
    return field(default=default, metadata={"doc": doc})


@dataclass(frozen=True)
class ModelSection:
    """[model]: the trained model."""

    path: str = _key(MISSING, "file with the trained weights")
    gate_order: str | None = _key(
        None, "order of the stacked gates, as 'ifgo' of an LSTM or 'rzn' of a GRU, where the file does not say it"
    )
    head: str | None = _key(
        None,
        "hidden states that the linear head reads, last_step, every_step, all_steps (side by side) or, of a "
        "bidirectional layer, final_state, where the file does not say it; without any, last_step is assumed and told, "
        "of one direction",
    )
    prefix: str | tuple[str, ...] | None = _key(
        None,
        "what the names of the LSTM's tensors begin with, in a file with more than it; the rest is left out; a list of "
        "LSTMs that follow one another in a file of tensors",
    )
    head_prefix: str | tuple[str, ...] | None = _key(
        None,
        "the same for the linear head; none takes the LSTM without a head, a list is a chain of linear layers in order",
    )
    head_activations: str | tuple[str, ...] | None = _key(
        None,
        "what follows the head, or a list with one for each linear layer, where the file cannot say it: none, relu, "
        "elu, sigmoid or tanh",
    )
    head_inputs: str | tuple[str, ...] | None = _key(
        None,
        "what the head reads, or a list with one for each linear layer, where a file of tensors does not say it: h, "
        "which the LSTM or the linear layer in front gives, or as residual 'h + x', 'h, x' or 'x, h'",
    )
    initial_state: str | tuple[str, ...] | None = _key(
        None,
        "zero begins with h = c = 0 although the file holds another state; a list names tensors of one, "
        'as ["h0", "c0"]',
    )
    skip: str | None = _key(
        None,
        "first or all inputs are added to the outputs, where a file of tensors does not say it; outside leaves out the "
        "addition that the file asks for",
    )
    residual: str | None = _key(
        None,
        "what is behind the LSTM instead of its h, x being what its first layer reads, where a file of tensors does "
        "not say it: 'h + x', or side by side 'h, x' or 'x, h'",
    )
    front_prefix: str | tuple[str, ...] | None = _key(
        None, "the same as head_prefix, for linear layers in front of the LSTM in a file of tensors: their prefixes"
    )
    front_activations: str | tuple[str, ...] | None = _key(None, "what follows each of them, as head_activations")
    nonlinearity: str | None = _key(
        None, "of a plain RNN in a file of tensors: tanh or relu; without it tanh, PyTorch's, is assumed and told"
    )
    most_steps: int | None = _key(
        None, "most steps of a sequence where a layer waits for h of all of them, which stay on chip; 64 without it"
    )
    input_scale: float | tuple[float, ...] | None = _key(
        None, "the network's x is x times it; a number, or a list of one for each input"
    )
    input_offset: float | tuple[float, ...] | None = _key(None, "what is added to that")
    output_scale: float | tuple[float, ...] | None = _key(
        None, "y is the network's outputs times it; a number, or a list of one for each output"
    )
    output_offset: float | tuple[float, ...] | None = _key(None, "what is added to that")
    held: Mapping[str, float] | None = _key(
        None,
        'inputs that always have a value, as { "1" = 0.5 } for the second one, before scale and offset: they are '
        "no inputs any more",
    )

    def __post_init__(self):
        self.options  # noqa: B018 - checks them
        around = ("input_scale", "input_offset", "output_scale", "output_offset")
        _check("model", self, [_between(name, -MOST_FACTOR, MOST_FACTOR) for name in around])
        for key, value in (self.held or {}).items():
            if not -MOST_FACTOR <= value <= MOST_FACTOR:
                rule = f"must be at least {-MOST_FACTOR:,} and at most {MOST_FACTOR:,}"
                raise ConfigError(f"model.held.{key}", value, rule)

    @property
    def options(self) -> ReadOptions:
        """What is said of the file."""
        return ReadOptions(**{f.name: getattr(self, f.name) for f in fields(ReadOptions)})


def _check(section, instance, rules):
    """ConfigError for the first (field, holds, rule) that does not hold; fields that are None always do."""
    for name, holds, rule in rules:
        if getattr(instance, name) is not None and not holds(getattr(instance, name)):
            raise ConfigError(f"{section}.{name}", repr(getattr(instance, name)), rule)


def _between(name, least, most):
    """The rule that a value, or each of a list, is in a range."""

    def holds(value):
        return all(least <= v <= most for v in (value if isinstance(value, tuple) else (value,)))

    return name, holds, f"must be at least {least:,} and at most {most:,}"


@dataclass(frozen=True)
class DeltaSection:
    """[delta]: what changes little from one step to the next is not multiplied again.

    With the section the model is a delta network: an element of x or h reaches the sums when it differs by a threshold
    at least from what reached them last. With thresholds of 0 outputs have the bits of the model without the section.
    The h of a layer has one threshold, for its own next step and for the layer above.
    """

    x: float = _key(0.0, "least change of an input, in its real units; 0 for every change")
    h: float | tuple[float, ...] = _key(0.0, "least change of an element of h; a list has one for each LSTM layer")
    activity: float | None = _key(
        None, "share of x and h that estimates take to change in a step, 0 to 1; without it as the test inputs' do"
    )

    def __post_init__(self):
        _check("delta", self, (_between("x", 0, 1e6), _between("h", 0, 1e6), _between("activity", 0, 1)))

    def thresholds_of_h(self, layers: int) -> tuple[float, ...]:
        """One for each of so many layers."""
        return self.h if isinstance(self.h, tuple) else (self.h,) * layers


@dataclass(frozen=True)
class SparseHSection:
    """[sparse_h]: columns of W_h are left out where h is nearly zero.

    A group of four elements of h reaches the layer's next step if the sum of their sizes is a threshold at least, or if
    one of them is larger than half of it. With 0, all do, and outputs have the bits of the model without the section.
    """

    threshold: float | tuple[float, ...] = _key(
        0.0, "least size of a group of four h that is multiplied; a list has one for each LSTM layer"
    )
    left_out: float | None = _key(
        None, "share of groups, 0 to 1, that are left out at most with the calibration set: chooses the threshold"
    )
    activity: float | None = _key(
        None, "share of groups that estimates take to be kept, 0 to 1; without it as the test inputs' are"
    )

    def __post_init__(self):
        shares = _between("left_out", 0, 1), _between("activity", 0, 1)
        _check("sparse_h", self, (_between("threshold", 0, 1e6), *shares))
        if self.left_out is not None and self.threshold:
            raise ConfigError("sparse_h.left_out", self.left_out, "must be given without sparse_h.threshold")

    def thresholds(self, layers: int) -> tuple[float, ...]:
        """One for each of so many layers."""
        return self.threshold if isinstance(self.threshold, tuple) else (self.threshold,) * layers


@dataclass(frozen=True)
class PlanSection:
    """[plan]: how the model runs on the engine."""

    schedule: str = _key(
        AUTO,
        "auto takes resident (or gather, delta) if it fits, else the schedule with the fewest cycles by the exact "
        "model; or one of " + ", ".join(SCHEDULES),
    )
    sequences: int | None = _key(
        None, "independent sequences of a run; without it as many as engine.contexts is for, or one"
    )
    batch: int | None = _key(
        None,
        "time steps that share a fetch of W_x (sbe, gather_sbe, gather_sacc, sacc, fusion, compressed, compressed_sacc)"
        "; chosen without it",
    )
    pinned: int | tuple | None = _key(
        None,
        "what stays on chip: columns of W_x (sbe, gather_sbe; a list has a number for each LSTM layer), columns of W_h "
        "(conventional) or row blocks of W_h (sacc); chosen without it",
    )
    case: int | None = _key(
        None, "where W_h is (sbe, gather_sbe): 1 on chip, 2 held for a batch, 3 streamed in part; chosen without it"
    )
    window: int | None = _key(None, "row blocks that stay on chip (row_window); as many as fit without it")
    height: int | None = _key(
        None, "row blocks of a group, whose columns of W_h stay on chip (gather_sacc); chosen without it"
    )
    steps: int | None = _key(
        None, "time steps of a sequence that the choice is made for; those of the test inputs without it"
    )

    def __post_init__(self):
        _check(
            "plan",
            self,
            (
                (
                    "schedule",
                    lambda name: name in (AUTO, *SCHEDULES),
                    f"must be one of {', '.join((AUTO, *SCHEDULES))}",
                ),
                _between("sequences", 1, MAX_SEQUENCES),
                _between("batch", 1, MAX_COUNT),
                _between("steps", 1, MAX_STEPS),
                _between("pinned", 0, MAX_COUNT),
                _between("window", 0, MAX_COUNT),
                _between("height", 1, MAX_COUNT),
                ("case", lambda case: case in (1, 2, 3), "must be 1, 2 or 3"),
            ),
        )
        if isinstance(self.pinned, tuple) and self.schedule != "sbe":
            raise ConfigError("plan.pinned", list(self.pinned), 'must be one number unless plan.schedule is "sbe"')
        for option, value in self.options.items():
            takes = [name for name, kind in SCHEDULES.items() if option in kind.options]
            if self.schedule not in (AUTO, *takes):
                raise ConfigError(f"plan.{option}", value, f"must be for {' or '.join(takes)}, not {self.schedule}")

    @property
    def options(self) -> dict:
        """Options of the schedule that are given."""
        return {name: getattr(self, name) for name in OPTIONS if getattr(self, name) is not None}


@dataclass(frozen=True)
class TargetSection:
    """[target]: what the engine has to fit; [engine] keys that are given stay as they are."""

    part: str | None = _key(None, f"FPGA: {', '.join(PARTS)}; package and speed grade may follow")
    board: str | None = _key(None, f"board, instead of its part: {', '.join(BOARDS)}")
    lanes: int | None = _key(None, "multiply-accumulate lanes at most: rows times contexts")
    clock: float | None = _key(
        None, f"clock in MHz, for times and bandwidths; without it the board's, or {DEFAULT_CLOCK_MHZ:g}"
    )

    def __post_init__(self):
        _check(
            "target",
            self,
            (
                ("board", lambda board: board in BOARDS, f"must be one of {', '.join(BOARDS)}"),
                _between("lanes", 4, MAX_ROWS * MAX_CONTEXTS),
                _between("clock", *CLOCK_MHZ),
            ),
        )
        if self.part is not None and self.board is not None:
            raise ConfigError("target.part", repr(self.part), f"must not be given beside target.board = {self.board!r}")
        try:
            _ = self.fpga
        except ConfigError as error:
            raise ConfigError(f"target.{error.subject}", error.found, error.rule) from error

    @property
    def fpga(self) -> Part | None:
        """The part, given by itself or by its board."""
        name = BOARDS[self.board].part if self.board is not None else self.part
        return part_of(name) if name is not None else None

    @property
    def clock_mhz(self) -> float:
        """The clock that is given, the board's, or ``DEFAULT_CLOCK_MHZ``."""
        return self.clock or (BOARDS[self.board].clock_mhz if self.board is not None else DEFAULT_CLOCK_MHZ)


@dataclass(frozen=True)
class MemorySection:
    """[memory]: what the weight ports meet, in the estimate, the choice of a schedule and the simulation."""

    latency: int = _key(40, "cycles from a request to its first beat, if no other is being answered; 40 is a DDR's")
    interval: int | None = _key(None, "cycles from one beat of a port to the next; 1, the full bandwidth, without it")
    bandwidth: float | None = _key(
        None,
        "bytes a second of all ports together, at target.clock, instead of interval; 4.2e9 for example; number and "
        "width of the ports follow from it, unless [engine] says them",
    )

    def __post_init__(self):
        _check(
            "memory",
            self,
            (
                _between("latency", 1, MAX_CYCLES),
                _between("interval", 1, MAX_CYCLES),
                ("bandwidth", lambda rate: 0 < rate <= 1e15, "must be above 0 and at most 1e15"),
            ),
        )
        if self.interval is not None and self.bandwidth is not None:
            raise ConfigError("memory.bandwidth", self.bandwidth, "must not be given beside memory.interval")

    def model(self, config: EngineConfig, clock: float) -> MemoryModel:
        """The memory of an engine.

        Parameters
        ----------
        config : EngineConfig
        clock : float
            MHz.
        """
        if self.bandwidth is None:
            return MemoryModel(self.latency, self.interval or 1)
        full = config.axi_ports * config.beat_bytes * clock * 1e6
        if full / self.bandwidth > MAX_CYCLES:
            rule = f"must be at least {full / MAX_CYCLES:g}, a beat in {MAX_CYCLES:,} cycles at {clock:g} MHz"
            raise ConfigError("memory.bandwidth", self.bandwidth, rule)
        return MemoryModel.of_bandwidth(self.latency, self.bytes_per_cycle(clock), config.axi_ports * config.beat_bytes)

    def bytes_per_cycle(self, clock: float) -> float | None:
        """What the memory delivers in a cycle at a clock in MHz; None unless its bandwidth is given."""
        return None if self.bandwidth is None else self.bandwidth / (clock * 1e6)


@dataclass(frozen=True)
class DataSection:
    """[data]: calibration and test inputs of shape (sequences, steps, inputs): an npz file, or random ones."""

    path: str | None = _key(None, "npz file")
    x: str = _key("x", "array of test inputs")
    labels: str | None = _key(
        None, "array of what the outputs should be, for accuracies: of a sequence, or of every step of it"
    )
    metric: str | None = _key(
        None,
        f"what the labels say: {'; '.join(f'{name}: {doc}' for name, doc in METRICS.items())}; without it what model "
        "and labels leave, told, or an error",
    )
    threshold: float | None = _key(
        None,
        "of the metric threshold; 0 without it, where a logit says yes as much as no, but must be given where the "
        "model's file ends in a softmax",
    )
    calibration: str = _key("calibration", "array of inputs that number formats are chosen from")
    input_scale: float | str = _key(1.0, "factor from stored to real inputs: a number, or the array that holds it")
    features: tuple[str, ...] | None = _key(
        None,
        "what the model's inputs are, of the arrays' times that factor, which the host computes before the engine: "
        "x0, abs(x0, x1), sin(x0, x1), cos(x0, x1), and powers as abs(x0, x1)^3; the arrays' own without it",
    )
    images: int | None = _key(None, "test sequences to use; all without it")
    random: int | None = _key(
        None, "instead of a file so many random sequences: cycles and agreement are real, errors mean nothing"
    )
    steps: int = _key(16, "time steps of random sequences")
    peak: float = _key(1.0, "largest magnitude of random inputs")

    def __post_init__(self):
        if (self.path is None) == (self.random is None):
            rule = "must be given: an npz file with calibration and test inputs, or data.random = 8 for random inputs"
            raise (
                ConfigError("data.path", "missing", rule)
                if self.path is None
                else ConfigError("data.random", self.random, "must not be given beside data.path")
            )
        if self.features is not None:
            if self.random is not None:
                rule = "must not be given beside data.random, whose inputs are the model's"
                raise ConfigError("data.features", list(self.features), rule)
            parse_features(self.features, "data.features")
        _check(
            "data",
            self,
            (
                ("metric", lambda metric: metric in METRICS, f"must be {' or '.join(METRICS)}"),
                ("metric", lambda metric: self.labels is not None, "must be given with data.labels"),
                ("threshold", lambda threshold: self.labels is not None, "must be given with data.labels"),
                _between("images", 1, MAX_COUNT),
                _between("random", 1, MAX_COUNT),
                _between("steps", 1, MAX_STEPS),
                _between("peak", 1e-6, 1e6),
            ),
        )


@dataclass(frozen=True)
class SimulateSection:
    """[simulate]: the simulation of the Verilog."""

    simulator: str = _key("verilator", "verilator or icarus")
    images: int = _key(100, "test sequences to simulate, from the first; fewer where there are fewer")
    seed: int = _key(1, "seed of the pauses and of what has no initial value")
    x_idle: float = _key(0.0, "probability that the input stream is idle in a cycle")
    y_stall: float = _key(0.0, "probability that the output stream is not taken in a cycle")
    memory_stall: float = _key(0.0, "probability that the memory holds back a request or a beat in a cycle")
    memory_latency: int = _key(0, "cycles that the memory takes longer to answer a request")
    timeout: float = _key(900.0, "seconds without a sign of life after which the simulation counts as hung")
    cache: str = _key("build/sim", "folder of compiled designs")

    def __post_init__(self):
        rules = [
            ("simulator", self.simulator in ("verilator", "icarus"), "must be verilator or icarus"),
            ("images", 1 <= self.images <= MAX_COUNT, f"must be at least 1 and at most {MAX_COUNT:,}"),
            ("seed", 0 <= self.seed < 1 << 31, "must be between 0 and 2**31 - 1"),
            ("memory_latency", 0 <= self.memory_latency <= 10000, "must be between 0 and 10000"),
            ("timeout", 0 < self.timeout <= 1e6, "must be above 0 and at most 1e6"),
        ]
        rules += [
            (name, 0 <= getattr(self, name) < 1, "must be at least 0 and below 1")
            for name in ("x_idle", "y_stall", "memory_stall")
        ]
        for name, holds, rule in rules:
            if not holds:
                raise ConfigError(f"simulate.{name}", repr(getattr(self, name)), rule)

    @property
    def stress(self) -> Stress:
        return Stress(self.x_idle, self.y_stall, self.memory_stall, self.seed, self.memory_latency)


@dataclass(frozen=True)
class ReportSection:
    """[report]: what the report holds beside cycles and accuracies."""

    synthesis: bool = _key(True, "count DSPs, block RAMs and LUTs with Yosys")
    family: str | None = _key(
        None, "what is synthesised for: xc7 or ecp5; that of the target's part without it, or xc7 without a part"
    )
    plots: bool = _key(True, "draw plots")

    def __post_init__(self):
        if self.family not in (None, "xc7", "ecp5"):
            raise ConfigError("report.family", repr(self.family), "must be xc7 or ecp5")


@dataclass(frozen=True)
class OutputSection:
    """[output]: where results go."""

    dir: str = _key("build", "folder, relative to the current one; results are in <dir>/<name>")


SECTION_CLASSES = {
    "model": ModelSection,
    "data": DataSection,
    "prune": PruneConfig,
    "quantize": QuantConfig,
    "delta": DeltaSection,
    "sparse_h": SparseHSection,
    "plan": PlanSection,
    "target": TargetSection,
    "memory": MemorySection,
    "engine": EngineConfig,
    "simulate": SimulateSection,
    "report": ReportSection,
    "output": OutputSection,
}
"""Section -> the class whose fields are its keys."""
DERIVED = (
    "rows",
    "contexts",
    "program_length",
    "weight_bits",
    "operand_bits",
    "accumulator_bits",
    "weight_words",
    "h_elements",
    "x_elements",
    "x_per_beat",
    "accumulators",
    "finish_entries",
    "states",
    "axi_data_bits",
    "shifts",
    "lifts",
    "lists",
    "list_loads",
    "gate_blocks",
    "sparse_h",
    "chains",
    "elu",
    "kind",
    "reset_before",
    "peepholes",
    "streams",
    "indexed",
    "register_bits",
    "activation",
    "preact",
    "cell",
    "activated",
    "hidden",
    "preact_shifts",
    "h_shifts",
    "c_shifts",
)
"""Engine fields that follow from the model, the schedule and the target unless given."""


def follows(section: str, name: str) -> bool:
    """Whether a key that is not given follows from the model, the schedule or the target."""
    return section == "engine" and name in DERIVED
