"""How a package that is missing is installed: for the very Python that runs this program."""

from __future__ import annotations

import sys
from shlex import quote


def pip_install(extra: str) -> str:
    """Return the command that installs what an extra of this package needs."""
    return f"{quote(sys.executable or 'python')} -m pip install 'miniagent-redis[{extra}]'"
