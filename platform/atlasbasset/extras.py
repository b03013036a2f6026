"""The door to optional packages: what they are needed for, and how to install them."""

from __future__ import annotations

import importlib
from typing import Any

from atlasstore.errors import MissingExtraError

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
        It is not installed; the message carries the pip command.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{purpose} needs {module.partition('.')[0]}, which is not installed; run: pip install "
            f"'atlasbasset[{extra}]'."
        ) from error
