"""The table of sizes, hours and cost in docs/clusters.md, and the arithmetic behind it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "clusters.md").read_text()


@pytest.fixture(scope="module")
def cost():
    spec = importlib.util.spec_from_file_location("cost", ROOT / "tools" / "cluster_cost.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["cost"] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


def test_the_arithmetic(cost):
    atlas = cost.Atlas(cells=1_000_000, peaks=100_000, density=0.01, epochs=2)
    nodes = cost.Nodes(sequence_ms=2, pair_ns=1, worker_price=3, head_price=1, lost_share=0.5)
    # 200,000 sequences of 2 ms + 1 ms, by four: 150 s; half of it once more; and 600 s of starting
    assert cost.hours(atlas, nodes, 4) == pytest.approx((600 + 225) / 3600)
    assert cost.price(atlas, nodes, 4) == pytest.approx(13 * 825 / 3600)
    assert cost.worker_bytes(atlas, 4) == pytest.approx(3e9 + (396e6 + 2e9) / 4)


def test_the_page_shows_what_the_script_prints(cost, capsys):
    command = "python tools/cluster_cost.py --worker-price 1"
    assert command in PAGE
    cost.main(command.split()[2:])
    assert capsys.readouterr().out in PAGE
