"""What motifs are called: the TF in a collection's identifiers, and one name for each motif."""

from __future__ import annotations

import re
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["distinct_names", "tf_name"]

_CISBP = re.compile(r"^\(([^()]+)\)_\(")
_HOCOMOCO = re.compile(r"^([^._]+)(?:_[A-Z0-9]+)?\.H\d+[A-Z]+\.\d")
_JASPAR = re.compile(r"^(?:(?:MA|UN|PB|PF|PH|PL|CN|MF|SA|SD|POL|FAM)\d+\.\d+[_.-])+(?=\D)(.+)$")
"""Of all its collections: CORE (MA), unvalidated (UN), PBM, PHYLOFACTS, ..."""
_LISTED = 3


def tf_name(text: str) -> str:
    """Return a motif's TF, less the decorations of the collections."""
    for pattern in (_CISBP, _HOCOMOCO, _JASPAR):
        if match := pattern.match(text):
            return match[1]
    return text


def distinct_names(names: Sequence[str]) -> tuple[list[str], str | None]:
    """Return names that differ from one another, and a sentence on what was renamed, if anything.

    The first of several keeps its name; the others get ``-1``, ``-2``, ..., whichever is free.
    """
    taken, renamed = set(names), []
    found: dict[str, None] = {}
    for name in names:
        new = name
        if name in found:
            new = next(free for n in count(1) if (free := f"{name}-{n}") not in taken)
            taken.add(new)
            renamed.append(f"{name} as {new}")
        found[new] = None
    return list(found), _sentence(renamed)


def _sentence(renamed: list[str]) -> str | None:
    if not renamed:
        return None
    more = f" and {len(renamed) - _LISTED} more" if len(renamed) > _LISTED else ""
    return (
        f"{len(renamed)} motifs have the name of one before them and got a number: "
        f"{', '.join(renamed[:_LISTED])}{more}."
    )
