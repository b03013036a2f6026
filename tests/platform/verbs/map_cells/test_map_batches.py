"""Batches of new cells: known rows are kept, effects of new ones are found and taken away."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit

import atlasbasset
from atlasbasset.core.newton import solve_cells
from atlasbasset.verbs.map_cells.plan import plan_map_cells
from atlasbasset.verbs.shared import embed_peaks_work
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import UserInputError
from atlasstore.events import Notice, ignore
from atlasstore.models.model_store import ModelStore
from small_atlas import make_atlas
from small_model import TINY, random_weights, write_model

if TYPE_CHECKING:
    from collections.abc import Iterator

N, P, E = 240, 500, TINY.embedding_dim
OFFSET = 1.5
"""How far a batch is moved, in sd of logits over peaks."""


class World(NamedTuple):
    model: str
    atlas: str
    h: np.ndarray
    """What the trunk is taken to make of the peaks: random, unlike what a random trunk makes."""
    states: np.ndarray
    state: np.ndarray
    batch: np.ndarray


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Iterator[World]:
    """A model of two batches with cells in three states; new cells of batch1 and of two new ones.

    The first new batch lies OFFSET away, in the second one nothing differs.
    """
    folder, rng = tmp_path_factory.mktemp("world"), np.random.default_rng(3)
    h = rng.normal(size=(P, E)).astype(np.float32)
    weights = random_weights(rng, N, n_batches=2)
    states = 1.5 * np.linalg.qr(rng.normal(size=(E, 3)))[0].T
    weights.embedding[:] = states[np.arange(N) % 3] + 0.15 * rng.normal(size=(N, E))
    weights.batch_embedding[:] = 0.5 * rng.normal(size=(2, E))
    model = write_model(folder / "model", weights)
    state, batch = np.arange(N) % 3, np.arange(N) // 3 % 3
    moved = rng.normal(size=E)
    moved *= OFFSET / np.linalg.norm(moved)
    offsets = np.stack([weights.batch_embedding[1], moved, np.zeros(E)])
    x = states[state] + 0.1 * rng.normal(size=(N, E)) + offsets[batch]
    labels = rng.random((N, P)) < expit(x @ h.T - 0.5)
    names = np.array(["batch1", "moved", "same"])
    codes = rng.integers(0, 4, (P, TINY.window_bp + 6), dtype=np.uint8)
    more = {"lane": pd.Categorical(names[batch])}
    atlas = make_atlas(folder / "atlas", labels, codes, max_block_cells=100, more_obs=more)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(embed_peaks_work, "embed_peaks", lambda _m, _a, rows, **_: h[rows])
        yield World(model, atlas, h, states, state, batch)


@pytest.fixture(scope="module")
def mapped(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("mapped") / "m"
    atlasbasset.map_cells(
        world.model, world.atlas, out=out, batch_key="lane", split="all", l2=1.0,
        standard_errors=True, on_event=ignore,
    )  # fmt: skip
    return out


def gaps(world, embedding: np.ndarray) -> np.ndarray:
    """Distance of the mean of every batch's cells in every state from the state, (batch, state)."""
    means = [
        [embedding[(world.batch == b) & (world.state == s)].mean(0) for s in range(3)]
        for b in range(3)
    ]
    return np.linalg.norm(np.array(means) - world.states, axis=2)


def test_new_batches_lie_among_the_models_cells_state_by_state(world, mapped) -> None:
    new = atlasbasset.load_model(mapped, device="cpu")
    together, _ = new.table()  # what a map without batches shows
    assert gaps(world, together)[1].min() > 1.0
    assert gaps(world, new.cell_embedding).max() < 0.35


def test_known_batches_keep_their_rows(world, mapped) -> None:
    new = atlasbasset.load_model(mapped, device="cpu")
    reference = atlasbasset.load_model(world.model, device="cpu")
    assert new.batches == ("batch1", "moved", "same")
    np.testing.assert_array_equal(new.batch_embedding[0], reference.batch_embedding[1])
    np.testing.assert_array_equal(new.batch_intercept, [reference.batch_intercept[1], 0, 0])
    assert (new.batch == world.batch).all()
    found = np.linalg.norm(new.batch_embedding, axis=1)
    assert found[1] == pytest.approx(OFFSET, abs=0.25)
    assert found[2] < 0.25


def test_cells_and_batches_together_are_the_solution_around_the_batches_rows(world, mapped) -> None:
    new = atlasbasset.load_model(mapped, device="cpu")
    labels = Atlas.open(world.atlas).to_anndata().X.toarray().astype(float)
    sums = labels @ np.c_[world.h, np.ones(P)]
    prior = torch.from_numpy(new.batch_embedding[new.batch])
    wanted = solve_cells(torch.from_numpy(world.h), torch.from_numpy(sums), l2=1.0, prior=prior)
    embedding, intercept = new.table()
    np.testing.assert_allclose(embedding, wanted.embedding, atol=1e-4)
    np.testing.assert_allclose(intercept, wanted.intercept, atol=1e-4)


def test_standard_errors_are_stored(mapped) -> None:
    errors = ModelStore.open(mapped).newest().rows("solve/standard_error", 0, N)
    assert errors.shape == (N, E)
    assert ((errors > 0) & (errors < 1)).all()  # below that of the prior
    cells = atlasbasset.embed(mapped)
    assert np.array_equal(cells.obsm["scbasset_standard_error"], errors)


def test_a_batch_of_other_cells_is_left_as_it_is_and_named(world, tmp_path) -> None:
    rng = np.random.default_rng(9)
    x = 4 * rng.normal(size=E) + 0.1 * rng.normal(size=(60, E))
    labels = rng.random((60, P)) < expit(x @ world.h.T - 0.5)
    codes = Atlas.open(world.atlas).sequence_codes(0, P)
    other = make_atlas(tmp_path / "atlas", labels, codes, more_obs={"lane": ["far"] * 60})
    events: list[object] = []
    out = tmp_path / "m"
    atlasbasset.map_cells(
        world.model, other, out=out, batch_key="lane", split="all", l2=1.0, on_event=events.append
    )
    told = [event.message for event in events if isinstance(event, Notice)]
    assert any("Nothing joins batches far" in message for message in told)
    assert not atlasbasset.load_model(out).batch_embedding.any()


def test_a_batch_corrected_model_asks_for_batches(world, tmp_path) -> None:
    with pytest.raises(UserInputError, match=r"is batch-corrected .* name their column"):
        plan_map_cells(world.model, world.atlas, out=tmp_path / "m")
    plan = plan_map_cells(world.model, world.atlas, out=tmp_path / "m", batch_key="lane")
    assert "3 of 'lane': 1 of the model, 2 new" in str(plan)
    assert not list(tmp_path.iterdir())


def test_cells_without_a_batch_are_refused(world, tmp_path) -> None:
    atlas = Atlas.open(world.atlas)
    lanes = atlas.obs["lane"].astype(object)
    lanes.iloc[:7] = None
    atlas.obs = atlas.obs.assign(lane=lanes)
    with pytest.raises(UserInputError, match=r"7 of 240 cells .* have no batch in 'lane'"):
        plan_map_cells(world.model, atlas, out=tmp_path / "m", batch_key="lane")
