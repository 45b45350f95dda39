"""How Redis and this process are, and the doctor, who is called when somebody asks."""

from __future__ import annotations

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from ...doctor import examine, left_out, verdict
from .access import Access
from .rendering import Pages


def add_health(routes: Blueprint, access: Access, pages: Pages) -> None:
    """Add the pages for who runs the service."""

    @routes.get("/health")
    def health() -> ResponseReturnValue:
        access.must_be_admin()
        agent = access.all.agent
        return pages.show("health", health=agent.store.health(), stats=agent.stats(), checks=None)

    @routes.post("/health")
    def doctor() -> ResponseReturnValue:
        """Examine the store; a turn is tried, on a session that is removed at once."""
        access.must_write()
        access.must_be_admin()
        agent = access.all.agent
        checks = list(examine(agent.store, with_data="data" in request.form))
        return pages.show(
            "health",
            health=agent.store.health(),
            stats=agent.stats(),
            checks=[one for one in checks if one.verdict != "skip"],
            unknown=left_out(checks),
            verdict=verdict(checks),
        )
