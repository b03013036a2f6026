"""Exit codes and messages: one sentence for wrong input, what is safe for everything else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atlasjobs.failures import failure_of
from atlasstore.errors import AtlasError, CorruptStoreError, CountsError, MissingExtraError

if TYPE_CHECKING:
    from command import Atlasbasset

COMMAND = [str(Path(sys.executable).with_name("atlasbasset"))]


def in_a_process(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def one_line(text: str) -> str:
    lines = text.splitlines()
    assert len(lines) == 1, text
    assert lines[0].startswith("error: ")
    return lines[0]


def test_a_missing_store_is_one_sentence_and_2() -> None:
    done = in_a_process("inspect", "no/such/store.zarr")
    assert done.returncode == 2
    assert "no/such/store.zarr" in one_line(done.stderr)
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("trian",), "'train'"),
        (("train", "a.zarr"), "--out"),
        (("train", "a.zarr", "--out", "b", "--epoch", "3"), "--epochs"),
        (("train", "a.zarr", "--out", "b", "--epochs", "many"), "--epochs"),
        (("train", "a.zarr", "--out", "b", "--compute", "fp16"), "bf16"),
        (("denoise", "m", "a", "--out", "b", "--scale", "log"), "linear"),
    ],
)
def test_a_misused_command_line_is_one_sentence_and_2(
    arguments: tuple[str, ...], said: str, atlasbasset: Atlasbasset
) -> None:
    done = atlasbasset(*arguments)
    assert done.code == 2
    assert said in one_line(done.err)
    assert "--help" in done.err


def test_an_output_that_exists_is_2_and_stays(tiny: Path, atlasbasset: Atlasbasset) -> None:
    taken = tiny / "taken"
    taken.write_text("mine")
    done = atlasbasset("simulate", taken)
    assert done.code == 2
    assert "exists" in one_line(done.err)
    assert taken.read_text() == "mine"


def test_bad_values_are_the_persons_mistake(tiny: Path, atlasbasset: Atlasbasset) -> None:
    done = atlasbasset("train", tiny / "atlas.zarr", "--out", tiny / "no", "--epochs", -1)
    assert done.code == 2
    assert "epochs must be 0 or more" in one_line(done.err)
    assert not (tiny / "no").exists()


def test_an_unforeseen_error_says_what_is_safe(
    tiny: Path, tmp_path: Path, atlasbasset: Atlasbasset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("atlasbasset.verbs.train.plan.TrainPlan._run", broken)
    arguments = ("train", tiny / "atlas.zarr", "--out", "m.zarr")
    done = atlasbasset(*arguments)
    assert done.code == 1
    assert one_line(done.err) == (
        "error: RuntimeError: two lines. Nothing was learned yet: the same command begins the "
        "training of m.zarr. For the traceback, add --debug."
    )
    assert "Traceback" in atlasbasset(*arguments, "--debug").err
    monkeypatch.setenv("ATLASBASSET_DEBUG", "1")
    assert "Traceback" in atlasbasset(*arguments).err


def test_an_interrupt_says_what_is_safe(
    tiny: Path, tmp_path: Path, atlasbasset: Atlasbasset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("atlasbasset.verbs.train.plan.TrainPlan._run", interrupted)
    done = atlasbasset("train", tiny / "atlas.zarr", "--out", "m.zarr")
    assert done.code == 130
    assert "the same command begins the training of m.zarr" in one_line(done.err)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CountsError("bad"), 2),
        (MissingExtraError("pip install it"), 2),
        (CorruptStoreError("damaged"), 1),
        (MemoryError(), 1),
        (OSError(28, "No space left on device"), 1),
        (ValueError("not ours"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
@pytest.mark.parametrize("verb", ["train", "preprocess", "denoise", "inspect", "embed"])
def test_every_kind_of_error_has_its_code(error: BaseException, code: int, verb: str) -> None:
    failure = failure_of(error, verb=verb, params={"out": "somewhere"})
    assert failure.exit_code == code
    assert "\n" not in failure.message
    assert "{" not in failure.message
    if code != 2:
        assert "same command" in failure.message or verb == "inspect"


def test_what_others_said_of_an_error_follows_it_line_by_line() -> None:
    error = AtlasError("Ray did not start.")
    error.add_note("main.cc:1:\n no disk")
    failure = failure_of(error, verb="inspect", params={})
    assert failure.message == "Ray did not start. Nothing was changed.\n  main.cc:1: no disk"
