"""What the doctor says of certificates: for how long they are valid, and whether anybody looks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from miniagent_redis import RedisConfig, RedisSessionManager
from miniagent_redis.connection.certificates import Validity, validity, validity_of_file
from miniagent_redis.doctor import certificates
from tests.support.cluster import ClusterServers
from tests.support.command_line import Home
from tests.support.doctor_checks import examine, examine_with
from tests.support.sentinels import SERVICE, Sentinel
from tests.support.servers import RedisServer
from tests.support.tls import Authority, TlsServer, authority

DAY = 86400.0


@pytest.fixture(scope="module")
def ca() -> Iterator[Authority]:
    with authority() as made:
        yield made


def lasting(days: float) -> dict[str, Any]:
    """Return what makes a certificate valid for so many days more, and an hour."""
    return {"not_after": datetime.now(UTC) + timedelta(days=days, hours=1)}


def config(server: TlsServer, **settings: Any) -> RedisConfig:
    return RedisConfig(url=server.url, ssl_ca_certs=server.ca.file, **settings)


@pytest.mark.parametrize(
    ("days", "verdict"), [(300, "ok"), (31, "ok"), (29, "warn"), (8, "warn"), (6, "fail")]
)
def test_a_certificate_that_ends_soon_is_told(ca: Authority, days: float, verdict: str) -> None:
    with TlsServer(ca, ca.issue("localhost", **lasting(days))) as server:
        check = examine_with(config(server))["certificate"]
    assert (check.verdict, check.detail) == (verdict, f"valid for {days} days more")
    assert ("tls-cert-file" in check.fix) == (verdict != "ok")


@pytest.mark.parametrize(
    ("life", "left", "verdict"),
    [(10, 5, "ok"), (10, 3, "warn"), (10, 0.9, "fail"), (90, 31, "ok"), (90, 6, "fail"),
     (47, 16, "ok"), (47, 5, "warn")],
)  # fmt: skip
def test_one_that_is_never_valid_for_long_has_its_last_days_to_be_renewed(
    life: float, left: float, verdict: str
) -> None:
    valid = Validity(0.0, life * DAY)
    assert certificates.told("certificate", valid, (life - left) * DAY, "").verdict == verdict


def test_how_long_is_told_in_words() -> None:
    def told(left: float) -> str:
        return certificates.told("certificate", Validity(0.0, 90 * DAY), 90 * DAY - left, "").detail

    assert told(DAY) == "valid for 1 day more"
    assert told(9000) == "valid for 2.5 hours more"
    assert told(-3 * DAY) == "it expired 3 days ago"


def test_an_expired_one_is_why_it_cannot_be_reached(ca: Authority) -> None:
    with TlsServer(ca, ca.issue("localhost", **lasting(-2))) as server:
        checks = examine_with(config(server))
    assert checks["reachable"].verdict == "fail"
    assert "expired" in checks["reachable"].detail
    assert checks["certificate"].verdict == "skip"


@pytest.mark.parametrize("days", [300, -2])
def test_that_nothing_is_verified_is_a_warning(ca: Authority, days: float) -> None:
    with TlsServer(ca, ca.issue("localhost", **lasting(days))) as server:
        check = examine(f"{server.url}?ssl_cert_reqs=none")["certificate"]
    assert check.verdict == "warn"
    assert check.detail.startswith("nothing is verified: ")
    assert ("valid for 300 days" if days > 0 else "it expired 1 day ago") in check.detail
    assert "ssl_ca_certs" in check.fix


@pytest.mark.parametrize(("days", "verdict"), [(300, "ok"), (9, "warn"), (2, "fail"), (-3, "fail")])
def test_so_is_ours(ca: Authority, days: float, verdict: str) -> None:
    certificate, key = ca.issue("me", **lasting(days))
    with TlsServer(ca, ca.issue("localhost")) as server:
        checks = examine_with(config(server, ssl_certfile=certificate, ssl_keyfile=key))
    assert checks["certificate"].verdict == "ok"
    check = checks["our certificate"]
    assert check.verdict == verdict
    assert ("valid for" if days > 0 else "it expired") in check.detail
    assert ("ssl_certfile" in check.fix) == (verdict != "ok")


def test_each_is_a_line_and_without_tls_there_is_none(
    home: Home, ca: Authority, redis_server: RedisServer
) -> None:
    certificate, key = ca.issue("me", **lasting(100))
    with TlsServer(ca, ca.issue("localhost", **lasting(200))) as server:
        ours = f"ssl_certfile={certificate}&ssl_keyfile={key}"
        done = home.run("doctor", "--url", f"{server.url}?ssl_ca_certs={ca.file}&{ours}")
    assert "ok    certificate      valid for 200 days more\n" in done.stdout
    assert "ok    our certificate  valid for 100 days more\n" in done.stdout
    assert "certificate" not in examine(f"unix://{redis_server.socket}")


def test_a_sentinel_shows_one_too(ca: Authority) -> None:
    with (
        RedisServer(tcp=True, tls=ca.settings("127.0.0.1")) as server,
        Sentinel(server.port, 1, tls=ca.settings("127.0.0.1", **lasting(9))) as sentinel,
    ):
        place = f"127.0.0.1:{sentinel.port}"
        url = f"rediss+sentinel://{place}/{SERVICE}?ssl_ca_certs={ca.file}"
        check = examine(url)["certificate"]
    assert (check.verdict, check.detail) == ("warn", f"{place}: valid for 9 days more")


def test_the_masters_of_a_cluster_show_one_each(ca: Authority) -> None:
    tls = ca.settings("127.0.0.1", **lasting(9))
    announced = ("--cluster-announce-ip", "127.0.0.1")
    with ClusterServers(1, *announced, replicas=False, tls=tls) as cluster:
        check = examine(f"{cluster.url}?ssl_ca_certs={ca.file}")["certificate"]
    assert check.verdict == "warn"
    assert check.detail == "valid for 9 days more"


# --- what a certificate says --------------------------------------------------------------------


@pytest.mark.parametrize("year", [2026, 2049, 2050, 2999])
def test_the_end_of_a_certificate_is_read_in_both_ways_of_writing_it(
    ca: Authority, year: int
) -> None:
    begins, ends = datetime(1999, 1, 2, 3, 4, 5, tzinfo=UTC), datetime(year, 12, 31, tzinfo=UTC)
    file, _ = ca.issue("x", not_before=begins, not_after=ends)
    assert validity_of_file(file) == Validity(begins.timestamp(), ends.timestamp())


def test_what_is_no_certificate_is_told_as_that(ca: Authority, tmp_path: Path) -> None:
    _, key = ca.issue("x")
    with pytest.raises(ValueError, match="certificate"):
        validity_of_file(key)
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----")
    store = RedisSessionManager(RedisConfig(ssl=True, ssl_certfile=str(nonsense)))
    assert certificates.ours(store).verdict == "skip"
    for data in (b"", b"\x30", b"\x30\x80", b"\x30\x84\xff", b"\x30\x02\x30\x00", b"\x02\x01\x00"):
        with pytest.raises(ValueError, match=r".+"):
            validity(data)
