"""What variants do to the embedding of their windows.

The window of a variant is centred on what changes (`Change`): ``mid = (start + stop) // 2``, window
``[mid - L // 2, mid + L // 2)``, as for peaks. The window with the alternate allele begins at the
same base and is L long too: an insertion pushes as many bases out at its end, and where a deletion
makes room the genome's next bases move in. So a change of equal length is a changed stretch of a
few bases, and one that shifts what follows changes the window from there to its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from atlasbasset.core.cost import pass_bytes, reference_bytes
from atlasbasset.core.incremental import Incremental
from atlasbasset.core.inference import embed_codes
from atlasstore.genome.sequences import reverse_complement_codes
from atlasstore.genome.variants import base_codes, change_of
from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from atlasbasset.core.config import TrunkConfig
    from atlasbasset.inference.model import Embedder
    from atlasstore.genome.fasta import Genome
    from atlasstore.genome.variants import Variant

    Codes = NDArray[np.uint8]
    Floats = NDArray[np.float32]
    Embed = Callable[[Codes, Sequence["Replaced"]], Floats]

__all__ = [
    "Allele",
    "Replaced",
    "VariantEngine",
    "allele_of",
    "mean_effects",
    "variant_bytes",
]

AT_ONCE = 64
"""Windows whose activations are kept together: about 1.1 MB each."""
_WORKING_BYTES = 64 << 20
"""Of the 256 changes that are computed at once, about."""


class Allele(NamedTuple):
    """An alternate allele as a change of its window."""

    chrom: str
    window_start: int
    """0-based; the window may reach past either end of the chromosome."""
    at: int
    """Where in the window the changed stretch begins."""
    codes: Codes
    """What stands there instead, uint8 (W,)."""


class Replaced(NamedTuple):
    """An allele among windows that are read together."""

    row: int
    """Of its window."""
    at: int
    codes: Codes


def allele_of(variant: Variant, genome: Genome, *, window_bp: int) -> Allele:
    """Return how a variant changes the window centred on it."""
    change = change_of(variant)
    start = (change.start + change.stop) // 2 - window_bp // 2
    at, put = change.start - start, base_codes(change.put)
    if not change.is_same_length:
        n_after = window_bp - at - len(put)
        after = genome.codes(variant.chrom, change.stop, change.stop + n_after)
        put = np.concatenate([put, after])
    return Allele(variant.chrom, start, at, put)


def variant_bytes(config: TrunkConfig) -> int:
    """Return what a `VariantEngine` holds at most beside the program and the model, bytes."""
    return AT_ONCE * (reference_bytes(config) + pass_bytes(config)) + _WORKING_BYTES


class VariantEngine:
    """Embeds windows with and without an allele.

    A few changed bases are evaluated incrementally (`Incremental`). Where all that follows shifts,
    half a window changes, and two full passes cost less than one whose activations are kept and
    half of another (docs/variants.md).

    Parameters
    ----------
    model
        The model; only its trunk plays a part.
    both_strands
        Whether an effect is the mean of those on the window and on its reverse complement.
    at_once
        Windows whose activations are kept together.
    """

    def __init__(
        self, model: Embedder, *, both_strands: bool = False, at_once: int = AT_ONCE
    ) -> None:
        self._trunk, self._dtype = model.trunk, model.compute_dtype
        self._incremental = Incremental(model.trunk, compute_dtype=model.compute_dtype)
        self._both_strands, self._at_once = both_strands, at_once
        self.window_bp = model.trunk.config.window_bp
        self.width = model.trunk.config.embedding_dim

    @property
    def n_strands(self) -> int:
        """S: 2 where windows are read from both strands."""
        return 1 + self._both_strands

    def effects(self, alleles: Sequence[Allele], genome: Genome) -> Floats:
        """Return h(window with the allele) - h(window), float32 (V, E), for V alleles.

        With both strands the mean of the two.
        """
        return mean_effects(self.embed(alleles, genome))

    def embed(self, alleles: Sequence[Allele], genome: Genome) -> Floats:
        """Return h of the window and of that with the allele, float32 (V, S, 2, E)."""
        found = np.empty((len(alleles), self.n_strands, 2, self.width), np.float32)
        is_wide = np.array([len(allele.codes) > self.window_bp // 4 for allele in alleles], bool)
        for rows, how in (
            (np.flatnonzero(~is_wide), self.incremental),
            (np.flatnonzero(is_wide), self.full_passes),
        ):
            chosen = [alleles[row] for row in rows.tolist()]
            for members, codes, replaced in _batches(chosen, genome, self.window_bp, self._at_once):
                found[rows[members], 0] = how(codes, replaced)
                if self._both_strands:
                    found[rows[members], 1] = how(*_other_strand(codes, replaced))
        return found

    def incremental(self, codes: Codes, replaced: Sequence[Replaced]) -> Floats:
        """Return h of windows (B, L) without and with alleles, by embedding what these reach.

        float32 (V, 2, E).
        """
        reference = self._incremental.reference(torch.from_numpy(codes))
        found = np.empty((len(replaced), 2, self.width), np.float32)
        widths = np.array([len(allele.codes) for allele in replaced])
        for width in np.unique(widths):
            members = np.flatnonzero(widths == width)
            rows, at, put = zip(*(replaced[i] for i in members.tolist()), strict=True)
            rows_M, put_MW = torch.tensor(rows), torch.from_numpy(np.stack(put))
            h = self._incremental.embed(reference, rows_M, torch.tensor(at), put_MW)
            found[members, 0] = reference.h[rows_M.to(h.device)].cpu().numpy()
            found[members, 1] = h.cpu().numpy()
        return found

    def full_passes(self, codes: Codes, replaced: Sequence[Replaced]) -> Floats:
        """Return h of windows (B, L) without and with alleles, each embedded whole.

        float32 (V, 2, E).
        """
        rows = [allele.row for allele in replaced]
        changed = codes[rows]
        for window, allele in zip(changed, replaced, strict=True):
            window[allele.at : allele.at + len(allele.codes)] = allele.codes
        whole = torch.from_numpy(np.concatenate([codes, changed]))
        h = embed_codes(self._trunk, whole, compute_dtype=self._dtype, batch=self._at_once)
        h_np: Floats = h.cpu().numpy()
        return np.stack([h_np[rows], h_np[len(codes) :]], axis=1)


def mean_effects(h: Floats) -> Floats:
    """Return the mean over strands of h with less h without, (V, E), of (V, S, 2, E)."""
    effects = h[:, :, 1] - h[:, :, 0]
    found: Floats = effects[:, 0]
    if effects.shape[1] > 1:
        found = (effects[:, 0] + effects[:, 1]) * np.float32(0.5)
    return found


def _batches(
    alleles: Sequence[Allele], genome: Genome, window_bp: int, at_once: int = AT_ONCE
) -> Iterator[tuple[NDArray[np.int64], Codes, list[Replaced]]]:
    """Yield runs of windows in the genome's order: which alleles, windows' codes, changes.

    Alleles of one window share it.
    """
    windows = sorted({allele[:2] for allele in alleles})
    row_of = {window: row for row, window in enumerate(windows)}
    rows = np.array([row_of[allele[:2]] for allele in alleles], np.int64)
    for start, stop in runs(len(windows), at_once):
        members = np.flatnonzero((rows >= start) & (rows < stop))
        chroms, starts = zip(*windows[start:stop], strict=True)
        codes = genome.windows(chroms, np.array(starts, np.int64), window_bp)
        replaced = [Replaced(int(rows[i]) - start, *alleles[i][2:]) for i in members.tolist()]
        yield members, codes, replaced


def _other_strand(codes: Codes, replaced: Sequence[Replaced]) -> tuple[Codes, list[Replaced]]:
    """Return windows and changes as the other strand has them."""
    length = codes.shape[1]
    turned = [
        Replaced(row, length - at - len(put), reverse_complement_codes(put))
        for row, at, put in replaced
    ]
    return reverse_complement_codes(codes), turned
