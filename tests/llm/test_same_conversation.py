"""One conversation by every vendor's SDK and every kind of server: what is stored is the same.

Two tools, calls at the same time, one that fails, reasoning, a picture, and an answer that was cut.
What may differ is in the metadata's ``blocks``: what only its own vendor wants back.
"""

from __future__ import annotations

from typing import Any

import pytest

from miniagent_redis import (
    AgentConfig,
    EventType,
    Message,
    RedisConfig,
    SessionAgent,
    SessionManager,
    ToolRegistry,
)
from tests.support.canned_server import CannedServer
from tests.support.dialects import DIALECTS, INPUT, OUTPUT, Said
from tests.support.llmock_models import neutral

PIXEL = "iVBORw0KGgo="
QUESTION = Message(
    "user",
    [
        {"type": "text", "text": "What is it, and what does it cost?"},
        {"type": "image", "mime_type": "image/png", "data": PIXEL},
    ],
)
TURNS: list[tuple[str | Message, list[Said]]] = [
    (
        QUESTION,
        [
            Said(
                "I look twice.",
                "Two places. ",
                (("a", "look", {"at": 1}), ("b", "look", {"at": 2})),
            ),
            Said("", "And the price? ", (("c", "price", {"of": "a caf\u00e9"}),)),
            Said("A caf\u00e9, \U0001f600, of unknown price."),
        ],
    ),
    ("Tell me a story.", [Said("It was a dark and", is_cut=True)]),
    ("Go on.", [Said("stormy night.", "How does it go on? ")]),
]
WAYS = [
    (dialect, is_whole, by)
    for dialect in DIALECTS
    for is_whole in (False, True)
    for by in ("chat", "stream")
    if not is_whole or DIALECTS[dialect].whole
]


def tools() -> ToolRegistry:
    registry = ToolRegistry()

    @registry.tool
    def look(at: int) -> str:
        """Look at a place."""
        return f"a caf\u00e9 at {at}"

    @registry.tool
    def price(of: str) -> str:
        """Tell what a thing costs."""
        raise LookupError(f"nobody knows the price of {of}")

    return registry


def hold(way: tuple[str, bool, str], canned: CannedServer, url: str) -> tuple[Any, list[Any]]:
    """Hold the conversation; return what is stored, and the live events of it."""
    name, is_whole, by = way
    dialect = DIALECTS[name]
    canned.kind = "application/json" if is_whole else "text/event-stream"
    model = dialect.connect(canned.url, **({"stream": False} if is_whole else {}))
    config = AgentConfig(model=model, system_prompt="Be brief.", max_tokens=100)
    heard: list[Any] = []
    with SessionAgent(config, tools(), redis_config=RedisConfig(url=url)) as agent:
        manager = SessionManager(agent)
        session_id = manager.create_or_resume_session()
        for message, replies in TURNS:
            for said in replies:
                canned.add(*dialect.replies(said, is_whole=is_whole))
            if by == "chat":
                assert manager.chat(session_id, message) == replies[-1].text
            else:
                heard += manager.stream(session_id, message)
        return manager.get_history(session_id), heard


def told(history: list[dict[str, Any]]) -> list[Any]:
    """Return what is stored, without what differs by run or by vendor."""
    kept = ("usage", "finish_reason", "is_error", "not_run", "interrupted", "finish_detail")
    about = [
        sorted(
            (key, str(value)) for key, value in message.get("metadata", {}).items() if key in kept
        )
        for message in history
        if message["role"] != "tool"  # they finish in any order
    ]
    return [*neutral(history), about]


def expected() -> list[Any]:
    usage = ("usage", str({"input_tokens": INPUT, "output_tokens": OUTPUT}))
    calls = [(0, "look", {"at": 1}), (1, "look", {"at": 2})]
    failed = "LookupError: nobody knows the price of a caf\u00e9"
    return [
        ("user", QUESTION.content, [], None, None),
        ("assistant", "I look twice.", calls, None, None),
        ("tool", "a caf\u00e9 at 1", [], "look", 0),
        ("tool", "a caf\u00e9 at 2", [], "look", 1),
        ("assistant", "", [(2, "price", {"of": "a caf\u00e9"})], None, None),
        ("tool", failed, [], "price", 2),
        ("assistant", "A caf\u00e9, \U0001f600, of unknown price.", [], None, None),
        ("user", "Tell me a story.", [], None, None),
        ("assistant", "It was a dark and", [], None, None),
        ("user", "Go on.", [], None, None),
        ("assistant", "stormy night.", [], None, None),
        [[], [usage], [usage], [usage], [], [("finish_reason", "length"), usage], [], [usage]],
    ]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_what_is_stored_is_the_same_whoever_answers(
    way: tuple[str, bool, str], canned: CannedServer, redis_url: str
) -> None:
    history, heard = hold(way, canned, redis_url)
    assert told(history) == expected()
    assert len(canned.bodies) == sum(len(replies) for _, replies in TURNS), "each is asked once"
    assert PIXEL in str(canned.bodies[-1])
    if way[2] == "chat":
        return
    texts = "".join(event.text for event in heard if event.type is EventType.TEXT_DELTA)
    assert texts == "".join(said.text for _, replies in TURNS for said in replies)
    thoughts = "".join(event.text for event in heard if event.type is EventType.REASONING_DELTA)
    thought = "".join(said.thought for _, replies in TURNS for said in replies)
    expected_thought = thought if DIALECTS[way[0]].shows_thoughts else ""
    assert "".join(thoughts.split()) == "".join(expected_thought.split())


def test_a_session_begun_with_one_goes_on_with_each_of_the_others(
    canned: CannedServer, redis_url: str
) -> None:
    session_id = None
    with SessionAgent(redis_config=RedisConfig(url=redis_url)) as agent:
        session_id = SessionManager(agent).create_or_resume_session()
    for name, dialect in DIALECTS.items():
        for said in TURNS[0][1]:
            canned.add(*dialect.replies(said))
        config = AgentConfig(model=dialect.connect(canned.url), system_prompt="Be brief.")
        with SessionAgent(config, tools(), redis_config=RedisConfig(url=redis_url)) as agent:
            answer = SessionManager(agent).chat(session_id, f"{name}?")
        assert answer == TURNS[0][1][-1].text
    with SessionAgent(redis_config=RedisConfig(url=redis_url)) as agent:
        history = SessionManager(agent).get_history(session_id)
    one = neutral(history[:7])
    for place, name in enumerate(DIALECTS):
        turn = history[7 * place : 7 * place + 7]
        assert neutral(turn)[1:] == one[1:], name
