"""Is this Redis fit for what the library promises? ``diagnose`` asks; the command prints."""

from .check import Check, Verdict, left_out, verdict
from .examination import diagnose, examine

__all__ = ["Check", "Verdict", "diagnose", "examine", "left_out", "verdict"]
