"""A reader that is gone (``| head``) ends a verb quietly, whatever prints."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atlasjobs import cluster_job

if TYPE_CHECKING:
    from command import Atlasbasset

COMMAND = Path(sys.executable).with_name("atlasbasset")
CARD = "atlasstore.cards.store_card.card_of"


def with_a_closed_pipe(*arguments: object, both: bool = False) -> tuple[int, str]:
    """Return exit code and standard error of a program whose standard output nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [COMMAND, *map(str, arguments)],
            stdout=writing,
            stderr=subprocess.STDOUT if both else subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(writing)
    return done.returncode, (done.stderr or b"").decode()


@pytest.mark.parametrize(
    "arguments",
    [("card", "{}", "--show"), ("inspect", "{}"), ("inspect", "{}", "--json", "-"), ("--help",)],
)
def test_a_verb_ends_quietly(arguments: tuple[str, ...], tiny: Path) -> None:
    store = tiny / "atlas.zarr"
    code, said = with_a_closed_pipe(*(word.format(store) for word in arguments))
    assert code == 1
    assert "rror" not in said


def test_a_verb_ends_quietly_where_its_errors_go_the_same_way(tiny: Path) -> None:
    assert with_a_closed_pipe("inspect", tiny / "atlas.zarr", "--json", "-", both=True) == (1, "")


@pytest.mark.parametrize(("is_gone", "said"), [(True, ""), (False, "error: BrokenPipeError")])
def test_a_pipe_that_is_not_ours_is_an_error(
    is_gone: bool, said: str, atlasbasset: Atlasbasset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_off(url: str) -> None:
        raise BrokenPipeError(url)

    monkeypatch.setattr(CARD, break_off)
    monkeypatch.setattr("atlasjobs.program.reader_is_gone", lambda: is_gone)
    done = atlasbasset("card", "store", "--show")
    assert done.code == 1
    assert done.err.startswith(said)
    assert bool(done.err) == bool(said)


def test_a_followed_job_is_not_taken_for_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        def write(self, text: str) -> None:
            raise BrokenPipeError(text)

    monkeypatch.setattr(sys, "stdout", Closed())
    with pytest.raises(SystemExit) as left:
        cluster_job.passed_on("epoch 1")
    assert left.value.code == 1
