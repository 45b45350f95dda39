"""A conversation of hundreds of turns with a real small model on loopback, and its figures.

The window is small and what leaves it is summed up by the same model. Any error, and any warning
of ours, counts; so does how much of each request the one before began with.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import mean, median

from attrs import define, field

from miniagent_redis import AgentConfig, RedisConfig, SessionAgent, SessionManager, TurnResult
from miniagent_redis.errors import MiniAgentError
from miniagent_redis.llm import Model, ModelEvent, ModelRequest
from miniagent_redis.llm.openai import OpenAIModel
from tests.support.servers import RedisServer

WINDOW = 1_500  # tokens
LEAST_SHARE = 0.85
_ANSWER, _SUMMARY = 12, 60  # tokens, at most
_FIRST = 300.0  # seconds until an answer begins, on a machine that has much else to do
_THINGS = "a lamp", "the tide", "bread", "a violin", "rust", "the moon", "glass", "a bee", "salt"
_ASKED = "How is it made", "What is it good for", "Who knows most of it", "Where is it found"


@define
class Recorder:
    """A model, and the messages of each request to it."""

    model: OpenAIModel
    requests: list[list[str]] = field(factory=list)

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        told = [f"{message.role}: {message.text}" for message in request.messages]
        self.requests.append(told)
        return self.model.stream(request)


@define
class Figures:
    """What was seen of a conversation."""

    errors: list[str] = field(factory=list)
    seconds: list[float] = field(factory=list)
    requests: list[list[str]] = field(factory=list)
    sizes: list[int] = field(factory=list)
    cached: list[int] = field(factory=list)
    summaries: int = 0
    stored: int = 0

    @property
    def full(self) -> int:
        """The number of the first request that left something out."""
        first = self.requests[0][0]
        return next(
            (n for n, told in enumerate(self.requests) if told[0] != first), len(self.sizes)
        )

    def note(self, number: int, turn: Callable[[], TurnResult]) -> None:
        """Have a turn, and note how it went."""
        begun = time.perf_counter()
        try:
            result = turn()
        except MiniAgentError as exc:
            self.errors.append(f"turn {number}: {exc}")
            return
        self.seconds.append(time.perf_counter() - begun)
        self.sizes.append(result.usage.input_tokens)
        self.cached.append(result.usage.cached_tokens)
        if (number + 1) % 10 == 0:
            print(f"{number + 1} turns ...", file=sys.stderr)

    def share(self) -> float:
        """Return how much of each request, with a full window, the one before began with."""
        told = self.requests[max(self.full - 1, 0) :]
        pairs = list(pairwise(told)) or list(pairwise(self.requests))
        return mean(_same(before, now) / len(now) for before, now in pairs)

    def table(self) -> str:
        """Return them as a table of Markdown."""
        full = self.full
        late = self.seconds[full:] or self.seconds
        of_cache = sum(self.cached[full:]) / (sum(self.sizes[full:]) or 1)
        rows = {
            "turns; with a full window": f"{len(self.seconds)}; {len(self.seconds) - full}",
            "errors and warnings": str(len(self.errors)),
            "messages stored; summaries among them": f"{self.stored:,}; {self.summaries}",
            f"longest request, of {WINDOW:,} tokens": f"{max(self.sizes, default=0):,} tokens",
            "messages that the request before began with": f"{self.share():.1%}",
            "tokens that the server had in its cache": f"{of_cache:.1%}",
            "seconds a turn, full window: median": f"{median(late):.2f}",
            "mean; longest": f"{mean(late):.2f}; {max(late):.1f}",
            "seconds a turn before that: median": f"{median(self.seconds[:full] or late):.2f}",
        }
        lines = [f"| {name} | {value} |" for name, value in rows.items()]
        return "\n".join(["| measured | |", "|---|--:|", *lines])


def _same(one: list[str], other: list[str]) -> int:
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))


class _Warnings(logging.Handler):
    def __init__(self, told: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._told = told

    def emit(self, record: logging.LogRecord) -> None:
        self._told.append(record.getMessage())


@contextmanager
def llama() -> Iterator[str]:
    """Yield the address of a server with the small model; it ends with this program."""
    program = Path(__file__).with_name("llama_server.py")
    with subprocess.Popen(
        [sys.executable, str(program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is not for it
    ) as server:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        if not address.startswith("http"):
            raise SystemExit("the server of the small model did not start; see above")
        yield f"{address}/v1"
        assert server.stdin is not None
        server.stdin.close()


def converse(url: str, name: str, turns: int, redis_url: str) -> Figures:
    """Hold the conversation; errors are collected, and the next question is asked after one."""
    figures = Figures()
    answers = Recorder(OpenAIModel(name, base_url=url, temperature=0.7, seed=7))
    summaries: Model = OpenAIModel(name, base_url=url, max_tokens=_SUMMARY, seed=7)
    figures.requests = answers.requests
    handler = _Warnings(figures.errors)
    logging.getLogger("miniagent_redis").addHandler(handler)
    config = AgentConfig(
        model=answers,
        system_prompt="You answer in one short sentence.",
        max_tokens=_ANSWER,
        max_context_tokens=WINDOW,
        summary_model=summaries,
        model_timeout=_FIRST,
    )
    with SessionAgent(config, redis_config=RedisConfig(url=redis_url)) as agent:
        manager = SessionManager(agent)
        session_id = manager.create_or_resume_session(user_id="ada")
        with suppress(KeyboardInterrupt):  # Ctrl-C: the figures so far
            for number in range(turns):
                thing, asked = _THINGS[number % len(_THINGS)], _ASKED[number // 9 % len(_ASKED)]
                question = f"{number}. I think of {thing}. {asked}?"
                figures.note(number, partial(manager.run, session_id, question))
        agent.shutdown()
    logging.getLogger("miniagent_redis").removeHandler(handler)
    with SessionAgent(redis_config=RedisConfig(url=redis_url)) as agent:
        history = SessionManager(agent).get_history(session_id)
    figures.stored = len(history)
    figures.summaries = sum(message["role"] == "system" for message in history)
    return figures


def main() -> None:
    """Measure and print: the table on stdout, errors on stderr; fail if there were some."""
    parser = argparse.ArgumentParser(prog="scripts/bench --small-model", description=__doc__)
    parser.add_argument("--turns", type=int, default=200, metavar="N")
    parser.add_argument("--url", help="of a server that runs already, as http://localhost:8080/v1")
    parser.add_argument("--model", default="smollm2", help="its name there")
    options = parser.parse_args()
    with ExitStack() as stack:
        url = options.url or stack.enter_context(llama())
        redis = stack.enter_context(RedisServer())
        figures = converse(url, options.model, options.turns, redis.url)
    for error in figures.errors:
        print(error, file=sys.stderr)
    print(figures.table())
    if figures.errors or figures.share() < LEAST_SHARE:
        sys.exit(1)


if __name__ == "__main__":
    main()
