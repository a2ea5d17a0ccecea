"""Headless Chromium for tests of pages, driven over a pipe by its DevTools protocol; it needs nothing but Chromium."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

from isolation import missing

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
TIMEOUT = 60
_LAUNCH = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


def chromium_or_skip():
    """Path of Chromium; where there is none `missing` decides."""
    for name in NAMES:
        if found := shutil.which(name):
            return found
    missing(
        "no Chromium on this machine; install it (apt-get install chromium) to run the tests of pages"
    )


class Browser:
    """One page in a browser of its own. `folder` takes its profile and its downloads."""

    def __init__(self, folder, width=1280, height=800):
        program = chromium_or_skip()
        self.downloads = Path(folder) / "downloads"
        self.downloads.mkdir()
        command, self._write = os.pipe()
        self._read, answer = os.pipe()
        # Chromium reads from descriptor 3 and writes to 4; copies out of the way of these come first.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (command, answer)]
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                _LAUNCH,
                *map(str, ends),
                program,
                *FLAGS,
                "--remote-debugging-pipe",
                f"--user-data-dir={folder}/profile",
                f"--window-size={width},{height}",
            ],
            pass_fds=ends,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (command, answer, *ends):
            os.close(end)
        self._number, self._rest, self.events, self._session = 0, b"", deque(), None
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")
        self.resize(width, height)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(TIMEOUT)
        os.close(self._read)
        os.close(self._write)

    def _message(self, deadline):
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(0, deadline - time.monotonic()))
            data = os.read(self._read, 1 << 20) if ready else b""
            if not data:
                raise TimeoutError("Chromium does not answer")
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\0")
        return json.loads(line)

    def send(self, method, **params):
        """The result of a command; what Chromium reports meanwhile goes to `events`."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + TIMEOUT
        while True:
            answer = self._message(deadline)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def evaluate(self, expression):
        """Value of a JavaScript expression; promises are awaited."""
        result = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait(self, expression, timeout=TIMEOUT):
        """Wait until a JavaScript expression is true."""
        deadline = time.monotonic() + timeout
        while not self.evaluate(expression):
            if time.monotonic() > deadline:
                raise TimeoutError(f"never true: {expression}; errors: {self.errors()}")
            time.sleep(0.02)

    def open(self, path):
        """Open a file of this machine, and wait until the parser has begun with it."""
        self.send("Page.navigate", url=Path(path).resolve().as_uri())
        self.wait("location.protocol === 'file:' && document.body !== null")

    def resize(self, width, height):
        """Size of the window in CSS pixels."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def _mouse(self, kind, x, y, **more):
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def drag(self, *points):
        """Press the button at the first of some points, move to each other, release."""
        self._mouse("mouseMoved", *points[0])
        self._mouse("mousePressed", *points[0], button="left", buttons=1, clickCount=1)
        for point in points[1:]:
            self._mouse("mouseMoved", *point, button="left", buttons=1)
        self._mouse("mouseReleased", *points[-1], button="left", clickCount=1)

    def click(self, x, y):
        """Click at a point of the window."""
        self.drag((x, y))

    def wheel(self, x, y, delta):
        """Turn the wheel over a point of the window."""
        self._mouse("mouseWheel", x, y, deltaX=0, deltaY=delta)

    def click_on(self, selector):
        """Scroll the first element of a CSS selector into view and click on its middle."""
        self.click(*self.middle(selector))

    def middle(self, selector):
        """Where the middle of an element is in the window, after scrolling it into view."""
        self.evaluate(
            f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'nearest'}})"
        )
        box = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        return self.evaluate(f"[{box}.x + {box}.width / 2, {box}.y + {box}.height / 2]")

    def key(self, key, text=None):
        """Press and release a key."""
        code = {"ArrowLeft": 37, "ArrowRight": 39, "Enter": 13, "Escape": 27, "Tab": 9}.get(key, 0)
        more = {"windowsVirtualKeyCode": code} if code else {}
        if key == "Enter":
            text = "\r"
        extra = {"text": text} if text else {}
        self.send("Input.dispatchKeyEvent", type="keyDown", key=key, **more, **extra)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key, **more)

    def type(self, text):
        """Type text into the element that has the focus."""
        for letter in text:
            self.key(letter, letter)

    def accept_downloads(self):
        """Let the page write into `downloads`."""
        session, self._session = self._session, None
        self.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.downloads))
        self._session = session

    def downloaded(self, name, timeout=TIMEOUT):
        """A downloaded file, once it is complete."""
        deadline = time.monotonic() + timeout
        while not (self.downloads / name).exists():
            if time.monotonic() > deadline:
                raise TimeoutError(f"no download {name}")
            time.sleep(0.02)
        return self.downloads / name

    def screenshot(self, path):
        """The window as PNG."""
        Path(path).write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))

    def requests(self):
        """Addresses that pages asked for so far."""
        self.evaluate("0")
        return [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]

    def errors(self):
        """Exceptions and errors of the page so far."""
        self.evaluate("0")
        found = [
            event["params"]["exceptionDetails"]
            for event in self.events
            if event.get("method") == "Runtime.exceptionThrown"
        ]
        return found + [
            event["params"]["entry"]
            for event in self.events
            if event.get("method") == "Log.entryAdded"
            and event["params"]["entry"]["level"] == "error"
        ]
