"""Samples appended in any order, together or one by one, with kills between: one preprocess."""

from __future__ import annotations

import tempfile
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from scipy import sparse

from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import UserInputError
from atlasstore.files import urls
from atlasstore.preprocess.append import append
from atlasstore.preprocess.preprocess import preprocess
from executors import DyingExecutor, Killed
from small_atlas import FEW_BLOCKS, make_peaks, random_chromosomes, write_fasta

N_PEAKS = 12
N_CELLS = {"a": 5, "b": 1, "c": 17, "d": 3, "e": 9}
SMALL = {"window_bp": 192, "min_cell_fraction": 0.0, "min_blocks": FEW_BLOCKS}


class AppendMachine(RuleBasedStateMachine):
    """Keeps which samples the atlas must have, in their order, and what was killed."""

    files: dict[str, Path]
    genome: Path

    @initialize(first=st.sampled_from(sorted(N_CELLS)))
    def create(self, first):
        self.folder = tempfile.TemporaryDirectory(dir=self.genome.parent)
        self.url = Path(self.folder.name, "a.zarr")
        self.make(self.url, [first])
        self.samples, self.killed = [first], []

    def make(self, out, samples):
        given = [self.files[name] for name in samples]
        preprocess(given, genome=self.genome, out=out, samples=samples, **SMALL)

    def append(self, samples, executor=None):
        given = [self.files[name] for name in samples]
        append(given, atlas=self.url, samples=samples, executor=executor)
        self.samples, self.killed = self.samples + samples, []

    def chosen(self, data):
        left = sorted(set(N_CELLS) - set(self.samples))
        return data.draw(st.lists(st.sampled_from(left), min_size=1, unique=True))

    @precondition(lambda self: not self.killed and len(self.samples) < len(N_CELLS))
    @rule(data=st.data())
    def add(self, data):
        self.append(self.chosen(data))

    @precondition(lambda self: len(self.samples) < len(N_CELLS))
    @rule(data=st.data(), n_units=st.integers(0, 6))
    def add_and_kill(self, data, n_units):
        samples = self.killed or self.chosen(data)
        try:
            self.append(samples, DyingExecutor(n_units))
        except Killed:
            self.killed = samples

    @precondition(lambda self: self.killed)
    @rule()
    def resume(self):
        self.append(self.killed)

    @precondition(lambda self: self.killed and len(self.samples) + len(self.killed) < len(N_CELLS))
    @rule(data=st.data())
    def no_other_may_come_between(self, data):
        others = sorted(set(N_CELLS) - set(self.samples) - set(self.killed))
        name = data.draw(st.sampled_from(others))
        with pytest.raises(UserInputError, match="holds an unfinished run with other arguments"):
            append(self.files[name], atlas=self.url, samples=[name])

    @rule()
    def everything_is_sound(self):
        Atlas.open(self.url).verify()

    @invariant()
    def readers_see_whole_samples(self):
        obs = Atlas.open(self.url).obs
        assert list(obs["sample"].astype(str).unique()) == self.samples
        assert len(obs) == sum(N_CELLS[name] for name in self.samples)
        assert urls.exists(f"{self.url}.append.partial") == bool(self.killed)

    def teardown(self):
        if not hasattr(self, "samples"):
            return
        with self.folder:
            whole = Path(self.folder.name, "whole.zarr")
            self.make(whole, self.samples)
            self.everything_is_sound()
            one, other = (Atlas.open(url).to_anndata() for url in (self.url, whole))
            assert (one.X != other.X).nnz == 0
            for found in (one, other):  # a first sample alone stands without its name
                found.obs_names = [name.split(":")[-1] for name in found.obs_names]
            pd.testing.assert_frame_equal(one.obs, other.obs, check_categorical=False)
            pd.testing.assert_frame_equal(one.var, other.var)


@pytest.fixture(scope="module", autouse=True)
def stored(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("appends"), np.random.default_rng(0)
    AppendMachine.genome = write_fasta(
        folder / "g.fa", random_chromosomes(rng, {"chrI": 10_500, "chrII": 10_500})
    )
    AppendMachine.files = {}
    for name, n_cells in N_CELLS.items():
        counts = rng.poisson(0.5, (n_cells, N_PEAKS)).astype(np.float32)
        counts[:, 0] = 1  # no cell is empty
        obs = pd.DataFrame(index=[f"{name}{i}" for i in range(n_cells)])
        AppendMachine.files[name] = folder / f"{name}.h5ad"
        table = anndata.AnnData(sparse.csr_matrix(counts), obs=obs, var=make_peaks(N_PEAKS))
        table.write_h5ad(AppendMachine.files[name])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield


TestAppend = AppendMachine.TestCase
TestAppend.settings = settings(max_examples=6, stateful_step_count=5, deadline=None)
