"""Keys: where they come from, which one is current, and when their source is asked again."""

from __future__ import annotations

import base64
import binascii
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from attrs import field, frozen

from ..errors import InvalidInput, MiniAgentError, StoreMisconfigured
from ..runtime.forking import reset_after_fork

log: logging.Logger = logging.getLogger("miniagent_redis")

SIZE = 32  # bytes of a key
REFRESH = 60.0  # seconds after which a source is asked again
ASK_AGAIN = 5.0  # seconds in which it is asked once for a key that it does not have
MOST_ASKED = 8  # different ones for which it is asked in that time: anybody may make up ids
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HINT = "a key is 32 random bytes: openssl rand -base64 32, written as ID:BASE64"


def _checked(given: Any) -> dict[str, bytes]:
    if not isinstance(given, Mapping) or not given:
        raise InvalidInput("keys are a mapping of ids to keys, with one at the least", hint=_HINT)
    keys: dict[Any, Any] = dict(given)
    for key_id, key in keys.items():
        if not isinstance(key_id, str) or not _ID.fullmatch(key_id):
            # It is not shown: with its colon missing it would be a key.
            raise InvalidInput(
                "the id of a key is up to 64 letters, digits, dots, dashes and underscores",
                hint=_HINT,
            )
        if not isinstance(key, bytes) or len(key) != SIZE:
            size = f"it has {len(key)}" if isinstance(key, bytes) else "it is no bytes"
            raise InvalidInput(f"the key {key_id!r} must have {SIZE} bytes", cause=size, hint=_HINT)
    return keys


@frozen
class KeyRing:
    """Keys of 32 bytes by their ids. New records get the ``current`` one, all others are to read.

    Ids are up to 64 letters, digits, dots, dashes and underscores. They are stored with each
    record, readable. An id is for one key, for ever. Keys are never shown.
    """

    current: str
    keys: Mapping[str, bytes] = field(repr=False, converter=_checked)

    def __attrs_post_init__(self) -> None:
        if self.current not in self.keys:
            raise InvalidInput(f"there is no key for the current id {self.current!r:.80}")


KeysGiven: TypeAlias = KeyRing | Mapping[str, bytes] | str
KeySource: TypeAlias = KeysGiven | Callable[[], Any]


def ring_of(given: object) -> KeyRing:
    """Return the ring that was given; raises InvalidInput, which shows no key."""
    if isinstance(given, KeyRing):
        return given
    if isinstance(given, str):
        if given.startswith("file:"):
            return ring_of(_read(Path(given.removeprefix("file:"))))
        given = _parsed(given)
    keys = _checked(given)
    return KeyRing(next(iter(keys)), keys)


def _read(path: Path) -> dict[str, bytes]:
    try:
        return _parsed(path.read_text("utf-8"))
    except (OSError, UnicodeError) as exc:
        raise StoreMisconfigured(
            f"the file of encryption keys {str(path)!r} cannot be read", cause=type(exc).__name__,
            hint="name a file with ID:BASE64 in each line, which this user may read",
        ) from exc  # fmt: skip


def _parsed(text: str) -> dict[str, bytes]:
    """Return the keys in ``ID:BASE64``, with commas, blanks or line breaks between them."""
    keys: dict[str, bytes] = {}
    for number, each in enumerate(re.split(r"[\s,]+", text.strip(" \t\r\n,")), 1):
        key_id, _, encoded = each.partition(":")
        try:
            key = base64.b64decode(encoded.translate(_URL_SAFE), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if not _ID.fullmatch(key_id) or len(key) != SIZE:
            raise InvalidInput(
                f"encryption key number {number} is not usable",
                cause="it is not an id, a colon and the Base64 of 32 bytes",
                hint=_HINT,
            )
        if key_id in keys:
            raise InvalidInput(f"there are two encryption keys with the id {key_id!r}")
        keys[key_id] = key
    return keys


_URL_SAFE = str.maketrans("-_", "+/")


class Keys:
    """The ring of a source, which is asked for it, and asked again. Safe for threads and forks."""

    def __init__(self, source: KeySource, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._clock = clock
        is_file = isinstance(source, str) and source.startswith("file:")
        self._may_change = callable(source) or is_file
        self._ring: KeyRing | None = None if callable(source) else ring_of(source)
        self._asked_at = clock()
        self._missed: dict[str, float] = {}
        self._start_anew()

    @reset_after_fork
    def _start_anew(self) -> None:
        self._asking = threading.RLock()  # while the source is asked

    def current(self) -> tuple[str, bytes]:
        """Return id and key for what is stored now. Raises StoreMisconfigured if there are none."""
        ring = self._ring
        if ring is None:
            with self._asking:
                ring = self._ring or self._ask()
        elif self._may_change and self._clock() - self._asked_at > REFRESH:
            ring = self._refreshed(ring)
        return ring.current, ring.keys[ring.current]

    def find(self, key_id: str) -> bytes | None:
        """Return a key by its id; the source is asked again for one that is not known."""
        ring = self._ring
        key = None if ring is None else ring.keys.get(key_id)
        if key is not None or not self._may_change:
            return key
        with self._asking:
            ring = self._ring  # another thread may have asked meanwhile
            if (ring is None or key_id not in ring.keys) and self._may_ask_for(key_id):
                try:
                    self._ask()
                except MiniAgentError as exc:
                    log.warning("the encryption keys cannot be had now: %s", exc)
            return None if self._ring is None else self._ring.keys.get(key_id)

    def _may_ask_for(self, key_id: str) -> bool:
        now = self._clock()
        self._missed = {one: at for one, at in self._missed.items() if now - at < ASK_AGAIN}
        if key_id in self._missed or len(self._missed) >= MOST_ASKED:
            return False
        self._missed[key_id] = now
        return True

    def _refreshed(self, ring: KeyRing) -> KeyRing:
        """Ask again, unless another thread does; what is known stays when that fails."""
        if not self._asking.acquire(blocking=False):
            return ring
        try:
            return self._ask()
        except MiniAgentError as exc:
            log.warning("the encryption keys of before are used, as none can be had now: %s", exc)
            return ring
        finally:
            self._asking.release()

    def _ask(self) -> KeyRing:
        self._asked_at = self._clock()
        try:
            given = self._source() if callable(self._source) else self._source
            self._ring = ring = ring_of(given)
        except MiniAgentError:
            raise
        except Exception as exc:  # it is the user's; its text may have a key in it
            raise StoreMisconfigured(
                "the function that returns the encryption keys failed",
                cause=type(exc).__name__,
                hint="see what it raised; until it returns keys nothing can be stored or read",
            ) from exc
        return ring
