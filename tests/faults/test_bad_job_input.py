"""Wrong input to every batch job, by the command line: 2, one sentence, and nothing left behind."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

import anndata
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from atlasjobs.cli import app
from atlasstore.genome.fasta import Genome
from atlasstore.genome.variant_batches import PIECE, write_pieces
from atlasstore.genome.variants import read_vcf
from small_atlas import make_atlas, make_peaks, random_chromosomes, random_labels, write_fasta
from small_model import TINY, random_weights, write_model

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

N_CELLS, N_PEAKS, L = 6, 12, TINY.window_bp
LENGTHS = {"chrI": 9000, "chrII": 9000}
VCF = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\n"
MEME = "MEME version 4\n\nALPHABET= ACGT\n\nMOTIF m1 TF1\nletter-probability matrix: alength= 4 "
SHORT = replace(TINY, window_bp=192)
"""A trunk of another window length than the atlas's."""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def write_inputs(folder: Path) -> None:
    rng = np.random.default_rng(4)
    chromosomes = random_chromosomes(rng, LENGTHS, letters=b"ACGT")
    write_fasta(folder / "g.fa", chromosomes)
    codes = rng.integers(0, 4, (N_PEAKS, L + 6), dtype=np.uint8)
    make_atlas(folder / "atlas.zarr", random_labels(rng, N_CELLS, N_PEAKS, 0.3), codes)
    obs = pd.DataFrame({"kind": ["a", "b"] * 3}, index=[f"cell{i}" for i in range(N_CELLS)])
    write_model(folder / "model.zarr", random_weights(rng, N_CELLS), obs=obs)
    weights = random_weights(rng, N_CELLS, config=SHORT)
    write_model(folder / "short.zarr", weights, config=SHORT, obs=obs)
    base = chromosomes["chrI"][499]
    alt = "C" if base == "A" else "A"
    texts = {
        "good.meme": f"{MEME}w= 2\n0.7 0.1 0.1 0.1\n0.1 0.1 0.7 0.1\n",
        "zero.meme": f"{MEME}w= 0\n",
        "counts.meme": f"{MEME}w= 2\n7 1 1 1\n1 1 7 1\n",
        "good.bed": "chrI\t400\t600\n",
        "many.bed": "".join(f"chrI\t{100 * i}\t{100 * i + 90}\n" for i in range(9, 39)),
        "past.bed": "chrI\t400\t600\nchrI\t8900\t9100\n",
        "other.bed": "I\t400\t600\n",
        "off.bed": "chrI\t0\t10\n",
        "cells.txt": "cell1\nT-cell-7\n",
        "twice.txt": "cell1\ncell2\ncell1\n",
        "good.gtf": 'chrI\tx\tgene\t201\t900\t.\t+\t.\tgene_id "G1";\n',
        "good.vcf": f"{VCF}chrI\t500\t.\t{base}\t{alt}\n",
        "other.vcf": f"{VCF}I\t500\t.\t{base}\t{alt}\n",
        "elsewhere.vcf": f"{VCF}chrI\t500\t.\t{alt}\t{base}\n",
        "broken.vcf": f"{VCF}chrI\t500\t.\t{base}\t{alt}\nchrI\tx\t.\tA\tC\n",
        "symbolic.vcf": f"{VCF}chrI\t500\t.\t{base}\t<DEL>\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    write_inputs(folder)
    regions = ("--genome", folder / "g.fa", "--regions", folder / "many.bed")
    chosen = ("--span", 120, "--group-by", "kind")
    done = run("ism", folder / "model.zarr", *regions, *chosen, "--out", folder / "ism.zarr")
    assert done.exit_code == 0, done.stderr
    return folder


DENOISE, MOTIFS = "denoise model.zarr atlas.zarr", "motifs model.zarr atlas.zarr --n-backgrounds 3"
ISM = "ism model.zarr --genome g.fa"
VARIANTS = "variants model.zarr --genome g.fa"
PEAK = make_peaks(N_PEAKS).index[0]

CASES = {
    # a model of another window length
    "denoise short.zarr atlas.zarr": "window",
    "map short.zarr atlas.zarr": "window",
    "motifs short.zarr atlas.zarr --motifs good.meme": "window",
    f"ism short.zarr --atlas atlas.zarr --peaks {PEAK}": "reads 192 bp",
    # motifs
    f"{MOTIFS} --motifs zero.meme": "w= 0",
    f"{MOTIFS} --motifs counts.meme": "not a probability distribution",
    f"{MOTIFS} --motifs g.fa": "no motif",
    "match ism.zarr --motifs zero.meme": "w= 0",
    "match ism.zarr --motifs counts.meme": "not a probability distribution",
    "discover ism.zarr --group a --motifs zero.meme": "w= 0",
    "discover ism.zarr --group a --motifs counts.meme": "not a probability distribution",
    # regions
    f"{ISM} --regions past.bed": "outside their chromosome",
    f"{ISM} --regions other.bed": "prefix 'chr'",
    f"{ISM} --regions good.vcf": "a BED line",
    f"{ISM} --regions good.bed --span 9999": "span must be",
    f"{ISM} --regions good.bed --group-by tissue": "no column 'tissue'",
    "ism model.zarr --atlas atlas.zarr --peaks chrI:1-2": "unknown",
    f"{DENOISE} --peaks past.bed": "overlap no peak",
    f"{DENOISE} --peaks off.bed": "overlap no peak",
    # cells
    f"{DENOISE} --cells cells.txt": "1 of 2 cells are unknown (T-cell-7)",
    f"{DENOISE} --cells absent.txt": "does not exist",
    f"{DENOISE} --cells twice.txt": "cell1 is listed more than once",
    # what cannot be had together
    f"{DENOISE} --genes good.gtf --dtype uint8": "stored as float32 or float16, got 'uint8'",
    f"{DENOISE} --genes good.gtf --scale sigmoid --no-dense": "on the linear scale only",
    f"{DENOISE} --cpus-per-worker 4": "4 CPUs per worker were given without workers",
    f"{MOTIFS} --motifs good.meme --cpus-per-worker 4": "given without workers",
    "map model.zarr atlas.zarr --cpus-per-worker 4": "given without workers",
    # variants
    f"{VARIANTS} --vcf other.vcf": "prefix 'chr'",
    f"{VARIANTS} --vcf elsewhere.vcf": "use the genome assembly",
    f"{VARIANTS} --vcf broken.vcf": "line 4 is",
    f"{VARIANTS} --vcf symbolic.vcf": "1 symbolic",
    f"{VARIANTS} --vcf good.bed": "is no VCF",
    f"{VARIANTS} --vcf good.vcf --group-by tissue": "no column 'tissue'",
    f"{VARIANTS} --vcf good.vcf --max-allele-bp 300": "max-allele-bp must be 1 to 96",
    # what is not what it should be
    "denoise atlas.zarr atlas.zarr": "atlas.zarr",
    "motifs model.zarr model.zarr --motifs good.meme": "model.zarr",
    "match model.zarr --motifs good.meme": "model.zarr",
    "variants ism.zarr --genome g.fa --vcf good.vcf": "ism.zarr",
}

NEEDED = {"match": "memelite", "discover": "modiscolite"}
"""Optional packages that are asked for before the input is looked at."""


@pytest.mark.parametrize("how", ["run", "dry run"])
@pytest.mark.parametrize("case", list(CASES))
def test_one_sentence_and_nothing_is_left(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str, how: str
) -> None:
    package = NEEDED.get(case.split()[0])
    if package and find_spec(package) is None:
        pytest.skip(f"{package} is not installed (extra interpret)")
    monkeypatch.chdir(inputs)
    before = sorted(inputs.rglob("*"))
    out = tmp_path / ("out.csv" if case.startswith("match") else "out")
    done = run(*case.split(), "--out", out, *(["--dry-run"] if how == "dry run" else []))
    assert done.exit_code == 2, (done.stdout, done.stderr)
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    assert CASES[case] in lines[0]
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []
    assert sorted(inputs.rglob("*")) == before


def test_an_unsorted_vcf_is_no_mistake(inputs: Path, tmp_path: Path) -> None:
    """The same effects as sorted, each in the place of its record."""
    with Genome.open(inputs / "g.fa") as genome:
        records = []
        for chrom, pos in (
            ("chrII", 70),
            ("chrI", 8000),
            ("chrI", 20),
            ("chrII", 5),
            ("chrI", 900),
        ):
            ref = "ACGT"[genome.codes(chrom, pos - 1, pos)[0]]
            records.append((chrom, pos, f"{ref}\t{'C' if ref == 'A' else 'A'}"))
    found = {}
    for name, rows in (("unsorted", records), ("sorted", sorted(records))):
        text = "".join(f"{chrom}\t{pos}\t.\t{alleles}\n" for chrom, pos, alleles in rows)
        (tmp_path / f"{name}.vcf").write_text(VCF + text)
        paths = ("--vcf", tmp_path / f"{name}.vcf", "--genome", inputs / "g.fa")
        done = run("variants", inputs / "model.zarr", *paths, "--out", tmp_path / name)
        assert done.exit_code == 0, done.stderr
        found[name] = anndata.read_zarr(tmp_path / name)
        assert list(found[name].obs["pos"]) == [pos for _, pos, _ in rows]
    names = found["sorted"].obs_names
    np.testing.assert_allclose(found["unsorted"][names].X, found["sorted"].X, atol=1e-5)


def peak_bytes_of_reading(inputs: Path, folder: Path, n_records: int) -> int:
    """Write a VCF and read it into pieces; return what that held at most."""
    folder.mkdir()
    lines = (f"chrI\t{1 + i % 8000}\trs{i}\tA\tC\t9\tPASS\tAC={i}\n" for i in range(n_records))
    (folder / "v.vcf").write_text(VCF + "".join(lines))
    with Genome.open(inputs / "g.fa") as genome:
        tracemalloc.start()
        try:
            records = read_vcf(folder / "v.vcf")
            found = write_pieces(str(folder / "p"), records, genome, max_allele_bp=50)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert found["n"] == n_records
    assert 0 < found["counts"]["ok"] < n_records
    return peak


def test_reading_a_vcf_holds_no_more_of_a_longer_one(inputs: Path, tmp_path: Path) -> None:
    short = peak_bytes_of_reading(inputs, tmp_path / "short", 4 * PIECE)
    longer = peak_bytes_of_reading(inputs, tmp_path / "long", 12 * PIECE)
    assert longer < 1.2 * short
