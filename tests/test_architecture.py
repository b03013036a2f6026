"""The committed picture of the rooms shows the imports as they are."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "docs" / "figures"


@pytest.fixture(scope="module")
def tool():
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import draw_architecture
    finally:
        sys.path.pop(0)
    return draw_architecture


@pytest.fixture(scope="module")
def rooms(tool):
    return tool.read_rooms()


def test_the_edge_list_is_what_the_imports_say(tool, rooms):
    stored = (FIGURES / "architecture.txt").read_text()
    assert stored == tool.edge_list(rooms), "the imports have changed: run `make picture`"


def test_the_picture_was_drawn_from_the_edge_list(tool):
    stored = (FIGURES / "architecture.txt").read_text()
    assert tool.digest_of(stored) in (FIGURES / "architecture.svg").read_text()


def test_known_imports_are_seen_and_all_go_down(tool, rooms):
    assert ("atlasbasset.verbs.denoise", "atlasbasset.batch") in rooms.edges
    for package in tool.FOLDERS:
        own = rooms.subgraph(room for room in rooms if room.split(".")[0] == package)
        floors = tool.floors_of(own)
        level = {room: i for i, names in enumerate(floors) for room in names}
        assert all(level[a] > level[b] for a, b in own.edges)


def test_a_circle_shares_a_floor(tool):
    import networkx as nx

    rooms = nx.DiGraph([("p.a", "p.b"), ("p.b", "p.a"), ("p.b", "p.c")])
    assert tool.floors_of(rooms) == [["p.c"], ["p.a", "p.b"]]
