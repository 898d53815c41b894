"""lstm-hw turns a trained LSTM into verified, synthesizable Verilog.

>>> import lstm_hw
>>> project = lstm_hw.convert("examples/digits/digits.toml")
>>> project.estimate().per_step
>>> project.generate()
>>> project.simulate(images=10)
"""

from importlib import import_module

_HOMES = {
    "convert": ".project.api",
    "load": ".project.api",
    "load_hardware": ".project.api",
    "features": ".model.features",
    "load_model": ".project.given",
    "Project": ".project.api",
    "ProjectConfig": ".project.settings",
    "EngineConfig": ".machine.config",
    "QuantConfig": ".model.quant_config",
    "ReadOptions": ".model.readers.options",
    "QFormat": ".machine.formats",
    "Stress": ".verify.scenario",
    "LstmHwError": ".errors",
}
__all__ = sorted(_HOMES)


def __getattr__(name):
    # The simulator's process imports parts of this package; it should not pay for all of it.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)


def __dir__():
    return __all__
