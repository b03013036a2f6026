from __future__ import annotations

import json
from html import escape

import pytest

import atlasbasset
from atlasstore.errors import StoreExistsError, UserInputError
from command import run
from small_report import HOSTILE, N_CELLS, make_activity, make_stores


def plan(stores, *beside, tmp_path, **options):
    return atlasbasset.plan_report(stores.model, *beside, out=tmp_path / "page.html", **options)


def test_stores_come_in_any_order(stores, tmp_path) -> None:
    given = plan(stores, *reversed(stores.beside), tmp_path=tmp_path).given
    assert given.atlas.url == stores.atlas
    assert given.activity.url == stores.activity
    assert given.ism.url == stores.ism
    assert given.tracks.url == stores.tracks
    assert [one.url for one in given.evaluations] == [stores.evaluation]
    assert plan(stores, tmp_path=tmp_path).given.atlas is None


@pytest.mark.parametrize(
    ("beside", "says"),
    [
        (lambda s: (s.atlas, s.atlas), "both given as an atlas"),
        (lambda s: (s.model,), "a second model"),
        (lambda s: (s.activity, s.activity), "both given as TF activity"),
        (lambda s: (s.tracks, s.tracks), "both given as tracks"),
    ],
)
def test_what_has_no_place_is_refused(stores, tmp_path, beside, says) -> None:
    with pytest.raises(UserInputError, match=says):
        plan(stores, *beside(stores), tmp_path=tmp_path)


def test_stores_of_other_cells_are_refused(stores, tmp_path, rng) -> None:
    model = atlasbasset.load_model(stores.model)
    obs = model.obs.iloc[::-1]
    other = make_activity(str(tmp_path / "other.zarr"), obs, model.cell_embedding, rng)
    with pytest.raises(UserInputError, match="of other cells"):
        plan(stores, other, tmp_path=tmp_path)


@pytest.mark.parametrize("name", ["absent.zarr", "absent.json"])
def test_what_does_not_exist_is_told(stores, tmp_path, name) -> None:
    with pytest.raises(UserInputError, match=f"{name} does not exist; check the path"):
        plan(stores, tmp_path / name, tmp_path=tmp_path)


@pytest.mark.parametrize(
    ("content", "says"), [("{", "is no JSON"), ("[1]", "no evaluation"), ("{}", "no evaluation")]
)
def test_json_that_is_no_evaluation_is_refused(stores, tmp_path, content, says) -> None:
    (tmp_path / "values.json").write_text(content)
    with pytest.raises(UserInputError, match=says):
        plan(stores, tmp_path / "values.json", tmp_path=tmp_path)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"label_key": "absent"}, "no column 'absent'"),
        ({"tfs": ["GATA9"]}, "no TF 'GATA9'"),
        ({"loci": ["chr9:1-2"]}, "'chr9:1-2' is no region of the genome"),
        ({"obs": "cells.csv"}, "name the column"),
        ({"max_cells": 1}, "max_cells"),
        ({"max_peaks": 0}, "max_peaks"),
    ],
)
def test_wrong_options_are_refused_before_any_work(stores, tmp_path, options, says) -> None:
    with pytest.raises(UserInputError, match=says):
        plan(stores, *stores.beside, tmp_path=tmp_path, **options)


def test_tfs_need_a_result_of_motifs(stores, tmp_path) -> None:
    with pytest.raises(UserInputError, match="no result of motifs"):
        plan(stores, stores.atlas, tmp_path=tmp_path, tfs=["GATA1"])


def test_loci_need_tracks(stores, tmp_path) -> None:
    with pytest.raises(UserInputError, match="no folder of tracks"):
        plan(stores, stores.atlas, tmp_path=tmp_path, loci=["chr1:1-200"])


def test_only_an_earlier_report_is_replaced(stores, written, tmp_path) -> None:
    assert atlasbasset.plan_report(stores.model, out=written[0]).out == str(written[0])
    (tmp_path / "page.html").write_text("<p>my own page</p>")
    with pytest.raises(StoreExistsError, match="no report of atlasbasset"):
        plan(stores, tmp_path=tmp_path)
    with pytest.raises(UserInputError, match=r"does not end in \.html"):
        atlasbasset.plan_report(stores.model, out=tmp_path / "page.pdf")


def test_a_plan_says_what_is_read_and_shown(stores, tmp_path) -> None:
    found = plan(stores, *stores.beside, tmp_path=tmp_path, label_key="cell_type", max_cells=10)
    lines = dict(found.lines())
    assert lines["cells shown"] == f"10 of {N_CELLS}, drawn with a seed"
    assert lines["labels"] == "cell_type, 3"
    assert all(url in lines["reads"] for url in (stores.model, *stores.beside))
    assert not (tmp_path / "page.html").exists()


def test_what_was_written(stores, written) -> None:
    page, found = written
    assert found.n_bytes == page.stat().st_size
    assert found.n_cells == N_CELLS
    assert found.missing == ()


def test_cards_are_on_the_page_as_text(written) -> None:
    page = written[0].read_text()
    assert "CC-BY-4.0" in page
    assert f"Of a worm. {escape(HOSTILE)}" in page
    assert HOSTILE not in page
    assert "atlasbasset.load_model(URL)" in page


def test_the_command_writes_what_is_there_and_names_what_is_missing(tmp_path) -> None:
    stores = make_stores(tmp_path)
    out = tmp_path / "page.html"
    dry = run("report", stores.model, stores.atlas, "--out", out, "--dry-run", "--json", "-")
    assert (dry.code, json.loads(dry.out)["n_cells"]) == (0, N_CELLS)
    assert not out.exists()
    done = run("report", stores.model, "--out", out)
    assert done.code == 0, done.err
    assert f"Report in {out}" in done.out
    page = out.read_text()
    for command in ("motifs", "ism", "report", "tracks"):
        assert f"<code>atlasbasset {command} " in page
    assert run("report", stores.model, stores.model, "--out", out).code == 2
