from __future__ import annotations

import pytest

from atlasstore.errors import CorruptStoreError
from atlasstore.files import urls
from atlasstore.resume.receipts import Receipts, write_receipts


def test_receipts_hold_no_credentials(tmp_path):
    unit, url = {"start": 0, "stop": 1}, str(tmp_path / "stage")
    notice = "s3://key:hidden@host/a.h5ad has no cells."
    file = write_receipts(url, [(0, unit, {"notices": [notice]})])
    assert b"hidden" not in urls.read_bytes(file)
    assert Receipts(url, [unit]).load() == [{"notices": ["s3://host/a.h5ad has no cells."]}]


@pytest.mark.parametrize(
    "content", ['{"a": 1}', "[[0, {}]]", "[[0, {}, 5]]", '[["x", {}, {}]]', "7"]
)
def test_another_file_in_the_place_of_receipts_is_told(tmp_path, content):
    unit, url = {"start": 0, "stop": 1}, str(tmp_path / "stage")
    file = write_receipts(url, [(0, unit, {})])
    urls.write_bytes(file, content.encode())
    with pytest.raises(CorruptStoreError, match=r"cannot be read .* delete the file"):
        Receipts(url, [unit])
