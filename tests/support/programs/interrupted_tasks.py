"""Calls the asyncio facade while its tasks are cancelled and its timeouts end at any moment.

Arguments: URL, how many cancellations, seed. It says the figures and ends. Half of the tasks are
never cancelled, and nothing may ever happen to them.
"""

from __future__ import annotations

import asyncio
import random
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from itertools import count

from miniagent_redis import aio
from tests.support.programs.checking import expect
from tests.support.programs.interrupted_checks import (
    LOCK_TTL,
    MARGIN,
    Caller,
    Own,
    names,
    say_figures,
    settings,
)
from tests.support.programs.talking import orders

TASKS = 4  # of each kind
url, cancellations, seed = sys.argv[1], int(sys.argv[2]), sys.argv[3]
dice = random.Random(seed)
Call = Callable[[], Awaitable[None]]


class TaskCaller:
    """The calls of a Caller, awaited."""

    def __init__(self, own: Own, agent: aio.SessionAgent, name: str, strict: bool) -> None:
        self.sync = Caller(own, name, strict=strict)
        self.name, self.strict = name, strict
        self.chats = self.sync.chats
        self.store = agent.store
        self.manager = aio.SessionManager(agent)
        self.numbers = count()
        self.took: dict[str, float] = {}
        self.calls: list[Call] = [
            *(self.get_session, self.load_thread, self.list_sessions, self.cache, self.redis_py),
            *(self.lock, self.acquire_lock, self.chat, self.chat, self.stream, self.update),
        ]

    async def get_session(self) -> None:
        data = await self.store.get_session(self.name)
        expect(data and data.pop("name"), self.name)

    async def load_thread(self) -> None:
        found = await self.store.load_thread(self.name)
        expect([message.text for message in found.messages], [self.name])

    async def list_sessions(self) -> None:
        listed = await self.store.list_sessions(user_id=self.name)
        expect(sorted(names(listed)), [self.name, self.chats])

    async def cache(self) -> None:
        await self.store.cache_set(self.name, self.name)
        expect(await self.store.cache_get(self.name), self.name)

    async def redis_py(self) -> None:
        expect(await self.store.client.get(f"raw:{self.name}"), self.sync.raw)

    async def update(self) -> None:
        number = next(self.numbers)
        await self.store.update_session(self.name, {"name": self.name, "n": number})
        expect(await self.store.get_session(self.name), {"name": self.name, "n": number})

    async def lock(self) -> None:
        async with self.store.lock(self.name, ttl=LOCK_TTL, timeout=LOCK_TTL + MARGIN):
            other = self.store.lock(self.name, ttl=LOCK_TTL)
            expect(await other.acquire(timeout=0), False)

    async def acquire_lock(self) -> None:
        resource = f"{self.name}-2"
        if not self.strict:
            await self.store.release_lock(resource)
        got = await self.store.acquire_lock(resource, ttl=LOCK_TTL, timeout=LOCK_TTL + MARGIN)
        expect(got, True)
        expect(await self.store.release_lock(resource), True)

    async def chat(self) -> None:
        text = f"{self.name} {next(self.sync.numbers)}"
        expect(await self.manager.chat(self.chats, text), f"{text} yes")

    async def stream(self) -> None:
        text = f"{self.name} {next(self.sync.numbers)}"
        said = [event.text async for event in self.manager.stream(self.chats, text)]
        expect(said[-1], f"{text} yes")


class Cancelling:
    """Runs calls as tasks and ends some of them in the middle."""

    def __init__(self) -> None:
        self.done = 0
        self.wrong: list[str] = []

    @property
    def is_over(self) -> bool:
        return self.done >= cancellations or bool(self.wrong)

    async def work(self, caller: TaskCaller) -> None:
        while not self.is_over:
            call = dice.choice(caller.calls)
            name = call.__name__
            try:
                if caller.strict:
                    await call()
                else:
                    await self.cut_short(caller, call, name)
            except BaseException as exc:
                self.wrong.append(f"{name} of {caller.name}: {exc!r}")

    async def cut_short(self, caller: TaskCaller, call: Call, name: str) -> None:
        delay = dice.random() * caller.took.get(name, 0.002) * 1.1
        began = time.perf_counter()
        task = asyncio.ensure_future(call())
        try:
            if dice.random() < 0.5:
                await asyncio.wait_for(task, delay)
            else:
                asyncio.get_running_loop().call_later(delay, task.cancel)
                await task
        except (asyncio.CancelledError, TimeoutError):
            self.done += 1
        else:
            spent = time.perf_counter() - began
            caller.took[name] = 0.9 * caller.took.get(name, spent) + 0.1 * spent


async def main() -> None:
    threading.Thread(target=lambda: [*orders()], daemon=True).start()
    sys.setswitchinterval(0.0005)
    config, redis_config = settings(url)
    agent = aio.SessionAgent(config, redis_config=redis_config)
    own = Own(agent.sync)
    kinds = [(f"cut-{n}", False) for n in range(TASKS)]
    kinds += [(f"whole-{n}", True) for n in range(TASKS)]
    callers = [TaskCaller(own, agent, *kind) for kind in kinds]
    cancelling = Cancelling()
    await asyncio.gather(*map(cancelling.work, callers))
    await agent.store.client.aclose(close_connection_pool=True)
    await asyncio.to_thread(
        say_figures,
        own,
        [caller.sync for caller in callers],
        interrupts=cancelling.done,
        wrong=cancelling.wrong,
    )
    await agent.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
