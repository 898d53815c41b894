"""The files that software needs beside the Verilog: engine, program and weight image, each with a digest.

Whoever loads them into an engine reads them with :meth:`Hardware.load`, which takes nothing that was damaged, mixed
up or made for another engine.
"""

import hashlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError, LstmHwError
from ..files import to_json
from ..machine.config import EngineConfig
from ..machine.layout import Image, Tile
from ..machine.program import Program
from ..provenance import read_stamped, stamped
from ..reading import read_file

ENGINE, PROGRAM, IMAGE, LAYOUT = "engine.json", "program.json", "weights.bin", "weights.json"
MAX_IMAGE_BYTES = 1 << 28
"""Largest weight image that is read."""


@dataclass(frozen=True)
class Hardware:
    """An engine with what it is loaded with.

    Parameters
    ----------
    config : EngineConfig
    program : Program
    image : bytes
        The weight image, that of one port behind the other.
    layout : Image
        What the words of the image are.
    """

    config: EngineConfig
    program: Program
    image: bytes
    layout: Image

    def files(self) -> dict[str, str | bytes]:
        """Name of each file -> its content."""
        tiles = [
            {"word": offset, "words": tile.words, **asdict(tile)}
            for tile, offset in zip(self.layout.tiles, self.layout.offsets, strict=True)
        ]
        stored = self.layout.stored
        for tile, beats in zip(tiles[len(tiles) - len(stored) :], stored, strict=True):
            tile["beats"] = beats
        engine = {"content_id": f"{self.config.content_id:#010x}", **self.config.to_dict()}
        layout = {**self._measures(), "sha256": hashlib.sha256(self.image).hexdigest(), "tiles": tiles}
        return {
            ENGINE: to_json(stamped(engine)),
            PROGRAM: to_json(stamped(self.program.to_dict())),
            IMAGE: self.image,
            LAYOUT: to_json(stamped(layout)),
        }

    def _measures(self):
        return {
            "bytes": len(self.image),
            "ports": self.config.axi_ports,
            "word_bytes": self.config.word_bytes,
            "weight_bits": self.config.weight_bits,
        }

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "Hardware":
        """Read the files of a folder.

        Raises
        ------
        InputError
            A file is missing, unreadable or changed, or they do not belong together.
        """
        folder = Path(folder)
        engine = read_stamped(folder / ENGINE)
        content_id = engine.pop("content_id", None)
        try:
            config = EngineConfig.from_dict(engine)
            program = Program.from_dict(read_stamped(folder / PROGRAM))
        except InputError:
            raise
        except LstmHwError as error:
            raise InputError(f"{folder}: {error.subject}", error.found, error.rule) from error
        if content_id != f"{config.content_id:#010x}":
            rule = f"must be {config.content_id:#010x}, as the settings say"
            raise InputError(f"{folder / ENGINE}: content_id", f"{content_id!r:.40}", rule)
        if len(program.instructions) > config.program_length:
            rule = f"must fit the program memory of {config.program_length} of {ENGINE} beside it"
            raise InputError(folder / PROGRAM, f"{len(program.instructions)} instructions", rule)
        return cls._with_image(folder, config, program)

    @classmethod
    def _with_image(cls, folder, config, program):
        path, said = folder / IMAGE, read_stamped(folder / LAYOUT)
        image = read_file(path, MAX_IMAGE_BYTES)
        layout = _layout(said.pop("tiles", None), folder / LAYOUT)
        found = cls(config, program, image, layout)
        for name, value in found._measures().items():
            if said.get(name) != value:
                raise InputError(
                    path, f"{name} {value!r}", f"must be {said.get(name)!r:.80}, as {LAYOUT} beside it says"
                )
        size = layout.bytes(config)
        if len(image) != size:
            rule = f"must be the {size} of the tiles in {LAYOUT} beside it"
            raise InputError(path, f"{len(image)} bytes", rule)
        if hashlib.sha256(image).hexdigest() != said.get("sha256"):
            raise InputError(path, "another content", f"must have the digest that {LAYOUT} beside it says")
        return found


def _layout(tiles: Any, path: Path) -> Image:
    """The tiles of a layout file, checked."""
    known = {f.name: f.type for f in Tile.__dataclass_fields__.values()}
    found, stored, word = [], [], 0
    for number, tile in enumerate(tiles if isinstance(tiles, list) else [None]):
        subject, rule = f"{path}: tiles: {number}", "must be a tile as it was written"
        segment = {"beats": int} if isinstance(tile, dict) and "beats" in tile else {}
        if not isinstance(tile, dict) or set(tile) != {"word", "words", *known, *segment} or stored and not segment:
            raise InputError(subject, f"{tile!r:.80}", rule)
        for name, kind in {**known, **segment}.items():
            if type(tile[name]) is not kind or kind is int and not (name == "split") <= tile[name] < 1 << 32:
                raise InputError(f"{subject}: {name}", f"{tile[name]!r:.40}", rule)
        found.append(Tile(**{name: tile[name] for name in known}))
        if (tile["word"], tile["words"]) != (word, found[-1].words):
            raise InputError(subject, f"word {tile['word']!r:.40}", f"must be {found[-1].words} words from {word} on")
        word += found[-1].words
        stored += [tile[name] for name in segment]
    return Image(tuple(found), tuple(stored))
