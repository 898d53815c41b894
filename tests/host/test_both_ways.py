"""Networks that read a sequence from both ends: images, the driver in Python and that in C."""

import subprocess
from dataclasses import replace

import numpy as np
import pytest

import lstm_hw
from lstm_hw.errors import InputError
from lstm_hw.host.device import ClippedWarning, Device
from lstm_hw.host.image import FirmwareImage, Kind
from lstm_hw.machine.arrangement import READS, SENDS, Arrangement
from lstm_hw.model.both_ways import Part, in_parts
from lstm_hw.model.float_model import DenseWeights, PlainWeights
from lstm_hw.model.reference import float_reference

from ..projects import both_ways, tensors, write_project
from .c_driver import compiled, needs_compiler
from .engine import ModelEngine
from .test_image import resealed, section
from .test_roads import direct

HEADS = ("final_state", "every_step", "last_step")


@pytest.fixture(scope="module")
def projects(tmp_path_factory):
    """Head -> project of two directions."""
    made = {}
    for head in HEADS:
        sections = {"model": {"head": head}, "data": {"labels": None}}
        model = both_ways(np.random.default_rng(7))
        made[head] = lstm_hw.load(write_project(tmp_path_factory.mktemp(head), model=model, steps=4, sections=sections))
    return made


@pytest.mark.parametrize("head", HEADS)
def test_driver(projects, head):
    """Whole sequences as the network has them; what goes on where another run ended is refused."""
    project = projects[head]
    with Device(project.firmware, direct(ModelEngine(project))) as device:
        assert np.array_equal(device.predict(project.x), project.predict(project.x))
        assert np.array_equal(device.predict(project.x, stored=True), project.predict(project.x, stored=True))
        assert device.selftest() == len(project.firmware.vectors.x)
        with pytest.raises(InputError, match="carry: true for a network that reads x both; must begin from zero state"):
            device.predict(project.x[:1], carry=True)
        with pytest.raises(InputError, match=r"shape \(5, 4, 6\); must end with 3"):
            device.predict(np.concatenate([project.x] * 2, axis=2))
        with pytest.warns(ClippedWarning, match="1 of 12 inputs are beyond"):
            device.predict(np.where(np.arange(12).reshape(1, 4, 3) == 5, 1e6, project.x[:1]))


def test_image(projects):
    """It says the arrangement, or is refused where its sizes do not have it; without one it is as it was."""
    firmware = projects["every_step"].firmware
    content = firmware.to_bytes()
    found = FirmwareImage.from_bytes(content)
    assert found.arrangement == Arrangement("both", "added") and found.inputs == 3
    other = replace(firmware, arrangement=Arrangement("both", "apart"))
    assert other.identity != firmware.identity
    at, length = section(content, Kind.ARRANGEMENT)
    assert length == 12
    for words, rule in (
        ((0, 0, 0), "must be three words, five or six, the first two below 3 and 5"),
        ((len(READS), 1, 0), "must be three words"),
        ((2, len(SENDS), 0), "must be three words"),
        ((2, 3, 4), "arrangement: steps: 4 of x that is read both"),
        ((0, 0, 4), "must be of even sizes, with outputs of every step, or with steps of the last one"),
    ):
        changed = content[:at] + np.asarray(words, "<u4").tobytes() + content[at + 12 :]
        with pytest.raises(InputError, match=rule):
            FirmwareImage.from_bytes(resealed(changed))
    final = replace(projects["final_state"].firmware, arrangement=Arrangement("both", "added"))
    with pytest.raises(InputError, match="must be of even sizes, with outputs of every step"):
        FirmwareImage.from_bytes(final.to_bytes())
    scaled = replace(firmware, x_code=replace(firmware.x_code, exponents=(0, 1, 0, 0, 0, 0)))
    with pytest.raises(InputError, match="exponents: unlike of both ends"):
        FirmwareImage.from_bytes(scaled.to_bytes())


@pytest.mark.parametrize("reads, columns, made", [("forward", 16, tensors), ("both", 32, both_ways)])
def test_a_number_of_steps(tmp_path, reads, columns, made):
    """Of a linear layer that reads h of all: no others are run, in Python and in C."""
    rng = np.random.default_rng(3)
    model = made(rng, outputs=0) | {"head.weight": rng.normal(0, 0.3, (2, columns)).astype(np.float32)}
    sections = {"model": {"head": "all_steps"}, "data": {"labels": None}}
    project = lstm_hw.load(write_project(tmp_path, model=model, steps=4, sections=sections))
    found = FirmwareImage.from_bytes(project.firmware.to_bytes())
    assert found.arrangement == Arrangement(reads, steps=4) and not found.streams.every_step
    with Device(project.firmware, direct(ModelEngine(project))) as device:
        assert np.array_equal(device.predict(project.x), project.predict(project.x))
        with pytest.raises(
            InputError, match=r"shape \(5, 3, 3\); must have 4 steps: a linear layer has weights of its"
        ):
            device.predict(project.x[:, :3])
        with pytest.raises(
            InputError, match="carry: true for a network with a linear layer that reads h of all 4 steps"
        ):
            device.predict(project.x[:1], carry=True)


def test_most_steps(tmp_path, projects):
    """Of a layer that waits for all of them: no more are run, in Python and in C."""
    rng = np.random.default_rng(3)
    model = both_ways(rng, outputs=0, layers=2) | {"head.weight": rng.normal(0, 0.3, (2, 8)).astype(np.float32)}
    sections = {"model": {"head": "final_state", "most_steps": 4}, "data": {"labels": None}}
    project = lstm_hw.load(write_project(tmp_path, model=model, steps=3, sections=sections))
    content = project.firmware.to_bytes()
    found = FirmwareImage.from_bytes(content)
    assert found.arrangement == Arrangement("both", most=4) and not found.streams.every_step
    at, length = section(content, Kind.ARRANGEMENT)
    assert length == 20
    for words, rule in (
        ((2, 0, 0, 0, 0), "must be three words, five or six"),
        ((2, 0, 0, 5, 4), "arrangement: most: 5 to 4"),
    ):
        changed = content[:at] + np.asarray(words, "<u4").tobytes() + content[at + 20 :]
        with pytest.raises(InputError, match=rule):
            FirmwareImage.from_bytes(resealed(changed))
    with Device(project.firmware, direct(ModelEngine(project))) as device:
        assert np.array_equal(device.predict(project.x), project.predict(project.x))
        with pytest.raises(InputError, match="must have at most 4 steps, of which h is kept on chip; model.most_steps"):
            device.predict(np.repeat(project.x, 2, axis=1))
        with pytest.raises(InputError, match="carry: true for a network with a layer that waits for h of all steps"):
            device.predict(project.x[:1], carry=True)


@pytest.fixture(scope="module")
def repeating():
    """A project of a model that repeats the last step of x in five."""
    rng = np.random.default_rng(4)
    layers = [
        PlainWeights(rng.normal(size=(4, n)), rng.normal(size=(4, 4)), np.ones(4), activation="tanh") for n in (3, 4)
    ]
    head = DenseWeights(rng.normal(size=(2, 4)), np.zeros(2))
    model = in_parts([Part(layers[:1]), Part(layers[1:], repeats=True)], [head], "every_step", repeats=5)
    x = rng.uniform(-1, 1, (3, 7, 3))
    return lstm_hw.convert(model, calibration=x, x=x, engine={"rows": 8})


def test_steps_of_the_outputs(repeating):
    """Where the last step is repeated in a number of its own, whatever x has; a firmware image that says it."""
    project, (expected, _) = repeating, float_reference(repeating.model, repeating.x)
    content = project.firmware.to_bytes()
    found = FirmwareImage.from_bytes(content)
    assert found.arrangement == Arrangement(repeats=5) and found.streams.vectors(7) == 5
    at, length = section(content, Kind.ARRANGEMENT)
    assert length == 24
    for words, rule in (
        ((0, 0, 0, 0, 0, 0), "must be three words, five or six"),
        ((0, 0, 0, 0, 0, 1 << 15), "arrangement: repeats: 32768; must be at most 16384"),
        ((0, 0, 7, 0, 0, 5), "arrangement: repeats: 5, with a linear layer for 7 steps"),
        ((0, 0, 0, 0, 0, 6), "vectors: .* and 5 output vectors; must be .* with the vectors of so many steps"),
    ):
        changed = content[:at] + np.asarray(words, "<u4").tobytes() + content[at + 24 :]
        with pytest.raises(InputError, match=rule):
            FirmwareImage.from_bytes(resealed(changed))
    with Device(project.firmware, direct(ModelEngine(project))) as device:
        assert np.array_equal(device.predict(project.x), project.predict(project.x))
        assert np.abs(device.predict(project.x) - expected).max() < 0.01
        for steps in (1, 3):  # they are too few for nothing
            assert device.predict(project.x[:, :steps]).shape == (3, 5, 2)
        assert device.selftest() == 3
        with pytest.raises(InputError, match="carry: true for a network with a layer that waits for h of all steps"):
            device.predict(project.x[:1], carry=True)


@pytest.fixture(scope="module")
def arranger(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("arrange"), "arrange.c", ("lstm_hw.c", "lstm_hw_float.c"))


@needs_compiler
@pytest.mark.parametrize(
    "head, sends", [*zip(HEADS, ("sent", "added", "added_last"), strict=True), ("every_step", "apart")]
)
@pytest.mark.parametrize("reads", ["both", "backward"])
def test_c_driver(tmp_path, projects, arranger, head, sends, reads):
    """The x of the test vectors from the network's, and its outputs from theirs."""
    project = projects[head]
    stored = project.firmware.vectors.x
    arrangement = Arrangement(reads, sends, stored.shape[1] * (head == "final_state"))
    firmware = replace(project.firmware, arrangement=arrangement)
    given = stored[..., : firmware.inputs]
    path = tmp_path / "model.lstmfw"
    firmware.write(path)
    feed = (given * firmware.x_code.format.lsb).astype(np.float32).tobytes()
    result = subprocess.run([arranger, path], input=feed, capture_output=True, check=True)
    x, y = (line.split() for line in result.stdout.decode().splitlines())
    assert list(map(int, x)) == arrangement.x(given).ravel().tolist()
    sent = firmware.vectors.y if firmware.streams.every_step else firmware.vectors.y[:, 0]
    assert list(map(float.fromhex, y)) == (arrangement.outputs(sent) * firmware.y_format.lsb).ravel().tolist()


@needs_compiler
def test_c_driver_of_other_steps(tmp_path, repeating, arranger):
    """As many outputs as the last step is repeated."""
    firmware = repeating.firmware
    firmware.write(tmp_path / "model.lstmfw")
    feed = repeating.x.astype(np.float32).tobytes()
    result = subprocess.run([arranger, tmp_path / "model.lstmfw"], input=feed, capture_output=True, check=True)
    x, y = (line.split() for line in result.stdout.decode().splitlines())
    assert list(map(int, x)) == firmware.vectors.x.ravel().tolist() and len(y) == 3 * 5 * 2
    assert list(map(float.fromhex, y)) == (firmware.vectors.y * firmware.y_format.lsb).ravel().tolist()
