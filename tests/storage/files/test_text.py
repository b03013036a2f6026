from __future__ import annotations

import errno
import gzip
import io

import fsspec
import pytest

from atlasstore.errors import AtlasError, CountsError, PeaksError, UserInputError
from atlasstore.files import urls
from atlasstore.files.text import numbered_lines, whole_number

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


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["no mark", "a mark"])
def test_gzip_cut_or_flipped_anywhere_is_one_sentence(tmp_path, mark) -> None:
    """Also where the break comes before the first line, as the byte order mark is skipped."""
    whole = gzip.compress(mark + b"".join(b"line %d\n" % i for i in range(9)), mtime=0)
    lines = [(i + 1, f"line {i}") for i in range(9)]
    path = tmp_path / "a.gz"
    for at in range(2, len(whole)):
        path.write_bytes(whole[:at])
        with pytest.raises(CountsError):
            list(numbered_lines(path, error=CountsError))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            found = list(numbered_lines(path, error=CountsError))
        except CountsError:
            continue
        assert 4 <= at < 10  # time and system, which are under no checksum
        assert found == lines


class Breaking(io.BytesIO):
    """The connection is lost after some bytes."""

    def __init__(self, content: bytes, at: int) -> None:
        super().__init__(content)
        self.at = at

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() >= self.at:
            raise OSError(errno.EIO, "the server is away")
        n_left = self.at - self.tell()
        return super().read(n_left if size is None or size < 0 else min(size, n_left))

    def readinto(self, buffer) -> int:
        found = self.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)


class Store:
    def __init__(self, file: io.BytesIO | None) -> None:
        self.file = file

    def exists(self, path: str) -> bool:
        if self.file is None:
            raise ConnectionResetError
        return True

    isfile = exists

    def open(self, path: str, mode: str) -> io.BytesIO | None:
        return self.file


BGZIP_START = bytes.fromhex("1f8b08040000000000ff0600424302001b000300")


@pytest.mark.parametrize(
    "content",
    [b"a line\n" * 9, gzip.compress(b"a\n" * 99), BGZIP_START * 9],
    ids=["plain", "gzip", "bgzip"],
)
@pytest.mark.parametrize("at", [0, 20])
def test_an_outage_is_not_told_as_damage(monkeypatch, content: bytes, at: int) -> None:
    store = Store(Breaking(content, at))
    monkeypatch.setattr(urls, "filesystem", lambda _url: (store, "b/a.bed"))
    with pytest.raises(AtlasError, match=r"s3://b/a\.bed cannot be reached") as caught:
        list(numbered_lines("s3://b/a.bed", error=PeaksError))
    assert not isinstance(caught.value, UserInputError)


def test_a_store_that_is_away_is_not_an_absent_file(monkeypatch) -> None:
    monkeypatch.setattr(urls, "filesystem", lambda _url: (Store(None), "b/a.bed"))
    with pytest.raises(AtlasError, match="cannot be reached") as caught:
        list(numbered_lines("s3://b/a.bed", error=PeaksError))
    assert not isinstance(caught.value, UserInputError)


@pytest.mark.parametrize(("field", "number"), [("0", 0), (" 12 ", 12), ("-5", -5), ("007", 7)])
def test_a_whole_number(field, number):
    assert whole_number(field) == number


@pytest.mark.parametrize(
    "field",
    [
        "",
        "1_000",
        "\u0661\u0662",
        "\u00b2",
        "+5",
        "1.0",
        "1e3",
        "0x10",
        "9" * 19,
        "1 2",
        "--1",
        "nan",
    ],
)
def test_what_only_python_takes_for_a_whole_number_is_none(field):
    with pytest.raises(ValueError, match="is no whole number"):
        whole_number(field)


@pytest.mark.parametrize("marks", [1, 2, 3])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_byte_order_marks_are_no_text(tmp_path, marks, packed):
    content = ("\ufeff" * marks + TEXT).encode()
    file = tmp_path / "t.txt"
    file.write_bytes(gzip.compress(content, mtime=0) if packed else content)
    assert list(numbered_lines(str(file), error=PeaksError)) == LINES
