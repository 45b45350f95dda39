"""Redis goes away in the middle of a turn: what its tools did is carried along, and never lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from miniagent_redis import (
    AgentConfig,
    EventType,
    MiniAgentError,
    RedisConfig,
    SessionAgent,
    SessionManager,
    StoreUnavailable,
    ToolCall,
    ToolRegistry,
    TurnNotSaved,
    TurnSuperseded,
    TurnUncertain,
)
from miniagent_redis.llm import Finish, ModelEvent, ModelRequest, TextDelta
from tests.support.proxy import Proxy
from tests.support.scripts import load_scripts
from tests.support.servers import RedisServer
from tests.support.waiting import until

FOR_EVER = 1_000_000
PAY = ToolCall("p1", "pay", {"order": 7})
ALSO = ToolCall("p2", "pay", {"order": 8})
WHOLE = ["Pay", "", "order 7 is paid", "It is paid."]
Act = Callable[[], object]


class Bank:
    """A program that pays, and whose Redis goes away when a tool runs; ``then`` may bring it back.

    ``replies`` are the model's: calls, text, or what is done in front of the next one.
    """

    def __init__(self, url: str, spool: Path | None, replies: list[Any], away: Act) -> None:
        self.paid: list[int] = []
        self.replies = iter(replies)
        self.asked: list[list[str]] = []
        self._away = away
        tools = ToolRegistry()
        tools.add(self.pay, idempotent=False)
        settings: dict[str, Any] = {"spool_dir": str(spool)} if spool else {}
        self.agent = SessionAgent(
            AgentConfig(model=self, on_busy="wait"),
            tools,
            redis_config=RedisConfig(url=url, commit_timeout=0.3, **settings),
        )
        self.manager = SessionManager(self.agent)

    def pay(self, order: int) -> str:
        self.paid.append(order)
        if len(self.paid) == 1:
            self._away()
        return f"order {order} is paid"

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        self.asked.append([message.text for message in request.messages])
        reply = next(self.replies)
        while callable(reply):
            reply()
            reply = next(self.replies)
        for piece in reply if isinstance(reply, list) else [reply]:
            yield TextDelta(piece) if isinstance(piece, str) else piece
        yield Finish()

    def said(self, session_id: str = "s") -> list[str]:
        return [message["content"] for message in self.manager.get_history(session_id)]


class Scene:
    """A server, a network in front of it that may fail, and programs behind that."""

    def __init__(self, server: RedisServer, stack: ExitStack) -> None:
        self.server = server
        load_scripts(server.socket)
        self.proxy = stack.enter_context(Proxy(server.socket))
        self._stack = stack
        self.is_refusing = False

    def open(
        self, *replies: Any, spool: Path | None = None, away: str = "refuse", direct: bool = False
    ) -> Bank:
        url = self.server.url if direct else self.proxy.url
        bank = Bank(url, spool, list(replies), getattr(self, away))
        self._stack.enter_context(bank.agent)
        bank.manager.create_or_resume_session(session_id="s")
        return bank

    def refuse(self) -> None:
        self.is_refusing = True
        self.proxy.refuse()
        self.proxy.cut()

    def unanswered(self) -> None:
        self.proxy.lose_replies(FOR_EVER)

    def killed(self) -> None:
        self.server.kill()

    def back(self) -> None:
        if not self.server.is_running:
            self.server.start()
            load_scripts(self.server.socket)
        self.proxy.lose_replies(0)
        if self.is_refusing:
            self.proxy.listen()
            self.is_refusing = False


@pytest.fixture
def scene(server: RedisServer) -> Iterator[Scene]:
    with ExitStack() as stack:
        opened = Scene(server, stack)
        yield opened
        opened.back()


AWAYS = ["refuse", "unanswered", "killed"]


@pytest.mark.parametrize("away", AWAYS)
def test_what_a_tool_gave_goes_in_with_the_answer(scene: Scene, away: str) -> None:
    bank = scene.open(PAY, scene.back, "It is paid.", "Yes.", away=away)
    assert bank.manager.chat("s", "Pay") == "It is paid."
    assert bank.said() == WHOLE
    assert bank.manager.chat("s", "Sure?") == "Yes."
    assert bank.paid == [7]
    heard = [event.type for event in bank.manager.watch("s", "", 0.05)]
    assert heard.count(EventType.TOOL_RESULT) == 1


@pytest.mark.parametrize("away", AWAYS)
def test_what_a_tool_gave_goes_in_with_the_next_step(scene: Scene, away: str) -> None:
    bank = scene.open(PAY, scene.back, ALSO, "Both are paid.", away=away)
    assert bank.manager.chat("s", "Pay") == "Both are paid."
    assert bank.said() == ["Pay", "", "order 7 is paid", "", "order 8 is paid", "Both are paid."]
    assert bank.paid == [7, 8]


def test_what_several_tools_gave_is_carried(scene: Scene) -> None:
    bank = scene.open([PAY, ALSO], scene.back, "Both are paid.")
    assert bank.manager.chat("s", "Pay") == "Both are paid."
    assert sorted(bank.said()[2:4]) == ["order 7 is paid", "order 8 is paid"]
    assert sorted(bank.paid) == [7, 8]


@pytest.mark.parametrize("away", AWAYS)
def test_it_waits_in_the_spool_with_its_turn(scene: Scene, away: str, tmp_path: Path) -> None:
    bank = scene.open(PAY, "It is paid.", "Yes.", away=away, spool=tmp_path / "spool")
    result = bank.manager.run("s", "Pay")
    assert (result.text, result.persisted) == ("It is paid.", False)
    scene.back()
    until(bank.agent.store.health_check)
    assert bank.manager.chat("s", "Sure?") == "Yes."
    assert bank.said() == [*WHOLE, "Sure?", "Yes."]
    assert bank.paid == [7]
    assert bank.manager.usage(session_id="s").tool_calls == 1


@pytest.mark.parametrize("away", AWAYS)
def test_without_a_spool_the_error_has_it_and_it_is_stored_once_redis_is_back(
    scene: Scene, away: str
) -> None:
    bank = scene.open(PAY, "It is paid.", "Yes.", away=away)
    with pytest.raises(MiniAgentError) as caught:
        bank.manager.chat("s", "Pay")
    assert isinstance(caught.value, TurnNotSaved) or away == "unanswered"
    assert caught.value.text == "It is paid."
    assert [step.text for step in caught.value.steps] == WHOLE[1:]  # type: ignore[attr-defined]
    assert "do not send the message again" in caught.value.hint
    scene.back()
    until(bank.agent.store.health_check)
    assert bank.manager.chat("s", "Sure?") == "Yes."
    assert bank.said() == [*WHOLE, "Sure?", "Yes."]
    assert bank.paid == [7]
    spent = bank.manager.usage(session_id="s")
    assert (spent.turns, spent.failed_turns, spent.tool_calls) == (2, 0, 1)


def test_the_background_thread_stores_it_too(scene: Scene) -> None:
    bank = scene.open(PAY, "It is paid.")
    with pytest.raises(TurnNotSaved):
        bank.manager.chat("s", "Pay")
    scene.back()
    until(lambda: bank.agent.store.health_check() and bank.said() == WHOLE)
    assert bank.agent.store.session_state("s").open_turn is None


@pytest.mark.parametrize("has_spool", [True, False])
def test_a_call_that_could_not_be_staged_is_not_run(
    scene: Scene, tmp_path: Path, has_spool: bool
) -> None:
    spool = tmp_path / "spool" if has_spool else None
    bank = scene.open(PAY, ["And now", ALSO], "One is paid.", spool=spool)
    with pytest.raises(StoreUnavailable if has_spool else TurnNotSaved) as caught:
        bank.manager.chat("s", "Pay")
    assert "order 7 is paid" in [step.text for step in caught.value.steps]  # type: ignore[attr-defined]
    scene.back()
    until(bank.agent.store.health_check)
    assert bank.manager.chat("s", "Well?") == "One is paid."
    assert bank.paid == [7]
    said = bank.asked[-1]
    assert said[:4] == ["Pay", "", "order 7 is paid", "And now"]
    assert said[4].startswith("no result")
    assert said[-1] == "Well?"


def test_a_turn_that_cannot_be_parked_keeps_what_its_tools_gave(scene: Scene) -> None:
    bank = scene.open([PAY, ToolCall("l1", "locate", {})], "It is paid.")
    bank.agent.agent.tools.declare("locate", "Ask the phone.", {"type": "object"})
    with pytest.raises(TurnNotSaved):
        bank.manager.chat("s", "Pay")
    scene.back()
    until(bank.agent.store.health_check)
    assert bank.manager.chat("s", "Well?") == "It is paid."
    assert bank.asked[-1][2] == "order 7 is paid"
    assert bank.asked[-1][3].startswith("no result")
    assert bank.paid == [7]


@pytest.mark.parametrize("has_spool", [True, False])
def test_nothing_is_doubled_if_another_holder_went_on_with_the_turn(
    scene: Scene, tmp_path: Path, has_spool: bool
) -> None:
    spool = tmp_path / "spool" if has_spool else None
    bank = scene.open(PAY, "It is paid.", spool=spool)
    if has_spool:
        assert bank.manager.run("s", "Pay").persisted is False
    else:
        with pytest.raises(TurnNotSaved):
            bank.manager.chat("s", "Pay")
    other = scene.open("I cannot tell.", "Hello.", direct=True)
    other.agent.store.client.hset("metadata:{s}", "lease", 1)
    assert other.manager.chat("s", "Hello?") == "Hello."
    scene.back()
    until(bank.agent.store.health_check)
    bank.agent.background.run_all()
    assert other.said()[3:] == ["I cannot tell.", "Hello?", "Hello."]
    assert other.said()[2].startswith("outcome unknown")
    assert (bank.paid, other.paid) == ([7], [])


def test_a_holder_who_comes_too_late_is_told_so_with_what_it_did(scene: Scene) -> None:
    def take_over() -> None:
        other.agent.store.client.hset("metadata:{s}", "lease", 1)
        other.manager.resume_turn("s")
        scene.back()

    other = scene.open("I cannot tell.", direct=True)
    bank = scene.open(PAY, take_over, "It is paid.")
    with pytest.raises(TurnSuperseded) as caught:
        bank.manager.chat("s", "Pay")
    assert [step.text for step in caught.value.steps][:2] == WHOLE[1:3]  # type: ignore[attr-defined]
    assert other.said()[-1] == "I cannot tell."
    assert (bank.paid, other.paid) == ([7], [])


@pytest.mark.parametrize("has_spool", [True, False])
def test_who_interrupts_it_meanwhile_loses_nothing(
    scene: Scene, tmp_path: Path, has_spool: bool
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    spool = tmp_path / "spool" if has_spool else None
    bank = scene.open(PAY, interrupt, "It is paid.", spool=spool)
    with pytest.raises(KeyboardInterrupt):
        bank.manager.chat("s", "Pay")
    scene.back()
    until(bank.agent.store.health_check)
    assert bank.manager.chat("s", "Is it paid?") == "It is paid."
    assert bank.asked[-1] == ["Pay", "", "order 7 is paid", "[interrupted]", "Is it paid?"]
    assert bank.paid == [7]


def test_a_named_turn_is_found_again_by_its_repetition(scene: Scene) -> None:
    bank = scene.open(PAY, "It is paid.")
    with pytest.raises(TurnNotSaved):
        bank.manager.run("s", "Pay", turn_id="job-1")
    scene.back()
    until(bank.agent.store.health_check)
    assert bank.manager.run("s", "Pay", turn_id="job-1").text == "It is paid."
    assert bank.said() == WHOLE
    assert bank.paid == [7]


def test_a_turn_in_which_no_tool_ran_is_dropped_as_its_error_says(scene: Scene) -> None:
    bank = scene.open(scene.refuse, "Hello.", "Hello again.")
    with pytest.raises((TurnNotSaved, TurnUncertain), match="send the message again") as caught:
        bank.manager.chat("s", "Hello?")
    assert "do not send" not in caught.value.hint
    scene.back()
    until(bank.agent.store.health_check)
    assert bank.manager.chat("s", "Hello?") == "Hello again."
    assert bank.said() == ["Hello?", "Hello again."]
