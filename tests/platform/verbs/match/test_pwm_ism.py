from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr

from atlasbasset.verbs.match.hits import find_hits
from atlasbasset.verbs.match.null import draw_null
from atlasbasset.verbs.match.pwm_ism import score_sites
from atlasbasset.verbs.match.site_scores import site_scores
from atlasbasset.verbs.match.sizes import Sizes
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


def letters(text):
    return np.array(["ACGTN".index(letter) for letter in text], np.uint8)


def sharp(name, text):
    return Motif(name, name, np.eye(4)[letters(text)])


@pytest.mark.parametrize("n_unknown", [0, 1, 5, 10])
@pytest.mark.parametrize("at_end", [False, True])
def test_no_site_holds_an_unknown_base(n_unknown, at_end):
    codes = letters("TGACTCAGCA")
    codes[10 - n_unknown :] = 4
    if at_end:
        codes = np.roll(codes, n_unknown)
    found = find_hits([sharp("AP1", "TGACTCAGCA")], codes[None], p=1e-3)
    assert len(found) == (n_unknown == 0)


def test_unknown_bases_between_sites_keep_their_places():
    site = "TGACTCAGCA"
    codes = np.stack([letters("NN" + site + "N" * 7 + site + "N"), letters("N" * 20 + site)])
    for n in (30, 1344):
        assert len(find_hits([sharp("m", site)], np.full((2, n), 4, np.uint8), p=1e-3)) == 0
    found = find_hits([sharp("m", site)], codes, p=1e-5)
    assert found.sequence.tolist() == [0, 0, 1]
    assert found.start.tolist() == [2, 19, 20]


@pytest.mark.parametrize("second", ["b", "a"])
def test_motifs_of_one_name_are_both_found(rng, second):
    codes = rng.integers(0, 4, (1, 300), dtype=np.uint8)
    codes[0, 10:18], codes[0, 60:68] = letters("TGACTCAG"), letters("GGGCGGGG")
    found = find_hits([sharp("a", "TGACTCAG"), sharp(second, "GGGCGGGG")], codes, p=1e-4)
    assert list(zip(found.motif.tolist(), found.start.tolist(), strict=True)) == [(0, 10), (1, 60)]


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


class Scored:
    """Regions with scores, as `draw_null` reads them."""

    def __init__(self, codes, scores):
        self._codes, self._scores = codes, scores
        self.n_regions, self.n_groups = len(codes), scores.shape[-1]

    def codes(self, start, stop):
        return self._codes[start:stop]

    def scores(self, start, stop):
        return self._scores[start:stop]


def scored(folder, motifs, codes, scores, **changes):
    options = {"method": "pearson", "hit_p": 1e-2} | changes
    null_options = {"n_null": 2000, "seed": 1, "at_once": 16} | options
    scores = scores.astype(np.float32)
    null = draw_null(motifs, Scored(codes, scores), folder=folder, **null_options)
    options = {name: options[name] for name in ("method", "hit_p", "sizes") if name in options}
    return score_sites(motifs, codes, scores, null, **options)


@pytest.mark.parametrize("method", ["pearson", "dot"])
def test_a_site_that_matters_stands_out_in_its_group_alone(rng, tmp_path, method):
    codes = rng.integers(0, 4, (2, 400), dtype=np.uint8)
    scores = normalised(rng.normal(size=(2, 400, 4, 2)))
    codes[1, 50 : 50 + WIDTH] = 3 - SITE[::-1]
    scores[1, 50 : 50 + WIDTH, :, 0] = 5 * (PROBABILITIES[::-1, ::-1] - 0.25)
    found = scored(tmp_path, [MOTIF], codes, scores, method=method)
    hits = found.hits
    at = np.flatnonzero((hits.sequence == 1) & (hits.start == 50) & hits.reverse)
    assert len(at) == 1
    assert found.n_null[at[0]] == 2000
    assert found.p[at[0], 0] == 1 / 2001
    assert found.p[at[0], 1] > 0.01


def blocks(rng, n_regions, span_bp, *, by_base=(1, 1, 1, 1)):
    """Importance in blocks that have nothing to do with the bases; `by_base` is how much more."""
    codes = rng.integers(0, 4, (n_regions, span_bp), dtype=np.uint8)
    own = 0.1 * np.abs(rng.normal(size=codes.shape))
    for region in own:
        for width in rng.integers(8, 20, rng.integers(1, 6)):
            start = rng.integers(0, span_bp - width)
            region[start : start + width] = rng.gamma(4) * rng.gamma(8, 1 / 8, width)
        region *= rng.gamma(2)  # some regions matter more throughout
    own *= np.array(by_base)[codes]
    scores = -own[..., None] * rng.normal(1, 0.2, (*codes.shape, 4))
    np.put_along_axis(scores, codes[..., None].astype(int), own[..., None], axis=2)
    return codes, normalised(scores)[..., None]


@pytest.mark.parametrize("method", ["pearson", "dot"])
@pytest.mark.parametrize("by_base", [(1, 1, 1, 1), (1, 3, 3, 1)])
def test_p_values_are_uniform_where_importance_comes_in_blocks(tmp_path, method, by_base):
    rng = np.random.default_rng(7)
    codes, scores = blocks(rng, 150, 300, by_base=by_base)
    widths = rng.integers(7, 14, 40)
    motifs = [Motif(f"M{w}", f"M{w}", rng.dirichlet([0.2] * 4, w)) for w in widths]
    found = scored(tmp_path, motifs, codes, scores, method=method, hit_p=2e-3)
    p = found.p[:, 0]
    assert len(p) > 5000
    for share in (0.5, 0.2, 0.05, 0.01):
        error = 4 * np.sqrt(share * (1 - share) / len(p))  # sites on one block are not independent
        assert (p <= share).mean() == pytest.approx(share, abs=max(error, 0.2 * share))
    assert 0.04 <= (p < 0.05).mean() <= 0.06


def test_few_words_and_places_are_each_taken_once(tmp_path, rng):
    codes = np.full((1, 40), 4, np.uint8)
    codes[0, 3 : 3 + WIDTH] = SITE
    codes[0, 12:40] = 1  # 28 - WIDTH + 1 places without a site
    scores = normalised(rng.normal(size=(1, 40, 4, 1)))
    scores[0, 3 : 3 + WIDTH, :, 0] = PROBABILITIES - 0.25
    found = scored(tmp_path, [MOTIF], codes, scores, hit_p=1e-3)
    assert found.hits.start.tolist() == [3]
    assert found.n_null.tolist() == [28 - WIDTH + 1]
    assert found.p[0, 0] == 1 / (1 + 28 - WIDTH + 1)


def test_no_chance_site_holds_an_unknown_base_and_all_unknown_is_fine(tmp_path, rng):
    sharp = Motif("s", "s", np.eye(4)[SITE])
    codes = rng.integers(0, 4, (4, 200), dtype=np.uint8)
    codes[1] = codes[:, ::9] = codes[2, 40:] = 4
    codes[3, 55 : 55 + WIDTH] = SITE
    codes[3, 100:] = 4
    scores = normalised(rng.normal(size=(4, 200, 4, 1)))
    scores[codes == 4] = np.nan  # shows in a score that took it in
    found = scored(tmp_path, [sharp], codes, np.where(np.isnan(scores), 1e9, scores), hit_p=1e-3)
    assert (found.hits.sequence == 3).all()
    assert found.hits.start.tolist() == [55]
    for row, start in zip(found.hits.sequence, found.hits.start, strict=True):
        assert (codes[row, start : start + WIDTH] < 4).all()
    assert np.abs(found.score).max() <= 1


def test_a_motif_does_not_depend_on_the_others_nor_on_the_cut(tmp_path, rng):
    other = Motif("M2", "TF2", PROBABILITIES[::-1].copy())
    codes, scores = blocks(rng, 12, 150)
    whole = scored(tmp_path, [other, MOTIF], codes, scores)
    finely = Sizes(part_bytes=1, scores=1)
    alone = scored(tmp_path, [MOTIF], codes, scores, at_once=1, sizes=finely)
    np.testing.assert_array_equal(whole.p[whole.hits.motif == 1], alone.p)


def test_of_many_regions_some_are_drawn_from(tmp_path, rng):
    codes, scores = blocks(rng, 12, 150)
    read = []

    class Noted(Scored):
        def scores(self, start, stop):
            read.append((start, stop))
            return super().scores(start, stop)

    options = {"method": "dot", "hit_p": 1e-2, "n_null": 300, "at_once": 2, "folder": tmp_path}
    null = draw_null(
        [MOTIF], Noted(codes, scores.astype(np.float32)), seed=3, most_regions=5, **options
    )
    assert null.n.tolist() == [300]
    assert len({row for a, b in read for row in range(a, b)}) == 5
    assert max(b - a for a, b in read) <= 2
