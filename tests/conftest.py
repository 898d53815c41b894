"""What all tests share: fixed examples from Hypothesis, the simulators, and no silent skips in CI."""

import gc
import importlib.util
import os
import shutil
import signal

import pytest
from hypothesis import settings

# The same examples in every run: a failure is the change's, not the draw's.
settings.register_profile("fixed", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("fixed")

ICARUS = pytest.param("icarus", marks=pytest.mark.icarus)


@pytest.fixture(params=["verilator", ICARUS])
def simulator(request):
    """Name of a simulator for :func:`sim.runner.run_bench`; a test that takes it runs under both."""
    return request.param


CPU_SECONDS = 600
"""Processor time that a test may take in its own process: a busy machine does not make it more. What it starts has
limits of its own: simulations by silence and by simulated cycles."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    def stop(number, frame):
        pytest.fail(f"took more than {CPU_SECONDS} s of processor time")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def pytest_collection_finish():
    """What the tests were imported with stays: the garbage collector need not look at it again and again."""
    gc.freeze()
    gc.set_threshold(100_000)


def pytest_sessionstart(session):
    if os.environ.get("CI"):
        compilers = (os.environ.get("CC", "cc"), os.environ.get("CXX", "g++"))
        tools = ("iverilog", "vvp", "g++", "make", "flock", "chromium", *compilers)
        missing = [tool for tool in tools if shutil.which(tool) is None]
        missing += [
            package
            for package in ("distributed", "h5py", "keras", "onnx", "optuna", "tflite", "torch", "sklearn", "_tkinter")
            if importlib.util.find_spec(package) is None
        ]
        if missing:
            raise pytest.UsageError(f"CI must run every test, but these are missing: {', '.join(missing)}")


def _unskipped(report):
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        path, line, reason = report.longrepr
        report.outcome, report.longrepr = "failed", f"{path}:{line}: {reason}: CI must run every test"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    return _unskipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report():
    return _unskipped((yield))


def pytest_collection_modifyitems(items):
    for marker, tool in (("icarus", "iverilog"), ("chromium", "chromium")):
        if shutil.which(tool) is None:
            for item in items:
                if item.get_closest_marker(marker):
                    item.add_marker(pytest.mark.skip(reason=f"not installed: sudo apt-get install {tool}"))
