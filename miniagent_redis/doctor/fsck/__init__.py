"""The store checks itself: finds what does not fit together, and mends what can be mended safely.

``check(core)`` is the whole of it, for administrators and for ``miniagent-redis doctor``.
"""

from .finding import REPAIR, Finding, Kind
from .walk import TRIAL, Tell, check

__all__ = ["REPAIR", "TRIAL", "Finding", "Kind", "Tell", "check"]
