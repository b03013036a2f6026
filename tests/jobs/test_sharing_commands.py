"""The verbs that pass stores on, as commands: what they print, and bad input in one sentence."""

from __future__ import annotations

import json

import anndata
import pytest

from command import run, snapshot, succeed
from small_stores import make_small_atlas, make_small_model, make_small_result


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    make_small_atlas(folder / "atlas.zarr")
    make_small_model(folder / "model.zarr")
    make_small_result(folder / "denoised.zarr")
    succeed("card", folder / "denoised.zarr", "--licence", "CC0-1.0", "--description", "Of a worm")
    return folder


def test_list(lab):
    said = succeed("list", lab).out.splitlines()
    assert said[0].split() == ["store", "kind", "holds", "stored", "made", "from"]
    assert [line.split()[:2] for line in said[1:4]] == [
        ["atlas.zarr", "atlas"],
        ["denoised.zarr", "denoised"],
        ["model.zarr", "model"],
    ]
    found = json.loads(succeed("list", lab, "--json", "-").out)["stores"]
    assert found[1]["card"]["said"] == {"licence": "CC0-1.0", "description": "Of a worm"}


def test_list_of_nothing(tmp_path):
    assert "no atlas, model or result lies below" in succeed("list", tmp_path).out


def test_copy(lab, tmp_path):
    out = tmp_path / "copy.zarr"
    assert "each compared" in succeed("copy", lab / "denoised.zarr", "--out", out, "--verify").out
    assert anndata.read_zarr(out).shape == (4, 3)
    assert "every byte was read" in succeed("inspect", out, "--verify").out


def test_export(lab, tmp_path):
    given = ("export", lab / "denoised.zarr", "--where", "type=a", "--peaks", "p1")
    before = snapshot(tmp_path)
    planned = succeed(*given, "--out", tmp_path / "part.h5ad", "--dry-run").out
    assert "2 of 4" in planned
    assert snapshot(tmp_path) == before
    assert "2 x 1" in succeed(*given, "--out", tmp_path / "part.h5ad").out
    assert anndata.read_h5ad(tmp_path / "part.h5ad").shape == (2, 1)


def test_card(lab, tmp_path):
    before = snapshot(lab)
    shown = succeed("card", lab / "denoised.zarr", "--show").out
    assert 'license: "CC0-1.0"' in shown
    assert snapshot(lab) == before
    said = json.loads(succeed("card", lab / "model.zarr", "--show", "--json", "-").out)
    assert said["title"] == "Model: 4 cells"


def test_catalog(lab, tmp_path):
    said = succeed("catalog", lab, "--out", tmp_path / "site", "--title", "A lab").out
    assert "stores  3" in said
    assert "<h1>A lab</h1>" in (tmp_path / "site" / "index.html").read_text()


def test_push_and_pull(lab, tmp_path):
    succeed("push", lab / "model.zarr", "--out", tmp_path / "pushed.zarr")
    said = succeed("pull", tmp_path / "pushed.zarr", "--out", tmp_path / "pulled.zarr").out
    assert "next: atlasbasset embed" in said
    assert "every byte was read" in succeed("inspect", tmp_path / "pulled.zarr", "--verify").out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["list", "{lab}/absent"], "does not exist"),
        (["copy", "{lab}/absent", "--out", "{out}"], "does not exist"),
        (["copy", "{lab}/model.zarr", "--out", "{lab}/atlas.zarr"], "exists already"),
        (["export", "{lab}/model.zarr", "--out", "{out}.h5ad"], "is no result"),
        (["export", "{lab}/denoised.zarr", "--out", "{out}.doc"], "ends in none of"),
        (["card", "{lab}/absent", "--licence", "MIT"], "does not exist"),
        (["catalog", "{lab}/absent", "--out", "{out}"], "does not exist"),
        (["push", "{lab}/atlas.zarr", "--out", "{out}"], "is no model"),
        (["pull", "{lab}/absent", "--out", "{out}"], "does not exist"),
        (["push", "{lab}/model.zarr", "--out", "hf://nothing"], "is no repository|hub|optional"),
    ],
)
def test_bad_input_is_one_sentence(lab, tmp_path, words, said):
    before = snapshot(lab), snapshot(tmp_path)
    done = run(*(word.format(lab=lab, out=tmp_path / "out") for word in words))
    assert done.code == 2, done.err
    (line,) = done.err.splitlines()
    assert any(part in line for part in said.split("|")), line
    assert (snapshot(lab), snapshot(tmp_path)) == before
