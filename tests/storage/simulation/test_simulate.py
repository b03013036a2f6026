from __future__ import annotations

import hashlib
import tracemalloc
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pyfaidx
import pytest
from scipy.sparse import issparse
from sklearn.decomposition import TruncatedSVD
from sklearn.neighbors import NearestNeighbors

from atlasstore.errors import MotifError, StoreExistsError, UserInputError
from atlasstore.events import Progress
from atlasstore.genome.motifs import read_meme, reverse_complement
from atlasstore.simulation import Truth, simulate
from atlasstore.simulation.builtin_motifs import choose_motifs
from atlasstore.simulation.config import SimulationConfig
from atlasstore.simulation.folder import write_simulation

FILES = {"counts.h5ad", "genome.fa", "motifs.meme", "peaks.bed", "truth.json"}
COMPLEMENT = str.maketrans("ACGT", "TGCA")
SMALL = {"n_cells": 60, "n_peaks": 40, "n_cell_types": 2, "n_motifs": 6, "density": 0.1}


def checksums(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in Path(folder).iterdir()}


@pytest.fixture(scope="module")
def genome(simulated, tmp_path_factory):
    index = tmp_path_factory.mktemp("index") / "genome.fai"
    with pyfaidx.Fasta(str(simulated.folder / "genome.fa"), indexname=str(index)) as fasta:
        yield {name: str(fasta[name]) for name in fasta.keys()}  # noqa: SIM118


def test_the_folder_holds_what_the_report_says(simulated):
    report, counts = simulated.report, simulated.counts
    assert {p.name for p in simulated.folder.iterdir()} == FILES
    assert [p.name for p in simulated.folder.parent.iterdir()] == ["out"]
    assert report.out == str(simulated.folder)
    assert counts.shape == (600, 1500)
    assert (report.n_open, report.n_fragments) == (counts.X.nnz, int(counts.X.sum()))
    assert report.n_sites == simulated.truth.sites.peak.size
    assert report.density == pytest.approx(counts.X.nnz / (600 * 1500))


def test_counts_are_an_anndata_of_integers(simulated):
    counts = simulated.counts
    assert issparse(counts.X)
    assert counts.X.format == "csr"
    assert counts.X.dtype == np.int32
    assert counts.X.data.min() >= 1
    assert counts.obs["cell_type"].cat.categories.tolist() == simulated.truth.cell_types
    assert counts.obs["batch"].cat.categories.tolist() == ["batch1", "batch2"]
    names = [f"{c}:{s}-{e}" for c, s, e in counts.var[["chrom", "start", "end"]].to_numpy()]
    assert names == counts.var_names.tolist() == simulated.truth.peaks


def test_bed_and_genome_fit_the_counts(simulated, genome):
    bed = pd.read_csv(
        simulated.folder / "peaks.bed", sep="\t", names=["chrom", "start", "end", "name"]
    )
    assert bed["name"].tolist() == simulated.truth.peaks
    assert list(genome) == ["chr1", "chr2", "chr3", "chr4", "chr5"]
    lengths = bed["chrom"].map({name: len(text) for name, text in genome.items()})
    mids = (bed["start"] + bed["end"]) // 2
    assert (mids >= 672).all()
    assert (mids + 672 <= lengths).all()
    assert sum(map(len, genome.values())) == simulated.report.genome_bp
    assert set().union(*map(set, genome.values())) == set("ACGT")


def test_planted_sites_stand_where_the_truth_says(simulated, genome):
    truth = simulated.truth
    motifs = read_meme(simulated.folder / "motifs.meme")
    assert [m.name for m in motifs] == truth.motifs
    chrom = [name.split(":")[0] for name in truth.peaks]
    sites = truth.sites
    scores: dict[str, list[float]] = {"own": [], "other strand": []}
    for peak, index, start, reverse in zip(
        sites.peak, sites.motif, sites.start, sites.reverse, strict=True
    ):
        motif = motifs[index]
        word = genome[chrom[peak]][start : start + motif.width]
        if reverse:
            word = word.translate(COMPLEMENT)[::-1]
        scores["own"].append(score(motif, word))
        scores["other strand"].append(score(reverse_complement(motif), word))
    expected = np.array([expected_score(m) for m in motifs])[sites.motif]
    error = np.mean(scores["own"]) - expected.mean()
    assert abs(error) < 5 * np.std(np.array(scores["own"]) - expected) / np.sqrt(expected.size)
    assert np.mean(scores["own"]) > 7
    assert np.mean(scores["other strand"]) < 2


def score(motif, word):
    """Log-odds in bits against a uniform background."""
    codes = ["ACGT".index(letter) for letter in word]
    return float(np.log2(motif.probabilities[np.arange(motif.width), codes] / 0.25).sum())


def expected_score(motif):
    p = motif.probabilities
    return float((p * np.log2(p / 0.25)).sum())


def test_sequence_bias_follows_the_genome(simulated, genome):
    truth = simulated.truth
    gc = []
    for name in truth.peaks:
        chrom, span = name.split(":")
        start, end = map(int, span.split("-"))
        mid = (start + end) // 2
        window = genome[chrom][mid - 672 : mid + 672]
        gc.append((window.count("G") + window.count("C")) / 1344)
    assert np.corrcoef(gc, truth.bias_sequence)[0, 1] == pytest.approx(1)
    assert abs(np.corrcoef(gc, truth.bias_random)[0, 1]) < 5 / np.sqrt(1500)


@pytest.mark.parametrize("density", [0.02, 0.2])
def test_the_density_is_met(tmp_path, density):
    report = simulate(
        tmp_path / "out", n_cells=400, n_peaks=800, n_cell_types=3, density=density, depth_sd=0.0
    )
    se = np.sqrt(density / (400 * 800))
    # 400 cells drawn by type: their open shares differ by type a little more than Poisson.
    assert report.density == pytest.approx(density, abs=6 * se + 0.005 * density)


def test_cell_types_show_in_the_counts(simulated):
    counts = simulated.counts
    is_open = (counts.X > 0).toarray().astype(float)
    depth = is_open.sum(axis=1, keepdims=True)
    residual = is_open - depth * is_open.mean(axis=0) / depth.mean()
    residual /= np.linalg.norm(residual, axis=1, keepdims=True)
    components = TruncatedSVD(6, random_state=0).fit_transform(residual)
    nearest = NearestNeighbors(n_neighbors=51).fit(components).kneighbors(return_distance=False)
    types = counts.obs["cell_type"].cat.codes.to_numpy()
    assert np.bincount(types).min() > 60
    label_score = (types[nearest[:, 1:]] == types[:, None]).mean()
    assert label_score > 0.95


def test_the_same_seed_gives_the_same_files(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        simulate(tmp_path / name, **SMALL, seed=seed)
    assert checksums(tmp_path / "a") == checksums(tmp_path / "b")
    other = checksums(tmp_path / "c")
    assert all(other[name] != digest for name, digest in checksums(tmp_path / "a").items())


def write_by_chunk(folder, blocks_per_write, **dials):
    config = SimulationConfig(**dials)
    folder.mkdir()
    motifs = choose_motifs(config)
    write_simulation(folder, config, motifs, out="", blocks_per_write=blocks_per_write)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 16 cells, so that a small simulation has many."""
    monkeypatch.setattr("atlasstore.simulation.cells.BLOCK_CELLS", 16)
    monkeypatch.setattr("atlasstore.simulation.counts.BLOCK_CELLS", 16)
    return 16


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("blocks_per_write", [1, 2, 5])
def test_the_counts_do_not_depend_on_the_chunk(tmp_path, blocks_per_write):
    for name, blocks in (("one", 100), ("many", blocks_per_write)):
        write_by_chunk(tmp_path / name, blocks, **SMALL)
    one, many = (anndata.read_h5ad(tmp_path / n / "counts.h5ad") for n in ("one", "many"))
    for part in ("indptr", "indices", "data"):
        np.testing.assert_array_equal(getattr(one.X, part), getattr(many.X, part))
    pd.testing.assert_frame_equal(one.obs, many.obs)
    pd.testing.assert_frame_equal(one.var, many.var)
    left, right = checksums(tmp_path / "one"), checksums(tmp_path / "many")
    assert all(left[name] == right[name] for name in FILES - {"counts.h5ad"})


def peak_bytes(folder, n_cells):
    """Return the most memory that Python and numpy held while simulating, in bytes."""
    tracemalloc.start()
    write_by_chunk(folder, 8, n_cells=n_cells, n_peaks=2000, n_cell_types=3, density=0.2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_counts(tmp_path, small_blocks):
    """Eight times the cells make 11 MB more of counts, but no more memory than obs needs."""
    few, many = 32 * small_blocks, 256 * small_blocks
    small, large = (peak_bytes(tmp_path / str(n), n) for n in (few, many))
    bytes_of_counts = (many - few) * 2000 * 0.2 * 8
    assert bytes_of_counts > 11e6
    assert large - small < 400 * (many - few) + 1e6


def test_progress_is_told(tmp_path):
    events = []
    simulate(tmp_path / "out", **SMALL, on_event=events.append)
    last = {e.stage: (e.done, e.total, e.unit) for e in events if isinstance(e, Progress)}
    assert last == {
        "writing genome": (5, 5, "chromosomes"),
        "sampling counts": (60, 60, "cells"),
    }


def test_motifs_from_a_file(tmp_path, simulated):
    meme = simulated.folder / "motifs.meme"
    simulate(tmp_path / "out", **SMALL | {"n_motifs": 3}, motifs=meme)
    truth = Truth.load(tmp_path / "out")
    assert len(truth.motifs) == 3
    assert set(truth.motifs) <= set(simulated.truth.motifs)
    assert truth.config.motifs == str(meme)


def test_one_of_everything(tmp_path):
    simulate(tmp_path / "out", n_cells=1, n_peaks=10, n_cell_types=1, n_motifs=1)
    counts = anndata.read_h5ad(tmp_path / "out" / "counts.h5ad")
    assert counts.shape == (1, 10)


@pytest.mark.parametrize(
    ("dials", "error"),
    [
        ({"n_cells": 0}, UserInputError),
        ({"n_motifs": 99}, MotifError),
        ({"motifs": "no"}, MotifError),
    ],
)
def test_wrong_input_leaves_nothing(tmp_path, dials, error):
    with pytest.raises(error):
        simulate(tmp_path / "new" / "out", **dials)
    assert list(tmp_path.iterdir()) == []


def test_out_that_exists_or_is_not_local(tmp_path):
    (tmp_path / "here").mkdir()
    with pytest.raises(StoreExistsError, match="exists"):
        simulate(tmp_path / "here")
    with pytest.raises(UserInputError, match="local"):
        simulate("s3://bucket/out")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserInputError, match=r"would lie below .*file, which is a file"):
        simulate(tmp_path / "file" / "out", **SMALL)


def test_a_failure_half_way_leaves_nothing(tmp_path):
    def stop_at_counts(event):
        if event.stage == "sampling counts":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(tmp_path / "out", **SMALL, on_event=stop_at_counts)
    assert list(tmp_path.iterdir()) == []
