"""The whole main path from and to S3: a server on loopback, spoken to over HTTP by s3fs.

Every store is compared with the same work done on local disk.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import atlasbasset
import atlasstore
from atlasbasset.engine.events import EpochEnd, StepDone
from atlasbasset.verbs.train import setup
from atlasbasset.verbs.train.setup import begun_store
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import CorruptStoreError, NotAStoreError, StoreExistsError, UserInputError
from atlasstore.events import Progress
from atlasstore.files import locks, urls
from atlasstore.files.staging import staged
from atlasstore.models.model_store import ModelStore
from flaky_s3 import forget_connections
from small_atlas import FEW_BLOCKS, make_peaks, random_chromosomes, write_fasta
from tiny import WINDOW, config

pytestmark = pytest.mark.s3

BUCKET = "s3://bucket"
N_CELLS, N_PEAKS = 8, 40  # every block, table and step costs requests
FIGURES = ("epoch", "loss", "penalty", "train_auroc", "valid_auroc_per_cell")
STEPS = {"epochs": 2, "batch_size": 18}  # of 36 training peaks: two steps an epoch
SETTINGS = config(**STEPS)
SMALL = {"window_bp": WINDOW, "min_blocks": FEW_BLOCKS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("s3")


@pytest.fixture(scope="module")
def environment(folder):
    """No setting, profile or cache of whoever runs the tests: nothing can reach a real bucket."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_CONFIG_FILE", str(folder / "no-config"))
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "no-credentials"))
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield patch


@pytest.fixture(scope="module")
def s3(environment):
    """The file system of an S3 server that holds one empty bucket."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else a line for each request
    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    environment.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    forget_connections()  # one made earlier would keep the endpoint of its making
    fs, bucket = urls.filesystem(BUCKET)
    fs.mkdir(bucket)
    yield fs
    fs.rm(bucket, recursive=True)
    forget_connections()
    server.stop()


@pytest.fixture(scope="module")
def inputs(folder, s3):
    """Counts in the bucket and on disk, and a genome on disk."""
    rng = np.random.default_rng(11)
    counts = rng.poisson(0.8, (N_CELLS, N_PEAKS)).astype(np.float32)
    cells = pd.DataFrame(index=[f"cell{i}" for i in range(N_CELLS)])
    table = anndata.AnnData(sparse.csr_matrix(counts), obs=cells, var=make_peaks(N_PEAKS))
    table.write_h5ad(folder / "counts.h5ad")
    s3.put(str(folder / "counts.h5ad"), f"{BUCKET}/counts.h5ad")
    chromosomes = random_chromosomes(rng, {"chrI": 15_500, "chrII": 15_500})
    return SimpleNamespace(
        s3=f"{BUCKET}/counts.h5ad",
        local=folder / "counts.h5ad",
        genome=write_fasta(folder / "genome.fa", chromosomes),
    )


def preprocess(counts, inputs, out, **options):
    return atlasstore.preprocess(counts, genome=inputs.genome, out=out, **SMALL, **options)


@pytest.fixture(scope="module")
def atlas(inputs):
    """Made from counts in S3, in S3."""
    report = preprocess(inputs.s3, inputs, f"{BUCKET}/atlas.zarr")
    return SimpleNamespace(url=f"{BUCKET}/atlas.zarr", report=report)


@pytest.fixture(scope="module")
def local_atlas(inputs, folder):
    preprocess(inputs.local, inputs, folder / "atlas.zarr")
    return folder / "atlas.zarr"


@pytest.fixture(scope="module")
def local_run(local_atlas, folder):
    """Trained on disk without a disturbance."""
    return atlasbasset.train(local_atlas, out=folder / "model.zarr", config=SETTINGS)


class Killed(Exception):
    pass


def killed_at_step(n):
    def on_event(event):
        if isinstance(event, StepDone) and event.step == n:
            raise Killed

    return on_event


@pytest.fixture(scope="module")
def trained(atlas):
    """Trained from S3 to S3, interrupted in the middle of an epoch."""
    model = f"{BUCKET}/model.zarr"
    every_step = config(**STEPS, checkpoint_s=0.0)
    with pytest.raises(Killed):
        atlasbasset.train(atlas.url, out=model, config=every_step, on_event=killed_at_step(2))
    begun = ModelStore.open(model).newest().state
    report = atlasbasset.train(atlas.url, out=model, config=SETTINGS)
    return SimpleNamespace(url=model, report=report, begun=begun)


def figures(history):
    return [[record[name] for name in FIGURES] for record in history]


def read_anndata(url):
    return anndata.read_zarr(urls.zarr_store(url, read_only=True))


def test_atlas_equals_the_local_one(atlas, local_atlas, inputs, s3):
    opened, local = Atlas.open(atlas.url), Atlas.open(local_atlas)
    opened.verify()
    pd.testing.assert_frame_equal(opened.obs, local.obs)
    pd.testing.assert_frame_equal(opened.var, local.var)
    np.testing.assert_array_equal(
        opened.sequence_codes(0, opened.n_peaks), local.sequence_codes(0, local.n_peaks)
    )
    assert (opened.to_anndata().X != local.to_anndata().X).nnz == 0
    assert opened.block_positives == local.block_positives
    s3.invalidate_cache()
    assert atlas.report.stored_bytes == s3.du(atlas.url) > 0
    with pytest.raises(StoreExistsError, match="exists already"):
        preprocess(inputs.s3, inputs, atlas.url)


def test_interrupted_preprocessing_goes_on_and_writes_nothing_twice(inputs, local_atlas, s3):
    """Each stage is interrupted once; what is finished stays as it was put."""
    out, put = f"{BUCKET}/again.zarr", {}

    def interrupted_in(stage):
        def on_event(event):
            if isinstance(event, Progress) and event.stage == stage:
                raise Killed

        return on_event

    for stage in ("reading counts", "writing sequences", "writing labels"):
        with pytest.raises(Killed):
            preprocess(inputs.s3, inputs, out, on_event=interrupted_in(stage))
        with pytest.raises(NotAStoreError):
            Atlas.open(out)
        put |= {path: info["LastModified"] for path, info in finished(s3, out).items()}
    assert len(put) > 5
    preprocess(inputs.s3, inputs, out)
    found = s3.find(out, detail=True, refresh=True)
    assert {path: found[path]["LastModified"] for path in put} == put
    opened, local = Atlas.open(out), Atlas.open(local_atlas)
    opened.verify()
    assert (opened.to_anndata().X != local.to_anndata().X).nnz == 0
    assert s3.find(f"{out}.partial", refresh=True) == []


def finished(s3, out):
    """The objects of units that have a receipt."""
    units = {path.rpartition("/")[2] for path in s3.find(f"{out}.partial/ledger", refresh=True)}
    places = {f"{out}/labels/{u.removeprefix('labels-').removesuffix('.json')}" for u in units}
    if "begin.json" in units:
        places |= {f"{out}/obs", f"{out}/var"}
    if "sequence-0.json" in units:
        places.add(f"{out}/sequence/c")
    names = [place.removeprefix("s3://") for place in places]
    every = s3.find(out, detail=True, refresh=True).items()
    return {path: info for path, info in every if any(path.startswith(n) for n in names)}


def test_a_lost_object_is_found(atlas, s3):
    lost = next(path for path in s3.find(f"{atlas.url}/sequence") if not path.endswith("zarr.json"))
    content = s3.cat_file(lost)
    s3.rm(lost)
    try:
        with pytest.raises(CorruptStoreError, match="sequence"):
            Atlas.open(atlas.url).verify()
    finally:
        s3.pipe_file(lost, content)


def write_half(url):
    with staged(url) as place:
        urls.create_group(place)
        urls.write_bytes(urls.join(place, "below", "part"), b"content")
        assert urls.list_names(url) == ["below", "zarr.json"]
        raise Killed


def test_interrupted_writing_leaves_nothing(s3):
    with pytest.raises(Killed):
        write_half(f"{BUCKET}/half.zarr")
    assert s3.find(f"{BUCKET}/half.zarr", refresh=True) == []


@pytest.mark.slow
def test_resumed_training_equals_undisturbed_local_training(trained, local_run):
    assert (trained.begun["epoch"], trained.begun["step"]) == (0, 1)
    assert figures(trained.report.history) == figures(local_run.history)
    assert urls.list_names(f"{trained.url}/checkpoints") == urls.list_names(
        f"{local_run.model}/checkpoints"
    )
    for name in ("embedding", "intercept"):
        tables = [
            ModelStore.open(url).newest().rows(f"cells/{name}", 0, N_CELLS)
            for url in (trained.url, local_run.model)
        ]
        np.testing.assert_array_equal(*tables)


def test_embed(trained):
    embedded = atlasbasset.embed(trained.url, out=f"{BUCKET}/cells.zarr")
    read = read_anndata(f"{BUCKET}/cells.zarr")
    np.testing.assert_array_equal(read.obsm["X_scbasset"], embedded.obsm["X_scbasset"])
    pd.testing.assert_frame_equal(read.obs, embedded.obs)
    out = f"{BUCKET}/peaks.zarr"
    peaks = atlasbasset.embed(trained.url, out=out, variables="peaks", atlas=f"{BUCKET}/atlas.zarr")
    read = anndata.read_zarr(out)
    assert peaks.X.nnz == read.X.nnz > 0
    np.testing.assert_array_equal(read.X.toarray(), peaks.X.toarray())


def test_evaluate(trained, atlas, local_run, local_atlas):
    found = atlasbasset.evaluate(trained.url, atlas.url, split="train").as_json()
    local = atlasbasset.evaluate(local_run.model, local_atlas, split="train").as_json()
    assert found["prediction"] == local["prediction"]
    assert found["depth_correlation"] == local["depth_correlation"] is not None


def test_denoise(trained, atlas, local_run, local_atlas, folder):
    result = f"{BUCKET}/result.zarr"
    atlasbasset.denoise(trained.url, atlas.url, out=result)
    atlasbasset.denoise(local_run.model, local_atlas, out=folder / "result.zarr")
    read, local = read_anndata(result), anndata.read_zarr(folder / "result.zarr")
    assert read.shape == (N_CELLS, Atlas.open(atlas.url).n_peaks)
    np.testing.assert_array_equal(read.X, local.X)
    assert list(read.obs_names) == list(local.obs_names)
    np.testing.assert_array_equal(read.varm["scbasset_sequence"], local.varm["scbasset_sequence"])


@pytest.mark.slow
def test_two_processes_train_from_and_to_s3(atlas, local_run):
    """To rounding: two workers add float32 in another order than one."""
    events = []
    report = atlasbasset.train(
        atlas.url,
        out=f"{BUCKET}/two.zarr",
        config=replace(SETTINGS, epochs=1),
        workers=2,
        launcher="process",
        on_event=events.append,
    )
    assert report.history[0]["loss"] == pytest.approx(local_run.history[0]["loss"], rel=1e-4)
    assert [event.record for event in events if isinstance(event, EpochEnd)] == list(report.history)


def at_once(work, n=4):
    """What `n` threads return or raise that begin together."""
    barrier, found = threading.Barrier(n), []

    def run():
        barrier.wait()
        try:
            found.append(work())
        except UserInputError as error:
            found.append(error)

    threads = [threading.Thread(target=run) for _ in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_of_claims_at_once_one_holds(s3):
    times = locks.Times(beat_s=0.2, pause_s=0.0)  # the server decides, no reading back

    def work():
        with locks.claimed("s3://bucket/claimed", times=times):
            time.sleep(2)
        return "held"

    found = at_once(work)
    assert [one for one in found if one == "held"] == ["held"]
    assert all("is working on s3://bucket/claimed" in str(e) for e in found if e != "held")


def test_of_two_first_trainings_at_once_one_begins(atlas, monkeypatch):
    quick = partial(locks.claimed, times=locks.Times(beat_s=0.2, pause_s=0.0))
    monkeypatch.setattr(setup, "claimed", quick)
    out, opened = f"{BUCKET}/first", Atlas.open(atlas.url)
    found = at_once(lambda: begun_store(opened, out, SETTINGS).url, n=2)
    assert out in found
    assert all("is working on" in str(one) for one in found if one != out)
    assert ModelStore.open(out).n_cells == N_CELLS
    assert urls.list_names(f"{out}.begin") == []
