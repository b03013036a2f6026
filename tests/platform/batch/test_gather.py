"""Arrays of units, in the units' order and with their bits, through text as workers send it."""

from __future__ import annotations

import numpy as np
import pytest

from atlasbasset.batch.executor import WorkerPool
from atlasbasset.batch.gather import gather
from atlasstore.errors import UserInputError
from atlasstore.events import Progress
from atlasstore.resume.units import Ranges, Stage
from executors import PickledExecutor

STAGE = Stage("counting", "cells")
TYPES = (np.float32, np.float64, np.int64, np.bool_)


class Backwards(PickledExecutor):
    """The last unit is the first to finish."""

    def run(self, work, units, *, at_once=None):
        yield from reversed(list(super().run(work, units, at_once=at_once)))


def computed(unit):
    start, stop = unit["start"], unit["stop"]
    if stop > 90:
        raise UserInputError("there are 90")
    values = np.arange(start, stop) / 3 + np.array([[0], [np.nan]])
    return {np.dtype(kind).name: values.astype(kind) for kind in TYPES[:2]} | {
        "none": np.empty((0, 2), np.bool_),
        "one": np.array(stop),
    }


@pytest.mark.parametrize("executor", [None, PickledExecutor(), Backwards()])
def test_arrays_come_back_as_they_were_computed(executor, monkeypatch):
    if executor is not None:
        monkeypatch.setattr(WorkerPool, "executor", executor)
    units, heard = Ranges(10, 4), []
    found = gather(units, computed, pool=WorkerPool(), stage=STAGE, on_event=heard.append)
    assert len(found) == 3
    for unit, part in zip(units, found, strict=True):
        for name, expected in computed(unit).items():
            np.testing.assert_array_equal(part[name], expected, strict=True)
    assert heard[0] == Progress("counting", 0, 10, "cells")
    assert heard[-1] == Progress("counting", 10, 10, "cells")


def test_the_error_of_a_unit_is_raised():
    with pytest.raises(UserInputError, match="there are 90"):
        gather(Ranges(95, 50), computed, pool=WorkerPool(), stage=STAGE, on_event=lambda _: None)
