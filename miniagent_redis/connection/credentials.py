"""User and password, asked for at each connect: the provider that redis-py's connections are given.

What the configuration holds may be a provider of redis-py's or a plain function; either may fail,
which is told as a fault of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import redis

from ..config.credentials import CredentialProvider, Credentials
from ..errors import StoreMisconfigured, StoreUnavailable


class AskedCredentials(redis.CredentialProvider):
    """Asks ``source`` for credentials and checks what it returns."""

    def __init__(self, source: CredentialProvider | Callable[[], Credentials]) -> None:
        self._source = source

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Return a password, or user and password, as a tuple.

        Raises StoreUnavailable if the source fails, StoreMisconfigured for what is neither.
        """
        source = self._source
        try:
            got: object = source() if callable(source) else source.get_credentials()
        except Exception as exc:
            raise StoreUnavailable(
                "the credential_provider failed, so there is no password to connect with",
                cause=f"{type(exc).__name__}: {exc}",
                hint="see to what it asks; the next call asks it again",
            ) from exc
        if isinstance(got, str):
            return (got,)
        if isinstance(got, tuple):
            found = cast("tuple[object, ...]", got)
            if len(found) in (1, 2) and all(isinstance(part, str) for part in found):
                return cast("tuple[str] | tuple[str, str]", found)
        raise StoreMisconfigured(
            f"the credential_provider returned {type(got).__name__}, which cannot be used",
            hint="let it return a password, or (user, password)",
        )

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        return await asyncio.to_thread(self.get_credentials)
