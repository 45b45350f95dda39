"""A TCP proxy in front of a real server that does what networks do: lose, delay, cut, swallow.

Each link is a thread. Requests are told from replies by who speaks; that is right for clients that
wait for their replies, as this library does.
"""

from __future__ import annotations

import random
import select
import socket
import threading
import time
from contextlib import suppress
from typing import Any

_LOOK_AROUND = 0.5


class FaultyProxy:
    """Listens on ``url`` and passes bytes to the server's socket; the attributes are its faults.

    ``lose``: the share of requests that are executed and whose reply is lost with its connection.
    ``tear``: the share of replies of which the first half arrives, and then the connection ends.
    ``delay``: seconds by which each reply is late. ``is_black_hole``: connections are accepted,
    and nothing that is sent ever arrives. They may be changed at any time, from any thread.
    """

    def __init__(self, upstream: str, dice: random.Random | None = None) -> None:
        self.upstream = upstream
        self.lose = 0.0
        self.tear = 0.0
        self.delay = 0.0
        self.is_black_hole = False
        self.lost = 0
        self.torn = 0
        self.requests = 0
        self._dice = dice or random.Random()
        self._lock = threading.Lock()  # guards the dice, the counters and the links
        self._links: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self._port = 0
        self._closing = threading.Event()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}/0"

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
            _end(link)

    def __enter__(self) -> FaultyProxy:
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
            with self._lock:
                self._links.add(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            with client, socket.socket(socket.AF_UNIX) as server:
                server.connect(self.upstream)
                self._pump(client, server)
        except (OSError, ValueError):  # ValueError: closed by ``cut`` in another thread
            pass
        finally:
            with self._lock:
                self._links.discard(client)

    def _pump(self, client: socket.socket, server: socket.socket) -> None:
        loses = tears = asked = False
        ends = {end.fileno(): end for end in (client, server)}
        ready = select.poll()  # select() knows the first 1,024 files of a process only
        for number in ends:
            ready.register(number, select.POLLIN)
        while not self._closing.is_set():
            for number, _ in ready.poll(_LOOK_AROUND * 1000):
                end = ends[number]
                chunk = end.recv(1 << 20)
                if not chunk:
                    return
                if self.is_black_hole:
                    continue
                if end is client:
                    if not asked:
                        loses, tears = self._throw()
                        asked = True
                    server.sendall(chunk)
                    continue
                asked = False
                if self.delay:
                    time.sleep(self.delay)
                if loses:
                    return
                client.sendall(chunk[: len(chunk) // 2] if tears else chunk)
                if tears:
                    return

    def _throw(self) -> tuple[bool, bool]:
        with self._lock:
            self.requests += 1
            loses = self._dice.random() < self.lose
            tears = not loses and self._dice.random() < self.tear
            self.lost += loses
            self.torn += tears
        return loses, tears


def _end(link: Any) -> None:
    with suppress(OSError):  # it has ended already
        link.shutdown(socket.SHUT_RDWR)
