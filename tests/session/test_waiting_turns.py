"""A turn may wait for somebody: for days, over restarts, and answered from any process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from miniagent_redis import (
    Approve,
    Deny,
    EventType,
    InvalidInput,
    Message,
    RateLimit,
    SessionManager,
    SessionNotFound,
    SessionWaiting,
    ToolCall,
    ToolContext,
    ToolRegistry,
    ToolResult,
    TurnResult,
    WaitingCall,
)
from miniagent_redis.llm import ScriptedModel
from miniagent_redis.models import TurnState
from miniagent_redis.tools.tool import Approval
from tests.session.conftest import Open
from tests.support.waiting import LIMIT

ORDER = {"type": "object", "properties": {"order": {"type": "integer"}}, "required": ["order"]}
REFUND = ToolCall("c1", "refund", {"order": 7})
PICK = ToolCall("c2", "pick", {"order": 7})
LOOK = ToolCall("c3", "look", {"order": 7})


class Shop:
    """Tools, and what they did."""

    def __init__(self, approve: Approval = True) -> None:
        self.did: list[str] = []
        self.tools = ToolRegistry()
        self.tools.add(self.refund, approve=approve)
        self.tools.add(self.look)
        self.tools.declare("pick", "Let the customer pick something.", ORDER)

    def refund(self, order: int) -> str:
        """Pay an order back."""
        self.did.append(f"refund {order}")
        return f"refunded {order}"

    def look(self, order: int) -> str:
        """Look at an order."""
        self.did.append(f"look {order}")
        return "it is late"


class Asking(ScriptedModel):
    """A model that calls these tools first, and then says what it heard."""

    def __init__(self, *calls: ToolCall, after: list[Any] | None = None) -> None:
        super().__init__([list(calls), *(after or ["done"])])


def told(manager: SessionManager, sid: str) -> list[tuple[str, str]]:
    return [(each["role"], each["content"]) for each in manager.get_history(sid)]


def waiting(error: SessionWaiting) -> list[WaitingCall]:
    return [call for call in error.calls if isinstance(call, WaitingCall)]


def parked(manager: SessionManager, text: str = "Refund it.") -> tuple[str, TurnResult]:
    sid = manager.create_or_resume_session("ada")
    result = manager.run(sid, text)
    assert result.waiting
    return sid, result


def test_a_call_that_needs_approval_waits_and_is_run_once_it_is_approved(
    open_manager: Open,
) -> None:
    shop = Shop()
    manager = open_manager(Asking(REFUND), shop.tools)
    sid, result = parked(manager)
    (call,) = result.waiting
    assert (call.name, call.arguments, call.waits_for) == ("refund", {"order": 7}, "approval")
    assert shop.did == []
    assert manager.get_history(sid) == []
    answered = manager.answer(sid, result.turn_id, {call.id: Approve()})
    assert (answered.text, answered.waiting) == ("done", ())
    assert shop.did == ["refund 7"]
    assert told(manager, sid) == [
        ("user", "Refund it."), ("assistant", ""), ("tool", "refunded 7"), ("assistant", "done"),
    ]  # fmt: skip


def test_another_instance_answers_and_finishes_it(open_manager: Open) -> None:
    shop, other = Shop(), Shop()
    first = open_manager(Asking(REFUND, PICK), shop.tools)
    sid, result = parked(first)
    second = open_manager(ScriptedModel(["all done"]), other.tools)
    (listed,) = second.list_waiting("ada")
    assert (listed["session_id"], listed["turn_id"]) == (sid, result.turn_id)
    assert listed["message"] == "Refund it."
    assert [call["id"] for call in listed["calls"]] == ["c1", "c2"]
    half = second.answer(sid, listed["turn_id"], {"c2": "the red one"})
    assert [call.id for call in half.waiting] == ["c1"]
    assert second.turn(sid, result.turn_id).state == "waiting"
    whole = second.answer(sid, listed["turn_id"], {"c1": Approve()})
    assert whole.text == "all done"
    assert (shop.did, other.did) == ([], ["refund 7"])
    assert list(second.list_waiting()) == list(first.list_waiting("ada")) == []
    assert second.turn(sid, result.turn_id).state == "completed"


def test_our_own_calls_of_the_same_reply_run_meanwhile(open_manager: Open) -> None:
    shop = Shop()
    manager = open_manager(Asking(REFUND, LOOK, PICK), shop.tools)
    sid, result = parked(manager)
    assert shop.did == ["look 7"]
    assert [step.role for step in result.steps] == ["assistant", "tool"]
    manager.answer(
        sid, result.turn_id, {"c1": Deny("too old"), "c2": ToolResult("c2", "pick", "A")}
    )
    assert shop.did == ["look 7"]
    tools = {text for role, text in told(manager, sid) if role == "tool"}
    assert tools == {"it is late", "A", "declined: it was not run: too old"}


@pytest.mark.parametrize(("order", "waits"), [(7, False), (700, True)])
@pytest.mark.parametrize("by_name", [True, False])
def test_a_predicate_of_the_arguments_tells_which_calls_need_approval(
    open_manager: Open, order: int, waits: bool, by_name: bool
) -> None:
    needs = (lambda order: order > 100) if by_name else (lambda given: given["order"] > 100)
    shop = Shop(approve=needs)
    manager = open_manager(Asking(ToolCall("c1", "refund", {"order": order})), shop.tools)
    sid = manager.create_or_resume_session()
    assert bool(manager.run(sid, "Refund it.").waiting) is waits
    assert bool(shop.did) is not waits


@pytest.mark.parametrize("idempotent", [True, False])
@pytest.mark.parametrize("waits", [True, False])
def test_a_predicate_is_asked_once_by_who_takes_over_a_turn(
    open_manager: Open, idempotent: bool, waits: bool
) -> None:
    asked: list[int] = []
    tools = ToolRegistry()

    @tools.tool(approve=lambda order: asked.append(order) or waits, idempotent=idempotent)
    def refund(order: int) -> str:
        return f"refunded {order}"

    manager = open_manager(ScriptedModel(["done"]), tools)
    sid = manager.create_or_resume_session()
    turn = manager.store.begin_turn(sid, "Refund it.")
    manager.store.stage_step(turn, [Message("assistant", tool_calls=(REFUND,))])
    manager.store.client.hset(f"metadata:{{{sid}}}", "lease", 1)
    result = manager.agent.resume_turn(sid)
    assert result is not None
    assert (bool(result.waiting), asked) == (waits, [7])


def test_a_predicate_that_fails_asks(open_manager: Open) -> None:
    shop = Shop(approve=lambda order: 1 / 0)
    _, result = parked(open_manager(Asking(REFUND), shop.tools))
    assert [call.name for call in result.waiting] == ["refund"]


def test_a_call_that_does_not_fit_goes_back_to_the_model_and_asks_nobody(
    open_manager: Open,
) -> None:
    shop = Shop()
    wrong = [ToolCall("c1", "refund", {"sum": "all"}), ToolCall("c2", "pick", {})]
    manager = open_manager(Asking(*wrong), shop.tools)
    sid = manager.create_or_resume_session()
    result = manager.run(sid, "Refund it.")
    assert (result.text, result.waiting, shop.did) == ("done", (), [])
    assert all(step.metadata["is_error"] for step in result.steps if step.role == "tool")


def test_a_new_message_meanwhile_is_told_so_and_changes_nothing(open_manager: Open) -> None:
    manager, other = open_manager(Asking(REFUND), Shop().tools), open_manager()
    sid, result = parked(manager)
    for each in (manager, other):
        with pytest.raises(SessionWaiting) as caught:
            each.chat(sid, "Hello?")
        assert caught.value.turn_id == result.turn_id
        assert caught.value.calls == result.waiting
        with pytest.raises(SessionWaiting):
            each.resume_turn(sid)
    assert manager.answer(sid, result.turn_id, {"c1": Approve()}).text == "done"


def test_a_message_that_interrupts_declines_what_waits_and_keeps_what_ran(
    open_manager: Open,
) -> None:
    shop = Shop()
    manager = open_manager(Asking(REFUND, LOOK), shop.tools)
    sid, result = parked(manager)
    other = open_manager(lambda messages: "I see.", on_busy="interrupt")
    assert other.chat(sid, "Never mind.") == "I see."
    assert [text for _, text in told(manager, sid)] == [
        "Refund it.", "", "it is late", "declined: it was not run: the user went on", "",
        "Never mind.", "I see.",
    ]  # fmt: skip
    assert shop.did == ["look 7"]
    assert manager.turn(sid, result.turn_id).state == "interrupted"
    late = manager.answer(sid, result.turn_id, {"c1": Approve()})
    assert late.interrupted
    assert shop.did == ["look 7"]


def test_cancel_ends_a_turn_that_waits(open_manager: Open) -> None:
    shop = Shop()
    manager, other = open_manager(Asking(REFUND), shop.tools), open_manager()
    sid, result = parked(manager)
    assert other.cancel(sid)
    assert manager.turn(sid, result.turn_id).state == "interrupted"
    assert list(other.list_waiting()) == []
    assert not other.cancel(sid)
    assert shop.did == []


def test_of_two_who_answer_the_same_call_the_first_counts_and_both_get_the_result(
    open_manager: Open,
) -> None:
    shop = Shop()
    managers = [open_manager(Asking(REFUND), shop.tools)]
    sid, result = parked(managers[0])
    managers += [open_manager(ScriptedModel(["done"] * 9), shop.tools) for _ in range(3)]
    barrier = threading.Barrier(len(managers))

    def answer(manager: SessionManager) -> TurnResult:
        barrier.wait(LIMIT)
        return manager.answer(sid, result.turn_id, {"c1": Approve()})

    with ThreadPoolExecutor(len(managers)) as pool:
        results = list(pool.map(answer, managers))
    assert {each.text for each in results} == {"done"}
    assert shop.did == ["refund 7"]
    assert len(managers[0].get_history(sid)) == 4


def test_an_answer_whose_turn_others_park_again_meanwhile_tells_what_waits_now(
    open_manager: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop()
    manager, other = (
        open_manager(Asking(REFUND), shop.tools),
        open_manager(Asking(PICK), shop.tools),
    )
    sid, result = parked(manager)
    goes_on_elsewhere(monkeypatch, manager, other, sid)
    parking = manager.store.parts.parking
    look, looks = parking.parked, iter([False])

    def answered_just_now(*args: Any, **given: Any) -> Any:
        """Find it answered; behind that it is parked again."""
        return look(*args, **given) if next(looks, True) else None

    monkeypatch.setattr(parking, "parked", answered_just_now)
    now = manager.answer(sid, result.turn_id, {"c1": Approve()})
    assert [call.name for call in now.waiting] == ["pick"]
    assert shop.did == ["refund 7"]


def test_an_answer_whose_turn_others_go_on_with_meanwhile_waits_for_what_it_comes_to(
    open_manager: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, began, go = Shop(), threading.Event(), threading.Event()

    def slow(messages: list[dict[str, Any]]) -> str:
        began.set()
        assert go.wait(LIMIT)
        return "done"

    manager, other = (
        open_manager(Asking(REFUND), shop.tools),
        open_manager(Asking(PICK), shop.tools),
    )
    third = open_manager(slow, shop.tools)
    sid, result = parked(manager)
    goes_on_elsewhere(monkeypatch, manager, other, sid)
    parking, named = manager.store.parts.parking, manager.agent.turns.named
    look, state = parking.parked, named.state
    with ThreadPoolExecutor(1) as pool:

        def answered_just_now(*args: Any, **given: Any) -> Any:
            if not began.is_set():
                pool.submit(third.answer, sid, result.turn_id, {"c2": "the red one"})
                assert began.wait(LIMIT)
            return look(*args, **given)

        def tell(*args: Any) -> TurnState:
            found = state(*args)
            go.set()
            return found

        monkeypatch.setattr(parking, "parked", answered_just_now)
        monkeypatch.setattr(named, "state", tell)
        assert manager.answer(sid, result.turn_id, {"c1": Approve()}).text == "done"
    assert shop.did == ["refund 7"]


def test_an_answer_is_told_of_its_own_turn_where_another_one_is_abandoned_behind_it(
    open_manager: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop()
    manager = open_manager(Asking(REFUND, after=["another"]), shop.tools)
    other = open_manager(ScriptedModel(["done"]), shop.tools, redis={"lease_ttl": 0.5})
    sid, result = parked(manager)

    def begin_another() -> None:
        other.store.begin_turn(sid, "And then?")

    goes_on_elsewhere(monkeypatch, manager, other, sid, begin_another)
    now = manager.answer(sid, result.turn_id, {"c1": Approve()})
    assert (now.turn_id, now.text) == (result.turn_id, "done")
    assert told(manager, sid)[-2:] == [("user", "And then?"), ("assistant", "another")]


def goes_on_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
    manager: SessionManager,
    other: SessionManager,
    sid: str,
    then: Callable[[], object] = lambda: None,
) -> None:
    """Let the other one go on with the turn that the manager answers, before it can itself."""
    parking = manager.store.parts.parking
    answer = parking.answer

    def and_resume(*args: Any, **given: Any) -> Any:
        found = answer(*args, **given)
        assert other.resume_turn(sid) is not None
        then()
        return found

    monkeypatch.setattr(parking, "answer", and_resume)


def test_an_answer_given_twice_returns_what_the_turn_came_to_however_late(
    open_manager: Open,
) -> None:
    manager = open_manager(Asking(REFUND, after=["done", *["more"] * 70]), Shop().tools)
    sid, result = parked(manager)
    first = manager.answer(sid, result.turn_id, {"c1": Approve()})
    for number in range(70):
        manager.chat(sid, f"And {number}?")
    assert manager.answer(sid, result.turn_id, {"c1": Deny()}) == first


@pytest.mark.parametrize(
    ("turn_id", "answers", "says"),
    [
        (None, {"c9": "text"}, "has no call 'c9' that waits"),
        (None, {"c2": Approve()}, "waits for its result, not for approval"),
        (None, {"c1": 7}, "a call is answered with text"),
        (None, "c1", "answers must be a dict"),
        ("another", {"c1": Approve()}, "does not wait for an answer"),
    ],
)
def test_a_wrong_answer_is_refused_and_loses_nothing(
    open_manager: Open, turn_id: str | None, answers: Any, says: str
) -> None:
    manager = open_manager(Asking(REFUND, PICK), Shop().tools)
    sid, result = parked(manager)
    with pytest.raises(InvalidInput, match=says):
        manager.answer(sid, turn_id or result.turn_id, answers)
    good = {"c1": Approve(), "c2": "red"}
    assert manager.answer(sid, result.turn_id, good).text == "done"


def test_another_user_and_a_session_that_is_gone_are_not_found(open_manager: Open) -> None:
    manager = open_manager(Asking(REFUND), Shop().tools)
    sid, result = parked(manager)
    with pytest.raises(SessionNotFound):
        manager.answer(sid, result.turn_id, {"c1": Approve()}, user_id="eve")
    assert list(manager.list_waiting("eve")) == []
    assert manager.end_session(sid)
    with pytest.raises(SessionNotFound):
        manager.answer(sid, result.turn_id, {"c1": Approve()})
    assert list(manager.list_waiting("ada")) == []


def test_a_history_that_is_cleared_takes_the_turn_along(open_manager: Open) -> None:
    shop = Shop()
    manager = open_manager(Asking(REFUND, after=["hi"]), shop.tools)
    sid, result = parked(manager)
    manager.clear_history(sid)
    with pytest.raises(InvalidInput, match="nothing of it is stored"):
        manager.answer(sid, result.turn_id, {"c1": Approve()})
    assert manager.chat(sid, "Hello.") == "hi"
    assert list(manager.list_waiting()) == []
    assert shop.did == []


def test_a_turn_may_wait_again_and_again_under_one_id_of_a_call(open_manager: Open) -> None:
    shop = Shop()
    again = ToolCall("c1", "refund", {"order": 8})
    after = [[again], [again], [again], [again], [again], "done"]
    manager = open_manager(
        Asking(
            REFUND,
            after=after,
        ),
        shop.tools,
        max_steps=20,
    )
    sid, result = parked(manager)
    for number in range(6):
        assert [call.id for call in result.waiting] == ["c1"], number
        assert len(shop.did) == number
        result = manager.answer(sid, result.turn_id, {"c1": Approve()})
    assert result.text == "done"
    assert shop.did == ["refund 7", *["refund 8"] * 5]


def test_a_tool_that_vanished_or_changed_while_it_waited_is_told_to_the_model(
    open_manager: Open,
) -> None:
    sid, result = parked(open_manager(Asking(REFUND), Shop().tools))
    tools = ToolRegistry()

    @tools.tool
    def refund(order: int, reason: str) -> str:
        """Pay an order back."""
        raise AssertionError("it does not fit")

    changed = open_manager(ScriptedModel(["I cannot."]), tools)
    assert changed.answer(sid, result.turn_id, {"c1": Approve()}).text == "I cannot."
    (text,) = [text for role, text in told(changed, sid) if role == "tool"]
    assert "reason" in text
    sid, result = parked(open_manager(Asking(REFUND), Shop().tools))
    without = open_manager(ScriptedModel(["I cannot."]), ToolRegistry())
    assert without.answer(sid, result.turn_id, {"c1": Approve()}).text == "I cannot."
    (text,) = [text for role, text in told(without, sid) if role == "tool"]
    assert "there is no tool 'refund'" in text


def test_both_halves_are_counted_once_and_the_limits_see_one_request(open_manager: Open) -> None:
    manager = open_manager(
        Asking(REFUND),
        Shop().tools,
        rate_limits=[RateLimit(requests=1, window=3600.0, per="session")],
    )
    sid, result = parked(manager)
    assert manager.usage(session_id=sid).turns == 0
    manager.answer(sid, result.turn_id, {"c1": Approve()})
    usage = manager.usage(session_id=sid)
    assert (usage.turns, usage.tool_calls) == (1, 1)


def test_the_tool_knows_for_whom_it_runs_after_the_wait(open_manager: Open) -> None:
    seen: list[ToolContext] = []
    tools = ToolRegistry()

    @tools.tool(approve=True)
    def refund(order: int, context: ToolContext) -> str:
        """Pay an order back."""
        seen.append(context)
        return "ok"

    sid, result = parked(open_manager(Asking(REFUND), tools))
    open_manager(ScriptedModel(["done"]), tools).answer(sid, result.turn_id, {"c1": Approve()})
    (context,) = seen
    assert (context.session_id, context.user_id) == (sid, "ada")
    assert (context.turn_id, context.call_id) == (result.turn_id, "c1")


def test_watchers_are_told_the_same_as_who_streams(open_manager: Open) -> None:
    manager = open_manager(Asking(REFUND, LOOK), Shop().tools)
    sid = manager.create_or_resume_session("ada")
    live = list(manager.stream(sid, "Refund it."))
    stored = [event for event in manager.store.read_events(sid) if event.turn_id]
    assert [(e.type, e.data) for e in live] == [(e.type, e.data) for e in stored]
    assert live[-1].type is EventType.TURN_WAITING
    assert [e.id for e in live] == [e.id for e in stored]
    (call,) = live[-1].data["calls"]
    assert (call["id"], call["waits_for"]) == ("c1", "approval")


def test_with_the_last_answer_it_goes_on_by_itself(open_manager: Open) -> None:
    manager = open_manager(Asking(REFUND), Shop().tools)
    sid, result = parked(manager)
    manager.agent.background.stop(LIMIT)  # which would find it abandoned, later
    turns = manager.agent.turns
    _, cursor = turns.answer_soon(sid, result.turn_id, {"c1": Approve()}, None)
    watched = manager.watch(sid, after=cursor, turn_id=result.turn_id, timeout=LIMIT)
    assert [event.type for event in watched][-1:] == [EventType.AGENT_RESPONSE]


def test_a_repetition_under_the_same_id_finds_the_turn_waiting(open_manager: Open) -> None:
    shop = Shop()
    manager, other = open_manager(Asking(REFUND), shop.tools), open_manager()
    sid = manager.create_or_resume_session("ada")
    first = manager.run(sid, "Refund it.", turn_id="job-1")
    for each in (manager, other):
        again = each.run(sid, "Refund it.", turn_id="job-1")
        assert (again.waiting, again.steps, again.turn_id) == (first.waiting, first.steps, "job-1")
        assert each.agent.submit(sid, "Refund it.", turn_id="job-1").result(LIMIT).waiting
        with pytest.raises(InvalidInput, match="job-1"):
            each.run(sid, "Something else.", turn_id="job-1")
    done = manager.answer(sid, "job-1", {"c1": Approve()})
    assert other.run(sid, "Refund it.", turn_id="job-1") == done
    assert shop.did == ["refund 7"]


def test_a_chat_cannot_tell_that_it_waits_so_it_raises(open_manager: Open) -> None:
    manager = open_manager(Asking(REFUND), Shop().tools)
    sid = manager.create_or_resume_session("ada")
    with pytest.raises(SessionWaiting) as caught:
        manager.chat(sid, "Refund it.")
    assert [call.name for call in waiting(caught.value)] == ["refund"]
    assert manager.answer(sid, caught.value.turn_id, {"c1": Approve()}).text == "done"


def test_many_wait_and_are_listed_in_pages_newest_first(open_manager: Open) -> None:
    shop = Shop()
    sids = [parked(open_manager(Asking(REFUND), shop.tools))[0] for _ in range(7)]
    manager = open_manager()
    found: list[str] = []
    cursor = None
    while True:
        page = manager.list_waiting("ada", limit=3, cursor=cursor)
        found += [each["session_id"] for each in page]
        cursor = page.cursor
        if cursor is None:
            break
    assert sorted(found) == sorted(sids)
    assert {each["session_id"] for each in manager.list_waiting()} == set(sids)


def test_messages_with_content_parts_wait_too(open_manager: Open) -> None:
    manager = open_manager(Asking(REFUND), Shop().tools)
    sid = manager.create_or_resume_session("ada")
    message = Message("user", [{"type": "text", "text": "Refund it."}])
    assert manager.run(sid, message).waiting
    assert manager.list_waiting()[0]["message"] == "Refund it."


def test_options_of_the_turn_can_be_given_with_the_answer_too(open_manager: Open) -> None:
    model = ScriptedModel([PICK, "done"])
    manager = open_manager(model)
    theirs = ToolRegistry()
    theirs.declare("pick", "Let the customer pick something.", ORDER)
    sid = manager.create_or_resume_session()
    turn_id, _ = manager.start(sid, "x", instructions="Be brief.", tools=theirs)
    assert [event.type for event in manager.watch(sid, turn_id=turn_id, timeout=1)][-1] == (
        EventType.TURN_WAITING
    )
    given = {"instructions": "Be kind.", "tools": theirs, "params": {"temperature": 0}}
    assert manager.answer(sid, turn_id, {"c2": "a hat"}, **given).text == "done"
    assert [request.system for request in model.requests] == ["Be brief.", "Be kind."]
    assert [tool.name for tool in model.requests[1].tools] == ["pick"]
    assert model.requests[1].params["temperature"] == 0


def test_results_that_were_given_or_approved_are_marked_as_such(open_manager: Open) -> None:
    shop = Shop()
    manager = open_manager(Asking(REFUND, PICK, LOOK), shop.tools)
    sid = manager.create_or_resume_session()
    turn_id = manager.run(sid, "x").turn_id
    manager.answer(sid, turn_id, {"c1": Approve(), "c2": "a hat"})
    marks = {
        each["tool_call_id"]: each.get("metadata", {}).get("answered")
        for each in manager.get_history(sid)
        if each["role"] == "tool"
    }
    assert marks == {"c1": {"waits_for": "approval"}, "c2": {"waits_for": "result"}, "c3": None}


@pytest.mark.parametrize(
    ("answer", "is_error"),
    [
        ("a hat", False),
        (ToolResult("c2", "pick", "a hat"), False),
        (ToolResult("c2", "pick", "no hats", is_error=True), True),
        (Deny("no hats"), True),
    ],
)
def test_a_result_that_was_given_tells_whether_it_is_an_error(
    open_manager: Open, answer: Any, is_error: bool
) -> None:
    manager = open_manager(Asking(PICK), Shop().tools)
    sid, parked_turn = parked(manager)
    manager.answer(sid, parked_turn.turn_id, {"c2": answer})
    (result,) = (each for each in manager.get_history(sid) if each["role"] == "tool")
    assert result["metadata"].get("is_error", False) is is_error
