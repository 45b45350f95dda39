"""A model that deliberates, behind the OpenAI door."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from miniagent_redis import AgentConfig, RedisConfig
from miniagent_redis.llm import Finish, ModelRequest, ReasoningDelta, TextDelta

pytest.importorskip("flask")
from flask import Flask

from miniagent_redis.flask import MiniAgent, openai_blueprint


class Thinker:
    """Thinks about what it was told, and repeats it."""

    def stream(self, request: ModelRequest) -> Iterator[Any]:
        yield ReasoningDelta("They said ")
        yield ReasoningDelta(request.messages[-1].text)
        yield TextDelta(request.messages[-1].text)
        yield Finish()


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    app = Flask("door")
    config = AgentConfig(model=Thinker(), name="m", delta_interval=0)
    agents = MiniAgent(app, config=config, redis_config=RedisConfig(url=redis_url))
    agents.user_loader(lambda: "ada")
    app.register_blueprint(openai_blueprint(agents), url_prefix="/v1")
    yield app.test_client()
    with app.app_context():
        agents.close()


def test_it_is_told_with_the_answer_and_may_be_referred_to(client: Any) -> None:
    made = client.post("/v1/responses", json={"model": "m", "input": "One"}).json
    reasoning, said = made["output"]
    assert reasoning["summary"][0]["text"] == "They said One"
    refers = [{"type": "item_reference", "id": one["id"]} for one in (reasoning, said)]
    # So does a client that keeps the items itself: what is not kept is passed over.
    given = [{"role": "user", "content": "One"}, *refers, {"role": "user", "content": "Two"}]
    again = client.post("/v1/responses", json={"model": "m", "input": given}).json
    assert again["output"][-1]["content"][0]["text"] == "Two"
    sent_back = [{"role": "user", "content": "One"}, *made["output"], given[-1]]
    assert client.post("/v1/responses", json={"model": "m", "input": sent_back}).status_code == 200
    kept = client.get(f"/v1/responses/{made['id']}").json
    assert kept["output"] == [said], "the thread has the answer alone"


def test_it_is_streamed(client: Any) -> None:
    body = {"model": "m", "input": "One", "stream": True}
    told = client.post("/v1/responses", json=body).text
    assert "event: response.reasoning_summary_text.delta" in told
    assert told.index("reasoning_summary_text.done") < told.index("response.output_text.delta")
    chat = {"model": "m", "messages": [{"role": "user", "content": "One"}], "stream": True}
    assert '"reasoning_content":' in client.post("/v1/chat/completions", json=chat).text
