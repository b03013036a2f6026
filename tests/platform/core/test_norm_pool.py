"""Normalise-pool-activate against plain torch autograd in float64.

Tolerance: ours may be no further from the float64 truth than the plain computation in the same
dtype is, plus a few units in the last place of that dtype (another order of summation).
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from atlasbasset.core import _fused_cpu_tensors, _passes
from atlasbasset.core.activation import GAIN
from atlasbasset.core.norm_pool import norm_pool_activate, norm_pool_activate_frozen

SHAPES = [(3, 12, 5, 3), (2, 8, 16, 2), (1, 6, 1, 2), (4, 7, 33, 1), (5, 300, 7, 3)]


def reference(y, gamma, beta, pool, eps=1e-3, lead=0):
    """The published order, channel-major, by torch's own operators."""
    z = F.batch_norm(y.permute(0, 2, 1), None, None, gamma, beta, training=True, eps=eps)
    z = F.max_pool1d(z, pool, padding=lead)
    return (z * torch.sigmoid(GAIN * z)).permute(0, 2, 1)


def inputs(shape, dtype, seed=0):
    batch, length, channels, pool = shape
    generator = torch.Generator().manual_seed(seed)
    y = (torch.randn(batch, length, channels, generator=generator) * 2 + 0.5).to(dtype)
    gamma = torch.randn(channels, generator=generator)  # negative gains turn maxima into minima
    beta = torch.randn(channels, generator=generator)
    grad = torch.randn(batch, length // pool, channels, generator=generator).to(dtype)
    return y, gamma, beta, pool, grad


def run(function, y, gamma, beta, pool, grad):
    y, gamma, beta = (v.clone().requires_grad_() for v in (y, gamma, beta))
    out = function(y, gamma, beta, pool)
    out.backward(grad)
    return [v.detach().double() for v in (out, y.grad, gamma.grad, beta.grad)]


def ours(y, gamma, beta, pool):
    return norm_pool_activate(y, gamma, beta, pool=pool, eps=1e-3).activated


@pytest.mark.parametrize("shape", SHAPES)
def test_float64_equals_autograd(shape):
    y, gamma, beta, pool, grad = inputs(shape, torch.float64)
    args = y, gamma.double(), beta.double(), pool, grad
    for found, expected in zip(run(ours, *args), run(reference, *args), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "ulp"), [(torch.float32, 1e-6), (torch.bfloat16, 2e-2)])
def test_fused_is_no_worse_than_plain(shape, dtype, ulp):
    y, gamma, beta, pool, grad = inputs(shape, dtype)
    exact = run(reference, y.double(), gamma.double(), beta.double(), pool, grad.double())
    plain = run(reference, y, gamma.to(dtype), beta.to(dtype), pool, grad)
    found = run(ours, y, gamma, beta, pool, grad)
    for truth, same_dtype, fused in zip(exact, plain, found, strict=True):
        allowed = (truth - same_dtype).norm() + ulp * (truth.norm() + 1)
        assert (truth - fused).norm() <= allowed


def early(function, **options):
    def forward(y, gamma, beta, pool):
        return function(y, gamma, beta, pool=pool, eps=1e-3, lead=1, **options)

    return forward


@pytest.mark.parametrize("shape", [s for s in SHAPES if s[3] == 3] + [(2, 3, 4, 3)])
def test_an_early_first_window_equals_autograd_with_padding(shape):
    y, gamma, beta, pool, grad = inputs(shape, torch.float64)
    args = y, gamma.double(), beta.double(), pool, grad
    ours_early = early(lambda *a, **k: norm_pool_activate(*a, **k).activated)
    for found, expected in zip(run(ours_early, *args), run(early(reference), *args), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 3e-2)):
        rounded = y.to(dtype), gamma, beta, pool, grad.to(dtype)
        wide = y.to(dtype).double(), gamma.double(), beta.double(), pool, grad.to(dtype).double()
        exact = run(early(reference), *wide)
        for found, expected in zip(run(ours_early, *rounded), exact, strict=True):
            assert (found - expected).norm() <= tolerance * (expected.norm() + 1)


@pytest.mark.parametrize("lead", [1, 2])
def test_the_early_window_has_an_exact_gradient(lead):
    y, gamma, beta, pool, _ = inputs((2, 6, 3, 3), torch.float64)
    leaves = [v.double().requires_grad_() for v in (y, gamma, beta)]

    def function(*values):
        return norm_pool_activate(*values, pool=pool, eps=1e-3, lead=lead).activated

    assert torch.autograd.gradcheck(function, leaves)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
def test_fused_passes_equal_plain_passes(shape, dtype):
    """Both back ends of each pass, one against the other: two roundings of one number."""
    y, gamma, beta, pool, grad = inputs(shape, dtype)
    tolerance = {"rtol": 1e-2, "atol": 1e-2} if dtype == torch.bfloat16 else {}
    line = torch.randn_like(gamma), torch.randn_like(beta)
    for name, args in {
        "channel_sums": (y,),
        "pool_activate": (y, gamma, beta, pool),
        "pool_activate_grad": (y, gamma, beta, pool, grad),
        "spread_grad": (y, gamma, beta, pool, grad, *line),
    }.items():
        found, expected = (getattr(m, name)(*args) for m in (_fused_cpu_tensors, _passes))
        kwargs = tolerance or {"rtol": 1e-5, "atol": 1e-4}
        torch.testing.assert_close(found, expected, **kwargs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_tie_sends_all_the_gradient_to_the_first_maximum(dtype):
    y = torch.tensor([2.0, 2.0, 1.0, 2.0]).to(dtype).view(1, 4, 1)
    one, zero = torch.ones(1, dtype=dtype), torch.zeros(1, dtype=dtype)
    grad = torch.ones(1, 2, 1, dtype=dtype)
    passes = _passes if dtype == torch.float64 else _fused_cpu_tensors
    spread = passes.spread_grad(y, one, zero, 2, grad, zero, zero)
    assert spread.flatten().tolist() == [1, 0, 0, 1]


def test_a_dead_channel_stays_dead_and_finite():
    y, gamma, beta, pool, grad = inputs((3, 12, 4, 3), torch.float32)
    gamma[1] = 0
    y[:, :, 2] = 7.0  # a constant channel: variance 0
    for value in run(ours, y, gamma, beta, pool, grad):
        assert torch.isfinite(value).all()


def test_statistics_are_of_the_global_batch():
    """Two halves that sum their statistics do what the whole does."""
    y, gamma, beta, pool, grad = inputs((4, 12, 5, 3), torch.float64)
    gamma, beta = gamma.double(), beta.double()
    whole = run(ours, y, gamma, beta, pool, grad)
    sums = [_passes.channel_sums(half) for half in y.split(2)]
    halves = []
    for half, half_grad, other in zip(y.split(2), grad.split(2), reversed(sums), strict=True):

        def add_other(tensor, other=other, half=half):
            if tensor.numel() == 11:  # sums, squares, count in the forward pass
                count = torch.tensor([half.shape[0] * half.shape[1]], dtype=torch.float64)
                return tensor + torch.cat([other.flatten(), count])
            return tensor

        out = norm_pool_activate(half, gamma, beta, pool=pool, eps=1e-3, reduce=add_other)
        halves.append(out.activated)
        assert half_grad is not None
    torch.testing.assert_close(torch.cat(halves), whole[0])


def test_frozen_form_uses_the_given_affine_map():
    y, scale, shift, pool, _ = inputs((2, 12, 5, 3), torch.float32)
    z = F.max_pool1d((y * scale + shift).permute(0, 2, 1), pool).permute(0, 2, 1)
    found = norm_pool_activate_frozen(y, scale, shift, pool=pool)
    torch.testing.assert_close(found, z * torch.sigmoid(GAIN * z), rtol=1e-5, atol=1e-6)
    z = F.max_pool1d((y * scale + shift).permute(0, 2, 1), pool, padding=1).permute(0, 2, 1)
    found = norm_pool_activate_frozen(y, scale, shift, pool=pool, lead=1)
    torch.testing.assert_close(found, z * torch.sigmoid(GAIN * z), rtol=1e-5, atol=1e-6)
