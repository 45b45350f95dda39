"""Judges a history: what clients were told about their turns, against what is stored.

The records are those of programs/chatter.py. Nothing here knows how it was stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

Json = dict[str, Any]
PROMISES = ("lost", "doubled", "torn", "untruthful", "unresolved", "changed")
"""The figures that must be zero."""


class History:
    """All that clients logged of one run."""

    def __init__(self, records: Iterable[Json]) -> None:
        self.asked: dict[str, Json] = {}
        self.tries: dict[str, Json] = {}
        self.outcomes: dict[str, str] = {}
        self.resolved: dict[str, str] = {}
        self.known: list[str] = []
        self.changed: list[str] = []
        self.longest = 0.0
        for record in records:
            match record:
                case {"asks": turn}:
                    self.asked[turn] = record
                case {"tries": attempt}:
                    self.tries[attempt] = record
                case {"told": attempt, "outcome": outcome}:
                    self.outcomes[attempt] = outcome
                case {"resolved": attempt, "found": found}:
                    self.resolved[attempt] = found
                case {"known": turn}:
                    self.known.append(turn)
                case {"changed": turn, "what": what}:
                    self.changed.append(f"{turn}: {what}")
                case {"stored": _, "seconds": seconds}:
                    self.longest = max(self.longest, seconds)
                case {"unopened": _}:
                    pass
                case _:
                    raise ValueError(f"a record of no known kind: {record}")

    def judge(self, threads: Mapping[str, Sequence[Json]]) -> Verdict:
        """Compare with the stored messages of every session, oldest first.

        Each message has ``id``, ``turn_id``, ``role`` and ``content``.
        """
        found = Verdict()
        answered_by: dict[str, str] = {}
        for session, messages in threads.items():
            for turn, group in groupby(messages, key=lambda message: message["turn_id"]):
                attempt = self._whole(session, turn, list(group))
                if attempt is None:
                    found.add("torn", f"{turn} in {session}")
                elif turn in answered_by:
                    found.add("doubled", f"{turn} in {session}")
                else:
                    answered_by[turn] = attempt
        ids = Counter(message["id"] for thread in threads.values() for message in thread)
        for message, times in ids.items():
            if times > 1:
                found.add("doubled", f"message {message}")
        stored = set(answered_by.values())
        for attempt, outcome in self.outcomes.items():
            if outcome == "acknowledged" and attempt not in stored:
                found.add("lost", f"{self.tries[attempt]['turn']} of {attempt}")
            if outcome in ("not saved", "superseded") and attempt in stored:
                found.add("untruthful", f"{attempt} was told: {outcome}")
        for attempt, told in self.resolved.items():
            turn = self.tries[attempt]["turn"]
            if told == "committed" and turn not in answered_by:
                found.add("unresolved", f"{turn} is not there and was told to be")
            if told == "unknown" and attempt in stored:
                found.add("unresolved", f"{turn} is there and was told not to be")
        for turn in self.known:
            if turn not in answered_by:
                found.add("lost", f"{turn}, said to be committed already")
        for what in self.changed:
            found.add("changed", what)
        outcomes = Counter(self.outcomes.values())
        found.figures |= {
            "turns": len(self.asked),
            "acknowledged": outcomes["acknowledged"],
            "uncertain": outcomes["uncertain"],
            "not_saved": outcomes["not saved"],
            "superseded": outcomes["superseded"],
            "untold": len(self.tries) - len(self.outcomes),
            "stored": len(answered_by),
            "longest_stall": self.longest,
        }
        return found

    def _whole(self, session: str, turn: str, group: list[Json]) -> str | None:
        """Return whose answer a stored turn ends with; None unless it is just what was asked."""
        asked = self.asked.get(turn)
        texts = [[message["role"], message["content"]] for message in group]
        if asked is None or asked["session"] != session or texts[:-1] != asked["texts"]:
            return None
        role, answer = texts[-1]
        attempt = str(answer).removeprefix("answer of ")
        tried = self.tries.get(attempt)
        if role != "assistant" or tried is None or tried["turn"] != turn:
            return None
        return attempt


class Verdict:
    """The figures of a run, and what broke a promise, in words."""

    def __init__(self) -> None:
        self.figures: dict[str, int | float] = dict.fromkeys(PROMISES, 0)
        self.findings: list[str] = []

    def add(self, kind: str, what: str) -> None:
        self.figures[kind] += 1
        self.findings.append(f"{kind}: {what}")
