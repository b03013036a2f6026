"""All inputs of an atlas looked at before anything is written: their cells, peaks and order.

Inputs are opened one at a time; what stays is each one's `obs`, one peak table for all, and a
`SourceSpec` by which any process opens the counts. Those that are not stored by cells are copied
into a scratch folder first (see `atlasstore.inputs.cell_major_copy`).
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from atlasstore.errors import CountsError, PeaksError, UserInputError
from atlasstore.events import Notice, Subscriber, ignore
from atlasstore.files import urls
from atlasstore.genome.peaks import read_bed
from atlasstore.inputs.barcodes import selected_rows
from atlasstore.inputs.cell_major_copy import Conversion, convert
from atlasstore.inputs.kinds import ALLOWED, NEED_PEAKS, describe, input_kind
from atlasstore.inputs.lazy_source import LazySource
from atlasstore.inputs.peak_order import find_peaks, peaks_digest
from atlasstore.inputs.samples import refuse_duplicates
from atlasstore.inputs.spec import MIN_MAPQ, SourceSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from atlasstore.inputs.cell_major_copy import Copy
    from atlasstore.inputs.samples import Sample
    from atlasstore.resume.units import Executor

    Ints = npt.NDArray[np.int64]

__all__ = ["LeftOut", "Survey", "left_out_notice", "survey"]

MEMORY_BYTES = 1 << 29
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An input that cannot be used."""

    name: str
    """Of the sample."""
    url: str
    """Of the input."""
    why: str
    """The error's sentence."""


@dataclass(frozen=True, slots=True)
class Survey:
    """The inputs of an atlas, ready to be read by runs of cells."""

    peaks: pd.DataFrame
    """The peaks of all, as `CountsSource.peaks`, in the order of the first input."""
    samples: tuple[Sample, ...]
    """The samples that are in."""
    sources: tuple[LazySource, ...]
    """One for each of them."""
    left_out: tuple[LeftOut, ...]
    """What was left out, by `skip_bad`."""


@dataclass(frozen=True, slots=True)
class _Input:
    """A sample and what is known of its input so far."""

    sample: Sample
    spec: SourceSpec
    """How to describe it."""
    obs: pd.DataFrame | None
    digest: str
    """Of its peaks."""
    by_cell: bool
    notices: tuple[str, ...] = ()
    counts: SourceSpec | None = None
    """How to open its counts by cells; None until it is copied."""


_Outcome = _Input | UserInputError


def survey(
    samples: Sequence[Sample],
    *,
    scratch: str,
    peaks: str | None = None,
    memory_bytes: int = MEMORY_BYTES,
    executor: Executor | None = None,
    n_workers: int = 1,
    min_mapq: int = MIN_MAPQ,
    matrix: str = "X",
    skip_bad: bool = False,
    on_event: Subscriber = ignore,
) -> Survey:
    """Look at every input; copy those that are not stored by cells.

    Parameters
    ----------
    samples
        As `atlasstore.inputs.samples.plan_samples` gives them.
    scratch
        URL of a folder for the copies; the caller deletes it. Called again with the same inputs
        and folder, what was finished there is used.
    peaks
        BED or narrowPeak file; needed by fragments and BAM, which are counted on it.
    memory_bytes
        What one task may take for its data.
    executor
        Who counts the inputs that are not stored by cells; this process by default.
    n_workers
        Inputs that are looked at, and units of counting in a process, at a time.
    min_mapq
        Least mapping quality of reads; for BAM.
    matrix
        Where the counts are: ``X``, ``layers/NAME`` or ``raw/X``; for AnnData.
    skip_bad
        Leave out inputs that cannot be used, with a notice for each, in place of raising.
    on_event
        Hears notices and progress.

    Raises
    ------
    CountsError, PeaksError
        When an input cannot be used (with `skip_bad`: when none can), or inputs do not have the
        same peaks; the message names them. Different peaks are never skipped.
    """
    if not samples:
        raise CountsError(f"no input was given; give at least one: {ALLOWED}.")
    bed = None if peaks is None else _bed(peaks)
    look = partial(_look, bed=bed, min_mapq=min_mapq, matrix=matrix)
    with ThreadPoolExecutor(n_workers, thread_name_prefix="survey") as pool:
        looked = _told(list(pool.map(look, samples)), on_event)
    _check_bed(bed, looked)
    whole, left_out = _whole(samples, looked, skip_bad=skip_bad, on_event=on_event)
    copied = _copied(whole, scratch, memory_bytes, executor, n_workers, on_event)
    kept = [one.sample for one in whole]
    whole, more = _whole(kept, copied, skip_bad=skip_bad, on_event=on_event)
    return _aligned(whole, (*left_out, *more))


class _Bed(NamedTuple):
    url: str
    digest: str


def _bed(url: str) -> _Bed:
    table = read_bed(url)
    refuse_duplicates(table)  # before fragments are counted on it
    return _Bed(url, peaks_digest(table))


def _look(sample: Sample, *, bed: _Bed | None, min_mapq: int, matrix: str) -> _Outcome:
    """Describe one input; only its tables are read."""
    try:
        spec = SourceSpec(
            sample.url, sample.url, input_kind(sample.url), None, sample.barcodes, matrix=matrix
        )
        if spec.kind in NEED_PEAKS:
            url, digest = bed or _Bed("", "")
            spec = replace(spec, peaks=url, min_mapq=min_mapq)
            return _Input(sample, spec, None, digest, by_cell=False)
        return _described(sample, spec)
    except UserInputError as error:
        return error


def _described(sample: Sample, spec: SourceSpec) -> _Input:
    events: list[Any] = []
    found = describe(spec, on_event=events.append)
    assert found.obs is not None
    rows = selected_rows(found.obs.index, spec.barcodes, name=spec.name)
    return _Input(
        sample,
        spec,
        found.obs if rows is None else found.obs.iloc[rows],
        peaks_digest(found.peaks),
        by_cell=found.by_cell,
        notices=tuple(event.message for event in events),
        counts=replace(spec, rows=rows, columns=found.columns) if found.by_cell else None,
    )


def _told(looked: list[_Outcome], on_event: Subscriber) -> list[_Outcome]:
    for one in looked:
        for sentence in getattr(one, "notices", ()):
            on_event(Notice(sentence))
    return looked


def _check_bed(bed: _Bed | None, looked: Iterable[_Outcome]) -> None:
    """Raise CountsError when a peak BED is missing, or no input has a use for it."""
    inputs = [one for one in looked if isinstance(one, _Input)]
    needing = [one for one in inputs if one.spec.kind in NEED_PEAKS]
    if bed is None and needing:
        spec = needing[0].spec
        what = "BAM" if spec.kind == "bam" else spec.kind
        raise CountsError(f"{spec.name} is {what}, which need peaks; give a peak BED (--peaks).")
    if bed is not None and inputs and not needing:
        raise CountsError(
            f"peaks were given but {inputs[0].spec.name} is a matrix with peaks of its own; leave "
            "--peaks out (it is for fragments and BAM)."
        )


def _whole(
    samples: Sequence[Sample],
    outcomes: Sequence[_Outcome],
    *,
    skip_bad: bool,
    on_event: Subscriber,
) -> tuple[list[_Input], list[LeftOut]]:
    """Return the inputs that can be used, and the others where they may be left out."""
    bad = {s: one for s, one in zip(samples, outcomes, strict=True) if not isinstance(one, _Input)}
    whole = [one for one in outcomes if isinstance(one, _Input)]
    lasting = next((e for e in bad.values() if not isinstance(e, CountsError | PeaksError)), None)
    if lasting is not None:
        raise lasting
    if bad and (not skip_bad or not whole):
        raise _all_bad(list(bad.values()), len(outcomes))
    for sample, error in bad.items():
        on_event(left_out_notice(sample.name, str(error)))
    return whole, [LeftOut(s.name, s.url, str(error)) for s, error in bad.items()]


def _all_bad(errors: Sequence[UserInputError], n_inputs: int) -> UserInputError:
    if len(errors) == 1:
        return errors[0]
    shown = " ".join(f"({at}) {error}" for at, error in enumerate(errors[:_SHOWN], 1))
    more = f" ... and {len(errors) - _SHOWN} more" if len(errors) > _SHOWN else ""
    return CountsError(f"{len(errors)} of {n_inputs} inputs cannot be used: {shown}{more}")


def left_out_notice(name: str, why: str) -> Notice:
    """Return what is said of a sample that is left out."""
    return Notice(f"The sample {name} is left out: {why}")


def _copied(
    inputs: Sequence[_Input],
    scratch: str,
    memory_bytes: int,
    executor: Executor | None,
    n_workers: int,
    on_event: Subscriber,
) -> list[_Outcome]:
    """Copy the inputs that are not stored by cells."""
    waiting = {_folder(one.spec): one.spec for one in inputs if one.counts is None}  # each once
    made = convert(
        [Conversion(spec, urls.join(scratch, folder)) for folder, spec in waiting.items()],
        scratch=urls.join(scratch, "receipts"),
        memory_bytes=memory_bytes,
        executor=executor,
        n_workers=n_workers,
        on_event=on_event,
    )
    copies = dict(zip(waiting, made, strict=True))
    return [_with_copy(one, copies.get(_folder(one.spec))) for one in inputs]


def _with_copy(one: _Input, copy: Copy | UserInputError | None) -> _Outcome:
    if isinstance(copy, UserInputError):
        return copy
    return one if copy is None else replace(one, counts=copy.spec, obs=copy.obs)


def _folder(spec: SourceSpec) -> str:
    """Return a folder name for an input and how it is read."""
    said = repr((spec.url, spec.kind, spec.peaks, spec.barcodes, spec.min_mapq, spec.matrix))
    return f"input-{hashlib.sha256(said.encode()).hexdigest()[:16]}"


def _peaks(spec: SourceSpec) -> pd.DataFrame:
    return read_bed(spec.peaks) if spec.peaks else describe(spec).peaks


def _aligned(inputs: Sequence[_Input], left_out: Sequence[LeftOut]) -> Survey:
    """Put all inputs' peaks in the order of the first."""
    first = inputs[0]
    wanted = _peaks(first.spec)
    refuse_duplicates(wanted)
    orders: dict[str, Ints | None] = {first.digest: None}
    for one in inputs:
        if one.digest not in orders:
            names = (first.spec.name, one.spec.name)
            orders[one.digest] = find_peaks(wanted, _peaks(one.spec), names=names)
    sources = tuple(_source(one, wanted, orders[one.digest]) for one in inputs)
    return Survey(wanted, tuple(one.sample for one in inputs), sources, tuple(left_out))


def _source(one: _Input, peaks: pd.DataFrame, order: Ints | None) -> LazySource:
    assert one.counts is not None
    assert one.obs is not None
    stored = one.counts.columns
    columns = stored if order is None else (order if stored is None else stored[order])
    return LazySource(replace(one.counts, columns=columns), obs=one.obs, peaks=peaks)
