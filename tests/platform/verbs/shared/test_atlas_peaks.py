"""What of an atlas makes a job over its peaks another one."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pytest
from scipy import sparse

import atlasbasset
from atlasbasset.verbs.shared.atlas_peaks import check_window, peak_inputs
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import StoreExistsError, UserInputError
from atlasstore.files import urls
from atlasstore.genome.motifs import Motif
from atlasstore.preprocess.append import append
from atlasstore.resume.identity import job_identity
from small_atlas import make_atlas, make_peaks, random_labels
from small_model import TINY, random_weights, write_model

if TYPE_CHECKING:
    from collections.abc import Callable

N_PEAKS = 30


def copied(path, url):
    """Put the atlas at `path` to `url`."""
    if urls.is_local(url):
        shutil.copytree(path, url)
    else:
        fs, where = urls.filesystem(url)
        fs.put(str(path), where, recursive=True)
    return url


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    rng = np.random.default_rng(2)
    codes = rng.integers(0, 4, (N_PEAKS, TINY.window_bp + 6), dtype=np.uint8)
    path = tmp_path_factory.mktemp("stores") / "atlas"
    return make_atlas(path, random_labels(rng, 9, N_PEAKS, 0.4), codes)


@pytest.fixture
def model(tmp_path, rng):
    return write_model(tmp_path / "model", random_weights(rng, 7))


@pytest.fixture
def new_cells(tmp_path, rng):
    counts = sparse.csr_matrix(rng.poisson(1.0, (4, N_PEAKS)).astype(np.float32))
    table = anndata.AnnData(counts, var=make_peaks(N_PEAKS))
    table.obs_names = [f"new{i}" for i in range(4)]
    table.write_h5ad(tmp_path / "new.h5ad")
    return tmp_path / "new.h5ad"


@pytest.mark.parametrize("where", ["local", "memory"])
def test_cells_that_are_added_make_no_other_job(original, model, new_cells, tmp_path, where):
    place = f"memory://test_atlas_peaks/{tmp_path.name}"
    url = copied(original, str(tmp_path / "atlas") if where == "local" else place)
    motifs = [Motif("m", "TF", np.full((5, 4), 0.25))]
    jobs: dict[str, Callable[..., Any]] = {
        "denoised": lambda out: atlasbasset.denoise(model, url, out=out),
        "activity": lambda out: atlasbasset.motif_activity(
            model, url, motifs=motifs, n_backgrounds=3, out=out
        ),
    }
    assert not any(job(tmp_path / name).was_finished for name, job in jobs.items())
    append(new_cells, atlas=url)
    assert Atlas.open(url).n_cells == 13
    assert all(job(tmp_path / name).was_finished for name, job in jobs.items())
    fs, path = urls.filesystem(url)
    table = next(file for file in sorted(fs.find(f"{path}/var")) if "start" in file)
    fs.pipe_file(table, fs.cat_file(table) + b"\n")
    for name, job in jobs.items():
        with pytest.raises(StoreExistsError, match=r"var has changed since"):
            job(tmp_path / name)


def test_what_is_read_is_there_to_be_stamped(original):
    stamps = job_identity({}, peak_inputs(Atlas.open(original)))["inputs"]
    assert [stamp["url"] for stamp in stamps] == [f"{original}/var", f"{original}/sequence"]
    assert all(stamp["bytes"] > 0 for stamp in stamps)


def test_a_window_of_another_length(original, model):
    opened = atlasbasset.load_model(model, device="cpu")
    check_window(opened.store, Atlas.open(original))
    other = Atlas.open(original)
    other.window_bp = 1344
    with pytest.raises(UserInputError, match=r"windows of 1344 bp, but .* reads 384 bp"):
        check_window(opened.store, other)
