"""A card as Markdown, and what persons said in one: the text alone, whatever it is about.

The front matter is what Hugging Face reads; its values are JSON strings, which are valid YAML. A
card holds neither the time nor the place of its store: two equal jobs write the same bytes.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atlasstore.files.json_text import parsed_json
from atlasstore.redaction import legible, shown

if TYPE_CHECKING:
    from atlasstore.plans import Lines

__all__ = ["MARK", "Card", "Said", "Section", "said_in"]

MARK = (
    "<!-- written by atlasbasset from the store's metadata; `atlasbasset card` writes it again -->"
)
"""Stands in every card of ours, and in no README that a person wrote."""
_FRONT = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
_FIELDS = ("license", "description")


@dataclass(frozen=True, slots=True)
class Said:
    """What only a person knows of a store."""

    licence: str = ""
    """Such as "CC-BY-4.0"; "" where nobody has said."""
    description: str = ""
    """A few sentences."""

    def updated(self, licence: str | None, description: str | None) -> Said:
        """Return what is said now; None leaves what was said before."""
        return Said(
            self.licence if licence is None else legible(shown(licence)),
            self.description if description is None else legible(shown(description)),
        )


@dataclass(frozen=True, slots=True)
class Section:
    """Lines under a heading."""

    title: str
    lines: Lines


@dataclass(frozen=True, slots=True)
class Card:
    """What a store is, for people."""

    title: str
    tag: str
    """The kind of store, as a tag: ``atlasbasset-model``."""
    said: Said
    sections: tuple[Section, ...]
    code: str
    """Python that opens the store, without what the store does not need."""

    def markdown(self) -> str:
        """Return the text of README.md."""
        parts = [
            _front_matter(self.said, self.tag),
            f"# {_plain(self.title)}\n\n{MARK}\n",
            *([f"{_plain(self.said.description)}\n"] if self.said.description else []),
            *(_table(section) for section in self.sections if section.lines),
            f"## How to open it\n\n```python\n{self.code.strip()}\n```\n",
        ]
        return "\n".join(parts)


def said_in(text: str) -> Said | None:
    """Return what persons said in a card; None where the text is no card of ours."""
    if MARK not in text:
        return None
    front = _FRONT.match(text)
    lines = front[1].splitlines() if front else []
    values = dict(line.split(": ", maxsplit=1) for line in lines if ": " in line)
    licence, description = (_loaded(values.get(name, '""')) for name in _FIELDS)
    return Said(licence, description)


def _loaded(text: str) -> str:
    try:
        value: Any = parsed_json(text)
    except ValueError:
        return ""
    return legible(shown(value)) if isinstance(value, str) else ""


def _front_matter(said: Said, tag: str) -> str:
    values: dict[str, Any] = {
        **({"license": said.licence} if said.licence else {}),
        **({"description": said.description} if said.description else {}),
        "library_name": "atlasbasset",
        "tags": ["single-cell", "scATAC-seq", tag],
    }
    lines = [f"{name}: {json.dumps(value)}" for name, value in values.items()]
    return "\n".join(["---", *lines, "---\n"])


def _table(section: Section) -> str:
    rows = [f"| {_plain(name)} | {_code(value)} |" for name, value in section.lines]
    return "\n".join([f"## {_plain(section.title)}\n", "| | |", "|---|---|", *rows, ""])


def _plain(text: str) -> str:
    """Return text that is no markup: of a store it may say anything."""
    clean = legible(shown(text)).strip()
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&])", r"\\\1", clean) if clean else ""


def _code(text: str) -> str:
    """Return a value as code, where nothing is markup."""
    clean = legible(shown(text)).replace("`", "'").replace("|", "¦").strip()
    return f"`{clean}`" if clean else ""
