from __future__ import annotations

import pytest
import torch

from atlasbasset.core.config import TrunkConfig
from atlasbasset.core.cost import change_flops, pass_bytes, pass_flops, reference_bytes
from atlasbasset.core.incremental import Incremental
from atlasbasset.core.trunk import Trunk

PUBLISHED = TrunkConfig()


def test_the_published_model_costs_what_the_method_says():
    assert pass_flops(PUBLISHED) == pytest.approx(0.93e9, rel=0.01)


def test_a_change_of_one_base_costs_a_tenth():
    shares = [change_flops(PUBLISHED, start, 1) / pass_flops(PUBLISHED) for start in range(1344)]
    assert 0.08 < min(shares) < max(shares) < 0.12
    assert sum(shares) / len(shares) == pytest.approx(0.1, rel=0.05)


def test_a_wider_change_costs_more_and_the_whole_window_a_pass():
    costs = [change_flops(PUBLISHED, 600, width) for width in (1, 20, 100, 700)]
    assert costs == sorted(costs)
    assert change_flops(PUBLISHED, 0, 1344) == pass_flops(PUBLISHED)


def test_memory_is_what_a_reference_holds():
    engine = Incremental(Trunk.initialised(PUBLISHED, seed=0).eval())
    kept = engine.reference(torch.zeros(2, 1344, dtype=torch.uint8))
    held = sum(t.numel() * t.element_size() for t in kept.inputs)
    assert 2 * reference_bytes(PUBLISHED) == pytest.approx(held, rel=0.05)


def test_a_pass_unfolds_its_largest_input():
    assert pass_bytes(PUBLISHED) == 448 * 5 * 288 * 4


def test_by_hand():
    config = TrunkConfig(
        window_bp=6,
        stem_filters=2,
        stem_kernel=3,
        tower_filters=(5,),
        tower_kernel=1,
        prebottleneck_filters=7,
        embedding_dim=11,
    )
    stem, tower, last = 2 * 3 * 4 * 2, 2 * 2 * 5, 2 * 5 * 7
    bottleneck = 2 * 7 * 11
    assert pass_flops(config) == 6 * stem + 2 * tower + last + bottleneck
    assert change_flops(config, 1, 1) == 3 * stem + 2 * tower + last + bottleneck
