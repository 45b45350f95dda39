"""Managed services and proxies: commands that are refused there, or have another name.

Both ways in which real servers do that: a name that is taken away (``rename-command``), and a user
who may not (an ACL). Every call of the store, the manager, the agent and the thread works all the
same, one waits for another process, and the doctor tells what it could not ask.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from miniagent_redis import (
    AgentConfig,
    Message,
    RedisConfig,
    RedisSessionManager,
    SessionAgent,
    SessionManager,
    StoreMisconfigured,
    aio,
)
from tests.support.coroutines import run
from tests.support.doctor_checks import examine
from tests.support.every_call import make_every_call
from tests.support.servers import RedisServer
from tests.support.waiting import LIMIT

TAKEN = ("HELLO", "CLIENT", "CONFIG", "INFO", "SCRIPT", "SUBSCRIBE", "KEYS")
CASES = [*((name,) for name in TAKEN), TAKEN]
TOLD_BY_INFO = {"version", "role", "persistence", "eviction", "memory", "settings", "scripts"}
NOT_HEARD = tuple(name for name in TAKEN if name != "SUBSCRIBE")
"""Without that one there is no ``subscribe`` for users either, and all else goes on."""


def without(names: tuple[str, ...], folder: Path) -> RedisServer:
    """Return a server that does not know these commands, as managed services have it."""
    file = folder / "managed.conf"
    file.write_text("".join(f'rename-command {name} ""\n' for name in names))
    return RedisServer(tcp=True, config=file)


@pytest.fixture(params=["renamed", "forbidden"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _named(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else "all of them"


@pytest.fixture(params=CASES, ids=_named)
def names(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return tuple(request.param)


@pytest.fixture
def url(way: str, names: tuple[str, ...], tmp_path: Path) -> Iterator[str]:
    if way == "renamed":
        with without(names, tmp_path) as server:
            yield server.url
        return
    with RedisServer(tcp=True) as server:
        server.client().acl_setuser(
            "app", enabled=True, passwords=["+pw"], categories=["+@all"], keys=["*"],
            channels=["*"], commands=[f"-{name.lower()}" for name in names],
        )  # fmt: skip
        yield server.url_of("app", "pw")


@pytest.mark.parametrize("names", [NOT_HEARD], ids=["all but SUBSCRIBE"], indirect=True)
def test_every_call_works(url: str, names: tuple[str, ...]) -> None:
    make_every_call(url, f"without {', '.join(names)}")


def test_a_conversation_that_another_process_watches(url: str) -> None:
    config = RedisConfig(url=url)
    with ThreadPoolExecutor() as pool, RedisSessionManager(config) as watching:
        watching.create_session("s")
        watcher = watching.watch("s", "", LIMIT)
        heard = pool.submit(lambda: [next(watcher).type.value for _ in range(2)])
        for _ in range(2):  # each with connections of its own, as in another process
            told = AgentConfig(model=lambda messages: "hello")
            with SessionAgent(told, redis_config=config) as agent:
                assert SessionManager(agent).chat("s", "hi") == "hello"
        assert heard.result(LIMIT)
        assert [one.text for one in watching.load_thread("s").messages] == ["hi", "hello"] * 2


@pytest.mark.parametrize("names", [("CLIENT",)], ids=["CLIENT"], indirect=True)
@pytest.mark.parametrize("protocol", [2, 3])
def test_a_name_for_connections_that_nobody_takes_does_no_harm(url: str, protocol: int) -> None:
    config = RedisConfig(url=url, client_name="web", protocol=protocol)
    with RedisSessionManager(config) as store:
        store.create_session("s")
        assert store.client.ping()

    async def ask() -> bool:
        async with aio.RedisSessionManager(config) as store:
            return bool(await store.client.ping())

    assert run(ask())


@pytest.mark.parametrize("names", [("SUBSCRIBE",)], ids=["SUBSCRIBE"], indirect=True)
def test_without_subscribe_users_are_told_that_they_cannot(url: str) -> None:
    with RedisSessionManager(RedisConfig(url=url)) as store:
        with pytest.raises(StoreMisconfigured) as told:
            store.subscribe(["news"])
        assert "subscribe" in told.value.cause.lower()
        store.create_session("s")
        store.append_to_thread("s", Message("user", "x"))
        assert store.publish("news", 1) == 0


def test_the_doctor_tells_what_it_could_not_ask(url: str, names: tuple[str, ...]) -> None:
    checks = examine(url)
    assert checks["reachable"].verdict == checks["turn"].verdict == "ok"
    failed = {check.name for check in checks.values() if check.verdict == "fail"}
    assert failed == ({"rights"} if "SUBSCRIBE" in names else set())
    unknown = {check.name for check in checks.values() if check.verdict == "skip"}
    assert unknown == (TOLD_BY_INFO if "INFO" in names else set())


def test_resp3_is_spoken_where_it_is_asked_for_and_known() -> None:
    with RedisServer(tcp=True) as server:
        for protocol in (2, 3):
            with RedisSessionManager(RedisConfig(url=server.url, protocol=protocol)) as store:
                store.create_session(f"s{protocol}")
                store.append_to_thread(f"s{protocol}", Message("user", "x"))
                assert len(store.load_thread(f"s{protocol}").messages) == 1
