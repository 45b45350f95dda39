"""The console's templates: an environment of their own, in which no text can be anything else."""

from __future__ import annotations

import time
from typing import Any

from flask import Response, url_for
from jinja2 import Environment, PackageLoader, StrictUndefined

from ...models import new_id
from . import words
from .access import Access

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: with that browsers hide the Origin of forms, by which ours are known.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def _environment() -> Environment:
    """Return an environment that escapes all, and shows what could not be seen."""
    made = Environment(
        loader=PackageLoader(__name__.rpartition(".")[0]),
        autoescape=True,
        finalize=words.visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {"url_for": url_for, "new_id": new_id, "counted": words.counted}
    made.filters |= {
        name: getattr(words, name)
        for name in ("ago", "money", "number", "one_line", "seconds_of", "size", "span", "to_link")
    }
    return made


_TEMPLATES = _environment()


class Pages:
    """Renders pages for who sent the request."""

    def __init__(self, access: Access) -> None:
        self.access: Access = access

    def show(self, name: str, status: int = 200, **values: Any) -> Response:
        """Return a page as a response."""
        access = self.access
        brand = access.agents.settings.agent.name
        text = _TEMPLATES.get_template(f"{name}.html").render(
            {"agent_name": brand, **values},
            brand=brand,
            here=name,
            now=time.time(),
            is_admin=access.is_admin,
            can_write=not access.is_read_only,
        )
        return Response(text, status, mimetype="text/html")
