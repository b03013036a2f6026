"""The plan of `preprocess`: checked arguments, and what reading the inputs tells of the atlas."""

from __future__ import annotations

import tempfile
import weakref
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atlasstore import memory as memory_sizes
from atlasstore.atlas.atlas import Atlas
from atlasstore.atlas.split import SplitMethod, check_fractions, check_method
from atlasstore.atlas.writer import ARRAY_SIZES, ArraySizes
from atlasstore.errors import CorruptStoreError, UserInputError
from atlasstore.events import Notice, ignore
from atlasstore.files import urls
from atlasstore.genome.fasta import Genome
from atlasstore.genome.sequences import check_window
from atlasstore.inputs.in_memory import input_urls, is_in_memory, release
from atlasstore.inputs.samples import plan_samples
from atlasstore.plans import Plan
from atlasstore.preprocess._settings import Settings, as_texts, counts_place
from atlasstore.preprocess.filters import FilterSpec
from atlasstore.preprocess.lines import preprocess_lines
from atlasstore.preprocess.report import PreprocessReport
from atlasstore.progress import shown
from atlasstore.resume.executors import open_executor
from atlasstore.resume.ledger import Ledger, refuse_taken
from atlasstore.zarrio.blocks import MAX_BLOCK_CELLS, MIN_BLOCKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from anndata import AnnData

    from atlasstore.events import Subscriber
    from atlasstore.plans import Lines
    from atlasstore.preprocess._steps import PreprocessSteps
    from atlasstore.resume.units import Executor

__all__ = ["PreprocessPlan", "check_reach", "plan_preprocess"]


@dataclass(frozen=True, eq=False, repr=False)
class PreprocessPlan(Plan[PreprocessReport]):
    """Checked arguments of `preprocess`; made by `plan_preprocess`.

    Its numbers follow from the counts: `read` reads all inputs, once, and so do `lines` and
    `as_json` where it has not been called.
    """

    out: str
    settings: Settings
    memory_bytes: int | None
    """Bound on memory; None for half of what is free."""
    dask: str | None
    executor: Executor | None
    """Who reads and writes, in place of `dask`."""
    sizes: ArraySizes = ARRAY_SIZES
    """Of the atlas's arrays."""

    @property
    def title(self) -> str:
        """What would be done."""
        return f"Would make the atlas {self.out}"

    def read(self, *, on_event: Subscriber | None = None) -> PreprocessReport:
        """Read the inputs and return what would be made; nothing is written.

        Parameters
        ----------
        on_event
            As for `preprocess`.
        """
        if "_report" not in self.__dict__:
            with (
                shown(on_event) as subscriber,
                self._steps(subscriber) as steps,
                tempfile.TemporaryDirectory() as scratch,
            ):
                self.__dict__["_report"] = steps.plan(self.out, scratch)
        found: PreprocessReport = self.__dict__["_report"]
        return found

    def lines(self) -> Lines:
        """Return cells, peaks, blocks, bytes, passes, workers and memory; reads the inputs."""
        return preprocess_lines(self.read(on_event=ignore))

    def values(self) -> dict[str, Any]:
        """Return JSON values; reads the inputs."""
        return self.read(on_event=ignore).as_json()

    def _run(self, on_event: Subscriber) -> PreprocessReport:
        files = [*self.settings.files, self.settings.genome]
        config = self.settings.as_config()
        with (
            self._steps(on_event) as steps,
            Ledger.open(self.out, config=config, inputs=files) as ledger,
        ):
            if is_resumed := ledger.has_begun:
                on_event(
                    Notice(f"Resuming {ledger.url}: what has a receipt there is not done again.")
                )
            report = steps.make(ledger)
            if is_resumed and urls.is_local(ledger.store):
                _check_whole(ledger)
            ledger.publish()
        return report

    @contextmanager
    def _steps(self, on_event: Subscriber) -> Iterator[PreprocessSteps]:
        from atlasstore.preprocess._steps import PreprocessSteps  # here: compiled code, readers

        spec = FilterSpec(
            min_cell_fraction=self.settings.min_cell_fraction,
            min_peaks_per_cell=self.settings.min_peaks_per_cell,
        )
        with ExitStack() as stack:
            fasta = stack.enter_context(Genome.open(self.settings.genome))
            runner = self.executor or stack.enter_context(
                open_executor(self.dask, self.memory_bytes)
            )
            yield PreprocessSteps(self.settings, spec, fasta, runner, on_event, sizes=self.sizes)


def plan_preprocess(
    inputs: str | Path | AnnData | Sequence[str | Path | AnnData],
    *,
    genome: str | Path,
    out: str | Path,
    peaks: str | Path | None = None,
    barcodes: str | Path | Sequence[str | Path] | None = None,
    min_cell_fraction: float = 0.01,
    min_peaks_per_cell: int = 1,
    window_bp: int = 1344,
    flank_bp: int = 3,
    min_blocks: int = MIN_BLOCKS,
    split: SplitMethod = "grouped",
    split_fractions: Sequence[float] = (0.90, 0.05, 0.05),
    holdout: str | Sequence[str] = (),
    seed: int = 0,
    samples: str | Sequence[str] | None = None,
    min_mapq: int = 30,
    skip_bad: bool = False,
    layer: str | None = None,
    use_raw: bool = False,
    drop_unplaced_peaks: bool = False,
    strict: bool = False,
    allow_unknown_windows: bool = False,
    memory: str | int | None = None,
    dask: str | None = None,
    executor: Executor | None = None,
) -> PreprocessPlan:
    """Plan `preprocess`: check its arguments; nothing is written.

    Parameters are those of `preprocess`, and so are the errors that are raised; those of the
    inputs' content when they are read.

    Examples
    --------
    >>> plan = plan_preprocess(adata, genome="genome.fa", out="atlas.zarr")  # doctest: +SKIP
    >>> print(plan)  # doctest: +SKIP
    >>> plan.run()  # doctest: +SKIP
    """
    refuse_taken(out)
    check_window(window_bp, flank_bp)
    check_method(split)
    _check_blocks(min_blocks)
    FilterSpec(min_cell_fraction=min_cell_fraction, min_peaks_per_cell=min_peaks_per_cell)
    fractions = check_fractions(split_fractions)
    bound = None if memory is None else memory_sizes.parse_size(memory)
    with ExitStack() as undo:
        given = input_urls(inputs)
        undo.callback(release, given)
        check_reach(given, dask, executor)
        settings = Settings(
            samples=plan_samples(
                given, names=as_texts(samples) or None, barcodes=as_texts(barcodes) or None
            ),
            genome=str(genome),
            peaks=None if peaks is None else str(peaks),
            min_cell_fraction=min_cell_fraction,
            min_peaks_per_cell=min_peaks_per_cell,
            window_bp=window_bp,
            flank_bp=flank_bp,
            min_blocks=min_blocks,
            split=split,
            split_fractions=fractions,
            holdout=as_texts(holdout),
            seed=seed,
            min_mapq=min_mapq,
            skip_bad=skip_bad,
            matrix=counts_place(layer, use_raw=use_raw),
            drop_unplaced_peaks=drop_unplaced_peaks,
            strict=strict,
            allow_unknown_windows=allow_unknown_windows,
        )
        plan = PreprocessPlan(str(out), settings, bound, dask, executor)
        weakref.finalize(plan, undo.pop_all().close)
    return plan


def _check_whole(ledger: Ledger) -> None:
    """Read all that is about to be published: a disk may have damaged what an earlier run wrote.

    Raises
    ------
    CorruptStoreError
        It has.
    """
    try:
        Atlas.open(ledger.store).verify()
    except CorruptStoreError as error:
        raise CorruptStoreError(
            f"{str(error).rstrip('.')}. Nothing was published: see to the disk, delete "
            f"{ledger.url} and run the same command again."
        ) from error


def _check_blocks(min_blocks: int) -> None:
    if not 1 <= min_blocks <= MAX_BLOCK_CELLS:
        raise UserInputError(
            f"min_blocks is {min_blocks}, but an atlas has 1 to {MAX_BLOCK_CELLS:,} cell blocks at "
            "least; take as many as workers will share a training."
        )


def check_reach(inputs: Sequence[str], dask: str | None, executor: Executor | None) -> None:
    """Raise UserInputError when workers elsewhere would have to read this process's memory."""
    is_elsewhere = dask is not None or executor is not None
    if is_elsewhere and any(map(is_in_memory, inputs)):
        raise UserInputError(
            "the AnnData is in the memory of this process, where workers cannot reach it; write "
            "it to a .zarr that they can open, or let this process work alone."
        )
