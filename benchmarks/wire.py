"""What a whole turn costs on the wire: round trips and bytes, counted by a proxy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import median

from miniagent_redis import AgentConfig, SessionAgent, SessionManager, ToolCall, ToolRegistry
from miniagent_redis.llm import ScriptedModel
from tests.support.proxy import Proxy, Traffic

from .bench import ANSWER, QUESTION, Bench, config
from .table import Row

_TIMES = 5  # the background thread speaks now and then as well: the median is without it
_CALL = ToolCall("1", "weekday")
_LENGTH = 10_000


def _chat(manager: SessionManager, session_id: str) -> None:
    manager.chat(session_id, QUESTION)


def _stream(manager: SessionManager, session_id: str) -> None:
    for _ in manager.stream(session_id, QUESTION):
        pass


def rows(bench: Bench) -> Iterator[Row]:
    """Count turns of SessionManager with a model that answers at once."""
    for number in range(_TIMES + 1):
        bench.create_session(f"wire-{number}")
    bench.create_session("wire-long", _LENGTH)
    with Proxy(bench.server.socket) as proxy:
        new = [f"wire-{number}" for number in range(_TIMES + 1)]
        short = _count(proxy, new, [ANSWER])
        yield _trips("a turn without tools, from SessionManager.chat", short, "2")
        yield _trips("the same, streamed", _count(proxy, new, [ANSWER], _stream), "2")
        yield _trips("the same, with one tool call", _count(proxy, new, [_CALL, ANSWER]))
        yield _bytes("the first turn of a session", short)
        long = _count(proxy, ["wire-long"] * (_TIMES + 1), [ANSWER])
        yield _bytes(f"a turn after {_LENGTH:,} messages", long)


def _count(
    proxy: Proxy,
    sessions: list[str],
    replies: list[str | ToolCall],
    talk: Callable[[SessionManager, str], None] = _chat,
) -> Traffic:
    """Return the median traffic of one turn; the first, which connects, does not count."""
    tools = ToolRegistry()

    @tools.tool()
    def weekday() -> str:
        """Tell the day of the week."""
        return "Tuesday"

    model = ScriptedModel(replies * len(sessions))
    counted = []
    with SessionAgent(AgentConfig(model=model), tools, redis_config=config(proxy.url)) as agent:
        manager = SessionManager(agent)
        for session_id in sessions:
            proxy.take()
            talk(manager, session_id)
            counted.append(proxy.take())
    return Traffic(
        round_trips=round(median(one.round_trips for one in counted[1:])),
        sent=round(median(one.sent for one in counted[1:])),
        received=round(median(one.received for one in counted[1:])),
    )


def _trips(label: str, traffic: Traffic, target: str = "") -> Row:
    return Row(f"round trips of {label}", str(traffic.round_trips), target=target)


def _bytes(label: str, traffic: Traffic) -> Row:
    both = traffic.sent + traffic.received
    return Row(
        f"bytes of {label}: sent + received",
        f"{traffic.sent:,} + {traffic.received:,} = {both:,}",
    )
