from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from atlasstore.errors import PeaksError, UserInputError
from atlasstore.samples import (
    check_same_peaks,
    join_obs,
    refuse_duplicates,
    sample_names,
    set_aside,
)
from small_atlas import MemorySource, make_peaks


@pytest.mark.parametrize(
    ("inputs", "names"),
    [
        (["/data/worm.h5ad"], ["worm"]),
        (["a.h5ad", "b.zarr/", "s3://bucket/c.fragments.tsv.gz"], ["a", "b", "c"]),
        (["x/fragments.tsv.gz", "y/fragments.tsv.gz"], ["x_fragments", "y_fragments"]),
        (["a.h5ad", "a.h5ad", "a.h5ad"], ["a", "a-2", "a-3"]),
        (["GSM1.sample.v2.h5"], ["GSM1.sample.v2"]),
        (["https://host/d.h5ad?version=3"], ["d"]),
        ([".h5ad"], ["sample"]),
    ],
    ids=["one", "endings", "folders", "numbers", "dots", "query", "nameless"],
)
def test_names_come_from_the_files(inputs, names):
    assert sample_names(inputs) == tuple(names)


def test_given_names():
    assert sample_names(["a.h5ad", "b.h5ad"], ["young", "old"]) == ("young", "old")


@pytest.mark.parametrize("given", [["x"], ["x", "x"], ["x", ""]], ids=["few", "same", "empty"])
def test_given_names_must_be_one_for_each_and_different(given):
    with pytest.raises(UserInputError, match="for 2 inputs; give one name for each input"):
        sample_names(["a.h5ad", "b.h5ad"], given)


def source(peaks: pd.DataFrame, name: str = "a", **obs: list) -> MemorySource:
    n_cells = len(next(iter(obs.values()))) if obs else 2
    table = pd.DataFrame(obs, index=[f"c{i}" for i in range(n_cells)])
    return MemorySource(np.zeros((n_cells, len(peaks))), peaks, name=name, obs=table)


def test_same_peaks_under_other_names_and_types_are_fine():
    renamed = make_peaks(6).rename(index=lambda name: f"peak_{name}").astype({"chrom": "category"})
    check_same_peaks([source(make_peaks(6)), source(renamed)])


def test_different_number_of_peaks_is_shown():
    with pytest.raises(PeaksError, match=r"a and b do not .*\(6 peaks and 5\)"):
        check_same_peaks([source(make_peaks(6)), source(make_peaks(6).iloc[:5], "b")])


@pytest.mark.parametrize(("column", "value"), [("chrom", "chrX"), ("start", 1), ("end", 999)])
def test_first_different_peak_is_shown(column, value):
    other = make_peaks(6)
    other.iloc[3:, other.columns.get_loc(column)] = value
    peak = other.iloc[3]
    shown = f"peak 4 is chrII:200-500 and {peak.chrom}:{peak.start}-{peak.end}"
    with pytest.raises(PeaksError, match=shown):
        check_same_peaks([source(make_peaks(6)), source(other, "b")])


def test_duplicates_are_named_and_overlaps_are_fine():
    peaks = make_peaks(6, step=100)  # 300 bp long: each overlaps the next
    refuse_duplicates(peaks)
    twice = pd.concat([peaks, peaks.iloc[[2, 4]].set_axis(["second", "other"])])
    with pytest.raises(PeaksError, match=r"2 peaks repeat .* are named chrI:400-700, second;"):
        refuse_duplicates(twice)
    with pytest.raises(PeaksError, match=r"^1 peak repeats the"):
        refuse_duplicates(twice.iloc[:-1])


def test_one_source_keeps_its_cell_names():
    obs = join_obs([source(make_peaks(2), tissue=["x", "y"])], ["worm"])
    assert list(obs.index) == ["c0", "c1"]
    assert list(obs.columns) == ["sample", "tissue"]
    assert set(obs["sample"]) == {"worm"}


def test_one_source_keeps_its_own_samples():
    obs = join_obs([source(make_peaks(2), sample=["x", "y"])], ["worm"])
    assert list(obs["sample"]) == ["x", "y"]


def test_several_sources_are_prefixed_and_keep_all_columns():
    peaks = make_peaks(2)
    sources = [source(peaks, sample=["x", "y"], n=[1, 2]), source(peaks, tissue=["gut"])]
    obs = join_obs(sources, ["b", "a"])
    assert list(obs.index) == ["b:c0", "b:c1", "a:c0"]
    assert list(obs["sample"]) == ["b", "b", "a"]
    assert list(obs["sample"].cat.categories) == ["b", "a"]
    assert list(obs["input_sample"][:2]) == ["x", "y"]
    assert obs["tissue"].isna().tolist() == [True, True, False]


def test_set_aside_makes_room():
    table = pd.DataFrame({"split": [1]})
    assert list(set_aside(table, "split").columns) == ["input_split"]
    assert list(table.columns) == ["split"]
