"""The soak sees what is planted: a lost shard, a stray file; and a struck run that is in order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from soak import faults
from soak.run import drawn
from soak.stage import Place, Stage
from soak.tally import Tally
from soak.trial import tried
from soak.work import Task, make_inputs


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("soak")
    root, files = folder / "disk", folder / "files"
    for made in (root, files):
        made.mkdir()
    found = Stage(Place(str(root), make_inputs(str(root), files)), {})
    yield found
    found.end()


@pytest.fixture
def expected(place):
    return place.reference("denoise", 0, ray=False)[0]


def struck(place, expected, strike, *, moment=3, is_doomed=False):
    task = place.task("denoise", "out", moment=moment)
    with place.scene(task, np.random.default_rng(0), is_doomed=is_doomed) as scene:
        return tried(scene, strike, expected)


def test_a_killed_driver_is_resumed_to_the_same(place, expected):
    found = struck(place, expected, faults.kill_driver, is_doomed=True)
    assert found.said == ["the driver ended with -9"]
    assert found.problems == []
    assert found.seconds > found.recovery_s > 0


def test_a_driver_killed_as_it_publishes_is_resumed_to_the_same(place, expected):
    found = struck(place, expected, faults.kill_driver, moment=0, is_doomed=True)
    assert found.said in (["the driver ended with -9"], [])  # it may be done before it is struck
    assert found.problems == []


def test_another_result_and_a_stray_file_are_found(place, expected):
    def planted(scene):
        Path(place.disk.root, "stray").write_text("left by nobody")
        scene.driver.go_on()

    wrong = expected | {"X/c.0.0": "of something else"}
    found = struck(place, wrong, planted)
    Path(place.disk.root, "stray").unlink()
    assert found.problems[0] == "the result differs from the undisturbed one"
    assert found.problems[1].startswith("left behind: ")
    tally = Tally()
    tally.add(drawn(1, 2, ray=False), found)
    assert "PROBLEM: 2: denoise" in tally.table(place)


def test_a_task_that_never_succeeds_is_a_problem(place, expected):
    place_of_none = Task("denoise", place.disk.inputs, f"{place.disk.root}/no\0where")
    with place.scene(place_of_none, np.random.default_rng(0), is_doomed=False) as scene:
        found = tried(scene, faults.kill_driver, expected)
    assert found.problems[0].startswith("was not done in 4 attempts")


def test_growing_memory_is_a_problem(place):
    driver = place.driver(ray=False)
    kept, driver.held = driver.held, [500_000_000 + 2_000_000 * n for n in range(60)]
    tally = Tally()
    table = tally.table(place)
    driver.held = kept
    assert "memory grows by 2.00 MB a task" in table


def test_a_seed_draws_the_same_trials():
    draws = [[str(drawn(5, n, ray=True)).split("rng")[0] for n in range(40)] for _ in "ab"]
    assert draws[0] == draws[1]
    assert any("ray=True" in draw for draw in draws[0])
