"""Who we are to a server: what a function may return that is asked at each connect."""

from __future__ import annotations

from typing import Protocol

Credentials = str | tuple[str, str]
"""A password, or a user and a password."""


class CredentialProvider(Protocol):
    """What redis-py's class of that name is, and need not be one of its subclasses."""

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Return a password, or user and password, as a tuple."""
        ...
