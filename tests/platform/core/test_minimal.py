"""Minimal-filtering convolutions against direct ones in float64.

Bar: the rms error of outputs and of both gradients is at most 6 times that of direct float32
convolution, whose error at few channels is near one rounding (the added 6e-7).
"""

from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from atlasbasset.core.config import TrunkConfig
from atlasbasset.core.convolution import PatchConvolution
from atlasbasset.core.minimal import OUTPUTS, WIDTH, MinimalConvolution, transforms
from atlasbasset.core.trunk import Trunk

SHAPES = [(1, 1, 16, 16), (3, 13, 16, 32), (2, 50, 48, 16), (5, 112, 96, 64), (9, 14, 464, 512)]
SMALL = TrunkConfig(
    window_bp=192, stem_filters=12, tower_filters=(16, 20, 24), prebottleneck_filters=12,
    embedding_dim=8,
)  # fmt: skip


def inputs(shape, width=WIDTH):
    batch, length, channels, filters = shape
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, length, channels, generator=generator)
    weight = torch.randn(width, channels, filters, generator=generator)
    return (
        x,
        weight / (width * channels) ** 0.5,
        torch.randn(batch, length, filters, generator=generator),
    )


def direct(x, weight, grad):
    """Outputs and gradients (of x, of the weight) by torch's own convolution, channel-major."""
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    half = weight.shape[0] // 2
    y = F.conv1d(x.transpose(1, 2), weight.permute(2, 1, 0), padding=half).transpose(1, 2)
    y.backward(grad)
    return [v.detach().double() for v in (y, x.grad, weight.grad)]


def by_parts(kind, x, weight, grad, part):
    y, grad_x = torch.empty_like(grad), torch.empty_like(x)
    convolution = kind(weight.permute(2, 1, 0).contiguous(), x.shape[2])
    for rows in torch.arange(len(x)).split(part):
        here = slice(int(rows[0]), int(rows[-1]) + 1)
        convolution.outputs(x[here], y[here])
        convolution.add_gradients(x[here], grad[here], grad_x[here])
    found = y, grad_x, convolution.weight_grad().permute(2, 1, 0)
    return [v.double() for v in found]


def rms(found, expected):
    return float((found - expected).square().mean().sqrt())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("part", [2, 100])
def test_error_is_within_six_times_that_of_direct(shape, part):
    x, weight, grad = inputs(shape)
    exact = direct(*(v.double() for v in (x, weight, grad)))
    plain = direct(x, weight, grad)
    for ours, theirs, truth in zip(
        by_parts(MinimalConvolution, x, weight, grad, part), plain, exact, strict=True
    ):
        allowed = 6 * rms(theirs, truth) + 6e-7 * float(truth.square().mean().sqrt())
        assert rms(ours, truth) <= allowed


@pytest.mark.parametrize("part", [2, 100])
def test_patches_convolve(part):
    x, weight, grad = inputs((3, 20, 4, 16), width=17)
    found = by_parts(PatchConvolution, x, weight, grad, part)
    exact = direct(*(v.double() for v in (x, weight, grad)))
    for index in (0, 2):  # no gradient of the input
        torch.testing.assert_close(found[index], exact[index], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("outputs", [2, 3, 4])
def test_transforms_are_exact(outputs):
    points = [Fraction(p) for p in ("0", "1", "-1", "2", "-2", "1/2", "-1/2")][: outputs + 3]
    found, rng = transforms(points, outputs), np.random.default_rng(0)
    x, w = rng.integers(-9, 9, outputs + 4), rng.integers(-9, 9, 5)
    y = found.to_outputs @ ((found.of_weight @ w) * (found.of_inputs @ x))
    np.testing.assert_allclose(y, np.correlate(x, w, "valid"), rtol=1e-12, atol=1e-9)
    assert len(y) == outputs


def trunk_pass(dtype, convolution, config=SMALL, batch=6):
    """Embeddings and all gradients of a trunk in training mode."""
    trunk = Trunk.initialised(config, seed=0).to(dtype)
    trunk.convolution = convolution
    codes = torch.randint(
        0, 4, (batch, config.window_bp), generator=torch.Generator().manual_seed(1)
    )
    x = F.one_hot(codes, 4).to(dtype)
    h = trunk(x, compute_dtype=dtype)
    h.sin().sum().backward()
    return [h.detach(), *(p.grad for p in trunk.parameters())], trunk, x


def test_trunk_and_its_gradients_are_within_six_times_the_error_of_direct():
    exact, plain, ours = (
        trunk_pass(dtype, kind)[0]
        for dtype, kind in (
            (torch.float64, "direct"), (torch.float32, "direct"), (torch.float32, "minimal"),
        )
    )  # fmt: skip
    for truth, theirs, found in zip(exact, plain, ours, strict=True):
        size = float(truth.square().mean().sqrt())
        assert rms(found.double(), truth) <= 6 * rms(theirs.double(), truth) + 1e-6 * size


def test_trunk_in_evaluation_mode_equals_direct():
    _, trunk, x = trunk_pass(torch.float32, "minimal")
    trunk.eval()
    with torch.no_grad():
        minimal = trunk(x)
        trunk.convolution = "direct"
        torch.testing.assert_close(minimal, trunk(x), rtol=1e-4, atol=1e-5)


def test_minimal_is_computed_by_minimal(monkeypatch):
    def refuse(self, x, out):
        raise AssertionError("computed")

    monkeypatch.setattr(MinimalConvolution, "outputs", refuse)
    trunk_pass(torch.float32, "direct")
    trunk_pass(torch.float64, "minimal")
    with pytest.raises(AssertionError, match="computed"):
        trunk_pass(torch.float32, "minimal")


def test_same_input_same_bits():
    first, second = (trunk_pass(torch.float32, "minimal")[0] for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)


def test_in_evaluation_mode_gradients_are_neither_needed_nor_made():
    _, trunk, x = trunk_pass(torch.float32, "minimal")
    h = trunk.eval()(x.requires_grad_())  # as without minimal: the normalisations have none
    assert torch.isfinite(h).all()


def test_the_sequence_gets_a_gradient_of_zero():
    _, trunk, x = trunk_pass(torch.float32, "minimal")
    x = x.detach().requires_grad_()
    trunk(x).sum().backward()
    assert x.grad is None or not x.grad.any()


def test_running_statistics_follow_as_with_direct():
    _, ours, _ = trunk_pass(torch.float32, "minimal")
    _, plain, _ = trunk_pass(torch.float32, "direct")
    for (name, a), b in zip(ours.named_buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5, msg=name)


def test_tiles_need_fewer_products():
    assert len(MinimalConvolution(torch.zeros(16, 16, WIDTH), 16)._points) < OUTPUTS * WIDTH / 2
