from __future__ import annotations

import pytest

from atlasstore import memory
from atlasstore.errors import UserInputError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GB", 2 * 10**9),
        ("2gib", 2 << 30),
        ("800 MB", 8 * 10**8),
        ("1.5G", 15 * 10**8),
        ("64k", 64_000),
        (12345, 12345),
    ],
)
def test_sizes_as_people_write_them(text, size):
    assert memory.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "much", "2 XB", "-1GB", "0", "1e9"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(UserInputError, match="is no size in memory; write for example 2GB"):
        memory.parse_size(text)


def test_this_machine_has_memory():
    assert memory.resident_bytes() > 0
    assert 0 < memory.default_bytes() < memory.free_bytes()


def group(tmp_path, monkeypatch, lines, files):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "own").write_text(lines)
    monkeypatch.setattr(memory, "_GROUPS", tmp_path)
    monkeypatch.setattr(memory, "_OWN_GROUP", tmp_path / "own")


def test_control_groups_of_version_2_bound_from_any_height(tmp_path, monkeypatch):
    files = {
        "memory.max": "max\n",
        "a/memory.max": "50000000\n",
        "a/memory.current": "20000000\n",
        "a/memory.stat": "anon 1\ninactive_file 5000000\n",
        "a/b/memory.max": "max\n",
        "a/b/memory.current": "1\n",
    }
    group(tmp_path, monkeypatch, "0::/a/b\n", files)
    assert memory.free_bytes() == 35_000_000
    assert memory.default_bytes() == 17_500_000


def test_control_groups_of_version_1(tmp_path, monkeypatch):
    files = {
        "memory/job/memory.limit_in_bytes": "40000000",
        "memory/job/memory.usage_in_bytes": "30000000",
    }
    group(tmp_path, monkeypatch, "5:cpu:/x\n4:memory,other:/job\n", files)
    assert memory.free_bytes() == 10_000_000
