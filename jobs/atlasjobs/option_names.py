"""Options by the names of the command line, in sentences that name them as Python does.

What the library refuses names arguments in parentheses, ``name the column (label_key)``, or as they
are, ``n_null must be 1 or more``. On the command line ``--label-key`` and ``--n-null`` stand there.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["naming_options", "with_options"]

_KEYWORD = re.compile(r" \(([a-z_0-9]+)=[^\s()]*\)")
"""What a sentence adds for Python where it has the option already."""
_LIST = re.compile(r"(?<= )\(([a-z_0-9]+(?:(?:, | or | and )[a-z_0-9]+)*)\)")
_ONE = re.compile(r"(?!or\b|and\b)[a-z_0-9]+")
_WORD = re.compile(r"(?<!\S)[a-z]+(?:_[a-z0-9]+)+(?=[,;:.]?(?:\s|$))")
"""A name that is no word of English, standing alone: no part of a path or of what is quoted."""

_options: ContextVar[Mapping[str, str]] = ContextVar("options")


@contextmanager
def naming_options(params: Sequence[Any]) -> Iterator[None]:
    """Let `with_options` know a verb's parameters."""
    named = {
        param.name: next((o for o in param.opts if o.startswith("--")), "") for param in params
    }
    token = _options.set({name: option for name, option in named.items() if option})
    try:
        yield
    finally:
        _options.reset(token)


def with_options(text: str) -> str:
    """Return a sentence with the running verb's options in the place of its arguments."""
    known = _options.get({})
    text = _KEYWORD.sub(lambda found: "" if found[1] in known else found[0], text)
    text = _LIST.sub(lambda found: _all_of(found[0], known), text)
    return _WORD.sub(lambda found: known.get(found[0], found[0]), text)


def _all_of(names: str, known: Mapping[str, str]) -> str:
    """Return names as options, where all of them are options."""
    if any(name not in known for name in _ONE.findall(names)):
        return names
    return _ONE.sub(lambda found: known[found[0]], names)
