"""Optional packages: what they are needed for, and how to install them."""

from __future__ import annotations

import importlib
from typing import Any

from atlasstore.errors import MissingExtraError, extra_packages

__all__ = ["needed"]


def needed(module: str, *, extra: str, purpose: str) -> Any:
    """Return an optional package's module.

    Parameters
    ----------
    module
        As imported ("memelite").
    extra
        The extra of this distribution that brings it.
    purpose
        What needs it, the beginning of a sentence ("Matching motifs").

    Raises
    ------
    MissingExtraError
        It is not installed, or cannot be imported; the message carries the pip command.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingExtraError(
            f"{purpose} needs {package}, which {_remedy(error, {module, package})} "
            f"{extra_packages(extra)}."
        ) from error


def _remedy(error: ImportError, wanted: set[str]) -> str:
    """Say whether what is wanted is not there, or is there and does not work, and what to run."""
    if isinstance(error, ModuleNotFoundError) and error.name in wanted:
        return "is not installed; run: pip install"
    reason = " ".join(str(error).split()).rstrip(".")
    return f"is installed but cannot be imported ({reason}); mend it, or run: pip install --upgrade"
