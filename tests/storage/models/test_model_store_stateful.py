"""Any order of checkpoints, killed writers and labels: the newest whole checkpoint is read."""

from __future__ import annotations

import uuid

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from atlasstore.files import urls
from atlasstore.models.model_store import ModelStore

TABLES = {"cells/embedding": (2,), "cells/intercept": ()}
STEPS = st.integers(0, 4)


class ModelMachine(RuleBasedStateMachine):
    """Keeps what the newest checkpoint and the labels must be."""

    @initialize(n_cells=st.integers(1, 9), block_cells=st.integers(1, 5))
    def create(self, n_cells, block_cells):
        url = f"memory://{uuid.uuid4()}"  # not drawn: examples are run again
        obs = pd.DataFrame(index=[f"cell{i}" for i in range(n_cells)])
        self.store = ModelStore.create(
            url, obs=obs, config={}, block_cells=block_cells, provenance={}
        )
        self.newest, self.labels = None, {}

    def _rows(self, seed):
        rng = np.random.default_rng(seed)
        n = self.store.n_cells
        return {name: rng.normal(size=(n, *row)).astype("f4") for name, row in TABLES.items()}

    def _write(self, step, rows, order):
        """Blocks in any order, each by a writer of its own, as workers do; return checksums."""
        blocks = {name: {} for name in rows}
        for at in order:
            block, writer = self.store.blocks[at], self.store.write_checkpoint(step)
            for name, values in rows.items():
                writer.write_rows(name, block.start, values[block.start : block.stop])
                blocks[name] |= writer.blocks[name]
        return blocks

    @rule(step=STEPS, seed=st.integers(0, 99), data=st.data(), over=st.booleans())
    def commit(self, step, seed, data, over):
        if self._is_newest(step):
            return
        rows = self._rows(seed)
        writer = self.store.write_checkpoint(step)
        writer.begin(TABLES, over=over)
        order = data.draw(st.permutations(range(len(self.store.blocks))))
        blocks = self._write(step, rows, order)
        writer.write_tensors("trunk", {"w": np.float32(seed)})
        writer.commit({"step": step, "seed": seed}, blocks=blocks)
        before = self.newest and f"{self.newest[0]:010d}"
        kept = urls.list_names(urls.join(self.store.url, "checkpoints"))
        assert set(kept) == {writer.name, before} - {None}
        self.newest = step, seed, rows

    @rule(step=STEPS, seed=st.integers(0, 99), data=st.data())
    def die(self, step, seed, data):
        """Begin and write some blocks only."""
        if self._is_newest(step):
            return
        self.store.write_checkpoint(step).begin(TABLES)
        n = data.draw(st.integers(0, len(self.store.blocks)))
        self._write(step, self._rows(seed), range(n))

    def _is_newest(self, step):
        """Whether the newest checkpoint has this number: then it is kept from being begun again."""
        if self.newest is None or self.newest[0] != step:
            return False
        with pytest.raises(ValueError, match="is the newest"):
            self.store.write_checkpoint(step).begin(TABLES)
        return True

    @rule(name=st.sampled_from(["type", "batch"]), seed=st.integers(0, 99))
    def annotate(self, name, seed):
        values = [f"{seed}-{i}" for i in range(self.store.n_cells)]
        self.store.write_labels(pd.DataFrame({name: values}, index=self.store.obs.index))
        self.labels[name] = values

    @invariant()
    def the_newest_is_read_whole(self):
        if not hasattr(self, "store"):
            return
        found = ModelStore.open(self.store.url)
        assert {name: list(found.obs[name]) for name in found.obs} == self.labels
        checkpoint = found.latest()
        if self.newest is None:
            assert checkpoint is None
            return
        step, seed, rows = self.newest
        assert checkpoint.state == {"step": step, "seed": seed}
        assert checkpoint.tensors("trunk")["w"] == seed
        for name, values in rows.items():
            np.testing.assert_array_equal(checkpoint.rows(name, 0, found.n_cells), values)

    def teardown(self):
        if hasattr(self, "store"):
            urls.delete(self.store.url)


TestModelStore = ModelMachine.TestCase
TestModelStore.settings = settings(max_examples=15, stateful_step_count=8, deadline=None)
