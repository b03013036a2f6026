"""Executors for tests: as other processes would, within a few lines."""

from __future__ import annotations

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any

from atlasstore.resume.executors import ThreadExecutor

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from atlasstore.resume.machine import Machine
    from atlasstore.resume.units import Receipt, Unit, Work


def travelled(what: Any) -> Any:
    return ForkingPickler.loads(ForkingPickler.dumps(what))


class PickledExecutor:
    """One unit after the other; work, units and receipts travel."""

    n_workers = 3

    def machine(self) -> Machine:
        return ThreadExecutor(cores=1).machine()

    def run(
        self, work: Work, units: Sequence[Unit], *, at_once: int | None = None
    ) -> Generator[tuple[int, Receipt], None, None]:
        there = travelled(work)
        for index, unit in enumerate(units):
            yield index, json.loads(json.dumps(there(travelled(unit))))


class ProcessExecutor(PickledExecutor):
    """A process of its own."""

    def run(
        self, work: Work, units: Sequence[Unit], *, at_once: int | None = None
    ) -> Generator[tuple[int, Receipt], None, None]:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            yield from enumerate(pool.map(work, units))


class Killed(BaseException):
    """As a killed process: nothing catches it."""


class DyingExecutor(ThreadExecutor):
    """This thread, which dies when it has done some units."""

    def __init__(self, n_units: int) -> None:
        super().__init__(cores=1)
        self._left = n_units

    def run(
        self, work: Work, units: Sequence[Unit], *, at_once: int | None = None
    ) -> Generator[tuple[int, Receipt], None, None]:
        for done in super().run(work, units, at_once=1):
            if not self._left:
                raise Killed
            self._left -= 1
            yield done
