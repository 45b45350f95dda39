"""Runs the command as a person or a script does: in a process, at a terminal or with pipes."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LIMIT = 20.0  # seconds for anything to happen
COMMAND = [sys.executable, "-m", "miniagent_redis"]
CTRL_C = "\x03"
CTRL_D = "\x04"
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[=>]|\r")

MODELS = '''
import threading
from miniagent_redis.llm import Finish, TextDelta

class Slow:
    """Says a word, and no more until it is stopped."""

    def stream(self, request):
        yield TextDelta("Well,")
        threading.Event().wait()

class Rude:
    """Says things that a terminal or a markup language would obey."""

    def stream(self, request):
        yield TextDelta("[bold]not bold[/]\\x1b")
        yield TextDelta("[31m red \\x1b]0;title\\x07\\x9b2J:smile:\\r\\n")
        yield Finish()

class Broken:
    def stream(self, request):
        yield TextDelta("I")
        raise RuntimeError("out of \\x1b[31mwords")

class Parrot:
    def stream(self, request):
        yield TextDelta(f"{request.system} {request.messages[-1].text}")
        yield Finish()

class Cut:
    def stream(self, request):
        yield TextDelta("Half of")
        yield Finish(self.reason)

    def __init__(self, reason):
        self.reason = reason

def cut(rest): return Cut(rest)
def slow(rest): return Slow()
def rude(rest): return Rude()
def broken(rest): return Broken()
def silent(rest): return lambda messages: 1 / 0
def parrot(rest): return Parrot()
'''
_ENTRY_POINTS = """\
[miniagent_redis.models]
cut = models_for_tests:cut
slow = models_for_tests:slow
rude = models_for_tests:rude
broken = models_for_tests:broken
silent = models_for_tests:silent
parrot = models_for_tests:parrot
"""


class Home:
    """A user's home folder on a machine with the models above, and what is run there."""

    def __init__(self, folder: Path, redis_url: str | None) -> None:
        self.folder = folder
        packages = folder / "packages"
        (packages / "models_for_tests-1.0.dist-info").mkdir(parents=True)
        (packages / "models_for_tests.py").write_text(MODELS)
        (packages / "models_for_tests-1.0.dist-info" / "entry_points.txt").write_text(_ENTRY_POINTS)
        unset = ("REDIS_", "MINIAGENT_", "XDG_", "NO_COLOR", "FORCE_COLOR")
        kept = {name: text for name, text in os.environ.items() if not name.startswith(unset)}
        path = os.pathsep.join(filter(None, [str(packages), os.environ.get("PYTHONPATH")]))
        self.environment = {
            **kept,
            "HOME": str(folder),
            "LOGNAME": "ada",
            "PYTHONPATH": path,
            "TERM": "xterm",
            "COLUMNS": "80",
            "PROMPT_TOOLKIT_NO_CPR": "1",
        }
        if redis_url is not None:
            self.environment["REDIS_URL"] = redis_url

    def without_rich_and_prompt_toolkit(self) -> None:
        """Let what runs here from now on do without the optional packages."""
        blocker = "import sys\nsys.modules['rich'] = sys.modules['prompt_toolkit'] = None\n"
        (self.folder / "packages" / "sitecustomize.py").write_text(blocker)

    def run(
        self, *arguments: str, typed: str | bytes = "", code: int = 0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command with ``typed`` piped in; check its exit code."""
        done = subprocess.run(
            [*COMMAND, *arguments],
            input=typed if isinstance(typed, bytes) else typed.encode(),
            env=self.environment,
            capture_output=True,
            timeout=LIMIT,
        )
        out, err = done.stdout.decode(), done.stderr.decode()
        assert done.returncode == code, (done.returncode, out, err)
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command with pipes, to be talked to line by line."""
        return subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment,
            text=True,
            bufsize=1,
        )

    @contextmanager
    def terminal(self, *arguments: str) -> Iterator[Terminal]:
        """Run a command at a terminal of its own."""
        ours, theirs = pty.openpty()
        # A terminal belongs to the session whose leader opens it, so the shell opens it once more.
        process = subprocess.Popen(
            [
                "/bin/sh",
                "-c",
                'exec "$@" <>"$0" >&0 2>&0',
                os.ttyname(theirs),
                *COMMAND,
                *arguments,
            ],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=self.environment,
            start_new_session=True,
        )
        os.close(theirs)
        try:
            yield Terminal(process, ours)
        finally:
            process.kill()
            process.wait()
            os.close(ours)


class Terminal:
    """A terminal with a program: what is on the screen, and the keyboard."""

    def __init__(self, process: subprocess.Popen[bytes], file: int) -> None:
        self._process = process
        self._file = file
        self.raw = b""
        self._seen = 0

    @property
    def screen(self) -> str:
        """All that was printed, without what only a terminal understands."""
        return _CONTROL.sub("", self.raw.decode(errors="replace"))

    def type(self, text: str | bytes) -> None:
        """Press keys; Enter is a carriage return."""
        os.write(self._file, text if isinstance(text, bytes) else text.encode())

    def expect(self, text: str) -> str:
        """Wait until the text appears behind what was expected before; return what was skipped."""
        deadline = time.monotonic() + LIMIT
        while (at := self.screen.find(text, self._seen)) < 0:
            more = self._read(deadline)
            assert more, f"{text!r} did not come:\n{self.screen[self._seen :]}"
        skipped = self.screen[self._seen : at]
        self._seen = at + len(text)
        return skipped

    def press(self, key: str, text: str) -> None:
        """Press a key until the text appears, every two seconds.

        Python does not see a signal that comes just before it begins to wait for something.
        """
        for _ in range(10):
            self.type(key)
            again = time.monotonic() + LIMIT / 10
            while self.screen.find(text, self._seen) < 0 and self._read(again):
                pass
            if self.screen.find(text, self._seen) >= 0:
                break
        self.expect(text)

    def leave(self, code: int = 0) -> str:
        """Wait for the program's end, check its exit code and return what it still printed."""
        deadline = time.monotonic() + LIMIT
        while self._read(deadline):
            pass
        assert self._process.wait(LIMIT) == code, self.screen
        return self.screen[self._seen :]

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def _read(self, deadline: float) -> bytes:
        ready, _, _ = select.select([self._file], [], [], max(0.0, deadline - time.monotonic()))
        try:
            more = os.read(self._file, 65536) if ready else b""
        except OSError:  # how Linux says that nobody has the other end any more
            more = b""
        self.raw += more
        return more
