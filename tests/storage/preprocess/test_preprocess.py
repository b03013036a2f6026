"""From counts files and a FASTA to an atlas, against the same thing done densely."""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import atlasstore
from atlasstore.atlas.atlas import Atlas
from atlasstore.atlas.writer import ArraySizes
from atlasstore.errors import (
    CorruptStoreError,
    CountsError,
    GenomeError,
    PeaksError,
    StoreExistsError,
    UserInputError,
)
from atlasstore.events import Notice, Progress
from atlasstore.files import urls
from atlasstore.preprocess import _steps
from atlasstore.preprocess.plan import plan_preprocess
from atlasstore.preprocess.preprocess import preprocess
from atlasstore.transpose import memory_plan
from atlasstore.zarrio.blocks import assign_blocks
from small_atlas import FEW_BLOCKS, make_peaks, random_chromosomes, write_fasta

if TYPE_CHECKING:
    from pathlib import Path

N_CELLS, N_PEAKS = 120, 40
USUAL = {"window_bp": 192, "min_cell_fraction": 0.05}
SMALL = {**USUAL, "min_blocks": FEW_BLOCKS}


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def chromosomes():
    return random_chromosomes(np.random.default_rng(0), {"chrI": 10_400, "chrII": 10_300})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Inputs that no test changes: another process looks through each HDF5 file, but only once."""
    return tmp_path_factory.mktemp("inputs")


@pytest.fixture(scope="module")
def genome(folder, chromosomes):
    return write_fasta(folder / "genome.fa", chromosomes)


@pytest.fixture(scope="module")
def counts():
    density = np.linspace(0.01, 0.4, N_PEAKS)
    return np.random.default_rng(20221108).poisson(density, (N_CELLS, N_PEAKS))


def write_h5ad(path: Path, counts: np.ndarray, *, form=sparse.csr_matrix, **obs) -> Path:
    table = anndata.AnnData(
        X=form(counts.astype(np.float32)),
        obs=pd.DataFrame(obs, index=[f"cell{i}" for i in range(len(counts))]),
        var=make_peaks(counts.shape[1]).assign(kind="enhancer"),
    )
    table.write_h5ad(path)
    return path


@pytest.fixture(scope="module")
def h5ad(folder, counts):
    return write_h5ad(folder / "worm.h5ad", counts, tissue=["gut", "skin"] * (N_CELLS // 2))


def window(chromosomes, chrom: str, start: int, end: int, *, half: int) -> list[int]:
    """Codes of a peak's window, one base at a time."""
    middle, sequence = (start + end) // 2, chromosomes[chrom]
    letters = (
        sequence[i] if 0 <= i < len(sequence) else "N" for i in range(middle - half, middle + half)
    )
    return ["ACGT".find(letter.upper()) % 5 for letter in letters]


def test_atlas_equals_the_dense_way(tmp_path, h5ad, genome, counts, chromosomes):
    report = preprocess(h5ad, genome=genome, out=tmp_path / "a.zarr", **SMALL)
    opened = counts > 0
    peaks = opened.sum(0) >= 0.05 * N_CELLS
    cells = opened[:, peaks].any(1) & opened.any(1)
    atlas = Atlas.open(tmp_path / "a.zarr")
    assert (report.n_cells, report.n_peaks) == (cells.sum(), peaks.sum())
    assert report.n_peaks_rare == N_PEAKS - peaks.sum() > 0
    table = atlas.to_anndata()
    np.testing.assert_array_equal(table.X.toarray(), opened[cells][:, peaks])
    np.testing.assert_array_equal(table.obs["n_peaks"], opened[cells][:, peaks].sum(1))
    assert list(table.obs_names) == [f"cell{i}" for i in np.flatnonzero(cells)]
    assert set(table.obs["sample"]) == {"worm"}
    assert list(table.obs["tissue"]) == [["gut", "skin"][i % 2] for i in np.flatnonzero(cells)]
    assert list(table.var.columns) == ["chrom", "start", "end", "kind", "split"]
    codes = atlas.sequence_codes(0, atlas.n_peaks)
    for row, peak in enumerate(table.var.itertuples()):
        expected = window(chromosomes, peak.chrom, peak.start, peak.end, half=99)
        assert codes[row].tolist() == expected
    atlas.verify()


def test_report_says_what_the_atlas_is(tmp_path, h5ad, genome):
    report = preprocess(h5ad, genome=genome, out=tmp_path / "a.zarr", holdout="chrII", **USUAL)
    atlas = Atlas.open(tmp_path / "a.zarr")
    assert report.n_positives == atlas.n_positives
    assert report.density == pytest.approx(atlas.density)
    assert report.n_blocks == len(atlas.blocks) >= 16
    assert report.splits == {s: len(atlas.peak_rows(s)) for s in ("train", "valid", "test")}
    assert set(atlas.var["chrom"].iloc[atlas.peak_rows("test")]) == {"chrII"}
    assert report.samples == {"worm": report.n_cells}
    stored = sum(p.stat().st_size for p in (tmp_path / "a.zarr").rglob("*") if p.is_file())
    assert report.stored_bytes == stored
    assert json.loads(json.dumps(report.as_json()))["n_peaks"] == atlas.n_peaks


@pytest.mark.parametrize("split", ["grouped", "random"])
def test_held_out_windows_overlap_only_where_single_peaks_are_dealt(tmp_path, h5ad, genome, split):
    options = {**SMALL, "window_bp": 576, "split_fractions": (0.5, 0.25, 0.25)}
    heard: list[object] = []
    report = preprocess(
        h5ad, genome=genome, out=tmp_path / "a.zarr", split=split, on_event=heard.append, **options
    )
    leaks = any(report.held_out_overlap.values())
    assert leaks == (split == "random")
    assert report.split == split
    summary = atlasstore.inspect_store(tmp_path / "a.zarr")
    assert summary.sizes["held_out_overlap"] == report.held_out_overlap
    assert summary.sizes["split_method"] == summary.provenance["config"]["split"] == split
    if split == "grouped":
        said = [e.message for e in heard if isinstance(e, Notice)]
        assert any("runs of overlapping windows are never cut" in sentence for sentence in said)


def test_unknown_windows_are_refused_or_counted(tmp_path, h5ad):
    masked = write_fasta(tmp_path / "n.fa", {"chrI": "ACGT" * 2_600, "chrII": "N" * 10_400})
    with pytest.raises(UserInputError, match="--allow-unknown-windows"):
        preprocess(h5ad, genome=masked, out=tmp_path / "a.zarr", **SMALL)
    assert not list(tmp_path.glob("a.zarr*"))
    options = {**SMALL, "allow_unknown_windows": True}
    report = preprocess(h5ad, genome=masked, out=tmp_path / "a.zarr", **options)
    record = Atlas.open(tmp_path / "a.zarr").provenance["peak_check"]
    var = Atlas.open(tmp_path / "a.zarr").var
    n_masked = int((var["chrom"] == "chrII").sum())
    assert record["n_unknown_windows"] == report.n_unknown_windows == n_masked
    assert (record["n_looked_at"], record["n_unknown"]) == (len(var), n_masked)


def test_provenance_records_inputs_and_configuration(tmp_path, h5ad, genome):
    preprocess(h5ad, genome=genome, out=tmp_path / "a.zarr", seed=4, **SMALL)
    record = Atlas.open(tmp_path / "a.zarr").provenance
    assert [entry["url"] for entry in record["inputs"]] == [str(h5ad), str(genome)]
    assert record["config"]["min_cell_fraction"] == 0.05
    assert record["config"]["samples"] == ["worm"]
    assert record["seed"] == 4


def same_content(a: Atlas, b: Atlas) -> None:
    one, two = a.to_anndata(), b.to_anndata()
    np.testing.assert_array_equal(one.X.toarray(), two.X.toarray())
    pd.testing.assert_frame_equal(one.obs, two.obs)
    pd.testing.assert_frame_equal(one.var, two.var)
    np.testing.assert_array_equal(a.sequence_codes(0, a.n_peaks), b.sequence_codes(0, b.n_peaks))


@pytest.mark.parametrize("form", [sparse.csc_matrix, np.asarray], ids=["csc", "dense"])
def test_storage_form_of_the_counts_does_not_matter(tmp_path, counts, genome, h5ad, form):
    (tmp_path / "other").mkdir()
    tissue = ["gut", "skin"] * (N_CELLS // 2)
    other = write_h5ad(tmp_path / "other" / "worm.h5ad", counts, form=form, tissue=tissue)
    for path, out in ((h5ad, "a.zarr"), (other, "b.zarr")):
        preprocess(path, genome=genome, out=tmp_path / out, **SMALL)
    same_content(Atlas.open(tmp_path / "a.zarr"), Atlas.open(tmp_path / "b.zarr"))


def test_size_of_reads_blocks_and_shards_does_not_matter(tmp_path, h5ad, genome, monkeypatch):
    preprocess(h5ad, genome=genome, out=tmp_path / "a.zarr", **SMALL)
    monkeypatch.setattr(memory_plan, "_CELLS_PER_SPAN", 7)
    monkeypatch.setattr(memory_plan, "_MOST_PER_READ", 11)
    monkeypatch.setattr(memory_plan, "_MOST_PER_RANGE", 13)
    plan = plan_preprocess(h5ad, genome=genome, out=tmp_path / "b.zarr", **SMALL)
    replace(plan, sizes=ArraySizes(chunk_bytes=4 * 792, sequence_shard_bytes=8 * 792)).run()
    same_content(Atlas.open(tmp_path / "a.zarr"), Atlas.open(tmp_path / "b.zarr"))


def test_bgzip_genome_and_cloud_output(tmp_path, h5ad, genome, chromosomes):
    zipped = write_fasta(tmp_path / "genome.fa.gz", chromosomes)
    url = "memory://preprocess/a.zarr"
    preprocess(h5ad, genome=genome, out=tmp_path / "a.zarr", **SMALL)
    preprocess(h5ad, genome=zipped, out=url, **SMALL)
    same_content(Atlas.open(tmp_path / "a.zarr"), Atlas.open(url))
    urls.delete(url)


def test_several_samples(tmp_path, counts, genome):
    parts = [
        write_h5ad(tmp_path / f"{name}.h5ad", part)
        for name, part in zip("ab", (counts[:50], counts[50:]), strict=True)
    ]
    whole = write_h5ad(tmp_path / "whole.h5ad", counts)
    preprocess(whole, genome=genome, out=tmp_path / "w.zarr", **SMALL)
    out = tmp_path / "ab.zarr"
    report = preprocess(parts, genome=genome, out=out, samples=["s1", "s2"], **SMALL)
    one, two = (Atlas.open(tmp_path / f"{name}.zarr").to_anndata() for name in ("w", "ab"))
    np.testing.assert_array_equal(one.X.toarray(), two.X.toarray())
    assert two.obs_names[0] == "s1:cell0"
    assert two.obs_names[-1] == "s2:cell69"
    assert report.samples == {"s1": 50, "s2": 70}
    assert two.obs_names.is_unique


def test_samples_on_other_peaks_are_refused(tmp_path, counts, genome):
    parts = [write_h5ad(tmp_path / f"{n}.h5ad", counts[:, :n]) for n in (40, 38)]
    with pytest.raises(PeaksError, match=r"38\.h5ad does not have the peaks of .*40\.h5ad"):
        preprocess(parts, genome=genome, out=tmp_path / "a.zarr", **SMALL)


def bad_late(folder: Path, counts: np.ndarray) -> Path:
    """Counts whose tables are right and whose last cell holds a value that is no count."""
    wrong = counts.astype(float)
    wrong[-1, 3] = 0.5
    return write_h5ad(folder / "late.h5ad", wrong)


def test_inputs_found_bad_while_reading_are_named_or_left_out(tmp_path, counts, genome):
    inputs = [write_h5ad(tmp_path / "a.h5ad", counts[:50]), bad_late(tmp_path, counts[50:])]
    inputs.append(write_h5ad(tmp_path / "c.h5ad", counts[50:]))
    error = refused(tmp_path, inputs, genome=genome)
    assert "late.h5ad has 0.5 at cell 69" in str(error)
    events: list[object] = []
    out = tmp_path / "o.zarr"
    told = {"on_event": events.append, **SMALL}
    report = preprocess(inputs, genome=genome, out=out, skip_bad=True, **told)
    assert list(report.left_out) == ["late"]
    assert any(isinstance(e, Notice) and "late is left out" in e.message for e in events)
    assert set(report.samples) == {"a", "c"}
    atlas = Atlas.open(out)
    assert list(atlas.provenance["config"]["left_out"]) == ["late"]
    assert len(atlas.provenance["inputs"]) == 3  # two inputs and the genome
    preprocess([inputs[0], inputs[2]], genome=genome, out=tmp_path / "p.zarr", **SMALL)
    same_content(atlas, Atlas.open(tmp_path / "p.zarr"))


def test_fragments_with_peaks(tmp_path, genome):
    peaks = make_peaks(4, chroms=("chrI",))
    (tmp_path / "peaks.bed").write_text(
        "".join(f"{p.chrom}\t{p.start}\t{p.end}\n" for p in peaks.itertuples())
    )
    fragments = [("chrI", 210, 400, "x"), ("chrI", 600, 710, "x"), ("chrI", 1300, 1450, "y")]
    text = "".join(f"{c}\t{s}\t{e}\t{b}\t1\n" for c, s, e, b in fragments)
    (tmp_path / "fragments.tsv.gz").write_bytes(gzip.compress(text.encode()))
    preprocess(
        tmp_path / "fragments.tsv.gz",
        peaks=tmp_path / "peaks.bed",
        genome=genome,
        out=tmp_path / "a.zarr",
        window_bp=192,
        split_fractions=(1, 0, 0),
    )
    table = Atlas.open(tmp_path / "a.zarr").to_anndata()
    assert dict(zip(table.obs_names, table.X.sum(1).A1, strict=True)) == {"x": 2, "y": 1}


def test_dry_run_plans_and_writes_nothing(tmp_path, h5ad, genome):
    before = sorted(p.name for p in tmp_path.iterdir())
    planned = preprocess(h5ad, genome=genome, out=tmp_path / "a.zarr", dry_run=True, **SMALL)
    after = sorted(p.name for p in tmp_path.iterdir())
    assert set(after) - set(before) <= {"cache"}  # the genome's index
    real = preprocess(h5ad, genome=genome, out=tmp_path / "a.zarr", **SMALL)
    differs = ("dry_run", "stored_bytes", "work", "n_unknown_windows")
    told = {k: v for k, v in real.as_json().items() if k not in differs}
    assert told.items() <= planned.as_json().items()
    assert planned.work.passes == real.work.passes == 2
    assert 0 < planned.work.peak_memory_bytes < planned.work.memory_bytes
    assert planned.work.input_bytes > h5ad.stat().st_size
    assert planned.dry_run
    assert planned.stored_bytes > 0


def test_existing_output_is_refused_before_any_work(tmp_path, genome):
    (tmp_path / "a.zarr").mkdir()
    with pytest.raises(StoreExistsError, match="exists already"):
        preprocess(tmp_path / "absent.h5ad", genome=genome, out=tmp_path / "a.zarr")


def twice(folder: Path, counts: np.ndarray) -> Path:
    table = anndata.AnnData(
        X=counts[:, :3].astype(np.float32),
        obs=pd.DataFrame(index=[f"c{i}" for i in range(len(counts))]),
        var=make_peaks(3).iloc[[0, 1, 1]].set_axis(["p", "q", "r"]),
    )
    table.write_h5ad(folder / "twice.h5ad")
    return folder / "twice.h5ad"


def cut(folder: Path, counts: np.ndarray) -> Path:
    whole = write_h5ad(folder / "whole.h5ad", counts).read_bytes()
    (folder / "cut.h5ad").write_bytes(whole[: len(whole) // 2])
    return folder / "cut.h5ad"


WRONG_FILES = {
    "missing": ("inputs", lambda d, c: d / "absent.h5ad", CountsError, "does not exist"),
    "truncated": ("inputs", cut, CountsError, r"cut\.h5ad"),
    "duplicates": ("inputs", twice, PeaksError, "are named q, r; leave one"),
    "negative": ("inputs", lambda d, c: write_h5ad(d / "n.h5ad", c - 1), CountsError, "has -1"),
    "fractions": ("inputs", lambda d, c: write_h5ad(d / "r.h5ad", c * 0.5), CountsError, "0.5"),
    "names": (
        "genome",
        lambda d, c: write_fasta(d / "n.fa", {"I": "ACGT" * 9000, "II": "ACGT" * 9000}),
        GenomeError,
        "take the prefix 'chr' off",
    ),
    "ends": (
        "genome",
        lambda d, c: write_fasta(d / "s.fa", {"chrI": "ACGT" * 99, "chrII": "ACGT" * 99}),
        PeaksError,
        "are outside their chromosome",
    ),
    "no genome": ("genome", lambda d, c: d / "absent.fa", GenomeError, "absent.fa does not exist"),
    "no FASTA": (
        "genome",
        lambda d, c: write_h5ad(d / "worm.h5ad", c),
        GenomeError,
        "is not a FASTA",
    ),
}
WRONG_VALUES = {
    "empty": ({"min_cell_fraction": 1.0}, "Nothing is left"),
    "share": ({"min_cell_fraction": 2.0}, "must be in"),
    "window": ({"window_bp": 1000}, "multiple of 192"),
    "flank": ({"flank_bp": -3}, "flank"),
    "method": ({"split": "peak"}, "must be one of grouped, random, chromosome"),
    "split": ({"split_fractions": (0.5, 0.5)}, "must be three numbers"),
    "holdout": ({"holdout": ("chrIV",)}, "peaks are on chrI, chrII"),
    "samples": ({"samples": ("a", "b")}, "one name for each"),
}


def refused(folder: Path, h5ad: Path, **arguments) -> UserInputError:
    """Run with wrong arguments; return the error after seeing that nothing new lies there."""
    before = {p.name for p in folder.iterdir()}
    given = {"inputs": h5ad, "out": folder / "a.zarr", **SMALL, **arguments}
    with pytest.raises(UserInputError) as caught:
        preprocess(given.pop("inputs"), **given)
    assert {p.name for p in folder.iterdir()} - before <= {"cache"}
    assert "\n" not in str(caught.value)
    return caught.value


def moved(folder: Path, h5ad: Path, *places: str) -> Path:
    """Write the input with its first peaks elsewhere."""
    table = anndata.read_h5ad(h5ad)
    columns = ["chrom", "start", "end"]
    found = [place.replace("-", ":").split(":") for place in places]
    for column, values in zip(columns, zip(*found, strict=True), strict=True):
        kept = table.var[column].astype(str).tolist()
        table.var[column] = [*values, *kept[len(places) :]]
    table.var = table.var.astype({"start": int, "end": int})
    table.write_h5ad(folder / "moved.h5ad")
    return folder / "moved.h5ad"


def test_unplaced_peaks_are_refused_or_left_out(tmp_path, h5ad, genome, counts):
    wrong = moved(tmp_path, h5ad, "KI270728.1:100-400", "chrI:10300-10401")
    error = refused(tmp_path, wrong, genome=genome)
    assert "or leave those peaks out (--drop-unplaced-peaks)" in str(error)
    past = moved(tmp_path, h5ad, "chrI:10300-10401")
    assert "(--drop-unplaced-peaks)" in str(refused(tmp_path, past, genome=genome))

    wrong = moved(tmp_path, h5ad, "KI270728.1:100-400", "chrI:10300-10401")
    events: list[object] = []
    options = {**SMALL, "min_cell_fraction": 0.0, "drop_unplaced_peaks": True}
    report = preprocess(
        wrong, genome=genome, out=tmp_path / "a.zarr", on_event=events.append, **options
    )
    assert (report.n_peaks_in, report.n_peaks_unplaced, report.n_peaks) == (N_PEAKS, 2, N_PEAKS - 2)
    said = next(e.message for e in events if isinstance(e, Notice) and "left out" in e.message)
    assert "2 of 40 peaks are left out" in said
    assert "KI270728.1:100-400, chrI:10300-10401; it has no KI270728.1" in said
    atlas = Atlas.open(tmp_path / "a.zarr")
    kept = counts[:, 2:] > 0
    np.testing.assert_array_equal(atlas.to_anndata().X.toarray(), kept[kept.any(1)])
    planned = preprocess(wrong, genome=genome, out=tmp_path / "b.zarr", dry_run=True, **options)
    assert (planned.n_peaks, planned.n_peaks_unplaced) == (report.n_peaks, 2)


def test_no_peak_on_the_genome_is_refused_whatever_is_asked(tmp_path, h5ad):
    other = write_fasta(tmp_path / "other.fa", {"I": "ACGT" * 9000, "II": "ACGT" * 9000})
    error = refused(tmp_path, h5ad, genome=other, drop_unplaced_peaks=True)
    assert "take the prefix 'chr' off" in str(error)


@pytest.mark.parametrize("place", ["layer", "raw"])
def test_counts_of_a_layer_or_of_raw(tmp_path, h5ad, genome, place):
    table = anndata.read_h5ad(h5ad)
    if place == "layer":
        table.layers["counts"] = table.X.copy()
    else:
        table.raw = table
    table.X = table.X * 0.25
    table.write_h5ad(tmp_path / "scaled.h5ad")
    assert "--layer NAME or --use-raw" in str(
        refused(tmp_path, tmp_path / "scaled.h5ad", genome=genome)
    )
    both = {"layer": "counts", "use_raw": True}
    assert "name one layer" in str(refused(tmp_path, h5ad, genome=genome, **both))
    where = {"layer": "counts"} if place == "layer" else {"use_raw": True}
    preprocess(tmp_path / "scaled.h5ad", genome=genome, out=tmp_path / "a.zarr", **where, **SMALL)
    preprocess(h5ad, genome=genome, out=tmp_path / "b.zarr", samples="scaled", **SMALL)
    same_content(Atlas.open(tmp_path / "a.zarr"), Atlas.open(tmp_path / "b.zarr"))


def test_tables_of_any_names_and_kinds_are_kept(tmp_path, h5ad, genome):
    table = anndata.read_h5ad(h5ad)
    table.obs["Sample"] = ["u", "v"] * (N_CELLS // 2)
    table.obs["N_peaks"], table.obs["n_peaks"], table.obs["input_n_peaks"] = 1, 2, 3
    table.obs["doublet"] = [True, False] * (N_CELLS // 2)
    table.var["Split"] = "x"
    table.write_h5ad(tmp_path / "one.h5ad")
    table.obs["doublet"] = [0.5, np.nan] * (N_CELLS // 2)
    table.write_h5ad(tmp_path / "two.h5ad")
    events: list[object] = []
    files = [tmp_path / "one.h5ad", tmp_path / "two.h5ad"]
    preprocess(files, genome=genome, out=tmp_path / "a.zarr", on_event=events.append, **SMALL)
    atlas = Atlas.open(tmp_path / "a.zarr")
    atlas.verify()
    obs = atlas.obs
    assert set(obs["sample"]) == {"one", "two"}
    assert set(obs["Sample"]) == {"u", "v"}
    assert set(obs["N_peaks"]) == {1}
    assert set(obs["input_input_n_peaks"]) == {2}
    assert set(obs["input_n_peaks"]) == {3}
    assert set(obs["doublet"].dropna()) == {0.0, 1.0, 0.5}
    assert set(atlas.var["Split"]) == {"x"}
    assert set(atlas.var["split"]) <= {"train", "valid", "test"}
    told = [e.message for e in events if isinstance(e, Notice)]
    assert any("'Sample' is stored as 'Sample_2'" in sentence for sentence in told)
    reading = next(i for i, e in enumerate(events) if getattr(e, "stage", "") == "reading counts")
    assert any(getattr(e, "message", "").startswith("The column") for e in events[:reading])


def test_one_file_is_two_samples(tmp_path, h5ad, genome):
    report = preprocess([h5ad, h5ad], genome=genome, out=tmp_path / "a.zarr", **SMALL)
    first, second = report.samples
    assert second == f"{first}-2"
    assert len(set(report.samples.values())) == 1


def test_one_fragment_file_is_two_samples_by_their_barcodes(tmp_path, genome):
    """Counted at the same time: each has a copy of its own, or the two share one."""
    rows = [f"chrI\t{1000 + i}\t{1100 + i}\t{c}{i % 5}\n" for i in range(50) for c in "AB"]
    (tmp_path / "f.tsv").write_text("".join(rows))
    (tmp_path / "p.bed").write_text("chrI\t1000\t1200\nchrI\t3000\t3200\n")
    for name in "AB":
        (tmp_path / f"{name}.txt").write_text("".join(f"{name}{i}\n" for i in range(5)))
    sheet = tmp_path / "sheet.csv"
    options = {"peaks": tmp_path / "p.bed", "window_bp": 192, "min_cell_fraction": 0}
    sheet.write_text("path,sample,barcodes\nf.tsv,a,A.txt\nf.tsv,b,B.txt\n")
    report = preprocess(sheet, genome=genome, out=tmp_path / "a.zarr", **options)
    assert report.samples == {"a": 5, "b": 5}
    sheet.write_text("path,sample\n" + "".join(f"f.tsv,s{i}\n" for i in range(8)))
    report = preprocess(sheet, genome=genome, out=tmp_path / "b.zarr", **options)
    assert report.samples == {f"s{i}": 10 for i in range(8)}


@pytest.mark.parametrize("case", WRONG_FILES)
def test_wrong_file_is_one_sentence_and_leaves_nothing(tmp_path, h5ad, genome, counts, case):
    argument, make, kind, message = WRONG_FILES[case]
    wrong = {"genome": genome} | {argument: make(tmp_path, counts)}
    error = refused(tmp_path, h5ad, **wrong)
    assert isinstance(error, kind)
    assert re.search(message, str(error))


@pytest.mark.parametrize("case", WRONG_VALUES)
def test_wrong_value_is_one_sentence_and_leaves_nothing(tmp_path, h5ad, genome, case):
    wrong, message = WRONG_VALUES[case]
    assert message in str(refused(tmp_path, h5ad, genome=genome, **wrong))


def test_failure_while_writing_keeps_what_is_done(tmp_path, h5ad, genome, monkeypatch):
    def fail(*_args, **_kwargs):
        raise OSError("no space left on device")

    out = tmp_path / "a.zarr"
    with monkeypatch.context() as patch:
        patch.setattr(_steps, "finish_atlas", fail)
        with pytest.raises(OSError, match="no space"):
            preprocess(h5ad, genome=genome, out=out, **SMALL)
    assert not out.exists()
    events: list[object] = []
    preprocess(h5ad, genome=genome, out=out, on_event=events.append, **SMALL)
    stages = {event.stage for event in events if isinstance(event, Progress)}
    assert not stages & {"reading counts", "writing sequences", "writing labels"}  # all was done
    assert any(isinstance(event, Notice) and "Resuming" in event.message for event in events)
    assert not any("partial" in p.name for p in tmp_path.iterdir())
    Atlas.open(out).verify()


@pytest.mark.parametrize("array", ["sequence", "labels/0/indices"])
def test_what_was_damaged_since_an_earlier_run_is_not_published(
    tmp_path, h5ad, genome, monkeypatch, array
):
    def fail(*_args, **_kwargs):
        raise OSError("no space left on device")

    out = tmp_path / "a.zarr"
    with monkeypatch.context() as patch:
        patch.setattr(_steps, "finish_atlas", fail)
        with pytest.raises(OSError, match="no space"):
            preprocess(h5ad, genome=genome, out=out, **SMALL)
    folder = tmp_path / "a.zarr.partial"
    files = [path for path in (folder / "store" / array).rglob("c*") if path.is_file()]
    content = files[0].read_bytes()
    middle = len(content) // 2
    files[0].write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    with pytest.raises(CorruptStoreError, match=rf"Nothing was published.*delete {folder} and run"):
        preprocess(h5ad, genome=genome, out=out, **SMALL)
    assert not out.exists()


def test_events_tell_what_is_done_and_removed(tmp_path, h5ad, genome):
    events: list[object] = []
    preprocess(h5ad, genome=genome, out=tmp_path / "a.zarr", on_event=events.append, **SMALL)
    stages = list(dict.fromkeys(e.stage for e in events if isinstance(e, Progress)))
    assert stages[-2:] == ["writing sequences", "writing labels"]
    assert any(isinstance(e, Notice) and "peaks were removed" in e.message for e in events)


def test_package_offers_the_verb(tmp_path, h5ad, genome):
    atlasstore.preprocess(h5ad, genome=genome, out=tmp_path / "a.zarr", **SMALL)
    assert isinstance(atlasstore.open(tmp_path / "a.zarr"), atlasstore.Atlas)


def test_as_many_blocks_as_workers_need(tmp_path, h5ad, genome):
    atlases = {}
    for n in (16, 30):
        out = tmp_path / f"atlas{n}"
        report = preprocess(h5ad, genome=genome, out=out, min_blocks=n, **USUAL)
        atlases[n] = Atlas.open(out)
        assert len(atlases[n].blocks) == report.n_blocks >= n
    wide = [np.asarray(atlas.to_anndata().X.todense()) for atlas in atlases.values()]
    np.testing.assert_array_equal(*wide)
    assert len(assign_blocks(atlases[30].block_positives, 30)) == 30


def test_no_blocks_are_refused(tmp_path, h5ad, genome):
    with pytest.raises(UserInputError, match="min_blocks is 0, but an atlas has 1 to 65,536"):
        preprocess(h5ad, genome=genome, out=tmp_path / "atlas", min_blocks=0, **USUAL)
    assert not (tmp_path / "atlas").exists()
