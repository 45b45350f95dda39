"""The store checks itself: finds what does not fit together, and mends what can be mended safely.

``check(store)`` is the whole of it, for administrators and for ``miniagent-redis doctor``.
"""

from .finding import Finding, Kind
from .walk import check

__all__ = ["Finding", "Kind", "check"]
