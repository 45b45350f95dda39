"""Writes to one session and goes back in it, by turns, until it is killed.

Arguments: URL, session, name of this process, seed. Says each text that is stored for certain.
"""

from __future__ import annotations

import random
import sys
from itertools import count

from miniagent_redis import Message, MiniAgentError, RedisConfig, RedisSessionManager
from tests.support.programs.talking import say

url, session_id, name, seed = sys.argv[1:]
dice = random.Random(seed)

store = RedisSessionManager(RedisConfig(url=url))  # connects by itself, as replies get lost
say(ready=True)
for number in count():
    text = f"{name}-{number}"
    try:
        if dice.random() < 0.3:
            length = store.load_tail(session_id, 1).count
            kept = store.rewind(session_id, dice.randrange(length + 1))
            say(went_back=kept)
        elif dice.random() < 0.5:
            store.append_to_thread(session_id, Message("user", text))
            say(stored=text)
        else:
            turn = store.begin_turn(session_id, text, busy_timeout=1)
            if turn.resumed:  # of one that was killed
                store.abort_turn(turn)
                continue
            store.commit_turn(turn, [Message("assistant", f"re {text}")])
            say(stored=text)
    except MiniAgentError as exc:  # busy, or nobody knows
        say(error=type(exc).__name__)
