from __future__ import annotations

import gzip
import itertools

import numpy as np
import pytest
from Bio import bgzf
from hypothesis import given
from hypothesis import strategies as st

from atlasstore.errors import GenomeError, UserInputError
from atlasstore.genome.fasta import Genome
from atlasstore.genome.variants import (
    STATUSES,
    Change,
    Variant,
    base_codes,
    change_of,
    check_some_ok,
    read_vcf,
    variant_statuses,
)
from small_atlas import write_fasta

HEADER = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
RECORDS = (
    "chrI\t10\trs1\tA\tG,TT\t.\tPASS\tAC=1;ODD\n"
    "chrII\t7\t.\tACG\tA\t9\t.\t.\n"
    "chrI\t3\tx;y\ta\t.\t.\t.\t.\n"
    "chrI\t0\t.\tN\t<DEL>,*,A[chrI:3[,<*>\t.\t.\tEND=4\n"
)
READ = [
    ("chrI", 10, "rs1", "A", "G"),
    ("chrI", 10, "rs1", "A", "TT"),
    ("chrII", 7, ".", "ACG", "A"),
    ("chrI", 3, "x;y", "a", "."),
    ("chrI", 0, ".", "N", "<DEL>"),
    ("chrI", 0, ".", "N", "*"),
    ("chrI", 0, ".", "N", "A[chrI:3["),
    ("chrI", 0, ".", "N", "<*>"),
]


def variant(pos, ref, alt, chrom="chrI"):
    return Variant(chrom, pos, ".", ref, alt)


@pytest.fixture
def genome(tmp_path):
    chromosomes = {"chrI": "ACGTACGTNNacgtTTTT", "chrII": "AAAA"}
    with Genome.open(write_fasta(tmp_path / "g.fa", chromosomes)) as opened:
        yield opened


def written(path, text, kind):
    content = text.encode()
    if kind == "bgzip":
        with bgzf.BgzfWriter(str(path), "wb") as file:
            file.write(content)
    else:
        path.write_bytes(gzip.compress(content) if kind == "gzip" else content)
    return path


@pytest.mark.parametrize("kind", ["plain", "gzip", "bgzip"])
def test_every_allele_is_read_in_the_files_order(tmp_path, kind):
    assert list(read_vcf(written(tmp_path / "v", HEADER + RECORDS, kind))) == READ


def test_samples_line_ends_and_urls(tmp_path):
    import fsspec

    text = HEADER.replace("INFO\n", "INFO\tFORMAT\ts1\n") + "1\t5\t.\tA\tC\t.\t.\t.\tGT\t0/1\n\n"
    with fsspec.open("memory://vcf/v.vcf", "wb") as file:
        file.write(text.replace("\n", "\r\n").encode())
    assert list(read_vcf("memory://vcf/v.vcf")) == [("1", 5, ".", "A", "C")]
    # five columns are enough, and so is a header of one line
    path = written(tmp_path / "v", "#CHROM\tPOS\tID\tREF\tALT\n1\t5\t.\tA\tC\n", "plain")
    assert list(read_vcf(path)) == [("1", 5, ".", "A", "C")]


def test_the_same_as_pysam(tmp_path):
    pysam = pytest.importorskip("pysam", reason="pysam is not installed (extra bam)")
    path = written(tmp_path / "v.vcf.gz", HEADER + RECORDS, "bgzip")
    before = pysam.set_verbosity(0)  # it warns of contigs that the header does not list
    with pysam.VariantFile(str(path)) as file:
        found = [
            (r.chrom, r.pos, r.id or ".", r.ref, alt) for r in file for alt in r.alts or (".",)
        ]
    pysam.set_verbosity(before)
    assert found == list(read_vcf(path))


def test_a_mark_bytes_of_latin_1_and_blanks_are_read(tmp_path):
    path = tmp_path / "v.vcf"
    text = "##fileformat=VCFv4.2\n##by=Andr\xe9\n#CHROM\tPOS\tID\tREF\tALT \n"
    text += "1\t5 \trs\xe9\tA\tC  \n  \n1 \t6\t.\tG\tT \t. \t.\n \t \n"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode("latin-1"))
    assert list(read_vcf(path)) == [("1", 5, "rs\xe9", "A", "C"), ("1", 6, ".", "G", "T")]
    path.write_bytes(b"\xef\xbb\xbf#CHROM\tPOS\tID\tREF\tALT\n1\t5\t.\tA\tC\n")
    assert list(read_vcf(path)) == [("1", 5, ".", "A", "C")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no VCF: its first line is ''"),
        ("chr1\t5\t9\n", r"is no VCF: its first line is 'chr1\\t5\\t9'"),
        (HEADER + RECORDS + "chrI\tx\t.\tA\tC\n", "line 7 is 'chrI.*a whole number"),
        (HEADER + "chrI\t-5\t.\tA\tC\n", "line 3 is"),
        (HEADER + "chrI 5 . A C\n", "separated by tabs"),
        (HEADER + "chrI\t5\t.\tA\n", "line 3 is"),
        (HEADER + f"chrI\t{10**30}\t.\tA\tC\n", "line 3 is.*of 18 digits at most"),
        (HEADER + f"chrI\t{'9' * 5000}\t.\tA\tC\n", "line 3 is.*of 18 digits at most"),
        (HEADER + "chrI\t\u0665\t.\tA\tC\n", "line 3 is"),
        (HEADER + "chrI\t5\t.\t\tC\n", "line 3 is"),
    ],
)
def test_what_is_no_vcf_is_named(tmp_path, text, message):
    with pytest.raises(UserInputError, match=message):
        list(read_vcf(written(tmp_path / "v.vcf", text, "plain")))


def test_missing_cut_and_binary_files_are_named(tmp_path):
    with pytest.raises(UserInputError, match=r"v\.vcf does not exist"):
        list(read_vcf(tmp_path / "v.vcf"))
    for kind, message in (("bgzip", "bgzip end marker is missing"), ("gzip", "truncated or damag")):
        path = written(tmp_path / "v.vcf.gz", HEADER + RECORDS, kind)
        path.write_bytes(path.read_bytes()[:-30])
        with pytest.raises(UserInputError, match=message):
            list(read_vcf(path))
    path.write_bytes(gzip.compress(b"BCF\x02\x02\xff\xff\x00\x00##fileformat=VCFv4.2\n"))
    with pytest.raises(UserInputError, match="is not text at line 1"):
        list(read_vcf(path))


@pytest.mark.parametrize(
    ("ref", "alt", "change"),
    [
        ("A", "G", (9, 10, "G")),
        ("ACG", "ATG", (10, 11, "T")),
        ("AC", "GT", (9, 11, "GT")),
        ("ACGT", "GCGA", (9, 13, "GCGA")),
        ("A", "ATT", (10, 10, "TT")),
        ("ATT", "A", (10, 12, "")),
        ("CAAA", "CAA", (10, 11, "")),  # the leftmost of three equal deletions
        ("CA", "CAAA", (10, 10, "AA")),
        ("acg", "AT", (10, 12, "T")),
        ("A", "A", (9, 9, "")),
    ],
)
def test_the_smallest_change(ref, alt, change):
    found = change_of(variant(10, ref, alt))
    assert found == change
    assert found.is_same_length == (len(ref) == len(alt))


dna = st.text("ACGT", min_size=1, max_size=6)


@given(dna, dna, st.text("ACGT", max_size=5), st.text("ACGT", max_size=5))
def test_padding_changes_nothing(ref, alt, before, after):
    """A change makes the alternate sequence, and is the same however the alleles are padded."""
    left, right = "GATTACA", "TGCATGC"
    whole = left + before + ref + after + right
    padded = change_of(variant(len(left) + 1, before + ref + after, before + alt + after))
    plain = change_of(variant(len(left + before) + 1, ref, alt))
    for change in (padded, plain):
        made = whole[: change.start] + change.put + whole[change.stop :]
        assert made == left + before + alt + after + right
    assert padded.start <= plain.start
    assert padded.stop - padded.start == plain.stop - plain.start


def test_codes_of_letters():
    assert base_codes("ACGTacgtNR*").tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 4, 4, 4]
    assert base_codes("").shape == (0,)


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (variant(1, "A", "G"), "ok"),
        (variant(18, "T", "G"), "ok"),
        (variant(11, "ACg", "A"), "ok"),
        (variant(5, "ACGT", "A"), "ok"),
        (variant(5, "A", "."), "no_alternate"),
        (variant(5, "A", "a"), "no_alternate"),
        (variant(5, "A", "<DEL>"), "symbolic"),
        (variant(5, "A", "*"), "symbolic"),
        (variant(5, "A", "A[chrI:3["), "symbolic"),
        (variant(5, ".", "A"), "symbolic"),
        (variant(1, "A", "G", chrom="I"), "unknown_chromosome"),
        (variant(0, "A", "G"), "outside"),
        (variant(19, "T", "G"), "outside"),
        (variant(18, "TA", "T"), "outside"),
        (variant(10**12, "T", "G"), "outside"),
        (variant(2, "A", "G"), "reference_mismatch"),
        (variant(9, "A", "G"), "reference_mismatch"),
        (variant(9, "N", "G"), "unknown_bases"),
        (variant(5, "A", "R"), "unknown_bases"),
        (variant(5, "A", "AGATTA"), "too_long"),
        (variant(1, "ACGTAC", "A"), "too_long"),
        (variant(1, "ACGTAC", "ACGTAG"), "ok"),  # one base changes
    ],
)
def test_statuses(genome, given, status):
    assert variant_statuses([given], genome, max_allele_bp=4) == [status]


def test_statuses_stand_in_the_order_of_the_variants(genome):
    given = [
        variant(p, "A", "G", chrom=c) for p, c in itertools.product((5, 1, 2), ("chrII", "chrI"))
    ]
    alone = [variant_statuses([v], genome, max_allele_bp=50)[0] for v in given]
    assert variant_statuses(given, genome, max_allele_bp=50) == alone
    assert set(alone) == {"ok", "outside", "reference_mismatch"}
    assert set(alone) <= set(STATUSES)


@pytest.mark.parametrize(
    ("counts", "unknown", "error", "message"),
    [
        ({}, [], UserInputError, "v.vcf has no variants"),
        ({"unknown_chromosome": 2}, ["I"], GenomeError, "put the prefix 'chr' before"),
        ({"unknown_chromosome": 2}, ["7"], GenomeError, "use the genome assembly"),
        ({"reference_mismatch": 2, "symbolic": 1}, [], GenomeError, "none of the 3 variants.*fits"),
        ({"symbolic": 3, "too_long": 1}, [], UserInputError, r"\(3 symbolic, 1 too_long\)"),
    ],
)
def test_a_file_without_a_variant_to_evaluate_is_refused(genome, counts, unknown, error, message):
    with pytest.raises(error, match=message):
        check_some_ok(counts, unknown, genome, url="v.vcf")
    check_some_ok({**counts, "ok": 1}, unknown, genome, url="v.vcf")


def test_the_prefix_may_have_to_go(tmp_path):
    with (
        Genome.open(write_fasta(tmp_path / "g.fa", {"1": "ACGT"})) as genome,
        pytest.raises(GenomeError, match="take the prefix 'chr' off"),
    ):
        check_some_ok({"unknown_chromosome": 9}, ["chr1", "chrQ"], genome, url="v.vcf")


def test_a_change_has_a_length():
    assert not Change(3, 4, "").is_same_length
    assert Change(3, 4, "A").is_same_length
    np.testing.assert_array_equal(base_codes(Change(3, 4, "A").put), [0])
