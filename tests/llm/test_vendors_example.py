"""examples/vendors.py with each vendor's SDK against llmock: the same is said, stored and sent."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from llmock.pytest_plugin import LLMock
from llmock.scenarios import Reply, ToolCall

from miniagent_redis import AgentConfig, RedisConfig, SessionAgent, SessionManager
from tests.support.llmock_models import PROVIDERS, name, neutral

EXAMPLE = Path(__file__).parents[2] / "examples" / "vendors.py"
BERGEN, OSLO = ToolCall("weather", {"city": "Bergen"}), ToolCall("weather", {"city": "Oslo"})
TRAIN = {"start": "Oslo", "end": "Bergen"}
TIMES = '["06:25", "12:03", "16:51"]'
NONE = (None, None)
STORED = [
    ("assistant", "Let me look.", [(0, "weather", BERGEN.arguments), (1, "trains", TRAIN)], *NONE),
    ("tool", "rain, 9 °C", [], "weather", 0),
    ("tool", TIMES, [], "trains", 1),
    ("assistant", "Rain, and three trains.", [], *NONE),
    ("assistant", "", [(2, "weather", OSLO.arguments)], *NONE),
    ("tool", "sunny, 14 °C", [], "weather", 2),
    ("assistant", "Stay at home.", [], *NONE),
]


def run(models: list[str], redis_url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLE), *models],
        env={**os.environ, "REDIS_URL": redis_url, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        timeout=100,
    )


def history(redis_url: str) -> list[dict[str, Any]]:
    config = AgentConfig()
    with SessionAgent(config, redis_config=RedisConfig(url=redis_url)) as agent:
        manager = SessionManager(agent)
        (session,) = manager.list_sessions("ada")
        return manager.get_history(session["session_id"])


@pytest.mark.parametrize(
    "vendors",
    [*([one] for one in PROVIDERS), *pairwise([*PROVIDERS, PROVIDERS[0]])],
    ids=" then ".join,
)
def test_the_same_is_said_and_stored_whoever_answers(
    vendors: Sequence[str], mock: LLMock, redis_url: str
) -> None:
    mock.add(
        Reply("Let me look.", tool_calls=(BERGEN, ToolCall("trains", TRAIN))),
        Reply("Rain, and three trains."),
        Reply(tool_calls=(OSLO,)),
        Reply("Stay at home."),
    )
    models = [name(vendor, mock) for vendor in vendors]
    done = run(models, redis_url)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if line and not line.startswith("ada: ")]
    assert sorted(said[:2]) == [f"  trains -> {TIMES}", "  weather -> rain, 9 °C"]
    assert said[2:] == [
        f"{vendors[0]}:some-model: Rain, and three trains.",
        "  weather -> sunny, 14 °C",
        f"{vendors[-1]}:some-model: Stay at home.",
    ]
    mock.assert_resilient(strict=True)
    assert [record.provider for record in mock.requests] == [vendors[0]] * 2 + [vendors[-1]] * 2
    stored = neutral(history(redis_url))
    assert [message[0] for message in (stored[0], stored[5])] == ["user", "user"]
    assert stored[1:5] + stored[6:] == STORED


def test_a_refused_key_is_told(mock: LLMock, redis_url: str) -> None:
    mock.fail(401, times=None)
    done = run([name("anthropic", mock)], redis_url)
    assert done.returncode == 1
    assert "refused the key" in done.stderr
    assert "Traceback" not in done.stderr
