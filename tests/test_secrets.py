"""Passwords and keys are shown nowhere: each has a word that is looked for in all that comes out.

What comes out: what is returned and its repr, errors with their whole chains as a traceback shows
them, what is logged at any level, and what is printed.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from attrs import define, field

from miniagent_redis import (
    AgentConfig,
    Message,
    RedisConfig,
    RedisSessionManager,
    SessionAgent,
    SessionManager,
    UsageTotals,
    aio,
)
from miniagent_redis.cli import main
from miniagent_redis.config.address import parse_url
from miniagent_redis.crypto import EncryptedFormat, KeyRing
from miniagent_redis.doctor import diagnose
from miniagent_redis.maintenance.spool import Spool
from tests.support.servers import RedisServer, free_port

WORD = "Canary"
PASSWORD = f"{WORD}Password0815"
WRONG = f"{WORD}Wrong4711"
KEY = f"{WORD}KeyOfThirtyTwoBytes".ljust(32, "x").encode()
OTHER_KEY = f"{WORD}OtherKey".ljust(32, "y").encode()
FORMS = (WORD, base64.b64encode(WORD.encode())[:8].decode(), WORD.encode().hex())
"""How it may be shown: as it is, as base64, in hexadecimal digits."""


@define
class Heard:
    """All that came out of what was tried."""

    server: RedisServer
    folder: Path
    said: list[str] = field(factory=list)

    def note(self, *values: Any) -> None:
        for value in values:
            self.said += [repr(value), str(value)]

    def fails(self, action: Callable[[], object]) -> None:
        """Note how the action fails; it must."""
        assert not self.succeeds(action)

    def succeeds(self, action: Callable[[], object]) -> bool:
        """Note what comes of an action: of errors a traceback, and all that they have."""
        try:
            self.note(action())
        except (Exception, SystemExit) as exc:
            self.said.append("".join(traceback.format_exception(exc)))
            self._note_chain(exc, set())
            return False
        return True

    def _note_chain(self, exc: BaseException | None, seen: set[int]) -> None:
        if exc is None or id(exc) in seen:
            return
        seen.add(id(exc))
        # Chains that a traceback leaves out are shown by those who collect errors.
        self.note(exc, exc.args, vars(exc), getattr(exc, "__notes__", ()))
        if not isinstance(exc, SystemExit):
            self.note(pickle.dumps(exc.args) if _is_plain(exc.args) else "")
        self._note_chain(exc.__cause__, seen)
        self._note_chain(exc.__context__, seen)

    def url(self, password: str = PASSWORD) -> str:
        return self.server.url.replace("unix://", f"unix://app:{password}@")

    def keys(self, key: bytes = KEY, name: str = "k") -> str:
        return f"{name}:{base64.b64encode(key).decode()}"


def _is_plain(args: tuple[object, ...]) -> bool:
    return all(isinstance(each, (str, int, float)) for each in args)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """Yield a server that knows a user with the password."""
    with RedisServer() as started:
        admin: Any = started.client()
        admin.execute_command(
            "ACL", "SETUSER", "app", "on", f">{PASSWORD}", "~*", "&*", "+@all", "-config"
        )
        yield started


def use(store: RedisSessionManager) -> Any:
    """Do a bit of everything; return what was answered."""
    store.create_session("s", {"a": 1}, user_id="ada")
    turn = store.begin_turn("s", "Hi")
    answers = [turn, store.commit_turn(turn, [Message("assistant", "Hello")])]
    answers += [store.session_state("s"), store.load_thread("s"), store.read_events("s")]
    answers += [store.renew_session_id("s"), store.list_sessions(), store.cache_set("k", 1)]
    answers += [store.lock("l"), store.stats(), store.health(), store.cache_stats, store.config]
    with store.lock("l") as lock:
        answers.append(lock)
    store.subscribe(["c"])
    return answers, diagnose(store), store.stats()


def _by_url(heard: Heard) -> None:
    with RedisSessionManager(RedisConfig(url=heard.url())) as store:
        heard.note(use(store), store, store.parts, store.parts.core, store.parts.core.connections)
        heard.note(store.client, store.client.connection_pool)


def _by_settings(heard: Heard) -> None:
    config = RedisConfig(url=heard.server.url, username="app", password=PASSWORD)
    with RedisSessionManager(config) as store:
        heard.note(use(store), config, config.address, store.client)
        heard.fails(lambda: store.client.execute_command("CONFIG", "GET", "*"))
        heard.fails(lambda: store.create_session("s", ttl=-1))


def _by_provider(heard: Heard) -> None:
    class Vault(redis.CredentialProvider):
        def get_credentials(self) -> tuple[str, str]:
            return "app", PASSWORD

    for source in (Vault(), lambda: ("app", PASSWORD)):
        config = RedisConfig(url=heard.server.url, credential_provider=source)
        with RedisSessionManager(config) as store:
            store.client.flushdb()
            heard.note(use(store), config, store.client)


def _by_a_provider_that_is_wrong(heard: Heard) -> None:
    sources: list[Any] = [
        lambda: WRONG,
        lambda: ("app", WRONG),
        lambda: ("app", WRONG, WRONG),
        lambda: [WRONG],
        lambda: {"password": WRONG},
        lambda: ("app", WRONG.encode()),
    ]
    for source in sources:
        config = RedisConfig(url=heard.server.url, credential_provider=source)
        heard.fails(lambda config=config: RedisSessionManager(config).connect())


def _refused(heard: Heard) -> None:
    store = RedisSessionManager(RedisConfig(url=heard.url(WRONG)))
    heard.fails(store.connect)
    heard.fails(lambda: store.create_session("s"))
    heard.note(store.health(), store.health_check(), store.stats(), diagnose(store), store)


def _nobody_is_there(heard: Heard) -> None:
    port = free_port()
    for scheme, tail in (
        ("redis", ""),
        ("rediss", ""),
        ("redis+cluster", ""),
        ("redis+sentinel", f"/main?sentinel_username=app&sentinel_password={WRONG}"),
    ):
        url = f"{scheme}://app:{PASSWORD}@127.0.0.1:{port}{tail}"
        store = RedisSessionManager(RedisConfig(url=url))
        heard.fails(store.connect)
        heard.fails(lambda store=store: store.append_to_thread("s", Message("user", "x")))
        heard.note(store.config, store.health(), diagnose(store), store.stats())
        store.disconnect()


def _urls_that_are_wrong(heard: Heard) -> None:
    for url in (
        f"redis:/app:{PASSWORD}@h",
        f"redis://app:{PASSWORD}@h:port",
        f"redis://app:{PASSWORD}@h/db",
        f"redis://app:{PASSWORD}@[h",
        f"http://app:{PASSWORD}@h",
        f"redis://h?passwort={PASSWORD}",
        f"redis://h?password={PASSWORD}&password={WRONG}",
        f"redis+sentinel://:{PASSWORD}@h",
        PASSWORD,
    ):
        heard.succeeds(lambda url=url: parse_url(url))  # it does not look at options
        heard.fails(lambda url=url: RedisConfig(url=url).address)
    heard.fails(lambda: RedisConfig(url=f"redis://:{PASSWORD}@h", password=WRONG))
    heard.fails(lambda: RedisConfig.from_env({"REDIS_PASSWORD": PASSWORD, "REDIS_PORT": "x"}))
    heard.fails(lambda: RedisConfig(password=PASSWORD.encode()))  # type: ignore[arg-type]
    heard.fails(lambda: RedisConfig(url="redis://h", ssl_password=PASSWORD).address)


def _a_key_of_tls(heard: Heard) -> None:
    file = heard.folder / "key.pem"
    file.write_text("no key")
    config = RedisConfig(
        url="rediss://127.0.0.1:1",
        ssl_certfile=str(file),
        ssl_keyfile=str(file),
        ssl_password=PASSWORD,
    )
    heard.note(config)
    heard.fails(RedisSessionManager(config).connect)


def _encrypted(heard: Heard) -> None:
    config = RedisConfig(url=heard.url(), encryption_keys=heard.keys())
    with RedisSessionManager(config) as store:
        heard.note(use(store), config, store.parts.core.format, EncryptedFormat({"k": KEY}))
        store.create_session("e", {"a": 1})
    for keys in (heard.keys(OTHER_KEY), heard.keys(OTHER_KEY, "other"), None):
        other = RedisConfig(url=heard.url(), encryption_keys=keys)
        with RedisSessionManager(other) as store:
            heard.fails(lambda store=store: store.session_state("e"))
            heard.note(diagnose(store), store.stats())


def _keys_that_are_wrong(heard: Heard) -> None:
    def broken() -> KeyRing:
        return KeyRing("other", {"k": KEY})

    sources: list[Any] = [
        heard.keys(KEY[:20]),
        base64.b64encode(KEY).decode(),
        f"k={base64.b64encode(KEY).decode()}",
        f"k:{KEY.decode()}",
        {"k": KEY.decode()},
        {base64.b64encode(KEY).decode() + "/": KEY},
        {"k": KEY + b"x"},
        [KEY],
        lambda: KEY,
        lambda: heard.keys(KEY[:20]),
        broken,
    ]
    for source in sources:

        def connect(source: Any = source) -> None:
            config = RedisConfig(url=heard.url(), encryption_keys=source)
            heard.note(config)
            with RedisSessionManager(config) as store:
                store.create_session("x")

        heard.fails(connect)
    heard.note(KeyRing("k", {"k": KEY}))


def _spooled(heard: Heard) -> None:
    folder = heard.folder / "spool"
    config = RedisConfig(
        url=heard.url(), spool_dir=str(folder), encryption_keys=heard.keys(), namespace="spool"
    )
    with RedisSessionManager(config) as store:
        store.create_session("s")
        spool = Spool(folder, store.parts)
        spool.open()
        turn = store.begin_turn("s", "Hi")
        spool.keep(turn, [Message("assistant", "Hello")], UsageTotals())
        heard.note(spool, turn, diagnose(store))
    for path in (path for path in folder.rglob("*") if path.is_file()):
        heard.note(path, path.read_bytes())


def _agent(heard: Heard) -> None:
    config = RedisConfig(url=heard.url(), encryption_keys=heard.keys())
    settings = AgentConfig(model="demo")
    with SessionAgent(settings, redis_config=config) as agent:
        manager = SessionManager(agent)
        sid = manager.create_or_resume_session("ada")
        heard.note(manager.run(sid, "Hi"), agent.stats(), agent, manager, agent.config)
    broken = SessionAgent(settings, redis_config=RedisConfig(url=heard.url(WRONG)))
    heard.fails(broken.initialize)
    broken.shutdown()


def _asyncio(heard: Heard) -> None:
    async def talk() -> None:
        config = RedisConfig(url=heard.url(), encryption_keys=heard.keys())
        async with aio.RedisSessionManager(config) as store:
            await store.create_session("a")
            heard.note(store, store.client, store.stats(), await store.session_state("a"))

    async def refused() -> None:
        await aio.RedisSessionManager(RedisConfig(url=heard.url(WRONG))).connect()

    asyncio.run(talk())
    heard.fails(lambda: asyncio.run(refused()))


def _command_line(heard: Heard) -> None:
    with RedisSessionManager(RedisConfig(url=heard.url())) as store:
        store.create_session("s", user_id="ada")
    for arguments in (
        ["doctor"],
        ["doctor", "--json"],
        ["list"],
        ["history", "s", "--user", "ada"],
        ["history", "nope", "--debug"],
    ):
        heard.fails(lambda arguments=arguments: main([*arguments, "--url", heard.url()]))
        heard.fails(lambda arguments=arguments: main([*arguments, "--url", heard.url(WRONG)]))
    for url in (f"redis://app:{PASSWORD}@127.0.0.1:{free_port()}", f"redis://:{PASSWORD}@h:port"):
        heard.fails(lambda url=url: main(["doctor", "--debug", "--url", url]))
        heard.fails(lambda url=url: main(["list", "--debug", "--url", url]))


PATHS: dict[str, Callable[[Heard], None]] = {
    "a password in the url": _by_url,
    "a password of its own": _by_settings,
    "a provider": _by_provider,
    "a provider that is wrong": _by_a_provider_that_is_wrong,
    "a password that is refused": _refused,
    "nobody is there": _nobody_is_there,
    "urls that are wrong": _urls_that_are_wrong,
    "the key of TLS": _a_key_of_tls,
    "encryption": _encrypted,
    "keys that are wrong": _keys_that_are_wrong,
    "the spool": _spooled,
    "an agent": _agent,
    "asyncio": _asyncio,
    "the command line": _command_line,
}


@pytest.mark.parametrize("path", PATHS)
def test_no_secret_comes_out(
    path: str,
    server: RedisServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.client().flushdb()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.DEBUG)
    heard = Heard(server, tmp_path)
    PATHS[path](heard)
    out, err = capfd.readouterr()
    shown = [*heard.said, caplog.text, out, err]
    shown += [repr(vars(record)) for record in caplog.records]
    for text in shown:
        for form in FORMS:
            at = text.find(form)
            assert at < 0, f"{path}: …{text[max(0, at - 300) : at + 60]}…"
    assert sum(map(len, shown)) > 200


def test_the_same_search_finds_what_is_shown(server: RedisServer, tmp_path: Path) -> None:
    heard = Heard(server, tmp_path)

    def fail() -> None:
        try:
            raise ValueError(PASSWORD)
        except ValueError:
            raise KeyError("hidden") from None

    heard.fails(fail)
    assert any(PASSWORD in text for text in heard.said)
    heard.said.clear()
    heard.note(heard.keys(), KEY.hex())
    assert all(any(form in text for text in heard.said) for form in FORMS[1:])
