"""Is this Redis fit for what the library promises? ``diagnose`` asks; the command prints."""

from .check import Check, Verdict
from .examination import diagnose

__all__ = ["Check", "Verdict", "diagnose"]
