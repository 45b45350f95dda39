"""What is public: these modules, and these names in them. Anything else may change any day."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest

from miniagent_redis import errors, redis_client, session

ROOT = Path(__file__).parent.parent
ERRORS = {
    name
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, errors.MiniAgentError)
}
CONTRACT = ERRORS | {
    *("AgentConfig", "RedisConfig"),
    *("SessionAgent", "SessionManager", "SessionThread"),
    *("RedisSessionManager", "get_redis_manager"),
    *("Message", "ToolCall", "ToolContext", "ToolRegistry", "ToolResult", "TurnResult", "Usage"),
    *("Budget", "Price", "RateLimit", "UsageTotals"),
    *("Approve", "Deny", "WaitingCall"),
    *("Event", "EventType", "StreamCallback"),
}
MODELS = {
    *("Model", "ModelRequest", "OutputSpec", "ReasoningDelta", "ToolSpec", "resolve_model"),
    "ENTRY_POINTS",
    *("ModelEvent", "Block", "Finish", "TextDelta", "ToolCall", "UnreadCall", "Usage"),
    *("Answer", "Reply", "ask", "fold"),
    *("DemoModel", "FunctionModel", "ModelFunction", "ScriptedModel"),
    *("AsyncModel", "AsyncModelFunction"),
    *(
        "ContentPart",
        "CountTokens",
        "estimate_input",
        "estimate_tokens",
        "instruction_tokens",
        "message_tokens",
    ),
    "words",
}
PUBLIC = {
    "miniagent_redis": CONTRACT,
    "miniagent_redis.aio": CONTRACT,
    "miniagent_redis.session": {"SessionAgent", "SessionManager", "SessionThread"},
    "miniagent_redis.redis_client": {"RedisConfig", "RedisSessionManager", "get_redis_manager"},
    "miniagent_redis.llm": MODELS,
    "miniagent_redis.llm.anthropic": {"AnthropicModel"},
    "miniagent_redis.llm.gemini": {"GeminiModel"},
    "miniagent_redis.llm.openai": {"OpenAIModel"},
    "miniagent_redis.crypto": {"EncryptedFormat", "EncryptionKeyMissing", "KeyRing"},
    "miniagent_redis.acl": {"acl_rule"},
    "miniagent_redis.mcp": {"MCPServer"},
    "miniagent_redis.flask": {
        *("BoundManager", "MiniAgent", "agents_of", "console_app", "current_agents"),
        "front_ends_blueprint",
        "openai_blueprint",
        *("ForeignOrigin", "MessageTooLarge", "NotLoggedIn", "ReadOnly", "TooManyStreams"),
        *("NotSetUp", "TurnNotFound"),
        *("Problem", "problem_of", "response_to"),
    },
    "miniagent_redis.fsck": {"Finding", "Kind", "check"},
    "miniagent_redis.telemetry": {
        *("End", "Exchange", "Instrumentation", "ModelCall", "ToolRun", "TurnRun", "Work"),
    },
    "miniagent_redis.testing": {"ManualClock", "ScriptedModel", "manual_clock", "open_manager"},
}
IMPORT = re.compile(r"^ *((?:from|import) miniagent_redis[^\n(]*(?:\([^)]*\))?)", re.MULTILINE)
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("examples/*.py"))]


@pytest.mark.parametrize("name", PUBLIC)
def test_the_public_names_of_a_module_are_these(name: str) -> None:
    module = import_module(name)
    assert sorted(module.__all__) == sorted(PUBLIC[name])
    assert [one for one in module.__all__ if not hasattr(module, one)] == []


def test_the_names_that_the_original_has_are_the_same_classes() -> None:
    import miniagent_redis

    for module in (session, redis_client):
        for name in module.__all__:
            assert getattr(module, name) is getattr(miniagent_redis, name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_documentation_imports_what_is_public(page: Path) -> None:
    text = page.read_text("utf-8")
    if page.suffix == ".md":
        text = "\n\n".join(re.findall(r"^ *```python[^\n]*\n(.*?)^ *```$", text, re.M | re.S))
    for line in IMPORT.findall(text):
        for node in ast.parse(line).body:
            if isinstance(node, ast.ImportFrom):
                assert node.module in PUBLIC
                names = {one.name for one in node.names}
                assert names <= PUBLIC[node.module] | submodules(node.module), node.module


def submodules(name: str) -> set[str]:
    return {one.removeprefix(f"{name}.") for one in PUBLIC if one.startswith(f"{name}.")}


def test_the_list_for_contributors_is_this_one() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    told = text.partition("## What is public")[2].partition("\n## ")[0]
    assert set(re.findall(r"`(miniagent_redis[\w.]*)`", told)) == set(PUBLIC)
