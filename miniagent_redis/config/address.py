"""The address of a Redis, and the URL forms that name one.

| URL                                                        | what it is                          |
|------------------------------------------------------------|-------------------------------------|
| redis://[user:password@]host[:port][/db]                   | one server; valkey:// is the same   |
| rediss://…                                                 | the same over TLS; or valkeys://    |
| unix://[user:password@]/path/to/socket[?db=N]              | one server, by its socket           |
| redis+sentinel://[user:password@]h1:p1,h2:p2/service[/db]  | the master that the Sentinels name; |
|   […?sentinel_username=…&sentinel_password=…]              |   user and password of its servers, |
|                                                            |   and, as options, of the Sentinels |
| redis+cluster://[user:password@]h1:p1,h2:p2                | a Redis Cluster                     |
| redis+multidb://[user:password@]h1:p1,h2:p2[/db]           | several servers, of which the first |
|                                                            |   that can be used is used          |
| embedded://[/data/folder]                                  | our own server, one per folder      |
| memory://[name]                                            | fakeredis in this process           |

The three with several hosts are spoken to over TLS as rediss+sentinel:// and so on. Behind all but
the last two may stand options of redis-py's urls: settings, see ``config/options.py``.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

from attrs import Factory, field, frozen

from ..errors import InvalidInput

Kind = Literal[
    "redis", "rediss", "unix", "redis+sentinel", "redis+cluster", "redis+multidb", "embedded",
    "memory",
]  # fmt: skip
_SCHEMES: dict[str, Kind] = {
    "redis": "redis",
    "rediss": "rediss",
    "valkey": "redis",
    "valkeys": "rediss",
    "unix": "unix",
    "redis+sentinel": "redis+sentinel",
    "redis+cluster": "redis+cluster",
    "redis+multidb": "redis+multidb",
    "rediss+sentinel": "redis+sentinel",
    "rediss+cluster": "redis+cluster",
    "rediss+multidb": "redis+multidb",
    "valkey+sentinel": "redis+sentinel",
    "valkey+cluster": "redis+cluster",
    "valkey+multidb": "redis+multidb",
    "valkeys+sentinel": "redis+sentinel",
    "valkeys+cluster": "redis+cluster",
    "valkeys+multidb": "redis+multidb",
    "embedded": "embedded",
    "memory": "memory",
}
_FORMS = (
    "redis://host:6379/0, with TLS rediss://; unix:///path; redis+sentinel://, redis+cluster:// or "
    "redis+multidb:// with several hosts; embedded://; memory://; and valkey for redis in each"
)
_DEFAULT_PORT = {"redis+sentinel": 26379}
_OF_SENTINELS = ("sentinel_username", "sentinel_password")
_HARMLESS = re.compile(r"[a-z+]{1,20}://[a-z0-9.-]{1,100}", re.IGNORECASE)
_IN_PASSWORDS = "in a password, # / and ? are written %23 %2F and %3F"
_CUT = re.compile(r"[^@/?]*/[^?]*@|[^@?]*\?[^=]*@")
"""An @ behind a / or ?, and in no option: what stands before is taken for a host then."""
_BARE = re.compile(r"(localhost|[a-z0-9-]+(\.[a-z0-9-]+)+)(:\d{1,5})?(/\d{1,3})?", re.IGNORECASE)
"""A host without a scheme in front. A single word is none: it may be anything, a password too."""


def _is_tls_by_kind(address: Address) -> bool:
    return address.kind == "rediss"


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
    is_tls: bool = field(default=Factory(_is_tls_by_kind, takes_self=True), kw_only=True)
    """Whether TLS is spoken to all of the nodes."""
    options: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """What stands behind a url: a name and a value each, not looked at yet."""
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """Name the address for people: never with the password."""
        if self.kind in ("unix", "embedded", "memory"):
            return f"{self.kind}://{self.path}" + (f"?db={self.db}" if self.db else "")
        hosts = ",".join(f"[{h}]:{p}" if ":" in h else f"{h}:{p}" for h, p in self.nodes)
        tail = "".join(f"/{part}" for part in (self.service, self.db or "") if part)
        tls = "s" if self.is_tls and self.kind != "rediss" else ""
        return f"{self.kind.replace('redis', 'redis' + tls, 1)}://{hosts}{tail}"


def parse_url(url: str) -> Address:
    """Parse a URL of the forms above.

    Raises InvalidInput, which shows the URL only if it has no place for a password: that may be
    anywhere in one that is not written right.
    """
    if not isinstance(url, str):
        raise InvalidInput(f"a Redis URL is text, not {type(url).__name__}")
    scheme, separator, rest = url.partition("://")
    kind = _SCHEMES.get(scheme) if separator else None
    if kind is None:
        raise _bad(url, f"the forms are {_FORMS}")
    if kind in ("embedded", "memory"):
        return Address(kind, path=unquote(rest))
    try:
        return _parse(kind, rest, is_tls=scheme.partition("+")[0] in ("rediss", "valkeys"))
    except ValueError as exc:
        is_cut = _CUT.match(rest) and kind != "unix"
        raise _bad(url, _IN_PASSWORDS if is_cut else str(exc)) from None


def _parse(kind: Kind, rest: str, *, is_tls: bool) -> Address:
    """Parse what follows the scheme; raise ValueError with a text that shows nothing of it."""
    try:
        # urlsplit gives up on several hosts, so they are cut out and looked at one by one.
        parts = urlsplit("x://" + rest)
        query = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise ValueError("it cannot be taken apart") from None
    if parts.fragment:
        raise ValueError(_IN_PASSWORDS)
    if any(len(values) > 1 for values in query.values()):
        raise ValueError("it says one option twice")
    credentials, _, hosts = parts.netloc.rpartition("@")
    user, _, secret = map(unquote, credentials.partition(":"))
    for said, name in ((user, "username"), (secret, "password")):
        if said and query.get(name, [said]) != [said]:
            raise ValueError(f"it says two different things as {name}")
    user = query.pop("username", [user])[0]
    secret = query.pop("password", [secret])[0]
    path = [unquote(piece) for piece in parts.path.split("/") if piece]
    service = db_text = ""
    nodes: tuple[tuple[str, int], ...] = ()
    if kind == "redis+sentinel":
        if not path:
            raise ValueError("the service name is missing: …/mymaster")
        service = path.pop(0)
    if kind == "unix":
        if hosts or not path:
            raise ValueError("write unix:///absolute/path/to/socket")
    else:
        if len(path) > 1:
            raise ValueError("only the database number may follow the host")
        db_text = path[0] if path else ""
        if "" in (names := hosts.split(",")) and len(names) > 1:
            raise ValueError("one of the hosts is missing")
        nodes = tuple(_node(host, _DEFAULT_PORT.get(kind, 6379)) for host in names)
    if len(nodes) > 1 and kind in ("redis", "rediss"):
        raise ValueError(
            "several hosts need redis+sentinel://, redis+cluster:// or redis+multidb://"
        )
    if kind == "redis+multidb" and len(set(nodes)) < max(2, len(nodes)):
        raise ValueError("redis+multidb:// needs two hosts or more, each once")
    nodes = tuple(dict.fromkeys(nodes))  # a Sentinel that is named twice is no majority
    if "db" in query:
        if db_text and _db(db_text, kind) != _db(query["db"][0], kind):
            raise ValueError("it says two database numbers")
        db_text = query.pop("db")[0]
    of_sentinels = _OF_SENTINELS if kind == "redis+sentinel" else ()
    return Address(
        kind,
        nodes=nodes,
        db=_db(db_text, kind),
        path=unquote(parts.path) if kind == "unix" else "",
        service=service,
        username=user or None,
        password=secret or None,
        is_tls=is_tls,
        **{name: query.pop(name)[0] for name in of_sentinels if name in query},
        options=tuple((name, values[0]) for name, values in query.items()),
    )


def _db(text: str, kind: Kind) -> int:
    try:
        db = int(text or 0)
    except ValueError:
        raise ValueError("the database is not a number") from None
    if db < 0:
        raise ValueError("negative database")
    if db and kind == "redis+cluster":
        raise ValueError("a cluster has only database 0")
    return db


def _node(text: str, default_port: int) -> tuple[str, int]:
    parts = urlsplit("x://" + text)
    try:
        port = default_port if parts.port is None else parts.port
    except ValueError:
        port = 0
    if not port:
        raise ValueError("the port is not a number from 1 to 65535")
    return parts.hostname or "localhost", port


def _bad(url: str, cause: str) -> InvalidInput:
    is_bare = _BARE.fullmatch(url) is not None
    shown = repr(url) if is_bare or _HARMLESS.fullmatch(url) else "what is given as url"
    hint = f"did you mean redis://{url}?" if is_bare else ""
    return InvalidInput(f"{shown} is not a Redis URL", cause=cause, hint=hint)


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine reach what listens there."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
