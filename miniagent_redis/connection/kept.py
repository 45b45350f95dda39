"""What a server keeps of what it was told, by its own settings: INFO and CONFIG tell them.

How durable that is has a name. What may be lost though nobody failed is a worry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import redis
from attrs import frozen

from ..errors import MiniAgentError, StoreUnavailable
from .faults import Refused, ReplyLost
from .topology import Command

Told = Literal["memory", "everysec", "always", "unknown"]
Ask = Callable[[Command], Any]
"""Sends one command to the server, once."""
INFO: tuple[str, ...] = ("INFO", "persistence", "memory")
CONFIG: tuple[str, ...] = ("CONFIG", "GET", "append*", "save", "maxmemory*")
_MEANS: dict[Told, str] = {
    "everysec": "a crash or a power cut loses up to two seconds",
    "always": "each write is synced before it is answered",
    "unknown": "CONFIG is forbidden, or renamed, as managed services have it",
}
_AS_CONFIG_HAS_IT = {"maxmemory": "maxmemory", "maxmemory_policy": "maxmemory-policy"}


@frozen
class Worry:
    """Something that a server may do to sessions that are alive, and the setting against it."""

    text: str
    setting: str
    value: str


@frozen
class Kept:
    """``settings`` are those of CONFIG GET, as far as they are known."""

    settings: Mapping[str, str]

    @classmethod
    def of(cls, info: Mapping[str, Any], config: Mapping[str, str] | None) -> Kept:
        """Read what INFO and CONFIG say; {} and None if they do not."""
        said = {ours: str(info[its]) for its, ours in _AS_CONFIG_HAS_IT.items() if its in info}
        if "aof_enabled" in info:
            said["appendonly"] = "yes" if str(info["aof_enabled"]) == "1" else "no"
        return cls({**said, **(config or {})})

    @property
    def appends(self) -> bool | None:
        """Whether there is an append-only file; None if that is not told."""
        told = self.settings.get("appendonly")
        return None if told is None else told == "yes"

    @property
    def durability(self) -> Told:
        """What an acknowledged write survives: what the system syncs when it likes is memory."""
        if self.appends:
            syncs = self.settings.get("appendfsync")
            names: dict[str | None, Told] = {"everysec": "everysec", "always": "always"}
            return names.get(syncs, "unknown" if syncs is None else "memory")
        return "unknown" if self.appends is None else "memory"

    @property
    def meaning(self) -> str:
        """What is lost with such a durability, and when."""
        if self.durability != "memory":
            return _MEANS[self.durability]
        if self.appends:
            return "a power cut loses what the system had not written yet"
        if self.keeps_nothing is None:
            return "no append-only file; CONFIG is forbidden, so snapshots are unknown"
        what = "everything" if self.keeps_nothing else "all since the last snapshot"
        return f"a restart of the server loses {what}"

    @property
    def evicts(self) -> bool | None:
        """Whether it may throw away what is alive once its memory is full."""
        policy, limit = self.settings.get("maxmemory-policy"), self.settings.get("maxmemory")
        if policy == "noeviction":
            return False
        return None if policy is None or limit is None else limit != "0"

    @property
    def keeps_nothing(self) -> bool | None:
        """Whether nothing is ever written to its disk, no snapshot either."""
        if self.appends:
            return False
        saves = self.settings.get("save")
        return None if saves is None or self.appends is None else not saves

    @property
    def worries(self) -> list[Worry]:
        """What is known to be wrong; what is not told is none."""
        found = []
        if self.evicts:
            policy = self.settings["maxmemory-policy"]
            text = f"{policy}: it may throw away live sessions"
            found.append(Worry(text, "maxmemory-policy", "noeviction"))
        if self.keeps_nothing:
            found.append(Worry(f"memory: {self.meaning}", "appendonly", "yes"))
        return found

    @property
    def is_settled(self) -> bool:
        """Whether all is told from which worries come."""
        return self.evicts is not None and self.keeps_nothing is not None


def look(
    ask: Ask,
    commands: Sequence[tuple[str, ...]],
    enough: Callable[[Kept], bool],
    refused: set[tuple[str, ...]],
) -> Kept:
    """Return what a server tells to the commands, INFO and CONFIG, asked one by one until enough.

    Nothing if it does not answer. Those in ``refused`` are not asked again, and those that are
    refused now are put there: each refusal is a line in the log of its ACL.
    """
    told: dict[tuple[str, ...], Mapping[str, str]] = {}
    kept = Kept({})
    for command in commands:
        if command in refused:
            continue
        try:
            reply = ask(command)
        except (StoreUnavailable, Refused, ReplyLost):
            break
        except (redis.ResponseError, MiniAgentError):
            refused.add(command)
            continue
        told[command] = read_info(reply) if command is INFO else _pairs(reply)
        kept = Kept.of(told.get(INFO, {}), told.get(CONFIG))
        if enough(kept):
            break
    return kept


def read_info(reply: Any) -> dict[str, str]:
    """Return what INFO says; it may be parsed already."""
    if isinstance(reply, Mapping):
        return {str(name): str(value) for name, value in reply.items()}
    lines = (line.partition(":") for line in _text(reply).splitlines())
    return {name: value for name, colon, value in lines if colon}


def _pairs(reply: Any) -> dict[str, str]:
    """Return what CONFIG GET says, in either protocol; nothing of what a proxy may say instead."""
    if not isinstance(reply, (dict, list)):
        return {}
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=False)
    return {_text(name): _text(value) for name, value in pairs}


def _text(word: Any) -> str:
    return word.decode("utf-8", "replace") if isinstance(word, bytes) else str(word)
