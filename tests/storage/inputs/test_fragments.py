from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atlasstore.errors import CountsError
from atlasstore.events import Notice, Progress
from atlasstore.files.text import _BGZF_END
from atlasstore.genome.peaks import read_bed
from atlasstore.inputs import fragments, open_source

if TYPE_CHECKING:
    from pathlib import Path

    from atlasstore.inputs.lazy_source import LazySource

BED = "chr1\t100\t200\nchr1\t150\t300\nchr2\t0\t50\n"


def write(folder: Path, fragments: str, *, bed: str = BED, barcodes: str | None = None) -> dict:
    (folder / "peaks.bed").write_text(bed)
    (folder / "f.tsv.gz").write_bytes(gzip.compress(fragments.encode()))
    found = {"url": folder / "f.tsv.gz", "peaks": folder / "peaks.bed"}
    if barcodes is not None:
        (folder / "b.txt").write_text(barcodes)
        found["barcodes"] = folder / "b.txt"
    return found


def opened_in_tables(paths: dict, rows: int, **options) -> LazySource:
    """Open with at most `rows` fragments in a table."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fragments, "ROWS_PER_TABLE", rows)
        patch.setattr(fragments, "_MIN_ROWS", 1)
        return open_source(**paths, **options)


def notices(events: list[object]) -> list[str]:
    return [event.message for event in events if isinstance(event, Notice)]


def test_counts_the_sample(sample) -> None:
    listed = sample.text("list.txt", "\n".join(sample.barcodes))
    source = open_source(sample.fragments(), peaks=sample.bed(), barcodes=listed)
    np.testing.assert_array_equal(source.read_cells(0, 23).toarray(), sample.counts)
    np.testing.assert_array_equal(source.read_cells(4, 9).toarray(), sample.counts[4:9])
    np.testing.assert_array_equal(source.obs["n_fragments"], sample.counts.sum(1))
    assert list(source.peaks.index) == sample.peak_names


TEXT = (
    "# id=x\n# a comment\n"
    "chr1\t190\t260\tB#1-1\t2\n"  # start in both peaks, end in the second: 1 and 1
    "chr1\t50\t120\tA\t1\n"
    "chr1\t120\t140\tB#1-1\t1\n"
    "chr1\t90\t400\tA\t1\n"  # spans both
    "chr3\t1\t9\tC\t1\n"
)


@pytest.mark.parametrize("rows", [1, 2, 3, 100])
def test_without_a_list_cells_are_all_barcodes_by_first_appearance(tmp_path, rows) -> None:
    paths = write(tmp_path, TEXT)
    events: list[object] = []
    source = opened_in_tables(paths, rows, on_event=events.append)
    assert list(source.obs.index) == ["B#1-1", "A", "C"]
    assert list(source.obs["n_fragments"]) == [2, 2, 1]
    counts = source.read_cells(0, 3)
    np.testing.assert_array_equal(counts.toarray(), [[2, 1, 0], [1, 0, 0], [0, 0, 0]])
    assert counts.dtype == np.int32
    assert counts.has_canonical_format
    assert notices(events) == [
        f"{paths['url']} has no fragments on chr2: peaks there have no counts."
    ]
    progress = [e for e in events if isinstance(e, Progress) and e.stage == "reading fragments"]
    assert len(progress) == -(-5 // rows)
    assert progress[-1].done == progress[-1].total > 0


def test_a_list_gives_the_cells_and_their_order(tmp_path) -> None:
    events: list[object] = []
    paths = write(tmp_path, TEXT, barcodes="A\nZ\nB#1-1\n")
    source = open_source(**paths, on_event=events.append)
    assert list(source.obs.index) == ["A", "Z", "B#1-1"]
    np.testing.assert_array_equal(
        source.read_cells(0, 3).toarray(), [[1, 0, 0], [0, 0, 0], [2, 1, 0]]
    )
    assert "1 of 3 listed barcodes have no fragments" in notices(events)[1]


@pytest.mark.parametrize("text", [TEXT.replace("\t1\n", "\n").replace("\t2\n", "\n")])
def test_four_columns_plain_text_and_windows_line_ends(tmp_path, text) -> None:
    paths = write(tmp_path, text)
    expected = open_source(**paths).read_cells(0, 3).toarray()
    plain = tmp_path / "plain.tsv"
    plain.write_bytes(text.replace("\n", "\r\n").encode())
    source = open_source(plain, peaks=paths["peaks"])
    assert list(source.obs.index) == ["B#1-1", "A", "C"]
    np.testing.assert_array_equal(source.read_cells(0, 3).toarray(), expected)


FRAGMENT = st.tuples(
    st.sampled_from(["chr1", "chr2", "chrX"]),
    st.integers(0, 300),
    st.integers(1, 200),
    st.sampled_from(["A", "B#b", "C-1", "D"]),
)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    first=st.tuples(st.just("chr1"), st.just(0), st.just(5), st.just("A")),
    more=st.lists(FRAGMENT, max_size=20),
    rows=st.integers(1, 8),
)
def test_any_table_size_gives_the_counts_of_the_rule(tmp_path, first, more, rows) -> None:
    rows_of_file = [first, *more]
    lines = [f"{c}\t{s}\t{s + n}\t{b}\t1\n" for c, s, n, b in rows_of_file]
    paths = write(tmp_path, "".join(lines))
    peaks = read_bed(paths["peaks"])
    source = opened_in_tables(paths, rows)
    cells = list(dict.fromkeys(b for *_, b in rows_of_file))
    expected = np.zeros((len(cells), len(peaks)), dtype=int)
    for c, s, n, b in rows_of_file:
        for p, (pc, ps, pe) in enumerate(zip(peaks.chrom, peaks.start, peaks.end, strict=True)):
            expected[cells.index(b), p] += c == pc and (ps <= s < pe or ps <= s + n - 1 < pe)
    assert list(source.obs.index) == cells
    np.testing.assert_array_equal(source.read_cells(0, len(cells)).toarray(), expected)


@pytest.mark.parametrize(
    "bad",
    [
        "chr1\tabc\t5\tA\t1",
        "chr1\t1\t5",
        "chr1\t1\t5\t\t1",
        "\t1\t5\tA\t1",
        "chr1 1 5 A 1",
        "# late comment",
        "chr1\t1.5\t3\tA\t1",
        "chr1\t1\t99999999999999999999\tA\t1",
        'chr1\t"1\t3\tA\t1',
    ],
)
@pytest.mark.parametrize("rows", [2, 1000])
def test_a_malformed_line_is_shown_with_its_number(tmp_path, bad, rows) -> None:
    lines = TEXT.splitlines()
    paths = write(tmp_path, "\n".join([*lines[:5], bad, *lines[5:]]) + "\n")
    with pytest.raises(CountsError, match=r"f\.tsv\.gz line 6 is ") as caught:
        opened_in_tables(paths, rows)
    assert repr(bad) in str(caught.value)


@pytest.mark.parametrize("bad", ["chr1\t9\t9\tA\t1", "chr1\t9\t3\tD\t1", "chr1\t-2\t3\tA\t1"])
@pytest.mark.parametrize("rows", [2, 1000])
def test_fragments_without_a_base_are_skipped_and_counted(tmp_path, bad, rows) -> None:
    lines = TEXT.splitlines()
    paths = write(tmp_path, "\n".join([*lines[:5], bad, *lines[5:], bad]) + "\n")
    events: list[object] = []
    source = opened_in_tables(paths, rows, on_event=events.append)
    assert list(source.obs.index) == ["B#1-1", "A", "C"]
    assert list(source.obs["n_fragments"]) == [2, 2, 1]
    counts = source.read_cells(0, 3).toarray()
    np.testing.assert_array_equal(counts, [[2, 1, 0], [1, 0, 0], [0, 0, 0]])
    assert any("f.tsv.gz: 2 fragments that end at or before" in one for one in notices(events))


def test_no_fragment_with_a_base(tmp_path) -> None:
    paths = write(tmp_path, "chr1\t9\t9\tA\t1\n")
    with pytest.raises(CountsError, match="has no fragments but 1 fragments that end"):
        open_source(**paths)


def test_marks_and_quotes_of_other_systems(tmp_path) -> None:
    mark = "\ufeff"
    listed = f'{mark}"A"\tT\r\n"B#1-1"\tT\r\n'
    paths = write(tmp_path, mark + TEXT.partition("comment\n")[2], bed=mark + BED, barcodes=listed)
    source = open_source(**paths)
    assert list(source.obs.index) == ["A", "B#1-1"]
    np.testing.assert_array_equal(source.read_cells(0, 2).toarray(), [[1, 0, 0], [2, 1, 0]])


def test_utf16_is_named(tmp_path) -> None:
    paths = write(tmp_path, TEXT, barcodes="")
    paths["barcodes"].write_bytes("A\n".encode("utf-16"))
    with pytest.raises(CountsError, match=r"b\.txt is text in UTF-16; save it as UTF-8"):
        open_source(**paths)


@pytest.mark.parametrize("text", ["", "# only a comment\n"])
def test_no_fragments_at_all(tmp_path, text) -> None:
    with pytest.raises(CountsError, match="has no fragments; give a file"):
        open_source(**write(tmp_path, text))


def test_a_truncated_gzip_says_the_last_line_read(tmp_path, rng) -> None:
    starts = rng.integers(0, 10**8, 5000)
    paths = write(tmp_path, "".join(f"chr1\t{s}\t{s + 50}\tA\t1\n" for s in starts))
    whole = paths["url"].read_bytes()
    paths["url"].write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CountsError, match=r"truncated or damaged: ([\d,]+) lines") as caught:
        open_source(**paths)
    said = int(str(caught.value).split("damaged: ")[1].split(" ")[0].replace(",", ""))
    assert 1500 < said < 3500


@pytest.mark.parametrize("columns", [4, 5])
def test_plain_text_that_is_cut_anywhere_in_its_last_line_is_never_a_new_cell(tmp_path, columns):
    """A cut within the last of four columns cannot be told; of five the last is not read."""
    lines = [f"chr1\t{s}\t{s + 50}\tCELL{s:02}-1\t1" for s in range(20)]
    text = "# made by us\n" + "".join("\t".join(x.split("\t")[:columns]) + "\n" for x in lines)
    paths = write(tmp_path, text)
    plain = tmp_path / "plain.tsv"
    whole = list(open_source(plain.parent / "f.tsv.gz", peaks=paths["peaks"]).obs.index)
    line_begins = text[:-1].rindex("\n") + 1
    for at in range(line_begins + 1, len(text)):
        plain.write_text(text[:at])
        if columns == 4 and at < len(text) - 1 and text[line_begins:at].count("\t") == 3:
            continue
        if text[line_begins:at].count("\t") == columns - 1:
            assert list(open_source(plain, peaks=paths["peaks"]).obs.index) == whole
            continue
        with pytest.raises(CountsError, match=r"the file was cut; copy it again|line 21 is"):
            open_source(plain, peaks=paths["peaks"])


def test_flipped_bytes_in_a_gzip_are_noticed(tmp_path, rng) -> None:
    starts = rng.integers(0, 10**8, 5000)
    paths = write(tmp_path, "".join(f"chr1\t{s}\t{s + 50}\tA\t1\n" for s in starts))
    raw = bytearray(paths["url"].read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    paths["url"].write_bytes(raw)
    with pytest.raises(
        CountsError, match=r"f.tsv.gz (is truncated or damaged|line \d+ is|is not text)"
    ):
        open_source(**paths)


def bgzip(*texts: str) -> bytes:
    """Write a bgzip file, a member a text: gzip members with their size in an extra field."""
    out = b""
    for text in texts:
        member = gzip.compress(text.encode(), mtime=0)
        size = len(member) + 8 - 1
        extra = b"\x06\x00BC\x02\x00" + size.to_bytes(2, "little")
        out += member[:3] + b"\x04" + member[4:10] + extra + member[10:]
    return out


def test_bgzip_is_read_and_a_lost_end_is_noticed(tmp_path) -> None:
    paths = write(tmp_path, TEXT)
    expected = open_source(**paths).read_cells(0, 3).toarray()
    members = bgzip(TEXT[:80], TEXT[80:])
    paths["url"].write_bytes(members + _BGZF_END)
    np.testing.assert_array_equal(open_source(**paths).read_cells(0, 3).toarray(), expected)
    paths["url"].write_bytes(members)
    with pytest.raises(CountsError, match="truncated: 7 lines can be read, then the bgzip end"):
        open_source(**paths)


@pytest.mark.parametrize(
    ("bed", "hint"),
    [
        ("1\t100\t200\n", "Add the chr prefix to the peaks"),
        ("II\t100\t200\n", "Give peaks and fragments of the same genome"),
    ],
)
def test_peaks_of_another_genome_are_refused(tmp_path, bed, hint) -> None:
    with pytest.raises(CountsError, match=rf"no chromosome of the peaks .* \(chr1, chr3\).*{hint}"):
        open_source(**write(tmp_path, TEXT, bed=bed))


def test_a_superfluous_prefix_is_pointed_out(tmp_path) -> None:
    with pytest.raises(CountsError, match="Remove the chr prefix"):
        open_source(**write(tmp_path, TEXT.replace("chr", "")))


def test_barcodes_after_the_remembered_examples_count_too(tmp_path) -> None:
    """Ten thousand are remembered, of the tables so far."""
    others = "".join(f"chr1\t1\t9\tother{i}\t1\n" for i in range(10_000))
    text = others + TEXT.split("\n", 2)[2]  # comments stand before all fragments
    paths = write(tmp_path, text, barcodes="C\nA\nB#1-1\n")
    source = opened_in_tables(paths, 5_000)
    assert list(source.obs["n_fragments"]) == [1, 2, 2]


@pytest.mark.parametrize(
    ("listed", "hint"),
    [
        ("B#1\nX\n", "suffix -1 added"),
        ("A-1\n", "suffix .such as -1. removed"),
        ("Q\n", "same sample.$"),
    ],
)
def test_a_list_of_another_sample_is_refused(tmp_path, listed, hint) -> None:
    with pytest.raises(CountsError, match=f"none of the .* barcodes in .*{hint}"):
        open_source(**write(tmp_path, TEXT, barcodes=listed))
