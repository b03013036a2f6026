"""`inspect` of tables, BED files, fragments and FASTA files."""

from __future__ import annotations

import gzip

import pytest

from atlasstore.errors import GenomeError, PeaksError
from atlasstore.inspect_store import inspect_store

ROWS = "chr1\t10\t30\tp1\nchr1\t40\t45\tp2\nchr2\t0\t8\tp3\n"
SIZES = {"n_rows": 3, "width_bp": "5 to 20", "n_chromosomes": 2, "chromosomes": ["chr1", "chr2"]}


@pytest.mark.parametrize("name", ["peaks.bed", "peaks.bed.gz", "a.narrowPeak", "peaks.tsv"])
def test_the_first_row_of_a_bed_is_no_header(tmp_path, name):
    text = f"# made by\ntrack name=x\n\n{ROWS}".encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    found = inspect_store(tmp_path / name)
    assert (found.format, dict(found.sizes)) == ("BED", SIZES)


def test_a_bed_with_a_header_is_a_table(tmp_path):
    (tmp_path / "a.bed").write_text(f"chrom\tstart\tend\tname\n{ROWS}")
    found = inspect_store(tmp_path / "a.bed")
    assert found.format == "table"
    assert dict(found.sizes) == {"n_rows": 3, "columns": ["chrom", "start", "end", "name"]}


def test_a_bed_that_breaks_later_is_told(tmp_path):
    (tmp_path / "a.bed").write_text(f"{ROWS}chr1\t9\t7\n")
    with pytest.raises(PeaksError, match="line 4 is"):
        inspect_store(tmp_path / "a.bed")


@pytest.mark.parametrize(
    ("name", "count"), [("a_fragments.tsv.gz", ""), ("a.tsv", "\t2"), ("fragments.bed", "\t1")]
)
def test_fragments(tmp_path, name, count):
    text = "# id=x\n" + "".join(f"{row}{count}\n" for row in ROWS.splitlines())
    data = gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()
    (tmp_path / name).write_bytes(data)
    found = inspect_store(tmp_path / name)
    assert (found.format, dict(found.sizes)) == ("fragments", SIZES)


@pytest.mark.parametrize("name", ["g.fa", "g.fasta", "g.fna"])
def test_a_fasta(tmp_path, name):
    (tmp_path / name).write_text(">chr1 first\nACGTA\nCGT\n>chr2\nAC\n")
    found = inspect_store(tmp_path / name)
    assert found.format == "FASTA"
    sizes = {"n_sequences": 2, "length_bp": 10, "first_bp": {"chr1": 8, "chr2": 2}}
    assert dict(found.sizes) == sizes


def test_what_is_no_fasta_is_told(tmp_path):
    (tmp_path / "g.fa").write_text("chr1 ACGT")
    with pytest.raises(GenomeError, match=r"g\.fa"):
        inspect_store(tmp_path / "g.fa")


def test_an_empty_table(tmp_path):
    (tmp_path / "a.csv").write_text("")
    assert inspect_store(tmp_path / "a.csv").sizes["n_rows"] == 0
