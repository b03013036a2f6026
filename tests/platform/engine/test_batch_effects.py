"""Batches' effects over workers: from labels, cells solved on given peaks' embeddings."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from atlasbasset.core.cells import CellLayer
from atlasbasset.core.runtime import LocalRuntime
from atlasbasset.engine import batch_effects
from atlasbasset.engine.batch_effects import BatchSettings, estimate_effects, solve_effects
from atlasbasset.engine.batch_start import inseparable_batches

CPU = torch.device("cpu")
N, P, DIM = 240, 400, 3
GIVEN = BatchSettings("given_state", l2=1.0)


class ThreadRuntime:
    """One of several workers that are threads of this process."""

    device = CPU

    def __init__(self, rank, meeting, kept):
        self.rank, self.world, self._meeting, self._kept = rank, meeting.parties, meeting, kept

    def sum_(self, tensor):
        self._kept[self.rank] = tensor.clone()
        self._meeting.wait()
        total = sum(self._kept[rank] for rank in range(self.world))
        self._meeting.wait()
        return total


def on_workers(work, world):
    meeting, kept, found = threading.Barrier(world, timeout=60), {}, {}

    def one(rank):
        found[rank] = work(ThreadRuntime(rank, meeting, kept), rank)

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[rank] for rank in range(world)]


def planted(effect, seed=0):
    """Two states in unlike shares of two batches: (h, sums over open peaks, batch)."""
    rng = np.random.default_rng(seed)
    h = rng.normal(size=(P, DIM)).astype(np.float32)
    batch = rng.integers(0, 2, N)
    state = (rng.random(N) < np.where(batch == 0, 0.8, 0.3)).astype(int)
    x = np.array([[1.5, 0, 0], [-1.5, 0, 0]])[state] + np.asarray(effect)[batch]
    labels = rng.random((N, P)) < 1 / (1 + np.exp(1 - x @ h.T))
    return h, labels @ np.column_stack([h, np.ones(P)]).astype(float), batch


def found_by(world, effect, splits=(100,)):
    h, sums, batch = planted(effect)
    bounds = [0, *splits[: world - 1], N]

    def work(runtime, rank):
        rows = slice(bounds[rank], bounds[rank + 1])
        cells = CellLayer(
            rows.stop - rows.start, DIM, batch=torch.from_numpy(batch[rows]), n_batches=2
        )
        return solve_effects(cells, torch.from_numpy(h), sums[rows], runtime, GIVEN)

    return on_workers(work, world)


EFFECT = [[0, 0.8, 0], [0, -0.8, 0]]


def test_a_planted_effect_is_found_and_composition_left():
    (found,) = found_by(1, EFFECT)
    difference = (found.effects[0] - found.effects[1]).numpy()
    np.testing.assert_allclose(difference, [0, 1.6, 0], atol=0.1)  # 0.05: l2's
    assert found.groups.tolist() == [0, 0]
    (none,) = found_by(1, np.zeros((2, DIM)))
    assert none.effects.abs().max() < 0.03


def test_two_workers_find_what_one_does():
    (whole,) = found_by(1, EFFECT)
    for found in found_by(2, EFFECT):
        torch.testing.assert_close(found.effects, whole.effects, atol=1e-6, rtol=1e-5)
        np.testing.assert_array_equal(found.groups, whole.groups)


def test_the_sample_is_the_same_cells_on_any_workers():
    batch = np.random.default_rng(1).integers(0, 4, N)
    batch[batch == 3] = np.where(np.arange((batch == 3).sum()) < 5, 3, 0)  # a batch of five cells

    def chosen(world, bounds):
        def work(runtime, rank):
            rows = slice(bounds[rank], bounds[rank + 1])
            own = torch.from_numpy(batch[rows])
            cells = CellLayer(len(own), DIM, batch=own, n_batches=4)
            sample = batch_effects._sampled(cells, runtime, seed=7, n_cells=60, least=10)
            return sample.rows + rows.start, sample.slots, sample.batch

        parts = on_workers(work, world)
        cell = np.concatenate([rows for rows, _, _ in parts])
        slot = np.concatenate([slots for _, slots, _ in parts])
        return cell[np.argsort(slot)], parts[0][2]

    cells, batches = chosen(1, [0, N])
    assert np.bincount(batches).tolist() == [15, 15, 15, 5]
    assert len(np.unique(cells)) == len(cells)
    np.testing.assert_array_equal(batch[cells], batches)
    for bounds in ([0, 3, N], [0, 200, N]):
        np.testing.assert_array_equal(chosen(2, bounds)[0], cells)


def test_cells_as_they_stand():
    """Rows of cells and batches together count, however they are divided."""
    rng = np.random.default_rng(2)
    h = torch.from_numpy(rng.normal(size=(P, DIM)).astype(np.float32))
    batch = torch.from_numpy(rng.integers(0, 2, N))
    cells = CellLayer(N, DIM, batch=batch, n_batches=2)
    effects = torch.tensor([[2.0, 0, 0], [-2.0, 0, 0]])
    states = torch.tensor([[0, 5.0, 0], [0, -5.0, 0]])[torch.from_numpy(rng.integers(0, 2, N))]
    noise = torch.from_numpy(rng.normal(size=(N, DIM)).astype(np.float32))
    with torch.no_grad():
        cells.batch_embedding.copy_(torch.tensor([[9.0, 9, 9], [0, 0, 0]]))
        cells.embedding.copy_(states + noise + effects[batch] - cells.batch_embedding[batch])
    found = estimate_effects(cells, h, LocalRuntime(CPU), GIVEN)
    np.testing.assert_allclose(found.effects, effects, atol=0.3)


def test_what_is_said_of_batches_that_cannot_be_told():
    names = ["d1", "d2", "d3"]
    assert inseparable_batches("donor", names, np.zeros(3, int), given_state=True) is None
    said = inseparable_batches("donor", names, np.array([0, 1, 0]), given_state=True)
    assert "'donor'" in said
    assert "d1, d3 | d2" in said
    assert "no difference between these groups is corrected" in said
    assert "composition" not in said
    said = inseparable_batches("donor", names, np.array([0, 1, 0]), given_state=False)
    assert "every difference" in said


@pytest.mark.parametrize("n_batches", [20])
def test_many_groups_are_counted(n_batches):
    names = [f"d{i}" for i in range(n_batches)]
    said = inseparable_batches("donor", names, np.arange(n_batches), given_state=True)
    assert "d4 | and 15 more" in said
