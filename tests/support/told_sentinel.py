"""A Sentinel that says what a test wants it to say: also what is wrong, old, or nothing at all."""

from __future__ import annotations

from tests.support.sentinels import SERVICE
from tests.support.told_server import ToldServer, array

UNKNOWN = b"-ERR No such master with that name\r\n"


class ToldSentinel(ToldServer):
    """Names the server on ``port`` as the master of SERVICE, since the failover ``epoch``.

    ``flags`` are those of the master, ``next_port`` is who takes over in a failover under way.
    ``is_silent``: it takes connections and says nothing. ``refusal`` is what it answers instead.
    """

    def __init__(self, port: int, epoch: int = 0) -> None:
        super().__init__()
        self.port, self.epoch, self.flags, self.next_port = port, epoch, "master", 0
        self.is_silent = False
        self.refusal = b""

    def answer(self, command: list[str]) -> bytes:
        if self.is_silent:
            return b""
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
        return array(("127.0.0.1", str(self.next_port or self.port)))

    def _about(self) -> bytes:
        about = {"name": SERVICE, "ip": "127.0.0.1", "port": str(self.port), "flags": self.flags}
        about["config-epoch"] = str(self.epoch)
        return array([word for pair in about.items() for word in pair])
