"""Label and neighbor score on hand-known cells and against a plain computation."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from atlasbasset.metrics import label_score, neighbor_score
from atlasstore.errors import UserInputError


def plain_label_score(embedding: np.ndarray, labels: np.ndarray, k: int) -> float:
    away = np.linalg.norm(embedding[:, None] - embedding[None], axis=2)
    np.fill_diagonal(away, np.inf)
    found = np.argsort(away, axis=1)[:, :k]
    return float((labels[found] == labels[:, None]).mean())


def test_hand_known_line() -> None:
    # on a line at 0, 1, 3, 7: nearest neighbours 1, 0, 1, 2
    embedding = np.array([[0.0], [1.0], [3.0], [7.0]])
    found = label_score(embedding, ["a", "a", "b", "b"], ks=(1, 3))
    assert found.mean == {1: 0.75, 3: pytest.approx(1 / 3)}
    assert found.by_label == {
        "a": {1: 1.0, 3: pytest.approx(1 / 3)},
        "b": {1: 0.5, 3: pytest.approx(1 / 3)},
    }
    assert found.chance == pytest.approx(1 / 3)


def test_matches_plain_distances(rng: np.random.Generator) -> None:
    embedding = rng.normal(size=(150, 32)).astype(np.float32)
    labels = rng.integers(0, 4, 150)
    found = label_score(embedding, labels)
    for k in (10, 50, 100):
        assert found.mean[k] == pytest.approx(plain_label_score(embedding, labels, k), abs=1e-12)


def test_copies_of_one_cell_never_count_the_cell_itself() -> None:
    # 8 copies: a search for 3 + 1 neighbours need not return the query, yet 3 are kept
    embedding = np.concatenate([np.zeros((8, 2)), np.ones((8, 2))])
    found = label_score(embedding, np.repeat(["x", "y"], 8), ks=(3, 7))
    assert found.mean == {3: 1.0, 7: 1.0}


def test_ks_not_below_the_cells_are_left_out(rng: np.random.Generator) -> None:
    found = label_score(rng.normal(size=(20, 3)), ["a"] * 20, ks=(100, 10, 20, 19))
    assert found.mean == {10: 1.0, 19: 1.0}
    assert found.ks_left_out == (20, 100)
    with pytest.raises(UserInputError, match="below the number of cells"):
        label_score(rng.normal(size=(5, 3)), ["a"] * 5, ks=(10, 50))
    with pytest.raises(UserInputError, match="k must be 1 or more"):
        label_score(rng.normal(size=(5, 3)), ["a"] * 5, ks=(0, 2))


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_cells_without_a_label_are_left_out(missing: object) -> None:
    embedding = np.array([[0.0], [0.1], [1.0], [5.0]])
    found = label_score(embedding, pd.Series(["a", missing, "a", "b"], dtype=object), ks=(1,))
    assert (found.n_cells, found.n_unlabelled) == (3, 1)
    assert found.by_label == {"a": {1: 1.0}, "b": {1: 0.0}}


def test_a_categorical_column_of_obs_works() -> None:
    labels = pd.Categorical(["a", "a", "b", None], categories=["unused", "b", "a"])
    found = label_score(np.array([[0.0], [1.0], [9.0], [2.0]]), labels, ks=(1,))
    assert set(found.by_label) == {"a", "b"}


def test_a_sample_of_queries_is_seeded_and_said(rng: np.random.Generator) -> None:
    embedding, labels = rng.normal(size=(400, 4)), rng.integers(0, 2, 400)
    sample = label_score(embedding, labels, ks=(10,), n_queries=100, seed=3)
    assert sample == label_score(embedding, labels, ks=(10,), n_queries=100, seed=3)
    assert sample != label_score(embedding, labels, ks=(10,), n_queries=100, seed=4)
    assert (sample.n_cells, sample.n_queries) == (400, 100)
    whole = label_score(embedding, labels, ks=(10,))
    assert whole.n_queries == 400
    # 100 queries of 10 neighbours: standard error below 0.03
    assert sample.mean[10] == pytest.approx(whole.mean[10], abs=0.1)


def test_neighbor_score_of_an_embedding_with_itself_and_a_rotation(
    rng: np.random.Generator,
) -> None:
    embedding = rng.normal(size=(120, 6))
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    assert neighbor_score(embedding, embedding @ turn, ks=(5, 50)).mean == {5: 1.0, 50: 1.0}


def test_neighbor_score_hand_known() -> None:
    first = np.array([[0.0], [1.0], [3.0], [7.0]])  # nearest 1, 0, 1, 2
    second = np.array([[0.0], [1.0], [7.0], [3.0]])  # nearest 1, 0, 3, 1
    assert neighbor_score(first, second, ks=(1, 3)).mean == {1: 0.5, 3: 1.0}


def test_neighbor_score_of_unrelated_embeddings_is_chance(rng: np.random.Generator) -> None:
    found = neighbor_score(rng.normal(size=(500, 5)), rng.normal(size=(500, 5)), ks=(50,))
    assert found.mean[50] == pytest.approx(50 / 499, abs=0.01)


def test_wrong_input_is_one_sentence(rng: np.random.Generator) -> None:
    embedding = rng.normal(size=(30, 3))
    with pytest.raises(UserInputError, match="29 labels for 30 cells"):
        label_score(embedding, ["a"] * 29)
    with pytest.raises(UserInputError, match="No cell has a label"):
        label_score(embedding, [None] * 30)
    with pytest.raises(UserInputError, match="30 and 29 cells"):
        neighbor_score(embedding, embedding[1:])
    with pytest.raises(UserInputError, match="second embedding has NaN"):
        neighbor_score(embedding, np.full((30, 3), np.nan))
    with pytest.raises(UserInputError, match="cells x numbers table"):
        label_score(embedding[0], ["a"] * 3)


def test_results_are_json(rng: np.random.Generator) -> None:
    embedding = rng.normal(size=(30, 3))
    told = json.loads(json.dumps(label_score(embedding, ["a"] * 30).as_json(), allow_nan=False))
    assert told["label_score"] == {"10": 1.0}
    assert told["ks_left_out"] == [50, 100]
    told = json.loads(json.dumps(neighbor_score(embedding, embedding).as_json()))
    assert told["neighbor_score"] == {"10": 1.0}
