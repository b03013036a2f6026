"""Catalogues: what lies there, as a page that runs nothing and a table."""

from __future__ import annotations

import builtins
import shutil
from html.parser import HTMLParser

import pandas as pd
import pytest

from atlasstore.cards.store_card import write_card
from atlasstore.errors import MissingExtraError, NotAStoreError
from atlasstore.files import urls
from atlasstore.sharing.catalog import PAGE, TABLE, write_catalog

EVIL = "<img src=x onerror=alert(1)>.zarr"
WORDS = "</title><script>alert(2)</script>' \" {{ 7 * 7 }}"


class Elements(HTMLParser):
    """Counts elements and collects their attributes' names and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def hostile(stores, tmp_path):
    """A folder with stores of hostile names and words."""
    shutil.copytree(stores.result, tmp_path / EVIL)
    write_card(tmp_path / EVIL, licence=WORDS, description=WORDS)
    shutil.copytree(stores.model, tmp_path / "m.zarr")
    shutil.copytree(stores.atlas, tmp_path / "cut.zarr")
    (tmp_path / "cut.zarr/zarr.json").write_text("{")
    return tmp_path


def test_the_page_and_the_table_tell_the_same(hostile):
    report = write_catalog(hostile, out=hostile / "site", title="Atlases of a lab")
    assert (report.n_stores, report.n_problems) == (3, 1)
    table = pd.read_parquet(hostile / "site" / TABLE).set_index("name")
    assert list(table["kind"]) == ["denoised", "unreadable", "model"]
    assert table.loc["m.zarr", "licence"] == "CC0-1.0"
    assert table.loc["m.zarr", "stored_bytes"] > 1000
    assert "damaged" in table.loc["cut.zarr", "problem"]
    text = Elements((hostile / "site" / PAGE).read_text()).text
    assert "Atlases of a lab" in text
    assert all(name in text for name in table.index)
    assert "denoised" in text
    assert "damaged" in text


def test_hostile_names_are_text(hostile):
    write_catalog(hostile, out=hostile / "site", title=WORDS)
    page = (hostile / "site" / PAGE).read_text()
    found = Elements(page)
    assert found.tags.isdisjoint({"script", "img", "iframe", "object", "form", "base"})
    assert not [name for name in found.attributes if name.startswith("on")]
    assert found.links == [TABLE, *(f"#store-{n}" for n in (1, 2, 3))]
    assert "{{ 7 * 7 }}" in found.text
    assert "default-src 'none'" in page


def test_made_again_it_is_what_lies_there_then(hostile):
    write_catalog(hostile, out=hostile)
    shutil.rmtree(hostile / EVIL)
    assert write_catalog(hostile, out=hostile).n_stores == 2
    assert EVIL not in pd.read_parquet(hostile / TABLE)["name"].tolist()


def test_of_nothing(tmp_path):
    assert write_catalog(tmp_path, out=tmp_path).n_stores == 0
    assert pd.read_parquet(tmp_path / TABLE).empty
    with pytest.raises(NotAStoreError):
        write_catalog(tmp_path / "absent", out=tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_without_the_extra_the_package_is_named(stores, tmp_path, monkeypatch):
    real = builtins.__import__

    def absent(name, *rest, **options):
        if name == "jinja2":
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MissingExtraError, match=r"run: pip install .*jinja2"):
        write_catalog(stores.folder, out=tmp_path / "site")
    assert not (tmp_path / "site").exists()


@pytest.mark.s3
@pytest.mark.xdist_group("s3")
def test_of_a_bucket_into_it(stores, s3):
    fs, _ = urls.filesystem("s3://bucket")
    fs.put(str(stores.folder), "s3://bucket/lab", recursive=True)
    report = write_catalog("s3://bucket/lab", out="s3://bucket/lab")
    assert report.page == "s3://bucket/lab/index.html"
    assert "deep/er/r.zarr" in urls.read_bytes(report.page).decode()
    assert report.n_stores == 3
