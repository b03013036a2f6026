"""Counts in memory, a genome and an atlas of the same peaks, and a model of the same cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

import atlasbasset
from atlasstore.events import ignore
from small_atlas import FEW_BLOCKS, make_peaks, random_chromosomes, write_fasta
from small_model import TINY, random_weights, write_model

if TYPE_CHECKING:
    from pathlib import Path

N_CELLS, N_PEAKS = 24, 30
MEME = """MEME version 4

ALPHABET= ACGT

MOTIF MA0001.1 GATA1
letter-probability matrix: alength= 4 w= 4
0.9 0.1 0 0
0 1 0 0
0 0 1 0
0.25 0.25 0.25 0.25

MOTIF MA0002.1 SPI1
letter-probability matrix: alength= 4 w= 5
1 0 0 0
1 0 0 0
0 0 1 0
0 0 1 0
0 0 0 1
"""


@dataclass(frozen=True)
class Counts:
    """An experiment in memory and its files."""

    adata: anndata.AnnData
    genome: Path
    atlas: str
    model: str
    motifs: Path


def make_counts(folder: Path) -> Counts:
    rng = np.random.default_rng(11)
    counts = rng.poisson(0.8, (N_CELLS, N_PEAKS)).astype(np.float32)
    kinds = pd.Categorical(["B", "T"] * (N_CELLS // 2))
    obs = pd.DataFrame({"kind": kinds}, index=[f"cell{i}" for i in range(N_CELLS)])
    adata = anndata.AnnData(sparse.csr_matrix(counts), obs=obs, var=make_peaks(N_PEAKS))
    chromosomes = random_chromosomes(rng, {"chrI": 9_000, "chrII": 9_000})
    genome = write_fasta(folder / "genome.fa", chromosomes)
    atlas = atlasbasset.pp.make_atlas(
        adata,
        genome,
        folder / "atlas",
        window_bp=TINY.window_bp,
        min_blocks=FEW_BLOCKS,
        on_event=ignore,
    )
    (folder / "motifs.meme").write_text(MEME)
    weights = random_weights(rng, N_CELLS)
    model = write_model(folder / "model", weights, obs=atlas.obs)
    return Counts(adata, genome, atlas.url, model, folder / "motifs.meme")
