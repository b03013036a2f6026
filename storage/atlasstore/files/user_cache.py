"""Where a user's programs keep what they can make again."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

__all__ = ["user_cache"]


def user_cache() -> Path:
    """Return ``$XDG_CACHE_HOME``, else ``~/.cache``; the temporary folder if it is not writable."""
    named = os.environ.get("XDG_CACHE_HOME")
    root = Path(named) if named else Path.home() / ".cache"
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.gettempdir())
    return root if os.access(root, os.W_OK) else Path(tempfile.gettempdir())
