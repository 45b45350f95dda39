"""Nothing that is said can be read where Redis keeps it, hands it on, or where it waits on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from miniagent_redis import (
    AgentConfig,
    Message,
    RedisConfig,
    RedisSessionManager,
    SessionAgent,
    SessionManager,
    ToolRegistry,
    UsageTotals,
)
from miniagent_redis.llm import Finish, ModelEvent, ModelRequest, TextDelta, ToolCall
from miniagent_redis.maintenance.spool import Spool
from tests.support.canaries import KINDS, Canaries, dumped, files, heard
from tests.support.keys import OLD, text
from tests.support.servers import RedisServer
from tests.support.waiting import until

PLACES = {"memory", "rdb", "aof", "spool", "monitor", "channels", "log"}
END = "the end of what is watched"


class Talkative:
    """Calls the tool first, then answers in pieces; fails when it is told to."""

    def __init__(self, words: Canaries) -> None:
        self.words = words

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        said = request.messages[-1].text
        if said == "fail":
            raise RuntimeError(self.words["failure"])
        if request.messages[-1].role == "user":
            yield TextDelta(self.words["piece"])
            yield ToolCall("1", "look", {"word": self.words["argument"]})
        else:
            yield TextDelta(self.words["answer"])
        yield Finish()


def converse(config: RedisConfig, words: Canaries) -> None:
    """Have every kind of content stored, and leave one turn open and one in the spool."""
    tools = ToolRegistry()

    @tools.tool(cache_ttl=600)
    def look(word: str) -> str:
        """Look a word up."""
        return words["result"]

    settings = AgentConfig(model=Talkative(words), system_prompt=words["instructions"])
    with SessionAgent(settings, tools, redis_config=config) as agent:
        manager, store = SessionManager(agent), agent.store
        sid = manager.create_or_resume_session(user_id="ada")
        assert store.update_session(sid, {"title": words["data"]})
        for event in manager.stream(sid, words["message"]):
            assert event.session_id == sid
        with pytest.raises(Exception, match=words["failure"]):
            manager.chat(sid, "fail")
        store.append_to_thread(sid, Message("user", "x", metadata={"a": words["metadata"]}))
        store.cache_set("k", {"value": words["cached"]})
        # All of it is there, for who has the keys.
        told = repr(manager.get_history(sid)) + repr(store.get_session(sid))
        told += repr(store.cache_get("k")) + repr(store.read_events(sid))
        missing = {kind for kind, word in words.items() if word not in told}
        assert missing == {"event", "instructions", "spooled"}
    with RedisSessionManager(config) as store:  # an agent would store what waits when it ends
        turn = store.tell_text(store.begin_turn(sid, "open"), words["event"])
        assert words["event"] in repr(store.read_events(sid))
        spool = Spool(Path(str(config.spool_dir)), store.parts)
        spool.keep(turn, [Message("assistant", words["spooled"])], UsageTotals())


def scan(folder: Path, words: Canaries, caplog: Any, **settings: Any) -> set[tuple[str, str]]:
    """Return which words were found where, after a conversation with these settings."""
    spool = folder / "spool"
    options = ("--appendonly", "yes", "--rdbcompression", "no", "--aof-use-rdb-preamble", "no")
    with RedisServer(*options) as server:
        client = server.client()
        with heard(server, "MONITOR") as monitor, heard(server, "PSUBSCRIBE *") as channels:
            config = RedisConfig(url=server.url, spool_dir=str(spool), **settings)
            converse(config, words)
            client.publish("x", END)
            until(lambda: END.encode() in monitor.content and END.encode() in channels.content)
        client.save()
        places = {
            "memory": dumped(client),
            "rdb": (server.folder / "dump.rdb").read_bytes(),
            "aof": files(server.folder / "appendonlydir"),
            "spool": files(spool),
            "monitor": bytes(monitor.content),
            "channels": bytes(channels.content),
            "log": caplog.text.encode(),
        }
        assert places.keys() == PLACES
        assert all(places[place] for place in PLACES - {"log"})
        return words.found_in(places)


def test_with_encryption_no_word_is_found_anywhere(tmp_path: Path, caplog: Any) -> None:
    caplog.set_level("DEBUG", "miniagent_redis")
    assert scan(tmp_path, Canaries(), caplog, encryption_keys=text(k=OLD)) == set()


def test_without_it_the_same_scan_finds_them(tmp_path: Path, caplog: Any) -> None:
    found = scan(tmp_path, Canaries(), caplog)
    stored = set(KINDS) - {"instructions", "spooled"}  # the instructions are not stored
    assert {kind for kind, place in found if place == "memory"} == stored
    for place in ("rdb", "aof", "monitor"):
        assert {kind for kind, where in found if where == place} == stored
    assert ("spooled", "spool") in found
