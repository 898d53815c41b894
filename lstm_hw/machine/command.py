"""What a unit gets of an instruction: the fields with their registers added, as wide as the engine needs."""

from .config import EngineConfig
from .isa import OPS


def command_bits(op: str, config: EngineConfig) -> dict[str, int]:
    """Field of a unit's command -> its bits, in the order of the instruction.

    An address has the bits of the memory that it is of: fields and registers add up modulo a power of two, so what lies
    in the memory loses nothing. ``lift`` of a MAC is among them if the engine has several ``lifts``, ``threshold`` and
    ``list`` if it has lists, ``threshold`` of a CELL also with sparse_h, ``gather`` and ``fill`` if it has windows,
    ``words`` of a LOAD if it has a decoder, and ``activation`` if it has chains.
    """
    most = _largest(op, config)
    unused = [
        *["lift"] * (len(config.lifts) == 1),
        *["list"] * (not config.lists),
        *["threshold"] * (not (config.lists or config.sparse_h and op == "CELL")),
        *["gather", "fill"] * (not config.window),
        *["words"] * (config.decoder == "off"),
        *["activation"] * (not config.chains),
    ]
    return {
        name: min(width, max(1, most[name].bit_length())) if name in most else width
        for name, width in OPS[op].fields.items()
        if not name.endswith("_reg") and name not in unused
    }


def _largest(op, config):
    """The largest values that an engine can use of those fields that it bounds."""
    exponent = (1 << config.exponent_bits) - 1
    word, bank = config.weight_words - 1, config.contexts - 1
    mask = (1 << config.contexts) - 1
    return {
        "INPUT": {"target": config.x_elements - 1, "elements": config.x_elements, "bank": bank},
        "LOAD": {"base": word},
        "MAC": {
            "weight": word,
            "operand": max(config.h_elements - 1, config.x_elements - 1, exponent),
            "source": config.accumulators - 1,
            "target": config.accumulators - 1,
            "mask": mask,
            "rotate": bank,
            "fill": config.window,
        },
        "CELL": {
            "target": config.h_elements - 1,
            "state": config.states - 1,
            "state_stride": config.states - 1,
            "mask": mask,
        },
    }[op]
