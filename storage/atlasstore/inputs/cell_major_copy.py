"""Inputs that are not stored by cells become cell-major copies: zarr with X (CSR) and obs.

Every piece of every input is one task, and putting an input's pieces together is one more; tasks
are small, pickle, and find all they need by themselves, so any number of processes may share them.
A task that is done leaves a mark, written last; done again, it finds the mark and does nothing.

::

    FOLDER/pieces/0-9/{runs/0, runs/1, ..., facts.json}   facts.json: the mark of piece [0, 9)
    FOLDER/counts.zarr                                    the copy
    FOLDER/copy.json                                      its mark; pieces/ is deleted then
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import repeat
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from atlasstore import memory
from atlasstore.errors import UserInputError
from atlasstore.events import Notice, Progress, Subscriber, ignore
from atlasstore.files import urls
from atlasstore.inputs.bam import BamPieces
from atlasstore.inputs.csc_columns import ColumnPieces
from atlasstore.inputs.external_sort import Run, RunWriter, merge_runs
from atlasstore.inputs.fragments import FragmentPieces
from atlasstore.inputs.tenx_folder import FolderPieces
from atlasstore.redaction import shown_values
from atlasstore.zarrio import tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy.typing as npt
    import pandas as pd

    from atlasstore.inputs.source import Cells, Piece, Pieces
    from atlasstore.inputs.spec import SourceSpec

    Ints = npt.NDArray[np.int64]
    RunTasks = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]

__all__ = ["Conversion", "Copy", "convert"]

_PIECES: dict[str, Callable[[SourceSpec], Pieces]] = {
    "fragments": FragmentPieces,
    "bam": BamPieces,
    "10x-folder": FolderPieces,
    "h5ad": ColumnPieces,
    "zarr": ColumnPieces,
}


_ONE_TABLE = Lock()
"""Tasks may be threads, and anndata's writer has settings that all of them share."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """One input and where its copy goes."""

    spec: SourceSpec
    """How to open the input."""
    folder: str
    """URL of a folder for this input alone."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A finished cell-major copy."""

    spec: SourceSpec
    """How to open it."""
    obs: pd.DataFrame
    """The cells, as `CountsSource.obs`."""
    notices: tuple[str, ...]
    """What the person should know of the input."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """An input and its pieces; none when its copy is there."""

    conversion: Conversion
    pieces: tuple[Piece, ...]
    memory_bytes: int

    def folder(self, piece: Piece) -> str:
        start, stop = piece
        return urls.join(self.conversion.folder, "pieces", f"{start}-{stop}")

    @property
    def mark(self) -> str:
        return urls.join(self.conversion.folder, "copy.json")


def convert(
    conversions: Sequence[Conversion],
    *,
    memory_bytes: int,
    run: RunTasks | None = None,
    n_workers: int = 1,
    on_event: Subscriber = ignore,
) -> list[Copy | UserInputError]:
    """Make the copies; return for each its copy, or why the input cannot be used.

    Parameters
    ----------
    conversions
        The inputs.
    memory_bytes
        What one task may take for its data, in bytes.
    run
        Maps a function over tasks, in order, as `map` does; in this process when absent.
    n_workers
        How many tasks `run` has under way at once.
    on_event
        Hears progress and notices.
    """
    memory.give_back_from_now_on()
    plans = [_failing(_plan, (c, n_workers, memory_bytes)) for c in conversions]
    tasks = [(plan, piece) for plan in plans if isinstance(plan, _Plan) for piece in plan.pieces]
    errors = iter(_counted(tasks, run, on_event))
    counted = [_first_error(plan, errors) for plan in plans]
    finished = iter(
        list((run or map)(partial(_failing, _finish), [p for p in counted if isinstance(p, _Plan)]))
    )
    copies = [next(finished) if isinstance(plan, _Plan) else plan for plan in counted]
    for copy in copies:
        for sentence in getattr(copy, "notices", ()):
            on_event(Notice(sentence))
    return copies


def _failing(function: Callable[[Any], Any], argument: Any) -> Any:
    """Return what the function returns, or the `UserInputError` it raises."""
    try:
        return function(argument)
    except UserInputError as error:
        return error


def _plan(what: tuple[Conversion, int, int]) -> _Plan:
    conversion, n_workers, memory_bytes = what
    plan = _Plan(conversion, (), memory_bytes)
    if urls.exists(plan.mark):
        return plan
    return replace(plan, pieces=tuple(_pieces(conversion.spec).plan(n_workers)))


def _pieces(spec: SourceSpec) -> Pieces:
    return _PIECES[spec.kind](spec)


def _counted(
    tasks: Sequence[tuple[_Plan, Piece]], run: RunTasks | None, on_event: Subscriber
) -> Iterator[UserInputError | None]:
    """Yield for each piece why it cannot be counted, None when it is."""
    if run is None:
        yield from (_failing(partial(_count, on_event=on_event), task) for task in tasks)
        return
    for done, error in enumerate(run(partial(_failing, _count), tasks), 1):
        on_event(Progress("counting inputs", done, len(tasks), "pieces"))
        yield error


def _count(task: tuple[_Plan, Piece], *, on_event: Subscriber = ignore) -> None:
    plan, piece = task
    folder = plan.folder(piece)
    mark = urls.join(folder, "facts.json")
    if urls.exists(mark):
        return
    pieces, half = _pieces(plan.conversion.spec), plan.memory_bytes // 2
    runs = urls.join(folder, "runs")
    writer = RunWriter(runs, n_peaks=len(pieces.peaks), memory_bytes=half)
    facts = pieces.count(piece, writer.add, memory_bytes=half, on_event=on_event)
    facts["n_runs"] = writer.close()
    urls.write_bytes(mark, json.dumps(facts).encode())
    memory.give_back()


def _first_error(
    plan: _Plan | UserInputError, errors: Iterator[UserInputError | None]
) -> _Plan | UserInputError:
    """Take the outcome of each of the plan's pieces; return the first error or the plan."""
    if not isinstance(plan, _Plan):
        return plan
    found = [next(errors) for _ in plan.pieces]
    return next((error for error in found if error is not None), plan)


def _finish(plan: _Plan) -> Copy:
    """Put an input's pieces together."""
    store = urls.join(plan.conversion.folder, "counts.zarr")
    if not urls.exists(plan.mark):
        notices = _write_copy(plan, store)
        urls.write_bytes(plan.mark, json.dumps({"notices": shown_values(notices)}).encode())
    urls.delete(urls.join(plan.conversion.folder, "pieces"))
    obs = tables.read_table(urls.open_group(store), "obs", url=store)
    notices = json.loads(urls.read_bytes(plan.mark))["notices"]
    return Copy(plan.conversion.spec.copied_to(store), obs, tuple(notices))


def _write_copy(plan: _Plan, store: str) -> list[str]:
    """Write the copy and return what the person should know."""
    pieces, notices = _pieces(plan.conversion.spec), list[str]()
    facts = _Facts(plan)
    cells = pieces.cells(facts, notices.append)
    shape = (len(cells.obs), len(pieces.peaks))
    urls.delete(store)
    group = urls.create_group(store)
    x = group.create_group("X")
    merge_runs(_runs(plan, facts, cells), x, shape=shape, memory_bytes=plan.memory_bytes)
    x.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": shape})
    with _ONE_TABLE:
        tables.write_table(group, "obs", cells.obs)
    return notices


class _Facts(Sequence[dict[str, Any]]):
    """What counting said of each piece, read whenever it is asked for: all grow with the input."""

    def __init__(self, plan: _Plan) -> None:
        self._plan = plan

    def __len__(self) -> int:
        return len(self._plan.pieces)

    def __getitem__(self, at: Any) -> Any:
        mark = urls.join(self._plan.folder(self._plan.pieces[at]), "facts.json")
        return json.loads(urls.read_bytes(mark))


def _runs(plan: _Plan, facts: Sequence[dict[str, Any]], cells: Cells) -> list[Run]:
    """Return all pieces' runs, their cells by the numbers in obs."""
    found = []
    numbering = repeat(None, len(facts)) if cells.numbering is None else cells.numbering
    for piece, fact, numbers in zip(plan.pieces, facts, numbering, strict=True):
        for number in range(fact["n_runs"]):
            run = Run(urls.join(plan.folder(piece), "runs", str(number)))
            found.append(run if numbers is None or _is_count(numbers) else run.renumbered(numbers))
    return found


def _is_count(numbers: Ints) -> bool:
    return bool((numbers == np.arange(len(numbers))).all())
