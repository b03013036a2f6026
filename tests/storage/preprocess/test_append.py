"""Samples added to an atlas, against the atlas made of all samples at once."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from dataclasses import replace

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import CorruptStoreError, PeaksError, UserInputError
from atlasstore.events import Notice
from atlasstore.files import urls
from atlasstore.preprocess import _append_steps
from atlasstore.preprocess.append import append
from atlasstore.preprocess.preprocess import preprocess
from small_atlas import FEW_BLOCKS, make_peaks, random_chromosomes, write_fasta

N_PEAKS = 30
SMALL = {"window_bp": 192, "min_cell_fraction": 0.0, "min_blocks": FEW_BLOCKS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("append")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield folder


@pytest.fixture(scope="module")
def genome(folder):
    lengths = {"chrI": 10_500, "chrII": 10_500}
    return write_fasta(folder / "g.fa", random_chromosomes(np.random.default_rng(0), lengths))


@pytest.fixture(scope="module")
def counts():
    rng = np.random.default_rng(1)
    found = {name: rng.poisson(0.4, (n, N_PEAKS)) for name, n in (("a", 58), ("b", 40), ("c", 5))}
    found["b"][3] = 0
    return found


def write_h5ad(path, counts, order=None, **obs):
    table = anndata.AnnData(
        sparse.csr_matrix(counts.astype(np.float32)),
        obs=pd.DataFrame(obs, index=[f"cell{i}" for i in range(len(counts))]),
        var=make_peaks(counts.shape[1]),
    )
    (table if order is None else table[:, order].copy()).write_h5ad(path)
    return path


@pytest.fixture(scope="module")
def files(folder, counts):
    order = np.random.default_rng(2).permutation(N_PEAKS)
    return {
        "a": write_h5ad(folder / "a.h5ad", counts["a"], kind=(["x", "y", "z"] * 20)[:58]),
        "b": write_h5ad(folder / "b.h5ad", counts["b"], order, kind=["w", "x"] * 20, age=1.5),
        "c": write_h5ad(folder / "c.h5ad", counts["c"]),
    }


@pytest.fixture(scope="module")
def made(folder, files, genome):
    """The atlas of the first sample, which tests copy."""
    preprocess(files["a"], genome=genome, out=folder / "a.zarr", **SMALL)
    return folder / "a.zarr"


@pytest.fixture(params=["local", "memory"])
def atlas(request, tmp_path, made):
    where = f"memory://append/{tmp_path.name}/a.zarr"
    url = str(tmp_path / "a.zarr") if request.param == "local" else where
    fs, path = urls.filesystem(url)
    fs.put(str(made), path, recursive=True)
    yield url
    for left in (where, f"{where}.append.partial"):
        urls.delete(left)


def checksums(url):
    fs, path = urls.filesystem(url)
    fs.invalidate_cache()
    return {
        str(file).removeprefix(path): hashlib.sha256(fs.cat_file(file)).hexdigest()
        for file in fs.find(path)
    }


def test_appended_twice_equals_all_at_once(atlas, files, genome, counts, tmp_path):
    before = checksums(atlas)
    old = Atlas.open(atlas)
    first = append(files["b"], atlas=atlas)
    second = append([files["c"]], atlas=atlas, samples=["c2"])
    found = Atlas.open(atlas)
    assert (first.n_cells_in, first.n_cells_few_peaks, first.n_cells_added) == (40, 1, 39)
    assert (second.n_cells_added, second.n_cells) == (5, 102)
    assert second.samples == {"c2": 5}

    together = tmp_path / "together.zarr"
    names = {"samples": ["a", "b", "c2"]}
    preprocess([files[n] for n in "abc"], genome=genome, out=together, **names, **SMALL)
    one, two = found.to_anndata(), Atlas.open(together).to_anndata()
    assert (one.X != two.X).nnz == 0
    assert list(one.obs["sample"]) == list(two.obs["sample"])
    assert list(one.obs["n_peaks"]) == list(two.obs["n_peaks"])
    assert list(one.obs_names) == [n.removeprefix("a:") for n in two.obs_names]
    assert list(one.obs["kind"].astype(object).fillna("")) == list(
        two.obs["kind"].astype(object).fillna("")
    )
    pd.testing.assert_frame_equal(one.var, two.var)

    size = old.blocks[0].n_cells
    assert {block.n_cells for block in found.blocks[:-1]} == {size}  # models keep their layout
    assert len(found.parts) > len(found.blocks)
    per_block = [int(counts.nnz) for counts in np_split(two.X, found.blocks)]
    assert list(found.block_positives) == per_block
    assert found.format_version == 2
    assert [len(p["inputs"]) for p in found.provenance["appended"]] == [1, 1]
    found.verify()

    after = checksums(atlas)
    replaced = ("/zarr.json", "/README.md")  # the root, and the card that repeats it
    assert {k: v for k, v in after.items() if k in before and k not in replaced} == {
        k: v for k, v in before.items() if k not in replaced
    }


def np_split(x, blocks):
    return [x[block.start : block.stop] for block in blocks]


def test_a_reader_at_work_keeps_the_old_atlas(atlas, files):
    old = Atlas.open(atlas)
    labels = [old.labels(block.index) for block in old.blocks]
    append(files["b"], atlas=atlas)
    assert len(old.obs) == old.n_cells == 58
    for block, before in zip(old.blocks, labels, strict=True):
        np.testing.assert_array_equal(old.labels(block.index).indices, before.indices)


def test_peak_ranges_across_parts(atlas, files):
    append(files["b"], atlas=atlas)
    found = Atlas.open(atlas)
    whole = found.to_anndata().X
    for block in found.blocks:
        rows = found.labels(block.index, 4, 21)
        for peak in range(17):
            cells = rows.indices[rows.indptr[peak] : rows.indptr[peak + 1]]
            expected = whole[block.start : block.stop, 4 + peak].nonzero()[0]
            np.testing.assert_array_equal(cells, expected)


def test_failure_leaves_the_old_atlas_and_is_gone_on_with(atlas, files, monkeypatch):
    def fail(*_args, **_kwargs):
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(_append_steps, "replace_root", fail)
        with pytest.raises(OSError, match="no space"):
            append(files["b"], atlas=atlas)
    assert Atlas.open(atlas).n_cells == 58
    Atlas.open(atlas).verify()
    with pytest.raises(UserInputError, match="holds an unfinished run with other arguments"):
        append(files["c"], atlas=atlas)
    events: list[object] = []
    append(files["b"], atlas=atlas, on_event=events.append)
    assert any(isinstance(e, Notice) and "Resuming" in e.message for e in events)
    assert Atlas.open(atlas).n_cells == 97
    assert not urls.exists(f"{atlas}.append.partial")


def test_killed_after_the_switch_is_done(atlas, files, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("atlasstore.resume.ledger.Ledger.publish", lambda _self: None)
        first = append(files["b"], atlas=atlas)
    assert append(files["b"], atlas=atlas) == first
    assert Atlas.open(atlas).n_cells == 97
    assert not urls.exists(f"{atlas}.append.partial")


@pytest.fixture
def local(tmp_path, made):
    return shutil.copytree(made, tmp_path / "a.zarr")


def refused(local, inputs, **options):
    before = checksums(str(local))
    with pytest.raises(UserInputError) as caught:
        append(inputs, atlas=local, **options)
    assert checksums(str(local)) == before
    assert not (local.parent / "a.zarr.append.partial").exists()
    return caught.value


def test_a_dry_run_says_what_comes_and_changes_nothing(local, files):
    before = checksums(str(local))
    planned = append(files["b"], atlas=local, dry_run=True)
    assert checksums(str(local)) == before
    assert planned.dry_run
    assert planned.peak_memory_bytes > 0
    made = append(files["b"], atlas=local)
    assert replace(made, dry_run=True, peak_memory_bytes=planned.peak_memory_bytes) == planned


def test_wrong_input_leaves_the_atlas_as_it_was(local, files, counts, tmp_path):
    fewer = write_h5ad(tmp_path / "fewer.h5ad", counts["b"][:, :28])
    error = refused(local, fewer)
    assert isinstance(error, PeaksError)
    assert "has 28 of the 30 peaks" in str(error)
    assert "has a sample a already" in str(refused(local, files["a"]))
    none = write_h5ad(tmp_path / "none.h5ad", 0 * counts["b"])
    assert "Nothing is left" in str(refused(local, none))
    assert "does not exist" in str(refused(local, tmp_path / "absent.h5ad"))


def test_further_peaks_are_passed_over(local, counts, tmp_path, rng):
    more = np.hstack([counts["b"], rng.poisson(1, (40, 4))])
    table = anndata.AnnData(sparse.csr_matrix(more.astype(np.float32)))
    table.obs_names = [f"cell{i}" for i in range(40)]
    peaks = pd.concat([make_peaks(N_PEAKS), make_peaks(4).assign(start=5, end=90 + np.arange(4))])
    table.var = peaks.set_axis([f"p{i}" for i in range(34)])
    table.write_h5ad(tmp_path / "more.h5ad")
    report = append(tmp_path / "more.h5ad", atlas=local)
    kept = (counts["b"] > 0).any(1)
    assert report.n_cells_emptied == (~kept).sum()
    found = Atlas.open(local).to_anndata()[58:].X
    np.testing.assert_array_equal(found.toarray(), counts["b"][kept] > 0)


def test_fragments_are_counted_on_the_atlas_s_peaks(local, tmp_path):
    peaks = make_peaks(N_PEAKS)
    rows = [(0, "x"), (0, "y"), (7, "x"), (29, "y")]
    text = "".join(
        f"{peaks['chrom'].iloc[p]}\t{peaks['start'].iloc[p] + 5}\t{peaks['start'].iloc[p] + 90}"
        f"\t{cell}\t1\n"
        for p, cell in rows
    )
    (tmp_path / "new.tsv.gz").write_bytes(gzip.compress(text.encode()))
    append(tmp_path / "new.tsv.gz", atlas=local)
    found = Atlas.open(local).to_anndata()[58:]
    assert sorted(found.obs_names) == ["new:x", "new:y"]
    opened = {n: np.flatnonzero(found[n].X.toarray()[0]).tolist() for n in found.obs_names}
    assert opened == {"new:x": [0, 7], "new:y": [0, 29]}


def test_damage_in_a_part_is_named(local, files):
    append(files["b"], atlas=local)
    part = Atlas.open(local).parts[-1].index
    file = local / f"labels/{part}/indices/c.0"
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(CorruptStoreError, match=f"labels/{part}/indices"):
        Atlas.open(local).verify()


def test_an_older_package_refuses_it(local, files):
    append(files["b"], atlas=local)
    attrs = json.loads((local / "zarr.json").read_text())["attributes"]
    assert attrs["format_version"] == 2
    assert attrs["complete"] is True
