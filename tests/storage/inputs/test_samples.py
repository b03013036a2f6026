from __future__ import annotations

import fsspec
import numpy as np
import pandas as pd
import pytest

from atlasstore.errors import PeaksError, UserInputError
from atlasstore.inputs.samples import (
    Sample,
    join_obs,
    plan_samples,
    refuse_duplicates,
    sample_names,
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


def test_an_own_column_is_never_lost_to_the_samples_names():
    peaks = make_peaks(2)
    one = source(peaks, sample=["u"], input_sample=["v"])
    other = source(peaks, sample=["w"])
    obs = join_obs([one, other], ["a", "b"])
    assert list(obs["sample"]) == ["a", "b"]
    assert list(obs["input_input_sample"]) == ["u", "w"]
    assert obs["input_sample"].tolist()[0] == "v"


def test_columns_of_one_name_are_both_kept():
    table = pd.DataFrame([[1, 2]], columns=["x", "x"])
    one = source(make_peaks(2), y=[0])
    one.obs = table.set_axis(["c0"])
    obs = join_obs([one, source(make_peaks(2), y=[3])], ["a", "b"])
    assert obs[["x", "x_2"]].iloc[0].tolist() == [1, 2]


def test_columns_of_a_sheet_go_to_all_cells_and_make_room():
    peaks = make_peaks(2)
    sources = [source(peaks, batch=["x", "y"]), source(peaks, n=[1])]
    obs = join_obs(sources, ["a", "b"], columns=[{"batch": "1", "sex": "f"}, {"batch": "2"}])
    assert list(obs["batch"]) == ["1", "1", "2"]
    assert list(obs["input_batch"][:2]) == ["x", "y"]
    assert list(obs["sex"][:2]) == ["f", "f"]
    assert obs["sex"].isna().tolist() == [False, False, True]
    assert list(sources[0].obs["batch"]) == ["x", "y"]


def test_one_source_can_be_named_as_several_are():
    obs = join_obs([source(make_peaks(2), tissue=["x", "y"])], ["worm"], prefixed=True)
    assert list(obs.index) == ["worm:c0", "worm:c1"]


@pytest.fixture
def folder(tmp_path):
    for name in ["b/2.h5ad", "b/10.h5ad", "a/1.h5ad", "a/skip.txt", "[x].h5ad", "c/1.bam"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_patterns_stand_for_what_they_match_sorted(folder):
    found = plan_samples([f"{folder}/b/*.h5ad", f"{folder}/a/1.h5ad"])
    assert [s.url for s in found] == [
        f"{folder}/{n}" for n in ("b/10.h5ad", "b/2.h5ad", "a/1.h5ad")
    ]
    assert [s.name for s in found] == ["10", "2", "1"]
    deep = plan_samples([f"{folder}/**/?.h5ad"])
    assert [s.url for s in deep] == [f"{folder}/{n}" for n in ("a/1.h5ad", "b/2.h5ad")]


def test_patterns_match_at_a_url():
    fs = fsspec.filesystem("memory")
    for name in ("d2.h5ad", "d1.h5ad", "e.zarr/zarr.json"):
        fs.pipe(f"/samples/{name}", b"")
    found = plan_samples(["memory://samples/d*.h5ad", "memory://samples/*.zarr"])
    assert [s.name for s in found] == ["d1", "d2", "e"]
    assert [fs.exists(s.url) for s in found] == [True] * 3
    assert all(s.url.startswith("memory://") for s in found)


def test_what_exists_is_no_pattern_and_bam_is_one_input(folder):
    assert [s.url for s in plan_samples([f"{folder}/[x].h5ad"])] == [f"{folder}/[x].h5ad"]
    (sample,) = plan_samples([f"{folder}/c/*.bam"])
    assert (sample.url, sample.name) == (f"{folder}/c/*.bam", "c")
    assert plan_samples(["https://host/d.h5ad?version=3"])[0].name == "d"


def test_a_pattern_without_a_match_is_named(folder):
    with pytest.raises(UserInputError, match=r"/\*\.loom matches nothing"):
        plan_samples([f"{folder}/*.loom"])


def test_names_and_lists_go_to_the_inputs_in_order(folder):
    found = plan_samples([f"{folder}/b/*.h5ad"], names=["x", "y"], barcodes=["1.txt", "2.txt"])
    assert [(s.name, s.barcodes) for s in found] == [("x", "1.txt"), ("y", "2.txt")]
    with pytest.raises(UserInputError, match=r"1 barcode list\(s\) were given for 2 inputs"):
        plan_samples([f"{folder}/b/*.h5ad"], barcodes=["1.txt"])


def test_a_sheet_gives_samples(folder):
    sheet = folder / "s.csv"
    sheet.write_text("path,sample,batch\nb/2.h5ad,,1\na/1.h5ad,2,\nb/10.h5ad,,3\n")
    assert plan_samples([str(sheet)]) == (
        Sample("2-2", f"{folder}/b/2.h5ad", None, (("batch", "1"),)),
        Sample("2", f"{folder}/a/1.h5ad", None, ()),
        Sample("10", f"{folder}/b/10.h5ad", None, (("batch", "3"),)),
    )
    for more in ({"names": ["a"]}, {"barcodes": ["b"]}):
        with pytest.raises(UserInputError, match="sample sheet, which is given alone"):
            plan_samples([str(sheet)], **more)
    with pytest.raises(UserInputError, match="sample sheet, which is given alone"):
        plan_samples(["a.h5ad", str(sheet)])
