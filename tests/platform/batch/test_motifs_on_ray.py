"""Motif insertion by Ray actors: the same bits as one process."""

from __future__ import annotations

import numpy as np
import pytest

from atlasbasset.verbs.motifs.motifs import motif_activity
from atlasstore.results.result import Result
from atlasstore.simulation.builtin_motifs import builtin_motifs
from small_atlas import make_atlas, random_labels
from small_model import TINY, random_weights, write_model

pytestmark = pytest.mark.ray

N, P, K = 60, 40, 150


@pytest.mark.slow
def test_two_workers_give_the_same_bits(cluster, tmp_path):
    rng = np.random.default_rng(5)
    codes = rng.integers(0, 5, (P, TINY.window_bp + 6), dtype=np.uint8)
    model = write_model(tmp_path / "model", random_weights(rng, N))
    atlas = make_atlas(tmp_path / "atlas", random_labels(rng, 9, P), codes)
    for scale in ("linear", "sigmoid"):
        for workers in (0, 2):
            motif_activity(
                model,
                atlas,
                motifs=builtin_motifs()[:5],
                out=tmp_path / f"{scale}{workers}",
                n_backgrounds=K,
                scale=scale,
                compute="fp32",
                workers=workers,
            )
        one, two = (Result.open(tmp_path / f"{scale}{workers}") for workers in (0, 2))
        np.testing.assert_array_equal(one.table("X")[:], two.table("X")[:])
        assert one.var.equals(two.var)
