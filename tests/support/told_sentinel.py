"""A Sentinel that says what a test wants it to say: also what is wrong, old, or nothing at all."""

from __future__ import annotations

import socketserver
import threading
from typing import Self

from tests.support.sentinels import SERVICE

UNKNOWN = b"-ERR No such master with that name\r\n"


class ToldSentinel(socketserver.ThreadingTCPServer):
    """Names the server on ``port`` as the master of SERVICE, since the failover ``epoch``.

    ``flags`` are those of the master, ``next_port`` is who takes over in a failover under way.
    ``is_silent``: it takes connections and says nothing. ``refusal`` is what it answers instead.
    """

    daemon_threads = True

    def __init__(self, port: int, epoch: int = 0) -> None:
        super().__init__(("127.0.0.1", 0), _Talk)
        self.port, self.epoch, self.flags, self.next_port = port, epoch, "master", 0
        self.is_silent = False
        self.refusal = b""
        self.connections = 0
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def answer(self, command: list[str]) -> bytes:
        if command[0] != "SENTINEL":
            return b"+OK\r\n"
        if self.refusal:
            return self.refusal
        if command[1] == "MASTERS":
            return b"*1\r\n" + self._about()
        if command[2] != SERVICE:
            return UNKNOWN
        if command[1] == "MASTER":
            return self._about()
        return _array("127.0.0.1", str(self.next_port or self.port))

    def _about(self) -> bytes:
        about = {"name": SERVICE, "ip": "127.0.0.1", "port": str(self.port), "flags": self.flags}
        about["config-epoch"] = str(self.epoch)
        return _array(*(word for pair in about.items() for word in pair))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Talk(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        told = self.server
        assert isinstance(told, ToldSentinel)
        told.connections += 1
        while head := self.rfile.readline():
            words = []
            for _ in range(int(head[1:])):
                length = int(self.rfile.readline()[1:])
                words.append(self.rfile.read(length + 2)[:-2].decode())
            if not told.is_silent:
                self.wfile.write(told.answer(words))


def _array(*words: str) -> bytes:
    return f"*{len(words)}\r\n".encode() + b"".join(
        f"${len(word.encode())}\r\n{word}\r\n".encode() for word in words
    )
