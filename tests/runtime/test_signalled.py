"""What a handler of a signal raises is known for what it is, whatever took it for its own."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from miniagent_redis.errors import ModelError
from miniagent_redis.llm import FunctionModel, ModelRequest
from miniagent_redis.llm.fold import Answer
from miniagent_redis.runtime.signalled import raised_by_signal


class TimeIsUp(Exception):
    """As a job queue raises it."""


@pytest.fixture(autouse=True)
def handled() -> Iterator[None]:
    def time_is_up(signum: int, frame: Any) -> None:
        raise TimeIsUp

    before = signal.signal(signal.SIGUSR1, time_is_up)
    yield
    signal.signal(signal.SIGUSR1, before)


def caught(work: Any) -> BaseException:
    with pytest.raises((TimeIsUp, ConnectionError, ModelError)) as raised:
        work()
    return raised.value


def signalled() -> None:
    signal.raise_signal(signal.SIGUSR1)


def wrapped() -> None:
    try:
        signalled()
    except Exception as exc:
        raise ConnectionError("an SDK's own words") from exc


def ordinary() -> None:
    raise TimeIsUp


def test_it_is_found_behind_what_stands_for_it() -> None:
    assert isinstance(raised_by_signal(caught(signalled)), TimeIsUp)
    assert isinstance(raised_by_signal(caught(wrapped)), TimeIsUp)
    assert raised_by_signal(caught(ordinary)) is None


@pytest.mark.parametrize(
    ("work", "kind"), [(signalled, TimeIsUp), (wrapped, TimeIsUp), (ordinary, ModelError)]
)
def test_a_model_that_is_interrupted_has_not_failed(work: Any, kind: Any) -> None:
    answer = Answer(FunctionModel(lambda messages: work()), ModelRequest(()))
    assert type(caught(answer.next)) is kind
