"""Motifs written over the centre of shuffled peaks, embedded unit by unit.

Source: docs/method.md, "TF activity".

A unit is a run of backgrounds with all motifs: a background's reference pass, which costs as much
as about ten insertions, is then made once in the whole job and not once per group of motifs. What
is kept is every embedding, 128 bytes a sequence, so that any mean over backgrounds can follow,
summed in the backgrounds' order whatever the units and the workers.

What is drawn depends on the seed, the motif's name and the background's number alone: not on the
other motifs of the file, nor on how many backgrounds there are.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from atlasbasset.batch.scratch import scratch_group
from atlasbasset.core.cost import pass_bytes, reference_bytes
from atlasbasset.core.incremental import Incremental
from atlasstore.errors import MotifError
from atlasstore.genome.motifs import sample
from atlasstore.genome.sequences import reverse_complement_codes
from atlasstore.genome.shuffle import dinucleotide_shuffle
from atlasstore.zarrio import arrays
from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from atlasbasset.batch.model_source import ModelSource
    from atlasbasset.core.config import TrunkConfig
    from atlasbasset.core.incremental import Reference
    from atlasstore.atlas.atlas import Atlas
    from atlasstore.genome.motifs import Motif
    from atlasstore.resume.units import Receipt, Unit

__all__ = [
    "InsertMotifs",
    "check_widths",
    "create_inserted",
    "insertion_bytes",
    "insertion_start",
    "insertion_units",
    "mean_effects",
    "motif_words",
    "read_inserted",
    "shuffled_peaks",
    "unit_backgrounds",
]

_CHOICE, _SHUFFLE, _WORDS = 0, 1, 2
"""Purposes of the random streams; part of what a seed means: never renumber."""
_UNIT_SEQUENCES = 12_288
"""Insertions in a unit, about: some tens of seconds on one CPU core."""
_UNIT_BACKGROUNDS = 64
"""Backgrounds in a unit at most: their reference activations are held at once."""
_WORKING_BYTES = 64 << 20
"""Of the 256 insertions that are computed at once, about."""
_READ_PEAKS = 1024
_ARRAY = "h"


def insertion_start(window_bp: int, width: int) -> int:
    """Return where a motif of `width` bp begins, 0-based: its centre is the window's.

    ``window_bp // 2 - width // 2``, as in the published sequences: a motif of odd width lies half a
    base to the right.
    """
    return window_bp // 2 - width // 2


def check_widths(motifs: Sequence[Motif], window_bp: int) -> None:
    """Raise MotifError unless every motif fits the window."""
    wide = [motif for motif in motifs if motif.width > window_bp]
    if wide:
        raise MotifError(
            f"motif {wide[0].name} is {wide[0].width} bp wide, but the model's window has "
            f"{window_bp} bp; leave out motifs wider than that ({len(wide)} of {len(motifs)})."
        )


def _stream(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def shuffled_peaks(
    atlas: Atlas, rows: NDArray[np.int64], n_backgrounds: int, *, seed: int
) -> NDArray[np.uint8]:
    """Draw peaks and shuffle their windows, dinucleotides kept.

    Parameters
    ----------
    atlas
        Gives the sequences.
    rows
        Peaks to draw from; no peak is drawn twice before every one is drawn once.
    n_backgrounds
        How many; the first ones are the same for any number.
    seed
        Of the draw and of every shuffle.

    Returns
    -------
    numpy.ndarray
        uint8, shape (n_backgrounds, L): A, C, G, T = 0..3, unknown 4.
    """
    choice = _stream(seed, _CHOICE)
    rounds = range(-(-n_backgrounds // len(rows)))
    drawn = np.concatenate([choice.permutation(rows) for _ in rounds])[:n_backgrounds]
    codes = _windows(atlas, drawn)
    for number, window in enumerate(codes):
        codes[number] = dinucleotide_shuffle(window, _stream(seed, _SHUFFLE, number))
    return codes


def _windows(atlas: Atlas, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return the windows of peaks, without flanks, in the order of `rows`."""
    codes = np.empty((len(rows), atlas.window_bp), np.uint8)
    centre = slice(atlas.flank_bp, atlas.flank_bp + atlas.window_bp)
    order = np.argsort(rows, kind="stable")
    ranked = rows[order]
    for first, last in runs(atlas.n_peaks, _READ_PEAKS):
        at = order[slice(*np.searchsorted(ranked, (first, last)))]
        if at.size:
            start, stop = int(rows[at[0]]), int(rows[at[-1]]) + 1
            codes[at] = atlas.sequence_codes(start, stop)[rows[at] - start, centre]
    return codes


def motif_words(motif: Motif, n_backgrounds: int, *, seed: int) -> NDArray[np.uint8]:
    """Draw one sequence of a motif for every background, uint8 (n_backgrounds, width)."""
    name = hashlib.sha256(motif.name.encode()).digest()
    return sample(motif, n_backgrounds, _stream(seed, _WORDS, int.from_bytes(name[:8], "little")))


def insertion_units(n_backgrounds: int, n_motifs: int) -> list[Unit]:
    """Cut the backgrounds into runs, each a unit with all motifs."""
    size = unit_backgrounds(n_motifs)
    return [{"start": start, "stop": stop} for start, stop in runs(n_backgrounds, size)]


def unit_backgrounds(n_motifs: int) -> int:
    """Return the backgrounds in a unit: fewer when there are more motifs."""
    return max(1, min(_UNIT_BACKGROUNDS, _UNIT_SEQUENCES // n_motifs))


def insertion_bytes(
    config: TrunkConfig, widths: Sequence[int], n_backgrounds: int, *, n_strands: int = 1
) -> int:
    """Return what `InsertMotifs` holds at most beside the program and the model, bytes."""
    in_unit = min(n_backgrounds, unit_backgrounds(len(widths)))
    n_copies = 2 * n_strands - 1  # of one strand, or of both and put together
    embedded = in_unit * (1 + len(widths)) * config.embedding_dim * np.float32().nbytes
    drawn = n_backgrounds * (config.window_bp + sum(widths))
    references = in_unit * (reference_bytes(config) + pass_bytes(config))
    return references + n_copies * embedded + drawn + _WORKING_BYTES


def create_inserted(
    url: str, n_backgrounds: int, n_motifs: int, width: int, *, n_strands: int = 1
) -> None:
    """Create the array that `InsertMotifs` fills, a piece per unit.

    float32 (n_backgrounds * n_strands, 1 + n_motifs, width): the background itself, then with each
    motif; a background's two strands are consecutive.
    """
    arrays.create_array(
        scratch_group(url),
        _ARRAY,
        shape=(n_backgrounds * n_strands, 1 + n_motifs, width),
        dtype=np.float32,
        chunk_rows=min(n_backgrounds, unit_backgrounds(n_motifs)) * n_strands,
        fill_value=float("nan"),
        axes=("background", "inserted", "dim0"),
    )


def read_inserted(url: str) -> Iterator[NDArray[np.float32]]:
    """Yield the array's pieces in order, float32 (backgrounds of a unit, 1 + n_motifs, width).

    Raises
    ------
    CorruptStoreError
        When a piece is lost or damaged.
    """
    array = arrays.open_member(url, _ARRAY)
    arrays.check_chunks(array, url=url)
    for start, stop in runs(array.shape[0], array.chunks[0]):
        yield arrays.read_array(array, start, stop, url=url)


def mean_effects(url: str) -> NDArray[np.float64]:
    """Return the mean over backgrounds of h with the motif less h without, (n_motifs, width)."""
    total: NDArray[np.float64] | float = 0.0
    n_backgrounds = 0
    for h in read_inserted(url):
        for of_background in h.astype(np.float64):  # one by one: the order does not hang on units
            total = total + (of_background[1:] - of_background[0])
        n_backgrounds += len(h)
    return np.asarray(total) / n_backgrounds


@dataclass(frozen=True, eq=False)
class InsertMotifs:
    """Work: embed a run of backgrounds, as they are and with each motif."""

    model: ModelSource
    backgrounds: NDArray[np.uint8]
    """All of them, (n_backgrounds, L); a unit is a run of rows."""
    motifs: Sequence[Motif]
    seed: int
    url: str
    """Where `create_inserted` made the array."""
    both_strands: bool = False
    """Whether each sequence is also embedded as its reverse complement."""

    @cached_property
    def _engine(self) -> Incremental:
        model = self.model.embedder
        return Incremental(model.trunk, compute_dtype=model.compute_dtype)

    @cached_property
    def _by_width(self) -> list[_Alike]:
        """Motifs of one width, which reach the same positions, together."""
        numbers = defaultdict(list)
        for number, motif in enumerate(self.motifs):
            numbers[motif.width].append(number)
        return [self._alike(width, same) for width, same in sorted(numbers.items())]

    def _alike(self, width: int, numbers: list[int]) -> _Alike:
        n = len(self.backgrounds)
        words = [motif_words(self.motifs[number], n, seed=self.seed) for number in numbers]
        start = insertion_start(self.backgrounds.shape[1], width)
        return _Alike(np.array(numbers), start, np.stack(words, axis=1))

    def __call__(self, unit: Unit) -> Receipt:
        """Embed and write backgrounds [start, stop)."""
        start, stop = unit["start"], unit["stop"]
        strands = [self._embedded(start, stop, turned=False)]
        if self.both_strands:
            strands.append(self._embedded(start, stop, turned=True))
        h = np.stack(strands, axis=1).reshape(-1, *strands[0].shape[1:])
        array = arrays.open_member(self.url, _ARRAY, mode="r+")
        arrays.write_pieces(array, start * len(strands), h)
        return {"bytes": h.nbytes}

    def _embedded(self, start: int, stop: int, *, turned: bool) -> NDArray[np.float32]:
        """Return h of backgrounds, as they are and with each motif, (n, 1 + motifs, E)."""
        codes = self.backgrounds[start:stop]
        reference = self._engine.reference(
            torch.from_numpy(reverse_complement_codes(codes) if turned else codes)
        )
        h = np.empty((stop - start, 1 + len(self.motifs), reference.h.shape[1]), np.float32)
        h[:, 0] = reference.h.cpu().numpy()
        for alike in self._by_width:
            part = alike.turned(codes.shape[1]) if turned else alike
            h[:, 1 + alike.numbers] = self._inserted(reference, part, start, stop)
        return h

    def _inserted(
        self, reference: Reference, alike: _Alike, start: int, stop: int
    ) -> NDArray[np.float32]:
        """Return h of every background with every motif of one width, (backgrounds, motifs, E)."""
        words = torch.from_numpy(alike.words[start:stop])
        n_backgrounds, n_motifs, _ = words.shape
        rows = torch.arange(n_backgrounds).repeat_interleave(n_motifs)
        starts = torch.full_like(rows, alike.start)
        h = self._engine.embed(reference, rows, starts, words.flatten(0, 1))
        found: NDArray[np.float32] = h.cpu().numpy().reshape(n_backgrounds, n_motifs, -1)
        return found


@dataclass(frozen=True, eq=False, slots=True)
class _Alike:
    """Motifs of one width."""

    numbers: NDArray[np.int64]
    """Which of all motifs they are."""
    start: int
    """Where they begin."""
    words: NDArray[np.uint8]
    """What is written there, (n_backgrounds, motifs, width)."""

    def turned(self, window_bp: int) -> _Alike:
        """Return the same as the other strand has it."""
        words = reverse_complement_codes(self.words)
        return _Alike(self.numbers, window_bp - self.start - words.shape[-1], words)
