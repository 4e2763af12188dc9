"""How a command ends by SIGINT or SIGTERM: with one line, at whatever moment they come and however often.

A terminal sends Ctrl-C to a whole group of processes, and whoever started one of them sends it once more: the second
must not break into what the first made the command tidy up. Standard library only, so that a command can begin with
this and import what takes long under its protection:

    def main(argv: list[str] | None = None) -> int:
        return run_until_interrupted(lambda: _load(argv), "play_bag")

    def _load(argv: list[str] | None) -> Callable[[], int]:
        import rclpy  # takes long
        ...
        return partial(_run, options)  # which may have `finally` and `with` for what it has to tidy up
"""

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
INSISTING_S = 5.0
RETRY_S = 0.02


def run_until_interrupted(load: Callable[[], Callable[[], int]], name: str, exit_code: int | None = None) -> int:
    """Run a command: while it loads a signal ends the process, later the first one raises KeyboardInterrupt in it.

    All further signals are ignored, until the process is gone, so that `finally` blocks run to their end; but one that
    comes more than `INSISTING_S` after the first ends the process at once. The main thread must not wait for ever in
    one call: where another thread gets the signal, nothing wakes it. Whoever calls this from another thread than the
    main one, where Python allows no handlers, deals with signals himself. A signal that was ignored when the
    process began (a shell does that to jobs in the background) stays ignored.

    Args:
        load: imports what takes long and gives the command; has nothing to tidy up.
        name: of the command, for the line that says that it was interrupted.
        exit_code: for one that was interrupted; None: 128 plus the signal's number, as shells have it.

    Returns:
        exit code: what the command gives, also where it deals with KeyboardInterrupt itself.
    """
    if threading.current_thread() is not threading.main_thread():
        return load()()
    with _Handlers(name, exit_code) as handlers:
        try:
            command = load()
            handlers.loaded = True
            handlers.code = command()
            return handlers.code
        except BaseException as error:
            if not handlers.first or isinstance(error, SystemExit):
                raise
            return handlers.say()  # whatever else a library made of the interruption


class _Handlers:
    """Python's handlers of the signals while a command runs."""

    def __init__(self, name: str, exit_code: int | None) -> None:
        self.loaded, self.code = False, 1
        self.first, self._since_s = 0, 0.0  # the first signal's number and time
        self._name, self._exit_code, self._previous = name, exit_code, {}

    def __enter__(self) -> "_Handlers":
        self._hook, sys.unraisablehook = sys.unraisablehook, self._retry
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._handle)
        atexit.register(self._end)
        return self

    def __exit__(self, *_: object) -> None:
        sys.unraisablehook = self._hook
        if not self.first:  # else they stay: the process is about to end
            for number, handler in self._previous.items():
                signal.signal(number, handler)

    def say(self) -> int:
        """Say that the command was interrupted; the exit code."""
        os.write(2, f"{self._name}: interrupted\n".encode())  # print may be what was interrupted
        self.code = 128 + self.first if self._exit_code is None else self._exit_code
        return self.code

    def _handle(self, number: int, _: FrameType | None) -> None:
        if not self.first:
            self.first, self._since_s = number, time.monotonic()
            if self.loaded:
                raise KeyboardInterrupt
            os._exit(self.say())
        if time.monotonic() > self._since_s + INSISTING_S:
            os._exit(self.say())

    def _retry(self, what: Any) -> None:
        """Python drops exceptions that are raised in a destructor; an interruption is raised again after it."""
        if self.first and issubclass(what.exc_type, KeyboardInterrupt):
            number, self.first = self.first, 0
            again = threading.Timer(RETRY_S, os.kill, (os.getpid(), number))
            again.daemon = True
            again.start()
        else:
            self._hook(what)

    def _end(self) -> None:
        """When Python ends: that takes long too, and aborts where a thread that was given up runs foreign code."""
        for number in self._previous:
            signal.signal(number, signal.SIG_IGN)
        if self.first:
            for stream in (sys.stdout, sys.stderr):
                with suppress(AttributeError, OSError, ValueError):  # None, or closed, or nobody reads it any more
                    stream.flush()
            os._exit(self.code)
