"""Judges what the callers of programs/restless.py were told, against what was done (lives.py)."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from math import inf
from pathlib import Path
from typing import Any

from attrs import define, field

from tests.support.lives import Effect, Life, Lives

PROMISES = ("doubled", "lost", "in_another", "untrue")
"""The figures that must be zero."""
_MARGIN = 0.005  # seconds between two looks at one clock, in ms once


@define(eq=False)
class Told:
    """A call, and what its caller was told: nothing if it was killed meanwhile."""

    token: str
    kind: str
    session: str
    start: float
    epoch: int = 0
    """Of a commit: that of the thread in which its turn was begun."""
    outcome: str = "untold"
    error: str = ""
    end: float = inf
    first_over: float | None = None
    """When its first try was over, if there were others: by then the session that it meant, for
    which it perhaps waited, was there."""
    has_failed: bool = False
    """Whether one of its tries failed; else it had to wait."""
    found: str = ""
    """What resolve_turn said of it."""

    def may_mean(self, life: Life) -> bool:
        """Whether that session was there when it was tried for the first time, if it is not new."""
        first = inf if self.first_over is None else self.first_over
        return self.kind == "create" or life.created <= first + _MARGIN

    def was_going_on(self, effect: Effect) -> bool:
        """Whether that may have been done meanwhile."""
        return self.start - _MARGIN <= effect.last and self.end + _MARGIN >= effect.first

    def denies(self, effect: Effect) -> bool:
        """Whether its caller was told that this was not done.

        That there is no session, or another one, is true of what ended since, unless it was ended
        by this call.
        """
        if self.outcome == "not" and self.error != "SessionExists":
            return True
        is_moot = effect.life.is_over and effect.kind != "delete"
        return self.outcome in ("not", "gone") and not is_moot

    def __str__(self) -> str:
        tried = ", having waited" if self.first_over else ""
        tried = ", repeated" if self.has_failed else tried
        told = " ".join(filter(None, (self.outcome, self.error, self.found)))
        return f"{self.kind} {self.token} on {self.session}, told {told}{tried}"


def read(logs: Iterable[Path]) -> list[Told]:
    """Return all calls of which the logs tell."""
    calls: dict[str, Told] = {}
    for log in logs:
        for line in log.read_bytes().splitlines():
            record: dict[str, Any] = json.loads(line)
            if token := record.pop("call", None):
                calls[token] = Told(token, **record)
            elif token := record.pop("resolved", None):
                calls[token].found = record["found"]
            else:
                call = calls[record.pop("told")]
                for name, value in record.items():
                    setattr(call, name, value)
    return list(calls.values())


@define
class Verdict:
    """The figures of a run, and what broke a promise, in words."""

    figures: Counter[str] = field(factory=Counter)
    findings: list[str] = field(factory=list)

    def add(self, promise: str, what: str) -> None:
        self.figures[promise] += 1
        self.findings.append(f"{promise}: {what}")


def judge(calls: Iterable[Told], lives: Lives) -> Verdict:
    """Compare each call with what was done by it, and each thing done with a call for it."""
    verdict = Verdict(Counter(dict.fromkeys(PROMISES, 0)))
    by_token: dict[str, list[Effect]] = defaultdict(list)
    without: list[Effect] = []
    for effect in lives.effects:
        if effect.kind in ("clear", "delete"):
            without.append(effect)
        else:
            by_token[effect.token].append(effect)
    for life in lives.overwritten:
        verdict.add("lost", f"the session of {life} was there and was created anew")
    calls = list(calls)
    for call in calls:
        verdict.figures[call.outcome] += 1
        if call.kind not in ("clear", "delete"):
            _judge(call, by_token.pop(call.token, []), verdict)
    for token in by_token:
        verdict.add("in_another", f"{token!r} was written, which nobody called for")
    _explain(calls, without, verdict)
    return verdict


def _judge(call: Told, effects: list[Effect], verdict: Verdict) -> None:
    """Judge a call that writes its token."""
    if len(effects) > 1:
        first, second, *_ = effects
        later = f"{second.first - first.first:.3f} s later"
        where = "" if second.life is first.life else ", in the next session"
        verdict.add("doubled", f"{call}: done again {later}{where}")
    if not effects:
        if call.kind != "begin" and (call.outcome == "ok" or call.found == "committed"):
            verdict.add("lost", str(call))
        return
    effect = effects[0]
    life = effect.life
    if call.denies(effect):
        since = " (the session has ended since)" if life.is_over else ""
        verdict.add("untrue", f"{call}, and done{since}")
    if call.found == "unknown" and not life.is_over and life.epoch == effect.epoch:
        verdict.add("untrue", f"{call}, and done")
    for effect in effects:
        if not call.may_mean(effect.life):
            verdict.add("in_another", f"{call}: the session was made after its first try")
        elif effect.document not in ("", effect.life.agent):
            verdict.add("in_another", f"{call}: it wrote the document of another session")
        elif call.kind == "commit" and call.epoch != effect.epoch:
            verdict.add("in_another", f"{call}: its turn was begun in another thread")


def _explain(calls: list[Told], effects: list[Effect], verdict: Verdict) -> None:
    """Find a call for each effect without a token, and an effect for each call that says so."""
    pairs = _Pairs()
    alike: dict[tuple[str, str], list[Told]] = defaultdict(list)
    for call in calls:
        if call.kind in ("clear", "delete"):
            alike[call.kind, call.session].append(call)
    for effect in effects:
        for call in alike[effect.kind, effect.life.session]:
            if call.was_going_on(effect) and call.may_mean(effect.life) and not call.denies(effect):
                pairs.may_be(call, effect)
    done = [call for several in alike.values() for call in several if call.outcome == "ok"]
    without = {call for call in done if not pairs.find(call)}
    for effect in effects:  # those that are paired stay so
        if not pairs.find(effect):
            by = [c for c in alike[effect.kind, effect.life.session] if c.was_going_on(effect)]
            without.discard(_judge_unexplained(effect, by, verdict))
    for call in without:
        verdict.add("lost", f"{call}, and not done")


def _judge_unexplained(effect: Effect, calls: list[Told], verdict: Verdict) -> Told | None:
    """Judge what no call explains; return the call that did it, if that can be told."""
    done = f"a {effect.kind} of {effect.life.agent} on {effect.life.session}"
    for call in sorted(calls, key=lambda call: call.first_over is None):
        if call.denies(effect) and call.may_mean(effect.life):
            verdict.add("untrue", f"{done}: {call}")
            return call
    for call in calls:
        if not call.may_mean(effect.life):
            verdict.add("in_another", f"{done}: {call}: the session was made after its first try")
            return call
    verdict.add("doubled", f"{done}, once more than it was called for")
    return None


class _Pairs:
    """As many pairs of a call and an effect as there can be."""

    def __init__(self) -> None:
        self._able: dict[object, list[object]] = defaultdict(list)
        self._pairs: dict[object, object] = {}

    def may_be(self, call: Told, effect: Effect) -> None:
        self._able[call].append(effect)
        self._able[effect].append(call)

    def find(self, one: object) -> bool:
        """Return whether it has a partner, now that others may have got another one for it."""
        return one in self._pairs or self._pair(one, set())

    def _pair(self, one: object, tried: set[object]) -> bool:
        for other in self._able[one]:
            if other not in tried:
                tried.add(other)
                if other not in self._pairs or self._pair(self._pairs[other], tried):
                    self._pairs[one], self._pairs[other] = other, one
                    return True
        return False
