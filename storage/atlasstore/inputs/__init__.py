"""Counts from whatever a person has: one `CountsSource` per input, by what the input is.

========================  ==================================================================
input                     read as
========================  ==================================================================
``.h5ad``                 AnnData, X as CSR or dense, in place; as CSC, by a cell-major copy
``.zarr`` folder          the same, zarr format 2 or 3
``.h5``                   10x matrix, scATAC or multiome (or AnnData, when it is one), in place
folder with matrix.mtx    10x matrix folder; by a copy
``.tsv``, ``.bed``        fragments, plain or gzip; needs `peaks`; by a copy
folder of ``.bam``        one file per cell; needs `peaks` and pysam; by a copy
========================  ==================================================================

No input is ever whole in memory. A copy is a temporary store on disk, made in one pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atlasstore.inputs.single import open_source

__all__ = ["open_source"]


def __getattr__(name: str) -> object:
    """Import `open_source` when it is first asked for: who reads an outline needs no scipy."""
    if name != "open_source":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from atlasstore.inputs.single import open_source

    return open_source
