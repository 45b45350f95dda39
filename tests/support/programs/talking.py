"""How a program of the tests of faults talks with its test: JSON, one line each way."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any


def say(**words: Any) -> None:
    """Tell the test something; one write, so that processes and threads never mix their lines."""
    os.write(1, json.dumps(words).encode() + b"\n")


def orders(at_end: Callable[[], object] = lambda: None) -> Iterator[dict[str, Any]]:
    """Yield what the test says. When the test is gone the process ends, whatever it is doing."""
    lines: SimpleQueue[str] = SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        at_end()
        os._exit(3)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield json.loads(lines.get())
