"""A headless Chromium for tests of pages, driven by the DevTools protocol over a pipe."""

import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from contextlib import contextmanager, suppress

OPTIONS = (
    "--headless",
    "--no-sandbox",  # root has none
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-pipe",
)
TIMEOUT = 120
"""Seconds for an answer; a loaded machine starts a browser slowly."""


class Browser:
    """One page of a running Chromium.

    Attributes
    ----------
    events : list of dict
        Messages that answered nothing, in order.
    """

    def __init__(self, to, source):
        self._to, self._source, self._left, self._number, self._session = to, source, b"", 0, None
        self.events = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        """Result of a command; AssertionError when it is refused or not answered."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def open(self, path, width=1200, height=1000):
        """Show a file, or what is at an address."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.events.clear()
        self.call("Page.navigate", url=path if isinstance(path, str) else path.resolve().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._read())

    def evaluate(self, script):
        """Value of a JavaScript expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key):
        """Press a key."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=9)

    def requests(self):
        """Addresses that the page asked for since it was opened."""
        return [e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]

    def complaints(self):
        """What the console shows: exceptions, errors, messages."""
        methods = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        return [event for event in self.events if event.get("method") in methods]

    def _read(self):
        until = time.monotonic() + TIMEOUT
        while b"\0" not in self._left:
            ready, _, _ = select.select([self._source], [], [], max(0, until - time.monotonic()))
            assert ready, "no answer from Chromium"
            read = os.read(self._source, 1 << 16)
            assert read, "Chromium ended"
            self._left += read
        message, self._left = self._left.split(b"\0", 1)
        return json.loads(message)


@contextmanager
def browser(folder):
    """Start Chromium with a fresh profile in a folder; it is ended in every case."""
    theirs_in, to = (_high(fd) for fd in os.pipe())
    source, theirs_out = (_high(fd) for fd in os.pipe())

    def pipes():  # Chromium reads commands from 3 and answers on 4
        os.dup2(theirs_in, 3)
        os.dup2(theirs_out, 4)

    with open(folder / "chromium.log", "wb") as log:
        process = subprocess.Popen(
            [shutil.which("chromium"), *OPTIONS, f"--user-data-dir={folder / 'profile'}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=pipes,
            pass_fds=(3, 4),
            start_new_session=True,
        )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Browser(to, source)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()
        os.close(to)
        os.close(source)


def _high(fd):
    """The same file under a number that is out of the way."""
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(fd)
    return moved
