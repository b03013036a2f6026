"""The same work by threads of this process and by the workers of a Dask cluster."""

from __future__ import annotations

import hashlib
import threading

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import CountsError, UserInputError
from atlasstore.preprocess.preprocess import preprocess
from atlasstore.resume.executors import ThreadExecutor, open_executor
from atlasstore.resume.units import Ranges
from small_atlas import make_peaks, random_chromosomes, write_fasta


def square(unit):
    return {"found": unit["start"] ** 2}


def fail(unit):
    raise CountsError(f"number {unit['start']} is wrong")


def test_every_unit_is_done_once_and_comes_to_this_thread():
    found = ThreadExecutor(10**9, cores=3).run(square, Ranges(20, 1))
    assert sorted((i, row["found"]) for i, row in found) == [(n, n * n) for n in range(20)]


def test_first_error_is_raised_and_nothing_runs_on():
    running = threading.active_count()
    with pytest.raises(CountsError, match="is wrong"):
        list(ThreadExecutor(10**9, cores=2).run(fail, Ranges(4, 1), at_once=2))
    assert threading.active_count() <= running + 1  # zarr's loop may have begun


def test_no_scheduler_is_one_sentence():
    pytest.importorskip("distributed", reason="distributed is not installed")
    with (
        pytest.raises(UserInputError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"),
        open_executor("tcp://127.0.0.1:9", None, connect_s=0.5),
    ):
        pytest.fail("there is none")


@pytest.fixture
def cluster():
    distributed = pytest.importorskip("distributed", reason="distributed is not installed")
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=":0",
        memory_limit="4GB",
    ) as made:
        yield made.scheduler_address


def checksums(store):
    files = sorted(p for p in store.rglob("*") if p.is_file())
    return {
        str(p.relative_to(store)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in files
        if p.name != "zarr.json"
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_cluster_makes_the_same_atlas(tmp_path, cluster, monkeypatch, rng):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    counts = rng.poisson(0.3, (90, 40)).astype(np.float32)
    cells = pd.DataFrame(index=[f"c{i}" for i in range(90)])
    table = anndata.AnnData(sparse.csr_matrix(counts), obs=cells, var=make_peaks(40))
    table.write_h5ad(tmp_path / "counts.h5ad")
    genome = write_fasta(
        tmp_path / "g.fa", random_chromosomes(rng, {"chrI": 10_500, "chrII": 10_500})
    )
    options = {"genome": genome, "window_bp": 192, "min_cell_fraction": 0.1, "min_blocks": 4}
    preprocess(tmp_path / "counts.h5ad", out=tmp_path / "threads.zarr", **options)
    report = preprocess(
        tmp_path / "counts.h5ad", out=tmp_path / "cluster.zarr", dask=cluster, **options
    )
    assert checksums(tmp_path / "cluster.zarr") == checksums(tmp_path / "threads.zarr")
    assert report.work.memory_bytes == int(0.6 * 4e9)
    assert Atlas.open(tmp_path / "cluster.zarr").provenance["config"].get("dask") is None
