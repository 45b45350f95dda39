"""Once: a turn whose commit returned is stored exactly once and whole, however often it is retried.

Replies get lost, and the server and its clients are killed, at random moments. A server that syncs
each write keeps every turn that it acknowledged; one that syncs once a second may forget the last
two seconds when it is killed, in whole turns and from the end.
"""

from __future__ import annotations

import time
from pathlib import Path

from miniagent_redis import Message, RedisConfig, RedisSessionManager
from tests.support.fault_report import FaultRun
from tests.support.history import PROMISES
from tests.support.servers import RedisServer
from tests.support.storm import Storm

FORGETS = 2.0  # seconds for which Redis and Valkey put off a write while fdatasync is under way
MARGIN = 0.5


def test_a_turn_is_stored_once_and_whole(faults: FaultRun, tmp_path: Path) -> None:
    turns = faults.times(200, 10_000)
    kills = ["server", "client"] * faults.times(2, 20)
    faults.random.shuffle(kills)
    moments = sorted(faults.random.randrange(turns) for _ in kills)
    with Storm(tmp_path, faults.random) as storm:
        storm.begin()
        done = 0
        for moment, what in zip(moments, kills, strict=True):
            done += storm.wait(moment - done)
            if done < moment:
                break  # the verdict tells why
            storm.kill(what)
        else:
            done += storm.wait(turns - done)
        verdict = storm.settle()
    faults.report(
        server_kills=storm.server_kills,
        client_kills=storm.client_kills,
        replies_lost=storm.replies_lost,
        **verdict.figures,
    )
    assert verdict.findings == []
    assert not any(verdict.figures[promise] for promise in PROMISES)
    assert done == turns


def test_a_server_that_syncs_each_second_forgets_whole_turns_from_the_end(
    faults: FaultRun,
) -> None:
    acknowledged = forgotten = forgetful_kills = torn = 0
    oldest = 0.0
    kills = faults.times(2, 60)
    with RedisServer("--appendonly", "yes", "--appendfsync", "everysec") as server:
        for kill in range(kills):
            session = f"s{kill}"
            with RedisSessionManager(RedisConfig(url=server.url)) as store:
                store.create_session(session)
                told = [time.monotonic()]
                end = told[0] + faults.random.uniform(0.1, faults.times(6, 15) / 10)
                while time.monotonic() < end:
                    turn = store.begin_turn(session, f"q{len(told)}")
                    store.commit_turn(turn, [Message("assistant", f"a{len(told)}")])
                    told.append(time.monotonic())
                killed = time.monotonic()
                server.kill()
            server.start()
            with RedisSessionManager(RedisConfig(url=server.url)) as store:
                there = store.get_session(session) is not None
                texts = [m.text for m in store.load_thread(session).messages] if there else []
            kept = len(texts) // 2
            whole = [text for n in range(1, kept + 1) for text in (f"q{n}", f"a{n}")]
            torn += texts != whole
            acknowledged += len(told) - 1
            if lost := told[kept + 1 if there else 0 :]:
                forgetful_kills += 1
                forgotten += len(lost)
                oldest = max(oldest, killed - lost[0])
    faults.report(
        server_kills=kills,
        acknowledged=acknowledged,
        forgetful_kills=forgetful_kills,
        forgotten=forgotten,
        oldest_forgotten=oldest,
        torn=torn,
    )
    assert acknowledged > 0
    assert torn == 0
    assert oldest < FORGETS + MARGIN
