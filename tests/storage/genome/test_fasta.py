from __future__ import annotations

import gzip
import os

import numpy as np
import pandas as pd
import pytest

from atlasstore.errors import GenomeError, PeaksError
from atlasstore.files import urls
from atlasstore.genome.fasta import Genome, check_peaks
from small_atlas import fasta_text, random_chromosomes, write_fasta

LENGTHS = {"chrI": 150_003, "chrII": 61, "chrM": 120}
CODES = {"A": 0, "C": 1, "G": 2, "T": 3}


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def chromosomes(rng):
    return random_chromosomes(rng, LENGTHS)


@pytest.fixture(params=["genome.fa", "genome.fa.gz"])
def fasta(request, tmp_path, chromosomes):
    (tmp_path / "data").mkdir()
    return write_fasta(tmp_path / "data" / request.param, chromosomes)


def reference(sequence: str, start: int, stop: int) -> list[int]:
    """One base at a time."""
    inside = (sequence[i] if 0 <= i < len(sequence) else "N" for i in range(start, stop))
    return [CODES.get(base.upper(), 4) for base in inside]


def test_lengths_and_names(fasta):
    with Genome.open(fasta) as genome:
        assert dict(genome.chrom_lengths) == LENGTHS


def test_codes_equal_the_text(fasta, chromosomes, rng):
    cases = [("chrI", -5, 7), ("chrI", 149_990, 150_020), ("chrII", -3, 64), ("chrM", 60, 120)]
    cases += [("chrI", -9, -2), ("chrII", 61, 70), ("chrI", 59, 61), ("chrI", 5, 5)]
    starts = rng.integers(-50, 150_000, 60)
    cases += [("chrI", int(s), int(s + rng.integers(1, 500))) for s in starts]
    cases += [("chrI", int(s), int(s) + 60) for s in range(64_000, 67_000, 60)]
    with Genome.open(fasta) as genome:
        for chrom, start, stop in cases:
            codes = genome.codes(chrom, start, stop)
            assert codes.dtype == np.uint8
            assert codes.tolist() == reference(chromosomes[chrom], start, stop), (
                chrom,
                start,
                stop,
            )


def test_windows_in_any_order(fasta, chromosomes):
    names, starts = ["chrM", "chrI", "chrII", "chrI"], np.array([3, 90_000, -4, 10])
    with Genome.open(fasta) as genome:
        windows = genome.windows(names, starts, 30)
    for row, (name, start) in enumerate(zip(names, starts, strict=True)):
        assert windows[row].tolist() == reference(chromosomes[name], start, start + 30)


def test_nothing_is_written_beside_the_genome(fasta):
    for _ in range(2):  # the second time from the cached index
        Genome.open(fasta).close()
    assert [p.name for p in fasta.parent.iterdir()] == [fasta.name]


def test_current_index_beside_is_used(tmp_path, chromosomes):
    fasta = write_fasta(tmp_path / "g.fa", chromosomes)
    Genome.open(fasta).close()
    (built,) = (tmp_path / "cache").rglob("g.fa.fai")
    built.rename(tmp_path / "g.fa.fai")
    with Genome.open(fasta) as genome:
        assert dict(genome.chrom_lengths) == LENGTHS
    assert not list((tmp_path / "cache").rglob("g.fa.fai"))


@pytest.mark.parametrize("name", ["g.fa", "g.fa.gz"])
@pytest.mark.parametrize(
    "older",
    [
        {"chrI": 150_003, "chrII": 61, "chrM": 121},
        {"chrI": 150_003, "chrM": 61, "chrII": 120},
        {"chrI": 150_003, "chrII": 61},
        {"chrI": 149_000, "chrII": 61, "chrM": 120},
    ],
    ids=["longer", "renamed", "one less", "shorter"],
)
def test_an_index_of_another_fasta_is_not_believed(tmp_path, chromosomes, rng, name, older):
    """Its time is newer: it was copied after the FASTA was written anew."""
    write_fasta(tmp_path / "older.fa", random_chromosomes(rng, older))
    Genome.open(tmp_path / "older.fa").close()
    (stale,) = (tmp_path / "cache").rglob("older.fa.fai")
    fasta = write_fasta(tmp_path / name, chromosomes)
    (tmp_path / f"{name}.fai").write_bytes(stale.read_bytes())
    if older.get("chrM") == 121:
        with pytest.raises(GenomeError, match="names bases of chrM past the file's end"):
            Genome.open(fasta)
        return
    with Genome.open(fasta) as genome:
        assert dict(genome.chrom_lengths) == LENGTHS
        expected = reference(chromosomes["chrI"], 700, 900)
        assert genome.codes("chrI", 700, 900).tolist() == expected


@pytest.mark.parametrize("column", [1, 2, 3, 4])
@pytest.mark.parametrize("number", ["-5", "0", "7", str(2**62), str(2**63), "9" * 5000, "1.5", ""])
def test_an_index_of_absurd_numbers_is_not_believed(tmp_path, chromosomes, column, number):
    fasta = write_fasta(tmp_path / "g.fa", chromosomes)
    Genome.open(fasta).close()
    (built,) = (tmp_path / "cache").rglob("g.fa.fai")
    rows = [line.split("\t") for line in built.read_text().splitlines()]
    rows[1][column] = number
    (tmp_path / "g.fa.fai").write_text("".join("\t".join(row) + "\n" for row in rows))
    built.unlink()
    try:
        genome = Genome.open(fasta)
    except GenomeError as error:
        assert "names bases of chrII past the file's end" in str(error)  # noqa: PT017
        return
    with genome:
        assert dict(genome.chrom_lengths) == LENGTHS
        expected = reference(chromosomes["chrII"], 0, LENGTHS["chrII"])
        assert genome.codes("chrII", 0, LENGTHS["chrII"]).tolist() == expected


def test_an_index_from_before_the_headers_had_descriptions(tmp_path, chromosomes):
    fasta = write_fasta(tmp_path / "g.fa", chromosomes)
    Genome.open(fasta).close()
    (built,) = (tmp_path / "cache").rglob("g.fa.fai")
    fasta.write_text(fasta.read_text().replace("\n>", " about\n>").replace(">chrI\n", ">chrI x\n"))
    (tmp_path / "g.fa.fai").write_bytes(built.read_bytes())
    os.utime(tmp_path / "g.fa.fai", (2**31, 2**31))
    with Genome.open(fasta) as genome:
        expected = reference(chromosomes["chrI"], 700, 900)
        assert genome.codes("chrI", 700, 900).tolist() == expected


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + "\n\n",
        lambda text: "\n" + text,
        lambda text: text.replace("\n>", "\n\n\n>"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n") + "\r\n",
        lambda text: text.replace(">chrI\n", ">chrI\tone two\n"),
    ],
    ids=["at the end", "at the top", "between", "mark", "windows", "described"],
)
def test_lines_that_are_no_bases(tmp_path, chromosomes, change):
    fasta = tmp_path / "g.fa"
    fasta.write_bytes(change(fasta_text(chromosomes)).encode())
    for _ in range(2):  # the second time by the index of the first
        with Genome.open(fasta) as genome:
            assert dict(genome.chrom_lengths) == LENGTHS
            for chrom in LENGTHS:
                expected = reference(chromosomes[chrom], 50, 130)
                assert genome.codes(chrom, 50, 130).tolist() == expected


def test_a_bgzip_head_that_names_more_than_there_is(tmp_path, chromosomes):
    path = write_fasta(tmp_path / "g.fa.gz", chromosomes)
    content = bytearray(path.read_bytes())
    content[16:18] = b"\xff\xff"
    path.write_bytes(content)
    with pytest.raises(GenomeError, match=r"is not a FASTA that can be read .*bgzip block"):
        Genome.open(path)


def test_stale_index_beside_is_not_used(tmp_path, chromosomes):
    fasta = write_fasta(tmp_path / "g.fa", chromosomes)
    (tmp_path / "g.fa.fai").write_text("chrOld\t10\t8\t60\t61\n")
    os.utime(tmp_path / "g.fa.fai", (1, 1))
    with Genome.open(fasta) as genome:
        assert dict(genome.chrom_lengths) == LENGTHS
    assert (tmp_path / "g.fa.fai").read_text().startswith("chrOld")


def test_changed_genome_gets_a_new_index(tmp_path, rng):
    fasta = write_fasta(tmp_path / "g.fa", random_chromosomes(rng, {"chrI": 500}))
    Genome.open(fasta).close()
    write_fasta(fasta, random_chromosomes(rng, {"chrI": 700}))
    with Genome.open(fasta) as genome:
        assert genome.chrom_lengths["chrI"] == 700


def test_gzip_that_is_not_bgzip(tmp_path, chromosomes):
    path = tmp_path / "g.fa.gz"
    path.write_bytes(gzip.compress(fasta_text(chromosomes).encode()))
    with pytest.raises(GenomeError, match=r"recompress .*: gunzip g\.fa\.gz && bgzip g\.fa"):
        Genome.open(path)


@pytest.mark.parametrize("keep", [0.5, 0.9999])
def test_truncated_bgzip(tmp_path, chromosomes, keep):
    path = write_fasta(tmp_path / "g.fa.gz", chromosomes)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(GenomeError, match=r"g\.fa\.gz is cut off"):
        Genome.open(path)


@pytest.mark.parametrize("kept", range(30))
def test_bgzip_of_a_few_bytes(tmp_path, chromosomes, kept):
    path = write_fasta(tmp_path / "g.fa.gz", {"chrI": chromosomes["chrI"][:60]})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(GenomeError, match=r"g\.fa\.gz is (cut off|not gzip)"):
        Genome.open(path)


def test_damaged_bgzip(tmp_path, chromosomes):
    path = write_fasta(tmp_path / "g.fa.gz", chromosomes)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(GenomeError, match=r"g\.fa\.gz"):
        Genome.open(path).codes("chrI", 0, 150_003)


def test_plain_file_shorter_than_its_index(tmp_path, chromosomes):
    fasta = write_fasta(tmp_path / "g.fa", chromosomes)
    Genome.open(fasta).close()
    (built,) = (tmp_path / "cache").rglob("g.fa.fai")
    (tmp_path / "g.fa.fai").write_bytes(built.read_bytes())
    fasta.write_bytes(fasta.read_bytes()[:100_000])
    os.utime(fasta, (1, 1))
    with pytest.raises(GenomeError, match="its index names bases of chrI past the file's end"):
        Genome.open(fasta)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize(("length", "n_lines"), [(1, 1), (10, 1), (19, 2), (20, 2), (21, 3)])
def test_final_newline_may_be_absent(tmp_path, rng, newline, length, n_lines):
    chromosomes = random_chromosomes(rng, {"chrI": 35, "chrII": length})
    text = fasta_text(chromosomes, width=10)
    fasta = tmp_path / "g.fa"
    assert text.partition(">chrII")[2].count("\n") == n_lines + 1
    fasta.write_bytes(text.removesuffix("\n").replace("\n", newline).encode())
    with Genome.open(fasta) as genome:
        found = genome.codes("chrII", 0, length).tolist()
    assert found == reference(chromosomes["chrII"], 0, length)


def test_one_base_less_than_the_index_names_is_refused(tmp_path, chromosomes):
    fasta = write_fasta(tmp_path / "g.fa", chromosomes)
    Genome.open(fasta).close()
    (built,) = (tmp_path / "cache").rglob("g.fa.fai")
    (tmp_path / "g.fa.fai").write_bytes(built.read_bytes())
    content = fasta.read_bytes()
    for cut, refused in [(1, False), (2, True)]:
        fasta.write_bytes(content[:-cut])
        os.utime(fasta, (1, 1))
        if refused:
            with pytest.raises(GenomeError, match="names bases of chrM past the file's end"):
                Genome.open(fasta)
        else:
            Genome.open(fasta).close()


def test_chromosome_without_bases(tmp_path):
    (tmp_path / "g.fa").write_bytes(b">chrI\nACGT\n>empty")
    with Genome.open(tmp_path / "g.fa") as genome:
        assert dict(genome.chrom_lengths) == {"chrI": 4, "empty": 0}
        assert genome.codes("empty", 0, 2).tolist() == [4, 4]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("g.fa", b"chr1\t100\t200\n"),
        ("g.fa", b""),
        ("g.fa", b"\x00\x01\xfe\xff" * 100),
        ("g.fa", b">chr1\nACGT\nAC\nACGT\n"),
        ("g.fa", b">chr1\nACGT\n>chr1\nACGT\n"),
    ],
    ids=["bed", "empty", "binary", "uneven lines", "a name twice"],
)
def test_files_that_are_no_fasta(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(GenomeError, match=r"g\.fa is not a FASTA that can be read"):
        Genome.open(tmp_path / name)


def test_names_that_lie_about_compression(tmp_path, chromosomes):
    write_fasta(tmp_path / "a.fa.gz", chromosomes).rename(tmp_path / "a.fa")
    with pytest.raises(GenomeError, match=r"is gzip-compressed; rename it to end in \.gz"):
        Genome.open(tmp_path / "a.fa")
    write_fasta(tmp_path / "b.fa", chromosomes).rename(tmp_path / "b.fa.gz")
    with pytest.raises(GenomeError, match="is not gzip-compressed, although its name says so"):
        Genome.open(tmp_path / "b.fa.gz")


def test_missing_file_and_url(tmp_path):
    with pytest.raises(GenomeError, match=r"absent\.fa does not exist"):
        Genome.open(tmp_path / "absent.fa")
    with pytest.raises(GenomeError, match="is not a file"):
        Genome.open(tmp_path)
    with pytest.raises(GenomeError, match=r"memory://none/g\.fa does not exist; check the URL"):
        Genome.open("memory://none/g.fa")


@pytest.mark.parametrize("name", ["g.fa", "g.fa.gz"])
def test_a_genome_at_a_url_is_the_same_genome(tmp_path, chromosomes, monkeypatch, name):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = write_fasta(tmp_path / name, chromosomes)
    url = f"memory://{tmp_path.name}/{name}"
    urls.write_bytes(url, path.read_bytes())
    with Genome.open(url) as remote, Genome.open(path) as local:
        assert remote.path == url
        assert remote.chrom_lengths == local.chrom_lengths
        for chrom, length in local.chrom_lengths.items():
            np.testing.assert_array_equal(
                remote.codes(chrom, -3, length + 3), local.codes(chrom, -3, length + 3)
            )


def peaks(*rows: tuple[str, int, int]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=["chrom", "start", "end"])


@pytest.fixture
def genome(tmp_path, chromosomes):
    with Genome.open(write_fasta(tmp_path / "g.fa", chromosomes)) as opened:
        yield opened


def test_peaks_that_fit(genome):
    check_peaks(peaks(("chrI", 0, 150_003), ("chrII", 60, 61)), genome)
    check_peaks(peaks(("chrI", 0, 1)).astype({"chrom": "category"}), genome)


def test_missing_prefix_is_offered(genome):
    with pytest.raises(
        GenomeError,
        match=r"no chromosome I, II \(named by 2 of 3 peaks; .* 'chr' before I, II, and all names",
    ):
        check_peaks(peaks(("I", 0, 9), ("II", 0, 9), ("chrI", 0, 9)), genome)


def test_superfluous_prefix_is_offered(tmp_path, rng):
    fasta = write_fasta(tmp_path / "n.fa", random_chromosomes(rng, {"1": 100, "2": 100}))
    with (
        Genome.open(fasta) as genome,
        pytest.raises(GenomeError, match="take the prefix 'chr' off"),
    ):
        check_peaks(peaks(("chr1", 0, 9), ("chr2", 0, 9)), genome)


@pytest.mark.parametrize(
    ("names", "advice"),
    [
        (("II", "scaffold1"), "put the prefix 'chr' before II, and leave out those on the others"),
        (("MT", "scaffold1"), "use the genome assembly that"),
        (("chrX",), "use the genome assembly that"),
    ],
)
def test_the_prefix_is_offered_only_to_names_that_then_match(genome, names, advice):
    rows = [(name, 0, 9) for name in (*names, "chrI")]
    with pytest.raises(GenomeError, match=advice):
        check_peaks(peaks(*rows), genome)


def test_names_of_another_genome_are_listed(genome):
    rows = [(f"scaffold{i}", 0, 9) for i in range(8)]
    with pytest.raises(
        GenomeError, match=r"scaffold0, .*scaffold4 and 3 more .*the genome has chrI"
    ):
        check_peaks(peaks(*rows), genome)


def test_peaks_past_the_end_name_the_first(genome):
    with pytest.raises(
        PeaksError, match=r"2 of 3 peaks .* first is chrII:50-62, and chrII has 61 bp"
    ):
        check_peaks(peaks(("chrI", 0, 9), ("chrII", 50, 62), ("chrI", -1, 9)), genome)
