"""Running the units of a batch job: here, one after the other, or by actors of Ray Data.

A unit is a few integers; what it computes, it writes itself, each unit its own pieces of the output
(`atlasstore`: the piece is the unit of parallel writing). Only a few JSON values come back. So a
unit may run anywhere and any number of times: Ray starts a dead actor again and gives it the unit
anew.

The work is a picklable callable, best a frozen dataclass of URLs and settings that opens what it
needs when it is first called (`functools.cached_property`) and keeps it: an actor calls one copy
for all of its units.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from logging import StreamHandler, getLogger
from typing import TYPE_CHECKING, Any

from atlasbasset.batch.attempts import check_attempt, start_attempts
from atlasbasset.cluster.ray_session import ray_session
from atlasstore import errors
from atlasstore.errors import AtlasError, UserInputError
from atlasstore.events import Progress
from atlasstore.files import urls

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from ray.data import Dataset

    from atlasstore.events import Subscriber

__all__ = ["Row", "Stage", "Unit", "Work", "Workers", "run_units"]

Unit = Mapping[str, int]
"""Names what to do: the run [start, stop), 0-based half-open, and whatever else the work needs."""
Row = Mapping[str, Any]
"""What is known when a unit is done: a few JSON values; NaN and infinities pass."""
Work = Callable[[Unit], Row]


@dataclass(frozen=True, slots=True)
class Workers:
    """Who computes.

    Raises
    ------
    UserInputError
        For numbers that make no sense.
    """

    count: int = 0
    """Ray Data actors; 0 is this process, without Ray."""
    cpus: float = 1
    """CPU cores of an actor; it uses as many threads."""
    gpus: float = 0
    """GPUs of an actor; several share one by a fraction."""

    def __post_init__(self) -> None:
        if self.count < 0:
            raise UserInputError(f"workers must be 0 (this process) or more, got {self.count}.")
        if not (self.cpus > 0 and self.gpus >= 0):
            raise UserInputError(
                f"a worker needs more than 0 CPUs and no less than 0 GPUs, got {self.cpus:g} and "
                f"{self.gpus:g}."
            )
        if self.gpus and not self.count:
            raise UserInputError(
                "gpus per worker were given without workers; ask for --workers 1 or more (this "
                "process alone takes a GPU by itself where there is one)."
            )
        if self.cpus != 1 and not self.count:
            raise UserInputError(
                f"{self.cpus:g} CPUs per worker were given without workers; ask for --workers 1 or "
                "more (this process alone uses the cores it finds)."
            )

    @property
    def device(self) -> str | None:
        """Where an actor computes; None in this process: what torch finds."""
        return None if not self.count else "cuda" if self.gpus else "cpu"

    def session(self, on_event: Subscriber) -> AbstractContextManager[None]:
        """Return a context in which several `run_units` share one Ray."""
        if not self.count:
            return nullcontext()
        needed = {"CPU": self.count * self.cpus}
        if self.gpus:
            needed["GPU"] = self.count * self.gpus
        return ray_session(needed, on_event)

    def reachable(self, url: str | Path) -> str:
        """Return `url` as the workers can open it: a path made absolute.

        Raises
        ------
        UserInputError
            When it lies in this process's memory and the workers are others.
        """
        if self.count and str(url).startswith("memory:"):
            raise UserInputError(
                f"{url} lies in the memory of this process, where workers cannot reach it; use "
                "--workers 0, or a path or URL that every worker can open."
            )
        return urls.absolute(url)


@dataclass(frozen=True, slots=True)
class Stage:
    """What `Progress` says of the units."""

    name: str
    """As `Progress.stage`."""
    unit: str
    """Plural name of what the units' runs count, as `Progress.unit`."""


def run_units(
    units: Sequence[Unit],
    work: Work,
    *,
    workers: Workers,
    stage: Stage,
    on_event: Subscriber,
    known: Mapping[int, Row] | None = None,
    on_row: Callable[[int, Row], None] | None = None,
) -> list[Row]:
    """Do every unit once, or again where it failed by its actor's death.

    Parameters
    ----------
    units
        In any order; each must write other pieces than all others, and may be done twice.
    work
        Called with one unit at a time; in this process, in as many threads as its attribute
        ``threads`` says, so that one unit computes while another one's bytes are under way. What
        the threads share its method ``load``, if it has one, loads once before them.
    workers
        Who computes; more actors than units are not started.
    stage, on_event
        Hears `Progress` at the start and as units finish.
    known
        Index of a unit -> its row, for units that an earlier run has done.
    on_row
        Called here, in the driver, with index and row of each unit as it finishes.

    Returns
    -------
    list
        A row for each unit, in the order of `units`.

    Raises
    ------
    AtlasError
        The first that a unit raised, of its own class; what a worker raised beside our errors and
        OSError is told in one sentence. Units begun by then may still be running on
        a joined cluster, so that work must not write into a place that is gone.
    """
    rows = dict(known or {})
    left = [index for index in range(len(units)) if index not in rows]
    told = _Told(stage, units, on_event)
    told.begin(rows)
    with _running([units[index] for index in left], work, workers, on_event) as finished:
        for position, row in finished:
            index = left[position]
            rows[index] = row
            if on_row is not None:
                on_row(index, row)
            told.add(index, row)
    return [rows[index] for index in range(len(units))]


class _Told:
    """Counts what is done, and tells it."""

    def __init__(self, stage: Stage, units: Sequence[Unit], on_event: Subscriber) -> None:
        self._stage, self._on_event = stage, on_event
        self._amounts = [unit["stop"] - unit["start"] for unit in units]
        self._total = sum(self._amounts)
        self._done = self._bytes = 0

    def begin(self, known: Mapping[int, Row]) -> None:
        """Tell what an earlier run has done, and that this one begins: rates count from here."""
        self._done = sum(self._amounts[index] for index in known)
        if self._amounts:
            self._tell()

    def add(self, index: int, row: Row) -> None:
        """Count a unit that finished now; bytes are those of this run alone, for the rate."""
        self._done += self._amounts[index]
        self._bytes += int(row.get("bytes", 0))
        self._tell()

    def _tell(self) -> None:
        stage = self._stage
        self._on_event(Progress(stage.name, self._done, self._total, stage.unit, self._bytes))


@contextmanager
def _running(
    units: Sequence[Unit], work: Work, workers: Workers, on_event: Subscriber
) -> Iterator[Iterator[tuple[int, Row]]]:
    if not workers.count or not units:
        with closing(_here(units, work)) as finished:
            yield finished
        return
    with workers.session(on_event), closing(_ray_rows(units, work, workers)) as finished:
        yield finished


def _here(units: Sequence[Unit], work: Work) -> Generator[tuple[int, Row]]:
    """Yield (index, row) of units as they finish in this process."""
    threads = getattr(work, "threads", 1)
    if threads == 1:
        for index, unit in enumerate(units):
            yield index, work(unit)
        return
    if units and (load := getattr(work, "load", None)) is not None:
        load()
    with ThreadPoolExecutor(threads, thread_name_prefix="unit") as pool:
        begun = {pool.submit(work, unit): index for index, unit in enumerate(units)}
        try:
            for future in as_completed(begun):
                yield begun[future], future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _ray_rows(units: Sequence[Unit], work: Work, workers: Workers) -> Generator[tuple[int, Row]]:
    """Yield (index, row) of units as Ray Data finishes them."""
    dataset = _dataset(units, work, workers)
    dataset.context.enable_progress_bars = False
    dataset.context.print_on_execution_start = False
    with _quiet_console():
        for row in dataset.iter_rows():
            if kind := row["error"]:
                raise _error(kind, row["value"])
            yield row["index"], json.loads(row["value"])


def _error(kind: str, value: str) -> Exception:
    """Return the error of an actor as it was raised there."""
    if kind == OSError.__name__:
        number, message = json.loads(value)
        return OSError(number, message)
    found: AtlasError = getattr(errors, kind, AtlasError)(value)
    return found


def _dataset(units: Sequence[Unit], work: Work, workers: Workers) -> Dataset:
    from ray.data import ActorPoolStrategy, from_items

    items = [{"index": index, "unit": dict(unit)} for index, unit in enumerate(units)]
    return from_items(items, override_num_blocks=len(items)).map(
        _Actor,
        fn_constructor_args=(work, start_attempts()),
        # one at a time: a unit queued behind a long one would wait while another actor is idle
        compute=ActorPoolStrategy(
            size=min(workers.count, len(units)), max_tasks_in_flight_per_actor=1
        ),
        num_cpus=workers.cpus,
        num_gpus=workers.gpus or None,
        runtime_env={"env_vars": _threads(workers)},
    )


def _threads(workers: Workers) -> dict[str, str]:
    """Return what torch and numba read when first imported, one count for both.

    Set later, numba would keep its own and, when it starts its threads, make it torch's too.
    """
    threads = str(max(1, int(workers.cpus)))
    return dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), threads)


class _Actor:
    """Holds one copy of the work; rows travel as JSON text, so that all have one schema."""

    def __init__(self, work: Work, attempts: Any) -> None:
        self._work, self._attempts = work, attempts

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        try:
            check_attempt(self._attempts, item["index"], item["unit"])
            value, kind = json.dumps(self._work(item["unit"])), ""
        except AtlasError as error:
            value, kind = str(error), type(error).__name__
        except OSError as error:  # a full disk, a store that cannot be reached
            value, kind = json.dumps([error.errno, str(error)]), OSError.__name__
        except Exception as error:
            getLogger(__name__).exception("unit %s", item["unit"])  # for the worker's own log
            value, kind = _sentence(error, item["unit"]), AtlasError.__name__
        return {"index": item["index"], "value": value, "error": kind}


def _sentence(error: Exception, unit: Unit) -> str:
    """Say what failed where, without line breaks, and what to do where that is known."""
    name, said = type(error).__name__, " ".join(str(error).split()).rstrip(".")
    where = ", ".join(f"{key} {value}" for key, value in unit.items())
    told = f"a worker failed at {where} with {name}{f': {said}' if said else ''}"
    if isinstance(error, MemoryError) or name == "OutOfMemoryError":  # torch's own, of a GPU
        return (
            f"{told}; use fewer --workers on a machine (a larger share of the GPU for each where "
            "they share one), or machines with more memory, then run the same again."
        )
    return f"{told}; the traceback is in the worker's log; what is done is kept."


@contextmanager
def _quiet_console() -> Iterator[None]:
    """Leave what goes well to our own events; Ray Data's log file still hears all."""
    handlers = [h for h in getLogger("ray.data").handlers if isinstance(h, StreamHandler)]
    levels = [handler.level for handler in handlers]
    for handler in handlers:
        handler.setLevel("ERROR")
    try:
        yield
    finally:
        for handler, level in zip(handlers, levels, strict=True):
            handler.setLevel(level)
