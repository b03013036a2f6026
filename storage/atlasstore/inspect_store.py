"""Opening and describing whatever lies at a path or URL.

Kinds of stores are in `store_kinds`; files that are no stores (AnnData, motifs, tables) are
described by `inspect_files`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atlasstore.errors import UserInputError
from atlasstore.files import remote, urls
from atlasstore.inspect_files import (
    describe_file,
    describe_folder,
    describe_group,
    is_group,
)
from atlasstore.inspect_outputs import TRACKS_FILE, Described, describe_our_folder, has_tracks
from atlasstore.progress import shown
from atlasstore.store_kinds import kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from atlasstore.events import Subscriber

__all__ = ["StoreSummary", "inspect_store", "open_store"]


@dataclass(frozen=True, slots=True)
class StoreSummary:
    """What a store is."""

    url: str
    format: str
    """Format name, such as ``atlasbasset.atlas``, or what else it is ("AnnData", "MEME motifs")."""
    version: int | None
    """Format version; None where it is no store of ours."""
    sizes: Mapping[str, Any]
    """Rows, blocks, share of positives and the like; with units in the names."""
    stored_bytes: int
    """Size on disk."""
    provenance: Mapping[str, Any]
    """Inputs with checksums, configuration, package versions, seed, time."""
    verified: bool
    """Whether every byte was read and found right."""

    def as_json(self) -> dict[str, Any]:
        """Return the summary as JSON values."""
        return dataclasses.asdict(self)


def open_store(url: str | Path) -> Any:
    """Open whatever store is at `url`: an `Atlas`, a `ModelStore` or a `Result`.

    Examples
    --------
    >>> atlas = open_store("atlas.zarr")  # doctest: +SKIP
    >>> atlas.n_cells, atlas.n_peaks  # doctest: +SKIP

    Raises
    ------
    NotAStoreError
        Nothing is there, it is not ours, it is incomplete, or this package alone cannot open it.
    FormatVersionError
        It was written by a newer atlasbasset.
    """
    return kind_of(str(url))[0].open(str(url))


def inspect_store(
    url: str | Path, *, verify: bool = False, on_event: Subscriber | None = None
) -> StoreSummary:
    """Say what is at `url`: a store, or a file or folder that a verb takes or writes.

    Parameters
    ----------
    url
        Path or URL of a store, an AnnData (``.h5ad``, ``.zarr``), MEME motifs, a table (``.csv``,
        ``.tsv``, ``.parquet``), BED, fragments, a FASTA, JSON, HDF5, bigWig, a report's page, the
        record of a finished job, a folder of tracks, of an unfinished job, or of other files.
    verify
        Also read everything and check it; of stores.
    on_event
        Called with the progress of the check; by default a bar is shown on a terminal or in a
        notebook.

    Examples
    --------
    >>> inspect_store("atlas.zarr", verify=True).sizes["density"]  # doctest: +SKIP

    Raises
    ------
    NotAStoreError, FormatVersionError
        As `open_store`.
    UserInputError
        `verify` of what has no checksums.
    CorruptStoreError
        When `verify` finds damage.
    """
    if (other := _described(str(url))) is not None:
        return _file_summary(str(url), other, verify=verify)
    kind, info = kind_of(str(url))
    store = kind.open(str(url))
    if verify:
        with shown(on_event) as subscriber:
            kind.verify(store, subscriber)
    return StoreSummary(
        url=str(url),
        format=info.format,
        version=info.version,
        sizes=kind.sizes(store),
        stored_bytes=urls.stored_bytes(url),
        provenance=info.provenance,
        verified=verify,
    )


def _described(url: str) -> Described | None:
    """Describe what is no store of ours; None where it is one, or should be."""
    fs, path = urls.filesystem(url)
    with remote.outage_errors(url):
        if urls.lists_nothing(url) and is_group(url):  # there folders are answered as files are
            return describe_group(url)
        if urls.lists_nothing(url) and has_tracks(url):
            return describe_our_folder(url, [TRACKS_FILE])
        if fs.isfile(path):
            return describe_file(url)
        is_folder = not urls.lists_nothing(url) and fs.isdir(path)
        return describe_folder(url) if is_folder else None


def _file_summary(url: str, found: Described, *, verify: bool) -> StoreSummary:
    if verify:
        raise UserInputError(
            f"{url} ({found.format}) has no checksums to verify; leave out --verify, which reads "
            "every byte of an atlas, model or result."
        )
    return StoreSummary(
        url=url,
        format=found.format,
        version=None,
        sizes=found.sizes,
        stored_bytes=urls.stored_bytes(url),
        provenance=found.provenance,
        verified=False,
    )
