"""Sentinels that watch a real master and its replicas, quick to find out and to fail over.

All on ports of the loopback address. It knows nothing of this package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.servers import RedisServer
from tests.support.waiting import until

SERVICE = "mymaster"
DOWN_AFTER = 400  # ms of silence
_FAILOVER = 1500  # ms until a failover that came to nothing may be tried again
_GONE = (redis.ConnectionError, redis.TimeoutError, redis.ResponseError)


class Sentinel(RedisServer):
    """One Sentinel. ``settings`` are further lines of its configuration."""

    def __init__(
        self,
        master_port: int,
        quorum: int,
        *settings: str,
        service: str = SERVICE,
        host: str = "127.0.0.1",
        tls: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = TemporaryDirectory(prefix="sentinel-", dir="/tmp")
        file = Path(self._folder.name) / "sentinel.conf"
        lines = (
            *(line for line in settings if "hostnames" in line),  # they have to come first
            f"sentinel monitor {service} {host} {master_port} {quorum}",
            f"sentinel down-after-milliseconds {service} {DOWN_AFTER}",
            f"sentinel failover-timeout {service} {_FAILOVER}",
            f"sentinel parallel-syncs {service} 2",
            *(line for line in settings if "hostnames" not in line),
        )
        file.write_text("".join(f"{line}\n" for line in lines))
        super().__init__(tcp=True, config=file, tls=tls)

    def _settings(self) -> Iterator[str]:
        yield "--sentinel"
        settings = {**self._on_port, "bind": "127.0.0.1", "dir": str(self.folder)}
        settings |= {"unixsocket": str(self.socket), "logfile": "log"}
        for name, value in settings.items():
            yield from (f"--{name}", value)

    def close(self) -> None:
        super().close()
        self._folder.cleanup()


class Watched:
    """A master, ``replicas`` of it, and ``sentinels`` that watch them; all started on entry.

    ``args`` are options of the servers, ``settings`` lines for the Sentinels. With ``tls`` all of
    them speak it, to each other too, and nothing else.
    """

    def __init__(
        self,
        *args: str,
        replicas: int = 2,
        sentinels: int = 3,
        settings: Sequence[str] = (),
        tls: Mapping[str, str] | None = None,
    ) -> None:
        quick = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")
        self._stack = ExitStack()
        self._clients: dict[RedisServer, redis.Redis] = {}
        self._scheme = "redis" if tls is None else "rediss"
        self.servers = [RedisServer(*quick, *args, tcp=True, tls=tls) for _ in range(replicas + 1)]
        for server in self.servers[1:]:
            server._command += ["--replicaof", "127.0.0.1", str(self.servers[0].port)]
        quorum = sentinels // 2 + 1
        self.sentinels = [
            Sentinel(self.servers[0].port, quorum, *settings, tls=tls) for _ in range(sentinels)
        ]

    @property
    def hosts(self) -> str:
        return ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)

    @property
    def url(self) -> str:
        return f"{self._scheme}+sentinel://{self.hosts}/{SERVICE}"

    def __enter__(self) -> Watched:
        with ExitStack() as stack:
            for server in self.servers:
                stack.enter_context(server)
            until(lambda: all(self._is_in_step(server) for server in self.servers[1:]))
            for sentinel in self.sentinels:
                stack.enter_context(sentinel)
            until(self.is_settled)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def client(self, server: RedisServer) -> redis.Redis:
        """Return a client of a server, the same for each question."""
        if server not in self._clients:
            self._clients[server] = server.client(protocol=2, retry=Retry(NoBackoff(), 1))
        return self._clients[server]

    def _is_in_step(self, server: RedisServer) -> bool:
        return bool(self.client(server).info("replication").get("master_link_status") == "up")

    def _role(self, server: RedisServer) -> Any:
        return self.client(server).execute_command("ROLE")

    def told(self, sentinel: RedisServer) -> dict[str, Any]:
        """Return what a Sentinel says of the master."""
        words: Any = self.client(sentinel).execute_command("SENTINEL", "MASTER", SERVICE)
        texts = [word.decode() for word in words]
        return dict(zip(texts[::2], texts[1::2], strict=True))

    def is_settled(self) -> bool:
        """Whether all that run know each other, and one living master with all its replicas."""
        up = [one for one in self.sentinels if one._process is not None]
        servers = [one for one in self.servers if one._process is not None]
        with suppress(*_GONE, AssertionError):
            told = [self.told(one) for one in up]
            master = self.master
            return (
                {int(one["port"]) for one in told} == {master.port}
                and {one["flags"] for one in told} == {"master"}
                and {int(one["num-other-sentinels"]) for one in told} == {len(self.sentinels) - 1}
                and {int(one["num-slaves"]) for one in told} == {len(self.servers) - 1}
                and len(self._replicas(master)) == len(servers) - 1
            )
        return False

    @property
    def master(self) -> RedisServer:
        """The one that is the master by its own word and that of the most replicas."""
        alive = [one for one in self.servers if one._process is not None]
        roles = [(one, self._role(one)) for one in alive]
        masters = [(len(role[2]), one) for one, role in roles if role[0] == b"master"]
        assert masters, "no server is a master"
        return max(masters, key=lambda each: each[0])[1]

    def _replicas(self, master: RedisServer) -> list[Any]:
        role = self._role(master)
        return list(role[2]) if role[0] == b"master" else []

    def fail_over(self, by: int = 0) -> RedisServer:
        """Have a Sentinel put a replica in the place of the master; return the new master.

        All Sentinels name it by then. The old one says that it is a master for some ten seconds.
        """
        old = self.named
        until(lambda: self._did(lambda: self._demand(by)))
        return self.await_another(old)

    def await_another(self, old: RedisServer) -> RedisServer:
        """Block until all Sentinels name another master; return it."""
        until(lambda: self._did(lambda: self._named() is not old))
        return self.named

    @property
    def named(self) -> RedisServer:
        """The master that all running Sentinels agree on; blocks until they do."""
        until(lambda: self._did(lambda: bool(self._named())))
        return self._named()

    def _named(self) -> RedisServer:
        up = [one for one in self.sentinels if one._process is not None]
        ports = {int(self.told(one)["port"]) for one in up}
        if len(ports) != 1:  # one has not heard of it yet
            raise redis.ResponseError("they name several")
        return next(one for one in self.servers if one.port in ports)

    def _demand(self, by: int) -> bool:
        client = self.client(self.sentinels[by])
        return bool(client.execute_command("SENTINEL", "FAILOVER", SERVICE))

    @staticmethod
    def _did(act: Callable[[], bool]) -> bool:
        """Do something that may be refused while another failover is under way."""
        with suppress(*_GONE):
            return act()
        return False
