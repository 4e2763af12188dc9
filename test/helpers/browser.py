"""A headless Chromium, driven by its DevTools protocol through a pipe; it draws WebGL in software."""

import base64
import io
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
OPTIONS = (
    "--headless=new",
    "--remote-debugging-pipe",  # commands come on descriptor 3, events go to 4
    "--no-sandbox",  # which root cannot have
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-dev-shm-usage",  # containers have little
    "--no-first-run",
)
WITH_PIPES = "import os, sys; [os.dup2(int(sys.argv[i]), 2 + i) for i in (1, 2)]; os.execv(sys.argv[3], sys.argv[3:])"


def chromium() -> str | None:
    """Its path; None where it is not installed."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """One page of a browser; whatever waits for it raises a TimeoutError at the deadline."""

    def __init__(self, commands: int, events: int, deadline: float) -> None:
        """`commands` and `events`: descriptors of the pipes. `deadline`: of `time.monotonic`."""
        self._commands, self._events, self._deadline = commands, events, deadline
        self._received, self._number, self._session = b"", 0, None
        self._frames: deque[dict] = deque()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")

    def call(self, method: str, **parameters: object) -> dict:
        """Send a command and wait for its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            pass
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def open(self, url: str) -> None:
        """Go to a page, and wait until it is loaded."""
        self.call("Page.navigate", url=url)
        while self._next().get("method") != "Page.loadEventFired":
            pass
        self.call("Page.startScreencast", format="png")

    def frames(self) -> Iterator[np.ndarray]:
        """(H, W, 3) uint8 RGB, whenever what the page shows has changed."""
        while True:
            while not self._frames:
                self._next()
            frame = self._frames.popleft()
            self.call("Page.screencastFrameAck", sessionId=frame["sessionId"])
            yield np.asarray(Image.open(io.BytesIO(base64.b64decode(frame["data"]))).convert("RGB"))

    def _next(self) -> dict:
        """The next message; frames are kept."""
        while b"\0" not in self._received:
            left = self._deadline - time.monotonic()
            if left <= 0 or not select.select([self._events], [], [], left)[0]:
                raise TimeoutError("nothing more comes from the page")
            if not (chunk := os.read(self._events, 1 << 20)):
                raise EOFError("the browser has ended")
            self._received += chunk
        text, self._received = self._received.split(b"\0", 1)
        message = json.loads(text)
        if message.get("method") == "Page.screencastFrame":
            self._frames.append(message["params"])
        return message


@contextmanager
def page(folder: Path, size: tuple[int, int], seconds: float) -> Iterator[Page]:
    """A page of `size` (width, height) pixels, for so many seconds; what the browser keeps is kept in `folder`."""
    (given, commands), (events, answers) = os.pipe(), os.pipe()
    own = f"--user-data-dir={folder}", f"--window-size={size[0]},{size[1]}"
    browser = subprocess.Popen(
        [sys.executable, "-c", WITH_PIPES, str(given), str(answers), chromium(), *OPTIONS, *own],
        pass_fds=(given, answers),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(given), os.close(answers)
    try:
        yield Page(commands, events, time.monotonic() + seconds)
    finally:
        os.killpg(browser.pid, signal.SIGKILL)
        browser.wait()
        os.close(commands), os.close(events)
