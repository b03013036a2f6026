"""The task engine: every unit once, receipts, resuming, and the same whoever computes."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from threading import Barrier

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from atlasstore.errors import CorruptStoreError, CountsError, UserInputError
from atlasstore.events import Progress, ignore
from atlasstore.files import urls
from atlasstore.resume import units as engine
from atlasstore.resume.executors import ThreadExecutor
from atlasstore.resume.receipts import Receipts
from atlasstore.resume.units import Ranges, Stage, run_units
from executors import DyingExecutor, Killed, PickledExecutor

STAGE = Stage("squaring", "numbers")


def square(unit):
    return {"square": unit["start"] ** 2, "bytes": 10}


def run(units, work, folder, **options):
    receipts = Receipts(str(folder), units)
    options = {"executor": ThreadExecutor(), "at_once": 1, "on_event": ignore} | options
    failed = run_units(units, work, receipts=receipts, stage=STAGE, **options)
    return receipts, failed


def test_receipts_come_in_the_order_of_units_and_progress_counts_their_ranges(tmp_path):
    units = [{"start": 4, "stop": 9}, {"start": 0, "stop": 4}]
    events = []
    receipts, _ = run(units, square, tmp_path, on_event=events.append)
    assert [receipt["square"] for receipt in receipts.load()] == [16, 0]
    assert events == [
        Progress("squaring", n, 9, "numbers", 10 * i) for i, n in enumerate((0, 5, 9))
    ]


def test_units_with_a_receipt_are_not_done_again(tmp_path):
    units = Ranges(6, 2)
    with pytest.raises(Killed):
        run(units, square, tmp_path, executor=DyingExecutor(1))
    done, events = [], []
    receipts, _ = run(
        units, lambda u: done.append(u["start"]) or square(u), tmp_path, on_event=events.append
    )
    assert done == [4]  # the second unit's receipt was written before its executor died
    assert [event.done for event in events] == [4, 6]
    assert [receipt["square"] for receipt in receipts.load()] == [0, 4, 16]
    assert run(units, pytest.fail, tmp_path)[0].done.all()


def test_a_receipt_of_another_unit_at_that_index_is_not_taken(tmp_path):
    run(Ranges(6, 2), square, tmp_path)
    receipts, _ = run(Ranges(6, 3), square, tmp_path)
    assert [receipt["square"] for receipt in receipts.load()] == [0, 9]


def test_an_error_ends_the_stage_as_it_is_and_what_is_done_keeps_its_receipt(tmp_path):
    def work(unit):
        if unit["start"] == 2:
            raise CorruptStoreError("unit 2 is torn")
        return square(unit)

    with pytest.raises(CorruptStoreError, match="unit 2 is torn"):
        run(Ranges(3, 1), work, tmp_path)
    receipts = Receipts(str(tmp_path), Ranges(3, 1))
    assert receipts.done.tolist() == [True, True, False]
    with pytest.raises(CorruptStoreError, match="lacks the receipts of 1 of 3 units"):
        receipts.load()


@pytest.mark.parametrize("executor", [ThreadExecutor(), PickledExecutor()])
def test_going_on_after_wrong_input_says_which_units_it_was(tmp_path, executor):
    receipts, failed = run(Ranges(5, 1), torn_odd, tmp_path, executor=executor, keep_going=True)
    assert {index: str(error) for index, error in failed.items()} == {1: "torn 1", 3: "torn 3"}
    assert all(type(error) is CountsError for error in failed.values())
    assert receipts.done.tolist() == [True, False, True, False, True]
    with pytest.raises(CountsError):
        run(Ranges(5, 1), torn_odd, tmp_path, executor=executor)


def torn_odd(unit):
    if unit["start"] % 2:
        raise CountsError(f"torn {unit['start']}")
    return {}


class Threaded:
    """Waits until two units are under way at once."""

    def __init__(self, torn=None):
        self.torn, self.both, self.done, self.loads = torn, Barrier(2, timeout=20), [], 0

    def load(self):
        self.loads += 1

    def __call__(self, unit):
        assert self.loads == 1
        if unit["start"] < 2:
            self.both.wait()
        if unit["start"] == self.torn:
            raise CorruptStoreError("torn")
        time.sleep(0.02)
        self.done.append(unit["start"])
        return square(unit)


def test_several_units_are_under_way_in_threads_which_share_what_is_loaded_once(tmp_path):
    work = Threaded()
    receipts, _ = run(Ranges(20, 1), work, tmp_path / "a", at_once=2)
    assert [receipt["square"] for receipt in receipts.load()] == [i**2 for i in range(20)]
    torn = Threaded(torn=1)
    with pytest.raises(CorruptStoreError, match="torn"):
        run(Ranges(20, 1), torn, tmp_path / "b", at_once=2)
    count = len(torn.done)
    assert count < 20  # those not begun by then are not begun
    assert Receipts(str(tmp_path / "b"), Ranges(20, 1)).done.sum() == count


@settings(deadline=None)
@given(total=st.integers(1, 10_000), size=st.integers(1, 3000), index=st.integers(-9, 9))
def test_ranges_cover_all_once(total, size, index):
    units = Ranges(total, size)
    covered = [i for unit in units for i in range(unit["start"], unit["stop"])]
    assert covered == list(range(total))
    if -len(units) <= index < len(units):
        assert units[index] == list(units)[index] == units[index:][0]
    else:
        with pytest.raises(IndexError):
            units[index]


@given(n_units=st.integers(1, 10**7), n_workers=st.integers(1, 1000))
def test_batches_are_many_enough_and_few_enough(n_units, n_workers):
    size = engine._batch_size(n_units, n_workers)
    assert 1 <= size <= 1000
    n_batches = len(Ranges(n_units, size))
    assert n_batches >= min(n_units, 256)
    assert n_batches <= max(1024, 32 * n_workers, n_units // 500)


def test_a_long_batch_writes_receipts_now_and_then_and_one_file_at_the_end(tmp_path):
    given = square, Ranges(5, 1), None, str(tmp_path)
    batch = engine._Batch(*given, keep_going=False, flush_s=0.0, flush_share=0.0)
    seen = []

    def look(unit):
        seen.append(len(urls.list_names(tmp_path)))
        time.sleep(0.001)
        return square(unit)

    object.__setattr__(batch, "work", look)
    assert batch({"start": 0, "stop": 5}) == {"bytes": 50, "errors": []}
    assert seen == [0, 1, 2, 3, 4]
    assert len(urls.list_names(tmp_path)) == 1
    assert Receipts(str(tmp_path), Ranges(5, 1)).done.all()


class EngineMachine(RuleBasedStateMachine):
    """Runs that die anywhere, with other batches and executors each time."""

    @initialize(total=st.integers(1, 40), size=st.integers(1, 5))
    def begin(self, total, size):
        url = f"memory://{uuid.uuid4()}"  # not drawn: examples are run again
        self.units, self.url = Ranges(total, size), url
        self.made, self.known = Counter(), 0

    def work(self, unit):
        self.made[unit["start"]] += 1
        return square(unit)

    @precondition(lambda self: not self._receipts().done.all())
    @rule(n_units=st.integers(0, 6))
    def die(self, n_units):
        options = {"executor": DyingExecutor(n_units), "stage": STAGE, "on_event": ignore}
        try:
            run_units(self.units, self.work, receipts=self._receipts(), **options)
        except Killed:
            return
        assert self._receipts().done.all()

    @rule(at_once=st.integers(1, 3))
    def finish(self, at_once):
        receipts = self._receipts()
        before = receipts.done.copy()
        made = Counter(self.made)
        options = {"executor": ThreadExecutor(cores=3), "stage": STAGE, "on_event": ignore}
        run_units(self.units, self.work, receipts=receipts, at_once=at_once, **options)
        redone = [u["start"] for u, was in zip(self.units, before, strict=True) if was]
        assert all(self.made[start] == made[start] for start in redone)
        squares = [receipt["square"] for receipt in self._receipts().load()]
        assert squares == [unit["start"] ** 2 for unit in self.units]

    def _receipts(self):
        return Receipts(self.url, self.units)

    @invariant()
    def receipts_only_grow(self):
        if not hasattr(self, "units"):
            return
        done = int(self._receipts().done.sum())
        assert done >= self.known
        self.known = done

    def teardown(self):
        if hasattr(self, "url"):
            urls.delete(self.url)


TestEngine = EngineMachine.TestCase
TestEngine.settings = settings(max_examples=8, stateful_step_count=6, deadline=None)


def test_errors_of_other_processes_are_of_their_class():
    from atlasstore.errors import AtlasError, of_class

    assert type(of_class("CountsError", "a")) is CountsError
    assert type(of_class("os", "a")) is type(of_class("of_class", "a")) is AtlasError
    assert isinstance(of_class("PeaksError", "a"), UserInputError)
