from __future__ import annotations

import sys
import tracemalloc
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pyarrow.parquet import ParquetFile
from scipy.stats import false_discovery_control

from atlasbasset.verbs.match.match import match
from atlasbasset.verbs.match.plan import plan_match
from atlasbasset.verbs.match.sizes import Sizes
from atlasstore.errors import (
    MissingExtraError,
    MotifError,
    NotAStoreError,
    StoreExistsError,
    UserInputError,
)
from atlasstore.events import Notice, Progress, ignore
from atlasstore.files import urls
from atlasstore.genome.motifs import Motif, write_meme
from atlasstore.results.ism_result import IsmResult
from small_ism import FIRST, make_ism, normalised
from small_model import random_weights, write_model

pytest.importorskip("memelite", reason="memelite is not installed")

SITE = np.array([0, 2, 1, 3, 0, 0, 0, 2], np.uint8)
PWM = np.full((len(SITE), 4), 0.04)
PWM[np.arange(len(SITE)), SITE] = 0.88
MOTIFS = [Motif("M1", "GATA1", PWM), Motif("M2", "KLF1", PWM[::-1].copy())]
R, L = 4, 150
COLUMNS = (
    "region chrom start end strand motif tf group score p q n_null hit_p".split()  # noqa: SIM905
)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """A site of M1 at position 60 of region 2, which matters in T cells."""
    rng = np.random.default_rng(11)
    codes = rng.integers(0, 4, (R, L), dtype=np.uint8)
    scores = normalised(rng.normal(size=(R, L, 4, 2)))
    codes[2, 60 : 60 + len(SITE)] = SITE
    scores[2, 60 : 60 + len(SITE), :, 1] = 4 * (PWM - 0.25)
    return make_ism(tmp_path_factory.mktemp("ism") / "ism.zarr", codes, scores, ["B", "T"])


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.tsv", "t.tsv.gz"])
def test_the_table(result, tmp_path, name):
    out = tmp_path / name
    write_meme(tmp_path / "m.meme", MOTIFS)
    report = match(result, tmp_path / "m.meme", out=out, max_p=1, seed=3)
    if name.endswith("parquet"):
        found = pd.read_parquet(out)
    else:
        found = pd.read_csv(out, sep="\t" if "tsv" in name else ",")
    assert list(found.columns) == COLUMNS
    assert len(found) == report.n_rows == 2 * report.n_sites
    assert (report.n_regions, report.n_motifs, report.n_groups) == (R, 2, 2)
    start = FIRST + 20_000
    site = found[
        (found["region"] == f"chr1:{start}-{start + L}")
        & (found["start"] == start + 60)
        & (found["motif"] == "M1")
        & (found["group"] == "T")
    ].iloc[0]
    assert (site["chrom"], site["tf"], site["strand"]) == ("chr1", "GATA1", "+")
    assert site["end"] == start + 60 + len(SITE)
    assert site["score"] == pytest.approx(1, abs=1e-5)
    assert site["p"] == pytest.approx(1 / (1 + site["n_null"]), rel=1e-4)
    assert site["hit_p"] < 1e-4


def test_few_groups_and_only_small_p(result, tmp_path):
    given = {"motifs": MOTIFS, "hit_p": 0.02}
    whole = match(result, out=tmp_path / "all.csv", max_p=1, **given)
    report = match(result, out=tmp_path / "t.csv", groups=["T"], max_p=0.2, **given)
    found, all_rows = pd.read_csv(tmp_path / "t.csv"), pd.read_csv(tmp_path / "all.csv")
    kept = all_rows[(all_rows["group"] == "T") & (all_rows["p"] <= 0.2)].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, kept, check_dtype=False)
    assert 0 < report.n_rows < whole.n_rows
    assert report.n_sites == whole.n_sites


FINELY = Sizes(part_bytes=1, scores=1, rows=1)
"""One region, motif, group, site and row at a time."""


def match_in_parts(*given, sizes, on_event=ignore, **options):
    plan = plan_match(*given, **options)
    return replace(plan, given=replace(plan.given, sizes=sizes)).run(on_event=on_event)


@pytest.mark.parametrize("method", ["pearson", "dot"])
@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.tsv.gz"])
def test_the_same_however_it_is_cut(result, tmp_path, name, method):
    options = {"max_p": 1, "hit_p": 5e-3, "n_null": 200, "method": method}
    one, other = tmp_path / f"a{name}", tmp_path / f"b{name}"
    report = match(result, MOTIFS, out=one, **options)
    cut = match_in_parts(result, MOTIFS, out=other, sizes=FINELY, **options)
    assert cut.n_rows == report.n_rows > 20
    if name == "t.parquet":
        assert ParquetFile(one).num_row_groups == 1
        assert ParquetFile(other).num_row_groups > 4
        pd.testing.assert_frame_equal(pd.read_parquet(one), pd.read_parquet(other))
    else:
        assert one.read_bytes() == other.read_bytes()


def test_rows_are_ordered(result, tmp_path):
    match(result, MOTIFS, out=tmp_path / "t.parquet", max_p=1, hit_p=0.02)
    found = pd.read_parquet(tmp_path / "t.parquet")
    rank = {name: row for row, name in enumerate(IsmResult.open(result).regions.index)}
    keys = [found["region"].map(rank), found["start"], found["motif"]]
    order = np.lexsort([key.to_numpy() for key in reversed(keys)])
    np.testing.assert_array_equal(order, np.arange(len(found)))


def test_q_values_are_of_all_sites_of_a_group(result, tmp_path):
    match(result, MOTIFS, out=tmp_path / "all.parquet", max_p=1, hit_p=0.02)
    match(result, MOTIFS, out=tmp_path / "few.parquet", max_p=0.1, hit_p=0.02)
    whole, few = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("all", "few"))
    for _, rows in whole.groupby("group"):
        expected = false_discovery_control(rows["p"].to_numpy())
        np.testing.assert_allclose(rows["q"], expected, rtol=1e-12)
    pd.testing.assert_frame_equal(few, whole[whole["p"] <= 0.1].reset_index(drop=True))


def test_sites_of_turned_regions_are_where_they_lie_on_the_chromosome(result, tmp_path):
    opened = IsmResult.open(result)
    codes, scores = opened.codes(0, R), opened.scores(0, R, np.arange(2))
    both = np.concatenate([codes, 3 - codes[:, ::-1]])
    # regions 0-3 as they are; then the same bases, each as the other strand has it
    turned = make_ism(
        tmp_path / "r",
        both,
        np.concatenate([scores, scores[:, ::-1, ::-1]]),
        ["B", "T"],
        strand="+" * R + "-" * R,
    )
    match(turned, MOTIFS, out=tmp_path / "t.parquet", max_p=1, hit_p=0.02)
    found = pd.read_parquet(tmp_path / "t.parquet")
    names = IsmResult.open(turned).regions.index
    offset = {name: FIRST + 10_000 * row for row, name in enumerate(names)}
    found["at"] = found["start"] - found["region"].map(offset)
    rows = [
        found[found["region"].isin(part)].sort_values(["motif", "at", "strand", "group"])
        for part in (names[:R], names[R:])
    ]
    columns = ["motif", "at", "strand", "group", "score", "hit_p"]
    assert len(rows[0]) > 20
    kept = [part.sort_values(["region", *columns[:4]]).reset_index(drop=True) for part in rows]
    pd.testing.assert_frame_equal(kept[0][columns], kept[1][columns], rtol=1e-4)


def test_groups_of_a_table_that_came_later(tmp_path):
    rng = np.random.default_rng(11)
    codes = rng.integers(0, 4, (R, L), dtype=np.uint8)
    scores = normalised(rng.normal(size=(R, L, 4, 5)))
    cells = make_ism(tmp_path / "cells", codes, scores, list("abcde"), is_grouped=False)
    means = np.stack([scores[..., [3, 0]].mean(-1), scores[..., 4]], -1)
    groups = make_ism(tmp_path / "groups", codes, means, ["c2", "c10"])
    obs = pd.DataFrame({"leiden": ["c2", "c10", "c2", None]}, index=list("deab"))
    options, seen = {"max_p": 1, "hit_p": 0.02}, []
    later = {"group_by": "leiden", "obs": obs, "on_event": seen.append}
    match(cells, MOTIFS, out=tmp_path / "a.parquet", **options, **later)
    match(groups, MOTIFS, out=tmp_path / "b.parquet", **options)
    found, expected = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in "ab")
    pd.testing.assert_frame_equal(found, expected, rtol=1e-4)
    told = [event.message for event in seen if isinstance(event, Notice)]
    assert told == ["2 of 5 cells have no label in 'leiden' and are left out."]
    for url, change, message in [
        (groups, {}, "is of groups of cells already"),
        (cells, {"obs": None}, "give both"),
        (cells, {"group_by": None}, "give both"),
    ]:
        given = {"group_by": "leiden", "obs": obs} | change
        with pytest.raises(UserInputError, match=message):
            match(url, MOTIFS, out=tmp_path / "t.csv", **given)


def test_motifs_of_one_name_are_told_apart(result, tmp_path):
    seen = []
    same = [MOTIFS[0], Motif("M1", "KLF1", MOTIFS[1].probabilities)]
    write_meme(tmp_path / "m.meme", same)
    for number, motifs in enumerate((same, tmp_path / "m.meme")):
        out = tmp_path / f"{number}.csv"
        match(result, motifs, out=out, max_p=1, hit_p=0.02, on_event=seen.append)
        found = pd.read_csv(out)
        assert set(zip(found["motif"], found["tf"], strict=True)) == {
            ("M1", "GATA1"),
            ("M1-1", "KLF1"),
        }
    told = [event.message for event in seen if isinstance(event, Notice)]
    assert len(told) == 2
    assert all("M1 as M1-1" in message for message in told)


def test_memory_is_bounded_in_motifs_and_groups(tmp_path):
    rng = np.random.default_rng(5)
    motifs = [Motif(f"M{i}", f"M{i}", rng.dirichlet([1] * 4, 8)) for i in range(6)]
    codes = rng.integers(0, 4, (20, 100), dtype=np.uint8)
    scores = normalised(rng.normal(size=(20, 100, 4, 400)).astype(np.float32))
    wide = make_ism(tmp_path / "wide", codes, scores, [f"g{i}" for i in range(400)])
    options = {"hit_p": 0.05, "n_null": 100, "max_p": 1e-9}
    match(wide, motifs, out=tmp_path / "warm.csv", **options | {"groups": ["g0"]})
    peak = {}
    cut = Sizes(part_bytes=1 << 19, scores=1 << 16)
    for name, sizes in (("plain", Sizes()), ("cut", cut)):
        tracemalloc.start()
        try:
            match_in_parts(wide, motifs, out=tmp_path / f"{name}.csv", sizes=sizes, **options)
            peak[name] = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak["cut"] < 0.5 * scores.nbytes < peak["plain"]  # sites' scores are as many


def test_what_fails_or_is_stopped_leaves_nothing(result, tmp_path):
    def end(event):
        if isinstance(event, Progress) and event.done == 2:
            assert [p.name.startswith(".t.") for p in tmp_path.iterdir()] == [True]
            raise KeyboardInterrupt

    for name in ("t.csv", "t.tsv.gz", "t.parquet"):
        with pytest.raises(KeyboardInterrupt):
            match_in_parts(result, MOTIFS, out=tmp_path / name, max_p=1, sizes=FINELY, on_event=end)
        assert not list(tmp_path.iterdir())


def test_on_an_object_store(result, tmp_path):
    url = f"memory://{tmp_path.name}/t.csv"
    match(result, MOTIFS, out=url, max_p=1)
    match(result, MOTIFS, out=tmp_path / "t.csv", max_p=1)
    assert urls.read_bytes(url) == (tmp_path / "t.csv").read_bytes()
    with pytest.raises(StoreExistsError):
        match(result, MOTIFS, out=url)
    urls.delete(url)


def test_nothing_found_is_an_empty_table(result, tmp_path):
    none = Motif("rare", "rare", np.eye(4)[[0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]])
    report = match(result, [none], out=tmp_path / "t.csv")
    assert report.n_rows == 0
    assert list(pd.read_csv(tmp_path / "t.csv").columns) == COLUMNS


def test_too_wide_motifs_are_left_out_with_a_word(result, tmp_path):
    wide = Motif("wide", "wide", np.full((L + 1, 4), 0.25))
    seen = []
    report = match(result, [*MOTIFS, wide], out=tmp_path / "t.csv", on_event=seen.append)
    assert report.n_motifs == 2
    assert any(
        isinstance(e, Notice) and "1 motifs are wider than the 150 bp" in e.message for e in seen
    )
    with pytest.raises(MotifError, match="none of 1 motifs fits into the 150 bp"):
        match(result, [wide], out=tmp_path / "u.csv")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"out": "t.xlsx"}, "ends in none of .parquet"),
        ({"method": "r"}, "method must be one of pearson, dot"),
        ({"max_p": 0}, "max_p must be above 0"),
        ({"hit_p": 1}, "hit_p must lie between 0 and 1"),
        ({"n_null": 0}, "n_null must be 1 or more"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"groups": ["NK"]}, "no group 'NK'; its groups: B, T"),
        ({"groups": []}, "no groups were named"),
    ],
)
def test_refused(result, tmp_path, change, message):
    given = {"out": "t.csv"} | change
    with pytest.raises(UserInputError, match=message):
        match(result, MOTIFS, **given | {"out": tmp_path / given["out"]})
    assert not list(tmp_path.iterdir())


def test_other_inputs_are_refused(result, tmp_path):
    (tmp_path / "t.csv").write_text("mine")
    with pytest.raises(StoreExistsError):
        match(result, MOTIFS, out=tmp_path / "t.csv")
    model = write_model(tmp_path / "model", random_weights(np.random.default_rng(1), 4))
    with pytest.raises(NotAStoreError, match="is a model, but a result is needed"):
        match(model, MOTIFS, out=tmp_path / "u.csv")
    with pytest.raises(MotifError, match="does not exist"):
        match(result, tmp_path / "none.meme", out=tmp_path / "u.csv")


def test_many_cells_must_be_named(tmp_path):
    n, codes = 1001, np.zeros((1, 20), np.uint8)
    names = [f"c{i}" for i in range(n)]
    cells = make_ism(tmp_path / "r", codes, np.zeros((1, 20, 4, n)), names, is_grouped=False)
    with pytest.raises(UserInputError, match="has 1,001 cells, too many to take all; name some"):
        match(cells, MOTIFS, out=tmp_path / "t.csv")
    match(cells, MOTIFS, out=tmp_path / "t.csv", groups=["c7"])


def test_without_the_extra(result, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "memelite", None)
    with pytest.raises(MissingExtraError, match=r"pip install .*'memelite>="):
        match(result, MOTIFS, out=tmp_path / "t.csv")
