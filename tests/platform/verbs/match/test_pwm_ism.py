from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest, pearsonr

from atlasbasset.verbs.match.hits import find_hits
from atlasbasset.verbs.match.pwm_ism import score_sites, shuffled_positions, site_scores
from atlasstore.genome.motifs import Motif
from small_ism import normalised

pytest.importorskip("memelite", reason="memelite is not installed")

PROBABILITIES = np.array(
    [[0.9, 0.05, 0.03, 0.02], [0.1, 0.2, 0.6, 0.1], [0.02, 0.9, 0.04, 0.04], [0.05, 0.05, 0.1, 0.8]]
    + [[0.85, 0.05, 0.05, 0.05]] * 3
)
MOTIF = Motif("M1", "TF1", PROBABILITIES)
SITE = np.array([0, 2, 1, 3, 0, 0, 0], np.uint8)  # AGCTAAA
WIDTH = len(SITE)


def test_sites_on_both_strands_to_both_ends(rng):
    codes = np.full((3, 40), 4, np.uint8)
    codes[0, :WIDTH] = SITE
    codes[1, -WIDTH:] = SITE
    codes[2, 11 : 11 + WIDTH] = 3 - SITE[::-1]
    hits = find_hits([MOTIF], codes, p=1e-3)
    best = hits.p < 2e-4
    assert hits.sequence[best].tolist() == [0, 1, 2]
    assert hits.start[best].tolist() == [0, 40 - WIDTH, 11]
    assert hits.reverse[best].tolist() == [False, False, True]


def test_hits_are_ordered_by_motif_and_none_is_fine(rng):
    other = Motif("M2", "TF2", PROBABILITIES[::-1].copy())
    codes = rng.integers(0, 4, (20, 300), dtype=np.uint8)
    hits = find_hits([MOTIF, other], codes, p=1e-2)
    assert (np.diff(hits.motif) >= 0).all()
    assert [motif for motif, _ in hits.by_motif()] == [0, 1]
    assert sum(at.stop - at.start for _, at in hits.by_motif()) == len(hits)
    assert len(find_hits([MOTIF], np.full((2, 30), 4, np.uint8), p=1e-3)) == 0


@pytest.mark.parametrize("reverse", [False, True])
def test_a_sites_score(rng, reverse):
    effects = normalised(rng.normal(size=(1, WIDTH, 4, 2))).astype(np.float32)
    pwm = PROBABILITIES[::-1, ::-1] if reverse else PROBABILITIES
    flags = np.array([reverse])
    dot = site_scores(MOTIF, effects, flags, method="dot")[0]
    r = site_scores(MOTIF, effects, flags, method="pearson")[0]
    for group in range(2):
        of_group = effects[0, ..., group]
        assert dot[group] == pytest.approx((pwm * of_group).sum(), rel=1e-5)
        assert r[group] == pytest.approx(pearsonr(pwm.ravel(), of_group.ravel())[0], rel=1e-5)


def test_scores_like_the_motif_correlate_fully_and_none_not_at_all():
    effects = np.stack([PROBABILITIES - 0.25, np.zeros_like(PROBABILITIES)], -1)[None]
    found = site_scores(MOTIF, effects.astype(np.float32), np.array([False]), method="pearson")
    np.testing.assert_allclose(found, [[1, 0]], atol=1e-6)


def dinucleotides(codes):
    return np.bincount(codes[:-1] * 5 + codes[1:], minlength=25)


def test_shuffled_positions_keep_dinucleotides(rng):
    codes = rng.choice(5, 200, p=[0.4, 0.1, 0.2, 0.25, 0.05]).astype(np.uint8)
    orders = shuffled_positions(codes, 4, rng)
    assert len({order.tobytes() for order in orders}) == 4
    for order in orders:
        assert sorted(order) == list(range(200))  # each position once, with its base and scores
        np.testing.assert_array_equal(dinucleotides(codes[order]), dinucleotides(codes))
        np.testing.assert_array_equal(codes[order] == 4, codes == 4)


def scored(codes, scores, **changes):
    options = {"method": "pearson", "hit_p": 1e-2, "n_shuffles": 60} | changes
    rngs = [np.random.default_rng([1, region]) for region in range(len(codes))]
    return score_sites([MOTIF], codes, scores, **options, rngs=rngs)


def test_a_site_that_matters_stands_out_in_its_group_alone(rng):
    codes = rng.integers(0, 4, (2, 400), dtype=np.uint8)
    scores = normalised(rng.normal(size=(2, 400, 4, 2))).astype(np.float32)
    codes[1, 50 : 50 + WIDTH] = 3 - SITE[::-1]
    scores[1, 50 : 50 + WIDTH, :, 0] = 5 * (PROBABILITIES[::-1, ::-1] - 0.25)
    for method in ("pearson", "dot"):
        found = scored(codes, scores, method=method)
        hits = found.hits
        at = np.flatnonzero((hits.sequence == 1) & (hits.start == 50) & hits.reverse)
        assert len(at) == 1
        assert found.n_null[at[0]] > 100
        assert found.p[at[0], 0] == 1 / (1 + found.n_null[at[0]])
        assert found.p[at[0], 1] > found.p[at[0], 0]


def test_p_values_of_noise_are_uniform(rng):
    codes = rng.integers(0, 4, (40, 300), dtype=np.uint8)
    scores = normalised(rng.normal(size=(40, 300, 4, 1))).astype(np.float32)
    # bases that stand there matter more throughout: no evidence for any motif
    np.put_along_axis(
        scores, codes[..., None, None].astype(int), rng.gamma(2, size=(40, 300, 1, 1)), axis=2
    )
    p = scored(codes, normalised(scores)).p[:, 0]
    assert len(p) > 100
    assert kstest(p, "uniform").pvalue > 0.01


def test_a_region_does_not_depend_on_the_others(rng):
    codes = rng.integers(0, 4, (3, 200), dtype=np.uint8)
    scores = normalised(rng.normal(size=(3, 200, 4, 1))).astype(np.float32)
    whole, first = scored(codes, scores), scored(codes[:1], scores[:1])
    in_first = whole.hits.sequence == 0
    np.testing.assert_array_equal(whole.p[in_first], first.p)
