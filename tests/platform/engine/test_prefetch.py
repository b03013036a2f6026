"""Making one item ahead."""

from __future__ import annotations

import threading
import time

import pytest

from atlasbasset.engine.prefetch import Prefetch


def test_items_come_in_order():
    assert list(Prefetch(iter(range(20)))) == list(range(20))
    assert list(Prefetch(iter([]))) == []


def test_the_next_item_is_made_while_one_is_used_and_no_more_than_one():
    made = []
    second = threading.Event()

    def items():
        for i in range(4):
            made.append(i)
            if i == 1:
                second.set()
            yield i

    batches = iter(Prefetch(items()))
    assert next(batches) == 0
    assert second.wait(5)
    time.sleep(0.05)
    assert made == [0, 1]
    batches.close()


def test_an_error_comes_where_the_item_would_be_used():
    def items():
        yield 1
        raise OSError("the store is gone")

    batches = iter(Prefetch(items()))
    assert next(batches) == 1
    with pytest.raises(OSError, match="the store is gone"):
        next(batches)


def test_waiting_is_measured():
    def slow():
        for i in range(3):
            time.sleep(0.05)
            yield i

    batches = Prefetch(slow())
    list(batches)
    assert batches.waited_s >= 0.1
