import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from atlasbasset.core.reach import Layer, alike, reached


@st.composite
def changed_layers(draw):
    length, layers = 0, []
    pools = draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    length = int(np.prod(pools)) * draw(st.integers(1, 12))
    total, left = length, length
    for pool in pools:
        kernel = 2 * draw(st.integers(0, 4)) + 1
        layers.append(Layer(left, kernel, pool, draw(st.integers(0, pool - 1))))
        left = layers[-1].pooled
    width = draw(st.integers(1, total))
    return layers, draw(st.integers(0, total - width)), width


def by_sums(layers, start, width):
    """Which positions change, layer by layer, by running ones through."""
    changed = torch.zeros(1, 1, layers[0].length)
    changed[..., start : start + width] = 1
    yield changed[0, 0] > 0
    for layer in layers:
        ones = torch.ones(1, 1, layer.kernel)
        touched = torch.nn.functional.conv1d(changed, ones, padding=layer.reach)
        led = torch.cat([touched[..., :1].expand(-1, -1, layer.lead), touched], 2)
        led = led[..., : layer.length]
        changed = torch.nn.functional.max_pool1d(led, layer.pool).clamp(max=1)
        yield changed[0, 0] > 0


@given(changed_layers())
def test_every_changed_position_lies_within_the_reach(case):
    layers, start, width = case
    first, count = reached(layers, np.array([start]), width)
    lengths = [layers[0].length, *(layer.pooled for layer in layers)]
    for column, changed in enumerate(by_sums(layers, start, width)):
        begin, size = first[0, column], count[0, column]
        assert begin >= 0
        assert begin + size <= lengths[column]
        assert not changed[:begin].any()
        assert not changed[begin + size :].any()


@given(changed_layers())
def test_inputs_hold_what_the_changed_outputs_read_and_the_change_itself(case):
    layers, start, width = case
    first, count = reached(layers, np.array([start]), width)
    for column, layer in enumerate(layers):
        begin, end = layer.inputs(int(first[0, column + 1]), int(count[0, column + 1]))
        assert begin >= -layer.reach - layer.lead
        assert end <= layer.length + layer.reach
        assert begin <= first[0, column]
        assert first[0, column] + count[0, column] <= end + layer.lead


def test_a_substitution_in_the_published_model_reaches_a_tenth_of_each_layer():
    layers = [Layer(1344, 17, 3), *(Layer(448 >> i, 5, 2) for i in range(6))]
    first, count = reached(layers, np.arange(1344), 1)
    assert count[:, 1].min() == 6
    assert count[:, 1].max() == 7
    assert count[:, 2:].max() == 6
    assert first[672].tolist() == [672, 221, 109, 53, 25, 11, 4, 1]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=30))
def test_groups_are_equal_rows_and_hold_every_row_once(rows):
    counts = np.array(rows, np.int64)
    groups = list(alike(counts))
    assert sorted(np.concatenate(groups).tolist()) == list(range(len(rows)))
    assert all((counts[group] == counts[group[0]]).all() for group in groups)
    assert len(groups) == len(set(rows))
