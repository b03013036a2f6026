"""Any order of shards, each any number of times: a result is published whole or not at all."""

from __future__ import annotations

import uuid

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from atlasstore.errors import CorruptStoreError, NotAStoreError, StoreExistsError
from atlasstore.files import urls
from atlasstore.results.result import Result
from atlasstore.results.writer import create_result, finish_result, write_rows
from atlasstore.zarrio import formats
from atlasstore.zarrio.table_plan import TablePlan

PROVENANCE = formats.provenance([], {}, None, created="2026-01-01T00:00:00+00:00")


class ResultMachine(RuleBasedStateMachine):
    """Keeps which shards are written and whether the result is published."""

    @initialize(
        n_rows=st.integers(1, 20),
        n_columns=st.integers(1, 4),
        chunk=st.integers(1, 3),
        chunks_per_shard=st.integers(1, 3),
        dtype=st.sampled_from(["float32", "uint8"]),
    )
    def begin(self, n_rows, n_columns, chunk, chunks_per_shard, dtype):
        self.url = f"memory://{uuid.uuid4()}"  # not drawn: examples are run again
        self.plan = TablePlan("X", (n_rows, n_columns), dtype, chunk, chunk * chunks_per_shard)
        rng = np.random.default_rng(n_rows)
        self.values = rng.integers(0, 256, self.plan.shape).astype(dtype)
        self.shards = tuple(self.plan.shards())
        self.receipts, self.published = {}, False
        self.create()

    def teardown(self):
        if hasattr(self, "url"):
            urls.delete(self.url)

    @precondition(lambda self: not self.published)
    @rule()
    def create(self):
        """Begin, or begin again over what a killed job has left: shards stay."""
        n_rows, n_columns = self.plan.shape
        create_result(
            self.url,
            kind="denoised",
            obs=pd.DataFrame(index=[f"c{i}" for i in range(n_rows)]),
            var=pd.DataFrame(index=[f"p{i}" for i in range(n_columns)]),
            obsm={"X_scbasset": np.ones((n_rows, 2), np.float32)},
            varm={"scbasset_sequence": np.ones((n_columns, 2), np.float32)},
            tables=[self.plan],
            about={"scale": "linear"},
        )

    @rule(data=st.data())
    def write(self, data):
        """Write a shard, perhaps once more, perhaps after publication (an equal job's worker)."""
        start, stop = data.draw(st.sampled_from(self.shards))
        receipt = write_rows(self.url, self.plan, start, self.values[start:stop])
        assert self.receipts.setdefault(start, receipt) == receipt

    @rule(data=st.data(), shift=st.integers(1, 5))
    def write_what_is_no_shard(self, data, shift):
        start, stop = data.draw(st.sampled_from(self.shards))
        if (start + shift) % self.plan.shard_rows:
            with pytest.raises(ValueError, match="are no shard"):
                write_rows(self.url, self.plan, start + shift, self.values[start:stop])

    @rule()
    def finish(self):
        if self.published:
            with pytest.raises(StoreExistsError):
                finish_result(self.url, PROVENANCE)
        elif len(self.receipts) < len(self.shards):
            with pytest.raises(CorruptStoreError, match="stored pieces"):
                finish_result(self.url, PROVENANCE, shards=self.receipts.values())
        else:
            finish_result(self.url, PROVENANCE, shards=self.receipts.values())
            self.published = True

    @invariant()
    def it_is_whole_or_not_there(self):
        if not hasattr(self, "url"):
            return
        if not self.published:
            with pytest.raises(NotAStoreError):
                Result.open(self.url)
            return
        found = Result.open(self.url)
        found.verify()
        np.testing.assert_array_equal(found.to_anndata().X, self.values)


TestResult = ResultMachine.TestCase
TestResult.settings = settings(max_examples=15, stateful_step_count=8, deadline=None)
