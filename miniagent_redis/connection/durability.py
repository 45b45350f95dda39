"""How durable a server is, by name, and whether that is as much as is demanded: asked at a connect.

What a server tells of itself is read in kept.py. Writes that wait for replicas are in
replicating.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

from ..config.durability import DURABILITIES, Durability
from ..config.redis import RedisConfig
from ..errors import StoreMisconfigured
from .availability import Availability
from .kept import CONFIG, INFO, Kept, Told, look
from .link import Link
from .master import ROLE, is_master
from .topology import Command, Node
from .versions import Versions

_NO_WAIT = ("WAIT", 0, 1)
ASKED: dict[Durability | None, tuple[tuple[str | int, ...], ...]] = {
    "everysec": (CONFIG,),
    "always": (CONFIG,),
    "replicated": (ROLE, _NO_WAIT),
}
"""What a user has to be allowed where so much is demanded, beside all else."""


class Demand:
    """What is demanded of a server, in ``greet``: called with each connection that was made."""

    def __init__(self, config: RedisConfig) -> None:
        self._config = config
        self._demanded = config.durability
        self._was_followed = False
        self._refused: set[tuple[str, ...]] = set()
        is_kept = config.strict or config.durability in ("everysec", "always")
        self._asks: list[Callable[[Link], None]] = []
        if config.address.kind != "memory":
            self._asks.append(Versions(config, lambda: self._refused.add(INFO)).greet)
        if is_kept and config.address.kind != "memory":
            self._asks.append(self._is_kept)
        if config.durability == "replicated":
            self._asks.append(self._is_followed)

    def greet(self, link: Link) -> None:
        """Raise StoreMisconfigured if the server of a connection does less than is demanded."""
        for ask in self._asks:
            ask(link)

    def inspect(
        self,
        nodes: Sequence[Node],
        ask: Callable[[Node, Command], Any],
        availability: Availability,
        *,
        briefly: bool = False,
    ) -> Durability | Literal["unknown"]:
        """Have servers tell what they keep; note what is wrong, return what a write survives.

        That is the least that any does. ``briefly``: without that name, which takes more of CONFIG
        than many may ask. Ends with the first that tells nothing.
        """
        if self._config.address.kind == "memory":
            return "memory"
        enough, commands = _tells_all, (CONFIG, INFO)
        if briefly:
            enough, commands = _is_settled, (INFO, CONFIG)
        told = list[Kept]()
        for node in nodes:
            told.append(look(partial(ask, node), commands, enough, self._refused))
            if not told[-1].settings:
                break
        else:
            wrong = (self._misgiving(kept) for kept in told)
            availability.found(next(filter(None, wrong), None))
        if self._demanded == "replicated":
            return "replicated"
        found: list[Told] = [kept.durability for kept in told]
        return min(found, key=lambda name: ("unknown", *DURABILITIES).index(name))

    def _misgiving(self, kept: Kept) -> StoreMisconfigured | None:
        """Return what is wrong with a server for sessions, with its cure; None if nothing is known.

        That it keeps nothing is no news to who demands no more than ``memory``.
        """
        worries = [
            worry
            for worry in kept.worries
            if worry.setting != "appendonly" or self._demanded != "memory"
        ]
        if not worries:
            return None
        settings = " and ".join(f"`{one.setting} {one.value}`" for one in worries)
        return StoreMisconfigured(
            f"Redis at {self._config.address} may lose sessions that are alive",
            cause="; ".join(worry.text for worry in worries),
            hint=f"set {settings} where it is started",
        )

    def _is_kept(self, link: Link) -> None:
        """Raise StoreMisconfigured unless the server keeps what it is told as is demanded."""
        kept = look(lambda command: _reply(link, command), (CONFIG, INFO), _tells_all, set())
        if self._demanded in ("everysec", "always"):
            self._is_durable(kept, self._demanded)
        if self._config.strict and (error := self._misgiving(kept)) is not None:
            raise error

    def _is_durable(self, kept: Kept, demanded: Durability) -> None:
        found = kept.durability
        if found == "unknown":
            hint = "allow its user `+config|get`, or ask who manages it, and leave durability= out"
        elif DURABILITIES.index(found) >= DURABILITIES.index(demanded):
            return
        else:
            hint = f"set `appendonly yes` and `appendfsync {demanded}` where it is started, or "
            hint += "demand less"
        raise StoreMisconfigured(
            f"durability={demanded!r} is demanded, and Redis at {self._config.address} "
            + ("does not tell what it does" if found == "unknown" else "does less"),
            cause=f"it is {found}: {kept.meaning}",
            hint=hint,
        )

    def _is_followed(self, link: Link) -> None:
        """Raise StoreMisconfigured if there are too few replicas and never have been enough.

        Later it passes, and each write tells. Also raises redis-py's errors if it may not ask.
        One that is a replica itself by now tells that to each command, and whom to ask.
        """
        role = _reply(link, ROLE)
        is_in_cluster = self._config.address.kind == "redis+cluster"
        if not is_master(role) and (self._was_followed or is_in_cluster):
            return
        count = len(replicas_of(role))
        _reply(link, _NO_WAIT)  # whether we may
        least = self._config.min_replicas
        self._was_followed = self._was_followed or count >= least
        if not self._was_followed:
            raise StoreMisconfigured(
                f"durability='replicated' is demanded, and Redis at {self._config.address} has too "
                "few replicas",
                cause=f"{count} of {least} are connected and in step",
                hint="start its replicas, or demand less; after a failover this passes by itself",
            )


def _is_settled(kept: Kept) -> bool:
    return kept.is_settled


def _tells_all(kept: Kept) -> bool:
    return kept.is_settled and kept.durability != "unknown"


def replicas_of(role: Any) -> Sequence[Any]:
    """Return the replicas that are connected and in step, as a reply to ROLE lists them."""
    is_list = isinstance(role, list) and len(role) > 2 and isinstance(role[2], list)
    return role[2] if is_list else ()


def _reply(link: Link, command: Command) -> Any:
    link.send_command(*command, check_health=False)
    return link.read_response()
