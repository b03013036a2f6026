"""The linear readout that may follow the trunk: what sequences say of peaks that have deviated."""

from __future__ import annotations

import pytest
import torch

from atlasbasset.core.trunk import Trunk
from small_model import TINY

E = TINY.embedding_dim


@pytest.fixture
def trunk() -> Trunk:
    return Trunk.initialised(TINY, seed=0).eval()


def random_readout(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(*shape, generator=generator) for shape in ((E, E), (E,)))


def sequences() -> torch.Tensor:
    codes = torch.randint(4, (3, TINY.window_bp), generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.one_hot(codes, 4).float()


def test_readouts_follow_one_another(trunk):
    x, first, second = sequences(), random_readout(2), random_readout(3)
    plain = trunk(x)
    trunk.bottleneck.append_readout(*first)
    once = plain @ first[0] + first[1]
    torch.testing.assert_close(trunk(x), once)
    trunk.bottleneck.append_readout(*(t.double() for t in second))
    torch.testing.assert_close(trunk(x), once @ second[0] + second[1], rtol=1e-5, atol=1e-5)


def test_training_goes_on_through_the_readout(trunk):
    trunk.bottleneck.append_readout(*random_readout(2))
    trunk.train()
    trunk(sequences()).square().sum().backward()
    assert trunk.stem.weight.grad.abs().sum() > 0
    trained = dict(trunk.bottleneck.named_parameters())
    assert {"readout_weight", "readout_offset"}.isdisjoint(trained)


def test_a_state_has_the_readout_or_none(trunk):
    plain = trunk.state_dict()
    assert not any("readout" in name for name in plain)
    trunk.bottleneck.append_readout(*random_readout(2))
    with_readout, other = trunk.state_dict(), Trunk(TINY).eval()
    other.load_state_dict(with_readout)
    torch.testing.assert_close(other(sequences()), trunk(sequences()), rtol=0, atol=0)
    other.load_state_dict(plain)
    assert other.bottleneck.readout_weight is None


@pytest.mark.parametrize(
    "changed",
    [{"bottleneck.readout_offset": None}, {"bottleneck.readout_weight": torch.zeros(E, E + 1)}],
)
def test_half_a_readout_or_one_of_another_width_is_refused(trunk, changed):
    trunk.bottleneck.append_readout(*random_readout(2))
    state = {n: v for n, v in (trunk.state_dict() | changed).items() if v is not None}
    with pytest.raises(RuntimeError, match="readout_"):
        Trunk(TINY).load_state_dict(state)
