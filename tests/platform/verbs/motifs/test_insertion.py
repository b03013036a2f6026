"""Backgrounds, motif sequences and their insertion, against the same done plainly."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from atlasbasset import load_model
from atlasbasset.batch.executor import WorkerPool
from atlasbasset.batch.model_source import ModelSource
from atlasbasset.verbs.motifs.insertion import (
    InsertMotifs,
    check_widths,
    create_inserted,
    insertion_start,
    insertion_units,
    mean_effects,
    motif_words,
    read_inserted,
    shuffled_peaks,
    unit_backgrounds,
)
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import CorruptStoreError, MotifError
from atlasstore.genome.motifs import Motif
from small_atlas import make_atlas, random_labels
from small_model import TINY, random_weights, write_model

P, L, E = 30, TINY.window_bp, TINY.embedding_dim


@pytest.fixture(scope="module")
def codes():
    return np.random.default_rng(5).integers(0, 4, (P, L + 6), dtype=np.uint8)


@pytest.fixture(scope="module")
def atlas(tmp_path_factory, codes):
    labels = random_labels(np.random.default_rng(6), 5, P)
    return Atlas.open(make_atlas(tmp_path_factory.mktemp("atlas") / "atlas", labels, codes))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    weights = random_weights(np.random.default_rng(7), 4)
    return load_model(write_model(tmp_path_factory.mktemp("model") / "model", weights))


@pytest.fixture(scope="module")
def motifs():
    rng = np.random.default_rng(8)
    widths = {"a": 7, "b": 12, "c": 7, "one": 1, "even": 8, "whole": L}
    return [Motif(n, n.upper(), rng.dirichlet(np.ones(4), w)) for n, w in widths.items()]


def pairs(sequence):
    return Counter(zip(sequence[:-1].tolist(), sequence[1:].tolist(), strict=True))


def test_the_centre_as_in_the_published_sequences():
    assert [insertion_start(1344, width) for width in (1, 2, 10, 11, 1344)] == [
        672, 671, 667, 667, 0,
    ]  # fmt: skip


def test_backgrounds_are_shuffles_of_distinct_peaks(atlas, codes):
    found = shuffled_peaks(atlas, np.arange(P), P, seed=3)
    windows = {tuple(sorted(pairs(window).items())) for window in codes[:, 3:-3]}
    assert {tuple(sorted(pairs(window).items())) for window in found} == windows
    assert found.shape == (P, L)
    assert not any((found == window).all(axis=1).any() for window in codes[:, 3:-3])


def test_backgrounds_come_from_the_rows_given_and_again_when_they_run_out(atlas, codes):
    rows = np.array([4, 19])
    found = shuffled_peaks(atlas, rows, 5, seed=3)
    sources = [[pairs(codes[row, 3:-3]) for row in rows].index(pairs(window)) for window in found]
    assert sorted(sources[:2]) == sorted(sources[2:4]) == [0, 1]
    assert len(np.unique(found, axis=0)) == 5


def test_the_first_backgrounds_and_words_do_not_hang_on_how_many(atlas, motifs):
    many = shuffled_peaks(atlas, np.arange(P), 40, seed=3)
    np.testing.assert_array_equal(shuffled_peaks(atlas, np.arange(P), 9, seed=3), many[:9])
    assert (shuffled_peaks(atlas, np.arange(P), 9, seed=4) != many[:9]).any()
    words = motif_words(motifs[1], 40, seed=3)
    np.testing.assert_array_equal(motif_words(motifs[1], 9, seed=3), words[:9])
    assert (motif_words(motifs[1], 40, seed=4) != words).any()


def test_words_follow_the_name_and_the_probabilities(motifs):
    p = motifs[0].probabilities
    words = motif_words(motifs[0], 20_000, seed=0)
    shares = np.stack([(words == base).mean(axis=0) for base in range(4)], axis=1)
    np.testing.assert_allclose(shares, p, atol=0.02)
    renamed = Motif("other", "A", p)
    assert (motif_words(renamed, 100, seed=0) != words[:100]).any()


@pytest.mark.parametrize(
    ("n_backgrounds", "n_motifs"), [(1, 1), (1000, 734), (65, 3), (10, 20_000)]
)
def test_units_cover_every_background_once(n_backgrounds, n_motifs):
    units = insertion_units(n_backgrounds, n_motifs)
    covered = [b for unit in units for b in range(unit["start"], unit["stop"])]
    assert covered == list(range(n_backgrounds))
    assert unit_backgrounds(n_motifs) * n_motifs <= max(12_288, n_motifs)


def source(model):
    return ModelSource.of(model, WorkerPool())


def insert(model, backgrounds, motifs, url, sizes):
    """Do the work in units of these sizes, the last one first."""
    create_inserted(url, len(backgrounds), len(motifs), E)
    edges = np.cumsum([0, *sizes]).tolist()
    for start, stop in reversed(list(pairwise(edges))):
        InsertMotifs(source(model), backgrounds, motifs, 3, url)({"start": start, "stop": stop})


def test_every_embedding_is_that_of_a_full_pass(model, atlas, motifs, tmp_path):
    n = 11
    backgrounds = shuffled_peaks(atlas, np.arange(P), n, seed=3)
    url = str(tmp_path / "inserted")
    insert(model, backgrounds, motifs, url, [n])
    h = np.concatenate(list(read_inserted(url)))
    expected = [model.embed(backgrounds)]
    for motif in motifs:
        start = insertion_start(L, motif.width)
        changed = backgrounds.copy()
        changed[:, start : start + motif.width] = motif_words(motif, n, seed=3)
        expected.append(model.embed(changed))
    np.testing.assert_allclose(h, np.stack(expected, axis=1), rtol=1e-4, atol=1e-5)
    effects = np.mean([e.astype(float) - expected[0] for e in expected[1:]], axis=1)
    np.testing.assert_allclose(mean_effects(url), effects, rtol=1e-3, atol=1e-5)


def test_what_is_done_again_or_in_another_order_is_the_same(model, atlas, motifs, tmp_path):
    backgrounds = shuffled_peaks(atlas, np.arange(P), 64 + 20, seed=3)
    for name in ("once", "twice"):
        insert(model, backgrounds, motifs, str(tmp_path / name), [64, 20])
    work = InsertMotifs(source(model), backgrounds, motifs, 3, str(tmp_path / "twice"))
    work({"start": 0, "stop": 64})
    once, twice = (
        np.concatenate(list(read_inserted(str(tmp_path / n)))) for n in ("once", "twice")
    )
    np.testing.assert_array_equal(once, twice)
    alone = str(tmp_path / "alone")
    insert(model, backgrounds, motifs[1:2], alone, [64, 20])
    np.testing.assert_allclose(
        mean_effects(alone)[0], mean_effects(str(tmp_path / "once"))[1], rtol=1e-4, atol=1e-6
    )


def test_a_lost_piece_is_named(model, atlas, motifs, tmp_path):
    backgrounds = shuffled_peaks(atlas, np.arange(P), 64 + 20, seed=3)
    url = str(tmp_path / "inserted")
    insert(model, backgrounds, motifs[:1], url, [64, 20])
    (tmp_path / "inserted/h/c.1.0.0").unlink()
    with pytest.raises(CorruptStoreError, match="1 of its 2 stored pieces"):
        mean_effects(url)


def test_a_motif_wider_than_the_window_is_refused(motifs):
    check_widths(motifs, L)
    wide = Motif("m7", "TF", np.full((L + 1, 4), 0.25))
    with pytest.raises(MotifError, match=rf"m7 is {L + 1} bp wide, but .* has {L} bp; leave out"):
        check_widths([*motifs, wide], L)
