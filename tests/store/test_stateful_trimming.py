"""Any sequence of calls on sessions that let go of their oldest exchanges, as in the model."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from miniagent_redis.models import Message
from tests.store.test_stateful import StoreMachine, ids, run
from tests.support.store_model import IDS


class TrimmingMachine(StoreMachine):
    """Small sessions, which are soon full."""

    on_full = "trim"
    largest = 8_000

    @rule(session_id=ids, many=st.sampled_from([3, 6]))
    def append_much(self, session_id: str, many: int) -> None:
        session = self.alive(session_id)
        if session is None:
            return
        said = [f"{len(session.messages) + n} " + "x" * 400 for n in range(many)]
        session.version += 1
        version = self.store.append_to_thread(session_id, [Message("user", text) for text in said])
        assert version == session.version
        session.messages += said
        self.use(session)

    @invariant()
    def what_is_kept_begins_with_an_exchange_and_fits(self) -> None:
        for session_id in filter(self.alive, IDS):
            thread = self.store.load_thread(session_id)
            assert not thread.messages or thread.messages[0].role == "user"
            assert self.store.session_state(session_id).bytes <= self.largest


def test_any_sequence_of_calls_is_as_in_the_model(store_url: str) -> None:
    run(TrimmingMachine, store_url, 40, 5)
