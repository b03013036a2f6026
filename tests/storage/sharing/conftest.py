"""Stores to pass on: on disk, in a bucket behind a proxy that fails when told to."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from atlasstore.cards.store_card import write_card
from flaky_s3 import s3_behind_proxy, settings_for_faults
from small_stores import make_small_atlas, make_small_model, make_small_result


@pytest.fixture(scope="package")
def stores(tmp_path_factory):
    """An atlas, a model and a result with cards, by kind."""
    folder = tmp_path_factory.mktemp("stores")
    made = {
        "atlas": make_small_atlas(folder / "a.zarr"),
        "model": make_small_model(folder / "deep/m.zarr"),
        "result": make_small_result(folder / "deep/er/r.zarr"),
    }
    for url in made.values():
        write_card(url, licence="CC0-1.0")
    return SimpleNamespace(folder=folder, **made)


@pytest.fixture(scope="package")
def s3():
    """A proxy before an S3 server with the empty bucket ``s3://bucket``."""
    with pytest.MonkeyPatch.context() as environment:
        settings_for_faults(environment, attempts=4)
        with s3_behind_proxy(environment) as proxy:
            yield proxy
