"""Whether a request that changes something comes from a page of the app itself (CSRF).

Browsers say where a request comes from in headers that a page cannot set: ``Sec-Fetch-Site``, and
``Origin`` in older ones and over plain HTTP. So no token is needed. What sends neither is no
browser.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from flask import request

from ..doors.refusals import ForeignOrigin


def may_change() -> bool:
    """Whether the request is of a kind that changes something; one that is not, never does."""
    return request.method not in ("GET", "HEAD", "OPTIONS")


def refuse_foreign(trusted: Collection[str], *, may_read: bool = False) -> None:
    """Raise ForeignOrigin if the request was sent by a page of another site, and not a trusted one.

    One with a bearer token passes: no browser adds that by itself. With ``may_read`` one that only
    reads does too: people follow links.
    """
    if may_read and not may_change():
        return
    origin = request.headers.get("Origin", "").rstrip("/")
    site = request.headers.get("Sec-Fetch-Site")
    auth = request.authorization
    if site in ("same-origin", "none") or "*" in trusted or (auth and auth.type == "bearer"):
        return
    if origin in trusted:
        return
    if site is None and (not origin or urlsplit(origin).netloc == request.host):
        return
    raise ForeignOrigin(origin, request.host)
