"""Measures, genes and reports by Ray actors are those of one process; so are tables read once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import atlasbasset
from atlasbasset.batch.executor import RayExecutor, WorkerPool
from atlasbasset.verbs.shared import ranking
from small_atlas import make_atlas, random_labels
from small_model import TINY, random_weights, write_model

pytestmark = [pytest.mark.ray, pytest.mark.slow]

N, P = 60, 1500
GENES = "\n".join(
    f'chrI\tx\tgene\t{start}\t{start + 900}\t.\t+\t.\tgene_id "G{start}"'
    for start in range(500, 90_000, 4000)
)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("stores"), np.random.default_rng(5)
    codes = rng.integers(0, 5, (P, TINY.window_bp + 6), dtype=np.uint8)
    atlas = make_atlas(folder / "atlas", random_labels(rng, N, P), codes)
    (folder / "genes.gtf").write_text(GENES)
    return write_model(folder / "model", random_weights(rng, N)), atlas, folder / "genes.gtf"


def test_two_workers_measure_what_one_process_does(cluster, stores, monkeypatch):
    monkeypatch.setattr(ranking, "_UNIT_PAIRS", 1)
    one, two = (atlasbasset.evaluate(*stores[:2], split="all", workers=n) for n in (0, 2))
    np.testing.assert_allclose(two.per_cell, one.per_cell, rtol=0, atol=1e-6)
    np.testing.assert_allclose(two.per_peak, one.per_peak, rtol=0, atol=1e-6)
    assert two.certainty.positive_share == one.certainty.positive_share


def test_two_workers_predict_the_genes_of_one_process(cluster, stores, monkeypatch):
    model, atlas, genes = stores
    monkeypatch.setattr("atlasbasset.verbs.embed.variables._UNIT_CELLS", 16)
    options = {"variables": "genes", "atlas": atlas, "genes": genes}
    one, two = (atlasbasset.embed(model, workers=n, **options) for n in (0, 2))
    assert one.n_vars > 3
    np.testing.assert_allclose(two.X, one.X, rtol=0, atol=1e-6)


@dataclass(frozen=True)
class SharedArray:
    """Work that says whether its array is the node's, and not its own."""

    array: np.ndarray

    def __call__(self, unit):
        held = self.array.flags
        return {"is_shared": not held.owndata and not held.writeable, "at": unit["start"]}


def test_actors_of_a_node_share_the_arrays_of_their_work(cluster):
    work = SharedArray(np.arange(1 << 20))
    found = [row for _, row in RayExecutor(WorkerPool(2)).run(work, [{"start": 0, "stop": 1}] * 3)]
    assert found == [{"is_shared": True, "at": 0}] * 3
