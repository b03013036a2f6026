from __future__ import annotations

import gzip
import io
from typing import TYPE_CHECKING

import pytest
from Bio import bgzf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atlasstore.errors import CountsError
from atlasstore.files.text import DAMAGED, open_raw
from atlasstore.inputs.text_ranges import open_piece, plan_text_pieces

if TYPE_CHECKING:
    from pathlib import Path


def bgzipped(text: bytes, block: int) -> bytes:
    """Write blocks of `block` bytes of text, and the end marker."""

    class Kept(io.BytesIO):
        def close(self) -> None:
            """Keep the content."""

    out = Kept()
    with bgzf.BgzfWriter(fileobj=out, mode="wb") as file:
        for start in range(0, len(text), block):
            file.write(text[start : start + block])
            file.flush()
    return out.getvalue()


def lines_of(path: Path, piece: tuple[int, int]) -> list[bytes]:
    with (
        open_raw(path, error=CountsError) as raw,
        open_piece(raw, piece, name=str(path), error=CountsError) as text,
    ):
        return list(text)


TEXT = st.lists(st.text("ab\t", max_size=9), max_size=40).map("\n".join)


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=TEXT, block=st.integers(1, 30), step=st.integers(25, 200), kind=st.booleans())
def test_pieces_hold_every_line_once_in_order(tmp_path, text, block, step, kind) -> None:
    content = text.encode()
    path = tmp_path / "lines"
    path.write_bytes(bgzipped(content, block) if kind else content)
    size = path.stat().st_size
    pieces = [(start, min(start + step, size)) for start in range(0, size, step)]
    found = [line for piece in pieces for line in lines_of(path, piece)]
    assert found == io.BytesIO(content).readlines()


def test_a_plan_covers_the_file_and_feeds_every_worker(tmp_path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"a\n" * 5000)
    assert plan_text_pieces(path, 4, error=CountsError) == [(0, 10_000)]  # too small to cut
    pieces = plan_text_pieces(path, 4, error=CountsError, least_bytes=100)
    assert len(pieces) == 16
    assert [start for start, _ in pieces] == [0, *(stop for _, stop in pieces[:-1])]
    assert pieces[-1][1] == 10_000
    assert len(plan_text_pieces(path, 1, error=CountsError, most_bytes=4000)) == 3


def test_plain_gzip_is_one_piece(tmp_path) -> None:
    path = tmp_path / "lines.gz"
    path.write_bytes(gzip.compress(b"a\nb\n"))
    whole = [(0, path.stat().st_size)]
    assert plan_text_pieces(path, 8, error=CountsError, least_bytes=1) == whole


@pytest.mark.parametrize("at", [30, -50])
def test_a_damaged_block_is_noticed_in_its_piece(tmp_path, at) -> None:
    path = tmp_path / "lines.gz"
    whole = bytearray(bgzipped((bytes(range(60, 120)) + b"\n") * 20, 300))
    half = len(whole) // 2
    whole[at] ^= 0x55
    path.write_bytes(whole)
    bad, good = ((0, half), (half, len(whole)))[:: 1 if at > 0 else -1]
    lines_of(path, good)
    with pytest.raises(DAMAGED):
        lines_of(path, bad)


def test_a_bgzip_file_without_its_end_is_refused(tmp_path) -> None:
    path = tmp_path / "lines.gz"
    path.write_bytes(bgzipped(b"a\nb\n", 2)[:-28])
    with pytest.raises(CountsError, match="then the bgzip end marker is missing"):
        plan_text_pieces(path, 2, error=CountsError)
