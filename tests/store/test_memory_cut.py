"""memory:// is used, and disconnected, in the midst of commands."""

from __future__ import annotations

import sys
import threading
from types import FrameType

from miniagent_redis import RedisConfig, RedisSessionManager
from tests.support.waiting import LIMIT


def test_a_store_is_disconnected_in_the_midst_of_commands() -> None:
    store = RedisSessionManager(RedisConfig(url="memory://cut"))
    store.create_session("s")
    faults, is_over = list[BaseException](), threading.Event()

    def work() -> None:
        try:
            while not is_over.is_set():
                store.update_session("s", {"text": "x" * 1000})
        except BaseException as exc:
            faults.append(exc)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(300):
            store.disconnect()
    finally:
        is_over.set()
        for thread in threads:
            thread.join(30)
    assert faults == []
    assert store.get_session("s") == {"text": "x" * 1000}


def test_what_the_garbage_collector_runs_in_the_midst_of_a_command_may_use_the_same_store() -> None:
    store = RedisSessionManager(RedisConfig(url="memory://"))
    store.create_session("s", {"a": 1})
    found: list[object] = []

    def look_in_the_midst(frame: FrameType, event: str, arg: object) -> None:
        if event == "call" and frame.f_code.co_name == "_run_command" and not found:
            found.append(store.get_session("s"))

    def work() -> None:
        sys.setprofile(look_in_the_midst)  # may run at any place of this thread, as finalizers do
        try:
            found.append(store.get_session("s"))
        finally:
            sys.setprofile(None)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(LIMIT)
    assert found == [{"a": 1}, {"a": 1}]
