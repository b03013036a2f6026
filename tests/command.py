"""Running the command line inside the test's process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from typer.testing import CliRunner

from atlasjobs.cli import app

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Run:
    """How a command line ended."""

    code: int
    out: str
    err: str


Atlasbasset = Callable[..., Run]

TINY_TRAINING = ("--epochs", "1", "--batch-size", "16", "--n-auroc-peaks", "20")


def run(*arguments: object) -> Run:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return Run(done.exit_code, done.stdout, done.stderr)


def succeed(*arguments: object) -> Run:
    done = run(*arguments)
    assert done.code == 0, done.err
    return done


def snapshot(folder: Path) -> dict[str, int]:
    """Every file below, with the time it was last written."""
    return {str(p): p.stat().st_mtime_ns for p in sorted(folder.rglob("*")) if p.is_file()}
