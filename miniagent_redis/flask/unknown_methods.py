"""Requests by methods that Flask knows no route for, at addresses that are a door's."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, current_app, request
from flask.sansio.blueprints import BlueprintSetupState
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

_USUAL = "TRACE"
"""A method that no route of ours takes, and all addresses of a door answer in its own form."""


def answer_unknown_methods(
    blueprint: Blueprint,
    check: Callable[[], object],
    answer: Callable[[Exception], ResponseReturnValue],
) -> None:
    """Have methods of any name answered by the blueprint, not by the app's own page.

    ``check`` and ``answer`` are its own: what comes before a request, and what tells errors.
    """
    names: set[str] = set()

    @blueprint.record
    def note(state: BlueprintSetupState) -> None:
        names.add(f"{state.name_prefix}.{state.name}".lstrip("."))

    @blueprint.before_app_request
    def answer_unknown_method() -> ResponseReturnValue | None:
        adapter = current_app.create_url_adapter(request)
        if request.routing_exception is None or adapter is None:
            return None
        try:
            endpoint, values = adapter.match(method=_USUAL)
        except HTTPException:  # there is no such address
            return None
        if endpoint.rpartition(".")[0] not in names:
            return None
        try:
            check()
            view = current_app.ensure_sync(current_app.view_functions[endpoint])
            made: ResponseReturnValue = view(**values)
        except Exception as exc:
            return answer(exc)
        return made
