"""A tiny atlas and model made by the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from command import TINY_TRAINING, Atlasbasset, run, succeed

if TYPE_CHECKING:
    from pathlib import Path


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
