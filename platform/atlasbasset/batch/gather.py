"""Arrays that units compute and this process needs: measures, which no store keeps.

What is stored, units write themselves (`atlasbasset.batch.job`).
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from atlasstore.events import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from atlasbasset.batch.executor import WorkerPool
    from atlasstore.events import Subscriber
    from atlasstore.resume.units import Receipt, Stage, Unit

__all__ = ["Arrays", "gather"]

Arrays = Mapping[str, "NDArray[Any]"]
"""What a unit computes, by name: little beside what it reads."""


def gather(
    units: Sequence[Unit],
    compute: Callable[[Unit], Arrays],
    *,
    pool: WorkerPool,
    stage: Stage,
    on_event: Subscriber,
) -> list[Arrays]:
    """Compute every unit and return what they found, in the units' order.

    Parameters
    ----------
    units
        Each a range [start, stop) and whatever else is needed.
    compute
        Picklable where others compute; without workers it is called here, one unit at a time.
    pool
        Who computes; joined by its `session`.
    stage
        What `Progress` says.

    Raises
    ------
    AtlasError
        The first that a unit raised.
    """
    found: list[Arrays] = [{} for _ in units]
    total, done = sum(_amount(unit) for unit in units), 0
    on_event(Progress(stage.name, 0, total, stage.unit))
    with closing(pool.executor.run(_AsText(compute), units, at_once=1)) as results:
        for index, receipt in results:
            found[index] = {name: _array(text) for name, text in receipt.items()}
            done += _amount(units[index])
            on_event(Progress(stage.name, done, total, stage.unit))
    return found


@dataclass(frozen=True, eq=False)
class _AsText:
    """Work: compute a unit; its receipt is what was found, as text."""

    compute: Callable[[Unit], Arrays]

    def __call__(self, unit: Unit) -> Receipt:
        return {name: _text(array) for name, array in self.compute(unit).items()}


def _text(array: NDArray[Any]) -> str:
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    return base64.b64encode(content.getbuffer()).decode()


def _array(text: str) -> NDArray[Any]:
    found: NDArray[Any] = np.load(io.BytesIO(base64.b64decode(text)), allow_pickle=False)
    return found


def _amount(unit: Unit) -> int:
    return unit["stop"] - unit["start"]
