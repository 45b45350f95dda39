"""Every kind of token that a model tells of is counted, kept and priced, whatever the kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import fields

from miniagent_redis import AgentConfig, Price, RedisConfig, SessionAgent, SessionManager
from miniagent_redis.errors import InvalidInput
from miniagent_redis.llm import ScriptedModel, ToolCall, Usage
from miniagent_redis.models import Message, UsageTotals
from miniagent_redis.records.frame import encode
from miniagent_redis.records.messages import message_to_data
from tests.support.servers import RedisServer

Open = Callable[..., SessionManager]
KINDS = [field.name for field in fields(Usage)]
ONCE = Usage(**{name: 10**place for place, name in enumerate(KINDS)})
TWICE = ONCE + ONCE
PRICE = Price(input=2.5, output=10, cached=0.25, cache_write=3.125, reasoning=20)
ONE = Usage(100, 50, cached_tokens=30, cache_write_tokens=20, reasoning_tokens=40)


def scripted() -> ScriptedModel:
    return ScriptedModel([[ToolCall("1", "look"), ONCE], ["Done", ONCE]])


def test_each_kind_is_in_the_result_and_in_every_total(open_manager: Open) -> None:
    manager = open_manager(scripted())
    session_id = manager.create_or_resume_session("ada")
    assert manager.run(session_id, "x").usage == TWICE
    for total in (
        manager.usage(session_id=session_id),
        manager.usage(user_id="ada"),
        manager.usage(),
    ):
        assert total.usage == TWICE


def test_each_kind_of_a_turn_that_failed_is_counted(open_manager: Open) -> None:
    manager = open_manager(ScriptedModel([[ToolCall("1", "look"), ONCE], [ONCE, OSError("gone")]]))
    session_id = manager.create_or_resume_session("ada")
    with pytest.raises(Exception, match="gone"):
        manager.run(session_id, "x")
    assert manager.usage(session_id=session_id).usage == manager.usage().usage == TWICE


def test_each_kind_survives_the_spool(server: RedisServer, tmp_path: Path) -> None:
    redis = RedisConfig(url=server.url, commit_timeout=0.1, spool_dir=str(tmp_path))

    def answer(_: Any) -> list[Any]:
        server.kill()
        return ["Done", TWICE]

    with SessionAgent(AgentConfig(model=ScriptedModel([answer])), redis_config=redis) as agent:
        manager = SessionManager(agent)
        session_id = manager.create_or_resume_session()
        assert not manager.run(session_id, "x").persisted
        server.start()
        agent.background.run_all()
        assert manager.usage(session_id=session_id).usage == TWICE


def test_a_turn_that_an_earlier_version_spooled_counts_with_what_it_wrote(
    server: RedisServer, tmp_path: Path
) -> None:
    redis = RedisConfig(url=server.url, spool_dir=str(tmp_path))
    with SessionAgent(redis_config=redis) as agent:
        session_id = SessionManager(agent).create_or_resume_session()
        turn = agent.store.begin_turn(session_id, "x")
        assert agent.spool is not None
        agent.spool.keep(turn, [Message("assistant", "y")], UsageTotals())
        (path,) = tmp_path.glob("*.turn")
        header = json.loads(path.read_bytes().splitlines()[0])
        messages = [*turn.staged, Message("assistant", "y")]
        written = {
            **{"v": 1, "store": header["store"], "session_id": session_id, "user_id": None},
            **{"turn_id": turn.turn_id, "holder": turn.holder},
            **{"epoch": turn.thread.epoch, "version": turn.thread.version},
            **{"input_tokens": 7, "output_tokens": 2, "tool_calls": 1},
            "spent": {"turns": 1, "seconds": 2.0},
            "messages": [{"v": 1, **message_to_data(message)} for message in messages],
        }
        path.write_bytes(encode(written))
        assert agent.spool.replay() == 1
        counted = agent.store.usage(session_id=session_id)
        assert counted == UsageTotals(7, 2, turns=1, tool_calls=1, seconds=2.0)


def test_a_kind_that_another_version_counts_is_passed_over() -> None:
    stored = {**ONCE.to_dict(), "smell_tokens": 7}
    assert Usage.from_dict(stored) == ONCE
    assert UsageTotals.from_dict({"turns": 1}) == UsageTotals(turns=1)


def test_totals_add_up_and_what_is_zero_is_left_out() -> None:
    total = UsageTotals(1, turns=1, cost=0.5) + UsageTotals(2, 3, seconds=1.5)
    assert total.to_dict() == {
        "input_tokens": 3, "output_tokens": 3, "turns": 1, "seconds": 1.5, "cost": 0.5,
    }  # fmt: skip
    assert (total - total).to_dict() == {}


def test_what_a_provider_cached_wrote_and_thought_has_prices_of_its_own() -> None:
    dollars = (50 * 2.5 + 30 * 0.25 + 20 * 3.125 + 10 * 10 + 40 * 20) / 1e6
    assert PRICE.cost(ONE) == pytest.approx(dollars)


def test_without_a_price_of_its_own_a_kind_costs_as_what_it_is_part_of() -> None:
    assert Price(input=2.5, output=10).cost(ONE) == pytest.approx((100 * 2.5 + 50 * 10) / 1e6)


@pytest.mark.parametrize("name", ["cached", "cache_write", "reasoning"])
def test_a_price_is_dollars_or_none(name: str) -> None:
    cheap: dict[str, Any] = {name: "cheap"}
    with pytest.raises(InvalidInput, match=name):
        Price(input=1, output=1, **cheap)
