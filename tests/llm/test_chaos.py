"""Every way to fail, by every vendor's SDK and every kind of server, while a tool pays.

Whatever becomes of an answer: the question and what was done are stored, nothing is paid twice, no
request is sent again that may have been worked on, and the error tells its kind. Then it goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from attrs import frozen

from miniagent_redis import AgentConfig, RedisConfig, SessionAgent, SessionManager, ToolRegistry
from miniagent_redis.errors import IncompleteResponse, ModelError
from tests.support.canned_server import CannedServer, encode
from tests.support.dialects import DIALECTS, Dialect, Said

CALL = Said("I pay.", "It is due.", (("c", "pay", {"amount": 5}),))
ANSWER = Said("It is paid.", "Done.")
HELLO = Said("I am here.")


class Scene:
    """One agent with a tool that pays, and its session."""

    def __init__(self, manager: SessionManager, canned: CannedServer, dialect: Dialect) -> None:
        self.manager, self.canned, self.dialect = manager, canned, dialect
        self.paid = 0
        self.session_id = ""

    def begin(self) -> None:
        """Begin a session, with nothing asked and nothing paid."""
        self.canned.replies.clear()
        self.canned.bodies.clear()
        self.paid = 0
        self.session_id = self.manager.create_or_resume_session()

    def add(self, said: Said) -> None:
        self.canned.add(*self.dialect.pieces(said))

    def say(self, text: str, by: str) -> ModelError | None:
        """Have a turn; return the error that ends it."""
        try:
            if by == "chat":
                self.manager.chat(self.session_id, text)
            else:
                list(self.manager.stream(self.session_id, text))
        except ModelError as error:
            return error
        return None

    def roles(self) -> list[str]:
        return [message["role"] for message in self.manager.get_history(self.session_id)]

    def goes_on(self, by: str) -> None:
        """Check that the next turn is like any other, and pays nothing."""
        paid, before = self.paid, self.roles()
        self.canned.replies.clear()
        self.add(HELLO)
        assert self.say("Hello?", by) is None
        assert self.paid == paid
        history = self.manager.get_history(self.session_id)
        assert [message["content"] for message in history[-2:]] == ["Hello?", HELLO.text]
        assert self.roles() == [*before, "user", "assistant"]


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    return DIALECTS[request.param]


@pytest.fixture
def scene(dialect: Dialect, canned: CannedServer, redis_url: str) -> Iterator[Scene]:
    registry = ToolRegistry()

    @registry.tool(idempotent=False)
    def pay(amount: int) -> str:
        """Pay an amount."""
        scene.paid += 1
        return f"paid {amount}"

    config = AgentConfig(model=dialect.connect(canned.url), first_timeout=30, model_timeout=0.4)
    with SessionAgent(config, registry, redis_config=RedisConfig(url=redis_url)) as agent:
        scene = Scene(SessionManager(agent), canned, dialect)
        yield scene


def cuts(events: list[Any]) -> Iterator[list[Any]]:
    """Yield each beginning of a reply: up to each of its events, and to the middle of each."""
    for count in range(len(events)):
        yield events[:count]
        event = encode(events[count])
        yield [*events[:count], event[: len(event) // 2]]


@pytest.mark.parametrize("by", ["chat", "stream"])
def test_a_call_that_broke_off_anywhere_is_not_run(scene: Scene, by: str) -> None:
    broken = 0
    for cut in cuts(scene.dialect.pieces(CALL)):
        scene.begin()
        scene.canned.add(*cut)
        scene.add(ANSWER)
        error = scene.say("Pay!", by)
        if error is None:  # what is missing says nothing more
            assert scene.paid == 1
            assert scene.roles() == ["user", "assistant", "tool", "assistant"]
            continue
        broken += 1
        assert (scene.paid, len(scene.canned.bodies)) == (0, 1), cut
        assert error.kind in ("bad_reply", "connection"), (error.kind, cut)
        stored = ["user", "assistant"] if error_text(error) else []
        assert scene.roles() == stored, cut
        scene.goes_on(by)
    assert broken > 5


def error_text(error: ModelError) -> str:
    return error.text if isinstance(error, IncompleteResponse) else ""


@pytest.mark.parametrize("by", ["chat", "stream"])
def test_what_was_paid_is_stored_wherever_the_answer_breaks_off(scene: Scene, by: str) -> None:
    broken = 0
    for cut in cuts(scene.dialect.pieces(ANSWER)):
        scene.begin()
        scene.add(CALL)
        scene.canned.add(*cut)
        error = scene.say("Pay!", by)
        assert (scene.paid, len(scene.canned.bodies)) == (1, 2), cut
        assert scene.roles() == ["user", "assistant", "tool", "assistant"], cut
        if error is None:
            continue
        broken += 1
        assert error.steps, cut
        last = scene.manager.get_history(scene.session_id)[-1]
        assert last["metadata"]["interrupted"] == "incomplete", cut
        assert ANSWER.text.startswith(last["content"]), cut
        scene.goes_on(by)
    assert broken > 3


@frozen
class Fault:
    """How the second request of a turn fails, and what is told of it."""

    add: Callable[[Scene], None]
    kind: str
    status: int | None = None
    requests: int = 1
    retry_after: float | None = None
    text: str = ""


def refused(status: int, *, times: int = 1, **headers: str) -> Callable[[Scene], None]:
    def add(scene: Scene) -> None:
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        error = {"message": "No.", "code": status if scene.dialect.is_google else None}
        for _ in range(times):
            scene.canned.add({"error": error}, status=status, told=told)

    return add


def sent(*events: Any) -> Callable[[Scene], None]:
    return lambda scene: scene.canned.add(*events)


def silent(scene: Scene) -> None:
    """Send all but the end of an answer, and then nothing."""
    events = scene.dialect.pieces(HELLO)
    count = next(n for n, event in enumerate(events) if "I am " in str(event))
    scene.canned.add(*events[: count + 1], None)


FAULTS = {
    "a failure that lasts": Fault(
        refused(500, times=3, retry_after_ms="1"), "overloaded", 500, 3, retry_after=0.001
    ),
    "a gateway that gave up": Fault(refused(502), "overloaded", 502),
    "too many requests": Fault(
        refused(429, times=3, retry_after_ms="1"), "rate_limit", 429, 3, retry_after=0.001
    ),
    "too many for an hour": Fault(
        refused(429, retry_after="3600"), "rate_limit", 429, retry_after=3600.0
    ),
    "a key that is refused": Fault(refused(401), "auth", 401),
    "no such model": Fault(refused(404), "not_found", 404),
    "malformed JSON": Fault(sent(b'data: {"choices": [{"del\n\ndata: {}\n\n'), "bad_reply"),
    "nothing at all": Fault(sent(), "bad_reply"),
    "a page": Fault(sent(b"<html>Welcome!</html>"), "not_found"),
    "silence between pieces": Fault(silent, "timeout", text="I am "),
}


@pytest.mark.parametrize("by", ["chat", "stream"])
def test_a_failure_behind_a_payment_is_told_and_stored_with_it(scene: Scene, by: str) -> None:
    for name, fault in FAULTS.items():
        scene.begin()
        scene.add(CALL)
        fault.add(scene)
        error = scene.say("Pay!", by)
        assert error is not None, name
        assert (error.kind, error.status) == (fault.kind, fault.status), name
        assert (error.retry_after, error_text(error)) == (fault.retry_after, fault.text), name
        is_asked_once = scene.dialect.is_google and fault.status == 429
        requests = 1 if is_asked_once else fault.requests
        assert len(scene.canned.bodies) == 1 + requests, f"{name}: none is paid for twice"
        assert scene.paid == 1, name
        assert scene.roles() == ["user", "assistant", "tool", "assistant"], name
        last = scene.manager.get_history(scene.session_id)[-1]
        assert (last["content"], last["metadata"]["interrupted"]) == (fault.text, "incomplete")
        scene.goes_on(by)


@pytest.mark.parametrize("by", ["chat", "stream"])
def test_a_server_that_hangs_up_is_not_asked_twice(scene: Scene, by: str) -> None:
    scene.begin()
    scene.canned.breaks_off = 1
    error = scene.say("Pay!", by)
    assert error is not None
    assert (error.kind, error.status, len(scene.canned.bodies)) == ("connection", None, 1)
    scene.goes_on(by)


@pytest.mark.parametrize("by", ["chat", "stream"])
def test_an_answer_that_says_nothing_is_an_error_only_if_nothing_was_done(
    scene: Scene, by: str
) -> None:
    scene.begin()
    scene.add(Said())
    error = scene.say("Hello?", by)
    assert error is not None
    assert error.kind == "bad_reply"
    assert scene.roles() == []
    scene.begin()
    scene.add(CALL)
    scene.add(Said())
    assert scene.say("Pay!", by) is None
    assert (scene.paid, scene.roles()) == (1, ["user", "assistant", "tool", "assistant"])
    scene.goes_on(by)
