"""`differential` from end to end on a small model: what is planted is found, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

import atlasbasset
from atlasbasset.verbs.differential.moderation import moderate
from atlasstore.errors import StoreExistsError, UserInputError
from atlasstore.events import Notice, ignore
from atlasstore.genome.motifs import Motif, write_meme
from atlasstore.results.result import Result
from atlasstore.results.writer import create_result, finish_result
from atlasstore.zarrio import formats
from ray_cluster import own_ray
from small_atlas import make_atlas
from small_model import TINY, random_weights, write_model

if TYPE_CHECKING:
    from pathlib import Path

N_CELLS, N_PEAKS, N_PLANTED, N_MOTIFS = 300, 240, 24, 6


class Small(NamedTuple):
    model: str
    atlas: str
    activity: str
    shuffled: str
    obs: pd.DataFrame
    z: np.ndarray


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Small:
    """Two types; the first 24 peaks are open four times as often in type b, at any depth."""
    folder, rng = tmp_path_factory.mktemp("small"), np.random.default_rng(2)
    side = np.arange(N_CELLS) % 2
    donor = rng.integers(0, 2, N_CELLS)
    depth = rng.normal(0.5 * side, 0.5)
    effect = np.where(np.arange(N_PEAKS) < N_PLANTED, 1.4, 0)
    shift = np.where(np.arange(N_PEAKS) % 3 == 0, 0.8, 0)  # of donors
    logit = -1.6 + depth[:, None] + side[:, None] * effect + donor[:, None] * shift
    labels = rng.random((N_CELLS, N_PEAKS)) < 1 / (1 + np.exp(-logit))
    obs = pd.DataFrame(
        {
            "n_peaks": labels.sum(1),
            "cell_type": pd.Categorical(np.array(["a", "b"])[side]),
            "donor": pd.Categorical(np.array(["one", "two"])[donor]),
            "site": pd.Categorical(np.array(["x", "y"])[side]),
            "share": rng.random(N_CELLS),
        },
        index=[f"cell{i}" for i in range(N_CELLS)],
    )
    weights = random_weights(rng, N_CELLS)
    weights.embedding[:] *= 0.01
    weights.intercept[:] = depth - 1.6
    codes = rng.integers(0, 4, (N_PEAKS, TINY.window_bp + 6), dtype=np.uint8)
    z = rng.normal(size=(N_CELLS, N_MOTIFS)).astype(np.float32)
    z[:, 0] += side
    model = write_model(folder / "model.zarr", weights, obs=obs)
    atlas = make_atlas(folder / "atlas.zarr", labels, codes, max_block_cells=128)
    names = [f"motif{i}" for i in range(N_MOTIFS)]
    copies = rng.normal(size=(N_CELLS, 8 * N_MOTIFS)) + 0.5 * side[:, None] * rng.normal(
        size=8 * N_MOTIFS
    )
    return Small(
        model,
        atlas,
        make_activity(folder / "activity.zarr", obs, z, names),
        make_activity(
            folder / "shuffled.zarr", obs, copies, [f"{n}~{k}" for n in names for k in range(8)]
        ),
        obs,
        z,
    )


def make_activity(url: Path, obs: pd.DataFrame, z: np.ndarray, names: list[str]) -> str:
    from atlasstore.results.writer import write_rows
    from atlasstore.zarrio.table_plan import plan_table

    plan = plan_table("X", z.shape, "float32")
    z = z.astype(np.float32)
    tfs = [f"TF{i}" for i in range(len(names))]
    var = pd.DataFrame({"motif": names, "tf": tfs, "sd": 2.0}, index=tfs)
    create_result(url, kind="tf_activity", obs=obs, var=var, obsm={}, varm={}, tables=[plan])
    shards = [write_rows(url, plan, start, z[start:stop]) for start, stop in plan.shards()]
    finish_result(url, formats.provenance([], {}, 0), shards=shards)
    return str(url)


def compared(small: Small, out: Path, **options) -> pd.DataFrame:
    given = {"group_by": "cell_type", "groups": ["b"], "reference": "a", "convolution": "direct"}
    atlasbasset.differential(small.model, small.atlas, out=out, on_event=ignore, **given | options)
    return pd.read_csv(out, sep="\t")


def test_planted_peaks_are_found_at_their_effect_and_few_others(small, tmp_path) -> None:
    table = compared(small, tmp_path / "peaks.tsv", covariates=["donor"])
    assert list(table["peak"]) == list(atlas_peaks(small))
    planted, others = table[:N_PLANTED], table[N_PLANTED:]
    assert (planted["q"] < 0.05).mean() > 0.9
    assert (others["q"] < 0.05).mean() < 0.03
    assert planted["effect"].mean() == pytest.approx(1.4, abs=0.25)
    assert others["effect"].median() == pytest.approx(0, abs=0.15)
    z = others["effect"] / others["standard_error"]
    assert 0.8 < z.std() < 1.2
    assert set(table["group"]) == {"b"}
    assert set(table["reference"]) == {"a"}


def atlas_peaks(small: Small) -> pd.Index:
    from atlasstore.atlas.atlas import Atlas

    return Atlas.open(small.atlas).var.index


def test_a_swap_of_group_and_reference_changes_signs_alone(small, tmp_path) -> None:
    one = compared(small, tmp_path / "one.tsv")
    other = compared(small, tmp_path / "other.tsv", groups=["a"], reference="rest")
    np.testing.assert_allclose(one["effect"], -other["effect"], atol=2e-3)
    np.testing.assert_allclose(one["p"], other["p"], atol=2e-3)
    np.testing.assert_allclose(one["model_effect"], -other["model_effect"], atol=1e-5)
    np.testing.assert_allclose(one["open_share"], other["open_share_reference"])


def test_open_shares_are_those_of_the_labels_and_rare_peaks_are_not_tested(small, tmp_path) -> None:
    from atlasstore.atlas.atlas import Atlas

    labels = Atlas.open(small.atlas).to_anndata().X.toarray() > 0
    is_b = (small.obs["cell_type"] == "b").to_numpy()
    least = int(np.median(labels.sum(0)))
    table = compared(small, tmp_path / "peaks.tsv", min_cells=least)
    np.testing.assert_allclose(table["open_share"], labels[is_b].mean(0), rtol=1e-5)
    assert (table["p"].notna() == (labels.sum(0) >= least)).all()


def test_motifs_are_tested_by_least_squares_with_hc3_errors(small, tmp_path) -> None:
    table = compared(small, tmp_path / "motifs.tsv", motifs=small.activity, covariates=["donor"])
    assert list(table["tf"]) == [f"TF{i}" for i in range(N_MOTIFS)]
    model = atlasbasset.load_model(small.model)
    from atlasstore.atlas.atlas import Atlas

    codes = Atlas.open(small.atlas).sequence_codes(0, N_PEAKS)[:, 3:-3]
    depth = model.cell_embedding @ model.embed(codes).mean(0) + model.intercept
    is_b = (small.obs["cell_type"] == "b").to_numpy(float)
    donor = (small.obs["donor"] == "two").to_numpy(float)
    x = np.stack([np.ones(N_CELLS), depth, donor, is_b], axis=1).astype(float)
    inverse = np.linalg.inv(x.T @ x)
    beta = inverse @ x.T @ small.z
    leverage = np.einsum("nf,fg,ng->n", x, inverse, x)
    scaled = (small.z - x @ beta) / (1 - leverage)[:, None]
    for m in range(N_MOTIFS):
        covariance = inverse @ (x * scaled[:, [m]] ** 2).T @ x @ inverse
        assert table["effect"][m] == pytest.approx(beta[-1, m], rel=1e-4)
        assert table["standard_error"][m] == pytest.approx(covariance[-1, -1] ** 0.5, rel=1e-4)
    assert (table["q"] < 0.05).tolist() == [True] + [False] * (N_MOTIFS - 1)


def test_motifs_are_held_to_their_shuffled_copies(small, tmp_path) -> None:
    alone = compared(small, tmp_path / "alone.tsv", motifs=small.activity)
    copies = compared(small, tmp_path / "copies.tsv", motifs=small.shuffled)
    table = compared(small, tmp_path / "motifs.tsv", motifs=small.activity, shuffled=small.shuffled)
    assert alone["shuffled_effect"].isna().all()
    np.testing.assert_allclose(table["effect"], alone["effect"])
    of_motif = copies["effect"].groupby(copies["motif"].str.split("~").str[0])
    np.testing.assert_allclose(table["shuffled_effect"], of_motif.mean(), rtol=1e-4)
    held = moderate(of_motif.var().to_numpy(), np.full(N_MOTIFS, 7))
    wanted = np.sqrt(held.variance * (1 + 1 / 8) + alone["standard_error"] ** 2)
    np.testing.assert_allclose(table["standard_error"], wanted, rtol=1e-4)
    t = (table["effect"] - table["shuffled_effect"]) / table["standard_error"]
    np.testing.assert_allclose(table["p"], 2 * student.sf(abs(t), held.freedom), rtol=1e-3)
    np.testing.assert_allclose(table["cells_p"], alone["p"], rtol=1e-5)


def test_a_linear_activity_is_tested_by_its_factors_as_by_its_table(small, tmp_path, rng) -> None:
    """Made by `motif_activity`; the copy says of another scale, so that its table is read."""
    meme = tmp_path / "m.meme"
    words = [rng.dirichlet(np.ones(4), 6) for _ in range(5)]
    write_meme(meme, [Motif(f"M{i}", f"TF{i}", word) for i, word in enumerate(words)])
    url = tmp_path / "activity.zarr"
    atlasbasset.motif_activity(
        small.model, small.atlas, motifs=meme, out=url, n_backgrounds=8, convolution="direct",
        on_event=ignore,
    )  # fmt: skip
    linear = Result.open(url)
    other = Result.open(url)
    other.__dict__["about"] = {**linear.about, "scale": "sigmoid"}
    one = compared(small, tmp_path / "one.tsv", motifs=linear, covariates=["donor"])
    two = compared(small, tmp_path / "two.tsv", motifs=other, covariates=["donor"])
    for column in ("effect", "standard_error", "p"):
        np.testing.assert_allclose(one[column], two[column], rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("kind", ["peaks", "motifs"])
def test_a_run_that_fails_goes_on_where_it_was(small, tmp_path, kind) -> None:
    options = {} if kind == "peaks" else {"motifs": small.activity, "shuffled": small.shuffled}
    stage = "testing" if kind == "peaks" else "reading TF activity"
    whole = compared(small, tmp_path / "whole.tsv", **options)
    out = tmp_path / "hurt.tsv"
    given = {"group_by": "cell_type", "groups": ["b"], "reference": "a", "convolution": "direct"}
    given |= options | {"out": out}

    def fail(event) -> None:
        if getattr(event, "stage", "") == stage:
            raise RuntimeError("a fault")

    with pytest.raises(RuntimeError):
        atlasbasset.differential(small.model, small.atlas, **given, on_event=fail)
    assert not out.exists()
    with pytest.raises(UserInputError, match="other arguments"):
        atlasbasset.differential(
            small.model, small.atlas, **given | {"groups": ["a"], "reference": "b"}
        )
    events = []
    atlasbasset.differential(small.model, small.atlas, **given, on_event=events.append)
    pd.testing.assert_frame_equal(pd.read_csv(out, sep="\t"), whole)
    done = [event for event in events if getattr(event, "stage", "") == "embedding sequences"]
    assert not done or done[0].done == done[0].total
    assert {path.name.removesuffix(".job.json") for path in tmp_path.iterdir()} == {
        "whole.tsv",
        "hurt.tsv",
    }


@pytest.mark.ray
@pytest.mark.slow
def test_workers_make_the_same_table(small, tmp_path) -> None:
    one = compared(small, tmp_path / "one.tsv")
    with own_ray(cpus=1):
        two = compared(small, tmp_path / "two.tsv", workers=1)
    pd.testing.assert_frame_equal(one, two)


def test_the_report_counts_what_was_found(small, tmp_path) -> None:
    found = atlasbasset.differential(
        small.model, small.atlas, group_by="cell_type", out=tmp_path / "peaks.csv", on_event=ignore
    )
    table = pd.read_csv(tmp_path / "peaks.csv")
    assert len(table) == 2 * N_PEAKS
    for one in found.groups:
        rows = table[table["group"] == one.group]
        assert one.n_higher == ((rows["q"] < 0.05) & (rows["effect"] > 0)).sum()
        assert one.n_lower == ((rows["q"] < 0.05) & (rows["effect"] < 0)).sum()
        assert one.n_tested == rows["p"].notna().sum()
    first = found.groups[1].first[0]
    assert first in set(table["peak"][:N_PLANTED])
    assert found.as_json()["groups"][0]["group"] == "a"


def test_a_finished_table_has_nothing_to_do(small, tmp_path) -> None:
    given = {"group_by": "cell_type", "out": tmp_path / "peaks.parquet"}
    plan = atlasbasset.plan_differential
    assert "result" not in dict(plan(small.model, small.atlas, **given).lines())
    found = atlasbasset.differential(small.model, small.atlas, **given, on_event=ignore)
    table, events = (tmp_path / "peaks.parquet").read_bytes(), []
    again = atlasbasset.differential(small.model, small.atlas, **given, on_event=events.append)
    assert again == found
    assert [type(event) for event in events] == [Notice]
    assert (tmp_path / "peaks.parquet").read_bytes() == table
    planned = plan(small.model, small.atlas, **given)
    assert dict(planned.lines())["result"] == "finished by the same job: nothing to do"
    with pytest.raises(StoreExistsError, match="min_cells 10, now 11"):
        plan(small.model, small.atlas, **given, min_cells=11).lines()
    with pytest.raises(StoreExistsError, match="min_cells 10, now 11"):
        atlasbasset.differential(small.model, small.atlas, **given, min_cells=11)


def test_a_table_whose_record_a_kill_has_prevented_is_recorded(
    small, tmp_path, monkeypatch
) -> None:
    class Killed(BaseException):
        pass

    def kill(*_args) -> None:
        raise Killed

    given = {"group_by": "cell_type", "out": tmp_path / "peaks.tsv", "on_event": ignore}
    with monkeypatch.context() as patch:
        patch.setattr("atlasbasset.batch.file_job.write_record", kill)
        with pytest.raises(Killed):
            atlasbasset.differential(small.model, small.atlas, **given)
    table = (tmp_path / "peaks.tsv").read_bytes()
    assert not (tmp_path / "peaks.tsv.job.json").exists()
    found = atlasbasset.differential(small.model, small.atlas, **given)
    assert (tmp_path / "peaks.tsv").read_bytes() == table
    assert {path.name for path in tmp_path.iterdir()} == {"peaks.tsv", "peaks.tsv.job.json"}
    assert atlasbasset.differential(small.model, small.atlas, **given) == found
    assert found.groups[1].first


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"covariates": ["site"]}, "'site' tells 'b' and 'a' apart"),
        ({"covariates": ["cell_type"]}, "is what is compared"),
        ({"covariates": ["share"]}, "300 different values"),
        ({"groups": ["c"]}, "no group 'c'; it has a, b"),
        ({"group_by": "absent"}, "absent"),
        ({"min_cells": 0}, "min_cells must be 1 or more"),
        ({"shuffled": "absent.zarr"}, "give the motifs, too"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    small, tmp_path, options, message
) -> None:
    with pytest.raises(UserInputError, match=message):
        compared(small, tmp_path / "peaks.tsv", **options)
    assert not list(tmp_path.iterdir())


def test_a_table_of_another_name_and_one_that_exists_are_refused(small, tmp_path) -> None:
    with pytest.raises(UserInputError, match=r"ends in none of \.parquet"):
        compared(small, tmp_path / "peaks.xlsx")
    (tmp_path / "peaks.tsv").touch()
    with pytest.raises(StoreExistsError):
        compared(small, tmp_path / "peaks.tsv")


def test_copies_of_other_motifs_are_refused(small, tmp_path) -> None:
    with pytest.raises(UserInputError, match="has 0 shuffled copies of motif motif0"):
        compared(small, tmp_path / "motifs.tsv", motifs=small.activity, shuffled=small.activity)


def test_a_result_that_is_no_activity_is_refused(small, tmp_path) -> None:
    url = tmp_path / "other.zarr"
    create_result(
        url, kind="denoised", obs=small.obs, var=pd.DataFrame(index=["p"]), obsm={}, varm={}
    )
    finish_result(url, formats.provenance([], {}, 0))
    with pytest.raises(UserInputError, match="is denoised, not TF activity"):
        compared(small, tmp_path / "motifs.tsv", motifs=url)


def test_the_plan_names_what_is_compared(small, tmp_path) -> None:
    plan = atlasbasset.plan_differential(
        small.model, small.atlas, group_by="cell_type", out=tmp_path / "p.tsv", covariates=["donor"]
    )
    assert "b against rest" in str(plan)
    assert "depth, donor" in str(plan)
    assert plan.as_json()["n_peaks"] == N_PEAKS
    assert plan.scratch_bytes == plan.as_json()["scratch_bytes"] > 0
