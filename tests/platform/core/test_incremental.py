"""Incremental evaluation equals full passes at every place, for every kind of change.

Tolerances: float64 compares arithmetic that differs only in the order of sums (1e-12 of values of
order 1); float32 likewise (2e-5); bfloat16 rounds every layer's output to 8 bits, so that another
order of sums may round a value the other way (0.05 of order 1).
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from atlasbasset.core.augment import one_hot_input
from atlasbasset.core.config import TrunkConfig
from atlasbasset.core.incremental import Incremental, Reference, substitution_effects
from atlasbasset.core.trunk import BatchNorm, Trunk

SMALL = TrunkConfig(
    window_bp=96, stem_filters=10, stem_kernel=9, tower_filters=(10, 12, 14, 18),
    prebottleneck_filters=12, embedding_dim=6,
)  # fmt: skip
LEADING = TrunkConfig(
    window_bp=96, stem_filters=10, stem_kernel=9, stem_pool_lead=1, tower_filters=(10, 12, 14),
    prebottleneck_filters=12, embedding_dim=6,
)  # fmt: skip
NARROW = replace(SMALL, stem_kernel=5)
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5, torch.bfloat16: 5e-2}


def trained_like(config, dtype=torch.float64):
    """A trunk whose normalisations are those of a trained one: no zero means, no unit gains."""
    trunk = Trunk.initialised(config, seed=0)
    generator = torch.Generator().manual_seed(1)
    for norm in (m for m in trunk.modules() if isinstance(m, BatchNorm)):
        with torch.no_grad():
            norm.running_mean.normal_(0, 0.2, generator=generator)
            norm.running_var.uniform_(0.5, 2, generator=generator)
            norm.gamma.uniform_(-0.5, 1.5, generator=generator)
            norm.beta.normal_(0, 0.3, generator=generator)
    trunk.eval().requires_grad_(requires_grad=False)
    return trunk.double() if dtype == torch.float64 else trunk


def windows(n, config, *, unknown=0.05):
    rng = np.random.default_rng(2)
    codes = rng.integers(0, 4, (n, config.window_bp))
    codes[rng.random(codes.shape) < unknown] = 4
    return torch.from_numpy(codes.astype(np.uint8))


@torch.no_grad()
def full(trunk, codes, dtype):
    return trunk(one_hot_input(codes, dtype), compute_dtype=dtype)


def changed(codes, rows, starts, new):
    out = codes[rows].clone()
    for m, start in enumerate(starts.tolist()):
        out[m, start : start + new.shape[1]] = new[m]
    return out


@pytest.mark.parametrize(
    ("dtype", "convolution"),
    [(dtype, "direct") for dtype in TOLERANCE] + [(torch.float32, "minimal")],
    ids=str,
)
@pytest.mark.parametrize(
    "config",
    [SMALL, LEADING, NARROW],
    ids=["pooled", "stem pool leading", "narrow stem"],
)
@pytest.mark.parametrize("width", [1, 2, 7, 25, 96])
def test_a_stretch_anywhere_equals_a_full_pass(config, dtype, convolution, width):
    trunk, codes = trained_like(config, dtype), windows(3, config)
    trunk.convolution = convolution
    starts = torch.arange(config.window_bp - width + 1).repeat(2)
    rows = torch.arange(len(starts)) % 3
    new = windows(len(starts), config, unknown=0.1)[:, :width].contiguous()
    engine = Incremental(trunk, compute_dtype=dtype, batch=17)
    reference = engine.reference(codes)
    found = engine.embed(reference, rows, starts, new)
    expected = full(trunk, changed(codes, rows, starts, new), dtype)
    tolerance = TOLERANCE[dtype]
    assert torch.allclose(reference.h, full(trunk, codes, dtype), atol=tolerance, rtol=tolerance)
    assert torch.allclose(found, expected, atol=tolerance, rtol=tolerance)


def test_every_substitution_of_the_published_model_at_both_ends_and_the_middle():
    config = TrunkConfig()
    trunk, codes = trained_like(config, torch.float32), windows(1, config, unknown=0.02)
    codes[0, :5], codes[0, 700:710], codes[0, -3:] = 4, 4, 4
    engine = Incremental(trunk)
    base = full(trunk, codes, torch.float32)
    for start, stop in ((0, 15), (692, 714), (1328, 1344)):
        found = substitution_effects(engine, codes, start=start, stop=stop)[0]
        places = torch.arange(start, stop).repeat_interleave(4)
        new = torch.arange(4, dtype=torch.uint8).repeat(stop - start)[:, None]
        mutants = changed(codes, torch.zeros_like(places), places, new)
        expected = full(trunk, mutants, torch.float32) - base
        # rounding of float32 is 1e-6 of h; effects are differences of such values
        assert torch.allclose(found.flatten(0, 1), expected, atol=2e-5, rtol=0)


def test_effects_of_the_bases_already_there_are_zero_and_unknown_bases_have_four():
    trunk, codes = trained_like(SMALL), windows(2, SMALL)
    found = substitution_effects(
        Incremental(trunk, compute_dtype=torch.float64), codes, start=10, stop=80
    )
    assert found.shape == (2, 70, 4, 6)
    is_zero = (found == 0).all(-1)
    own = codes[:, 10:80, None] == torch.arange(4)
    assert torch.equal(is_zero, own)
    assert (codes[:, 10:80] == 4).any()


def test_a_reference_at_hand_is_used():
    trunk, codes = trained_like(SMALL), windows(2, SMALL)
    engine = Incremental(trunk)
    reference = engine.reference(codes)
    plain = substitution_effects(engine, codes, start=0, stop=9)
    found = substitution_effects(engine, codes, start=0, stop=9, reference=reference)
    assert torch.equal(found, plain)
    shifted = Reference(reference.inputs, reference.h + 1, reference.convolved)
    other = substitution_effects(engine, codes, start=0, stop=9, reference=shifted)
    is_other = codes[:, 0:9, None] != torch.arange(4)
    assert torch.allclose(other[is_other], plain[is_other] - 1, atol=1e-5)


def test_many_changes_equal_few_at_a_time():
    trunk, codes = trained_like(SMALL), windows(2, SMALL)
    one = substitution_effects(
        Incremental(trunk, compute_dtype=torch.float64, batch=1), codes, start=0, stop=96
    )
    many = substitution_effects(
        Incremental(trunk, compute_dtype=torch.float64, batch=999), codes, start=0, stop=96
    )
    assert torch.allclose(one, many, atol=1e-13, rtol=0)


def test_no_changes_give_no_embeddings():
    engine = Incremental(trained_like(SMALL), compute_dtype=torch.float64)
    reference = engine.reference(windows(1, SMALL))
    nothing = torch.empty(0, dtype=torch.int64)
    found = engine.embed(reference, nothing, nothing, torch.empty(0, 3, dtype=torch.uint8))
    assert found.shape == (0, 6)


def test_a_change_past_the_end_is_refused():
    engine = Incremental(trained_like(SMALL), compute_dtype=torch.float64)
    reference = engine.reference(windows(1, SMALL))
    with pytest.raises(ValueError, match="must begin at 0 to 94"):
        engine.embed(
            reference, torch.tensor([0]), torch.tensor([95]), torch.zeros(1, 2, dtype=torch.uint8)
        )


def test_a_trunk_in_training_is_refused():
    with pytest.raises(ValueError, match="evaluation mode"):
        Incremental(trained_like(SMALL).train())
