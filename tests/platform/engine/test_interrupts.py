from __future__ import annotations

import os
import signal
import threading

import pytest

from atlasbasset.engine.config import TrainConfig
from atlasbasset.engine.interrupts import Departure, EndAsked, held_back, never


def interrupted_within(done):
    with held_back():
        os.kill(os.getpid(), signal.SIGINT)
        done.append("the rest of the block")


def test_an_interrupt_waits_for_the_end_of_the_block():
    before, done = signal.getsignal(signal.SIGINT), list[str]()
    with pytest.raises(KeyboardInterrupt):
        interrupted_within(done)
    assert done == ["the rest of the block"]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_handler_is_called_at_once():
    """So that one that ends the process does."""
    heard = list[int]()
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        with held_back():
            os.kill(os.getpid(), signal.SIGTERM)
            assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_what_is_not_handled_in_python_stays_so():
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)  # Ray leaves a handler of its own
    try:
        with held_back():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


def test_other_threads_are_left_alone():
    seen = list[object]()

    def work():
        with held_back():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]


def test_the_wish_to_end_is_looked_for_now_and_then(tmp_path):
    asked = EndAsked(tmp_path / "end")
    assert not asked()
    (tmp_path / "end").touch()
    assert not asked()
    asked._look_at = 0.0
    assert asked()


def test_a_departure_is_looked_for_now_and_then_and_hastens_checkpoints(monkeypatch):
    now, leaves, asked = [100.0], [False], []
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    settings = TrainConfig.recipe("fast", checkpoint_s=300.0)

    def node_leaves():
        asked.append(now[0])
        return leaves[0]

    departure = Departure(node_leaves)
    assert departure.is_due()
    departure.look()
    assert not departure.is_due()
    assert departure.checkpoint_s(settings) == 300
    now[0], leaves[0] = 102.0, True
    assert departure.is_due()
    departure.look()
    assert departure.checkpoint_s(settings) == 0
    assert asked == [100.0, 102.0]
    assert not Departure(never).is_due()
