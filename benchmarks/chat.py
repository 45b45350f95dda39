"""A whole chat without tools, on top of its two writes, and at two lengths of thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from statistics import median

from miniagent_redis import AgentConfig, SessionAgent, SessionManager
from miniagent_redis.llm import Finish, ModelEvent, ModelRequest, TextDelta, Usage

from .bench import ANSWER, QUESTION, Bench, config
from .measure import Run, Trial, alternate, ratio
from .table import Row, duration

Chat = Callable[[str, str], str]
SHORT, LONG = 100, 10_000


class _AtOnce:
    """Gives the usual answer and does not look at what it is asked."""

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        yield TextDelta(ANSWER)
        yield Usage(60, 80)
        yield Finish()


def rows(bench: Bench) -> Iterator[Row]:
    """Measure chats with a model that costs nothing, and turns that are only written."""
    settings = AgentConfig(model=_AtOnce())
    with SessionAgent(settings, redis_config=config(bench.server.url)) as agent:
        chat = SessionManager(agent).chat
        turns = bench.times(20, 2)
        trials: dict[str, Trial] = {
            "alone": partial(bench.turns, "chat-alone", turns),
            "chat": partial(_chats, bench, chat, turns),
        }
        lengths = {str(length): length for length in (SHORT, LONG)}
        for name, length in lengths.items():
            bench.create_session(f"chat-{length}", length)
            chat(f"chat-{length}", QUESTION)  # loads the thread
            trials[name] = partial(_more_chats, chat, turns, length)
        taken = alternate(trials, bench.times(60, 2))
    yield Row(
        "chat, a model that answers at once; raw: begin + commit alone",
        duration(median(taken["chat"]) / turns),
        duration(median(taken["alone"]) / turns),
        ratio(taken["chat"], taken["alone"]),
    )
    yield Row(
        f"the chat at {LONG:,} messages, over the chat at {SHORT}",
        f"{ratio(taken[str(LONG)], taken[str(SHORT)]):.2f}",
        target="1.3",
    )


def _chats(bench: Bench, chat: Chat, turns: int) -> Run:
    bench.store.delete_session("chat")
    bench.create_session("chat")
    return partial(_repeat, chat, "chat", turns)


def _more_chats(chat: Chat, turns: int, length: int) -> Run:
    return partial(_repeat, chat, f"chat-{length}", turns)


def _repeat(chat: Chat, session_id: str, turns: int) -> None:
    for _ in range(turns):
        chat(session_id, QUESTION)
