"""Never torn: append-only files that were cut or altered, and what is read of them."""

from __future__ import annotations

import random
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from miniagent_redis import Message, RedisSessionManager
from miniagent_redis.doctor.fsck import check
from miniagent_redis.errors import MiniAgentError
from tests.support.fault_report import FaultRun
from tests.support.recorder import ENDED, Recorder, Seen, open_store, read
from tests.support.servers import RedisServer, find_server
from tests.support.waiting import until

pytestmark = pytest.mark.skipif(find_server() is None, reason="there is no server to start")

FOLDER = "appendonlydir"
LIMIT = 30.0
KEPT = ("--appendonly", "yes", "--aof-load-truncated", "yes", "--appendfsync", "no")
MENDED = {"orphan_entry", "not_indexed", "expiry", "counter"}


def is_rewriting(client: Any) -> bool:
    names = ("aof_rewrite_in_progress", "aof_rewrite_scheduled")
    return any(client.info("persistence")[name] for name in names)


class Original:
    """A data folder with a base file and an incremental file, and what was written to them."""

    def __init__(self, dice: random.Random, writes: int) -> None:
        self.server = RedisServer(*KEPT, "--aof-use-rdb-preamble", "yes")
        self.server.start()
        with open_store(self.server) as store:
            self.recorder = Recorder(store, dice)
            self.recorder.write(writes // 4)
            self.based = len(self.recorder.steps)
            client: Any = self.server.client()
            client.bgrewriteaof()
            until(lambda: not is_rewriting(client))
            self.recorder.write(writes)
            threading.Event().wait(ENDED)  # let the short ones end
        self.server.stop()
        self.folder = self.server.folder / FOLDER
        (self.incremental,) = self.folder.glob("*.incr.aof")
        (self.base,) = self.folder.glob("*.base.rdb")

    def changed(self, file: Path, data: bytes) -> RedisServer | None:
        """Start a server on a copy in which ``file`` holds ``data``; None if it refuses to."""
        server = RedisServer(*KEPT)
        shutil.copytree(self.folder, server.folder / FOLDER)
        (server.folder / FOLDER / file.name).write_bytes(data)
        try:
            server.start()
        except RuntimeError:
            server.close()
            return None
        return server


@pytest.fixture
def original(faults: FaultRun) -> Iterator[Original]:
    made = Original(faults.random, faults.times(60, 300))
    yield made
    made.server.close()


def test_a_file_cut_anywhere_holds_whole_turns_up_to_one_moment(
    faults: FaultRun, original: Original
) -> None:
    recorder, whole = original.recorder, original.incremental.read_bytes()
    cuts = [faults.random.randrange(len(whole)) for _ in range(faults.times(6, 60))]
    refused = torn = unmended = silent = findings = 0
    for cut in cuts:
        server = original.changed(original.incremental, whole[:cut])
        if server is None:
            refused += 1
            continue
        with server.client(), open_store(server) as store:
            seen = {session_id: read(store, session_id)[0] for session_id in recorder.documents}
            torn += not recorder.is_one_moment(seen, original.based)
            torn += any(store.get_session(name) is not None for name in recorder.expired)
            torn += not _tell_the_same(store, recorder, seen)
            found = check(store, repair=True)
            findings += len(found)
            unmended += len([one for one in found if one.kind not in MENDED])
            unmended += len(check(store))
            alive = [name for name, thread in seen.items() if thread is not None]
            silent += sum(not _goes_on(store, name) for name in alive)
        server.close()
    bases = _cut_bases(faults, original)
    faults.report(
        cuts=len(cuts), loaded=len(cuts) - refused, refused=refused, torn=torn,
        mended=findings - unmended, unmended=unmended, silent=silent,
        sessions=len(recorder.documents), messages=sum(map(len, recorder.now.values())), **bases,
    )  # fmt: skip
    assert (refused, torn, unmended, silent) == (0, 0, 0, 0)
    assert bases["base_altered"] == 0


def _tell_the_same(store: RedisSessionManager, recorder: Recorder, seen: dict[str, Seen]) -> bool:
    """Whether counters, documents and listings agree with the threads."""
    for session_id, thread in seen.items():
        if thread is None:
            if store.get_session(session_id) is not None:
                return False
            continue
        assert not isinstance(thread, MiniAgentError)
        state = store.session_state(session_id)
        if state.message_count != len(thread) or state.data != recorder.documents[session_id]:
            return False
    alive = {session_id for session_id, thread in seen.items() if thread is not None}
    return {one["session_id"] for one in store.list_sessions("ada", limit=1000)} <= alive


def _goes_on(store: RedisSessionManager, session_id: str) -> bool:
    before = store.load_thread(session_id).messages
    turn = store.begin_turn(session_id, "on we go", on_busy="interrupt")
    if turn.resumed:  # its lease has ended since it was written
        store.abort_turn(turn)
        turn = store.begin_turn(session_id, "on we go")
    store.commit_turn(turn, [Message("assistant", "yes")])
    after = store.load_thread(session_id).messages
    return after[:-2] == before and [m.text for m in after[-2:]] == ["on we go", "yes"]


def _cut_bases(faults: FaultRun, original: Original) -> dict[str, int]:
    whole, recorder = original.base.read_bytes(), original.recorder
    cuts, refused, altered = faults.times(2, 20), 0, 0
    for _ in range(cuts):
        data = whole[: faults.random.randrange(len(whole))]
        server = original.changed(original.base, data)
        if server is None:
            refused += 1
            continue
        with open_store(server) as store:
            for name in recorder.documents:
                altered += _is_altered(recorder, name, *read(store, name))
        server.close()
    return {"base_cuts": cuts, "base_refused": refused, "base_altered": altered}


def _is_altered(recorder: Recorder, name: str, seen: Seen, aside: int) -> bool:
    """Whether what was returned as good is no state that the session has had."""
    if seen is None or isinstance(seen, MiniAgentError):
        return False
    for state in recorder.states(name):
        if state is not None and len(state) == len(seen) + aside:
            left = iter(state)
            if all(message in left for message in seen):
                return False
    return True


def test_a_flipped_bit_never_alters_a_message_that_is_returned(
    faults: FaultRun, original: Original
) -> None:
    recorder, whole = original.recorder, original.incremental.read_bytes()
    flips = faults.times(6, 60)
    count = dict.fromkeys(("loaded", "refused", "set_aside", "told", "gone", "altered",
                           "altered_documents"), 0)  # fmt: skip
    for _ in range(flips):
        data = bytearray(whole)
        data[faults.random.randrange(len(data))] ^= 1 << faults.random.randrange(8)
        server = original.changed(original.incremental, bytes(data))
        if server is None:
            count["refused"] += 1
            continue
        count["loaded"] += 1
        with open_store(server) as store:
            for name, document in recorder.documents.items():
                seen, aside = read(store, name)
                count["set_aside"] += aside
                count["told"] += isinstance(seen, MiniAgentError)
                count["gone"] += seen is None and name in recorder.now
                if _is_altered(recorder, name, seen, aside):
                    count["altered"] += 1
                try:
                    found = store.get_session(name)
                except MiniAgentError:
                    continue
                count["altered_documents"] += found not in (None, document)
        server.close()
    faults.report(flips=flips, **count)
    assert (count["altered"], count["altered_documents"]) == (0, 0)
