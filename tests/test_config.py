"""RedisConfig: every URL form, every environment variable, and what is wrong with them."""

from __future__ import annotations

import copy
import math
import pickle
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import quote

import pytest
from attrs import evolve, fields

from miniagent_redis.config.address import Address, parse_url
from miniagent_redis.config.redis import RedisConfig
from miniagent_redis.errors import InvalidInput

URLS: list[tuple[str, Address]] = [
    ("redis://", Address("redis", (("localhost", 6379),))),
    ("redis://example.org", Address("redis", (("example.org", 6379),))),
    ("redis://example.org:7000/3", Address("redis", (("example.org", 7000),), 3)),
    ("redis://example.org/?db=4", Address("redis", (("example.org", 6379),), 4)),
    ("redis://:pw@h", Address("redis", (("h", 6379),), password="pw")),
    ("redis://ada:pw@h:1", Address("redis", (("h", 1),), username="ada", password="pw")),
    ("redis://a%40b:p%3A%2F%23%3F%40w@h", Address("redis", (("h", 6379),), username="a@b",
                                                   password="p:/#?@w")),
    ("redis://u:p@w@h", Address("redis", (("h", 6379),), username="u", password="p@w")),
    ("redis://[::1]:6380/1", Address("redis", (("::1", 6380),), 1)),
    ("redis://[fe80::1]", Address("redis", (("fe80::1", 6379),))),
    ("rediss://h:6390", Address("rediss", (("h", 6390),))),
    ("valkey://h/2", Address("redis", (("h", 6379),), 2)),
    ("valkeys://u:pw@h", Address("rediss", (("h", 6379),), username="u", password="pw")),
    ("unix:///run/redis.sock", Address("unix", path="/run/redis.sock")),
    ("unix:///run/redis.sock?db=2", Address("unix", db=2, path="/run/redis.sock")),
    ("unix://u:pw@/run/a%20b.sock", Address("unix", path="/run/a b.sock", username="u",
                                            password="pw")),
    ("redis+sentinel://s1,s2:26380/mymaster", Address(
        "redis+sentinel", (("s1", 26379), ("s2", 26380)), service="mymaster")),
    ("redis+sentinel://:pw@s1/main/2", Address(
        "redis+sentinel", (("s1", 26379),), 2, service="main", password="pw")),
    ("redis+sentinel://[::1]:1,[::2]/m", Address(
        "redis+sentinel", (("::1", 1), ("::2", 26379)), service="m")),
    ("redis+sentinel://u:pw@s1/m?sentinel_username=w&sentinel_password=a%2Fb%20c&db=1", Address(
        "redis+sentinel", (("s1", 26379),), 1, service="m", username="u", password="pw",
        sentinel_username="w", sentinel_password="a/b c")),
    ("redis+cluster://n1:7000,n2:7001", Address("redis+cluster", (("n1", 7000), ("n2", 7001)))),
    ("rediss+sentinel://a/m", Address(
        "redis+sentinel", (("a", 26379),), service="m", is_tls=True)),
    ("rediss+cluster://a", Address("redis+cluster", (("a", 6379),), is_tls=True)),
    ("redis+multidb://u:p@a,b:1/2", Address(
        "redis+multidb", (("a", 6379), ("b", 1)), 2, username="u", password="p")),
    ("valkeys+multidb://a,b", Address(
        "redis+multidb", (("a", 6379), ("b", 6379)), is_tls=True)),
    ("redis://h?username=u&password=p", Address(
        "redis", (("h", 6379),), username="u", password="p")),
    ("redis+cluster://n1", Address("redis+cluster", (("n1", 6379),))),
    ("redis+cluster://n1,n1:6379", Address("redis+cluster", (("n1", 6379),))),
    ("redis+sentinel://s,s,t/m", Address(  # which is no majority of three
        "redis+sentinel", (("s", 26379), ("t", 26379)), service="m")),
    ("embedded://", Address("embedded")),
    ("embedded:///var/lib/chat", Address("embedded", path="/var/lib/chat")),
    ("memory://", Address("memory")),
    ("memory://name", Address("memory", path="name")),
]  # fmt: skip

BAD_URLS = [
    "", "redis", "redis:/h", "http://h", "REDIS://h", "redis://h:port", "redis://h:70000",
    "redis://h:0", "redis://h:-1", "redis://h/abc", "redis://h/1/2", "redis://h/-1",
    "redis://h?db=x", "redis://h/1?db=2", "redis://h?db=1&db=1", "redis://h1,h2",
    "rediss://h1,h2", "redis://[::1",
    "redis://h#fragment", "unix://", "unix://relative/path", "unix:///", "redis+sentinel://h",
    "redis+sentinel://h/m/x", "redis+cluster://h/1", "redis+cluster://h?db=1", "memcached://h",
    "redis://h1,,h2", "redis+cluster://h1,,h2",
    "redis+multidb://h", "redis+multidb://h,h:6379", ]  # fmt: skip


@pytest.mark.parametrize(("url", "address"), URLS, ids=[url for url, _ in URLS])
def test_every_url_form_is_understood(url: str, address: Address) -> None:
    assert parse_url(url) == address
    assert RedisConfig(url=url).address == address


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_bad_url_is_refused_at_once_with_the_reason(url: str) -> None:
    with pytest.raises(InvalidInput, match="not a Redis URL") as caught:
        RedisConfig(url=url)
    assert caught.value.cause


@pytest.mark.parametrize("password", ["pass/word", "pass?word", "pass#word", "/", "p/a?b", "p?a/b"])
def test_a_password_that_is_not_quoted_is_told_as_that(password: str) -> None:
    with pytest.raises(InvalidInput, match="in a password") as caught:
        RedisConfig(url=f"redis://user:{password}@h/1")
    assert password not in repr(caught.value) or len(password) == 1


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("redis://h/abc?username=me@corp", "not a number"),
        ("redis://h/1?client_name=a@b&db=2", "two database numbers"),
        ("redis://h?password=p@ss&db=1&db=1", "one option twice"),
        ("redis+sentinel://h?sentinel_password=p@ss", "service name"),
        ("redis://u:p@h/a@b", "not a number"),
    ],
)
def test_an_at_sign_elsewhere_hides_no_other_reason(url: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        RedisConfig(url=url)


@pytest.mark.parametrize("name", ["a b", "a\n", "ä", "\x7f", 5])
def test_a_name_that_no_server_takes_is_told_before_one_is_asked(name: object) -> None:
    with pytest.raises(InvalidInput, match="client_name"):
        RedisConfig(host="h", client_name=name)  # type: ignore[arg-type]
    if isinstance(name, str):
        with pytest.raises(InvalidInput, match="client_name"):
            RedisConfig(url=f"redis://h?client_name={quote(name)}")


@pytest.mark.parametrize("url", [5, b"redis://h", ["redis://h"]])
def test_a_url_must_be_text(url: object) -> None:
    with pytest.raises(InvalidInput):
        RedisConfig(url=url)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:hunter2@h:port",
        "redis://:hunter2@h?no=1",
        "redis://:hunter2@h1,h2",
        "rediss://user:hunter2@h/x",
        "unix://:hunter2@relative",
        "redis+cluster://:hunter2@h/3",
        "nonsense://u:hunter2@h",
        # Not percent-encoded, as people paste them.
        "redis://user:hun#hunter2@h:6379/0",
        "redis://user:hunter2#x@h:6379/0",
        "redis://user:hunter2/x@h:6379/0",
        "redis://user:hunter2?x@h:6379/0",
        "redis://user:123/hunter2@h:6379/0",
        "redis://user:123?hunter2=x@h:6379/0",
        # Not a URL at all, or of another kind.
        "redis:/user:hunter2@h",
        "rediss//:hunter2@h",
        "redis://:hunter2",
        "redis://h?password=hunter2&password=x",
        "redis://:x@h?password=hunter2",
        "redis://h?password=hunter2&timeout=x",
        "rediss://h?ssl_password=hunter2&timeout=x",
        "redis://h?ssl_password=hunter2",
        "redis://h?hunter2=1",
        "hunter2://user:hunter2@h",
        "hunter2",
        "redis://user:hunter2",
        "ftp://hunter2:21",
    ],
)
def test_no_error_about_a_url_shows_its_password(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        RedisConfig(url=url)
    assert "hunter2" not in "".join(traceback.format_exception_only(caught.value))
    assert "hunter2" not in repr(caught.value)
    assert caught.value.__cause__ is None or "hunter2" not in repr(caught.value.__cause__)


@pytest.mark.parametrize(
    "config",
    [
        RedisConfig(password="hunter2", username="ada"),
        RedisConfig(url="redis://ada:hunter2@h:1/2"),
        RedisConfig(url="unix://ada:hunter2@/s"),
        RedisConfig(url="redis://h", password="hunter2"),
    ],
    ids=["fields", "url", "unix", "both"],
)
def test_neither_config_nor_address_shows_the_password(config: RedisConfig) -> None:
    assert config.address.password == "hunter2"
    for shown in (repr(config), str(config), repr(config.address), str(config.address)):
        assert "hunter2" not in shown


def test_user_and_password_fill_in_what_the_url_lacks() -> None:
    config = RedisConfig(url="redis://h", username="ada", password="pw")
    assert (config.address.username, config.address.password) == ("ada", "pw")
    config = RedisConfig(url="redis://ada@h", password="pw")
    assert (config.address.username, config.address.password) == ("ada", "pw")


@pytest.mark.parametrize(
    ("url", "settings", "named"),
    [
        ("redis://prod:6379/0", {"ssl": True}, ("ssl", "rediss://")),
        ("unix:///s", {"ssl": True}, ("ssl", "unix:///s")),
        ("redis://prod", {"db": 3}, ("db=3", "redis://prod:6379")),
        ("redis://prod", {"host": "other"}, ("host='other'", "'prod'")),
        ("redis://prod", {"port": 7000}, ("port=7000", "6379")),
        ("unix:///s", {"port": 7000}, ("port=7000", "unix:///s")),
        ("memory://", {"host": "prod"}, ("host='prod'", "memory://")),
        ("redis+sentinel://a,b/m", {"host": "a"}, ("host='a'", "redis+sentinel://")),
        ("redis://bob:other@h", {"username": "ada"}, ("username='ada'", "'bob'")),
        ("redis://bob:hunter2@h", {"password": "letmein"}, ("password", "url")),
    ],
)
def test_a_url_and_a_setting_that_contradict_it_are_refused_by_name(
    url: str, settings: dict[str, Any], named: tuple[str, ...]
) -> None:
    with pytest.raises(InvalidInput) as caught:
        RedisConfig(url=url, **settings)
    for text in named:
        assert text in str(caught.value)
    for secret in ("hunter2", "letmein"):
        assert secret not in str(caught.value)


def test_a_url_and_settings_that_say_the_same_are_fine() -> None:
    config = RedisConfig(
        url="rediss://ada:pw@h:7000/2", host="h", port=7000, db=2, ssl=True,
        username="ada", password="pw",
    )  # fmt: skip
    assert str(config.address) == "rediss://h:7000/2"


def test_the_address_follows_a_setting_that_is_changed_later() -> None:
    config = RedisConfig(host="a")
    assert config.address is config.address
    config.host, config.ssl = "b", True
    assert str(config.address) == "rediss://b:6379"


def test_credentials_come_from_one_place_and_are_never_shown() -> None:
    config = RedisConfig(credential_provider=partial(str, "hunter2"))
    assert "hunter2" not in repr(config)
    for settings in ({"password": "x"}, {"url": "redis://ada@h"}, {"username": "ada"}):
        with pytest.raises(InvalidInput, match="credential_provider"):
            RedisConfig(**{"credential_provider": lambda: "x", **settings})  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="credential_provider"):
        RedisConfig(credential_provider="hunter2")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://u:p@h:1/2", "redis://h:1/2"),
        ("redis://[::1]:5", "redis://[::1]:5"),
        ("unix:///s?db=3", "unix:///s?db=3"),
        ("redis+sentinel://a,b:5/m/1", "redis+sentinel://a:26379,b:5/m/1"),
        ("rediss+sentinel://a/m", "rediss+sentinel://a:26379/m"),
        ("rediss+cluster://a?ssl_password=x", "rediss+cluster://a:6379"),
        ("embedded://", "embedded://"),
    ],
)
def test_an_address_names_itself_for_people(url: str, shown: str) -> None:
    assert str(parse_url(url)) == shown


def pickled(config: RedisConfig) -> RedisConfig:
    copied: RedisConfig = pickle.loads(pickle.dumps(config))
    return copied


OPTIONS: dict[str, tuple[str, Any]] = {
    "protocol=3": ("protocol", 3),
    "client_name=web": ("client_name", "web"),
    "socket_timeout=2.5": ("socket_timeout", 2.5),
    "socket_connect_timeout=1": ("socket_connect_timeout", 1.0),
    "retry_on_timeout=False": ("retry_on_timeout", False),
    "max_connections=7": ("max_connections", 7),
    "timeout=20": ("pool_timeout", 20.0),
    "health_check_interval=10": ("health_check_interval", 10.0),
    "ssl_cert_reqs=none": ("ssl_cert_reqs", "none"),
    "ssl_check_hostname=false": ("ssl_check_hostname", False),
    "ssl_ca_certs=/ca.pem": ("ssl_ca_certs", "/ca.pem"),
    "ssl_ca_path=/ca": ("ssl_ca_path", "/ca"),
    "ssl_ca_data=x": ("ssl_ca_data", "x"),
    "ssl_certfile=/c.pem": ("ssl_certfile", "/c.pem"),
    "ssl_keyfile=/k.pem": ("ssl_keyfile", "/k.pem"),
    "ssl_password=p%26q": ("ssl_password", "p&q"),
}


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_of_a_url_is_a_setting(option: str) -> None:
    name, value = OPTIONS[option]
    url = f"rediss://h?{option}&socket_keepalive=True"
    assert getattr(RedisConfig(url=url), name) == value
    assert getattr(RedisConfig(url=url, **{name: value}), name) == value  # it says the same
    assert getattr(evolve(RedisConfig(url=url), namespace="n"), name) == value
    config = RedisConfig()
    config.url = url
    assert getattr(config, name) == value


def test_an_option_and_a_setting_that_say_two_things_are_refused() -> None:
    cases: list[tuple[str, str, Any]] = [
        ("socket_timeout=2", "socket_timeout", 3),
        ("ssl_password=hunter2", "ssl_password", "other"),
    ]
    for option, name, value in cases:
        with pytest.raises(InvalidInput, match=name) as caught:
            RedisConfig(url=f"rediss://h?{option}", **{name: value})
        assert "hunter2" not in str(caught.value)
        assert "other" not in caught.value.problem.replace("another", "")
    with pytest.raises(InvalidInput, match="socket_timeout"):
        RedisConfig.from_env(
            {"REDIS_URL": "redis://h?socket_timeout=2", "MINIAGENT_SOCKET_TIMEOUT": "3"}
        )


@pytest.mark.parametrize(
    "option", ["decode_responses=true", "socket_keepalive=0", "unheard_of=1", "sentinel=x"]
)
def test_an_option_that_is_not_heard_is_refused_with_those_that_are(option: str) -> None:
    with pytest.raises(InvalidInput, match="option that cannot be given"):
        RedisConfig(url=f"redis+sentinel://h/m?sentinel_username=a&{option}")
    with pytest.raises(InvalidInput, match="option that cannot be given") as caught:
        RedisConfig(url=f"redis://h?{option}")
    assert ("decode_responses" in str(caught.value)) == option.startswith("decode")
    assert "socket_timeout" in caught.value.hint


@pytest.mark.parametrize("option", ["socket_timeout=soon", "protocol=4", "ssl_cert_reqs=maybe"])
def test_an_option_that_does_not_fit_is_refused_by_name(option: str) -> None:
    with pytest.raises(InvalidInput, match=option.partition("=")[0]):
        RedisConfig(url=f"rediss://h?{option}")


@pytest.mark.parametrize("url", ["redis://h", "redis+cluster://h", None])
def test_settings_of_tls_are_refused_where_none_is_spoken(url: str | None) -> None:
    address: dict[str, Any] = {"host": "h"} if url is None else {"url": url}
    with pytest.raises(InvalidInput, match="ssl_ca_certs is given, but no TLS") as caught:
        RedisConfig(**address, ssl_ca_certs="/ca.pem")
    assert "rediss://" in caught.value.hint


def test_no_certificate_need_be_asked_for_by_either_spelling() -> None:
    assert RedisConfig(host="h", ssl=True, ssl_cert_reqs=None).ssl_cert_reqs == "none"  # type: ignore[arg-type]
    assert RedisConfig.from_env({"REDIS_HOST": "h", "REDIS_SSL": "1", "REDIS_SSL_CERT_REQS": "none",
                                 "REDIS_PROTOCOL": "3"}).protocol == 3  # fmt: skip


@pytest.mark.parametrize("copied", [lambda config: config, copy.deepcopy, evolve, pickled])
def test_where_no_server_is_named_it_is_that_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, copied: Callable[[RedisConfig], RedisConfig]
) -> None:
    """So that it is the same for who gives settings and for who gives none."""
    for name in ("REDIS_URL", "REDIS_HOST", "REDIS_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    assert str(copied(RedisConfig(session_ttl=60)).address) == "embedded://"
    monkeypatch.setenv("REDIS_URL", "redis://:secret@there/1")
    assert copied(RedisConfig()).address == RedisConfig.from_env().address
    assert copied(RedisConfig()).address.password == "secret"


def test_what_the_environment_says_of_that_server_comes_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REDIS_URL", "rediss://there?socket_timeout=7")
    monkeypatch.setenv("REDIS_SSL_CA_CERTS", "/ca.pem")
    config = RedisConfig(session_ttl=60)
    assert (config.socket_timeout, config.ssl_ca_certs) == (7, "/ca.pem")
    with pytest.raises(InvalidInput, match="socket_timeout"):
        RedisConfig(socket_timeout=3)


@pytest.mark.parametrize("setting", [{"host": "localhost"}, {"port": 6380}, {"db": 1}])
def test_one_that_is_named_is_the_one_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, setting: dict[str, Any]
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://there/1")
    address = pickled(RedisConfig(**setting)).address
    assert address.nodes == (("localhost", setting.get("port", 6379)),)
    config = RedisConfig()
    config.host = "elsewhere"
    assert str(config.address) == "redis://elsewhere:6379"


def test_without_a_url_the_fields_are_the_address() -> None:
    config = RedisConfig(host="h", port=1, db=2, username="u", password="p", ssl=True)
    assert config.address == Address("rediss", (("h", 1),), 2, username="u", password="p")


@pytest.mark.parametrize(
    ("env", "address"),
    [
        ({}, "embedded://"),
        ({"REDIS_URL": ""}, "embedded://"),
        ({"REDIS_URL": "redis://h/1"}, "redis://h:6379/1"),
        ({"REDIS_HOST": "h"}, "redis://h:6379"),
        ({"REDIS_HOST": "h", "REDIS_PORT": "1", "REDIS_DB": "2"}, "redis://h:1/2"),
        ({"REDIS_HOST": "h", "REDIS_SSL": "yes"}, "rediss://h:6379"),
        ({"REDIS_URL": "redis://a", "REDIS_HOST": "a"}, "redis://a:6379"),
        ({"REDIS_PORT": "1"}, "embedded://"),
        ({"REDIS_HOST": "h", "REDIS_PORT": "tcp://10.0.0.1:6380"}, "redis://h:6380"),
        ({"REDIS_URL": "redis://h:1/2", "REDIS_PORT": "tcp://10.0.0.1:6380"}, "redis://h:1/2"),
        ({"REDIS_PORT": "tcp://10.0.0.1:6380"}, "embedded://"),
        ({"HOME": "/root", "REDIS_PASSWORD": "x"}, "embedded://"),
    ],
)
def test_the_environment_names_the_server(env: dict[str, str], address: str) -> None:
    assert str(RedisConfig.from_env(env).address) == address


@pytest.mark.parametrize(
    ("env", "name", "value"),
    [
        ({"REDIS_USERNAME": "ada"}, "username", "ada"),
        ({"REDIS_PASSWORD": "p w"}, "password", "p w"),
        ({"REDIS_PASSWORD": ""}, "password", ""),
        ({"REDIS_HOST": "h", "REDIS_SSL": "TRUE"}, "ssl", True),
        ({"REDIS_HOST": "h", "REDIS_SSL": "0"}, "ssl", False),
        ({"REDIS_HOST": "h", "REDIS_SSL": "Off"}, "ssl", False),
        ({"REDIS_SSL_CHECK_HOSTNAME": "no"}, "ssl_check_hostname", False),
        ({"REDIS_SSL_CA_CERTS": "/ca"}, "ssl_ca_certs", "/ca"),
        ({"MINIAGENT_SESSION_TTL": "0.5"}, "session_ttl", 0.5),
        ({"MINIAGENT_SESSION_TTL": ""}, "session_ttl", 3600),
        ({"MINIAGENT_SESSION_MAX_AGE": "86400"}, "session_max_age", 86400.0),
        ({"MINIAGENT_MAX_SESSIONS_PER_USER": "5"}, "max_sessions_per_user", 5),
        ({"MINIAGENT_MAX_SESSION_SIZE": "1000"}, "max_session_size", 1000),
        ({"MINIAGENT_MAX_CONNECTIONS": " 7 "}, "max_connections", 7),
        ({"MINIAGENT_RETRY_ON_TIMEOUT": "off"}, "retry_on_timeout", False),
        ({"MINIAGENT_NAMESPACE": "acme"}, "namespace", "acme"),
        ({"MINIAGENT_LEASE_TTL": "10"}, "lease_ttl", 10.0),
        ({"MINIAGENT_POOL_TIMEOUT": "0"}, "pool_timeout", 0.0),
        # As in Flask's configuration.
        ({"REDIS_HOST": "h", "REDIS_PORT": 6380}, "port", 6380),
        ({"REDIS_HOST": "h", "REDIS_SSL": True}, "ssl", True),
        ({"REDIS_HOST": "h", "REDIS_SSL": False}, "ssl", False),
        ({"REDIS_PASSWORD": 12345}, "password", "12345"),
        ({"REDIS_PASSWORD": None}, "password", None),
        ({"MINIAGENT_RETRY_ON_TIMEOUT": 0}, "retry_on_timeout", False),
        ({"MINIAGENT_SESSION_TTL": 60}, "session_ttl", 60.0),
        ({"MINIAGENT_SESSION_TTL": 0.5}, "session_ttl", 0.5),
        ({"MINIAGENT_SESSION_TTL": None}, "session_ttl", 3600),
        ({"MINIAGENT_SESSION_MAX_AGE": None}, "session_max_age", None),
        ({"MINIAGENT_MAX_CONNECTIONS": 7}, "max_connections", 7),
    ],
)
def test_the_environment_sets(env: dict[str, str], name: str, value: object) -> None:
    found = getattr(RedisConfig.from_env(env), name)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"REDIS_PORT": "abc"}, "REDIS_PORT='abc' is not usable: it is not a whole number"),
        ({"REDIS_PORT": "1.5"}, "REDIS_PORT"),
        ({"REDIS_PORT": "tcp://10.0.0.1"}, "REDIS_PORT"),
        ({"REDIS_HOST": "h", "REDIS_PORT": "70000"}, "port"),
        ({"REDIS_SSL": "maybe"}, "REDIS_SSL"),
        ({"MINIAGENT_SESSION_TTL": "long"}, "MINIAGENT_SESSION_TTL"),
        ({"MINIAGENT_SESSION_TTL": "-1"}, "session_ttl"),
        ({"MINIAGENT_SESSION_TTL": "nan"}, "session_ttl"),
        ({"MINIAGENT_MAX_SESSION_SIZE": "1MB"}, "MINIAGENT_MAX_SESSION_SIZE"),
        ({"REDIS_URL": "localhost:6379"}, "not a Redis URL"),
        ({"REDIS_HOST": "h", "REDIS_PORT": 6379.5}, "port"),
        ({"REDIS_HOST": "h", "REDIS_PORT": True}, "REDIS_PORT"),
        ({"REDIS_HOST": ["h"]}, "REDIS_HOST"),
        ({"REDIS_SSL": 2}, "REDIS_SSL"),
        ({"REDIS_URL": "redis://a", "REDIS_HOST": "b"}, "host"),
        ({"REDIS_URL": "redis://a", "REDIS_SSL": "true"}, "ssl"),
        ({"REDIS_URL": "redis://a", "REDIS_DB": "7"}, "db"),
    ],
)
def test_a_bad_variable_is_named(env: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        RedisConfig.from_env(env)


def test_arguments_win_over_the_environment() -> None:
    env = {"REDIS_URL": "redis://env", "MINIAGENT_SESSION_TTL": "5"}
    assert RedisConfig.from_env(env, session_ttl=9).session_ttl == 9
    assert str(RedisConfig.from_env(env, url="memory://x").address) == "memory://x"
    assert str(RedisConfig.from_env(env, host="arg").address) == "redis://arg:6379"
    env |= {"REDIS_HOST": "env", "REDIS_PORT": "1", "REDIS_PASSWORD": "theirs"}
    address = RedisConfig.from_env(env, url="redis://:ours@arg/3").address
    assert (str(address), address.password) == ("redis://arg:6379/3", "ours")
    assert RedisConfig.from_env(env, url="redis://arg").address.password == "theirs"


def test_a_variable_that_holds_a_secret_is_named_and_not_shown() -> None:
    with pytest.raises(InvalidInput, match="REDIS_PASSWORD") as caught:
        RedisConfig.from_env({"REDIS_HOST": "h", "REDIS_PASSWORD": ["hunter2"]})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (name, value)
        for name in (
            "session_ttl", "session_max_age", "max_session_size", "lease_ttl", "commit_timeout",
            "socket_timeout", "socket_connect_timeout", "max_connections", "health_check_interval",
        )
        for value in (0, -1, math.nan, math.inf, "5", True, b"5")
    ]
    + [
        ("max_connections", 1.5), ("max_session_size", 10.5), ("port", 0), ("port", 65536),
        ("port", "6379"), ("port", True), ("db", -1), ("db", 1.0), ("host", ""), ("host", None),
        ("pool_timeout", -1), ("pool_timeout", None), ("pool_timeout", math.inf),
    ],
)  # fmt: skip
def test_a_bad_value_is_refused_by_name_before_anything_connects(name: str, value: object) -> None:
    settings: dict[str, Any] = {name: value}
    with pytest.raises(InvalidInput, match=name):
        RedisConfig(**settings)


def test_every_setting_has_its_own_variable_and_a_description() -> None:
    variables = {setting.name: setting.metadata["env"] for setting in fields(RedisConfig)}
    assert variables.pop("credential_provider") is None  # code only: it is a function
    assert None not in variables.values()
    assert len(set(variables.values())) == len(variables)
    assert all(attribute.metadata["help"] for attribute in fields(RedisConfig))


SECRET = "PW" + "x" * 20


@pytest.mark.parametrize("form", [
    "redis:/u:{}@h", "rediss//:{}@h", "redis://:{}", "redis://h?password={}", "redis:{}@h", "{}",
    "//u:{}@h", "u:{}@h:6379", "redis://u:{}@h:port", "http://u:{}@h", "redis://h/{}", "redis//{}",
    "redis://u:{}#@h", "redis://h:{}", "unix://u:{}@", "embedded:/{}", "redis://u:{}@h/1/2",
    ":{}@h",
])  # fmt: skip
def test_no_error_about_an_address_shows_what_may_be_its_password(form: str) -> None:
    url = form.format(SECRET)
    for attempt in (
        lambda: RedisConfig(url=url),
        lambda: RedisConfig(host=url) if "@" in url or "://" in url else RedisConfig(url=url),
        lambda: RedisConfig.from_env({"REDIS_URL": url}),
    ):
        try:
            shown = repr(attempt())
        except InvalidInput as exc:
            shown = f"{exc!s} {exc!r}"
        assert SECRET not in shown


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("localhost:6379", "did you mean redis://localhost:6379?"),
        ("localhost", "did you mean redis://localhost?"),
        ("10.0.0.5:6380/2", "did you mean redis://10.0.0.5:6380/2?"),
        ("cache.example.com", "did you mean redis://cache.example.com?"),
        ("hunter2", ""),
        ("user:hunter2@cache.example.com", ""),
    ],
)
def test_a_host_without_a_scheme_is_told_how_it_is_written(url: str, hint: str) -> None:
    with pytest.raises(InvalidInput, match="is not a Redis URL") as caught:
        RedisConfig(url=url)
    assert caught.value.hint == hint
    assert "hunter2" not in str(caught.value)


def test_settings_of_a_host_that_is_not_named_are_not_ignored_without_a_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = RedisConfig.from_env({"REDIS_PORT": "6380", "REDIS_PASSWORD": "secret"})
    assert config.url == "embedded://"
    (told,) = caplog.messages
    assert told.startswith("REDIS_PASSWORD, REDIS_PORT: of no use without REDIS_HOST or REDIS_URL")
    assert "secret" not in told
    caplog.clear()
    of_kubernetes = {"REDIS_PORT": "tcp://10.0.0.1:6379"}
    for settings in ({}, of_kubernetes, {"REDIS_HOST": "h", "REDIS_DB": "1"}):
        RedisConfig.from_env(settings)
    assert caplog.messages == []
