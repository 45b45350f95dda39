"""Requests to the OpenAI door that are odd, and what they are answered."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

from tests.doors.conftest import KEY

pytest.importorskip("flask")

Ask = Any
USER = {"role": "user", "content": "My name is Ada."}
WHO = {"role": "user", "content": "What is my name?"}


@pytest.fixture
def ask(redis_url: str) -> Iterator[Ask]:
    """Yield what posts to the door, and returns the status and the JSON."""
    app: Any = import_module("tests.support.openai_app").make_app(redis_url)
    client = app.test_client()

    def post(path: str, **body: Any) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {KEY}"}
        answer = client.post(f"/v1/{path}", json={"model": "demo", **body}, headers=headers)
        return answer.status_code, answer.json

    yield post
    with app.app_context():
        for agents, _ in app.extensions["miniagent"].values():
            agents.close()


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"role": "system", "content": "Be brief."}],
        [USER, {"role": "assistant", "content": "Hello"}],
        [{"role": "tool", "tool_call_id": "c1", "content": "sunny"}],
    ],
)
def test_messages_that_cannot_be_answered_are_named_as_the_client_does(
    ask: Ask, messages: list[Any]
) -> None:
    status, told = ask("chat/completions", messages=messages)
    assert (status, told["error"]["param"]) == (400, "messages")
    status, told = ask("responses", input=messages[:2])
    assert (status, told["error"]["param"].partition("[")[0]) == (400, "input")


@pytest.mark.parametrize("nothing", ["", None, []])
def test_an_earlier_message_without_anything_in_it_is_passed_over(ask: Ask, nothing: Any) -> None:
    messages = [USER, {"role": "assistant", "content": nothing}, WHO]
    status, told = ask("chat/completions", messages=messages)
    assert status == 200, told
    assert told["choices"][0]["message"]["content"] == "Your name is Ada."
    status, told = ask("responses", input=messages)
    assert status == 200, told
    assert told["output"][0]["content"][0]["text"] == "Your name is Ada."


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ("chat/completions", "web_search_options", {}),
        ("chat/completions", "audio", {"voice": "alloy", "format": "mp3"}),
        ("chat/completions", "logprobs", True),
        ("responses", "top_logprobs", 5),
        ("responses", "include", ["message.output_text.logprobs"]),
        ("responses", "prompt", {"id": "pmpt_1"}),
    ],
)
def test_what_only_openai_itself_can_do_is_refused(
    ask: Ask, path: str, name: str, value: Any
) -> None:
    status, told = ask(path, input="Hi", messages=[USER], **{name: value})
    error = told["error"]
    assert (status, error["param"], error["code"]) == (400, name, "unsupported_parameter")


@pytest.mark.parametrize("path", ["chat/completions", "responses"])
def test_what_is_said_not_to_be_wanted_is_no_fault(ask: Ask, path: str) -> None:
    unwanted = {"logprobs": False, "top_logprobs": 0, "include": [], "audio": None}
    assert ask(path, input="Hi", messages=[USER], **unwanted)[0] == 200


def test_a_response_that_is_no_response_is_not_found(ask: Ask) -> None:
    status, told = ask("responses", input="Hi", previous_response_id="resp_abc")
    assert (status, told["error"]["code"]) == (400, "previous_response_not_found")
    assert told["error"]["message"] == "Previous response with id 'resp_abc' not found."
    status, told = ask("responses", input="Hi", truncation="some")
    assert (status, told["error"]["param"]) == (400, "truncation")
