"""For the tests of expiry: how long things last, and a session that has all its keys."""

from __future__ import annotations

from miniagent_redis.store.expiry import CLAIM_MS
from miniagent_redis.store.keys import Keys
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.words import call, result, said

TTL = 3600
CLAIM = CLAIM_MS / 1000
KEYS = Keys()


def use(store: RedisSessionManager, session_id: str = "s") -> None:
    """Give the session all its six keys."""
    turn = store.begin_turn(session_id, "one")
    turn = store.stage_step(turn, [call("c")])
    turn = store.stage_step(turn, [result("c")])
    store.commit_turn(turn, [said("1")])
    store.stage_step(store.begin_turn(session_id, "two"), [said("2")])
