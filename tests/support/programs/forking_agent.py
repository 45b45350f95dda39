"""An agent at work in many threads, whose process forks workers that go on with the same agent.

Arguments: URL, workers, how many of them at a time, threads of the first process and of a worker,
rounds of each thread in a worker, seed. Each worker says what it did and met, and last of all the
process that forked them.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import random
import sys
import threading
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from queue import SimpleQueue
from typing import Any

from redis.connection import AbstractConnection

from miniagent_redis import (
    AgentConfig,
    Event,
    EventType,
    RedisConfig,
    SessionAgent,
    SessionManager,
)
from miniagent_redis.maintenance.thread import Job
from tests.support.programs.checking import echo, expect
from tests.support.programs.talking import orders, say

LIMIT = 300.0  # seconds for whatever waits, and for a worker's whole life
SHARED = "shared"
EACH_SHARED = 4  # a turn in the session that all share comes each so many rounds
LONGEST_PAUSE = 0.02  # seconds between two forks
LOCK_TTL = 8  # less than workers take with all their threads; a starved one may be late by seconds

url, seed = sys.argv[1], sys.argv[7]
workers, at_a_time, own_threads, their_threads, rounds = map(int, sys.argv[2:7])
config = RedisConfig(
    url=url,
    max_connections=max(own_threads, their_threads) + 4,
    socket_timeout=10.0,
    max_session_size=1 << 30,
)
agent = SessionAgent(AgentConfig(model=echo, busy_timeout=LIMIT), redis_config=config)
manager, store = SessionManager(agent), agent.store


class Beat:
    """Tells that the background thread of this process does its jobs."""

    def __init__(self) -> None:
        self.start_anew()
        agent.background.jobs.append(Job("beat", 0.05, lambda: self._beats.set()))

    def start_anew(self) -> None:
        self._beats = threading.Event()

    def is_alive(self) -> bool:
        self._beats.clear()
        return agent.background.is_running and self._beats.wait(LIMIT)


class Sockets:
    """The sockets that each process uses, by inode, which is the same in all that share one.

    Those of calls apart: as long as nothing happens to them there are no more than the pool has.
    """

    def __init__(self) -> None:
        self.used: dict[int, set[int]] = defaultdict(set)
        self.of_calls: dict[int, set[int]] = defaultdict(set)
        send, read = AbstractConnection.send_packed_command, AbstractConnection.read_response

        def note(link: Any, sockets: dict[int, set[int]]) -> None:
            sockets[os.getpid()].add(os.fstat(link._sock.fileno()).st_ino)

        def sending(link: Any, command: Any, *args: Any, **options: Any) -> None:
            send(link, command, *args, **options)
            note(link, self.used)
            if b"EVALSHA" in command[0]:
                note(link, self.of_calls)

        def reading(link: Any, *args: Any, **options: Any) -> Any:
            note(link, self.used)
            return read(link, *args, **options)

        changed: Any = AbstractConnection
        changed.send_packed_command, changed.read_response = sending, reading


class Process:
    """What one process does: threads that call, and one that listens for them."""

    def __init__(self, name: str, threads: int) -> None:
        self.name = name
        self.wrong: list[str] = []
        self.over = threading.Event()
        self.callers = [Caller(f"{name}.{number}", number) for number in range(threads)]
        self.heard = {caller.name: caller.heard for caller in self.callers}
        # Where nothing happens there is nothing to warn of.
        logging.getLogger("miniagent_redis").handlers = [logging.StreamHandler(self)]

    def write(self, text: str) -> None:
        self.wrong += text.split("\n")[:1]

    def flush(self) -> None:
        """Do nothing: this is a stream for what is logged."""

    def start(self, numbers: Callable[[], Iterable[int]]) -> list[threading.Thread]:
        """Start all threads; each caller does as many rounds as ``numbers`` gives it."""
        store.subscribe([self.name])
        calling = [self._start(self._call, caller, numbers()) for caller in self.callers]
        self._listening = self._start(self._listen)
        return calling

    def _start(self, work: Callable[..., None], *args: Any) -> threading.Thread:
        def run() -> None:
            try:
                work(*args)
            except BaseException as exc:
                self.wrong.append(repr(exc))

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def _call(self, caller: Caller, numbers: Iterable[int]) -> None:
        for number in numbers:
            if self.over.is_set():
                break
            caller.round(number, self.name)
        caller.look_back()

    def _listen(self) -> None:
        for message in store.get_messages(timeout=LIMIT):
            expect(message["channel"], self.name)
            self.heard[message["data"]["to"]].put(message["data"]["number"])

    def end(self, calling: list[threading.Thread]) -> None:
        for thread in calling:
            thread.join(LIMIT)
        store.unsubscribe()
        self._listening.join(LIMIT)
        if any(thread.is_alive() for thread in (*calling, self._listening)):
            self.wrong.append("a thread hangs")

    def figures(self, **others: object) -> dict[str, object]:
        me = os.getpid()
        return {
            "process": self.name,
            "turns": {caller.name: caller.turns for caller in self.callers},
            "shared": sum(caller.shared for caller in self.callers),
            "counted": [caller.counted for caller in self.callers],
            "wrong": [text[:200] for text in self.wrong[:3]],
            "sockets": sorted(sockets.used[me]),
            "call_sockets": len(sockets.of_calls[me]),
            **others,
        }


class Caller:
    """One thread's calls, on names of its own, and on some that all processes share."""

    def __init__(self, name: str, number: int) -> None:
        self.name, self.number = name, number
        self.heard: SimpleQueue[int] = SimpleQueue()
        self.turns = self.shared = self.counted = 0
        manager.create_or_resume_session(name, name)

    def round(self, number: int, channel: str) -> None:
        text = f"{self.name} {number}"
        expect(manager.chat(self.name, text), f"{text} yes")
        self.turns += 1
        if number % EACH_SHARED == 0:
            text = f"{SHARED} {self.name} {number}"
            expect(manager.chat(SHARED, text), f"{text} yes")
            self.shared += 1
        store.cache_set(self.name, text)
        expect(store.cache_get(self.name), text)
        store.publish(channel, {"to": self.name, "number": number})
        expect(self.heard.get(timeout=LIMIT), number)
        # What one process reads here no other may write before it has written.
        with store.lock(f"count-{self.number}", timeout=LIMIT):
            counted = store.cache_get(f"count-{self.number}") or 0
            store.cache_set(f"count-{self.number}", counted + 1)
            self.counted += 1

    def look_back(self) -> None:
        """Compare what is kept in this process of the own session, and its events."""
        said = [message["content"] for message in manager.get_history(self.name)]
        texts = [text for n in range(self.turns) for text in self._texts(n)]
        expect(said, texts)
        expect([message.text for message in agent.thread(self.name).refresh()], texts)
        answers = [
            event.text
            for event in manager.watch(self.name, "", timeout=0)
            if event.type == EventType.AGENT_RESPONSE
        ]
        expect(answers, texts[1::2][-len(answers) :])

    def _texts(self, number: int) -> list[str]:
        return [f"{self.name} {number}", f"{self.name} {number} yes"]


def watch_for(watched: Iterator[Event], texts: set[str]) -> None:
    """Go on watching until all these answers were seen; nothing may be missing before."""
    while texts:
        event = next(watched)
        if event.type == EventType.GAP:
            raise AssertionError(f"{event} among what was watched")
        if event.type == EventType.AGENT_RESPONSE:
            texts.discard(event.text)


def work(name: str, watched: Iterator[Event], held: Any) -> None:
    """Live as a worker: what the parent had begun goes on there, whatever is done with it here."""
    faulthandler.dump_traceback_later(LIMIT, exit=True)
    beat.start_anew()
    held.close()
    process = Process(name, their_threads)
    with store.lock(f"long-{name}", ttl=LOCK_TTL) as lock:
        calling = process.start(lambda: range(rounds))
        text = f"watched {name}"
        # It happens while we wait for it, over a connection of our own.
        threading.Timer(0.2, manager.chat, ("watched", text)).start()
        watch_for(watched, {f"{text} yes"})
        process.end(calling)
        is_renewed = not lock.is_lost
    is_alive = beat.is_alive()
    is_shut = agent.shutdown()
    say(**process.figures(background=is_alive and is_renewed, shut=is_shut))


def reap(children: set[int]) -> bool:
    """Wait for one of the children; return whether it ended as it should."""
    child, status = os.wait()
    children.discard(child)
    return status == 0


def fork_workers(watched: Iterator[Event], held: Any) -> int:
    """Fork all the workers and wait for them; return how many failed."""
    dice, children, failed = random.Random(seed), set[int](), 0
    for number in range(workers):
        if len(children) == at_a_time:
            failed += not reap(children)
        threading.Event().wait(dice.uniform(0, LONGEST_PAUSE))
        child = os.fork()
        if not child:
            try:
                work(f"worker-{number}", watched, held)
            except BaseException:
                faulthandler.dump_traceback()
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.add(child)
    while children:
        failed += not reap(children)
    return failed


def main() -> None:
    threading.Thread(target=lambda: [*orders()], daemon=True).start()
    sys.setswitchinterval(0.0005)
    agent.initialize()
    for session_id in (SHARED, "held", "watched"):
        manager.create_or_resume_session("all", session_id)
    held = manager.stream("held", "held 0")
    next(held)
    watched = manager.watch("watched", "", timeout=LIMIT)
    manager.chat("watched", "watched 0")
    watch_for(watched, {"watched 0 yes"})
    process = Process("parent", own_threads)
    calling = process.start(count)
    failed = fork_workers(watched, held)
    process.over.set()
    process.end(calling)
    watch_for(watched, {f"watched worker-{number} yes" for number in range(workers)})
    expect([event.text for event in held][-1], "held 0 yes")
    is_alive = beat.is_alive()
    say(**process.figures(failed=failed, background=is_alive, shut=agent.shutdown()))


beat, sockets = Beat(), Sockets()
if __name__ == "__main__":
    main()
