"""A message that kills its process each time: three more at the most, and then others go on.

What its tools may have done stays in the thread, marked as interrupted.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from miniagent_redis import EventType, RedisConfig, RedisSessionManager
from tests.support.fault_report import FaultRun
from tests.support.program import Program

LEASE = 0.5
AT_ONCE = 2
MOST = 8  # messages that are sent behind it


def chat(url: str, session_id: str, on_busy: str, is_idempotent: bool, text: str) -> str | None:
    """Return the answer that another process gives to one message, or None if it dies."""
    idempotent = "yes" if is_idempotent else "no"
    with Program("dying_agent", url, session_id, LEASE, on_busy, idempotent, text) as program:
        said = program.hear_or_end()
        assert said is not None or program.process.wait() == 137
    return None if said is None else str(said["answer"])


@pytest.mark.parametrize(("on_busy", "most_deaths"), [("wait", 3), ("interrupt", 0)])
def test_a_turn_that_kills_its_process_ends_a_few_and_then_others_go_on(
    faults: FaultRun, redis_url: str, on_busy: str, most_deaths: int
) -> None:
    sessions = faults.times(2, 6)

    def play(number: int) -> int:
        """Return how many processes died behind the first one."""
        session_id = f"s{number}"
        is_idempotent = number % 2 == 0
        store.create_session(session_id)
        assert chat(redis_url, session_id, on_busy, is_idempotent, "poison") is None
        for deaths in range(MOST):
            answer = chat(redis_url, session_id, on_busy, is_idempotent, f"hello {deaths}")
            if answer is not None:
                assert answer == f"answer to hello {deaths}"
                break
        else:
            raise AssertionError("nobody was ever answered")
        *poison, message, reply = store.load_thread(session_id).messages
        assert (message.text, reply.text) == (f"hello {deaths}", answer)
        assert (poison[0].text, poison[-2].role) == ("poison", "tool")
        told = poison[-1].metadata
        if on_busy == "wait":
            assert (told["interrupted"], told["error"]) == ("stopped", "TurnGivenUp")
        else:
            assert told == {"interrupted": "cancelled"}
        failed = [e for e in store.read_events(session_id) if e.type is EventType.TURN_FAILED]
        assert not failed
        return deaths

    with (
        RedisSessionManager(RedisConfig(url=redis_url)) as store,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        deaths = list(pool.map(play, range(sessions)))
    faults.report(sessions=sessions, died_behind_it=sum(deaths), most=max(deaths))
    assert max(deaths) <= most_deaths
