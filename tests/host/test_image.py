"""Firmware images: what is written is read, and whatever was damaged or mixed up is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import lstm_hw
from bench.fuzz import resealed
from lstm_hw.errors import InputError
from lstm_hw.host import image as layout
from lstm_hw.host.fields import offset_of
from lstm_hw.host.image import ENTRY, ENTRY_BYTES, HEADER, HEADER_BYTES, FirmwareImage, Kind

from ..projects import write_project

DOC = Path(__file__).parents[2] / "docs" / "host.md"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return lstm_hw.load(write_project(tmp_path_factory.mktemp("firmware")))


@pytest.fixture(scope="module")
def content(project):
    return project.firmware.to_bytes()


def put(content, name, value, fields=HEADER, base=0):
    """The content with another value of a field, all digests right."""
    at = base + offset_of(fields, name)
    return resealed(content[:at] + (value & 0xFFFFFFFF).to_bytes(4, "little") + content[at + 4 :])


def section(content, kind):
    """Where a section is in the file."""
    for at in range(HEADER_BYTES, len(content), ENTRY_BYTES):
        if int.from_bytes(content[at : at + 4], "little") == kind:
            offset, length = (int.from_bytes(content[at + n : at + n + 4], "little") for n in (4, 8))
            return offset, length
    raise AssertionError(kind)


def test_what_is_written_is_read(project, content, tmp_path):
    path = project.firmware.write(tmp_path / "tiny.lstmfw")
    assert path.read_bytes() == content
    found = FirmwareImage.read(path)
    assert found.config == project.engine
    assert found.program.encoded() == project.plan.program.encoded()
    assert found.weights == project.firmware.weights
    assert found.identity == project.firmware.identity
    x = project.x[:2]
    assert np.array_equal(found.x_code.quantize(x), project.qmodel.quantize_input(x))
    assert found.y_format.lsb == project.qmodel.output_format.lsb
    assert np.array_equal(found.vectors.y[:, 0], project.predict(project.x[:4], stored=True))
    stored = project.qmodel.quantize_input(x[:1])
    for ours, theirs in zip(found.streams.beats(stored), project.plan.beats(stored), strict=True):
        assert np.array_equal(ours, theirs)


def test_every_byte_counts(content):
    """Whatever byte is changed, added or missing: refused."""
    rng = np.random.default_rng(1)
    places = {*range(HEADER_BYTES + 9 * ENTRY_BYTES + 8), *rng.integers(0, len(content), 400).tolist()}
    for at in places:
        damaged = bytearray(content)
        damaged[at] ^= 1 << int(rng.integers(8))
        with pytest.raises(InputError, match="the image"):
            FirmwareImage.from_bytes(bytes(damaged), "the image")
    for length in {0, 5, 8, 100, HEADER_BYTES, 600, len(content) - 1, *rng.integers(0, len(content), 50).tolist()}:
        with pytest.raises(InputError, match="the image"):
            FirmwareImage.from_bytes(content[:length], "the image")
    with pytest.raises(InputError, match="must be the"):
        FirmwareImage.from_bytes(content + b"\0", "the image")


def test_padding_counts(content):
    """Bytes between sections are 0, with all digests right."""
    offset, length = section(content, Kind.ENGINE)
    assert (offset + length) % layout.ALIGNMENT
    damaged = resealed(content[: offset + length] + b"\1" + content[offset + length + 1 :])
    with pytest.raises(InputError, match="parts that do not belong together"):
        FirmwareImage.from_bytes(damaged)


@pytest.mark.parametrize("name", [part.name for part in HEADER if part.code != "32s" and part.name != "magic"])
def test_every_field_counts(content, name):
    """A header that says something else than the sections, with all digests right."""
    at = offset_of(HEADER, name)
    for value in (0, 1, 2, 3, 1 << 16, (1 << 31) - 1, -1):
        damaged = put(content, name, value)
        if damaged[at : at + 4] != content[at : at + 4]:
            with pytest.raises(InputError):
                FirmwareImage.from_bytes(damaged)


def test_mixed_up_parts(project, content):
    """Weights, program or engine of another image, digests put right: the identity tells."""
    other = bytearray(content)
    offset, length = section(content, Kind.WEIGHTS)
    other[offset] ^= 1
    with pytest.raises(InputError, match="do not belong together"):
        FirmwareImage.from_bytes(resealed(bytes(other)))
    offset, length = section(content, Kind.ENGINE)
    engine = content[offset : offset + length].replace(b'"outstanding": 8', b'"outstanding": 4')
    with pytest.raises(InputError, match="content_id.*as the configuration in it says"):
        FirmwareImage.from_bytes(resealed(content[:offset] + engine + content[offset + length :]))
    offset, length = section(content, Kind.PROGRAM)
    with pytest.raises(InputError, match="program: words: 0"):
        FirmwareImage.from_bytes(resealed(content[:offset] + bytes([0xFF] * 20) + content[offset + 20 :]))
    offset, length = section(content, Kind.Y_EVEN)
    with pytest.raises(InputError, match="y_even: 1 parts; must make up a vector of 3 elements"):
        FirmwareImage.from_bytes(resealed(content[: offset + 4] + b"\2" + content[offset + 5 :]))


def test_another_version(content):
    with pytest.raises(InputError, match="image: version: 2; must be 1"):
        FirmwareImage.from_bytes(put(content, "version", 2))
    with pytest.raises(InputError, match="must be a firmware image"):
        FirmwareImage.from_bytes(b"PK\3\4" + content)


def test_identity(project):
    """It follows weights and formats, not names and test vectors."""
    image = project.firmware
    assert replace(image, about={"name": "other"}, vectors=None).identity == image.identity
    weights = bytes([image.weights[0] ^ 1]) + image.weights[1:]
    finer = replace(image.y_format, integer=image.y_format.integer - 1, fraction=image.y_format.fraction + 1)
    scaled = replace(image.x_code, exponents=(1, 0, 0))
    others = [replace(image, weights=weights), replace(image, y_format=finer), replace(image, x_code=scaled)]
    assert len({image.identity, *(other.identity for other in others)}) == 4
    for other in others:
        assert FirmwareImage.from_bytes(other.to_bytes()).identity == other.identity


def test_the_layout_is_the_documented_one():
    """docs/host.md has every field with its place; nothing of the layout changes by accident."""
    text, kinds = DOC.read_text(), {"I": "u32", "i": "i32", "8s": "8 bytes", "32s": "32 bytes"}
    for fields in (HEADER, ENTRY):
        for part in fields:
            row = f"| {offset_of(fields, part.name)} | {kinds[part.code]} | `{part.name}` | {part.doc} |"
            assert row in text
    for kind in Kind:
        assert f"| {kind.value} | {kind.name} | {layout.SECTION_DOC[kind]} |" in text
    assert (HEADER_BYTES, ENTRY_BYTES) == (156, 48)
