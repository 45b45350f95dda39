"""Settings in a file named .env, which stands for what is not in the environment."""

from __future__ import annotations

from pathlib import Path

from ..errors import InvalidInput

_FILE = Path(".env")


def read_settings_file() -> None:
    """Take what the file in the working folder sets into the environment, which wins over it.

    Not those of folders above, which may be somebody else's. Without python-dotenv it is not read.
    Raises InvalidInput for a file that cannot be read.
    """
    if not _FILE.exists() or _FILE.is_dir():  # a virtual environment may be called so
        return
    try:
        from dotenv import load_dotenv
    except ImportError:
        return
    try:
        load_dotenv(_FILE)
    except (OSError, ValueError) as exc:
        raise InvalidInput(
            f"{_FILE.resolve()} cannot be read",
            cause=str(exc),
            hint="mend it, or start this in another folder",
        ) from exc
