"""The embedded server's directory: its path and rights, its socket's path, its lock files.

Everything the server and its users share lies in one data directory with mode 700. The locks are
``flock``: the kernel drops them when their last holder dies, however it dies.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from ..errors import InvalidInput, StoreUnavailable

if sys.platform != "win32":
    import fcntl

POLL = 0.005  # seconds between two looks at what cannot be waited for
_SOCKET_PATH_MAX = 103  # bytes on macOS; Linux allows 107
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._+@=~,:-]+")
_DIRECTORY_MAX = 1000  # bytes; the server tells its directory from a buffer of 1,024
_UNUSABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # the last: bytes that are not UTF-8


@frozen
class ServerHome:
    """A data directory, as a canonical path, and the files of its server."""

    data_dir: Path
    socket_path: str

    @property
    def start_lock(self) -> Path:
        """Locked exclusively by whoever starts, adopts, leaves or stops the server."""
        return self.data_dir / "start.lock"

    @property
    def users_lock(self) -> Path:
        """Locked, shared, by every process that uses the server."""
        return self.data_dir / "users.lock"

    @property
    def server_lock(self) -> Path:
        """Locked exclusively by the server itself as long as it lives."""
        return self.data_dir / "server.lock"

    @property
    def log(self) -> Path:
        return self.data_dir / "server.log"


def prepare_home(data_dir: Path) -> ServerHome:
    """Create the directory if need be, make it private (mode 700) and say where things are."""
    path = Path(os.path.abspath(data_dir))
    if _UNUSABLE.search(str(path)) or len(os.fsencode(path)) > _DIRECTORY_MAX:
        raise InvalidInput(
            f"{str(path)!r} cannot be the data directory",
            cause="its name holds a control character such as a newline, is not valid UTF-8, or "
            f"has over {_DIRECTORY_MAX:,} bytes",
            hint="choose a directory with a short and printable name",
        )
    path = Path(os.path.realpath(path))
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            _take_over(path)
    except (FileExistsError, NotADirectoryError) as exc:
        raise InvalidInput(
            f"{path} cannot be the data directory",
            cause=f"a file is in the way ({exc})",
            hint="name a directory, or remove the file",
        ) from exc
    except OSError as exc:
        raise cannot_use(path, exc) from exc
    return ServerHome(path, _socket_path(path))


def _take_over(path: Path) -> None:
    if not (path / "start.lock").exists() and any(path.iterdir()):
        # Closing somebody's shared folder to everyone else would be worse than refusing it.
        raise InvalidInput(
            f"{path} cannot be the data directory",
            cause="other users can read it and it holds files that are not the server's",
            hint=f"use a subdirectory of it, such as {path / 'miniagent-redis'}",
        )
    path.chmod(0o700)


def cannot_use(path: Path, exc: OSError) -> StoreUnavailable:
    """Return the error for a directory that the system does not let us use."""
    return StoreUnavailable(
        f"the embedded server cannot use its directory {path}",
        cause=str(exc),
        hint="name a writable directory with embedded:///path, or set REDIS_URL to a server",
    )


def _socket_path(data_dir: Path) -> str:
    inside = str(data_dir / "server.sock")
    if len(inside) <= _SOCKET_PATH_MAX and _PLAIN_PATH.fullmatch(inside):
        return inside
    # Not TMPDIR or XDG_RUNTIME_DIR: a cron job and a login shell must find the same path.
    folder = Path("/tmp") / f"miniagent-redis-{os.geteuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as exc:
        raise cannot_use(folder, exc) from exc
    if (
        not stat.S_ISDIR(found.st_mode)
        or found.st_uid != os.geteuid()
        or stat.S_IMODE(found.st_mode) & 0o077
    ):
        raise StoreUnavailable(
            f"the embedded server cannot keep its socket in {folder}",
            cause="that is not a directory which only you can enter",
            hint="remove it, or use a data directory with a short and plain path",
        )
    return str(folder / f"{hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:32]}.sock")


@contextmanager
def open_lock(path: Path) -> Iterator[int]:
    """Yield the descriptor of a lock file, created if need be; closed, not unlocked, at the end."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise cannot_use(path.parent, exc) from exc
    try:
        yield fd
    finally:
        os.close(fd)


def try_lock(fd: int, *, shared: bool = False) -> bool:
    """Take the file lock of an open file without waiting; say whether it was granted."""
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock(fd: int) -> None:
    """Give the lock back at once; closing does so only when no forked child holds a copy."""
    fcntl.flock(fd, fcntl.LOCK_UN)


@contextmanager
def start_lock(home: ServerHome, deadline: float) -> Iterator[None]:
    """Hold the home's start lock; wait for it until ``deadline`` on ``time.monotonic()``."""
    with open_lock(home.start_lock) as fd:
        while not try_lock(fd):
            if time.monotonic() >= deadline:
                raise StoreUnavailable(
                    f"the embedded server of {home.data_dir} is being started or stopped",
                    cause="another process has been at it all the time we could wait",
                    hint="try again; if it persists, look for a stopped process that uses it",
                )
            time.sleep(POLL)
        try:
            yield
        finally:
            unlock(fd)
