"""One set of small stores, and one report on them, for all tests of `report`."""

from __future__ import annotations

import pytest

import atlasbasset
from atlasstore.cards.store_card import write_card
from atlasstore.events import ignore
from small_report import HOSTILE, make_stores


@pytest.fixture(scope="session")
def stores(tmp_path_factory):
    made = make_stores(tmp_path_factory.mktemp("stores"))
    write_card(made.model, licence="CC-BY-4.0", description=f"Of a worm. {HOSTILE}")
    return made


@pytest.fixture(scope="session")
def written(stores, tmp_path_factory):
    """Return the page's path and what was said of it."""
    out = tmp_path_factory.mktemp("report") / "report.html"
    keys = {"label_key": "cell_type", "batch_key": "donor"}
    return out, atlasbasset.report(stores.model, *stores.beside, out=out, on_event=ignore, **keys)
