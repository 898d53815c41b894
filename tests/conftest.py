"""What all tests share: fixed examples from Hypothesis, the simulators, and no silent skips in CI."""

import importlib.util
import os
import shutil

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


def pytest_sessionstart(session):
    if os.environ.get("CI"):
        missing = [tool for tool in ("iverilog", "vvp", "g++", "make", "chromium") if shutil.which(tool) is None]
        missing += [package for package in ("torch", "sklearn") if importlib.util.find_spec(package) is None]
        if missing:
            raise pytest.UsageError(f"CI must run every test, but these are missing: {', '.join(missing)}")


def pytest_collection_modifyitems(items):
    for marker, tool in (("icarus", "iverilog"), ("chromium", "chromium")):
        if shutil.which(tool) is None:
            for item in items:
                if item.get_closest_marker(marker):
                    item.add_marker(pytest.mark.skip(reason=f"not installed: sudo apt-get install {tool}"))
