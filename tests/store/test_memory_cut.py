"""memory:// is disconnected while other threads are in the midst of commands."""

from __future__ import annotations

import threading

from miniagent_redis import RedisConfig, RedisSessionManager


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
