"""How durable a server is, by name, and whether that is as much as is demanded: asked at a connect.

What a server keeps on its disk has a name of its own: memory, everysec or always. It does not tell
everybody. Writes that wait for replicas are in replicating.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import redis

from ..config.durability import DURABILITIES, Durability
from ..config.redis import RedisConfig
from ..errors import MiniAgentError, StoreMisconfigured
from .faults import Refused, ReplyLost
from .link import Link
from .master import ROLE
from .topology import Command

Told = Literal["memory", "everysec", "always", "unknown"]
_CONFIG = ("CONFIG", "GET", "append*")
_NO_WAIT = ("WAIT", 0, 1)
ASKED: dict[Durability | None, tuple[tuple[str | int, ...], ...]] = {
    "everysec": (_CONFIG,),
    "always": (_CONFIG,),
    "replicated": (ROLE, _NO_WAIT),
}
"""What a user has to be allowed where so much is demanded, beside all else."""
_INFO: Command = ("INFO", "persistence")
_REFUSED = (redis.ResponseError, MiniAgentError, Refused, ReplyLost)
_AT_THE_SERVER = "set `appendonly yes` and `appendfsync {0}` where it is started"


class Demand:
    """What is demanded of a server, in ``greet``: called with each connection that was made."""

    def __init__(self, config: RedisConfig) -> None:
        self._address = config.address
        self._least = config.min_replicas
        self._demanded = config.durability
        self._was_followed = self._is_silent = False
        kept = {"memory": self._unasked, "replicated": self._is_followed, None: self._unasked}
        self.greet: Callable[[Link], None] = kept.get(config.durability, self._is_kept)

    def name(self, ask: Callable[[Command], Any]) -> Durability | Literal["unknown"]:
        """Return what an acknowledged write survives; ``ask`` as in ``name_of``."""
        if self._demanded == "replicated":
            return "replicated"
        if self._address.kind == "memory":
            return "memory"
        found: Told = "unknown" if self._is_silent else name_of(ask)
        self._is_silent = found == "unknown"  # each refusal is a line in the log of its ACL
        return found

    def _unasked(self, link: Link) -> None:
        """Do nothing: any server does as much."""

    def _is_kept(self, link: Link) -> None:
        """Raise StoreMisconfigured unless the server syncs its file as often as is demanded."""
        demanded = self._demanded or "memory"
        found = name_of(lambda command: _reply(link, command))
        cause = f"it is {found}: {_MEANS[found]}"
        if found == "unknown":
            hint = "allow its user `+config|get`, or ask who manages it, and leave durability= out"
        elif DURABILITIES.index(found) >= DURABILITIES.index(demanded):
            return
        else:
            hint = f"{_AT_THE_SERVER.format(demanded)}, or demand less"
        raise StoreMisconfigured(
            f"durability={demanded!r} is demanded, and Redis at {self._address} "
            + ("does not tell what it does" if found == "unknown" else "does less"),
            cause=cause,
            hint=hint,
        )

    def _is_followed(self, link: Link) -> None:
        """Raise StoreMisconfigured if there are too few replicas and never have been enough.

        Later it passes, and each write tells. Also raises redis-py's errors if it may not ask.
        """
        count = len(replicas_of(_reply(link, ROLE)))
        _reply(link, _NO_WAIT)  # whether we may
        self._was_followed = self._was_followed or count >= self._least
        if not self._was_followed:
            raise StoreMisconfigured(
                f"durability='replicated' is demanded, and Redis at {self._address} has too few "
                "replicas",
                cause=f"{count} of {self._least} are connected and in step",
                hint="start its replicas, or demand less; after a failover this passes by itself",
            )


_MEANS: dict[Told, str] = {
    "memory": "a power cut may lose everything, or half a minute of it",
    "everysec": "a crash or a power cut loses up to two seconds",
    "always": "each write is synced before it is answered",
    "unknown": "CONFIG is forbidden, or renamed, as managed services have it",
}


def name_of(ask: Callable[[Command], Any]) -> Told:
    """Return what a server keeps on its disk: by one command if CONFIG is allowed, else by two.

    ``ask`` sends one to it. What is raised for one that is refused means that it does not tell.
    """
    try:
        told = ask(_CONFIG)
    except _REFUSED:
        try:
            about = ask(_INFO)
        except _REFUSED:
            return "unknown"
        return "memory" if b"aof_enabled:0" in _bytes(about) else "unknown"
    pairs = told.items() if isinstance(told, dict) else zip(told[::2], told[1::2], strict=True)
    settings = {_bytes(name): _bytes(value) for name, value in pairs}
    if b"appendonly" not in settings:
        return "unknown"
    names: dict[bytes, Told] = {b"everysec": "everysec", b"always": "always"}
    is_on = settings[b"appendonly"] == b"yes"
    return names.get(settings.get(b"appendfsync", b""), "memory") if is_on else "memory"


def replicas_of(role: Any) -> Sequence[Any]:
    """Return the replicas that are connected and in step, as a reply to ROLE lists them."""
    is_list = isinstance(role, list) and len(role) > 2 and isinstance(role[2], list)
    return role[2] if is_list else ()


def _reply(link: Link, command: Command) -> Any:
    link.send_command(*command, check_health=False)
    return link.read_response()


def _bytes(word: Any) -> bytes:
    return word if isinstance(word, bytes) else str(word).encode()
