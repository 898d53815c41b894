"""What a unit gets of an instruction: the fields with their registers added, as wide as the engine needs."""

from .config import EngineConfig
from .isa import MODE_RESET, OPS, REGISTER_BITS, Instruction
from .limits import GATES, PLACES


def command_bits(op: str, config: EngineConfig) -> dict[str, int]:
    """Field of a unit's command -> its bits, in the order of the instruction.

    An address has the bits of the memory that it is of: fields and registers add up modulo a power of two, so what lies
    in the memory loses nothing. ``lift`` of a MAC is among them if the engine has several ``lifts``, ``threshold`` and
    ``list`` if it has lists, ``threshold`` of a CELL also with sparse_h, ``gather`` and ``fill`` if it has windows or
    splits columns, ``words`` of a LOAD if it has a decoder, ``stream`` and ``release`` if it streams, ``activation`` if
    it has chains, and ``stride`` if row blocks are of one gate.
    """
    most = _largest(op, config)
    unused = [
        *["lift"] * (len(config.lifts) == 1),
        *["list"] * (not config.lists),
        *["threshold"] * (not (config.lists or config.sparse_h and op == "CELL")),
        *["gather", "fill"] * (not config.window and config.split == 1),
        *["words"] * (config.decoder == "off"),
        *["stream", "release"] * (not config.streams),
        *["activation"] * (not config.chains),
        *["stride"] * (not config.gate_blocks),
    ]
    return {
        name: min(width, max(1, most[name].bit_length())) if name in most else width
        for name, width in OPS[op].fields.items()
        if not name.endswith("_reg") and name not in unused
    }


WIDE = {"SET": ("value",), "ADD": ("value", "limit"), "LOOP": ("count",)}
"""Fields of scalar instructions that are as wide as a register."""


def moved(op: str, config: EngineConfig) -> tuple[str, ...]:
    """Fields of a unit's instruction that this engine adds registers to."""
    return tuple(name for name in OPS[op].relative if config.indexed is None or f"{op}.{name}" in config.indexed)


def foreign(instruction: Instruction, config: EngineConfig) -> list[str]:
    """Fields of an instruction that ask for what this engine does not have; it stores such an instruction as none."""
    if instruction.op == "RING":
        return [] if config.streams else ["base"]
    op = OPS[instruction.op]
    if not op.unit:
        # A step down is the complement of one up.
        most, down = config.most_steps, (1 << REGISTER_BITS) - 1 - config.most_steps
        numbers = {name: instruction.fields[name] for name in WIDE.get(op.name, ())}
        steps = {"value"} if op.name == "ADD" else set()
        return [name for name, n in numbers.items() if n > most and not (name in steps and n >= down)]
    lacking = ["stream", "release"] if not config.streams else []
    lacking += [f"{name}_reg" for name in op.relative if name not in moved(op.name, config)]
    resets = (
        instruction.op == "CELL" and instruction.mode == MODE_RESET and not (config.reset_before or config.peepholes)
    )
    lacking += ["stride"] * (not config.gate_blocks)
    return [name for name in lacking if name in op.fields and instruction.fields[name]] + ["mode"] * resets


def _largest(op, config):
    """The largest values that an engine can use of those fields that it bounds."""
    exponent = (1 << config.exponent_bits) - 1
    image = config.weight_words * config.beats_per_word
    word, bank = config.weight_words - 1, config.contexts - 1
    mask = (1 << config.contexts) - 1
    return {
        "INPUT": {"target": config.x_elements - 1, "elements": config.x_elements, "bank": bank},
        # Without streams all of the image is in the buffer.
        "LOAD": {"base": word, **({} if config.streams else dict.fromkeys(("offset", "beats"), image))},
        "MAC": {
            "weight": word,
            "operand": max(config.h_elements - 1, config.x_elements - 1, exponent),
            "source": config.accumulators - 1,
            "target": config.accumulators - 1,
            "mask": mask,
            "rotate": bank,
            "fill": config.window if config.split == 1 else 2 * PLACES - 1,
        },
        "CELL": {
            "target": config.h_elements - 1,
            "state": config.states - 1,
            "state_stride": config.states - 1,
            "stride": config.finish_entries // GATES,
            "mask": mask,
        },
    }[op]
