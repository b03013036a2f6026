"""Motifs to plant: 24 textbook consensus words, or a choice from a user's MEME file.

A word in IUPAC letters becomes a probability matrix by one rule: the bases that a letter allows
share 0.92 of the probability, and the other 0.08 is spread over all four. A fully determined
position has 1.6 bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from atlasstore.errors import MotifError
from atlasstore.genome.motifs import Motif, information_content, read_motifs
from atlasstore.simulation.config import SimulationConfig, Stream, stream

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MAX_WIDTH", "MIN_BITS", "builtin_motifs", "choose_motifs", "motif_from_consensus"]

MAX_WIDTH = 40
"""Widest motif planted, bp: the sites must fit next to each other in the middle of a peak."""
MIN_BITS = 8.0
"""Motifs with less information are not planted: chance would write them into every peak."""

_ALLOWED = {
    "A": "A", "C": "C", "G": "G", "T": "T",
    "R": "AG", "Y": "CT", "S": "CG", "W": "AT", "K": "GT", "M": "AC",
    "B": "CGT", "D": "AGT", "H": "ACT", "V": "ACG", "N": "ACGT",
}  # fmt: skip
_CONSENSUS_SHARE = 0.92
_CONSENSUS = {
    "GATA1": "WGATAAGR",
    "SPI1": "AAAGAGGAAGTG",
    "CTCF": "CCASYAGRKGGCAG",
    "TCF7": "ASATCAAAGG",
    "CEBPB": "RTTGCGCAAY",
    "RUNX1": "AAACCACARM",
    "PAX5": "GCANTGRAGCGTGAC",
    "EBF1": "ATTCCCNNGGGAAT",
    "JUN": "RTGASTCAY",
    "NFKB1": "GGGRATTYCC",
    "IRF1": "GAAASTGAAAST",
    "STAT1": "TTTCCNGGAAAT",
    "POU2F2": "TATGCAAATNA",
    "SOX2": "RAACAATGG",
    "MYOD1": "RACAGCTGY",
    "HNF1A": "GTTAATNATTAAC",
    "HNF4A": "GGGTCAAAGTCCA",
    "FOXA1": "TRTTTACWYAG",
    "KLF4": "RGGGYGTGGC",
    "NRF1": "TGCGCATGCGCA",
    "TP53": "RRRCATGYYYRRRCATGYYY",
    "MEF2C": "KCTAAAAATAGM",
    "TEAD1": "RCATTCCAGS",
    "YY1": "CAAGATGGCGGC",
}


def motif_from_consensus(tf: str, consensus: str) -> Motif:
    """Return the motif of an IUPAC word, by the rule in the module's docstring."""
    rows = [[letter in _ALLOWED[position] for letter in "ACGT"] for position in consensus]
    allowed = np.array(rows, dtype=np.float64)
    shares = allowed / allowed.sum(axis=1, keepdims=True)
    return Motif(tf, tf, _CONSENSUS_SHARE * shares + (1 - _CONSENSUS_SHARE) / 4)


def builtin_motifs() -> list[Motif]:
    """Return the built-in set."""
    return [motif_from_consensus(tf, consensus) for tf, consensus in _CONSENSUS.items()]


def choose_motifs(config: SimulationConfig) -> list[Motif]:
    """Return the motifs to plant: `config.n_motifs` of those that can be planted, by the seed.

    Raises
    ------
    MotifError
        When the MEME file cannot be read or has too few motifs of `MIN_BITS` or more information
        and at most `MAX_WIDTH` bp.
    """
    every = builtin_motifs() if config.motifs is None else read_motifs(config.motifs)[0]
    usable = [motif for motif in every if _is_plantable(motif)]
    if len(usable) < config.n_motifs:
        raise _too_few(config, usable)
    rng = stream(config.seed, Stream.MOTIF_CHOICE)
    chosen = rng.choice(len(usable), size=config.n_motifs, replace=False)
    return [usable[index] for index in np.sort(chosen)]


def _is_plantable(motif: Motif) -> bool:
    return information_content(motif) >= MIN_BITS and motif.width <= MAX_WIDTH


def _too_few(config: SimulationConfig, usable: Sequence[Motif]) -> MotifError:
    source = "the built-in set" if config.motifs is None else config.motifs
    advice = "give a MEME file with more" if config.motifs is None else "give another file"
    return MotifError(
        f"n_motifs is {config.n_motifs}, but {source} has {len(usable)} motifs of {MIN_BITS:g} "
        f"bits or more and at most {MAX_WIDTH} bp; lower n_motifs or {advice}."
    )
