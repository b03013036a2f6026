"""Batch jobs into an S3 bucket whose server fails, while drivers are killed or come in pairs."""

from __future__ import annotations

import os
import time

import dask
import numpy as np
import pytest

import atlasbasset
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import AtlasError, NotAStoreError
from atlasstore.events import Notice, Progress
from atlasstore.files import urls
from atlasstore.inspect_store import inspect_store
from atlasstore.results._lazy_tables import PredictedTable
from atlasstore.results.result import Result
from atlasstore.resume.ledger import partial_url
from denoise_process import (
    MAP,
    OPTIONS,
    finish,
    make_stores,
    receipts,
    shard_file,
    small_units,
    start,
    wait_killed,
)
from flaky_s3 import s3_behind_proxy, settings_for_faults
from store_bits import stored

pytestmark = pytest.mark.s3


@pytest.fixture(scope="module")
def environment():
    """Waits between attempts a hundred times shorter, units small; all put back in the end."""
    with pytest.MonkeyPatch.context() as patch:
        settings_for_faults(patch, attempts=5)
        small_units(patch.setattr)
        yield patch


@pytest.fixture(scope="module")
def proxy(environment):
    with s3_behind_proxy(environment) as found:
        yield found


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    return make_stores(tmp_path_factory.mktemp("stores"))


@pytest.fixture(scope="module")
def whole(stores, environment, tmp_path_factory):
    """What is stored on disk without a disturbance."""
    out = tmp_path_factory.mktemp("whole") / "r"
    atlasbasset.denoise(*stores, out=out, **OPTIONS)
    return stored(str(out))


@pytest.fixture
def out(request, proxy):
    return f"s3://bucket/{request.node.name}"


def settings():
    """What leads another process to the server."""
    return {name: value for name, value in os.environ.items() if name.startswith("AWS_")}


def check(out, whole):
    Result.open(out).verify()
    assert stored(out) == whole
    assert not urls.exists(partial_url(out))


def test_faults_that_pass_leave_no_trace(stores, whole, proxy, out):
    with proxy.failing("500", "reset", "503", "cut", every=5):
        atlasbasset.denoise(*stores, out=out, **OPTIONS)
    assert proxy.faults > 20
    check(out, whole)


def test_a_fault_that_lasts_publishes_nothing_and_the_job_goes_on(stores, whole, proxy, out):
    lasting = proxy.failing("500", method="PUT", path="/X/c.3")
    with lasting, pytest.raises(AtlasError, match=f"{out}.* cannot be reached") as caught:
        atlasbasset.denoise(*stores, out=out, **OPTIONS)
    assert "run the same again" in str(caught.value)
    with pytest.raises(NotAStoreError, match="incomplete"):
        Result.open(out)
    done = receipts(out)
    assert 0 < len([name for name in done if name.startswith("shards.")]) < 6
    proxy.log.clear()
    atlasbasset.denoise(*stores, out=out, **OPTIONS)
    assert put_again(proxy, done) == []
    check(out, whole)


def put_again(proxy, done):
    """Requests that wrote once more what already had a receipt."""
    files = {shard_file(name) for name in done} - {None}
    puts = [path for method, path in proxy.log if method == "PUT"]
    assert puts
    return [path for path in puts if path.partition("X/")[1:] in {("X/", f[2:]) for f in files}]


def test_an_answer_lost_while_publishing(stores, whole, proxy, out):
    """The root is created, but its creator hears of a reset, tries again and finds it there."""
    events = []
    root = f"/bucket/{out.rpartition('/')[2]}/zarr.json"
    with proxy.failing("lost", times=1, method="PUT", path=root):
        atlasbasset.denoise(*stores, out=out, on_event=events.append, **OPTIONS)
    assert proxy.faults == 1
    assert [e for e in events if isinstance(e, Notice) and "was published" in e.message]
    check(out, whole)


@pytest.mark.slow
def test_a_driver_killed_and_started_again(stores, whole, proxy, out, tmp_path):
    said = tmp_path / "said"
    kill = ("shards.0000003", "after")
    wait_killed(start(stores, out, said, settings=settings(), kill=kill))
    with pytest.raises(NotAStoreError, match="incomplete"):
        Result.open(out)
    done = receipts(out)
    proxy.log.clear()
    assert finish(start(stores, out, said, settings=settings()), said) == ""
    assert put_again(proxy, done) == []
    check(out, whole)


@pytest.mark.slow
def test_two_identical_jobs_at_once(stores, whole, out, tmp_path):
    processes = [start(stores, out, tmp_path / name, settings=settings()) for name in "ab"]
    ends = [finish(p, tmp_path / name) for p, name in zip(processes, "ab", strict=True)]
    assert ends == ["", ""]
    check(out, whole)


def test_a_result_is_opened_lazily_here_and_elsewhere(stores, out):
    """Its graph carries the URL; another process has the credentials by itself."""
    atlasbasset.denoise(*stores, out=out, compute="fp32", dense=False)
    lazy = Result.open(out).to_anndata(lazy=True)
    here = lazy.X.compute()
    assert here.shape == lazy.shape
    with dask.config.set(scheduler="processes", num_workers=1):
        np.testing.assert_array_equal(lazy.X[:9, 4:7].compute(), here[:9, 4:7])
    table = PredictedTable(out, lazy.shape, here.dtype, ("X_scbasset", "scbasset_sequence"), {})
    held = repr(table.__reduce__())
    assert out in held
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in held
    assert os.environ["AWS_ENDPOINT_URL"] not in held


_REQUESTS_OF_A_BLOCK = 17
"""Its solved values put and read back, 2; put into seven tables, 7; four of these read for the
report, 4; receipts of its two units put and read, at most 4."""
_REQUESTS_OF_A_MAP = 200
"""Whatever the number of blocks, 181 as measured: metadata, cells, trunk, small files, listings."""


def test_map_opens_no_array_again_for_each_block(stores, proxy, out):
    proxy.log.clear()
    atlasbasset.map_cells(*stores, out=out, **MAP)
    n_blocks = len(Atlas.open(stores[1]).blocks)
    assert n_blocks == 9
    assert len(proxy.log) <= _REQUESTS_OF_A_MAP + n_blocks * _REQUESTS_OF_A_BLOCK


@pytest.mark.slow
def test_a_killed_map_is_resumed_to_the_same_model(stores, proxy, out, tmp_path):
    """Killed between its stages; then by an error of the server that lasts."""
    atlasbasset.map_cells(*stores, out=tmp_path / "here", **MAP)

    def killed(event):
        if isinstance(event, Progress) and event.stage == "solving cells" and event.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        atlasbasset.map_cells(*stores, out=out, on_event=killed, **MAP)
    with pytest.raises(NotAStoreError, match="incomplete"):
        atlasbasset.load_model(out)
    lasting = proxy.failing("500", method="PUT", path="/checkpoints")
    with lasting, pytest.raises(AtlasError, match="cannot be reached"):
        atlasbasset.map_cells(*stores, out=out, **MAP)
    report = atlasbasset.map_cells(*stores, out=out, **MAP)
    assert not report.was_finished
    assert_same_cells(out, tmp_path / "here")
    assert atlasbasset.map_cells(*stores, out=out, **MAP).was_finished
    assert not urls.exists(partial_url(out))


def assert_same_cells(one, other):
    tables = [atlasbasset.load_model(url).table() for url in (one, other)]
    for found, expected in zip(*tables, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("pause_s", [0.0, 0.5, 1.5])
def test_two_identical_maps_at_once(stores, proxy, out, tmp_path, pause_s):
    """The second one comes together with the first, or in its midst."""
    atlasbasset.map_cells(*stores, out=tmp_path / "here", **MAP)
    processes = []
    for name in "ab":
        processes.append(start(stores, out, tmp_path / name, settings=settings(), job="map"))
        time.sleep(pause_s)
    ends = [finish(p, tmp_path / name) for p, name in zip(processes, "ab", strict=True)]
    assert ends == ["", ""]
    assert_same_cells(out, tmp_path / "here")
    inspect_store(out, verify=True)
    assert not urls.exists(partial_url(out))
