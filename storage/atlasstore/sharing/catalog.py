"""A catalogue of the stores below a prefix: one static page and one table, made anew each time.

The page holds everything it shows and runs nothing. What stores say reaches it as text that the
template escapes; a policy lets no script, picture or connection in, whatever a store is called.
"""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from atlasstore.errors import MissingExtraError, extra_packages
from atlasstore.files import urls
from atlasstore.redaction import legible, shown
from atlasstore.sharing.listing import StoreEntry, list_stores
from atlasstore.text_units import size

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["PAGE", "TABLE", "CatalogReport", "write_catalog"]

PAGE, TABLE = "index.html", "catalog.parquet"
_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class CatalogReport:
    """What was written."""

    prefix: str
    page: str
    """URL of the page."""
    table: str
    """URL of the Parquet."""
    n_stores: int
    n_problems: int
    """Of these, stores that are unfinished or cannot be read."""

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def write_catalog(
    prefix: str | Path, *, out: str | Path, title: str | None = None
) -> CatalogReport:
    """Write a page and a table of the stores below a prefix, replacing earlier ones.

    Parameters
    ----------
    prefix
        Path or URL of a folder.
    out
        Path or URL of the folder to write ``index.html`` and ``catalog.parquet`` into; may be
        below `prefix`.
    title
        Heading of the page; the prefix by default.

    Examples
    --------
    >>> write_catalog("s3://lab-results", out="s3://lab-results")  # doctest: +SKIP

    Raises
    ------
    NotAStoreError, UserInputError
        As `list_stores`.
    MissingExtraError
        What a page is made with is not installed.
    """
    template = _template()
    stores = list_stores(prefix)
    page = template.render(
        title=title or str(prefix),
        version=version("atlasbasset"),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        stores=stores,
        table=TABLE,
    )
    content = io.BytesIO()
    table_of(stores).to_parquet(content, index=False)
    urls.write_bytes(urls.join(out, TABLE), content.getvalue())
    urls.write_bytes(urls.join(out, PAGE), page.encode())
    return CatalogReport(
        shown(prefix),
        shown(urls.join(out, PAGE)),
        shown(urls.join(out, TABLE)),
        len(stores),
        sum(bool(store.problem) for store in stores),
    )


def table_of(stores: Sequence[StoreEntry]) -> pd.DataFrame:
    """Return a row for each store, text without secrets and control characters."""
    return pd.DataFrame([_row(store) for store in stores], columns=list(_TYPES)).astype(_TYPES)


_TYPES: dict[str, Any] = {
    **dict.fromkeys(("name", "url", "kind", "title", "shape"), "string"),
    "stored_bytes": "int64",
    **dict.fromkeys(("created", "made_from", "licence", "description", "problem"), "string"),
}


def _row(store: StoreEntry) -> dict[str, Any]:
    card = store.card
    told = {
        "title": "" if card is None else card.title,
        "description": "" if card is None else card.said.description,
    }
    found = {name: told.get(name, getattr(store, name, "")) for name in _TYPES}
    return {
        name: _plain(value) if isinstance(value, str) else value for name, value in found.items()
    }


def _plain(text: object) -> str:
    return legible(shown(text))


def _template() -> Any:
    try:
        import jinja2
    except ImportError as error:
        raise MissingExtraError(
            "A catalogue needs jinja2, which is not installed; run: pip install "
            f"{extra_packages('report')}."
        ) from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(plain=_plain, size=size)
    return environment.get_template("catalog.html")
