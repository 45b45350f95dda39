"""Who may open a console that has no app around it: a holder of the token, or this machine."""

from __future__ import annotations

import hmac
from hashlib import sha256
from urllib.parse import urlsplit

from flask import Blueprint, redirect, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import Forbidden

from ...config.address import is_loopback
from .rendering import Pages

LOGIN = "login"
"""The route by which a browser gives the token: it changes nothing that is stored."""
_COOKIE = "miniagent_console_"
_MONTH = 30 * 86400  # seconds


class Guard:
    """Asks for a token, once in each browser; without one only this machine is let in."""

    def __init__(self, token: str | None, pages: Pages) -> None:
        self._token = token
        self._pages = pages

    def add_to(self, routes: Blueprint) -> None:
        """Stand in front of the routes, and add the page that asks."""
        routes.before_request(self.check)
        routes.add_url_rule("/login", LOGIN, self.login, methods=["GET", "POST"])

    def check(self) -> ResponseReturnValue | None:
        """Let the request pass, or return what it is answered with."""
        if self._token is None:
            if not is_loopback(request.remote_addr or "") or not is_loopback(_hostname()):
                raise Forbidden(
                    "This console has no token, so it answers on this machine alone: "
                    "start it with one."
                )
            return None
        if (request.endpoint or "").rpartition(".")[2] in (LOGIN, "static"):
            return None
        if self._is_token(request.args.get("token", "")) and request.method == "GET":
            return self._let_in(url_for(".talk"))
        auth = request.authorization
        if auth is not None and auth.type == "bearer" and self._is_token(auth.token or ""):
            return None
        if hmac.compare_digest(request.cookies.get(self._cookie, "").encode(), self._mark.encode()):
            return None
        return redirect(url_for(f".{LOGIN}"), 303)

    def login(self) -> ResponseReturnValue:
        """Show the page that asks for the token, or let in who has it."""
        given = request.form.get("token", "")
        if self._token is None or self._is_token(given):
            return self._let_in(url_for(".talk"))
        return self._pages.show("login", 401 if given else 200, is_wrong=bool(given))

    def _is_token(self, given: str) -> bool:
        mine = (self._token or "").encode()
        return bool(mine) and hmac.compare_digest(given.encode("utf-8", "replace"), mine)

    @property
    def _cookie(self) -> str:
        """Return the cookie's name; browsers send it to all ports of a machine."""
        return _COOKIE + self._mark[:8]

    @property
    def _mark(self) -> str:
        """Return what a browser keeps: it tells nobody the token."""
        return hmac.new((self._token or "").encode(), b"miniagent console", sha256).hexdigest()

    def _let_in(self, where: str) -> ResponseReturnValue:
        answer = redirect(where, 303)
        answer.set_cookie(
            self._cookie,
            self._mark,
            max_age=_MONTH,
            httponly=True,
            samesite="Strict",
            secure=request.is_secure,
        )
        return answer


def _hostname() -> str:
    """Return the name by which the browser knows us: another site's can lead here too."""
    return urlsplit(f"//{request.host}").hostname or ""
