"""Small inputs made in memory for tests: counts, FASTA files, whole atlases."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from Bio import bgzf
from scipy import sparse

from atlasstore.atlas.split import split_peaks
from atlasstore.atlas.writer import ARRAY_SIZES, ArraySizes, write_atlas
from atlasstore.zarrio import formats
from atlasstore.zarrio.blocks import plan_cell_blocks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

BASES = np.frombuffer(b"ACGT", np.uint8)
FEW_BLOCKS = 4
"""Cell blocks: each has arrays of its own, and costs a test as much as its cells."""


class MemorySource:
    """A `CountsSource` over a matrix in memory that remembers how it was read."""

    def __init__(
        self,
        counts: np.ndarray,
        peaks: pd.DataFrame,
        *,
        name: str = "memory.h5ad",
        obs: pd.DataFrame | None = None,
        cells_per_read: int = 1,
    ) -> None:
        self.name, self.peaks, self.cells_per_read = name, peaks, cells_per_read
        barcodes = [f"cell{i}" for i in range(len(counts))]
        self.obs = pd.DataFrame(index=barcodes) if obs is None else obs
        self._counts = sparse.csr_array(counts.astype(np.int32))
        self.reads: list[tuple[int, int]] = []
        self.closed = False

    def read_cells(self, start: int, stop: int) -> sparse.csr_array:
        self.reads.append((start, stop))
        return self._counts[start:stop]

    def close(self) -> None:
        self.closed = True


def make_peaks(
    n_peaks: int, *, chroms: Sequence[str] = ("chrI", "chrII"), step: int = 500
) -> pd.DataFrame:
    """Peaks of 300 bp, `step` apart, dealt to the chromosomes in equal runs, in order."""
    per_chrom = -(-n_peaks // len(chroms))
    chrom = [chroms[i // per_chrom] for i in range(n_peaks)]
    start = np.array([200 + step * (i % per_chrom) for i in range(n_peaks)], np.int64)
    names = [f"{c}:{s}-{s + 300}" for c, s in zip(chrom, start, strict=True)]
    return pd.DataFrame({"chrom": chrom, "start": start, "end": start + 300}, index=names)


def random_chromosomes(
    rng: np.random.Generator, lengths: dict[str, int], *, letters: bytes = b"ACGTacgtNRn"
) -> dict[str, str]:
    """Random sequences with lower case and unknown letters among them."""
    alphabet = np.frombuffer(letters, np.uint8)
    return {n: rng.choice(alphabet, size).tobytes().decode() for n, size in lengths.items()}


def fasta_text(chromosomes: dict[str, str], *, width: int = 60) -> str:
    lines = []
    for name, sequence in chromosomes.items():
        lines.append(f">{name} a description")
        lines += [sequence[i : i + width] for i in range(0, len(sequence), width)]
    return "\n".join(lines) + "\n"


def write_fasta(path: Path, chromosomes: dict[str, str], *, width: int = 60) -> Path:
    """Write a plain FASTA, or a bgzip one when the name ends in .gz."""
    content = fasta_text(chromosomes, width=width).encode()
    if path.suffix == ".gz":
        with bgzf.BgzfWriter(str(path), "wb") as file:
            file.write(content)
    else:
        path.write_bytes(content)
    return path


def random_labels(rng: np.random.Generator, n_cells: int, n_peaks: int, density: float = 0.1):
    """Dense bool labels, cells x peaks."""
    return rng.random((n_cells, n_peaks)) < density


def make_atlas(
    url: str | Path,
    labels: np.ndarray,
    codes: np.ndarray,
    *,
    flank_bp: int = 3,
    max_block_cells: int = 65_536,
    min_blocks: int = FEW_BLOCKS,
    seed: int = 0,
    more_obs: Mapping[str, object] = MappingProxyType({}),
    peaks: pd.DataFrame | None = None,
    sizes: ArraySizes = ARRAY_SIZES,
) -> str:
    """Write an atlas of dense bool labels (cells x peaks) and codes (peaks x stored bp)."""
    n_cells, n_peaks = labels.shape
    var = make_peaks(n_peaks) if peaks is None else peaks.copy()
    starts = var["start"].to_numpy(np.int64)
    var["split"] = split_peaks(
        var["chrom"].tolist(), starts, length=codes.shape[1], method="random", seed=seed
    )
    obs = pd.DataFrame(
        {"sample": "one", "n_peaks": labels.sum(1)}, index=[f"cell{i}" for i in range(n_cells)]
    )
    obs = obs.assign(**more_obs)
    blocks = plan_cell_blocks(n_cells, max_block_cells=max_block_cells, min_blocks=min_blocks)
    with write_atlas(
        url,
        obs=obs,
        var=var,
        cell_blocks=blocks,
        window_bp=codes.shape[1] - 2 * flank_bp,
        flank_bp=flank_bp,
        provenance=formats.provenance([], {}, seed),
        sizes=sizes,
    ) as writer:
        for start, stop in writer.sequence_runs():
            writer.write_sequences(start, codes[start:stop])
        for block in blocks:
            rows = labels[block.start : block.stop].astype(np.uint8)
            writer.write_labels(block.index, sparse.csr_array(rows))
    return str(url)
