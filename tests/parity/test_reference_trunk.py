"""Our trunk against the plain float64 one, stage by stage, forward and backward.

What is not checked here: reverse complement, shifts and dropout, which happen outside of both.

Tolerances: in float64 max |difference| / max |value| of 1e-10 (sums of up to 2,560 products in
another order, nine stages deep). In float32 and bf16 the plain reference is run in the same
arithmetic, and our error against float64 is held against its error: bf16 no larger, float32 up to
8 times (one long matrix product per convolution rounds more often than a blocked one; 1e-5 in all).
"""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

import reference_trunk
from atlasbasset.core.activation import activate
from atlasbasset.core.config import TrunkConfig
from atlasbasset.core.trunk import Trunk

SMALL = TrunkConfig(
    window_bp=384,
    stem_filters=20,
    tower_filters=(20, 23, 25, 29, 33, 35),
    prebottleneck_filters=18,
    embedding_dim=7,
)
PUBLISHED = TrunkConfig()


def relative(found, expected):
    """max |found - expected| / max |expected|; absolute where all that is expected is 0."""
    scale = expected.abs().max().item() or 1.0
    return (found.double() - expected.double()).abs().max().item() / scale


def random_trunk(config, *, lead=0):
    """A float64 trunk with no weight, offset or statistic left at a neutral value."""
    trunk = Trunk(replace(config, stem_pool_lead=lead)).double()
    trunk.load_state_dict(Trunk.initialised(config, seed=3).state_dict())
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, value in trunk.state_dict().items():
            if "norm" in name:
                drawn = torch.randn(value.shape, generator=generator, dtype=torch.float64)
                centre = 0.0 if name.endswith(("beta", "mean")) else 1.0
                value.copy_(centre + 0.3 * drawn.clamp(-2, 2))
    return trunk


def random_input(n_rows, window_bp, rng):
    onehot = np.eye(4)[rng.integers(0, 4, (n_rows, window_bp))]
    onehot[0, 5] = 0.25
    return torch.from_numpy(onehot)  # (B, L, 4)


def weights_of(trunk):
    return {name: value.detach().clone() for name, value in trunk.state_dict().items()}


def our_stages(trunk, x_BL4):
    """Each stage's activated output, (B, L, C) without padding, then h."""
    x, found = activate(x_BL4), []
    for stage in trunk.stages():
        x = stage(x)
        found.append(x[:, :, : stage.weight.shape[0]])
    return [*found, trunk.bottleneck(x)]


@pytest.mark.parametrize(
    ("config", "n_rows", "lead", "training"),
    [
        (SMALL, 5, 0, False),
        (SMALL, 5, 0, True),
        (SMALL, 5, 1, False),
        (SMALL, 5, 1, True),
        (PUBLISHED, 3, 0, False),
        (PUBLISHED, 3, 0, True),
    ],
)
def test_every_stage(config, n_rows, lead, training, rng):
    trunk = random_trunk(config, lead=lead).train(training)
    x = random_input(n_rows, config.window_bp, rng)
    whole = reference_stages(weights_of(trunk), x, training=training, stem_pool_lead=lead)
    with torch.no_grad():
        found = our_stages(trunk, x)
    assert len(found) == len(whole) == 9
    assert max(relative(f, e) for f, e in zip(found, whole, strict=True)) < 1e-10
    single = {name: value.float() for name, value in weights_of(trunk).items()}
    plain = reference_stages(single, x.float(), training=training, stem_pool_lead=lead)
    with torch.no_grad():
        found = our_stages(copy.deepcopy(trunk).float(), x.float())
    for ours, theirs, exact in zip(found, plain, whole, strict=True):
        assert relative(ours, exact) <= 8 * relative(theirs, exact) + 1e-6


def reference_stages(weights, x_BL4, **options):
    """The same of the reference: activated, length-major."""
    found = reference_trunk.forward(weights, x_BL4.transpose(1, 2), **options)
    return [*(reference_trunk.act(b).transpose(1, 2) for b in found.blocks), found.h]


def gradients_of(trunk, x, weight_BE, compute_dtype):
    trunk = trunk.train()
    h = trunk(x, compute_dtype=compute_dtype)
    (h * weight_BE.to(h.dtype)).sum().backward()
    return h.detach(), {name: p.grad for name, p in trunk.named_parameters()}


def reference_gradients(weights, x_B4L, weight_BE, *, autocast=False, lead=0):
    leaves = {
        name: value.clone().requires_grad_("running" not in name) for name, value in weights.items()
    }
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        h = reference_trunk.forward(leaves, x_B4L, training=True, stem_pool_lead=lead).h
    (h.to(weight_BE.dtype) * weight_BE).sum().backward()
    return h.detach(), {n: v.grad for n, v in leaves.items() if v.grad is not None}


def norm_error(found, expected):
    """Relative error in the Euclidean norm: a max-pool that ties differently moves one entry."""
    return ((found.double() - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize(
    ("config", "n_rows", "lead"),
    [(SMALL, 6, 0), (SMALL, 6, 1), (PUBLISHED, 8, 0)],
    ids=["small", "small early pool", "published"],
)
def test_gradients_of_every_parameter(config, n_rows, lead, rng):
    trunk = random_trunk(config, lead=lead)
    x = random_input(n_rows, config.window_bp, rng)
    weight = torch.from_numpy(rng.normal(size=(n_rows, config.embedding_dim)))
    exact = reference_gradients(weights_of(trunk), x.transpose(1, 2), weight, lead=lead)
    found = gradients_of(copy.deepcopy(trunk), x, weight, torch.float64)
    assert set(found[1]) == set(exact[1]) == {name for name, _ in trunk.named_parameters()}
    assert relative(found[0], exact[0]) < 1e-10
    assert max(relative(g, exact[1][name]) for name, g in found[1].items()) < 1e-8
    if config is PUBLISHED:
        for dtype, factor, slack in [(torch.float32, 8, 1e-5), (torch.bfloat16, 1.1, 1e-2)]:
            check_no_worse_than_plain(trunk, x, weight, exact, dtype, factor, slack)


def check_no_worse_than_plain(trunk, x, weight, exact, dtype, factor, slack):
    """Our error against float64 in `dtype` is at most `factor` of the plain one's, plus `slack`."""
    single = {name: value.float() for name, value in weights_of(trunk).items()}
    plain = reference_gradients(
        single, x.float().transpose(1, 2), weight.float(), autocast=dtype == torch.bfloat16
    )
    ours = gradients_of(copy.deepcopy(trunk).float(), x.float(), weight, dtype)
    assert norm_error(ours[0], exact[0]) <= factor * norm_error(plain[0], exact[0]) + slack / 10
    for name, expected in exact[1].items():
        bound = factor * norm_error(plain[1][name], expected) + slack
        assert norm_error(ours[1][name], expected) <= bound, name


def test_parameters_of_the_published_size():
    assert sum(p.numel() for p in Trunk(PUBLISHED).parameters()) == 4_513_960
