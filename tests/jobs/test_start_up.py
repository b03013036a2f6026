"""What the program imports before it has anything to do: each package costs every call its time.

Packages, not seconds: processor time on a shared machine says little, and importing AnnData takes
longer than all that `inspect` does.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import anndata
import numpy as np
import pandas as pd
import pytest

from small_stores import make_small_atlas, make_small_model, make_small_result

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = {
    "aiohttp",
    "anndata",
    "dask",
    "h5py",
    "matplotlib",
    "numba",
    "numpy",
    "pandas",
    "pyarrow",
    "ray",
    "scipy",
    "sklearn",
    "torch",
    "xarray",
    "zarr",
}
STORES = {"numpy", "zarr"}
PROGRAM = (
    "import sys\n"
    "from atlasjobs.cli import main\n"
    "sys.argv = ['atlasbasset', *sys.argv[1:]]\n"
    "try:\n"
    "    main()\n"
    "finally:\n"
    f"    print(*sorted({HEAVY!r} & set(sys.modules)))\n"
)


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["inspect", "--help"]])
def test_help_imports_no_heavy_package(words: list[str]) -> None:
    assert imported(*words) == set()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("files")
    make_small_atlas(place / "atlas.zarr")
    make_small_model(place / "model.zarr")
    make_small_result(place / "result.zarr")
    small_anndata().write_h5ad(place / "cells.h5ad")
    (place / "motifs.meme").write_text(
        "MEME version 4\n\nALPHABET= ACGT\n\nMOTIF one\n"
        "letter-probability matrix: alength= 4 w= 2\n1 0 0 0\n0 1 0 0\n"
    )
    (place / "peaks.bed").write_text("chr1\t0\t10\n")
    (place / "report.json").write_text('{"n": 1}')
    return place


def small_anndata() -> anndata.AnnData:
    return anndata.AnnData(np.eye(2, dtype=np.float32), pd.DataFrame(index=["x", "y"]))


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("atlas.zarr", STORES),
        ("model.zarr", STORES),
        ("result.zarr", STORES),
        ("cells.h5ad", STORES | {"h5py"}),
        ("motifs.meme", STORES),
        ("peaks.bed", STORES),
        ("report.json", STORES | {"h5py"}),  # damage is told as it is of HDF5
    ],
)
def test_inspect_imports_what_it_reads_with(files: Path, name: str, needed: set[str]) -> None:
    assert imported("inspect", str(files / name)) == needed


def imported(*words: str) -> set[str]:
    """Return which heavy packages the program has imported when it ends."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())
