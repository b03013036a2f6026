"""Which batches labels can compare."""

from __future__ import annotations

from atlasbasset.metrics.confounding import batch_groups


def test_a_label_joins_batches_that_have_three_of_its_cells():
    labels = ["t"] * 6 + ["b"] * 6
    assert batch_groups(labels, ["x"] * 6 + ["y"] * 6) == [["x"], ["y"]]
    assert batch_groups(labels, ["x", "y"] * 6) == [["x", "y"]]
    assert batch_groups(labels, ["x"] * 4 + ["y"] * 8) == [["x"], ["y"]]  # two cells are few
    assert batch_groups(labels, ["x"] * 3 + ["y"] * 9) == [["x", "y"]]


def test_joined_through_a_third_batch_and_missing_left_out():
    labels = ["t"] * 6 + ["b"] * 6 + [None] * 6
    batches = ["x"] * 3 + ["y"] * 6 + ["z"] * 3 + ["w", None] * 3
    assert batch_groups(labels, batches) == [["x", "y", "z"]]
