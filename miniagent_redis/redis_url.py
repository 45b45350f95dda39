"""The address of a Redis, and the URL forms that name one.

| URL                                                        | what it is                          |
|------------------------------------------------------------|-------------------------------------|
| redis://[user:password@]host[:port][/db]                   | one server                          |
| rediss://…                                                 | the same over TLS                   |
| unix://[user:password@]/path/to/socket[?db=N]              | one server, by its socket           |
| redis+sentinel://[user:password@]h1:p1,h2:p2/service[/db]  | the master that the Sentinels name  |
| redis+cluster://[user:password@]h1:p1,h2:p2                | a Redis Cluster                     |
| embedded://[/data/folder]                                  | our own server, one per folder      |
| memory://[name]                                            | fakeredis in this process           |
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

from attrs import field, frozen

from .errors import InvalidInput

Kind = Literal["redis", "rediss", "unix", "redis+sentinel", "redis+cluster", "embedded", "memory"]
_KINDS: tuple[Kind, ...] = (
    "redis", "rediss", "unix", "redis+sentinel", "redis+cluster", "embedded", "memory",
)  # fmt: skip
_DEFAULT_PORT = {"redis+sentinel": 26379}


@frozen
class Address:
    """Where to connect. ``path`` is the socket, the embedded data folder, or the memory's name."""

    kind: Kind
    nodes: tuple[tuple[str, int], ...] = ()
    db: int = 0
    path: str = ""
    service: str = ""
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """Name the address for people: never with the password."""
        if self.kind in ("unix", "embedded", "memory"):
            return f"{self.kind}://{self.path}" + (f"?db={self.db}" if self.db else "")
        hosts = ",".join(f"[{h}]:{p}" if ":" in h else f"{h}:{p}" for h, p in self.nodes)
        tail = "".join(f"/{part}" for part in (self.service, self.db or "") if part)
        return f"{self.kind}://{hosts}{tail}"


def parse_url(url: str, username: str | None = None, password: str | None = None) -> Address:
    """Parse a URL of the forms above; ``username`` and ``password`` fill in what it lacks.

    Raises InvalidInput, with the password left out of the message.
    """
    if not isinstance(url, str):
        raise InvalidInput(f"a Redis URL is text, not {type(url).__name__}")
    kind: Kind | None = next((known for known in _KINDS if url.startswith(known + "://")), None)
    if kind is None:
        raise _bad(url, "the forms are " + "  ".join(known + "://…" for known in _KINDS))
    rest = url[len(kind) + 3 :]
    try:
        if kind in ("embedded", "memory"):
            return Address(kind, path=unquote(rest))
        # urlsplit gives up on several hosts, so they are cut out and looked at one by one.
        parts = urlsplit("x://" + rest)
        credentials, _, hosts = parts.netloc.rpartition("@")
        user, _, secret = credentials.partition(":")
        if parts.fragment:
            raise ValueError("in a password, # / and ? are written %23 %2F and %3F")
        query = parse_qs(parts.query, strict_parsing=bool(parts.query))
        path = [unquote(piece) for piece in parts.path.split("/") if piece]
        if unknown := query.keys() - {"db"}:
            raise ValueError(f"unknown option {', '.join(sorted(unknown))}")
        service = ""
        nodes: tuple[tuple[str, int], ...] = ()
        if kind == "redis+sentinel":
            if not path:
                raise ValueError("the service name is missing: …/mymaster")
            service = path.pop(0)
        if kind == "unix":
            if hosts or not path:
                raise ValueError("write unix:///absolute/path/to/socket")
            db_text = ""
        else:
            if len(path) > 1:
                raise ValueError("only the database number may follow the host")
            db_text = path[0] if path else ""
            if "" in (names := hosts.split(",")) and len(names) > 1:
                raise ValueError("one of the hosts is missing")
            nodes = tuple(_node(host, _DEFAULT_PORT.get(kind, 6379)) for host in names)
        db = int(query["db"][0] if "db" in query else db_text or 0)
        if db < 0 or (db and kind == "redis+cluster"):
            raise ValueError("a cluster has only database 0" if db > 0 else "negative database")
        if len(nodes) > 1 and kind in ("redis", "rediss"):
            raise ValueError("several hosts need redis+sentinel:// or redis+cluster://")
    except ValueError as exc:
        raise _bad(url, str(exc)) from None
    return Address(
        kind,
        nodes=nodes,
        db=db,
        path=unquote(parts.path) if kind == "unix" else "",
        service=service,
        username=unquote(user) or username,
        password=unquote(secret) or password,
    )


def _node(text: str, default_port: int) -> tuple[str, int]:
    parts = urlsplit("x://" + text)
    try:
        port = default_port if parts.port is None else parts.port
    except ValueError:
        port = 0
    if not port:
        # What urlsplit says would show the text, which may be a password with a bare / in it.
        raise ValueError("the port is not a number from 1 to 65535")
    return parts.hostname or "localhost", port


def _bad(url: str, cause: str) -> InvalidInput:
    scheme, separator, rest = url.partition("://")
    shown = scheme + separator + rest.rpartition("@")[2]
    return InvalidInput(f"{shown[:100]!r} is not a Redis URL", cause=cause)
