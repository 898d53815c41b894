"""How large an engine must be: memory depths and widths that a network needs.

Everything that is not given follows from the network: the smallest engine that runs it without compromise.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np

from ..errors import ConfigError, ProgramError
from ..machine.arrangement import directions_of
from ..machine.command import WIDE
from ..machine.config import EngineConfig, widest_beat
from ..machine.isa import (
    ELEMENT_BITS,
    ENTRY_BITS,
    OPS,
    PROGRAM_BITS,
    REGISTER_BITS,
    REGISTERS,
    SCALE_BITS,
    STEPS_REGISTER,
    WORD_BITS,
)
from ..machine.limits import BLOCK_DEPTH, LEAST_REGISTER_BITS, PAIR_BITS, RELATIVE, VALUE_BITS, WEIGHT_WIDTHS
from ..machine.network import LayerShape, Network, Source
from ..machine.pack import bias_digits, peephole_digits, start_h, start_of, stored_bias
from ..machine.plan import Plan
from ..model.float_model import cells_of
from ..model.quant_config import OF_LAYERS
from ..model.quant_layer import QuantPlain, QuantSkip
from ..model.quant_model import QuantModel
from ..model.sources import read_size, shifts_of
from ..proof.cycles import long_steps
from .delta import DeltaPlanner
from .dense import ResidentPlanner
from .schedules import SCHEDULES
from .stack import TooSmall

X_VECTORS = 8
"""What a schedule needs of the x memory it gets so many times, up to ``X_ELEMENTS``; twice at least."""
X_ELEMENTS = 1024
"""Elements of 16 bits in half a block RAM."""
STREAM_X = 4
"""Elements of x in a beat where weights stream: x never is what the lanes wait for."""
STREAM_WORDS = 1024
"""Weight buffer of a schedule that streams, where nobody says how large it is and it does not need more."""
PLANNED_REGISTER_BITS = 16
"""Width of the narrowest registers that a plan chooses: 65,535 time steps a run."""
PROGRAM_LENGTHS = (128, 256, 1 << PROGRAM_BITS)
MOST_SUMS = 256
"""Sums and finished sums of a lane: deeper memories cost more than larger batches save. Where columns are asked for,
sums are as many as the model has rows a lane, which no option changes, and may be as many as an entry can name."""
STEPS_OF_SUMS = 8
"""Time steps whose sums may wait where weights stream through a decoder: two batches of four share W_x enough."""
SUMS = ("accumulators", "finish_entries")
"""Memories of sums."""
DEEPEST = {
    "weight_words": 1 << WORD_BITS,
    "h_elements": 1 << ELEMENT_BITS,
    "x_elements": 1 << ELEMENT_BITS,
    "accumulators": MOST_SUMS,
    "finish_entries": MOST_SUMS,
    "states": 1 << ELEMENT_BITS,
    "program_length": PROGRAM_LENGTHS[-1],
}
"""The deepest memories that anything gets that nobody gave."""
SHALLOWEST = {"finish_entries": 16, "h_elements": 2, "states": 2}
"""What anything gets of them at least."""
MOST_LAYERS = 1 << SCALE_BITS
"""As many shifts as the machine keeps."""


def _power_of_two(value):
    """The next power of two."""
    return 1 << (value - 1).bit_length()


def whole_blocks(entries: int) -> int:
    """Depth of a memory of so many entries at least: a power of two up to that of a block RAM at its widest, then steps
    of it. A power of two of them would be up to twice as many blocks."""
    return _power_of_two(entries) if entries <= BLOCK_DEPTH else -(-entries // BLOCK_DEPTH) * BLOCK_DEPTH


def stored_weight_bits(qmodel: QuantModel) -> int:
    """Width of a weight in memory: the least that holds every weight.

    Raises
    ------
    ConfigError
        A weight format is wider than 16 bits.
    """
    widths = [f.width for layer in qmodel.layers for f in (layer.w_x_format, layer.w_h_format)]
    widths += [getattr(layer, name).width for layer in qmodel.linear for _, name, _ in layer.PRODUCTS]
    if max(widths) > WEIGHT_WIDTHS[-1]:
        rule = f"must be at most {WEIGHT_WIDTHS[-1]} for the engine"
        raise ConfigError("quantize.weight_bits", max(widths), rule)
    return max(WEIGHT_WIDTHS[0], *widths)


def engine_formats(qmodel: QuantModel) -> dict[str, Any]:
    """The engine's settings that the quantised model decides: dict of EngineConfig fields.

    Raises
    ------
    ConfigError
        The model's layers differ in a format that the engine has once, or the head rounds otherwise than the layers.
    """
    first, cells = qmodel.layers[0], cells_of(qmodel.layers) or qmodel.layers[:1]
    for number, layer in enumerate(qmodel.layers):
        if layer.activation_format != first.activation_format:
            rule = f"must be {first.activation_format}, as in layer 0"
            raise ConfigError(f"layer {number}: activation_format", layer.activation_format, rule)
        if layer not in cells and layer.preact != qmodel.preact:
            rule = f"must be {qmodel.preact}, which has the most integer bits of all layers"
            raise ConfigError(f"layer {number}: preact", layer.preact, rule)
        for name in OF_LAYERS if layer in cells else ():
            found, wanted = getattr(layer, name), getattr(cells[0], name)
            if (
                replace(found, integer=wanted.integer, fraction=wanted.fraction) != wanted
                or found.width != wanted.width
            ):
                rule = f"must be {wanted.width} bits wide, {wanted.rounding} and {wanted.overflow}, as in the first"
                raise ConfigError(f"layer {number}: {name}", found, rule)
    widest = {name: max((getattr(layer, name) for layer in cells), key=lambda f: f.integer) for name in OF_LAYERS}
    # A plain layer has neither a c nor an h that a cell rounds.
    shifts = {
        name: tuple((widest[name].integer - getattr(layer, name).integer) * (layer in cells) for layer in qmodel.layers)
        for name in OF_LAYERS
    }
    shifts = {name: values if any(values) else () for name, values in shifts.items()}
    if shifts["preact"]:  # what linear layers look up has the widest format
        shifts["preact"] += (0,) * len(qmodel.linear)
    plain = {layer.source: layer for layer in qmodel.plain}
    for name, layer in {**plain, **qmodel.named_linear}.items():
        wanted, found = first.preact, layer.result
        width = VALUE_BITS if layer is qmodel.head else qmodel.input_format.width
        if (found.width, found.rounding, found.overflow) != (width, wanted.rounding, wanted.overflow):
            rule = f"must be {width} bits wide, {wanted.rounding} and {wanted.overflow}, as preact"
            raise ConfigError(f"{name}: output", f"{found} ({found.rounding}, {found.overflow})", rule)
    return {
        "operand_bits": qmodel.input_format.width,
        "activation": qmodel.activation,
        **widest,
        "activated": first.activation_format,
        "preact_shifts": shifts["preact"],
        "h_shifts": shifts["hidden"],
        "c_shifts": shifts["cell"],
        "lifts": lifts_of(qmodel),
        "row_bits": row_bits_of(qmodel),
        "lists": bool(qmodel.thresholds),
        "sparse_h": bool(qmodel.sparse_h),
        "chains": bool(qmodel.dense or plain) or any(layer.activation != "none" for layer in qmodel.linear),
        "elu": any(layer.activation == "elu" for layer in (*qmodel.plain, *qmodel.linear)),
        "kind": qmodel.kind,
        "reset_before": any(layer.reset_before for layer in qmodel.layers),
        "peepholes": cells[0].peephole_format,
    }


def _layers(qmodel):
    return [*qmodel.layers, *qmodel.linear]


def row_bits_of(qmodel: QuantModel) -> int:
    """Low bits of a sum that rows' own shifts need."""
    return max(int(layer.row_shift.max()) for layer in _layers(qmodel)).bit_length()


def lifts_of(qmodel: QuantModel) -> tuple[int, ...]:
    """The lifts that a quantised model's operands need, in ascending order: the low bits of a sum are below all."""
    row_bits = row_bits_of(qmodel)
    lifts = {lift for layer in _layers(qmodel) for lift in (*layer.lifts, *_source_lifts(qmodel, layer))}
    return tuple(sorted(lift + row_bits for lift in lifts))


def _source_lifts(qmodel, layer):
    """Places that elements of each source of a layer stand higher."""
    return [layer.lifts[0] + shift for shift in shifts_of(qmodel, layer)]


def network_of(qmodel: QuantModel, weight_bits: int | None = None, activity: tuple[float, ...] = ()) -> Network:
    """The shapes of a quantised model.

    Parameters
    ----------
    qmodel : QuantModel
    weight_bits : int, optional
        Width of a stored weight, which decides how a bias is split; :func:`stored_weight_bits` without it.
    activity : tuple of float
        As that of the network.

    Returns
    -------
    Network

    Raises
    ------
    ConfigError
        A weight format is wider than 16 bits.
    FormatError
        A bias is too large for its digit columns.
    """
    weight_bits, row_bits = weight_bits or stored_weight_bits(qmodel), row_bits_of(qmodel)
    layers = [
        (layer.KIND, layer, layer.hidden_size, layer.rounded_format(layer.preact), layer.activation)
        if isinstance(layer, QuantPlain)
        else (layer.KIND, layer, layer.hidden_size, layer.preact, "none")
        for layer in qmodel.layers
    ]
    for layer in qmodel.linear:
        result = layer.rounded_format(qmodel.preact)
        layers.append(("linear", layer, layer.output_size, result, layer.activation))
    shapes, directions = [], directions_of(qmodel.arrangement, qmodel.layers)
    for kind, layer, outputs, result, activation in layers:
        shift = layer.acc_fraction - result.fraction
        stored = stored_bias(layer, row_bits)
        digits, split = bias_digits(stored, weight_bits, qmodel.input_format.width, max(lifts_of(qmodel)))
        # On the way to its sum, the bias is never larger than its digits together.
        bias = sum(np.abs(digit).astype(object) << e for digit, e in zip(split.T, _exponents(digits), strict=True))
        lifts = tuple(lift + row_bits for lift in (*layer.lifts, layer.lifts[0])[:2])
        sum_bits = int(((layer.peak_products << row_bits) + bias).max()).bit_length() + 1
        used = (layer.w_x != 0, layer.w_h != 0) if kind != "linear" and not layer.reset_before else ()
        skip = layer.skip.shape[1] if isinstance(layer, QuantSkip) else 0
        start = None
        if kind != "linear" and layer.initial is not None and layer.w_h.size:
            widths = weight_bits, qmodel.input_format.width, max(lifts_of(qmodel)), row_bits
            start, *parts = start_of(layer, start_h(qmodel.layers, len(shapes)), qmodel.unit_of(layer), *widths)
            sum_bits = _with_start(sum_bits, start, *parts)
        peepholes = ()
        if kind == "lstm" and layer.peepholes is not None:
            widths = weight_bits, qmodel.input_format.width, max(lifts_of(qmodel)), row_bits
            peepholes, parts = peephole_digits(layer, *widths)
            sum_bits = max(sum_bits, _most(parts, peepholes).bit_length() + 1)
        rest = (shift, digits, lifts, sum_bits, used, skip, activation, start)
        reads = {} if kind == "linear" else {"projected": layer.projected}
        if reads and layer.w_h.shape[1] != outputs or kind == "plain":
            reads["reads"] = layer.w_h.shape[1]
        inputs = layer.input_size
        reads["directions"] = qmodel.arrangement.output_halves if kind == "linear" else directions[len(shapes)]
        if kind != "linear":
            reads |= {"waits": layer.waits, "peephole_columns": peepholes}
        if layer.sources:
            sizes = [read_size(qmodel.layers, (source,)) for source in layer.sources]
            places = [lift + row_bits for lift in _source_lifts(qmodel, layer)]
            reads["sources"] = tuple(map(Source, layer.sources, sizes, places))
        if kind == "linear" and len(shapes) == len(qmodel.layers) and qmodel.arrangement.steps:
            reads["steps"] = qmodel.arrangement.steps
            inputs //= reads["steps"]
        shapes.append(LayerShape(kind, inputs, outputs, *rest, **reads))
    activity = activity if qmodel.thresholds or qmodel.sparse_h else ()
    changes = qmodel.thresholds, qmodel.sparse_h, activity
    return Network(tuple(shapes), qmodel.head_every_step, *changes, qmodel.arrangement.kept, qmodel.arrangement.repeats)


def _with_start(sum_bits, start, prime, first):
    """Width that holds the sums of the first step, and of the stages in front of it, too."""
    stages, added = _most(prime, start.prime_columns * start.stages), _most(first, start.first_columns)
    return max(stages.bit_length() + 1, ((1 << sum_bits - 1) + added).bit_length() + 1)


def _most(digits, columns):
    """Bound of the magnitude of sums of digits times constants, and of every part of one."""
    parts = zip(digits.T, _exponents(columns), strict=True)
    return int(np.max(sum(np.abs(digit).astype(object) << e for digit, e in parts)))


def _exponents(bias_columns):
    """The exponent of each column."""
    return [exponent for exponent, columns in bias_columns for _ in range(columns)]


def accumulator_bits(network: Network, weight_bits: int, operand_bits: int = 16, lift: int = 0) -> int:
    """Width in which no sum of products of such operands can overflow.

    A product of two's complement numbers is at most ``2**(weight_bits + operand_bits - 2)``; a sum has one of them a
    column, bias digits included, and the sign takes a bit. That is so whatever the values. With lifted operands it
    would be too wide, so there it is the width that the network's own weights need, whatever the operands. Digits of
    the stages that lead to a state, and of peepholes, may take more columns: such a layer gets the width that it needs.
    """
    columns = max(layer.columns + len(_exponents(layer.bias_columns)) for layer in network.layers)
    bits = weight_bits + operand_bits + lift + (columns - 1).bit_length()
    if lift and all(layer.sum_bits for layer in network.layers):
        least = weight_bits + operand_bits + lift + bool(network.thresholds)
        bits = max(least, *(layer.sum_bits for layer in network.layers))
    bits = max(bits, *(layer.sum_bits for layer in network.layers if layer.start or layer.peephole_columns), 0)
    return max(PAIR_BITS + 1, bits) if operand_bits == 8 else bits


def size_engine(network: Network, planner: Callable | None = None, **given) -> EngineConfig:
    """The smallest engine on which a schedule runs: what the planner asks for, and no more.

    Parameters
    ----------
    network : Network
    planner : callable (Network, EngineConfig) -> planner, optional
        One that streams weights: its ``needs`` name fields of the engine with the least value that does, its ``plan()``
        gives the program. The resident planner without it.
    **given
        Fields of EngineConfig that are taken as they are. Without ``weight_words`` the resident planner gets room for
        the whole model, and a planner that streams ``STREAM_WORDS``, or as many as it needs.

    Returns
    -------
    EngineConfig

    Raises
    ------
    ConfigError
        A field is unknown or out of range, or the schedule does not fit: the message names a field only if it was
        given, and otherwise what to change among the keys that a user writes.
    """
    return engine_and_plan(network, planner, **given)[0]


def engine_and_plan(
    network: Network, planner: Callable | None = None, fetches: bool = True, **given
) -> tuple[EngineConfig, Plan]:
    """:func:`size_engine`, with the plan on that engine.

    ``fetches`` says whether the planner streams weights, if one is given.
    """
    fetches, planner = (
        fetches and planner is not None,
        planner or (DeltaPlanner if network.thresholds else ResidentPlanner),
    )
    ample, made = on_ample_engine(network, planner, fetches, **given)
    try:
        length = len(made.plan().program.instructions)
    except ProgramError as error:
        if "program_length" in given:
            raise
        found = f"a program of {error.found}, and the machine has {ample.program_length} at most"
        rule = "must be another schedule, one with plan.batch = 1 or plan.pinned = 0, or for fewer layers"
        raise ConfigError("plan.schedule", found, rule) from error
    derived = {name: _depth(name, need) for name, need in made.needs.items()}
    derived["program_length"] = next(size for size in PROGRAM_LENGTHS if length <= size)
    if fetches:
        del derived["weight_words"]
    config = replace(ample, **{name: value for name, value in derived.items() if name not in given})
    plan = planner(network, config).plan()
    needed = means(plan) | ({} if config.decoder == "off" else {"streams": True})
    config = replace(config, **{name: value for name, value in needed.items() if name not in given})
    _check_means(plan, config)
    return config, replace(plan, config=config)


def _check_means(plan, config):
    """ConfigError if an engine is given without what its program needs."""
    needed = means(plan)
    if needed["streams"] and not config.streams:
        raise ConfigError(
            "engine.streams", "false", f"must be true for {plan.schedule}, or a schedule that is resident"
        )
    if config.indexed is not None and not set(needed["indexed"]) <= set(config.indexed):
        raise ConfigError(
            "engine.indexed", list(config.indexed), f"must hold {', '.join(needed['indexed'])} for this plan"
        )
    if config.register_bits < REGISTER_BITS and plan.config.asks:
        raise ConfigError("engine.register_bits", config.register_bits, f"must be {REGISTER_BITS} for {plan.schedule}")
    if config.register_bits < REGISTER_BITS and config.register_bits < (bits := register_bits(plan)):
        raise ConfigError("engine.register_bits", config.register_bits, f"must be at least {bits} for this plan")


def means(plan: Plan) -> dict[str, Any]:
    """What a program needs of an engine beside memories (dict of EngineConfig fields): whether weights stream, the
    fields that registers move, and how wide registers are."""
    program = plan.program
    commands = [instr for instr in program.instructions if OPS[instr.op].unit]
    used = {
        f"{instr.op}.{name}" for instr in commands for name in OPS[instr.op].relative if instr.fields[f"{name}_reg"]
    }
    streams = any(instr.op == "RING" or instr.fields.get("stream") for instr in program.instructions)
    indexed = tuple(name for name in RELATIVE if name in used)
    # Where a program asks for what changed, nobody knows what it does before there is data.
    bits = REGISTER_BITS if streams or plan.config.asks else max(PLANNED_REGISTER_BITS, register_bits(plan))
    return {"streams": streams, "indexed": indexed, "register_bits": bits}


def counting(steps: int, given: Mapping[str, Any]) -> dict[str, int]:
    """What runs of so many steps need of an engine, and the longer ones that simulations compare them with.

    Parameters
    ----------
    steps : int
    given : dict
        Fields of EngineConfig.

    Returns
    -------
    dict
        ``register_bits``, or nothing where those that a plan takes by itself are enough.

    Raises
    ------
    ConfigError
        Registers that are given do not count so far.
    """
    bits = long_steps(steps).bit_length()
    if bits > given.get("register_bits", REGISTER_BITS):
        least = max(bits, LEAST_REGISTER_BITS)
        rule = f"must be at least {least} for runs of {steps:,} steps, which a simulation compares with longer ones"
        raise ConfigError("engine.register_bits", given["register_bits"], rule)
    return {"register_bits": REGISTER_BITS} if bits > PLANNED_REGISTER_BITS else {}


class _Watched(list):
    """Registers, and the largest value that any but that of the steps, and those that take turns, has been given."""

    largest = 0

    def __init__(self, turning):
        super().__init__([0] * REGISTERS)
        self.uncounted = {STEPS_REGISTER, *turning}

    def __setitem__(self, register, value):
        super().__setitem__(register, value)
        if register not in self.uncounted:
            self.largest = max(self.largest, value)


def register_bits(plan: Plan) -> int:
    """Width of registers in which the program works as in the widest, for as many steps as they can count: that of
    every number that is in one, if it does not grow with the steps or the runs."""
    program, largest = plan.program, []
    adds = [instr.fields for instr in program.instructions if instr.op == "ADD"]
    # What is only moved by ADDs with a limit stays below it, although some runs end before it gets there.
    turning = {add["register"] for add in adds} - {add["register"] for add in adds if not add["limit"]}
    steps = 3 * plan.batch + 2
    for most in (steps, 2 * steps + 1):
        registers = _Watched(turning)
        for number in range(most):  # some runs go on from the one before
            for entry in program.entries:
                length = most if number < 2 else 1
                for _ in program.run(entry, length, number == 0, registers):
                    pass
        largest.append(registers.largest)
    if largest[0] != largest[1]:
        return REGISTER_BITS
    fields = [
        instr.fields[name] for instr in program.instructions for name in WIDE.get(instr.op, ()) if name != "value"
    ]
    starts = [instr.value for instr in program.instructions if instr.op == "SET"]
    sums = [add["limit"] - 1 + add["value"] for add in adds if add["limit"]]  # before the limit is taken off
    return max([largest[0], *fields, *starts, *sums]).bit_length()


def on_ample_engine(network: Network, planner: Callable, fetches: bool, **given) -> tuple[EngineConfig, object]:
    """An engine that is as deep as can be, and a planner on it; buffers of streams grow until they are deep enough."""
    ample = ample_engine(network, fetches, **given)
    while True:
        try:
            return ample, planner(network, ample)
        except ConfigError as error:
            grows = error.subject == "engine.weight_words" and fetches and "weight_words" not in given
            if not grows or ample.weight_words == DEEPEST["weight_words"]:
                raise in_keys_of_the_user(error, network, ample, given) from error
        ample = replace(ample, weight_words=2 * ample.weight_words)


def ample_engine(network: Network, fetches: bool, **given) -> EngineConfig:
    """An engine with the deepest memories that there are, apart from what is given; buffers of streams are not deep.

    Raises
    ------
    ConfigError
        A given field is out of range, or cannot be for this network.
    """
    known = {f.name for f in fields(EngineConfig)}
    for name in given:
        if name not in known:
            raise ConfigError(f"engine.{name}", "unknown key", f"must be one of {', '.join(sorted(known))}")
    rows, contexts = given.get("rows", EngineConfig.rows), given.get("contexts", EngineConfig.contexts)
    weight_bits, ports = given.get("weight_bits", EngineConfig.weight_bits), given.get("axi_ports", 1)
    # Says what is wrong with these before anything is derived from them.
    cells = given.get("cells", EngineConfig.cells)
    EngineConfig(rows, contexts, weight_bits, cells=cells, axi_data_bits=64, axi_ports=ports)
    wide = fetches and not network.thresholds  # lists take an element a beat
    per_beat = given.get("x_per_beat", max(STREAM_X if wide else 1, _power_of_two(contexts)))
    vector = network.layers[0].inputs
    needs = {
        "accumulator_bits": accumulator_bits(
            network, weight_bits, given.get("operand_bits", 16), max(given.get("lifts", (0,)))
        ),
        "x_elements": -(-vector // max(1, per_beat)) * per_beat,
    }
    for name, need in needs.items():
        if name in given and given[name] < need:
            raise ConfigError(f"engine.{name}", given[name], f"must be at least {need} for this model")
    shifts = tuple(layer.shift for layer in network.layers)
    if len(shifts) > MOST_LAYERS:
        raise ConfigError("model", f"{len(shifts)} layers", f"must have at most {MOST_LAYERS}, the head included")
    sums = {"accumulators": 1 << ENTRY_BITS, "finish_entries": 1 << ENTRY_BITS} if given.get("list_loads") else {}
    if given.get("decoder", "off") != "off":
        entries = 1 + STEPS_OF_SUMS * sum(layer.blocks(rows) for layer in network.layers)
        sums = {"accumulators": min(1 << ENTRY_BITS, max(MOST_SUMS, entries)), "finish_entries": 1 << ENTRY_BITS}
    derived = {
        **DEEPEST,
        **sums,
        "x_elements": DEEPEST["x_elements"] // max(1, per_beat) * per_beat,
        "weight_words": STREAM_WORDS if fetches else DEEPEST["weight_words"],
        "accumulator_bits": needs["accumulator_bits"],
        "x_per_beat": per_beat,
        "shifts": shifts,
        "lists": bool(network.thresholds),
        "sparse_h": bool(network.sparse_h),
        "chains": network.has_chain,
        "elu": any(layer.activation == "elu" for layer in network.layers),
        "kind": network.kind,
        "reset_before": network.reset_before,
        "gate_blocks": bool(given.get("list_loads")) and network.kind == "gru" and cells == 1,
        "axi_data_bits": min(128, widest_beat(rows * weight_bits // ports, given.get("decoder", "off"))),
    }
    config = EngineConfig(**{**derived, **given})
    if config.shifts != shifts:
        raise ConfigError("engine.shifts", list(config.shifts), f"must be {list(shifts)} for this model")
    if config.kind != network.kind:
        raise ConfigError("engine.kind", repr(config.kind), f"must be {network.kind!r} for this model")
    if contexts > 1 and config.x_per_beat < contexts:
        raise ConfigError("engine.x_per_beat", config.x_per_beat, f"must be at least contexts = {contexts}")
    return config


def in_keys_of_the_user(error: ConfigError, network: Network, config: EngineConfig, given: dict) -> ConfigError:
    """The error that a planner raised for a network, told in the keys that a user writes.

    A depth that nobody gave is already the machine's largest: there it is the remedy that matters.
    """
    if not isinstance(error, TooSmall) or error.lacking.keys() <= given.keys():
        return error
    found, deeper = [], []
    for field, (has, need) in error.lacking.items():
        mine, sums = field in given, field in SUMS and has == MOST_SUMS
        bound = (
            f"engine.{field} is {has}" if mine else f"gets {has} at most" if sums else f"the machine has {has} at most"
        )
        if (mine or sums) and need <= (1 << ENTRY_BITS if field in SUMS else DEEPEST[field]):
            deeper.append(f"engine.{field} = {need}")
        found.append(f"{field} must be at least {need}, and {bound}")
    ways = [*_ways_out(error, network), *[" and ".join(deeper)] * (len(deeper) == len(found))]
    return ConfigError("plan.schedule", f"{config.rows} rows: {'; '.join(found)}", f"must be {'; or '.join(ways)}")


def _ways_out(error, network):
    """What to change where a schedule needs deeper memories than there can be."""
    lacking = set(error.lacking)
    if lacking & {"weight_words", *SUMS}:
        suited = [kind for kind in SCHEDULES.values() if not kind.planner.refuses(network)]
        streams = "weight_words" in lacking and any(kind.streams for kind in suited)
        if len(suited) > 1:
            yield "another schedule" + " (auto streams what does not stay on chip)" * streams
        yield "with engine.rows more: fewer row blocks"
    if lacking & {"x_elements", *SUMS} and error.batch > 1:
        yield "with a smaller plan.batch"
    if lacking & {"h_elements", "states", "x_elements"}:
        if "h_elements" in lacking and network.waits:
            yield f"with a smaller model.most_steps, of which {network.kept} are kept"
        yield "for a smaller model"
        yield from ["for fewer plan.sequences"] * (error.sequences > 1)


def _depth(name, need):
    """How deep a memory is of which so much is needed."""
    if name == "weight_words":
        return whole_blocks(need)
    if name == "x_elements":
        vectors = max(2, min(X_VECTORS, X_ELEMENTS // need))
        depth = whole_blocks(vectors * need)
        return depth if depth <= DEEPEST[name] else min(2 * need, DEEPEST[name])
    return max(SHALLOWEST.get(name, 0), need)
