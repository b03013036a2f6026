"""The memory plan: it fits or is refused, more memory is never worse, what it advises helps."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from atlasbasset.cluster.worker_probe import WorkerFound
from atlasbasset.core.trunk import Trunk
from atlasbasset.engine.config import TrainConfig
from atlasbasset.engine.memory import limit as limits
from atlasbasset.engine.memory.limit import MemoryLimit, memory_limit, run_limit, worker_device
from atlasbasset.engine.memory.plan import (
    MIN_GROUP,
    TrainingSizes,
    plan_memory,
    plan_training,
    smallest_changes,
)
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import UserInputError
from atlasstore.zarrio.blocks import plan_cell_blocks
from tiny import atlas, config

GB = 10**9
_PLACES = ("streamed", "ram", "device")


def sizes(n_cells: int = 1_114_621, n_peaks: int = 118_043, **changes: object) -> TrainingSizes:
    """The paper's largest atlas by default, 2.5 % open."""
    blocks = [block.n_cells for block in plan_cell_blocks(n_cells)]
    values = {
        "n_peaks": n_peaks,
        "n_train_peaks": n_peaks * 9 // 10,
        "stored_bp": 1350,
        "block_cells": tuple(blocks),
        "block_positives": tuple(n * n_peaks // 40 for n in blocks),
        "workers": 1,
        "batch_size": 128,
        "cells_per_step": 0,
        "n_parameters": 4_513_960,
        "n_convolved": 700_000,
        "embedding_dim": 32,
        "n_batches": 0,
        "compute_bytes": 2,
        "average": False,
        "svd_start": True,
        "solves": True,
        "auroc_pairs": 20_000_000,
    }
    return TrainingSizes(**(values | changes))


@st.composite
def any_sizes(draw: st.DrawFn) -> TrainingSizes:
    n_cells = draw(st.sampled_from([100, 50_000, 1_114_621, 4_000_000]))
    found = sizes(
        n_cells,
        draw(st.sampled_from([1000, 118_043, 500_000])),
        batch_size=draw(st.integers(1, 1024)),
        cells_per_step=draw(st.sampled_from([0, 10_000, 500_000])),
        compute_bytes=draw(st.sampled_from([2, 4])),
        average=draw(st.booleans()),
        svd_start=draw(st.booleans()),
        solves=draw(st.booleans()),
        deviates=draw(st.booleans()),
        n_batches=draw(st.sampled_from([0, 5])),
        group_peaks=draw(st.sampled_from([None, None, 0, 1024])),
    )
    return replace(found, workers=draw(st.integers(1, len(found.block_cells))))


@st.composite
def any_limit(draw: st.DrawFn) -> MemoryLimit:
    ram = draw(st.integers(1, 100)) * GB
    gpu = draw(st.one_of(st.none(), st.integers(1, 100).map(lambda n: n * GB)))
    return MemoryLimit(ram, gpu, shared=draw(st.booleans()))


def rank(plan) -> tuple[int, int, bool]:
    """How good a plan is: where labels lie, how many peaks together, where sequences lie."""
    layout = plan.layout
    streamed = layout.group_peaks if layout.labels == "streamed" else 0
    return _PLACES.index(layout.labels), streamed, layout.codes == "device"


def planned(asked: TrainingSizes, limit: MemoryLimit):
    try:
        return plan_memory(asked, limit=limit)
    except UserInputError:
        return None


@given(asked=any_sizes(), limit=any_limit())
@settings(max_examples=60, deadline=None)
def test_a_plan_fits_its_limit(asked, limit):
    plan = planned(asked, limit)
    assume(plan is not None)
    room = limit.ram_bytes // asked.workers if limit.shared else limit.ram_bytes
    assert plan.ram_bytes <= room
    assert plan.device_bytes <= (limit.device_bytes or 0)
    assert plan.layout.labels != "streamed" or plan.layout.group_peaks >= MIN_GROUP


@given(asked=any_sizes(), limit=any_limit(), more=st.integers(0, 50), on_gpu=st.integers(0, 50))
@settings(max_examples=60, deadline=None)
def test_more_memory_is_never_worse(asked, limit, more, on_gpu):
    gpu = None if limit.device_bytes is None else limit.device_bytes + on_gpu * GB
    roomier = replace(limit, ram_bytes=limit.ram_bytes + more * GB, device_bytes=gpu)
    before, after = planned(asked, limit), planned(asked, roomier)
    assert before is None or rank(after) >= rank(before)


@given(asked=any_sizes(), limit=any_limit(), begun=st.booleans())
@settings(max_examples=40, deadline=None)
def test_every_change_that_is_advised_fits(asked, limit, begun):
    assume(planned(asked, limit) is None)
    changes = smallest_changes(asked, limit, begun=begun)
    for change in changes:
        assert planned(change.apply(asked), limit) is not None
    with pytest.raises(UserInputError) as raised:
        plan_memory(asked, limit=limit, begun=begun)
    for change in changes:
        assert change.option in str(raised.value)
    assert changes or "nothing but more memory would help" in str(raised.value)


def test_labels_go_where_there_is_room():
    layouts = [
        plan_memory(sizes(), limit=limit).layout[:2]
        for limit in (
            MemoryLimit(64 * GB, 40 * GB),
            MemoryLimit(64 * GB, 6 * GB),
            MemoryLimit(64 * GB),
            MemoryLimit(8 * GB),
        )
    ]
    assert layouts == [("device", "device"), ("ram", "device"), ("ram", "ram"), ("streamed", "ram")]


def test_groups_are_as_large_as_fit():
    plan = plan_memory(sizes(), limit=MemoryLimit(8 * GB))
    group = plan.layout.group_peaks
    assert group % 256 == 0
    tight = plan_memory(sizes(), limit=MemoryLimit(plan.ram_bytes))
    assert tight.layout == plan.layout
    smaller = plan_memory(sizes(), limit=MemoryLimit(plan.ram_bytes - 1))
    assert smaller.layout.group_peaks == group - 256


def test_settled_groups_stay():
    """A run goes on in the order it was begun in, wherever its labels lie now."""
    asked = sizes(group_peaks=1024)
    assert plan_memory(asked, limit=MemoryLimit(8 * GB)).layout == ("streamed", "ram", 1024)
    assert plan_memory(asked, limit=MemoryLimit(64 * GB)).layout == ("ram", "ram", 1024)
    with pytest.raises(UserInputError, match="nothing but more memory"):
        plan_memory(sizes(group_peaks=0), limit=MemoryLimit(8 * GB), begun=True)


def test_cells_of_a_step_are_what_a_short_gpu_can_do_without():
    limit = MemoryLimit(500 * GB, 60 * GB, shared=False)
    asked = sizes(100_000_000, 1000)
    with pytest.raises(UserInputError, match="--workers 2, or --cells-per-step 8300000") as raised:
        plan_memory(asked, limit=limit)
    assert "on each GPU, but 60 GB may be used" in str(raised.value)
    with pytest.raises(UserInputError, match=r"--workers 2\.$"):
        plan_memory(asked, limit=limit, begun=True)


def test_a_batch_too_large_is_told_the_largest_that_fits():
    asked = sizes(1000, 1000, batch_size=5000)
    (change,) = [
        c for c in smallest_changes(asked, MemoryLimit(10 * GB)) if c.setting == "batch_size"
    ]
    assert planned(change.apply(asked), MemoryLimit(10 * GB)) is not None
    assert planned(replace(asked, batch_size=change.value + 16), MemoryLimit(10 * GB)) is None


def test_workers_of_one_machine_share_its_memory():
    asked = sizes(workers=4)
    together = plan_memory(asked, limit=MemoryLimit(40 * GB))
    each = plan_memory(asked, limit=MemoryLimit(10 * GB, shared=False))
    assert together.layout == each.layout
    assert together.ram_bytes == each.ram_bytes


def test_peaks_that_deviate_take_all_cells_once_more():
    """Whatever the number of workers: each has the whole table, and nothing of peaks x cells."""
    for workers in (1, 8):
        both = [
            plan_memory(sizes(workers=workers, deviates=deviates), limit=MemoryLimit(800 * GB))
            for deviates in (False, True)
        ]
        without, with_them = (
            next(phase.ram_bytes for phase in plan.phases if phase.name == "solving")
            for plan in both
        )
        table = 4 * 33 * 1_114_621
        assert table < with_them - without < 6 * table


def test_sizes_of_an_atlas(tmp_path):
    opened = Atlas.open(atlas(tmp_path / "a.zarr"))
    asked = TrainingSizes.of(opened, config(), workers=2, compute_dtype=torch.float32)
    assert asked.n_cells == opened.n_cells
    assert asked.n_parameters == sum(p.numel() for p in Trunk(config().trunk).parameters())
    # stem 192 x 12 -> 16 channels, tower 64, 32, ... 2 x 8..12 -> 16, prebottleneck 1 x 16
    assert asked.n_convolved == 16 * (192 + 64 + 32 + 16 + 8 + 4 + 2 + 1)
    assert asked.group_peaks is None
    plan = plan_training(opened, config(), workers=2, limit=MemoryLimit(20 * GB))
    (labels,) = [part for part in plan.held if part.name == "labels"]
    assert plan.layout.labels == "ram"
    fullest = max(sum(opened.block_positives[:10]), sum(opened.block_positives[10:]))
    assert labels.ram_bytes >= 2 * fullest


def test_the_paper_trunk_has_its_parameters():
    trunk = TrainConfig().trunk
    with torch.device("meta"):
        n_parameters = sum(p.numel() for p in Trunk(trunk).parameters())
    assert n_parameters == 4_513_960


def test_a_limit_is_what_is_given_or_most_of_what_is_free(monkeypatch):
    monkeypatch.setattr(limits, "free_bytes", lambda: 10 * GB)
    cpu = torch.device("cpu")
    assert memory_limit(device=cpu) == MemoryLimit(9 * GB, None, shared=True)
    assert memory_limit("8GB", device=cpu) == MemoryLimit(8 * GB, None, shared=False)
    with pytest.raises(UserInputError, match="no size in memory"):
        memory_limit("much", device=cpu)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (100 * GB, 140 * GB))
    assert memory_limit(device=torch.device("cuda")).device_bytes == 90 * GB


def test_the_device_of_workers(monkeypatch):
    assert worker_device(1).type == ("cuda" if torch.cuda.is_available() else "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [worker_device(n).type for n in (1, 2, 3)] == ["cuda", "cuda", "cpu"]
    assert worker_device(1, ray=True).type == "cpu"
    assert worker_device(8, ray=True, gpus_per_worker=1).type == "cuda"


def test_workers_of_a_cluster_elsewhere_do_not_share_this_machine(monkeypatch):
    asked = []

    def probe(cpus, gpus):
        asked.append((cpus, gpus))
        return WorkerFound(
            node="far", versions={}, free_bytes=400 * GB, gpu_bytes=80 * GB, workers_on_node=4
        )

    monkeypatch.setattr(limits, "probe_worker", probe)
    monkeypatch.setattr(limits, "ray_session", lambda *_: nullcontext())
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert run_limit(workers=2).shared
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    found = run_limit(workers=2, cpus_per_worker=3, gpus_per_worker=1)
    assert found == MemoryLimit(90 * GB, 72 * GB, shared=False)
    assert run_limit("3GB", workers=2) == MemoryLimit(3 * GB, None, shared=False)
    assert asked == [(3, 1)], "memory that was given is not looked up"
    assert run_limit(workers=2, launcher="process").shared
    assert run_limit("3GB", workers=1).ram_of_each(1) == 3 * GB
