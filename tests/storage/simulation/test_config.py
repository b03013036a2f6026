from __future__ import annotations

import pytest

from atlasstore.errors import UserInputError
from atlasstore.simulation.config import SimulationConfig, Stream, stream


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n_cells", 0),
        ("n_cells", 2.5),
        ("n_cells", True),
        ("n_peaks", 9),
        ("n_cell_types", 0),
        ("rare_types", 8),
        ("rare_types", -1),
        ("rare_share", 0.6),
        ("n_motifs", 0),
        ("n_batches", 0),
        ("seed", -1),
        ("density", 0),
        ("density", 0.51),
        ("density", float("nan")),
        ("depth_sd", -0.1),
        ("depth_sd", "wide"),
        ("batch_effect", 4),
    ],
)
def test_a_dial_out_of_range_is_named(field, value):
    with pytest.raises(UserInputError, match=field):
        SimulationConfig(**{field: value})


@pytest.mark.parametrize("share", [0, 0.2])
def test_rare_types_are_half_of_the_cells_at_most(share):
    with pytest.raises(UserInputError, match=r"rare_share is .* 0\.166667 each"):
        SimulationConfig(rare_types=3, rare_share=share)
    assert SimulationConfig(rare_types=2, rare_share=0.2).rare_types == 2


def test_streams_differ_by_seed_purpose_and_index_and_repeat():
    keys = [(s, p, i) for s in (0, 1) for p in (Stream.PEAKS, Stream.COUNTS) for i in (0, 1)]
    draws = [stream(*key).random() for key in keys]
    assert len(set(draws)) == len(keys)
    assert draws == [stream(*key).random() for key in keys]
