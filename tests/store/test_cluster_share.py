"""The masters of a cluster have about as much to do each: no index or counter is a centre."""

from __future__ import annotations

import pytest

from miniagent_redis import RedisConfig, RedisSessionManager
from tests.support.cluster import ClusterServers
from tests.support.shares import Shares, uneven
from tests.support.words import said


@pytest.mark.parametrize("masters", [3, 6])
def test_a_thousand_sessions_are_shared_by_all_masters_within_a_fifth(masters: int) -> None:
    """By all commands: those of scripts, of indexes and of totals too."""
    with ClusterServers(masters, replicas=False) as cluster:
        with RedisSessionManager(RedisConfig(url=cluster.url)) as store:
            shares = Shares(cluster)
            for number in range(1000):
                session_id = f"s{number}"
                store.create_session(session_id, user_id=f"u{number % 50}")
                store.commit_turn(store.begin_turn(session_id, "hi"), [said("hello")])
            store.parts.index.flush()
        work = shares.take()
        assert sum(one.commands for one in work) > 20_000
        assert uneven(work) < 0.2, work
