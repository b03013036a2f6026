"""ISM against brute force: a full pass for every mutant."""

from __future__ import annotations

import json

import anndata
import numpy as np
import pandas as pd
import pytest

import atlasstore
from atlasbasset import load_model
from atlasbasset.core.incremental import Incremental
from atlasbasset.verbs.ism.ism import ism
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import (
    CorruptStoreError,
    GenomeError,
    NotAStoreError,
    PeaksError,
    StoreExistsError,
    UserInputError,
)
from atlasstore.events import Notice, Progress
from atlasstore.results.ism_result import IsmResult, importance
from small_atlas import make_atlas, random_chromosomes, random_labels, write_fasta
from small_model import TINY, random_weights, write_model

L, N, E = TINY.window_bp, 12, TINY.embedding_dim
KINDS = ["T cell", "B cell", "NK"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    obs = pd.DataFrame(
        {"cell_type": [KINDS[i % 3] for i in range(N)]}, index=[f"cell{i}" for i in range(N)]
    )
    url = tmp_path_factory.mktemp("model") / "model"
    return load_model(write_model(url, random_weights(np.random.default_rng(3), N), obs=obs))


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    lengths = {"chrI": 3000, "chrII": 500}
    chromosomes = random_chromosomes(np.random.default_rng(4), lengths)
    return write_fasta(tmp_path_factory.mktemp("genome") / "genome.fa", chromosomes)


@pytest.fixture(scope="module")
def bed(tmp_path_factory):
    """A region inside, one whose window begins before its chromosome, one that ends past it."""
    path = tmp_path_factory.mktemp("bed") / "regions.bed"
    path.write_text("chrI\t1200\t1301\nchrI\t0\t80\nchrII\t400\t500\n")
    return path


def brute_force(model, window, start, stop):
    """Normalised effects by a full pass each, (stop - start, 4, E)."""
    mutants = np.repeat(window[None], (stop - start) * 4, axis=0)
    for row, at in enumerate(range(start, stop)):
        mutants[row * 4 + np.arange(4), at] = np.arange(4)
    h, reference = model.embed(mutants), model.embed(window[None])
    delta = (h - reference).reshape(stop - start, 4, -1)
    return delta - delta.mean(1, keepdims=True)


@pytest.fixture(scope="module")
def whole(model, genome, bed, tmp_path_factory):
    """Every position of whole windows, in groups."""
    out = tmp_path_factory.mktemp("ism") / "ism.zarr"
    report = ism(model, genome=genome, regions=bed, out=out, group_by="cell_type", compute="fp32")
    assert (report.n_regions, report.span_bp, report.n_groups) == (3, L, 3)
    return out


def windows(genome, bed):
    return atlasstore.atlas.regions.bed_regions(bed, genome, window_bp=L).codes(0, 3)


def test_every_position_equals_a_full_pass(model, genome, bed, whole):
    found = anndata.read_zarr(whole)  # nothing of ours is needed
    codes = windows(genome, bed)
    assert (codes == 4).sum() > L // 4, "windows past an end, and unknown letters"
    np.testing.assert_array_equal(found.obsm["codes"], codes)
    expected = np.stack([brute_force(model, window, 0, L) for window in codes])
    np.testing.assert_allclose(found.obsm["ism"], expected, atol=2e-5)
    assert np.abs(expected[:, :40]).max() > 1e-3
    assert np.abs(expected[:, -40:]).max() > 1e-3
    np.testing.assert_allclose(found.obsm["ism"].sum(2), 0, atol=1e-5)
    np.testing.assert_allclose(
        found.obsm["scbasset_sequence"], model.embed(codes), rtol=1e-4, atol=1e-5
    )


def test_scores_of_groups_are_means_over_their_cells(model, genome, bed, whole):
    found, codes = anndata.read_zarr(whole), windows(genome, bed)
    assert list(found.var_names) == sorted(KINDS)
    assert found.var["n_cells"].tolist() == [4, 4, 4]
    linear = model.predict(codes)  # (R, N)
    for column, kind in enumerate(sorted(KINDS)):
        cells = model.obs["cell_type"].to_numpy() == kind
        np.testing.assert_allclose(found.X[:, column], linear[:, cells].mean(1), rtol=1e-4)
        scores = (found.obsm["ism"] @ model.cell_embedding[cells].T).mean(-1)
        np.testing.assert_allclose(found.obsm["ism_scores"][..., column], scores, atol=1e-4)


def test_the_reader(whole, genome, bed):
    found, codes = IsmResult.open(whole), windows(genome, bed)
    assert (found.n_regions, found.span_bp, found.is_grouped) == (3, L, True)
    stored = anndata.read_zarr(whole)
    scores = found.scores(1, 3, found.columns(["T cell", "B cell"]))
    np.testing.assert_allclose(scores, stored.obsm["ism_scores"][1:3][..., [2, 0]], atol=1e-5)
    matters = importance(scores, found.codes(1, 3))
    assert matters.shape == (2, L, 2)
    for position in (0, 7, L - 1):
        base = codes[2, position]
        expected = scores[1, position, base] if base < 4 else np.zeros(2)
        np.testing.assert_array_equal(matters[1, position], expected)
    assert (matters[codes[1:3] == 4] == 0).all()
    with pytest.raises(UserInputError, match=r"no group 'T'; its groups: B cell, NK, T cell"):
        found.columns(["T"])
    found.result.verify()


@pytest.mark.parametrize("span", [1, 8, 21])
def test_a_span_is_the_centre(model, genome, bed, whole, tmp_path, span):
    ism(model, genome=genome, regions=bed, out=tmp_path / "r", span=span, compute="fp32")
    found, all_of_it = anndata.read_zarr(tmp_path / "r"), anndata.read_zarr(whole)
    first = L // 2 - span // 2
    np.testing.assert_allclose(
        found.obsm["ism"], all_of_it.obsm["ism"][:, first : first + span], atol=1e-6
    )
    assert found.obs["span_start"].tolist() == [1250 - span // 2, 40 - span // 2, 450 - span // 2]
    np.testing.assert_array_equal(
        found.obs["span_start"] - found.obs["window_start"], np.full(3, first)
    )
    assert list(found.obs_names) == ["chrI:1200-1301", "chrI:0-80", "chrII:400-500"]


def test_without_groups_a_column_per_cell_and_no_dense_scores(model, genome, bed, tmp_path):
    report = ism(model, genome=genome, regions=bed, out=tmp_path / "r", span=5)
    found = anndata.read_zarr(tmp_path / "r")
    assert found.X is None
    assert set(found.obsm) == {"ism", "codes", "scbasset_sequence"}
    assert list(found.var_names) == list(model.obs_names)
    np.testing.assert_array_equal(found.varm["X_scbasset"], model.cell_embedding)
    assert report.as_json()["n_groups"] == N
    reader = IsmResult.open(tmp_path / "r")
    one = reader.scores(0, 3, reader.columns(["cell7"]))[..., 0]
    np.testing.assert_allclose(one, found.obsm["ism"] @ model.cell_embedding[7], atol=1e-5)


def test_peaks_of_an_atlas_need_no_genome(model, tmp_path, rng):
    codes = rng.integers(0, 5, (9, L + 6), dtype=np.uint8)
    atlas = Atlas.open(make_atlas(tmp_path / "atlas", random_labels(rng, 8, 9), codes))
    names = [atlas.var.index[row] for row in (7, 2)]
    ism(model, atlas=atlas.url, peaks=names, out=tmp_path / "r", span=6, compute="fp32")
    found = anndata.read_zarr(tmp_path / "r")
    assert list(found.obs_names) == names
    first = L // 2 - 3
    np.testing.assert_allclose(
        found.obsm["ism"][0], brute_force(model, codes[7, 3:-3], first, first + 6), atol=2e-5
    )


def test_names_of_peaks_are_kept_as_a_digest(model, tmp_path, rng):
    atlas = Atlas.open(
        make_atlas(
            tmp_path / "atlas",
            random_labels(rng, 8, 9),
            rng.integers(0, 4, (9, L + 6), dtype=np.uint8),
        )
    )
    names = list(atlas.var.index)
    given = {"atlas": atlas, "out": tmp_path / "r", "span": 2}
    ism(model, peaks=names[:4], **given)
    kept = json.loads(anndata.read_zarr(tmp_path / "r").uns["scbasset"]["provenance"])
    assert kept["job"]["config"]["n_peaks"] == 4
    assert names[0] not in json.dumps(kept)
    assert ism(model, peaks=names[:4], **given).was_finished
    for other in (names[3::-1], names[:5]):
        with pytest.raises(StoreExistsError, match="peaks") as refused:
            ism(model, peaks=other, **given)
        assert names[0] not in str(refused.value)


def test_windows_are_embedded_once(model, genome, bed, tmp_path, monkeypatch):
    seen = []
    reference = Incremental.reference

    def counted(self, codes):
        seen.append(len(codes))
        return reference(self, codes)

    monkeypatch.setattr(Incremental, "reference", counted)
    ism(model, genome=genome, regions=bed, out=tmp_path / "r", span=3)
    assert sum(seen) == 3


def test_workers_that_cannot_reach_the_output_are_refused_first(model, genome, bed, tmp_path):
    given = {"genome": genome, "regions": bed}
    with pytest.raises(UserInputError, match="memory of this process"):
        ism(model, out="memory://ism-of-workers", workers=2, **given)
    with pytest.raises(UserInputError, match="gpus per worker were given without workers"):
        ism(model, out=tmp_path / "r", gpus_per_worker=1, **given)
    assert not list(tmp_path.iterdir())


def many_regions(path, n):
    path.write_text("".join(f"chrI\t{50 * i}\t{50 * i + 40}\n" for i in range(n)))
    return path


class Ends(Exception):
    pass


def test_a_killed_job_goes_on(model, genome, tmp_path):
    bed = many_regions(tmp_path / "many.bed", 37)
    given = {"genome": genome, "regions": bed, "span": 4, "group_by": "cell_type"}
    ism(model, out=tmp_path / "straight", **given)

    def end(event):
        if isinstance(event, Progress) and event.done >= 10:
            raise Ends

    with pytest.raises(Ends):
        ism(model, out=tmp_path / "killed", on_event=end, **given)
    with pytest.raises(NotAStoreError):
        IsmResult.open(tmp_path / "killed")
    seen = []
    ism(model, out=tmp_path / "killed", on_event=seen.append, **given)
    told = [e for e in seen if isinstance(e, Progress) and e.unit != "shards"]  # those are read
    assert told[0].done >= 10
    one, other = (anndata.read_zarr(tmp_path / name) for name in ("straight", "killed"))
    for name in ("ism", "ism_scores", "codes", "scbasset_sequence"):
        np.testing.assert_array_equal(one.obsm[name], other.obsm[name])
    np.testing.assert_array_equal(one.X, other.X)
    seen.clear()
    again = ism(model, out=tmp_path / "killed", on_event=seen.append, **given)
    assert again.was_finished
    assert not any(isinstance(event, Progress) for event in seen)
    with pytest.raises(StoreExistsError, match="span 4, now 5"):
        ism(model, out=tmp_path / "killed", **given | {"span": 5})


def test_a_flipped_bit_is_named(model, genome, bed, tmp_path):
    out = tmp_path / "r"
    ism(model, genome=genome, regions=bed, out=out, span=4)
    shard = sorted((out / "obsm" / "ism" / "c").rglob("*")) or sorted(
        p for p in (out / "obsm" / "ism").iterdir() if p.name != "zarr.json"
    )
    content = bytearray(shard[0].read_bytes())
    content[len(content) // 2] ^= 4
    shard[0].write_bytes(content)
    found = IsmResult.open(out)
    with pytest.raises(CorruptStoreError, match="obsm/ism"):
        found.scores(0, 3, found.columns())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"span": 0}, UserInputError, f"span must be 1 to {L} bp"),
        ({"span": L + 1}, UserInputError, f"span must be 1 to {L} bp"),
        ({"group_by": "kind"}, UserInputError, "no column 'kind'; its columns"),
        ({"genome": None}, UserInputError, r"given were \(regions\)"),
        (
            {"atlas": "a", "peaks": ["b"]},
            UserInputError,
            r"given were \(genome, regions, atlas, peaks\)",
        ),
        ({"text": "chrI\t2950\t3001\n"}, PeaksError, "chrI has 3000 bp"),
        ({"text": "chr9\t1\t20\n"}, GenomeError, "no chromosome chr9"),
    ],
)
def test_wrong_input_leaves_nothing(model, genome, bed, tmp_path, change, error, message):
    if "text" in change:
        (tmp_path / "wrong.bed").write_text(change["text"])
        change = {"regions": tmp_path / "wrong.bed"}
    before = sorted(tmp_path.iterdir())
    with pytest.raises(error, match=message):
        ism(model, **{"genome": genome, "regions": bed, "out": tmp_path / "r"} | change)
    assert sorted(tmp_path.iterdir()) == before


def test_an_atlas_of_other_windows(model, tmp_path, rng):
    codes = rng.integers(0, 4, (4, 192 + 6), dtype=np.uint8)
    atlas = Atlas.open(make_atlas(tmp_path / "atlas", random_labels(rng, 8, 4), codes))
    with pytest.raises(UserInputError, match=f"windows of 192 bp, but the model reads {L} bp"):
        ism(model, atlas=atlas, peaks=list(atlas.var.index[:1]), out=tmp_path / "r")


def test_long_regions_are_noticed(model, genome, bed, tmp_path):
    seen = []
    ism(model, genome=genome, regions=bed, out=tmp_path / "r", span=90, on_event=seen.append)
    told = [event.message for event in seen if isinstance(event, Notice)]
    assert told == [
        "2 of 3 regions are longer than the 90 bp that are mutated: their ends are left as they "
        "are."
    ]
    provenance = json.loads(anndata.read_zarr(tmp_path / "r").uns["scbasset"]["provenance"])
    assert provenance["config"]["span"] == 90


def turned(codes):
    """Codes as the other strand has them."""
    return np.where(codes < 4, 3 - codes, 4)[..., ::-1].astype(np.uint8)


@pytest.mark.parametrize("span", [None, 21, 8])
def test_regions_on_the_minus_strand_are_turned(model, genome, bed, tmp_path, span):
    stranded = tmp_path / "stranded.bed"
    strands = iter("-+-")
    lines = bed.read_text().splitlines()
    stranded.write_text("".join(f"{line}\tname\t0\t{next(strands)}\n" for line in lines))
    said, plain = [], tmp_path / "plain"
    options = {"genome": genome, "span": span, "group_by": "cell_type"}
    ism(model, regions=stranded, out=tmp_path / "r", on_event=said.append, **options)
    ism(model, regions=bed, out=plain, **options | {"span": None})
    found, whole = (IsmResult.open(url) for url in (tmp_path / "r", plain))
    assert "strand" not in whole.regions
    assert found.regions["strand"].tolist() == ["-", "+", "-"]
    n, codes = found.span_bp, whole.codes(0, 3)
    for row, strand in enumerate("-+-"):
        window = turned(codes[row]) if strand == "-" else codes[row]
        start = L // 2 - n // 2
        np.testing.assert_array_equal(found.codes(row, row + 1)[0], window[start : start + n])
        expected = brute_force(model, window, start, start + n)
        effects = found.result.rows("obsm/ism", row, row + 1)[0]
        np.testing.assert_allclose(effects, expected, atol=3e-6)
        # where the first mutated base lies on the chromosome, in either orientation
        first = found.regions["span_start"].iloc[row] - found.regions["window_start"].iloc[row]
        there = codes[row][first : first + n]
        np.testing.assert_array_equal(
            found.codes(row, row + 1)[0], turned(there) if strand == "-" else there
        )
    told = [event.message for event in said if isinstance(event, Notice)]
    assert any("2 of 3 regions are on the - strand" in message for message in told)


def test_groups_of_a_table_that_came_later(model, genome, bed, tmp_path):
    names = [f"cell{i}" for i in (3, 1, 4, 7)]
    obs = pd.DataFrame({"leiden": ["10", "2", "10", ""]}, index=names)
    obs.to_csv(tmp_path / "cells.csv")
    said = []
    report = ism(
        model,
        genome=genome,
        regions=bed,
        out=tmp_path / "r",
        span=5,
        group_by="leiden",
        obs=tmp_path / "cells.csv",
        on_event=said.append,
    )
    found = IsmResult.open(tmp_path / "r")
    assert list(found.groups.index) == ["2", "10"]
    assert list(found.groups["n_cells"]) == [1, 2]
    expected = [model.cell_embedding[1], model.cell_embedding[[3, 4]].mean(0)]
    np.testing.assert_allclose(found.embedding, expected, rtol=1e-6)
    assert report.n_groups == 2
    told = [event.message for event in said if isinstance(event, Notice)]
    assert any("9 of 12 cells have no label in 'leiden'" in message for message in told)
