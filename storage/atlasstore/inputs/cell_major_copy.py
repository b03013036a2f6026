"""Inputs that are not stored by cells become cell-major copies: zarr with X (CSR) and obs.

Every piece of every input is one unit of the task engine, and joining an input's pieces is one
more.

::

    FOLDER/pieces/0-9/{runs/0, runs/1, ..., facts.json}   what counting piece [0, 9) found
    FOLDER/counts.zarr                                    the copy; pieces/ is deleted then
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from atlasstore import memory
from atlasstore.errors import UserInputError
from atlasstore.events import Notice, Subscriber, ignore
from atlasstore.files import urls
from atlasstore.files.sealed import read_sealed, write_sealed
from atlasstore.inputs.bam import BamPieces
from atlasstore.inputs.csc_columns import ColumnPieces
from atlasstore.inputs.external_sort import Run, RunWriter, merge_runs
from atlasstore.inputs.fragments import FragmentPieces
from atlasstore.inputs.tenx_folder import FolderPieces
from atlasstore.resume.executors import ThreadExecutor
from atlasstore.resume.receipts import Receipts
from atlasstore.resume.units import Receipt, Stage, Unit, run_units
from atlasstore.zarrio import tables

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt
    import pandas as pd

    from atlasstore.inputs.source import Cells, Piece, Pieces
    from atlasstore.inputs.spec import SourceSpec
    from atlasstore.resume.units import Executor

    Ints = npt.NDArray[np.int64]

__all__ = ["Conversion", "Copy", "convert"]

_PIECES: dict[str, Callable[[SourceSpec], Pieces]] = {
    "fragments": FragmentPieces,
    "bam": BamPieces,
    "10x-folder": FolderPieces,
    "h5ad": ColumnPieces,
    "zarr": ColumnPieces,
}


_ONE_TABLE = Lock()
"""Units may be threads, and anndata's writer has settings that all of them share."""


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
    """An input and its pieces."""

    conversion: Conversion
    pieces: tuple[Piece, ...]
    memory_bytes: int

    def folder(self, piece: Piece) -> str:
        start, stop = piece
        return urls.join(self.conversion.folder, "pieces", f"{start}-{stop}")

    def facts(self, piece: Piece) -> str:
        return urls.join(self.folder(piece), "facts.json")

    @property
    def store(self) -> str:
        return urls.join(self.conversion.folder, "counts.zarr")


def convert(
    conversions: Sequence[Conversion],
    *,
    scratch: str,
    memory_bytes: int,
    executor: Executor | None = None,
    n_workers: int = 1,
    on_event: Subscriber = ignore,
) -> list[Copy | UserInputError]:
    """Make the copies; return for each its copy, or why the input cannot be used.

    Parameters
    ----------
    conversions
        The inputs.
    scratch
        URL of a folder for the receipts of these conversions alone.
    memory_bytes
        What one unit may take for its data, in bytes.
    executor
        Who counts and joins; this process, one unit at a time, by default.
    n_workers
        Units at a time in a process.
    on_event
        Called with progress and notices.
    """
    memory.give_back_from_now_on()
    runner = executor or ThreadExecutor(cores=1)
    found: list[_Plan | UserInputError] = [
        _plan(conversion, n_workers, memory_bytes) for conversion in conversions
    ]
    plans = [plan if isinstance(plan, _Plan) else None for plan in found]
    folders = [zlib.crc32(one.folder.encode()) for one in conversions]  # what makes them others
    join_units = [
        {"input": i, "folder": folder, "start": 0, "stop": 1} for i, folder in enumerate(folders)
    ]
    joined = Receipts(urls.join(scratch, "join"), join_units)
    failed = _count_all(plans, folders, joined, scratch, runner, n_workers, on_event)
    joined.mark(np.flatnonzero([plan is None or i in failed for i, plan in enumerate(plans)]))
    failed |= run_units(
        join_units,
        _Join(tuple(plans)),
        receipts=joined,
        executor=runner,
        stage=Stage("joining counts", "inputs"),
        on_event=on_event,
        at_once=n_workers,
        keep_going=True,
    )
    notices = {index: receipt["notices"] for index, receipt in joined}
    for sentence in (s for index in sorted(notices) for s in notices[index]):
        on_event(Notice(sentence))
    return [
        _copy(plan, notices[i])
        if isinstance(plan, _Plan) and i not in failed
        else _why(plan, failed.get(i))
        for i, plan in enumerate(found)
    ]


def _why(plan: _Plan | UserInputError, error: UserInputError | None) -> UserInputError:
    why = error if isinstance(plan, _Plan) else plan
    assert why is not None
    return why


def _copy(plan: _Plan, notices: Sequence[str]) -> Copy:
    obs = tables.read_table(urls.open_group(plan.store), "obs", url=plan.store)
    return Copy(plan.conversion.spec.copied_to(plan.store), obs, tuple(notices))


def _plan(conversion: Conversion, n_workers: int, memory_bytes: int) -> _Plan | UserInputError:
    try:
        pieces = tuple(_pieces(conversion.spec).plan(n_workers))
    except UserInputError as error:
        return error
    return _Plan(conversion, pieces, memory_bytes)


def _pieces(spec: SourceSpec) -> Pieces:
    return _PIECES[spec.kind](spec)


def _count_all(
    plans: Sequence[_Plan | None],
    folders: Sequence[int],
    joined: Receipts,
    scratch: str,
    executor: Executor,
    n_workers: int,
    on_event: Subscriber,
) -> dict[int, UserInputError]:
    """Count the pieces of all inputs that are not joined; return input -> its first error."""
    units = [
        {"input": i, "folder": folders[i], "first": first, "last": last, "start": 0, "stop": 1}
        for i, plan in enumerate(plans)
        for first, last in (plan.pieces if plan else ())
    ]
    receipts = Receipts(urls.join(scratch, "count"), units)
    receipts.mark(np.flatnonzero([joined.done[unit["input"]] for unit in units]))
    alone = on_event if len(units) == 1 and isinstance(executor, ThreadExecutor) else ignore
    failed = run_units(
        units,
        _Count(tuple(plans), alone),
        receipts=receipts,
        executor=executor,
        stage=Stage("counting inputs", "pieces"),
        on_event=on_event,
        at_once=n_workers,
        keep_going=True,
    )
    return {units[at]["input"]: failed[at] for at in sorted(failed, reverse=True)}


@dataclass(frozen=True, eq=False, slots=True)
class _Count:
    """Work: count one piece of one input into sorted runs."""

    plans: tuple[_Plan | None, ...]
    on_event: Subscriber
    """Called with the progress inside a piece that is the only one."""

    def __call__(self, unit: Unit) -> Receipt:
        plan = self.plans[unit["input"]]
        assert plan is not None
        piece, half = (unit["first"], unit["last"]), plan.memory_bytes // 2
        pieces = _pieces(plan.conversion.spec)
        runs = urls.join(plan.folder(piece), "runs")
        writer = RunWriter(runs, n_peaks=len(pieces.peaks), memory_bytes=half)
        facts = pieces.count(piece, writer.add, memory_bytes=half, on_event=self.on_event)
        facts["n_runs"] = writer.close()
        write_sealed(plan.facts(piece), json.dumps(facts).encode())
        memory.give_back()
        return {}


@dataclass(frozen=True, eq=False, slots=True)
class _Join:
    """Work: put one input's pieces together; return what the person should know."""

    plans: tuple[_Plan | None, ...]

    def __call__(self, unit: Unit) -> Receipt:
        plan = self.plans[unit["input"]]
        assert plan is not None
        notices = _write_copy(plan, plan.store)
        urls.delete(urls.join(plan.conversion.folder, "pieces"))
        return {"notices": notices}


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
        return json.loads(read_sealed(self._plan.facts(self._plan.pieces[at])))


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
