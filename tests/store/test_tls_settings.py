"""The settings of TLS: each does what it says, and each file that is wrong is told by its name."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from miniagent_redis import InvalidInput, StoreMisconfigured, aio
from miniagent_redis.config.address import parse_url
from miniagent_redis.config.redis import RedisConfig
from miniagent_redis.store.manager import RedisSessionManager as Store
from tests.support.tls import Authority, TlsServer, authority
from tests.support.words import soon


@pytest.fixture(scope="module")
def ca() -> Iterator[Authority]:
    with authority() as made:
        yield made


@pytest.fixture(scope="module")
def server(ca: Authority) -> Iterator[TlsServer]:
    """Want a certificate of every client."""
    with TlsServer(ca, ca.issue("localhost"), clients="yes") as started:
        yield started


@pytest.fixture(scope="module")
def ours(ca: Authority) -> tuple[str, str]:
    return ca.issue("me")


@pytest.fixture
def settings(server: TlsServer, ca: Authority, ours: tuple[str, str]) -> dict[str, Any]:
    """Return settings that are in order."""
    certificate, key = ours
    return {"url": server.url, "ssl_ca_certs": ca.file, "ssl_certfile": certificate,
            "ssl_keyfile": key}  # fmt: skip


def works(**settings: Any) -> bool:
    with Store(RedisConfig(**settings)) as store:
        return store.health_check()


def refusal(**settings: Any) -> StoreMisconfigured:
    error = soon(StoreMisconfigured, Store(RedisConfig(**settings)).connect)
    assert error.cause
    assert "redis-server" not in error.hint
    return error


def test_trusted_authorities_may_be_given_as_text_or_as_a_folder(
    settings: dict[str, Any], ca: Authority, tmp_path: Path
) -> None:
    del settings["ssl_ca_certs"]
    assert works(**settings, ssl_ca_data=Path(ca.file).read_text())
    (tmp_path / "ours.pem").write_bytes(Path(ca.file).read_bytes())
    subprocess.run(["openssl", "rehash", str(tmp_path)], check=True)
    assert works(**settings, ssl_ca_path=str(tmp_path))


@pytest.mark.parametrize("none", ["none", "NONE", "CERT_NONE", None, ssl.CERT_NONE])
def test_a_certificate_that_signed_itself_is_taken_when_none_is_required(
    settings: dict[str, Any], none: Any
) -> None:
    del settings["ssl_ca_certs"]
    assert works(**{**settings, "url": settings["url"].replace("localhost", "127.0.0.1")},
                 ssl_cert_reqs=none)  # fmt: skip


@pytest.mark.parametrize("none", ["none", "CERT_NONE"])
def test_a_url_may_say_so(settings: dict[str, Any], none: str) -> None:
    """For commands, for the users' client and for that of asyncio."""
    del settings["ssl_ca_certs"]
    settings["url"] += f"?ssl_cert_reqs={none}"

    async def use() -> None:
        async with aio.RedisSessionManager(RedisConfig(**settings)) as manager:
            assert await manager.client.ping()

    with Store(RedisConfig(**settings)) as store:
        assert store.client.ping()
    asyncio.run(use())


def test_what_is_optional_is_still_checked(settings: dict[str, Any]) -> None:
    assert works(**settings, ssl_cert_reqs="optional")
    with authority() as stranger:
        error = refusal(**{**settings, "ssl_ca_certs": stranger.file}, ssl_cert_reqs="optional")
    assert "ssl_ca_certs" in error.hint


def test_a_key_may_be_encrypted(settings: dict[str, Any], tmp_path: Path) -> None:
    encrypted = str(tmp_path / "key.pem")
    command = ["openssl", "pkey", "-aes256", "-passout", "pass:open sesame"]
    subprocess.run([*command, "-in", settings["ssl_keyfile"], "-out", encrypted], check=True)
    settings["ssl_keyfile"] = encrypted
    assert works(**settings, ssl_password="open sesame")
    error = refusal(**settings)  # and nobody is asked for it at the terminal
    assert "there is no ssl_password" in error.cause
    assert "ssl_password" in error.hint
    error = refusal(**settings, ssl_password="wrong one")
    assert "does not open it" in error.cause
    assert "wrong one" not in str(error)


@pytest.mark.parametrize("name", ["ssl_ca_certs", "ssl_certfile", "ssl_keyfile"])
def test_a_file_that_is_missing_or_something_else_is_told_by_its_name(
    settings: dict[str, Any], tmp_path: Path, name: str
) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    for path, cause in ((tmp_path / "nowhere.pem", "No such file"), (nonsense, "nonsense.pem")):
        error = refusal(**{**settings, name: str(path)})
        assert cause in error.cause
        assert name in error.problem
        assert name in error.hint


def test_a_key_of_another_certificate_is_told(settings: dict[str, Any], ca: Authority) -> None:
    _, settings["ssl_keyfile"] = ca.issue("other")
    error = refusal(**settings)
    assert "does not belong" in error.problem
    assert "ssl_keyfile" in error.hint


def test_a_certificate_that_is_not_valid_yet_is_refused(ca: Authority) -> None:
    start = datetime.now(UTC) + timedelta(days=2)
    early = ca.issue("localhost", not_before=start, not_after=start + timedelta(days=9))
    with TlsServer(ca, early) as server:
        error = refusal(url=server.url, ssl_ca_certs=ca.file)
    assert "not yet valid" in error.cause
    assert "clock" in error.hint


@pytest.mark.parametrize(
    ("name", "value"),
    [("ssl_cert_reqs", "maybe"), ("ssl_cert_reqs", 7), ("ssl_ca_data", b"x")],
)
def test_a_value_that_cannot_be_is_refused_before_anything_connects(name: str, value: Any) -> None:
    with pytest.raises(InvalidInput, match=name):
        RedisConfig(ssl=True, **{name: value})


def test_several_nodes_can_be_spoken_to_over_tls() -> None:
    for url in ("rediss+sentinel://a,b/m", "valkeys+sentinel://a,b/m"):
        address = parse_url(url)
        assert (address.kind, address.is_tls) == ("redis+sentinel", True)
        assert str(address) == "rediss+sentinel://a:26379,b:26379/m"
    assert parse_url("rediss+cluster://a,b").is_tls
    assert not parse_url("redis+cluster://a,b").is_tls
    assert not parse_url("valkey+sentinel://a,b/m").is_tls
    with pytest.raises(InvalidInput) as caught:
        RedisConfig(url="redis+cluster://a,b", ssl=True)
    assert "rediss+cluster://" in caught.value.hint


def test_the_password_of_the_key_is_never_shown() -> None:
    config = RedisConfig(ssl=True, ssl_certfile="/c", ssl_password="hunter2")
    assert "hunter2" not in repr(config)
