"""One input by its path, whatever it is."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from typing import TYPE_CHECKING

from atlasstore.events import Subscriber, ignore
from atlasstore.inputs.samples import Sample
from atlasstore.inputs.survey import survey

if TYPE_CHECKING:
    from pathlib import Path

    from atlasstore.inputs.lazy_source import LazySource

__all__ = ["open_source"]


def open_source(
    url: str | Path,
    *,
    peaks: str | Path | None = None,
    barcodes: str | Path | None = None,
    on_event: Subscriber = ignore,
) -> LazySource:
    """Open one input as cells x peaks.

    An input that is not stored by cells is read once, here, into a copy in this machine's
    temporary folder; closing the source deletes it.

    Parameters
    ----------
    url
        Path or URL of an input (see `atlasstore.inputs`).
    peaks
        BED or narrowPeak file; needed for fragments and BAM, refused for everything else.
    barcodes
        Barcode list, one a line. For fragments it gives the cells and their order; for the other
        inputs it selects cells, which keep the input's order.
    on_event
        Hears notices and progress.

    Raises
    ------
    CountsError
        When the input is missing, of an unknown kind or unreadable, or `peaks` is missing or not
        applicable, or `barcodes` names cells that a matrix input does not have.
    PeaksError
        When peak coordinates cannot be read.
    """
    sample = Sample(str(url), str(url), None if barcodes is None else str(barcodes))
    scratch = tempfile.mkdtemp(prefix="atlasbasset-")
    try:
        bed = None if peaks is None else str(peaks)
        (source,) = survey([sample], scratch=scratch, peaks=bed, on_event=on_event).sources
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    source.on_close = weakref.finalize(source, shutil.rmtree, scratch, ignore_errors=True)
    return source
