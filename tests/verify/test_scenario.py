"""Scenarios survive the disk."""

import json

import numpy as np
import pytest

from lstm_hw.errors import InputError
from lstm_hw.machine.config import EngineConfig
from lstm_hw.machine.formats import QFormat
from lstm_hw.proof.load_timing import MemoryModel
from lstm_hw.provenance import STAMP, stamped
from lstm_hw.verify.scenario import Run, Scenario, Stress
from tests.builders import config_of


def random_scenario(seed):
    rng = np.random.default_rng(seed)
    config = config_of(contexts=2, x_per_beat=2, shifts=(15, 14), preact=QFormat(4, 11))
    runs = []
    for n in range(int(rng.integers(1, 5))):
        beats = int(rng.integers(0, 9))
        lengths = rng.integers(0, 5, int(rng.integers(0, 4)))
        outputs = [rng.integers(-1 << 15, 1 << 15, length).tolist() for length in lengths]
        counters = {"cycles": int(rng.integers(1 << 40)), "busy": 3} if n % 2 else None
        runs.append(
            Run(
                int(rng.integers(99)),
                int(rng.integers(1 << 31)),
                bool(n % 3),
                rng.integers(-1 << 15, 1 << 15, (beats, 2)),
                rng.integers(0, 2, beats),
                outputs,
                counters,
            )
        )
    program = [int.from_bytes(rng.bytes(20), "little") for _ in range(7)]
    stress = Stress(0.1, 0.5, 0.9, seed, int(rng.integers(9)))
    return Scenario(config, program, rng.bytes(100), runs, stress, MemoryModel(seed, 2), 0x12345000)


@pytest.mark.parametrize("seed", range(5))
def test_round_trip(tmp_path, seed):
    scenario = random_scenario(seed)
    scenario.save(tmp_path / "deep" / "folder")
    loaded = Scenario.load(tmp_path / "deep" / "folder")
    for name in ("config", "program", "image", "stress", "memory", "weights_address"):
        assert getattr(loaded, name) == getattr(scenario, name)
    for old, new in zip(scenario.runs, loaded.runs, strict=True):
        for name in ("entry", "steps", "clear", "outputs", "counters"):
            assert getattr(new, name) == getattr(old, name)
        assert np.array_equal(new.x, old.x) and np.array_equal(new.lasts, old.lasts)


def test_thousands_of_runs(tmp_path):
    """As many as there are test images: what is written is read, within the bounds that files have."""
    rng, runs = np.random.default_rng(0), []
    for n in range(3000):
        outputs = [rng.integers(-9, 9, n % 3).tolist() for _ in range(n % 2)]
        runs.append(Run(1, n, True, rng.integers(-9, 9, (n % 5, 1)), rng.integers(0, 2, n % 5), outputs, {"cycles": n}))
    Scenario(config_of(), [1], b"image", runs).save(tmp_path)
    for old, new in zip(runs, Scenario.load(tmp_path).runs, strict=True):
        assert (new.steps, new.outputs, new.counters) == (old.steps, old.outputs, old.counters)
        assert np.array_equal(new.x, old.x) and np.array_equal(new.lasts, old.lasts)


def test_quiet():
    assert Stress().quiet and Stress(seed=9).quiet
    assert not any(Stress(**{name: 1}).quiet for name in ("x_idle", "y_stall", "memory_stall", "memory_latency"))


@pytest.mark.parametrize("ports, size", [(1, 100), (2, 2 * 4096), (4, 4 * 4104)])
def test_every_port_has_an_image_on_pages_of_its_own(ports, size):
    image = np.random.default_rng(ports).bytes(size)
    scenario = Scenario(EngineConfig(rows=64, axi_ports=ports), [], image, [], weights_address=0x12345000)
    assert b"".join(scenario.images) == image and len({len(part) for part in scenario.images}) == 1
    assert scenario.addresses[0] == 0x12345000
    pages = [
        set(range(address // 4096, (address + len(part) - 1) // 4096 + 1))
        for address, part in zip(scenario.addresses, scenario.images, strict=True)
    ]
    assert sum(map(len, pages)) == len(set().union(*pages)) and all(a % 4096 == 0 for a in scenario.addresses)


@pytest.mark.parametrize("name", ["weights.bin", "vectors.npz"])
def test_files_that_were_changed_are_refused(tmp_path, name):
    random_scenario(1).save(tmp_path)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes() + b" ")
    with pytest.raises(InputError, match=f"{name}: another content; must be as scenario.json beside it says"):
        Scenario.load(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"config": {"preact": "Q3,12"}},
        {"config": {"rows": 5}},
        {"config": 3},
        {"program": ["x"]},
        {"runs": [{}]},
        {"runs": 3},
        {"stress": {"seed": "a"}},
        {"memory": {"latency": None}},
        {"files": []},
    ],
)
def test_other_content_of_a_right_digest_is_refused(tmp_path, change):
    random_scenario(1).save(tmp_path)
    file = tmp_path / "scenario.json"
    values = {key: value for key, value in json.loads(file.read_text()).items() if key != STAMP}
    file.write_text(json.dumps(stamped(values | change)))
    with pytest.raises(InputError, match="scenario.json: another scenario"):
        Scenario.load(tmp_path)
    file.write_text(json.dumps(values))
    with pytest.raises(InputError, match="scenario.json: content of another digest"):
        Scenario.load(tmp_path)
