"""Cards: what they say, what persons said stays, and nothing in a store is markup."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import anndata
import pytest
import yaml
import zarr
from markdown_it import MarkdownIt

import atlasstore
import small_stores
from atlasstore.cards import store_card
from atlasstore.cards.card import MARK, Card, Said, Section, said_in
from atlasstore.cards.peak_lines import peak_lines
from atlasstore.cards.store_card import CARD, card_of, refresh_card, write_card
from atlasstore.errors import UserInputError
from atlasstore.models.measures import MEASURES
from atlasstore.models.model_store import ModelStore
from atlasstore.zarrio import formats
from small_stores import cells, everything, make_small_atlas, make_small_model, make_small_result

KINDS = ["atlas", "model", "result"]


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    return {
        "atlas": make_small_atlas(folder / "a.zarr"),
        "model": make_small_model(folder / "m.zarr"),
        "result": make_small_result(folder / "r.zarr"),
    }


@pytest.fixture
def store(stores, request, tmp_path):
    """A copy of a store of the kind that the test asks for."""
    shutil.copytree(stores[request.param], tmp_path / "s.zarr")
    return str(tmp_path / "s.zarr")


def front(url: str) -> dict:
    return yaml.safe_load(Path(url, CARD).read_text().split("---\n")[1])


@pytest.mark.parametrize("store", KINDS, indirect=True)
def test_it_is_the_same_whenever_and_wherever_it_is_written(store, tmp_path):
    write_card(store)
    first = Path(store, CARD).read_bytes()
    refresh_card(store)
    assert Path(store, CARD).read_bytes() == first
    shutil.copytree(store, tmp_path / "elsewhere.zarr")
    refresh_card(tmp_path / "elsewhere.zarr")
    assert (tmp_path / "elsewhere.zarr" / CARD).read_bytes() == first
    assert store.encode() not in first


@pytest.mark.parametrize("store", KINDS, indirect=True)
def test_the_store_is_what_it_was(store):
    before = everything(store)
    write_card(store, licence="CC0-1.0")
    assert everything(store) == before


@pytest.mark.parametrize("store", ["result"], indirect=True)
def test_plain_anndata_reads_it(store):
    write_card(store)
    assert anndata.read_zarr(store).shape == (4, 3)
    assert anndata.io.read_elem(zarr.open_group(store, mode="r")["obs"]).shape == (4, 3)


@pytest.mark.parametrize("store", KINDS, indirect=True)
def test_what_a_person_said_stays(store):
    write_card(store, licence="CC-BY-4.0", description="Cells: of a worm")
    write_card(store, description="Of two worms, 50 % each")
    refresh_card(store)
    assert front(store)["license"] == "CC-BY-4.0"
    assert front(store)["description"] == "Of two worms, 50 % each"
    assert card_of(store).said == Said("CC-BY-4.0", "Of two worms, 50 % each")
    write_card(store, licence="")
    assert "license" not in front(store)


@pytest.mark.parametrize("store", ["model"], indirect=True)
def test_a_readme_of_a_person_is_left_alone(store):
    Path(store, CARD).write_text("# Mine\n")
    refresh_card(store)
    with pytest.raises(UserInputError, match="was not written by atlasbasset"):
        write_card(store, licence="MIT")
    assert Path(store, CARD).read_text() == "# Mine\n"


def test_a_model_tells_what_training_reached(stores):
    assert section(stores["model"], "Training") == {"epochs": "2", "loss": "0.5"}


def section(url, title: str) -> dict[str, str]:
    return dict(next(s.lines for s in card_of(url).sections if s.title == title))


def test_a_model_tells_what_it_was_trained_on(tmp_path):
    config = {
        "train": {"trunk": {"window_bp": 1344}},
        "atlas": {"n_peaks": 50, "n_cells": 4, "n_positives": 20},
    }
    ModelStore.create(
        tmp_path / "m.zarr",
        obs=cells(),
        config=config,
        block_cells=2,
        batches=[f"b{i}" for i in range(30)],
        provenance={},
    )
    said = section(tmp_path / "m.zarr", "Data")
    assert said["cells"] == "4"
    assert said["peaks of its atlas"] == "50"
    assert said["open pairs of cell and peak"] == "10 %"
    assert said["window"] == "1,344 bp"
    assert re.fullmatch(r"30: b0, b1, .*, b19, \.\.\.", said["batches of cells"])


def test_a_result_tells_what_its_models_training_reached(tmp_path, monkeypatch):
    reached = {"epochs": 4, "loss": 0.531, "valid_auroc_per_cell": 0.6912, "else": 1.0}
    monkeypatch.setattr(small_stores, "RESULT", {"seed": 2, "model": {MEASURES: reached}})
    url = make_small_result(tmp_path / "r.zarr")
    said = section(url, "Training of the model it was made from")
    assert said == {"epochs": "4", "loss": "0.531", "validation auROC per cell": "0.691"}
    assert section(url, "Training") == {}


@pytest.mark.parametrize("model", [None, "m", {MEASURES: [1]}, {MEASURES: {"epochs": "x"}}])
def test_odd_measures_say_nothing(tmp_path, monkeypatch, model):
    monkeypatch.setattr(small_stores, "RESULT", {"model": model})
    url = make_small_result(tmp_path / "r.zarr")
    assert section(url, "Training of the model it was made from") == {}


SEEN = {
    "n_looked_at": 1800,
    "n_unknown": 0,
    "n_judged": 1800,
    "gc_auroc_shifted": 0.58,
    "cpg_auroc_shifted": 0.681,
    "gc_auroc_random": 0.568,
    "cpg_auroc_random": None,
    "count_correlation": 0.72,
    "n_unknown_windows": 12,
}


def test_the_check_of_the_peaks_is_told_in_plain_words():
    assert dict(peak_lines(SEEN, 1800)) == {
        "peaks and genome": "assembly, coordinates and order fit, as far as 1,800 peaks tell",
        "GC of peaks": "auROC 0.58 against sequence 10 kb away, 0.57 against random windows "
        "(0.5: no difference)",
        "CpG of peaks": "auROC 0.68 against sequence 10 kb away (0.5: no difference)",
        "sequence and counts": "r 0.72 between how often a peak is open and what its 6-mers "
        "predict (0: nothing)",
        "windows without any known base": "12 of 1,800",
    }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"count_correlation": 0.0}, "next to nothing of how often the peaks are open"),
        ({"count_correlation": None}, "too few peaks to tell"),
    ],
)
def test_peaks_that_do_not_fit_or_are_few_are_said_to(changes, said):
    assert said in dict(peak_lines({**SEEN, **changes}, 1800))["peaks and genome"]


@pytest.mark.parametrize(
    "odd", [None, "odd", [1], [("n_judged", 1)], {**SEEN, "n_judged": "many"}, {"n_judged": 3}]
)
def test_an_odd_check_of_the_peaks_says_nothing(odd):
    assert peak_lines(odd, 1800) == []


def test_an_atlas_card_has_the_check(stores, monkeypatch):
    lines = [("peaks and genome", "fit")]
    monkeypatch.setattr(store_card, "peak_lines", lambda *_: lines)
    assert section(stores["atlas"], "Checks")["peaks and genome"] == "fit"
    assert "peaks and genome" not in section(stores["model"], "Checks")


def test_secrets_are_in_no_card(tmp_path):
    url = "https://me:hunter2@host/atlas.zarr?X-Amz-Signature=0123abc"
    about = formats.provenance([], {"atlas": url}, 1)
    options = {"obs": cells(), "config": {}, "block_cells": 2, "provenance": about}
    ModelStore.create(tmp_path / "m.zarr", **options)
    write_card(tmp_path / "m.zarr", description=f"Trained on {url}", licence="MIT")
    text = (tmp_path / "m.zarr" / CARD).read_text()
    assert "host/atlas.zarr" in text
    assert "hunter2" not in text
    assert "0123abc" not in text


def test_what_a_store_says_is_no_markup():
    evil = "](javascript:x) <img src=x> `a` | b\n---\n# Head"
    card = Card(evil, "atlasbasset-model", Said(evil, evil), (Section(evil, [(evil, evil)]),), "x")
    text = card.markdown()
    values = yaml.safe_load(text.split("---\n")[1])
    assert values["license"] == evil
    page = (
        MarkdownIt("commonmark", {"html": True}).enable("table").render(text.split("---\n", 2)[2])
    )
    assert not re.search("<img|<a |<h1>Head|<hr", page)
    assert page.count("<h1>") == 1
    assert page.count("<td>") == 2


@pytest.mark.parametrize("text", ["", "# A readme", '---\nlicense: "x"\n---\n', MARK[:20]])
def test_no_card_of_ours(text):
    assert said_in(text) is None


@pytest.mark.parametrize("value", ["[" * 99_999, "7", "nothing", json.dumps({"a": 1})])
def test_damaged_front_matter_says_nothing(value):
    assert said_in(f"---\nlicense: {value}\n---\n{MARK}") == Said()


def test_open_has_no_need_of_it(stores):
    assert not Path(stores["result"], CARD).exists()
    assert atlasstore.open(stores["result"]).n_obs == 4
