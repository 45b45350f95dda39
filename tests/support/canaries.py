"""Words that are found nowhere else, and every place of a server where they could be found."""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from tests.support.servers import RedisServer
from tests.support.waiting import until

KINDS = (
    *("message", "answer", "piece", "data", "argument", "result", "cached", "event"),
    *("failure", "spooled", "instructions", "metadata"),
)


class Canaries(dict[str, str]):
    """A word for each kind of content: 32 hexadecimal digits, which no server compresses."""

    def __init__(self) -> None:
        super().__init__({kind: secrets.token_hex(16) for kind in KINDS})

    def found_in(self, places: Mapping[str, bytes]) -> set[tuple[str, str]]:
        """Return kind and place of each that is readable."""
        return {
            (kind, place)
            for place, content in places.items()
            for kind, word in self.items()
            if word.encode() in content
        }


class Heard:
    """All bytes that a server sends to somebody who listens."""

    def __init__(self, link: socket.socket) -> None:
        self.content = bytearray()
        self._link = link
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while piece := self._link.recv(65536):
            self.content += piece


@contextmanager
def heard(server: RedisServer, command: str) -> Iterator[Heard]:
    """Yield what comes to a connection that has sent MONITOR or PSUBSCRIBE."""
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(server.socket))
        link.sendall(command.encode() + b"\r\n")
        found = Heard(link)
        until(lambda: found.content)
        yield found
        link.shutdown(socket.SHUT_RDWR)


def dumped(client: redis.Redis) -> bytes:
    """Return all keys as the server holds them, and as it tells them when it is asked."""
    commands: Any = client
    return b"\n".join(
        part for key in commands.scan_iter(count=1000) for part in (key, commands.dump(key) or b"")
    )


def files(folder: Path) -> bytes:
    """Return names and contents of all files in a folder."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return b"\n".join(str(path).encode() + b"\n" + path.read_bytes() for path in found)
