"""A program of tests/support/programs as a process, which a test talks to, freezes and kills.

Both sides speak JSON, one line each; programs/talking.py is the other end.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from tests.support.waiting import LIMIT

PROGRAMS = "tests.support.programs"


def environment(**more: object) -> dict[str, str]:
    """Return the environment of a Python program that finds the modules its test finds.

    Nothing is looked for before those places, the working directory neither: the package that is
    installed comes before the checkout.
    """
    path = os.pathsep.join(filter(None, sys.path))
    added = {"PYTHONPATH": path, "PYTHONSAFEPATH": 1, **more}
    return os.environ | {name: str(value) for name, value in added.items()}


def command(name: str, *arguments: object) -> list[str]:
    """Return the command that runs a program in that environment."""
    # 3.12 warns of each fork with threads; what comes of it is what is tested here.
    python = [sys.executable, "-X", "faulthandler", "-W", "ignore::DeprecationWarning"]
    return [*python, "-m", f"{PROGRAMS}.{name}", *map(str, arguments)]


class Program:
    """One running program; a context manager that ends it."""

    def __init__(self, name: str, *arguments: object) -> None:
        self.process = subprocess.Popen(
            command(name, *arguments),
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self._said: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._said.put(json.loads(line))
        self._said.put(None)

    def hear(self, limit: float = LIMIT) -> dict[str, Any]:
        """Return what it says next; fails if it ends or stays silent."""
        said = self.hear_or_end(limit)
        assert said is not None, f"the program ended with {self.process.poll()}"
        return said

    def hear_or_end(self, limit: float = LIMIT) -> dict[str, Any] | None:
        """Return what it says next, or None when it has ended and will say no more."""
        try:
            return self._said.get(timeout=limit)
        except Empty:
            self.process.send_signal(signal.SIGABRT)  # it tells where its threads are
            with suppress(subprocess.TimeoutExpired):  # one that is paused does not end of it
                self.process.wait(LIMIT)
            raise AssertionError(f"the program said nothing for {limit:g} s") from None

    def tell(self, **words: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it, whatever it is doing."""
        self.process.kill()
        self.process.wait()
        self._reader.join(LIMIT)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
