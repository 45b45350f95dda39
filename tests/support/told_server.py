"""A server that speaks the protocol of Redis and answers what a test wants it to answer."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Sequence
from typing import Self


class ToldServer(socketserver.ThreadingTCPServer):
    """What ``answer`` returns is sent as it is; at None the connection is closed.

    With ``last_words`` the first command of each connection gets these, and it is closed.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Talk)
        self.connections = 0
        self.last_words = b""
        self.asked: list[list[str]] = []
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def answer(self, command: list[str]) -> bytes | None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Talk(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        told = self.server
        assert isinstance(told, ToldServer)
        told.connections += 1
        while head := self.rfile.readline():
            words = []
            for _ in range(int(head[1:])):
                length = int(self.rfile.readline()[1:])
                words.append(self.rfile.read(length + 2)[:-2].decode())
            told.asked.append(words)
            reply = told.last_words or told.answer(words)
            if reply is not None:
                self.wfile.write(reply)
            if reply is None or told.last_words:
                return


class OldServer(ToldServer):
    """A Redis of before version 7: it knows no scripts that begin with ``#!lua``.

    It is a master, and a node of a cluster that has all slots. ``info`` is what it answers to INFO.
    """

    def __init__(self, version: str = "5.0.14") -> None:
        super().__init__()
        self.version = version
        self.info: bytes | None = bulk(f"# Server\r\nredis_version:{version}\r\nredis_mode:x\r\n")

    def answer(self, command: list[str]) -> bytes | None:
        name, port = command[0].upper(), int(self.server_address[1])
        if name == "INFO" and len(command) > 2:
            return b"-ERR syntax error\r\n"
        if name in ("EVAL", "EVALSHA"):
            return (
                b"-ERR Error compiling script (new function): user_script:1: "
                b"unexpected symbol near '#'\r\n"
                if name == "EVAL"
                else b"-NOSCRIPT No matching script. Please use EVAL.\r\n"
            )
        told = {
            "PING": b"+PONG\r\n",
            "ZADD": b":1\r\n",
            "TIME": array(("1764000000", "0")),
            "INFO": self.info,
            "ROLE": b"*3\r\n" + bulk("master") + b":0\r\n*0\r\n",
            "CLUSTER": b"*1\r\n*3\r\n:0\r\n:16383\r\n" + node("127.0.0.1", port),
        }
        return told.get(name, f"-ERR unknown command `{name}`, with args\r\n".encode())


def bulk(text: str) -> bytes:
    """Return a text as a server sends it."""
    return f"${len(text.encode())}\r\n{text}\r\n".encode()


def array(words: Sequence[str]) -> bytes:
    """Return texts as a server sends a list of them."""
    return f"*{len(words)}\r\n".encode() + b"".join(map(bulk, words))


def node(host: str, port: int) -> bytes:
    """Return a node as CLUSTER SLOTS has it."""
    return b"*3\r\n" + bulk(host) + f":{port}\r\n".encode() + bulk("0" * 40)
