"""The trunk as `torch.compile` sees it: one graph, the same numbers. Traced, not code-generated."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from atlasbasset.core import _passes, norm_pool
from atlasbasset.core.trunk import Trunk
from tiny import TRUNK, WINDOW

SHORT = replace(TRUNK, tower_filters=(8, 9))
"""Every kind of stage, and none a third time: tracing takes seconds."""


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's
@pytest.mark.filterwarnings("ignore:Guards may run slower on Python 3.13.0:RuntimeWarning")
def test_a_training_step_of_the_trunk_is_one_graph(monkeypatch):
    """By the plain passes, as on a GPU; the fused ones of the CPU are no part of a graph."""
    monkeypatch.setattr(norm_pool, "passes_for", lambda _y: _passes)
    eager = Trunk.initialised(SHORT, seed=0).train()
    traced = copy.deepcopy(eager)
    compiled = torch.compile(traced, backend="aot_eager", fullgraph=True, dynamic=False)
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(6, WINDOW, 4, generator=generator)
    keep = torch.rand(6, SHORT.embedding_dim, generator=generator) > 0.2
    for trunk in (eager, compiled):
        trunk(x, keep_BE=keep, compute_dtype=torch.float32).square().sum().backward()
    for (name, a), b in zip(eager.named_parameters(), traced.parameters(), strict=True):
        torch.testing.assert_close(b.grad, a.grad, rtol=1e-5, atol=1e-6, msg=name)
    for (name, a), b in zip(eager.named_buffers(), traced.buffers(), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-6, msg=name)
