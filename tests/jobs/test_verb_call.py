"""What is known of a verb's command line before it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_type_hints

import pytest
import typer.main

from atlasbasset import TrainConfig
from atlasbasset.engine.settings import declared
from atlasjobs import verb_call
from atlasjobs.cli import app
from atlasjobs.verb_call import NOT_ON_A_CLUSTER
from atlasstore.errors import UserInputError
from cluster_files import parsed

if TYPE_CHECKING:
    from collections.abc import Iterator

NO_PLACES = {
    *("NAME", "NAME,NAME", "COLUMN", "COLUMN=VALUE", "OBS_KEY", "KEY", "TF"),
    *("CHROM", "REGION", "SIZE", "ADDRESS", "TRACKER:PLACE"),
}
"""What the help calls a text that is no path of an input; files of trackers are outputs."""
PLAIN_TEXTS = {
    *("label_key", "batch_key", "batch_effect", "title", "layer", "licence", "description"),
}
"""Such texts that the help has no word for."""


def texts() -> Iterator[tuple[str, Any]]:
    """Every verb that can be submitted, with each of its arguments and options that is text."""
    settings = {name: setting.kind for name, setting in declared(TrainConfig).items()}
    for verb, command in typer.main.get_group(app).commands.items():
        if verb not in NOT_ON_A_CLUSTER:
            kinds = settings | get_type_hints(command.callback)
            yield from (
                (verb, param)
                for param in command.params
                if "str" in str(kinds.get(param.name, str)).replace("'", " ").split("Literal")[0]
            )


def test_inputs_outputs_and_workers_are_told_apart():
    inputs = ["m.zarr", "--genome", "g.fa", "--regions", "r.bed", "--group-by", "g.fa"]
    outputs = ["--out", "s3://b/i.zarr", "--plot", "logos", "--json", "i.json"]
    workers = ["--workers", "4", "--cpus-per-worker", "2", "--gpus-per-worker", "0.5"]
    call = parsed(["ism", *inputs, *outputs, *workers])
    assert call.verb == "ism"
    assert sorted(call.reads) == ["g.fa", "m.zarr", "r.bed"]
    assert sorted(call.writes) == ["i.json", "logos", "s3://b/i.zarr"]
    assert (call.workers, call.cpus_per_worker, call.gpus_per_worker) == (4, 2, 0.5)


def test_every_text_of_every_verb_is_known_for_a_path_or_none():
    found = list(texts())
    assert {"peaks", "inputs", "init_from", "obs", "where"} <= {param.name for _, param in found}
    unknown = [
        f"{verb} {param.opts[0]} {param.metavar}"
        for verb, param in found
        if not verb_call._is_read(verb, param) and not verb_call._is_written(verb, param)
        if param.metavar not in NO_PLACES and (param.metavar or param.name not in PLAIN_TEXTS)
    ]
    assert unknown == [], "paths of inputs belong into verb_call._INPUTS, others into NO_PLACES"


def test_peaks_of_export_are_names_regions_or_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "names.txt").write_text("chr1:5-9\n")
    (tmp_path / "folder").mkdir()
    wanted = ["markers.bed", "names.txt", "s3://b/more.txt", "chr1:1-900", "GATA1", "folder"]
    words = [word for one in wanted for word in ("--peaks", one)]
    call = parsed(["export", "s3://b/d.zarr", *words, "--out", "s3://b/part.tsv"])
    assert call.reads == ("s3://b/d.zarr", *wanted[:3])


def test_several_inputs_are_all_read():
    call = parsed(["preprocess", "a.h5ad", "b.h5ad", "--genome", "g.fa", "--out", "s3://b/a"])
    assert sorted(call.reads) == ["a.h5ad", "b.h5ad", "g.fa"]
    assert call.samples == ("a.h5ad", "b.h5ad")
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


def test_json_on_standard_output_is_no_place():
    assert parsed(["evaluate", "s3://b/m", "s3://b/a", "--json", "-"]).writes == ()


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
