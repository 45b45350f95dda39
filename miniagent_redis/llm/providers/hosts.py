"""Whose server an address is: OpenAI's own, Azure's, which takes what OpenAI takes, or another."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

_OPENAI = "api.openai.com"
_AZURE = re.compile(r".+\.(openai|services\.ai|cognitiveservices)\.azure\.(com|us|cn)")


def is_openai(host: str) -> bool:
    """Whether it is OpenAI's own server; its data regions have names below that."""
    return host == _OPENAI or host.endswith("." + _OPENAI)


def is_azure(host: str) -> bool:
    """Whether it is a resource of Azure's that offers OpenAI's models."""
    return _AZURE.fullmatch(host) is not None


def host_of(url: str | None) -> str:
    """Return the host of an address, or an empty text."""
    return urlsplit(url or "").hostname or ""


def azure_address(url: str, api_version: str | None) -> tuple[str, str | None]:
    """Return where the SDK goes on, and the version to ask for there: None is the ``v1`` way.

    The address may be that of the resource alone, as Azure's portal shows it, or have a path and
    ``?api-version=``.
    """
    parts = urlsplit(url)
    version = api_version or parse_qs(parts.query).get("api-version", [""])[0] or None
    path = re.sub(r"/(chat/completions|responses)$", "", parts.path.rstrip("/"))
    if version in ("preview", "latest", "v1") or "/v1" in path:  # no dated versions there
        version = None
    if not re.search(r"/(openai|models)(/|$)", path):
        path += "/openai" if version else "/openai/v1"
    return parts._replace(path=path, query="", fragment="").geturl(), version
