"""A chat page without a browser: what it posts, and what it is told."""

from __future__ import annotations

import json
from typing import Any

from flask.testing import FlaskClient

Json = dict[str, Any]


class Page:
    """A page of a user, which knows nothing but what it sends."""

    def __init__(self, client: FlaskClient, key: str = "key-ada") -> None:
        self.client = client
        self.headers = {"Authorization": f"Bearer {key}"}

    def post(self, path: str, **body: Any) -> Any:
        return self.client.post(path, json=body, headers=self.headers)

    def get(self, path: str) -> Any:
        return self.client.get(path, headers=self.headers)

    def chat(self, *messages: Json, id: str = "chat", **more: Any) -> list[Json]:
        return told(self.post("/api/chat", id=id, messages=messages, **more))

    def run(self, *messages: Json, **more: Any) -> list[Json]:
        body = {"threadId": "chat", "runId": "r1", "messages": messages, **more}
        return told(self.post("/agui", **body))

    def messages(self, id: str = "chat") -> list[Json]:
        found: list[Json] = self.get(f"/api/chat/{id}").json["messages"]
        return found


def told(response: Any) -> list[Json]:
    """Return what a stream told."""
    assert response.status_code == 200, response.text
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n")]
    return [json.loads(line) for line in lines if line.startswith("{")]


def user(text: str, id: str = "u1") -> Json:
    return {"id": id, "role": "user", "parts": [{"type": "text", "text": text}]}


def text_of(chunks: list[Json]) -> str:
    return "".join(one["delta"] for one in chunks if one["type"] == "text-delta")


def kinds(chunks: list[Json]) -> list[str]:
    return [one["type"] for one in chunks]
