"""What was written to a store, step by step, and whether what is found now is a state of it."""

from __future__ import annotations

import random
from typing import Any

from miniagent_redis import Message, RedisConfig, RedisSessionManager, ToolCall
from miniagent_redis.errors import MiniAgentError, SessionNotFound
from tests.support.servers import RedisServer

Thread = tuple[Message, ...]
Seen = Thread | MiniAgentError | None
"""A whole thread, or the error in its place, or None: there is no such session."""
ENDED = 0.05  # seconds


class Recorder:
    """Writes sessions to a store and keeps each state of each thread."""

    def __init__(self, store: RedisSessionManager, dice: random.Random) -> None:
        self.store = store
        self.dice = dice
        self.steps: list[tuple[str, Thread | None]] = []
        self.now: dict[str, Thread] = {}
        self.documents: dict[str, dict[str, Any]] = {}
        self.expired: list[str] = []
        self.number = 0

    def _step(self, session_id: str, thread: Thread | None) -> None:
        if thread is None:
            self.now.pop(session_id, None)
        else:
            self.now[session_id] = thread
        self.steps.append((session_id, thread))

    def create(self) -> None:
        session_id = f"s{len(self.documents) + len(self.expired)}"
        if self.dice.random() < 0.1:
            self.store.create_session(session_id, ttl=ENDED, user_id="ada")
            self.store.append_to_thread(session_id, Message("user", "soon over"))
            self.expired.append(session_id)
            return
        self.documents[session_id] = {"number": self.dice.getrandbits(64), "text": "ä" * 20}
        self.store.create_session(session_id, self.documents[session_id], user_id="ada")
        self._step(session_id, ())

    def turn(self, session_id: str) -> None:
        """Run a turn, with tool calls or without."""
        self.number += 1
        turn = self.store.begin_turn(session_id, f"question {self.number} " + "x" * 40)
        for step in range(self.dice.choice([0, 0, 1, 3])):
            call = ToolCall(f"call-{step}", "tool", {"n": self.number})
            turn = self.store.stage_step(turn, [Message("assistant", "", tool_calls=(call,))])
            turn = self.store.stage_step(turn, [Message("tool", "result", tool_call_id=call.id)])
        if self.dice.random() < 0.1:
            self.store.abort_turn(turn)
            return
        self.store.commit_turn(turn, [Message("assistant", f"answer {self.number}")])
        self._step(session_id, self.store.load_thread(session_id).messages)

    def append(self, session_id: str) -> None:
        self.number += 1
        self.store.append_to_thread(session_id, Message("user", f"note {self.number}"))
        self._step(session_id, self.store.load_thread(session_id).messages)

    def write(self, times: int) -> None:
        """Do that many things, of all kinds."""
        for _ in range(times):
            fate = self.dice.random()
            if fate < 0.12 or not self.now:
                self.create()
                continue
            session_id = self.dice.choice(sorted(self.now))
            if fate < 0.15:
                self.store.delete_session(session_id)
                self._step(session_id, None)
            elif fate < 0.19:
                self.store.clear_thread(session_id)
                self._step(session_id, ())
            elif fate < 0.3:
                self.append(session_id)
            else:
                self.turn(session_id)

    def states(self, session_id: str) -> list[Thread | None]:
        """Return each state the session has had, the first of which is not to be there."""
        return [None, *(thread for name, thread in self.steps if name == session_id)]

    def is_one_moment(self, seen: dict[str, Seen], first: int = 0) -> bool:
        """Whether all threads together are as they were after one of the steps."""
        state: dict[str, Seen] = dict.fromkeys(self.documents)
        if first == 0 and state == seen:
            return True
        for number, (session_id, thread) in enumerate(self.steps, 1):
            state[session_id] = thread
            if number >= first and state == seen:
                return True
        return False


def read(store: RedisSessionManager, session_id: str) -> tuple[Seen, int]:
    """Return the thread as read in two ways, and how many of its records were set aside."""
    try:
        found = store.load_thread(session_id)
        tail = store.load_tail(session_id, 1000)
    except SessionNotFound:
        return None, 0
    except MiniAgentError as exc:
        return exc, 0
    assert (found.messages, found.indexes) == (tail.messages, tail.indexes)
    assert len(found.messages) + len(found.unreadable) == found.count
    return found.messages, len(found.unreadable)


def open_store(server: RedisServer) -> RedisSessionManager:
    return RedisSessionManager(RedisConfig(url=server.url))
