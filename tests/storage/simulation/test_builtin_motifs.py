from __future__ import annotations

import numpy as np
import pytest

from atlasstore.errors import MotifError
from atlasstore.genome.motifs import Motif, write_meme
from atlasstore.simulation.builtin_motifs import (
    MAX_WIDTH,
    MIN_BITS,
    builtin_motifs,
    choose_motifs,
    motif_from_consensus,
)
from atlasstore.simulation.config import SimulationConfig


def test_the_rule_for_a_consensus_letter():
    motif = motif_from_consensus("TF", "AWN")
    np.testing.assert_allclose(
        motif.probabilities,
        [[0.94, 0.02, 0.02, 0.02], [0.48, 0.02, 0.02, 0.48], [0.25, 0.25, 0.25, 0.25]],
    )


def test_every_builtin_motif_can_be_planted():
    assert len(builtin_motifs()) == 24
    assert len(choose_motifs(SimulationConfig(n_motifs=24))) == 24
    with pytest.raises(MotifError, match="built-in set has 24"):
        choose_motifs(SimulationConfig(n_motifs=25))


def test_motifs_that_chance_would_write_or_that_do_not_fit_are_left_out(tmp_path):
    rng = np.random.default_rng(0)
    eye = np.eye(4)
    motifs = [
        Motif("flat", "flat", np.full((10, 4), 0.25)),
        Motif("wide", "wide", eye[rng.integers(0, 4, MAX_WIDTH + 1)]),
        Motif("good", "good", eye[rng.integers(0, 4, 10)]),
        Motif("short", "short", eye[: int(MIN_BITS / 2) - 1]),
    ]
    path = str(tmp_path / "m.meme")
    write_meme(path, motifs)
    (chosen,) = choose_motifs(SimulationConfig(motifs=path, n_motifs=1))
    assert chosen.name == "good"
    with pytest.raises(MotifError, match="has 1 motifs of 8 bits"):
        choose_motifs(SimulationConfig(motifs=path, n_motifs=2))
