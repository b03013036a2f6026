"""Running the command line inside the test's process, and a tiny atlas and model made by it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
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


@pytest.fixture(scope="session")
def atlasbasset() -> Atlasbasset:
    """Runs a command line."""
    return run


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``sim`` (60 cells, 60 peaks) and ``atlas.zarr``, made by the command line."""
    folder = tmp_path_factory.mktemp("tiny")
    sizes = ("--cells", 60, "--peaks", 60, "--cell-types", 2, "--n-motifs", 4, "--density", 0.3)
    succeed("simulate", folder / "sim", *sizes)
    sim = folder / "sim"
    inputs = (sim / "counts.h5ad", "--genome", sim / "genome.fa")
    succeed(
        "preprocess", *inputs, "--out", folder / "atlas.zarr", "--split-fractions", 0.6, 0.2, 0.2
    )
    return folder


@pytest.fixture(scope="session")
def trained(tiny: Path) -> Path:
    """The folder `tiny` with ``model.zarr``, the full-size trunk trained for one epoch."""
    succeed("train", tiny / "atlas.zarr", "--out", tiny / "model.zarr", *TINY_TRAINING)
    return tiny


def snapshot(folder: Path) -> dict[str, int]:
    """Every file below, with the time it was last written."""
    return {str(p): p.stat().st_mtime_ns for p in sorted(folder.rglob("*")) if p.is_file()}
