from __future__ import annotations

from html.parser import HTMLParser

import pytest

import atlasbasset
from atlasstore.atlas.atlas import Atlas
from atlasstore.notebook import html_table, named
from atlasstore.results.result import Result
from small_model import random_weights, write_model
from small_stores import make_small_atlas, make_small_result


class Texts(HTMLParser):
    """The texts of a page, and its tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts, self.tags = list[str](), set[str]()
        self.feed(page)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)


def test_text_is_shown_and_never_run():
    page = html_table("<script>", [("a & b", "s3://user:secret@host/x <b>")])
    found = Texts(page)
    assert "".join(found.texts) == "<script>a & bs3://host/x <b>"
    assert found.tags == {"div", "strong", "table", "tr", "th", "td"}


def test_many_names_are_cut():
    assert named([]) == "none"
    assert named(["a", "b"]) == "a, b"
    assert named(range(20)).endswith("11, ... (20)")


@pytest.mark.parametrize("kind", ["atlas", "result", "model", "plan"])
def test_what_a_notebook_shows(tmp_path, rng, kind):
    url = str(tmp_path / "store")
    if kind == "atlas":
        shown, wanted = Atlas.open(make_small_atlas(url)), ("peaks", "3 (")
    elif kind == "result":
        shown, wanted = Result.open(make_small_result(url)), ("cells x peaks", "4 x 3")
    else:
        shown = atlasbasset.load_model(write_model(url, random_weights(rng, 7)), device="cpu")
        wanted = ("cells", "7, embedded in 5 numbers")
        if kind == "plan":
            shown, wanted = atlasbasset.plan_embed(shown), ("cells", "7")
    texts = Texts(shown._repr_html_()).texts
    assert texts[texts.index(wanted[0]) + 1].startswith(wanted[1])
    assert any(url in text for text in texts) or kind == "plan"
