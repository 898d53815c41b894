"""The rooms of the package: every import points down, as pyproject.toml states."""

from pathlib import Path

from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

ROOT = Path(__file__).parents[1]


def test_every_import_points_down(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert lint_imports(config_filename="pyproject.toml", no_cache=True) == EXIT_STATUS_SUCCESS


def test_every_room_is_stated():
    """A new module or folder of the package has its place in the layers."""
    layers = (ROOT / "pyproject.toml").read_text()
    rooms = [
        path.stem for path in (ROOT / "lstm_hw").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    ]
    assert [room for room in rooms if room != "__init__" and f"lstm_hw.{room}" not in layers] == []
