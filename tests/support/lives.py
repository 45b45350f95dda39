"""What became of sessions that were created, changed, cleared, ended and created anew.

Told by the changes that a server wrote to its append-only file; nothing of the library is asked.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import inf
from typing import Any, Literal

from attrs import define, field, frozen

from tests.support.appended import Command

Kind = Literal["create", "message", "update", "clear", "delete"]
_KEY = re.compile(rb"(session|thread|metadata):\{(.*)\}")


@define(eq=False)
class Life:
    """A session from its creation, by the call whose token it has as its agent, to its end.

    Times are seconds by the server's clock. ``ended`` is when the next of that id was created.
    """

    session: str
    agent: str
    created: float
    epoch: int
    used: float
    ended: float = inf
    is_over: bool = False
    document: str = ""
    """The agent that its document names, which should be its own."""
    thread: list[str] = field(factory=list)


@frozen(eq=False)
class Effect:
    """One thing that was done to a life; ``token`` is that of the call, where it wrote one.

    It happened between ``first`` and ``last``. ``epoch`` is that of the thread when it was done.
    ``document`` is the agent that its document names since then, if it named another one before.
    """

    kind: Kind
    token: str
    life: Life
    first: float
    last: float
    epoch: int
    document: str = ""


@define
class _Change:
    """What one script did to a session."""

    deleted: set[bytes] = field(factory=set)
    document: Any = None
    pushed: list[Any] = field(factory=list)
    fields: dict[bytes, bytes] = field(factory=dict)

    def add(self, name: bytes, what: bytes, words: Sequence[bytes]) -> None:
        match name, what:
            case ((b"DEL" | b"UNLINK"), _):
                self.deleted.add(what)
            case b"SET", b"session":
                self.document = json.loads(words[0])
            case b"RPUSH", b"thread":
                self.pushed += map(json.loads, words)
            case ((b"HSET" | b"HMSET"), b"metadata"):
                self.fields |= dict(zip(words[::2], words[1::2], strict=True))
            case _, (b"session" | b"thread"):
                assert name.startswith(b"PEXPIRE"), f"what does {name!r} do to a {what!r}?"

    def number(self, name: bytes) -> int:
        return int(self.fields[name])


class Lives:
    """All lives that there were, and all that was done to them, in order."""

    def __init__(self, changes: Iterable[Sequence[Command]]) -> None:
        self.all: defaultdict[str, list[Life]] = defaultdict(list)
        self.now: dict[str, Life] = {}
        self.effects: list[Effect] = []
        self.overwritten: list[str] = []
        """Lives in whose place another was put without their end."""
        for commands in changes:
            for session, change in _by_session(commands).items():
                self._apply(session, change)
        for n, effect in enumerate(self.effects):
            if effect.kind == "delete":
                life = effect.life
                self.effects[n] = Effect("delete", "", life, life.used, life.ended, life.epoch)

    def _apply(self, session: str, change: _Change) -> None:
        if change.document is not None and b"created_at" in change.fields:
            self._create(session, change)
        elif b"session" in change.deleted:
            life = self.now.pop(session)
            life.is_over = True
            self._add("delete", "", life)
        elif session in self.now:
            life = self.now[session]
            if b"last_activity" in change.fields:
                life.used = change.number(b"last_activity") / 1000
            if b"epoch" in change.fields:
                life.epoch = change.number(b"epoch")
                life.thread.clear()
                self._add("clear", "", life)
            if change.document is not None:
                named = change.document["agent_name"]
                other = "" if named == life.document else named
                life.document = named
                self._add("update", change.document["data"].get("token", ""), life, other)
            for message in change.pushed:
                life.thread.append(message["content"])
                self._add("message", message["content"], life)

    def _create(self, session: str, change: _Change) -> None:
        created = change.number(b"created_at") / 1000
        if self.all[session]:
            before = self.all[session][-1]
            before.ended = created
            if not before.is_over:
                self.overwritten.append(before.agent)
        agent = change.fields[b"agent"].decode()
        life = Life(session, agent, created, change.number(b"epoch"), created)
        life.document = change.document["agent_name"]
        self.all[session].append(life)
        self.now[session] = life
        self._add("create", agent, life, life.document)

    def _add(self, kind: Kind, token: str, life: Life, document: str = "") -> None:
        at = life.used
        self.effects.append(Effect(kind, token, life, at, at, life.epoch, document))


def _by_session(commands: Sequence[Command]) -> dict[str, _Change]:
    found: dict[str, _Change] = {}
    for name, *words in commands:
        is_removal = name.upper() in (b"DEL", b"UNLINK")
        for key in words if is_removal else words[:1]:
            if match := _KEY.fullmatch(key):
                change = found.setdefault(match[2].decode(), _Change())
                change.add(name.upper(), match[1], words[1:])
    return found
