"""The folder of a spool: files that are written whole or not at all, and what lies beside them.

Others may use the folder too. What cannot be read or taken away is told once in the log, stays as
it is, and stops nothing else; a file that vanished was another process's to take away.
"""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ..errors import InvalidInput, SchemaTooNew
from ..models import new_id
from ..records.frame import Unreadable
from ..records.sealed import EncryptionKeyMissing

log: logging.Logger = logging.getLogger("miniagent_redis")
T = TypeVar("T")
WAITING = ".turn"
SET_ASIDE = ".set-aside"
_DRAFT = ".draft"
_OLD_DRAFT = 3600.0  # seconds: whoever wrote it is dead
_COARSE = 2.0  # seconds: the steps in which some file systems tell the time


class SpoolFolder:
    """The files of one folder, by their names. Safe for threads.

    ``faults`` is what is wrong with those that cannot be used and stay where they are.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.faults: dict[str, str] = {}
        self._listed: int | None = None  # the folder's time when it was listed

    def open(self) -> None:
        """Make the folder, for this user only, and try to write. Raises InvalidInput."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.write(f"probe-{new_id()}", b"").unlink()
        except OSError as exc:
            raise InvalidInput(
                f"spool_dir {str(self.path)!r} cannot be written to",
                cause=str(exc),
                hint="create it with rights for this user, or choose another folder",
            ) from exc
        for name in self.names(_DRAFT):
            draft = self.path / name
            try:
                if time.time() - draft.stat().st_mtime > _OLD_DRAFT:
                    draft.unlink()
            except OSError:  # another process was faster, or it is somebody else's
                pass

    def write(self, name: str, content: bytes) -> Path:
        """Write a file that is there whole or not at all, and survives a power cut."""
        path = self.path / name
        draft = path.with_suffix(_DRAFT)
        try:
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.rename(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        if os.name == "posix":  # elsewhere a folder cannot be opened
            folder = os.open(self.path, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        return path

    def names(self, suffix: str) -> list[str]:
        """Return the names that end so, in their order."""
        changed = self._changed()
        try:
            found = os.listdir(self.path)
        except FileNotFoundError:
            return []
        except OSError as exc:
            self._tell("", exc)
            return []
        # What is written within the same step of its clock leaves the folder's time as it is.
        self._listed = changed if time.time() - (changed or 0) / 1e9 > _COARSE else None
        for gone in self.faults.keys() - set(found):
            self.faults.pop(gone, None)
        return sorted(name for name in found if name.endswith(suffix))

    def may_have_changed(self) -> bool:
        """Whether files may have come since ``names`` was last asked for. Costs one look."""
        changed = self._changed()
        return changed is None or changed != self._listed

    def _changed(self) -> int | None:
        try:
            return self.path.stat().st_mtime_ns
        except OSError:
            return None

    def read(self, name: str, parse: Callable[[bytes], T]) -> T | None:
        """Return what ``parse`` makes of a file; None if it vanished or cannot be read.

        One that is Unreadable is set aside, all others are left where they are.
        """
        path = self.path / name
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                raise OSError("it is no file")
            found = parse(path.read_bytes())
        except FileNotFoundError:
            return None
        except Unreadable as exc:
            self.set_aside(name, f"it cannot be read: {exc}")
            return None
        except (OSError, SchemaTooNew, EncryptionKeyMissing) as exc:
            self._tell(name, exc)
            return None
        self.faults.pop(name, None)
        return found

    def remove(self, name: str) -> bool:
        """Take a file away; return False if another process did."""
        return self._take(name, (self.path / name).unlink)

    def set_aside(self, name: str, why: str) -> bool:
        """Rename a file that is of no use any more; return False if another process took it."""
        path = self.path / name
        if not self._take(name, lambda: path.rename(path.with_suffix(SET_ASIDE))):
            return False
        end = "" if name in self.faults else f" and was set aside as {path.stem}{SET_ASIDE}"
        log.error("the spooled turn %s cannot be stored%s: %s", path, end, why)
        return True

    def _take(self, name: str, take: Callable[[], object]) -> bool:
        """Take a file out of the queue; one that we may not touch counts as taken, once."""
        try:
            take()
        except FileNotFoundError:
            return False
        except OSError as exc:
            return self._tell(name, exc)
        return True

    def _tell(self, name: str, error: Exception) -> bool:
        """Log what is wrong with a file, or the folder; return False if that was told before."""
        if self.faults.get(name) == str(error):
            return False
        self.faults[name] = str(error)
        log.warning("%s is left alone in the spool: %s", self.path / name, error)
        return True
