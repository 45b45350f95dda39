"""Any sequence of calls, against the model of modelled.py.

After each step the whole store is compared with it: threads, counters, listings, and a reader that
loads only what is new.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from miniagent_redis.errors import (
    SessionBusy,
    SessionExists,
    SessionNotFound,
    SessionTooLarge,
    TurnSuperseded,
)
from miniagent_redis.models import Message, UsageTotals
from miniagent_redis.store.giving_up import MOST_TAKEOVERS
from tests.support.store_model import IDS, LEASE_MS, USERS, Model, ModelSession, ModelTurn
from tests.support.words import call, result

ids = st.sampled_from(IDS)
texts = st.sampled_from(["hello", "é\x00", "\ud800", "x" * 300, '{"v":1}'])


class StoreMachine(Model):
    """What may be done to the store, each time with what must come of it."""

    # --- sessions ---------------------------------------------------------------------------

    @initialize()
    def begin_with_two_sessions(self) -> None:
        self.create("a", "ada", None)
        self.create("b", None, 60)

    @rule(session_id=ids, user=st.sampled_from(USERS), ttl=st.sampled_from([None, 60]))
    def create(self, session_id: str, user: str | None, ttl: int | None) -> None:
        if self.alive(session_id):
            with pytest.raises(SessionExists):
                self.store.create_session(session_id, {"other": 1}, ttl, user_id=user)
            return
        self.store.create_session(session_id, {"n": 0}, ttl, user_id=user)
        if (gone := self.sessions.get(session_id)) is not None:
            self.drop_turn(gone)
        ttl_ms = (ttl or 600) * 1000
        now = self.now_ms
        self.sessions[session_id] = ModelSession(user, ttl_ms, now, now + ttl_ms, now, {"n": 0})

    @rule(session_id=ids, user=st.sampled_from(USERS), n=st.integers())
    def update(self, session_id: str, user: str | None, n: int) -> None:
        session = self.alive(session_id, user)
        updated = self.store.update_session(session_id, {"n": n}, user_id=user)
        assert updated == (session is not None)
        if session is not None:
            session.data = {"n": n}
            session.version += 1
            self.use(session)

    @rule(session_id=ids, ttl=st.sampled_from([60, 600]))
    def extend(self, session_id: str, ttl: int) -> None:
        session = self.alive(session_id)
        assert self.store.extend_session_ttl(session_id, ttl) == (session is not None)
        if session is not None:
            session.ttl_ms = ttl * 1000
            self.use(session)

    @rule(session_id=ids, user=st.sampled_from(USERS))
    def delete(self, session_id: str, user: str | None) -> None:
        session = self.alive(session_id, user)
        assert self.store.delete_session(session_id, user_id=user) == (session is not None)
        if session is not None:
            self.drop_turn(session)
            del self.sessions[session_id]

    @rule(seconds=st.sampled_from([0.001, 0.5, 10, 29.999, 30, 61]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @precondition(lambda self: bool(self.open_turns()))
    @rule(data=st.data(), before=st.sampled_from([0, 1]))
    def wait_for_the_lease_to_end(self, data: st.DataObject, before: int) -> None:
        _, turn = data.draw(st.sampled_from(self.open_turns()))
        self.clock.advance(max(0, turn.lease_ms - before - self.now_ms) / 1000)

    # --- threads ----------------------------------------------------------------------------

    @rule(session_id=ids, user=st.sampled_from(USERS), said=st.lists(texts, min_size=1, max_size=3))
    def append(self, session_id: str, user: str | None, said: list[str]) -> None:
        session = self.alive(session_id, user)
        messages = [Message("user", text) for text in said]
        if session is None:
            with pytest.raises(SessionNotFound):
                self.store.append_to_thread(session_id, messages, user_id=user)
            return
        session.version += 1
        version = self.store.append_to_thread(session_id, messages, user_id=user)
        assert version == session.version
        session.messages += said
        self.use(session)

    @rule(session_id=ids, begin=st.booleans())
    def write_too_much(self, session_id: str, begin: bool) -> None:
        message = Message("user", "x" * self.largest)
        session = self.alive(session_id)
        if session is None or (begin and session.turn is not None):
            return
        write: Any = self.store.begin_turn if begin else self.store.append_to_thread
        with pytest.raises(SessionTooLarge):
            write(session_id, message)

    @rule(session_id=ids)
    def clear(self, session_id: str) -> None:
        session = self.alive(session_id)
        if session is None:
            return
        assert self.store.clear_thread(session_id) == len(session.messages) - session.head
        self.drop_turn(session)
        session.messages, session.head = [], 0
        session.version += 1
        self.use(session)

    # --- turns ------------------------------------------------------------------------------

    @rule(session_id=ids, text=texts, interrupt=st.booleans())
    def begin(self, session_id: str, text: str, interrupt: bool) -> None:
        session = self.alive(session_id)
        on_busy: Any = "interrupt" if interrupt else "reject"
        if session is None:
            with pytest.raises(SessionNotFound):
                self.store.begin_turn(session_id, text, on_busy=on_busy)
            return
        turn = session.turn
        if turn is not None and turn.lease_ms > self.now_ms and not interrupt:
            with pytest.raises(SessionBusy):
                self.store.begin_turn(session_id, text, on_busy=on_busy)
            return
        epoch, count, known = self.readers.get(session_id, (None, 0, []))
        opened = self.store.begin_turn(session_id, text, epoch=epoch, count=count, on_busy=on_busy)
        assert (opened.thread.start == opened.thread.head) or opened.thread.epoch == epoch
        self.follow(session, known, opened.thread)
        is_abandoned = turn is not None and turn.lease_ms <= self.now_ms and not interrupt
        if is_abandoned and turn is not None and len(turn.holders) <= MOST_TAKEOVERS:
            assert opened.resumed
            assert opened.turn_id == turn.id
            assert [m.text for m in opened.staged] == turn.staged
            self.zombies.append(turn.holders[-1])
            turn.holders.append(opened)
        else:
            self.drop_turn(session)
            assert not opened.resumed
            session.turn = turn = ModelTurn(opened.turn_id, [text], 0, [opened])
        turn.lease_ms = self.now_ms + LEASE_MS
        if session.deadline_ms < turn.lease_ms:
            session.deadline_ms = self.now_ms + session.ttl_ms

    @precondition(lambda self: bool(self.open_turns()))
    @rule(data=st.data(), repeat=st.booleans())
    def stage(self, data: st.DataObject, repeat: bool) -> None:
        session, turn = data.draw(st.sampled_from(self.open_turns()))
        before = turn.holders[-1]
        turn.holders[-1] = self.store.stage_step(before, [call("1"), result("1")])
        if repeat:
            again = self.store.stage_step(before, turn.holders[-1].staged[len(before.staged) :])
            assert again == turn.holders[-1]
        turn.staged += ["", "ok"]
        turn.lease_ms = self.now_ms + LEASE_MS
        session.deadline_ms = self.now_ms + session.ttl_ms

    @precondition(lambda self: bool(self.open_turns()))
    @rule(data=st.data(), text=texts, repeat=st.booleans())
    def commit(self, data: st.DataObject, text: str, repeat: bool) -> None:
        session, turn = data.draw(st.sampled_from(self.open_turns()))
        holder = turn.holders[-1]
        for _ in range(2 if repeat else 1):
            spent = UsageTotals(3, 2, tool_calls=1)
            version = self.store.commit_turn(holder, [Message("assistant", text)], spent=spent)
            assert version == session.version + 1
        session.version += 1
        session.turns += 1
        session.tokens += 3
        session.messages += [*turn.staged, text]
        session.turn = None
        self.use(session)
        self.committed.append((holder, session, session.version))
        assert self.store.resolve_turn(holder.session_id, turn.id) == "committed"

    @precondition(lambda self: bool(self.open_turns()))
    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        session, turn = data.draw(st.sampled_from(self.open_turns()))
        assert self.store.abort_turn(turn.holders[-1])
        self.drop_turn(session)

    @precondition(lambda self: self.zombies)
    @rule(data=st.data())
    def come_back_from_the_dead(self, data: st.DataObject) -> None:
        zombie = data.draw(st.sampled_from(self.zombies))
        session = self.alive(zombie.session_id, zombie.user_id)
        gone = SessionNotFound if session is None else TurnSuperseded
        with pytest.raises(gone):
            self.store.commit_turn(zombie, [Message("assistant", "too late")])
        with pytest.raises(gone):
            self.store.stage_step(zombie, [Message("assistant", "too late")])
        assert not self.store.abort_turn(zombie)

    @precondition(lambda self: self.committed)
    @rule(data=st.data())
    def commit_once_more(self, data: st.DataObject) -> None:
        holder, session, version = data.draw(st.sampled_from(self.committed))
        if self.alive(holder.session_id) is session:
            answer = [Message("assistant", "again")]
            assert self.store.commit_turn(holder, answer) == version
            session.used_ms = self.now_ms  # of all that is kept, only its place in the lists

    # --- what must be true after each step ----------------------------------------------------

    @invariant()
    def each_session_is_as_in_the_model(self) -> None:
        for session_id in IDS:
            session = self.alive(session_id)
            if session is None:
                assert self.store.get_session(session_id) is None
                with pytest.raises(SessionNotFound):
                    self.store.load_thread(session_id)
                continue
            thread = self.store.load_thread(session_id)
            assert len(self.follow(session, [], thread)) == thread.count - thread.head
            records: Any = self.store.client.lrange(f"thread:{{{session_id}}}", 0, -1)
            state = self.store.session_state(session_id)
            assert (state.user_id, state.data) == (session.user, session.data)
            assert (state.version, thread.version) == (session.version, session.version)
            assert (state.message_count, thread.count) == (len(session.messages),) * 2
            assert (state.head, thread.count - len(records)) == (thread.head, thread.head)
            assert state.bytes == sum(map(len, records))
            assert (state.turns, state.input_tokens) == (session.turns, session.tokens)
            assert round(state.created_at * 1000) == session.created_ms
            assert round((state.expires_at or 0) * 1000) == session.deadline_ms
            assert state.open_turn == (session.turn and session.turn.id)

    @invariant()
    def a_reader_of_what_is_new_has_the_whole(self) -> None:
        for session_id in IDS:
            session = self.alive(session_id)
            if session is None:
                continue
            epoch, count, known = self.readers.get(session_id, (None, 0, []))
            found = self.store.load_thread(session_id, epoch=epoch, start=count)
            assert found.start == found.head or found.epoch == epoch
            known = self.follow(session, known, found)
            self.readers[session_id] = found.epoch, found.count, known

    @invariant()
    def the_lists_are_those_of_the_model(self) -> None:
        order = sorted(
            ((session.used_ms, session_id) for session_id, session in self.sessions.items()),
            reverse=True,
        )
        alive = [session_id for _, session_id in order if self.alive(session_id)]
        for user in USERS:
            listed = [entry["session_id"] for entry in self.store.list_sessions(user)]
            assert listed == [s for s in alive if user in (None, self.sessions[s].user)]


def run(machine: type[StoreMachine], store_url: str, steps: int, examples: int) -> None:
    run_state_machine_as_test(
        type("Machine", (machine,), {"url": store_url}),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            # Shrinking may take longer than a test may, which would then end without a word.
            phases=[Phase.generate],
            print_blob=True,
        ),
    )


def test_any_sequence_of_calls_is_as_in_the_model(store_url: str) -> None:
    run(StoreMachine, store_url, 30, 15)
