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
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from logging import StreamHandler, getLogger
from typing import TYPE_CHECKING, Any

from atlasbasset.batch.attempts import check_attempt, start_attempts
from atlasbasset.ray_session import ray_session
from atlasstore import errors, urls
from atlasstore.errors import AtlasError, UserInputError
from atlasstore.events import Progress

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
        return str(urls.local_path(url).absolute()) if urls.is_local(url) else str(url)


@dataclass(frozen=True, slots=True)
class Stage:
    """What `Progress` says of the units."""

    name: str
    """As `Progress.stage`."""
    unit: str
    """Plural name of what the units' runs count, as `Progress.unit`."""


def run_units(
    units: Sequence[Unit], work: Work, *, workers: Workers, stage: Stage, on_event: Subscriber
) -> list[Row]:
    """Do every unit once, or again where it failed by its actor's death.

    Parameters
    ----------
    units
        In any order; each must write other pieces than all others, and may be done twice.
    work
        Called with one unit at a time.
    workers
        Who computes; more actors than units are not started.
    stage, on_event
        Hears `Progress` as units finish.

    Returns
    -------
    list
        A row for each unit, in the order of `units`.

    Raises
    ------
    AtlasError
        The first that a unit raised, of its own class. Units begun by then may still be running on
        a joined cluster, so that work must not write into a place that is gone.
    """
    rows: dict[int, Row] = {}
    total = sum(_amount(unit) for unit in units)
    done = 0
    with _running(units, work, workers, on_event) as finished:
        for index, row in finished:
            rows[index] = row
            done += _amount(units[index])
            on_event(Progress(stage.name, done, total, stage.unit))
    return [rows[index] for index in range(len(units))]


def _amount(unit: Unit) -> int:
    return unit["stop"] - unit["start"]


@contextmanager
def _running(
    units: Sequence[Unit], work: Work, workers: Workers, on_event: Subscriber
) -> Iterator[Iterator[tuple[int, Row]]]:
    if not workers.count or not units:
        yield ((index, work(unit)) for index, unit in enumerate(units))
        return
    with workers.session(on_event), closing(_ray_rows(units, work, workers)) as finished:
        yield finished


def _ray_rows(units: Sequence[Unit], work: Work, workers: Workers) -> Generator[tuple[int, Row]]:
    """Yield (index, row) of units as Ray Data finishes them."""
    dataset = _dataset(units, work, workers)
    dataset.context.enable_progress_bars = False
    dataset.context.print_on_execution_start = False
    with _quiet_console():
        for row in dataset.iter_rows():
            if kind := row["error"]:
                raise getattr(errors, kind, AtlasError)(row["value"])
            yield row["index"], json.loads(row["value"])


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
        return {"index": item["index"], "value": value, "error": kind}


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
