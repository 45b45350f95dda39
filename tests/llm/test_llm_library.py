"""The recipe in examples/llm_library.py, with a model of `llm` that needs no network."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llm
import pytest

from miniagent_redis import AgentConfig, RedisConfig, SessionAgent, SessionManager, ToolRegistry
from miniagent_redis.llm import resolve_model

EXAMPLES = Path(__file__).parents[2] / "examples"
ENTRY_POINT = "[miniagent_redis.models]\nllm = llm_library:LLMModel\n"


class Parrot(llm.Model):
    """Calls each tool once, then says all that it was sent."""

    model_id = "parrot"
    can_stream = True
    supports_tools = True

    def execute(self, prompt: Any, stream: bool, response: Any, conversation: Any) -> Iterator[str]:
        said = [(message.role, message.parts) for message in prompt.messages]
        if said[-1][0] == "user" and prompt.tools:
            for tool in prompt.tools:
                call = llm.ToolCall(tool.name, {"city": "Oslo"}, tool_call_id=f"call-{tool.name}")
                response.add_tool_call(call)
            return
        response.set_usage(input=12, output=3)
        for role, parts in said:
            for part in parts:
                yield f"{role}:{getattr(part, 'text', None) or getattr(part, 'output', part.name)} "


@pytest.fixture
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install the recipe with its entry point, the way pip would."""
    info = tmp_path / "llm_library-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: llm-library\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINT)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setattr(llm, "get_model", lambda name: {"parrot": Parrot()}[name])
    yield
    sys.modules.pop("llm_library", None)


@pytest.mark.usefixtures("_installed")
def test_a_model_of_llm_holds_a_conversation_with_tools(redis_url: str) -> None:
    tools = ToolRegistry()

    @tools.tool
    def weather(city: str) -> str:
        return f"Sunny in {city}"

    config = AgentConfig(model=resolve_model("llm:parrot"), system_prompt="Be brief")
    with SessionAgent(config, tools, redis_config=RedisConfig(url=redis_url)) as agent:
        manager = SessionManager(agent)
        result = manager.run(manager.create_or_resume_session(), "Weather?")
    said = ["system:Be", "brief", "user:Weather?", "assistant:weather", "tool:Sunny", "in", "Oslo"]
    assert result.text.split() == said
    assert (result.usage.input_tokens, result.usage.output_tokens) == (12, 3)
