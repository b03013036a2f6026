"""What the verbs that pass stores on print."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from atlasstore.redaction import legible
from atlasstore.text_units import count, size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from atlasstore.cards.card import Card
    from atlasstore.plans import Lines
    from atlasstore.sharing.catalog import CatalogReport
    from atlasstore.sharing.copying import CopyReport
    from atlasstore.sharing.exporting import ExportReport
    from atlasstore.sharing.listing import StoreEntry

__all__ = [
    "card_values",
    "catalog_facts",
    "copy_facts",
    "export_facts",
    "store_lines",
    "store_table",
]

_TEXTS = (1, 2, 5)
_COLUMNS = ("store", "kind", "holds", "stored", "made", "from")


def store_table(stores: Sequence[StoreEntry]) -> tuple[Sequence[str], list[list[str]]]:
    """Return the columns of a table of stores, and a row for each."""
    rows = [
        [
            store.name,
            store.kind,
            store.shape or "-",
            size(store.stored_bytes) if store.stored_bytes else "-",
            store.created[:16].replace("T", " ") or "-",
            store.made_from or "-",
        ]
        for store in stores
    ]
    table = [list(_COLUMNS), *([legible(cell) for cell in row] for row in rows)]
    for at in _TEXTS:  # to the left
        width = max(len(row[at]) for row in table)
        for row in table:
            row[at] = row[at].ljust(width)
    return table[0], table[1:]


def store_lines(stores: Sequence[StoreEntry]) -> list[str]:
    """Return the reasons why some cannot be read."""
    return [f"{store.name}: {store.problem}" for store in stores if store.problem]


def copy_facts(report: CopyReport) -> Lines:
    """Describe a copy."""
    return [
        ("format", report.format),
        ("files", f"{count(report.n_files)}, each compared with what was read"),
        ("stored", size(report.stored_bytes)),
    ]


def export_facts(report: ExportReport) -> Lines:
    """Describe an exported part."""
    return [
        ("rows x columns", f"{count(report.n_rows)} x {count(report.n_columns)}"),
        ("stored", size(report.stored_bytes)),
    ]


def catalog_facts(report: CatalogReport) -> Lines:
    """Describe a catalogue."""
    unread = [("problems", count(report.n_problems))] if report.n_problems else []
    return [
        ("stores", count(report.n_stores)),
        *unread,
        ("page", report.page),
        ("table", report.table),
    ]


def card_values(url: str, card: Card) -> Mapping[str, Any]:
    """Return a card as JSON values."""
    return {
        "store": url,
        "title": card.title,
        **asdict(card.said),
        "sections": {section.title: dict(section.lines) for section in card.sections},
    }
