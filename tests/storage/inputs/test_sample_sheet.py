from __future__ import annotations

import fsspec
import pytest

from atlasstore.errors import UserInputError
from atlasstore.inputs.sample_sheet import SheetRow, is_sample_sheet, read_sample_sheet


def write(folder, text: str):
    path = folder / "sheet.csv"
    path.write_text(text)
    return path


def test_a_line_is_a_sample(tmp_path):
    sheet = write(
        tmp_path,
        "path,sample,batch,age,barcodes\n"
        'a/f.tsv.gz,young,1,"3, or 4",a/b.txt\n'
        "\n"
        " s3://bucket/b.h5ad , old ,02,,\n"
        "/data/c.h5ad,,,,\n",
    )
    assert read_sample_sheet(sheet) == (
        SheetRow(
            f"{tmp_path}/a/f.tsv.gz",
            "young",
            f"{tmp_path}/a/b.txt",
            (("batch", "1"), ("age", "3, or 4")),
        ),
        SheetRow("s3://bucket/b.h5ad", "old", None, (("batch", "02"),)),
        SheetRow("/data/c.h5ad", "", None, ()),
    )


@pytest.mark.parametrize(
    ("sheet", "found"),
    [("memory://sheets/s.csv", "memory://sheets/x.h5ad"), ("memory://s.csv", "memory://x.h5ad")],
)
def test_paths_are_relative_to_a_sheet_at_a_url(sheet, found):
    fsspec.filesystem("memory").pipe(sheet.removeprefix("memory:/"), b"path\nx.h5ad\n")
    assert read_sample_sheet(sheet)[0].path == found


def test_paths_are_relative_to_a_sheet_in_the_working_folder(tmp_path, monkeypatch):
    write(tmp_path, "path\nx.h5ad\n")
    monkeypatch.chdir(tmp_path)
    assert read_sample_sheet("sheet.csv")[0].path == "x.h5ad"


@pytest.mark.parametrize("text", ["\ufeffpath,batch\r\nx,1\r\n", '"path",batch\nx,1'])
def test_spreadsheets_write_marks_and_line_ends(tmp_path, text):
    path = tmp_path / "sheet.csv"
    path.write_bytes(text.encode())
    (row,) = read_sample_sheet(path)
    assert (row.path, row.columns) == (f"{tmp_path}/x", (("batch", "1"),))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"line 1 has the columns \(none\), but one named path is needed"),
        ("file,batch\nx,1\n", "line 1 has the columns file, batch, but one named path"),
        ("path,batch,batch\nx,1,2\n", "line 1 has the column batch more than once"),
        ("path,,batch\nx,1,2\n", "line 1 has a column without a name"),
        ("path,batch\n", r"sheet\.csv lists no samples"),
        ("path,batch\nx,1\ny\n", "line 3 has 1 fields, but the first line names 2 columns"),
        ("path,batch\nx,1\n\ny,1,2\n", "line 4 has 3 fields"),
        ("path,batch\nx,1\n,2\n", "line 3 has no path"),
        ("path,sample\nx,a\ny,b\nz,a\n", "line 4 names the sample 'a', as line 2 does"),
        ('path,batch\nx,"1\ny,2\n', r"line 3 is not CSV \("),
    ],
)
def test_a_wrong_sheet_is_one_sentence_with_the_line(tmp_path, text, message):
    with pytest.raises(UserInputError, match=message):
        read_sample_sheet(write(tmp_path, text))


def test_a_missing_sheet_is_named(tmp_path):
    with pytest.raises(UserInputError, match=r"none\.csv does not exist"):
        read_sample_sheet(tmp_path / "none.csv")


ROWS = (("x.h5ad", "a", (("batch", "1;2"),)), ("y.h5ad", "b", ()))


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    "lines",
    [
        ['"path","sample","batch"', '"x.h5ad","a","1;2"', '"y.h5ad","b",""'],
        ["path\tsample\tbatch", "x.h5ad\ta\t1;2", "y.h5ad\tb\t"],
        ["path;sample;batch", 'x.h5ad;a;"1;2"', "y.h5ad;b;"],
        ["path,sample,batch,,", "x.h5ad,a,1;2,,", "y.h5ad,b,,,", ",,,,"],
        ["", "path,sample,batch", "x.h5ad,a,1;2,", "y.h5ad,b,"],
    ],
    ids=["quotes", "tabs", "semicolons", "empty columns", "empty line"],
)
def test_sheets_of_other_programs(tmp_path, mark, end, lines):
    path = tmp_path / "sheet.csv"
    path.write_bytes((mark + end.join(lines) + end).encode())
    found = [(row.path, row.sample, row.columns) for row in read_sample_sheet(path)]
    assert found == [(f"{tmp_path}/{name}", sample, more) for name, sample, more in ROWS]


def test_a_tsv_is_a_sheet_when_its_first_line_has_path(tmp_path):
    for name, text, is_sheet in (
        ("a.tsv", "\ufeffpath\tsample\nx\ty\n", True),
        ("b.tsv", "sample\tpath\n", True),
        ("d.tsv", "chr1\t5\t9\tA\n", False),
        ("e.tsv", "", False),
    ):
        (tmp_path / name).write_text(text)
        assert is_sample_sheet(tmp_path / name) is is_sheet


def test_only_csv_is_a_sheet():
    assert is_sample_sheet("s3://bucket/Sheet.CSV")
    assert not is_sample_sheet("a.tsv")
