"""The inputs of an atlas: described, then read into scratch files; bad ones are left out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from atlasstore.errors import CountsError, PeaksError
from atlasstore.files.text import numbered_lines
from atlasstore.inputs.kinds import open_counts
from atlasstore.inputs.lazy_source import LazySource
from atlasstore.inputs.samples import join_obs
from atlasstore.inputs.survey import left_out_notice, survey
from atlasstore.transpose.memory_plan import plan_survey

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from atlasstore.events import Subscriber
    from atlasstore.inputs.samples import Sample
    from atlasstore.resume.units import Executor
    from atlasstore.transpose.stages import ReadSpan, Stages

__all__ = ["Inputs", "look_at_inputs", "read_inputs"]


@dataclass(frozen=True, slots=True)
class Inputs:
    """The samples that are in, all on the same peaks."""

    samples: tuple[Sample, ...]
    sources: tuple[LazySource, ...]
    peaks: pd.DataFrame
    left_out: dict[str, str]
    """Sample -> why it is not in."""

    @property
    def sizes(self) -> list[int]:
        """Cells of each sample."""
        return [len(source.obs) for source in self.sources]

    def joined_obs(self, *, prefixed: bool = False) -> pd.DataFrame:
        """Return all cells' table."""
        return join_obs(
            self.sources,
            [sample.name for sample in self.samples],
            columns=[dict(sample.columns) for sample in self.samples],
            prefixed=prefixed,
        )

    def with_peaks(self, kept: NDArray[np.int64]) -> Inputs:
        """Return them with the peaks of some rows alone; no others are read."""
        peaks = self.peaks.iloc[kept]
        sources = []
        for source in self.sources:
            stored = source.spec.columns
            spec = replace(source.spec, columns=kept if stored is None else stored[kept])
            sources.append(LazySource(spec, obs=source.obs, peaks=peaks))
        return replace(self, peaks=peaks, sources=tuple(sources))

    def without(self, bad: dict[int, str]) -> Inputs:
        """Return them without those of some indices, each with the reason."""
        good = [i for i in range(len(self.samples)) if i not in bad]
        return Inputs(
            tuple(self.samples[i] for i in good),
            tuple(self.sources[i] for i in good),
            self.peaks,
            self.left_out | {self.samples[i].name: why for i, why in bad.items()},
        )


def look_at_inputs(
    samples: Sequence[Sample],
    scratch: str,
    executor: Executor,
    on_event: Subscriber,
    *,
    peaks: str | None,
    min_mapq: int,
    matrix: str,
    skip_bad: bool,
) -> Inputs:
    """Survey the samples; inputs that are not stored by cells are copied into `scratch`.

    Raises
    ------
    CountsError, PeaksError
        As `atlasstore.inputs.survey`.
    """
    bed_peaks = 0 if peaks is None else sum(1 for _ in numbered_lines(peaks, error=PeaksError))
    n_workers, share = plan_survey(executor.machine(), bed_peaks=bed_peaks)
    found = survey(
        samples,
        scratch=scratch,
        peaks=peaks,
        memory_bytes=share,
        executor=executor,
        n_workers=n_workers,
        min_mapq=min_mapq,
        matrix=matrix,
        skip_bad=skip_bad,
        on_event=on_event,
    )
    left_out = {one.name: one.why for one in found.left_out}
    return Inputs(found.samples, found.sources, found.peaks, left_out)


def read_inputs(
    inputs: Inputs,
    stages: Stages,
    *,
    least: int,
    files: Sequence[str],
    skip_bad: bool,
    on_event: Subscriber,
) -> tuple[Inputs, list[ReadSpan]]:
    """Read all inputs into pieces; return those that could be read, and their spans.

    Raises
    ------
    CountsError
        When one cannot be read; with `skip_bad` when none can.
    """
    read = stages.read_inputs(
        [(partial(open_counts, source.spec), len(source.obs)) for source in inputs.sources],
        n_peaks=len(inputs.peaks),
        least=least,
        files=files,
        skip_bad=skip_bad,
    )
    bad = {span.input: str(span.error) for span in read if span.error is not None}
    for index, why in bad.items():
        on_event(left_out_notice(inputs.samples[index].name, why))
    if len(bad) == len(inputs.samples):
        raise CountsError(f"No input can be used: {next(iter(bad.values()))}")
    return inputs.without(bad), [span for span in read if span.input not in bad]
