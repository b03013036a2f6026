"""Bins of cells that are alike, and the covariates of a contrast."""

from __future__ import annotations

import numpy as np
import pytest

from atlasbasset.inference.cell_labels import CellLabels
from atlasbasset.verbs.differential.design import contrasts_of, design_of, make_bins
from atlasstore.errors import UserInputError

N = 400


def labelled(key: str, codes: np.ndarray, names: tuple[str, ...]) -> CellLabels:
    return CellLabels(key, names, np.asarray(codes, np.int64))


@pytest.fixture
def cells() -> tuple[CellLabels, CellLabels, np.ndarray]:
    rng = np.random.default_rng(0)
    types = labelled("type", rng.integers(-1, 3, N), ("a", "b", "c"))
    donors = labelled("donor", rng.integers(0, 2, N), ("one", "two"))
    return types, donors, rng.normal(size=N)


def test_bins_hold_cells_that_are_alike_in_ranges_of_depth(cells) -> None:
    types, donors, depth = cells
    bins = make_bins(types, [donors], depth, contrasts_of(types, None, "rest"))
    inside = types.codes >= 0
    assert (bins.of_cell >= 0).tolist() == inside.tolist()
    assert np.bincount(bins.of_cell[inside]).tolist() == bins.n_cells.tolist()
    for number in range(len(bins)):
        rows = bins.of_cell == number
        assert set(types.codes[rows]) == {bins.codes[number]}
        assert set(donors.codes[rows]) == {bins.covariates[number, 0]}
        assert bins.depth[number] == pytest.approx(depth[rows].mean())
    one = (types.codes == 0) & (donors.codes == 0)
    spread = np.array([np.ptp(depth[bins.of_cell == n]) for n in set(bins.of_cell[one])])
    assert spread.sum() < np.ptp(depth[one])  # ranges do not overlap


def test_cells_of_other_groups_stand_in_no_bin(cells) -> None:
    types, _, depth = cells
    bins = make_bins(types, [], depth, contrasts_of(types, ["a"], "b"))
    assert set(types.codes[bins.of_cell >= 0]) == {0, 1}


def test_the_design_has_depth_covariates_and_the_group_last(cells) -> None:
    types, donors, depth = cells
    (contrast,) = contrasts_of(types, ["b"], "rest")
    rows, design = design_of(contrast, types.codes, donors.codes[:, None], depth, ["donor"])
    assert rows.tolist() == np.flatnonzero(types.codes >= 0).tolist()
    assert design.shape == (len(rows), 4)
    assert (design[:, 2] == donors.codes[rows]).all()
    assert (design[:, 3] == (types.codes[rows] == 1)).all()
    assert design[:, 1].mean() == pytest.approx(0, abs=1e-12)


def test_constant_columns_are_left_out(cells) -> None:
    types, donors, _ = cells
    (contrast,) = contrasts_of(types, ["b"], "rest")
    twice = np.stack([donors.codes, donors.codes, np.zeros(N, np.int64)], axis=1)
    _, design = design_of(contrast, types.codes, twice, np.zeros(N))
    assert design.shape[1] == 3  # 1, donor, group


def test_covariates_that_tell_groups_apart_are_refused(cells) -> None:
    types, _, depth = cells
    (contrast,) = contrasts_of(types, ["b"], "a")
    apart = np.where(types.codes == 1, 1, 0)[:, None]
    with pytest.raises(UserInputError, match="'donor' tells 'b' and 'a' apart"):
        design_of(contrast, types.codes, apart, depth, ["donor"])


@pytest.mark.parametrize(
    ("groups", "reference", "message"),
    [
        (["z"], "rest", "no group 'z'; it has a, b, c"),
        (["a"], "z", "no group 'z'"),
        (["a"], "a", "its own reference"),
    ],
)
def test_groups_that_cannot_be_compared_are_refused(cells, groups, reference, message) -> None:
    with pytest.raises(UserInputError, match=message):
        contrasts_of(cells[0], groups, reference)


def test_all_groups_but_the_reference_are_compared_by_default(cells) -> None:
    assert [c.group for c in contrasts_of(cells[0], None, "b")] == ["a", "c"]
    assert [c.group for c in contrasts_of(cells[0], None, "rest")] == ["a", "b", "c"]


def test_one_cell_and_one_group_are_refused() -> None:
    single = labelled("type", np.array([0, 1, 1]), ("a", "b"))
    with pytest.raises(UserInputError, match="one cell"):
        contrasts_of(single, ["a"], "b")
    with pytest.raises(UserInputError, match="has one group"):
        contrasts_of(labelled("type", np.zeros(3), ("a",)), None, "rest")
