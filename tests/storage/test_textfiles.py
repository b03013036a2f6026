from __future__ import annotations

import gzip

import fsspec
import pytest

from atlasstore.errors import CountsError, PeaksError
from atlasstore.textfiles import numbered_lines

TEXT = "one\r\n\ntwo # three\n"
LINES = [(1, "one"), (2, ""), (3, "two # three")]


@pytest.mark.parametrize(
    "content", [TEXT.encode(), gzip.compress(TEXT.encode())], ids=["plain", "gzip"]
)
def test_lines_are_numbered_from_1_at_a_path_or_url(tmp_path, content) -> None:
    (tmp_path / "named.anything").write_bytes(content)
    assert list(numbered_lines(tmp_path / "named.anything", error=CountsError)) == LINES
    fsspec.filesystem("memory").pipe("/textfiles/a", content)
    assert list(numbered_lines("memory://textfiles/a", error=CountsError)) == LINES


def test_gzip_members_one_after_the_other_are_one_text(tmp_path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"a\nb") + gzip.compress(b"c\n"))
    assert list(numbered_lines(tmp_path / "a.gz", error=CountsError)) == [(1, "a"), (2, "bc")]


def test_errors_are_of_the_class_asked_for(tmp_path) -> None:
    with pytest.raises(PeaksError, match="does not exist"):
        list(numbered_lines(tmp_path / "no", error=PeaksError))
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"a\n" * 9)[:-6])
    with pytest.raises(PeaksError, match="truncated or damaged: 9 lines can be read"):
        list(numbered_lines(tmp_path / "cut.gz", error=PeaksError))
