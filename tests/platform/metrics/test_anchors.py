"""Anchors and imputed expression, against a plain loop and on cells whose kind is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from atlasbasset.metrics.anchors import Anchors, find_anchors, impute, joint_components
from atlasbasset.metrics.coembedding import paired_ranks

KINDS = np.arange(120) % 4


@pytest.fixture
def spaces(rng):
    """The same cells twice, with noise: four kinds on a sphere."""
    centres = rng.normal(size=(4, 6))
    found = [centres[KINDS] + 0.2 * rng.normal(size=(120, 6)) for _ in range(2)]
    return [table / np.linalg.norm(table, axis=1, keepdims=True) for table in found]


def nearest(a, b, k):
    return [set(row) for row in np.argsort(cdist(a, b), axis=1)[:, :k]]


def test_anchors_are_mutual_nearest_neighbours_scored_by_common_ones(rng):
    atac = rng.normal(size=(120, 4))
    rna = atac + 0.7 * rng.normal(size=(120, 4))
    to_rna, to_atac = nearest(atac, rna, 5), nearest(rna, atac, 5)
    wanted = {(a, b) for a in range(120) for b in to_rna[a] if a in to_atac[b]}
    found = find_anchors(atac, rna)
    assert set(zip(found.atac.tolist(), found.rna.tolist(), strict=True)) == wanted
    of_atac = [(x, y) for x, y in zip(nearest(atac, atac, 30), nearest(atac, rna, 30), strict=True)]
    of_rna = [(x, y) for x, y in zip(nearest(rna, atac, 30), nearest(rna, rna, 30), strict=True)]
    raw = np.array(
        [
            sum(len(x & y) for x, y in zip(of_atac[a], of_rna[b], strict=True))
            for a, b in zip(found.atac, found.rna, strict=True)
        ]
    )
    low, high = np.quantile(raw, (0.01, 0.9))
    np.testing.assert_allclose(found.score, np.clip((raw - low) / (high - low), 0, 1))


def test_expression_is_a_mean_over_near_anchors_by_weight(rng):
    anchors = Anchors(np.array([0, 1, 2]), np.array([2, 0, 1]), np.array([1.0, 0.5, 0.9]))
    embedding, expression = rng.normal(size=(5, 2)), rng.normal(size=(3, 4))
    found = impute(anchors, embedding, expression)
    for cell in range(5):
        d = np.linalg.norm(embedding[[0, 1, 2]] - embedding[cell], axis=1)
        weight = 1 - np.exp(-(1 - d / d.max()) * anchors.score / 4)
        expected = (weight / weight.sum()) @ expression[[2, 0, 1]]
        np.testing.assert_allclose(found[cell], expected)


def test_cells_come_near_their_own_rna_and_not_by_chance(spaces, rng):
    profiles = rng.normal(size=(4, 50))
    expression = profiles[KINDS] + 0.5 * rng.normal(size=(120, 50))
    order = rng.permutation(120)  # nothing is told of the pairing
    anchors = find_anchors(spaces[0], spaces[1][order])
    imputed = impute(anchors, spaces[0], expression[order])
    assert paired_ranks(*joint_components(imputed, expression)).share_nearer < 0.2
    wrong = anchors._replace(rna=rng.permutation(anchors.rna))
    by_chance = impute(wrong, spaces[0], expression[order])
    assert paired_ranks(*joint_components(by_chance, expression)).share_nearer > 0.4
