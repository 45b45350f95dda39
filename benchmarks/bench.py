"""What all measurements share: one server, our store and redis-py on it, and a usual turn."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import redis
from attrs import frozen

from miniagent_redis import Message, RedisConfig, RedisSessionManager, UsageTotals
from miniagent_redis.models import OpenTurn
from tests.support.servers import RedisServer

from .measure import Run

QUESTION = (
    "Could you compare the three quotes that I sent you yesterday, and tell me which of them is "
    "the best one for a small team?"
)
ANSWER = (
    "Of the three quotes, the second is the best one for a small team: it costs a little more "
    "per month than the first, but support and backups are included, and you can leave at the "
    "end of any month. The third is meant for fifty people and more. Shall I draft a reply to "
    "them that asks for a trial?"
)
_SPENT = UsageTotals(input_tokens=60, output_tokens=80)
_CHUNK = 1000


@frozen
class Bench:
    """The server and the two ways to it. ``quick`` asks for few repetitions of everything."""

    server: RedisServer
    store: RedisSessionManager
    raw: redis.Redis
    quick: bool

    def times(self, usual: int, quick: int) -> int:
        """Return how often to do something."""
        return quick if self.quick else usual

    def create_session(self, session_id: str, messages: int = 0) -> int:
        """Create a session with a thread of that many messages; return the thread's epoch."""
        self.store.create_session(session_id, user_id="ada")
        for start in range(0, messages, _CHUNK):
            self.store.append_to_thread(
                session_id,
                [
                    Message("assistant", ANSWER) if at % 2 else Message("user", QUESTION)
                    for at in range(start, min(start + _CHUNK, messages))
                ],
            )
        return self.store.load_tail(session_id, 1).epoch

    def turn(self, session_id: str, epoch: int, count: int) -> OpenTurn:
        """Do a turn without tools as SessionAgent does it, which knows the thread so far."""
        turn = self.store.begin_turn(session_id, QUESTION, epoch=epoch, count=count)
        answer = Message(
            "assistant",
            ANSWER,
            turn_id=turn.turn_id,
            created_at=time.time(),
            metadata={"usage": _SPENT.to_dict()},
        )
        self.store.commit_turn(turn, [answer], spent=_SPENT)
        return turn

    def turns(self, session_id: str, count: int) -> Run:
        """Return what does so many turns, one after the other, on a session that is made anew."""
        self.store.delete_session(session_id)
        epoch = self.create_session(session_id)

        def run() -> None:
            for number in range(count):
                self.turn(session_id, epoch, 2 * number)

        return run


def config(url: str) -> RedisConfig:
    """Return the settings of all stores here: the usual ones, but for threads of any size."""
    return RedisConfig(url=url, max_session_size=1 << 30)


@contextmanager
def open_bench(quick: bool) -> Iterator[Bench]:
    """Start a throw-away server; it is gone with its data in the end."""
    with RedisServer() as server, RedisSessionManager(config(server.url)) as store:
        bench = Bench(server, store, server.client(), quick)
        bench.turn("warm-up", bench.create_session("warm-up"), 0)  # the server knows the scripts
        yield bench
