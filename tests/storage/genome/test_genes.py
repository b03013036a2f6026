from __future__ import annotations

import gzip
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlasstore.errors import UserInputError
from atlasstore.genome.genes import gene_factors, gene_peaks, genes_with_peaks, read_genes

GTF = """\
#!genome-build test
chr1\tHAVANA\tgene\t1001\t5000\t.\t+\t.\tgene_id "G1"; gene_name "alpha"; tag "a"; tag "b";
chr1\tHAVANA\ttranscript\t1201\t5000\t.\t+\t.\tgene_id "G1"; transcript_id "T1";
chr1\tHAVANA\texon\t900\t5000\t.\t+\t.\tgene_id "G1"; transcript_id "T1"; exon_number 1;
chr2\tHAVANA\tgene\t1001\t5000\t.\t-\t.\tgene_id "G2"; level 2;
chr2\tHAVANA\tgene\t77\t99\t.\t.\t.\tgene_id "unknown strand";
chrY\tHAVANA\tgene\t1\t50\t.\t+\t.\tgene_id "G1"; gene_name "alpha";
"""
WITHOUT_GENE_LINES = """\
chr1\trefGene\ttranscript\t1201\t5000\t.\t-\t.\tgene_id "A"; transcript_id "A.1"; gene_name "A";
chr1\trefGene\texon\t1201\t1300\t.\t-\t.\tgene_id "A"; transcript_id "A.1";
chr1\trefGene\ttranscript\t1301\t6000\t.\t-\t.\tgene_id "A"; transcript_id "A.2";
chr1\trefGene\texon\t8\t9\t.\t+\t.\tgene_id "B"; transcript_id "B.1";
"""
GFF3 = """\
##gff-version 3
##sequence-region 1 1 10000
1\tensembl\tchromosome\t1\t10000\t.\t.\t.\tID=chromosome:1
1\tensembl\tgene\t1001\t5000\t.\t-\t.\tID=gene:G1;Name=al%3Bpha;biotype=protein_coding;gene_id=G1
1\tensembl\tmRNA\t1001\t4000\t.\t-\t.\tID=transcript:T1;Parent=gene:G1
1\tensembl\tncRNA_gene\t7001\t7100\t.\t+\t.\tID=gene:G2
###
##FASTA
>1
ACGT
"""


def write(path, text):
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def rows(genes):
    return [tuple(row) for row in genes.reset_index().itertuples(index=False)]


@pytest.mark.parametrize("name", ["genes.gtf", "genes.gtf.gz"])
def test_gtf(tmp_path, name):
    genes = read_genes(write(tmp_path / name, GTF))
    assert rows(genes) == [("G1", "alpha", "chr1", 1000, "+"), ("G2", "G2", "chr2", 4999, "-")]
    assert genes.index.name == "gene_id"
    assert genes["tss"].dtype == np.int64


def test_gtf_without_gene_lines(tmp_path):
    genes = read_genes(write(tmp_path / "g.gtf", WITHOUT_GENE_LINES))
    assert rows(genes) == [("A", "A", "chr1", 5999, "-"), ("B", "B", "chr1", 7, "+")]


def test_gff3(tmp_path):
    genes = read_genes(write(tmp_path / "g.gff3", GFF3))
    assert rows(genes) == [("G1", "al;pha", "1", 4999, "-"), ("G2", "G2", "1", 7000, "+")]


def test_a_url(tmp_path):
    import fsspec

    url = "memory://test_genes/genes.gtf.gz"
    fsspec.filesystem("memory").pipe_file("/test_genes/genes.gtf.gz", gzip.compress(GTF.encode()))
    assert len(read_genes(url)) == 2


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("chr1\tx\tgene\t5\t9\t.\t+\t.", "line 2 has 8 columns, not 9"),
        ("chr1 x gene 5 9 . + . gene_id", "line 2 has 1 columns"),
        ('chr1\tx\tgene\tfive\t9\t.\t+\t.\tgene_id "A";', "no start and end with 1 <= start"),
        ('chr1\tx\tgene\t0\t9\t.\t+\t.\tgene_id "A";', "no start and end"),
        ('chr1\tx\tgene\t10\t9\t.\t+\t.\tgene_id "A";', "no start and end"),
        (f'chr1\tx\tgene\t5\t{10**30}\t.\t-\t.\tgene_id "A";', "end < 1e.18"),
        (f'chr1\tx\tgene\t5\t{"9" * 5000}\t.\t-\t.\tgene_id "A";', "no start and end"),
        ("chr1\tx\tgene\t5\t9\t.\t+\t.\tlevel 2", "no gene_id or ID"),
    ],
)
def test_wrong_lines_are_named(tmp_path, line, said):
    path = write(tmp_path / "g.gtf", f"# a comment\n{line}\n")
    with pytest.raises(UserInputError, match=said) as caught:
        read_genes(path)
    assert "give a GTF or GFF3 file" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only\n",
        GFF3.replace("gene\t", "region\t"),
        GTF.replace("\t+\t", "\t.\t").replace("\t-\t", "\t.\t"),
    ],
)
def test_no_genes(tmp_path, text):
    with pytest.raises(UserInputError, match="has no genes"):
        read_genes(write(tmp_path / "g.gtf", text))


def test_missing_and_cut_files(tmp_path):
    with pytest.raises(UserInputError, match="does not exist"):
        read_genes(tmp_path / "absent.gtf")
    path = write(tmp_path / "g.gtf.gz", GTF)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserInputError, match="truncated or damaged"):
        read_genes(path)


def genes_at(*places):
    found = [(f"g{i}", chrom, tss, "+") for i, (chrom, tss) in enumerate(places)]
    columns = ["gene_name", "chrom", "tss", "strand"]
    return pd.DataFrame(found, columns=columns, index=[row[0] for row in found])


def peaks_at(*places):
    return pd.DataFrame(places, columns=["chrom", "start", "end"])


def test_reach_includes_both_ends():
    genes = genes_at(("chr1", 5000))
    peaks = peaks_at(
        ("chr1", 2900, 3000),  # ends before base 3000, the first in reach
        ("chr1", 2900, 3001),
        ("chr1", 7000, 7100),  # begins at the last one
        ("chr1", 7001, 7100),
        ("chr2", 5000, 5100),
        ("chr1", 100, 9000),
    )
    assert gene_peaks(genes, peaks).toarray().tolist() == [[0, 1, 1, 0, 0, 1]]
    assert gene_peaks(genes, peaks, reach_bp=0).toarray().tolist() == [[0, 0, 0, 0, 0, 1]]


places = st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 60))
intervals = st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 60), st.integers(1, 30))


@given(
    st.lists(places, min_size=1, max_size=8), st.lists(intervals, max_size=12), st.integers(0, 9)
)
@settings(deadline=None, max_examples=60)
def test_overlaps_are_those_of_every_pair(genes, peaks, reach):
    genes = genes_at(*genes)
    peaks = peaks_at(("a", 5, 9), ("b", 5, 9), *((c, s, s + n) for c, s, n in peaks))
    expected = [
        [
            c == chrom and s <= tss + reach and e > tss - reach
            for c, s, e in peaks.itertuples(index=False)
        ]
        for chrom, tss in zip(genes["chrom"], genes["tss"], strict=True)
    ]
    found = gene_peaks(genes, peaks, reach_bp=reach)
    np.testing.assert_array_equal(found.toarray(), expected)


def test_means_and_factors(rng):
    genes = genes_at(("chr1", 5000), ("chr1", 90_000), ("chr2", 5000), ("chr9", 5))
    peaks = peaks_at(("chr1", 4000, 4100), ("chr2", 4900, 5100), ("chr1", 6000, 6100))
    found, means = genes_with_peaks(genes, peaks)
    assert list(found.index) == ["g0", "g2"]
    assert found["n_peaks"].tolist() == [2, 1]
    np.testing.assert_array_equal(means.toarray(), [[0.5, 0, 0.5], [0, 1, 0]])
    cells, sequence = rng.normal(size=(7, 4)), rng.normal(size=(3, 4)).astype(np.float32)
    factors = gene_factors(means, sequence)
    assert factors.dtype == np.float32
    by_peak = cells @ sequence.T
    expected = np.stack([(by_peak[:, 0] + by_peak[:, 2]) / 2, by_peak[:, 1]], axis=1)
    np.testing.assert_allclose(cells @ factors.T, expected, rtol=1e-5, atol=1e-6)


def test_chromosomes_and_peaks_must_fit():
    peaks = peaks_at(("chr1", 4000, 4100))
    with pytest.raises(UserInputError, match="genes' are called 1, the peaks' chr1"):
        genes_with_peaks(genes_at(("1", 4000)), peaks)
    with pytest.raises(UserInputError, match="none of 1 genes has a peak within 2,000 bp"):
        genes_with_peaks(genes_at(("chr1", 40_000)), peaks)


@pytest.mark.parametrize("text", ["a " * 200_000, ' " ' * 100_000, ";" * 300_000, "a;" * 200_000])
def test_a_long_attribute_without_an_end_takes_one_pass(tmp_path, text):
    path = tmp_path / "long.gtf"
    path.write_text(f'chr1\tx\tgene\t1\t100\t.\t+\t.\tgene_id "G"; gene_name "n"; note "{text}\n')
    started = time.process_time()
    genes = read_genes(path)
    assert time.process_time() - started < 5
    assert genes["gene_name"].tolist() == ["n"]
