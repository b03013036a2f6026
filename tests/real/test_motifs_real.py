from __future__ import annotations

import re

import numpy as np
import pytest

from atlasstore.genome.motifs import information_content, read_meme, write_meme
from atlasstore.simulation.builtin_motifs import choose_motifs
from atlasstore.simulation.config import SimulationConfig

pytestmark = pytest.mark.real

FILES = {
    "CISBP_Homo_sapiens.meme": (734, {"TFAP2E", "BHLHE41", "NKX2-3"}),
    "JASPAR2022_nematodes.meme": (43, {"che-1", "unc-30", "elt-2"}),
    "JASPAR2022_vertebrates.meme": (838, {"Arnt", "Ahr::Arnt", "IRF8"}),
}


@pytest.mark.parametrize("file", FILES)
def test_public_collections(real_data, tmp_path, file):
    n_motifs, some_tfs = FILES[file]
    motifs = read_meme(real_data / "motifs" / file)
    assert len(motifs) == n_motifs
    assert len({m.name for m in motifs}) == n_motifs
    assert some_tfs <= {m.tf for m in motifs}
    assert all(re.fullmatch(r"[A-Za-z0-9.:-]+", m.tf) for m in motifs)
    bits = np.array([information_content(m) for m in motifs])
    assert np.all((bits > 0.5) & (bits <= 2 * np.array([m.width for m in motifs])))
    write_meme(tmp_path / "again.meme", motifs)
    for old, new in zip(motifs, read_meme(tmp_path / "again.meme"), strict=True):
        assert (old.name, old.tf) == (new.name, new.tf)
        np.testing.assert_array_equal(old.probabilities, new.probabilities)


def test_simulations_draw_from_a_collection(real_data):
    path = str(real_data / "motifs" / "JASPAR2022_vertebrates.meme")
    chosen = choose_motifs(SimulationConfig(motifs=path, n_motifs=30, seed=4))
    assert len({m.name for m in chosen}) == 30
    again = choose_motifs(SimulationConfig(motifs=path, n_motifs=30, seed=4))
    assert [m.name for m in again] == [m.name for m in chosen]
