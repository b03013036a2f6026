"""Units in this process, and what is refused; Ray itself in `test_on_ray`."""

from __future__ import annotations

import errno
import time
from pathlib import Path
from threading import Barrier

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from atlasbasset.batch.run import Stage, Workers, _Actor, _error, run_units
from atlasbasset.cluster.ray_session import _check_resources
from atlasbasset.verbs.map_cells.work import block_units
from atlasbasset.verbs.shared.embed_peaks_work import peak_units
from atlasstore.errors import AtlasError, CorruptStoreError, UserInputError
from atlasstore.events import Notice, Progress, ignore
from atlasstore.zarrio.blocks import cut_cells

HERE, STAGE = Workers(), Stage("squaring", "numbers")
UNIT = {"start": 0, "stop": 1}


def square(unit):
    return {"square": unit["start"] ** 2}


def test_rows_come_in_the_order_of_units_and_progress_counts_their_runs():
    units = [{"start": 4, "stop": 9}, {"start": 0, "stop": 4}]
    events = []
    rows = run_units(units, square, workers=HERE, stage=STAGE, on_event=events.append)
    assert rows == [{"square": 16}, {"square": 0}]
    assert events == [Progress("squaring", n, 9, "numbers") for n in (0, 5, 9)]


def test_units_that_are_known_are_not_done_again_and_others_are_told_as_they_finish():
    units = [{"start": i, "stop": i + 2} for i in (0, 2, 4)]
    kept, events = [], []
    rows = run_units(
        units,
        square,
        workers=HERE,
        stage=STAGE,
        on_event=events.append,
        known={1: {"square": -1}},
        on_row=lambda *found: kept.append(found),
    )
    assert rows == [{"square": 0}, {"square": -1}, {"square": 16}]
    assert kept == [(0, {"square": 0}), (2, {"square": 16})]
    assert [event.done for event in events] == [2, 4, 6]


def test_bytes_of_rows_are_added_up():
    events, units = [], [{"start": i, "stop": i + 1} for i in range(3)]
    work = {"workers": HERE, "stage": STAGE, "on_event": events.append}
    run_units(units, lambda unit: {"bytes": 10 * unit["stop"]}, **work)
    assert [event.n_bytes for event in events] == [0, 10, 30, 60]


def test_no_units_need_no_workers():
    assert run_units([], square, workers=Workers(2), stage=STAGE, on_event=ignore) == []


def test_an_error_ends_the_run_as_it_is():
    done = []

    def work(unit):
        if unit["start"] == 1:
            raise CorruptStoreError("unit 1 is torn")
        done.append(unit["start"])
        return {}

    units = [{"start": i, "stop": i + 1} for i in range(3)]
    with pytest.raises(CorruptStoreError, match="unit 1 is torn") as found:
        run_units(units, work, workers=HERE, stage=STAGE, on_event=ignore)
    assert str(found.value) == "unit 1 is torn"
    assert done == [0]


class Threaded:
    """Waits until two units are under way at once."""

    threads = 2

    def __init__(self, torn=None):
        self.torn, self.met, self.done = torn, Barrier(2, timeout=20), []

    def __call__(self, unit):
        if unit["start"] < 2:
            self.met.wait()
        if unit["start"] == self.torn:
            raise CorruptStoreError("torn")
        time.sleep(0.02)
        self.done.append(unit["start"])
        return {"square": unit["start"] ** 2}


def test_work_that_says_so_has_several_units_under_way_here():
    units = [{"start": i, "stop": i + 1} for i in range(20)]
    rows = run_units(units, Threaded(), workers=HERE, stage=STAGE, on_event=ignore)
    assert [row["square"] for row in rows] == [i**2 for i in range(20)]
    torn, kept = Threaded(torn=1), []
    with pytest.raises(CorruptStoreError, match="torn"):
        run_units(
            units,
            torn,
            workers=HERE,
            stage=STAGE,
            on_event=ignore,
            on_row=lambda *found: kept.append(found[0]),
        )
    assert set(kept) <= set(torn.done)
    count = len(torn.done)
    assert count < 20  # those not begun by then are not begun
    assert len(torn.done) == count


class FullDisk:
    def __call__(self, unit):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_of_an_actor_is_told_as_one_here(monkeypatch):
    monkeypatch.setattr("atlasbasset.batch.run.check_attempt", lambda *_: None)
    row = _Actor(FullDisk(), None)({"index": 0, "unit": UNIT})
    found = _error(row["error"], row["value"])
    assert isinstance(found, OSError)
    assert found.errno == errno.ENOSPC
    assert "No space left" in str(found)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((-1,), "workers must be 0"),
        ((1, 0), "more than 0 CPUs"),
        ((1, float("nan")), "more than 0 CPUs"),
        ((1, 1, -1), "no less than 0 GPUs"),
        ((0, 1, 1), "given without workers"),
        ((0, 4), "4 CPUs per worker were given without workers"),
    ],
)
def test_workers_that_make_no_sense_get_one_sentence(numbers, message):
    with pytest.raises(UserInputError, match=message):
        Workers(*numbers)


def test_where_workers_compute():
    assert [Workers(0).device, Workers(2).device, Workers(2, 1, 0.5).device] == [
        None,
        "cpu",
        "cuda",
    ]


def test_what_workers_can_reach(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Workers(2).reachable("a/b") == str(tmp_path / "a" / "b")
    assert Workers(2).reachable(Path("/a")) == "/a"
    assert Workers(2).reachable("s3://bucket/a") == "s3://bucket/a"
    assert Workers(0).reachable("memory://a") == "memory://a"
    with pytest.raises(UserInputError, match="memory://a lies in the memory of this process"):
        Workers(2).reachable("memory://a")


def test_a_machine_that_is_too_small_is_refused_and_a_cluster_may_grow():
    events = []
    needed, present = {"CPU": 8.0, "GPU": 2.0}, {"CPU": 4.0}
    with pytest.raises(UserInputError, match=r"8 CPUs \(there are 4\) and 2 GPUs \(there are 0\)"):
        _check_resources(needed, present, events.append, joined=False)
    assert events == []
    _check_resources(needed, present, events.append, joined=True)
    assert [type(event) for event in events] == [Notice]
    _check_resources({"CPU": 4.0}, present, events.append, joined=False)
    assert len(events) == 1


@given(n_cells=st.integers(1, 10_000), block_cells=st.integers(1, 3000))
def test_blocks_and_peaks_are_cut_into_units_once(n_cells, block_cells):
    blocks = cut_cells(n_cells, block_cells)
    for units in (block_units(blocks), peak_units(n_cells)):
        covered = [i for unit in units for i in range(unit["start"], unit["stop"])]
        assert covered == list(range(n_cells))
    assert [unit["block"] for unit in block_units(blocks)] == list(range(len(blocks)))


class Raising:
    def __init__(self, error):
        self.error = error

    def __call__(self, unit):
        raise self.error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (KeyError("chr7"), "KeyError: 'chr7'"),
        (RuntimeError("shapes\n  do not\nmatch"), "RuntimeError: shapes do not match"),
        (MemoryError(), "fewer --workers on a machine"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), "fewer --workers on a machine"),
    ],
)
def test_an_unexpected_error_of_an_actor_is_one_sentence(monkeypatch, error, message):
    monkeypatch.setattr("atlasbasset.batch.run.check_attempt", lambda *_: None)
    row = _Actor(Raising(error), None)({"index": 0, "unit": UNIT})
    found = _error(row["error"], row["value"])
    assert type(found) is AtlasError
    assert message in str(found)
    assert type(error).__name__ in str(found)
    assert "start 0, stop 1" in str(found)
    assert "\n" not in str(found)


class Loading(Threaded):
    def __init__(self):
        super().__init__()
        self.loads = 0

    def load(self):
        self.loads += 1

    def __call__(self, unit):
        assert self.loads == 1
        return super().__call__(unit)


def test_what_threads_share_is_loaded_once_before_them():
    work, units = Loading(), [{"start": i, "stop": i + 1} for i in range(4)]
    run_units(units, work, workers=HERE, stage=STAGE, on_event=ignore)
    run_units([], work, workers=HERE, stage=STAGE, on_event=ignore)
    assert work.loads == 1


def test_progress_costs_the_same_for_every_unit(monkeypatch):
    sums = []
    counted = lambda values: sums.append(1) or sum(values)  # noqa: E731
    monkeypatch.setattr("atlasbasset.batch.run.sum", counted, raising=False)
    units = [{"start": i, "stop": i + 1} for i in range(50)]
    run_units(units, lambda _unit: {}, workers=HERE, stage=STAGE, on_event=ignore)
    assert 0 < len(sums) < 5
