"""The command ``serve``: agents for OpenAI's clients, on this machine, or with a key."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from miniagent_redis import SessionManager
from tests.support.command_line import LIMIT, Home

pytest.importorskip("flask")
pytest.importorskip("waitress")


@contextmanager
def served(home: Home, *arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Yield the base URL of a server, and its process."""
    process = home.start("serve", "--port", "0", *arguments)
    try:
        assert process.stderr is not None
        said = process.stderr.readline()
        found = re.search(r"http://\S+/v1", said)
        assert found is not None, said
        yield found[0], process
    finally:
        process.kill()
        process.communicate(timeout=LIMIT)


def ask(url: str, body: Any = None, **headers: str) -> Any:
    sent = Request(url, None if body is None else json.dumps(body).encode(), headers)
    with urlopen(sent, timeout=LIMIT) as reply:
        return json.load(reply)


def refused(url: str, **headers: str) -> tuple[int, str]:
    with pytest.raises(HTTPError) as caught:
        ask(url, **headers)
    with caught.value as error:
        return error.code, json.load(error)["error"]["message"]


def test_programs_on_this_machine_talk_as_its_user(home: Home, manager: SessionManager) -> None:
    with served(home, "--model", "demo", "--model", "parrot:x") as (url, process):
        assert [one["id"] for one in ask(f"{url}/models")["data"]] == ["demo", "parrot:x"]
        made = ask(f"{url}/responses", {"model": "demo", "input": "My name is Ada"})
        assert made["output"][0]["content"][0]["text"] == "Hello, Ada!"
        assert len(manager.list_sessions("ada")) == 1
        # Pages of others neither, also if they have a name of their own for this machine.
        assert refused(f"{url}/models", Host="evil.example")[0] == 403
        assert refused(f"{url}/conversations/x", Origin="https://evil.example")[0] in (403, 404)
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT) == 0


def test_a_key_is_asked_for_and_says_whose_the_sessions_are(
    home: Home, manager: SessionManager
) -> None:
    with served(home, "--api-key", "s3cret=bob", "--api-key", "other=eve") as (url, _):
        assert refused(f"{url}/models") == (401, "Incorrect API key provided.")
        body = {"model": "demo", "input": "Hello"}
        ask(f"{url}/responses", body, Authorization="Bearer s3cret")
        assert len(manager.list_sessions("bob")) == 1
        assert not manager.list_sessions("eve")


def page(url: str, token: str = "") -> str:
    """Return the text of a page; without the token one that asks for it, where there is one."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with urlopen(Request(url, headers=headers), timeout=LIMIT) as reply:
        return str(reply.read().decode())


def test_people_have_a_console_beside_it(home: Home, manager: SessionManager) -> None:
    with served(home, "--user", "eve") as (url, process):
        root = url.removesuffix("/v1")
        assert process.stderr is not None
        assert f"The console is at {root}/\n" == process.stderr.readline()
        ask(f"{url}/responses", {"model": "demo", "input": "What a day"})
        assert "What a day" in page(f"{root}/sessions")
        assert len(manager.list_sessions("eve")) == 1


def test_a_console_that_others_can_reach_asks_for_a_token(home: Home) -> None:
    with served(home, "--host", "0.0.0.0", "--api-key", "s3cret=bob") as (url, process):
        assert process.stderr is not None
        found = re.search(r"\?token=(\S{20,})", process.stderr.readline())
        assert found is not None
        root = f"http://127.0.0.1:{url.rpartition(':')[2].partition('/')[0]}"
        for token in ("", "no"):
            assert 'name="token"' in page(f"{root}/sessions", token)
        assert 'name="token"' not in page(f"{root}/sessions", found[1])
    with served(home, "--token", "open-sesame", "--read-only") as (url, _):
        root = url.removesuffix("/v1")
        assert 'name="token"' in page(f"{root}/")
        talk = page(f"{root}/", "open-sesame")
        assert "Conversations" in talk
        assert "<form" not in talk


def test_other_machines_are_not_let_in_without_a_key(home: Home) -> None:
    assert "--api-key" in home.run("serve", "--host", "0.0.0.0", code=2).stderr
    assert "KEY=USER" in home.run("serve", "--api-key", "s3cret", code=2).stderr


def test_what_stands_in_the_way_is_told(home: Home) -> None:
    with served(home) as (url, _):
        port = url.rpartition(":")[2].partition("/")[0]
        told = home.run("serve", "--port", port, code=1).stderr
        assert re.search("cannot listen .*; try another --port", told)
    assert "nobody" in home.run("serve", "--model", "nobody", code=2).stderr
    elsewhere = home.run("serve", "--url", "redis://127.0.0.1:1", code=1)
    assert "Redis" in elsewhere.stderr
