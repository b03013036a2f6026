"""What is known of a verb's command line before it runs."""

from __future__ import annotations

import pytest

from atlasjobs.verb_call import NOT_ON_A_CLUSTER
from atlasstore.errors import UserInputError
from cluster_files import parsed


def test_inputs_outputs_and_workers_are_told_apart():
    inputs = ["m.zarr", "--genome", "g.fa", "--regions", "r.bed", "--group-by", "g.fa"]
    outputs = ["--out", "s3://b/i.zarr", "--plot", "logos", "--json", "i.json"]
    workers = ["--workers", "4", "--cpus-per-worker", "2", "--gpus-per-worker", "0.5"]
    call = parsed(["ism", *inputs, *outputs, *workers])
    assert call.verb == "ism"
    assert sorted(call.reads) == ["g.fa", "m.zarr", "r.bed"]
    assert sorted(call.writes) == ["i.json", "logos", "s3://b/i.zarr"]
    assert (call.workers, call.cpus_per_worker, call.gpus_per_worker) == (4, 2, 0.5)


def test_several_inputs_are_all_read():
    call = parsed(["preprocess", "a.h5ad", "b.h5ad", "--genome", "g.fa", "--out", "s3://b/a"])
    assert sorted(call.reads) == ["a.h5ad", "b.h5ad", "g.fa"]
    assert (call.workers, call.writes) == (0, ("s3://b/a",))


def test_every_training_is_rays_as_the_head_may_have_no_gpu():
    words = ["train", "a", "--out", "m"]
    assert parsed(words).words == (*words, "--launcher", "ray")
    chosen = [*words, "--launcher", "process"]
    assert parsed(chosen).words == tuple(chosen)
    assert parsed([*words, "--workers", "4", "--min-workers", "2"]).least_workers == 2


def test_a_weights_file_that_is_exported_is_an_output():
    call = parsed(["export-weights", "s3://b/m", "s3://b/w.h5"])
    assert (call.reads, call.writes) == (("s3://b/m",), ("s3://b/w.h5",))


@pytest.mark.parametrize("verb", NOT_ON_A_CLUSTER)
def test_verbs_that_do_no_work_are_refused(verb):
    with pytest.raises(UserInputError, match=f"a verb must follow --.*got '{verb}'"):
        parsed([verb])


@pytest.mark.parametrize(
    ("target", "place"),
    [
        ("tensorboard:runs/a", "runs/a"),
        ("tensorboard:s3://b/runs", "s3://b/runs"),
        ("mlflow:sqlite:///runs.db", "runs.db"),
        ("mlflow:sqlite:////shared/runs.db", "/shared/runs.db"),
        ("mlflow:file:///shared/runs", "/shared/runs"),
        ("mlflow:mlruns", "mlruns"),
        ("mlflow:http://host:5000", None),
        ("mlflow:postgresql://host/runs", None),
        ("wandb:project", None),
    ],
)
def test_files_of_trackers_are_outputs(target, place):
    call = parsed(["train", "a", "--out", "s3://b/m", "--log-to", target])
    assert call.writes == ("s3://b/m", *([] if place is None else [place]))


def test_an_unknown_option_is_refused_as_the_verb_refuses_it():
    with pytest.raises(Exception, match="No such option: --wrokers"):
        parsed(["train", "a", "--out", "b", "--wrokers", "3"])
