"""A TCP proxy in front of a real server that does what networks do: lose, delay, cut, swallow.

It also counts what went over the wire. Each link is a thread. Requests are told from replies by
who speaks; that is right for clients that wait for their replies, as this library does.
"""

from __future__ import annotations

import random
import select
import socket
import ssl
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Literal

from attrs import define

from tests.support.tls import Authority
from tests.support.waiting import LIMIT

_LOOK_AROUND = 0.5

Fate = Literal["passes", "is lost", "is torn"]
"""What becomes of the reply to a request, which itself is executed."""


@define
class Traffic:
    """What went over the wire. A round trip begins when a client speaks after it was answered."""

    round_trips: int = 0
    sent: int = 0
    received: int = 0


class Proxy:
    """Listens on ``url`` and passes bytes to the server's socket; the attributes are its faults.

    ``lose``: the share of requests that are executed and whose reply is lost with its connection.
    ``linger``: the seconds for which every fourth of these connections is silent before it ends.
    ``tear``: the share of replies of which the first half arrives, and then the connection ends.
    ``delay``: seconds by which each reply is late. ``is_black_hole``: connections are accepted,
    and nothing that is sent ever arrives. ``is_holding``: requests arrive at ``release`` only; a
    network that is broken for a while does that, and the client may have given up and gone.
    They may be changed at any time, from any thread. ``upstream`` may be too: it is where new
    connections lead, as behind a name or an address that another server has taken over.
    With a ``ca`` clients speak TLS to it, which does not reach the server.
    """

    def __init__(
        self, upstream: Path, dice: random.Random | None = None, ca: Authority | None = None
    ) -> None:
        self.upstream = upstream
        self.lose = 0.0
        self.linger = 0.0
        self.tear = 0.0
        self.delay = 0.0
        self.is_black_hole = False
        self.is_holding = False
        self.lost = 0  # replies, and those in whose place ``answer`` put another
        self.torn = 0
        self.round_trips = 0
        self._counted = Traffic()
        self._chosen = 0
        self._matching = b""
        self._instead: bytes | None = None
        self._released = threading.Event()
        self._dice = dice or random.Random()
        self._ca = ca
        self._tls = None if ca is None else ca.serving("localhost")
        self._lock = threading.Lock()  # guards the dice, the counters and the links
        self._links: set[socket.socket] = set()
        self._forgotten: set[socket.socket] = set()  # of the links
        self._listener: socket.socket | None = None
        self._port = 0
        self._closing = threading.Event()

    @property
    def url(self) -> str:
        if self._ca is not None:
            return f"rediss://localhost:{self._port}/0?ssl_ca_certs={self._ca.file}"
        return f"redis://127.0.0.1:{self._port}/0"

    def lose_replies(self, times: int = 1, matching: str = "EVALSHA") -> None:
        """Lose the replies to the next ``times`` requests that contain ``matching``.

        Each is executed by the server, and the connection closed instead of answering.
        """
        self._choose(times, matching, None)

    def answer(self, reply: str, times: int = 1, matching: str = "EVALSHA") -> None:
        """Answer the next ``times`` requests that contain ``matching`` instead of the server."""
        self._choose(times, matching, reply.encode())

    def _choose(self, times: int, matching: str, instead: bytes | None) -> None:
        with self._lock:
            self.lost, self._chosen = 0, times
            self._matching, self._instead = matching.encode(), instead

    def take(self) -> Traffic:
        """Return what was counted since the last call."""
        with self._lock:
            counted, self._counted = self._counted, Traffic()
        return counted

    def release(self) -> None:
        """Let go on what ``is_holding`` held back, and hold no more."""
        self.is_holding = False
        released, self._released = self._released, threading.Event()
        released.set()

    def listen(self) -> None:
        """Accept connections, always on the same port."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self._port))
        listener.listen(256)
        self._port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def refuse(self) -> None:
        """Refuse new connections, until ``listen``; those that are there stay."""
        if self._listener is not None:
            # Only shutdown wakes an accept() that waits in another thread.
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None

    def cut(self) -> None:
        """End every connection, whatever is under way on it."""
        with self._lock:
            links, self._links = self._links, set()
        for link in links:
            with suppress(OSError):  # it has ended already
                link.shutdown(socket.SHUT_RDWR)

    def forget(self) -> None:
        """Swallow what comes on the connections that are there, and tell neither side.

        A router does that which forgot them; new connections are passed on.
        """
        with self._lock:
            self._forgotten |= self._links

    def __enter__(self) -> Proxy:
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self.refuse()
        self.cut()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                client = self._tls.wrap_socket(client, True, do_handshake_on_connect=False)
            with self._lock:
                self._links.add(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            with client, socket.socket(socket.AF_UNIX) as server:
                if isinstance(client, ssl.SSLSocket):
                    client.do_handshake()
                server.connect(str(self.upstream))
                self._pump(client, server)
        except (OSError, ValueError):  # ValueError: closed by ``cut`` in another thread
            pass
        finally:
            with self._lock:
                self._links.discard(client)
                self._forgotten.discard(client)

    def _pump(self, client: socket.socket, server: socket.socket) -> None:
        fate: Fate = "passes"
        is_asked = False
        ends = {end.fileno(): end for end in (client, server)}
        ready = select.poll()  # select() knows the first 1,024 files of a process only
        for number in ends:
            ready.register(number, select.POLLIN)
        while not self._closing.is_set():
            for number, _ in ready.poll(_LOOK_AROUND * 1000):
                end = ends[number]
                chunk = _received(end)
                if not chunk:
                    return
                if self.is_black_hole or client in self._forgotten:
                    continue
                # Counted before it is passed on: whoever has the answer finds it counted.
                self._count(end is client, is_asked, len(chunk))
                if end is client:
                    if not is_asked:
                        fate = self._throw()
                    is_asked = True
                    chosen = self._look_up(chunk)
                    if isinstance(chosen, bytes):
                        is_asked = False
                        client.sendall(chosen)
                        continue
                    fate = chosen or fate
                    server.sendall(chunk)
                    continue
                is_asked = False
                if self.delay:
                    time.sleep(self.delay)
                if fate == "is lost":
                    self._closing.wait(self.linger if self.lost % 4 == 0 else 0.0)
                    return
                client.sendall(chunk[: len(chunk) // 2] if fate == "is torn" else chunk)
                if fate == "is torn":
                    return

    def _count(self, is_request: bool, is_asked: bool, size: int) -> None:
        with self._lock:
            if is_request:
                self.round_trips += not is_asked
                self._counted.round_trips += not is_asked
                self._counted.sent += size
            else:
                self._counted.received += size

    def _throw(self) -> Fate:
        """Hold a request back if it has to be, and throw the dice for its reply."""
        released = self._released
        if self.is_holding:
            released.wait(LIMIT)  # at the most
        with self._lock:
            loses = self._dice.random() < self.lose
            tears = not loses and self._dice.random() < self.tear
            self.lost += loses
            self.torn += tears
        return "is lost" if loses else "is torn" if tears else "passes"

    def _look_up(self, request: bytes) -> Fate | bytes | None:
        """Return the fate that a request was chosen for, the answer in its place, or neither."""
        with self._lock:
            if not self._chosen or self._matching not in request:
                return None
            self._chosen -= 1
            self.lost += 1
            return "is lost" if self._instead is None else self._instead


def _received(end: socket.socket) -> bytes:
    """Return what has come; of TLS all that is decrypted, as no poll tells of it any more."""
    chunk = end.recv(1 << 20)
    while isinstance(end, ssl.SSLSocket) and (waiting := end.pending()):
        chunk += end.recv(waiting)
    return chunk
