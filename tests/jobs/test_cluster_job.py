"""A verb's command line as a job, and how jobs and nodes are shown."""

from __future__ import annotations

import zipfile

import pytest

from atlasbasset.cluster.job import JobState
from atlasjobs.cluster_job import (
    cluster_job,
    exit_code,
    job_file,
    job_table,
    node_rows,
    stopped_line,
    waiting_lines,
)
from atlasstore.errors import UserInputError
from cluster_files import parsed

TRAIN = ("train", "s3://b/a.zarr", "--out", "s3://b/m.zarr", "--workers", "4")


def job(*words, variables=(), **options):
    return cluster_job(parsed(list(words)), wait_s=600, variables=dict(variables), **options)


def test_the_same_command_is_the_same_job_and_another_is_another():
    assert job(*TRAIN).name == job(*TRAIN).name
    assert job(*TRAIN).name.startswith("train-")
    assert job(*TRAIN, "--epochs", "3").name != job(*TRAIN).name


def test_another_content_of_a_shipped_file_is_another_job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("denoise", "s3://b/m", "s3://b/a", "--out", "s3://b/d", "--cells", "cells.txt")
    (tmp_path / "cells.txt").write_text("a\n")
    first = job(*words)
    assert [str(path) for path in first.shipment.files] == ["cells.txt"]
    (tmp_path / "cells.txt").write_text("b\n")
    assert job(*words).name != first.name


def test_the_files_that_a_sample_sheet_lists_go_along(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sheet.csv").write_text("path\na.h5ad\n")
    (tmp_path / "a.h5ad").write_text("a")
    words = ("preprocess", "sheet.csv", "--genome", "s3://b/g.fa", "--out", "s3://b/a")
    assert [str(path) for path in job(*words).shipment.files] == ["a.h5ad", "sheet.csv"]
    labels = ("annotate", "s3://b/m", "sheet.csv")
    assert [str(path) for path in job(*labels).shipment.files] == ["sheet.csv"]


def test_json_may_go_to_the_jobs_log():
    words = ["evaluate", "s3://b/m", "s3://b/a", "--json", "-"]
    assert job(*words).entrypoint.endswith("-- evaluate s3://b/m s3://b/a --json -")
    assert "--json -\n" in job_file(parsed(words), "rayjob")


def test_a_verb_without_workers_has_a_core_of_a_worker_node():
    assert (job(*TRAIN).cpus, job(*TRAIN).gpus) == (0, 0)
    embed = ("embed", "s3://b/m.zarr", "--out", "s3://b/cells.h5ad")
    assert job(*embed).cpus == 1
    assert job(*embed, cpus=8, gpus=1).cpus == 8
    assert job(*embed, cpus=0).cpus == 0


def test_a_wheel_must_be_one(tmp_path):
    with pytest.raises(UserInputError, match=r"none\.whl is no wheel; make one by `make wheel`"):
        job(*TRAIN, wheel=str(tmp_path / "none.whl"))


def test_another_content_of_a_wheel_is_another_job(tmp_path):
    def name(content):
        wheel = tmp_path / "atlasbasset-0.1.0-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            info = zipfile.ZipInfo("atlasjobs/cli.py", next(dates))
            archive.writestr(info, content)
        return job(*TRAIN, wheel=str(wheel)).name

    dates = iter([(2026, month, 1, 0, 0, 0) for month in range(1, 13)])
    assert name("a") == name("a"), "built again"
    assert len({name("a"), name("b"), job(*TRAIN).name}) == 3


def test_a_file_called_as_a_wheel_must_be_one(tmp_path):
    (tmp_path / "x.whl").write_text("x")
    with pytest.raises(UserInputError, match=r"x\.whl is no wheel"):
        job(*TRAIN, wheel=str(tmp_path / "x.whl"))


def test_what_changes_the_run_is_in_the_id_and_what_does_not_is_left_out():
    embed = ("embed", "s3://b/m.zarr", "--out", "s3://b/cells.h5ad")
    same = [{}, {"cpus": 1}, {"gpus": 0}, {"variables": {"AWS_REGION": "x", "K": "1"}}]
    assert len({job(*embed, **options).name for options in same}) == 1
    sent = [{"env": ["K"], "variables": {"K": value}} for value in ("1", "2")]
    others = [{"cpus": 8}, {"gpus": 1}, {"cpus": 0}, *sent]
    assert len({job(*embed, **options).name for options in [{}, *others]}) == 6


@pytest.mark.parametrize("key", ["AWS_SESSION_TOKEN", "WANDB_API_KEY"])
def test_a_key_that_is_renewed_is_no_other_job(key):
    keys = [{key: value} for value in ("a", "b")]
    found = {job(*TRAIN, env=list(one), variables=one).name for one in keys}
    assert len(found) == 1


def test_pods_get_no_local_files_and_an_allocation_shares_its_directory():
    call = parsed(["denoise", "m.zarr", "a.zarr", "--out", "d.zarr", "--workers", "2"])
    with pytest.raises(UserInputError, match=r"d\.zarr would be written on a node"):
        job_file(call, "rayjob")
    assert "-- denoise m.zarr a.zarr --out d.zarr --workers 2 &\n" in job_file(call, "slurm")


def state(status, code=None, **changes):
    values = {"id": "train-1", "entrypoint": "python -m x --wait 5 -- train a", "message": ""}
    times = {"started_s": 1000.0, "ended_s": 1042.0}
    return JobState(**(values | times | changes), status=status, exit_code=code)


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        ("SUCCEEDED", 0, 0),
        ("RUNNING", None, 0),
        ("FAILED", 2, 2),
        ("FAILED", 1, 1),
        ("FAILED", None, 1),
        ("STOPPED", 143, 1),
    ],
)
def test_a_command_that_followed_a_job_ends_as_the_job_did(status, code, expected):
    assert exit_code(state(status, code)) == expected


def test_jobs_and_nodes_are_rows():
    header, rows = job_table([state("FAILED"), state("PENDING", id="b", started_s=None)])
    assert header == ["job", "status", "begun", "time", "command"]
    assert [row[1] for row in rows] == ["failed", "pending"]
    assert rows[0][3:] == ["42 s", "train a"]
    assert rows[1][2:4] == ["-", "-"]
    node = {"name": "n", "ip": "10.0.0.1", "head": True, "resources": {"CPU": 4.0, "memory": 8e9}}
    assert node_rows([node]) == [["n", "10.0.0.1", "head", "4", "0", "8.00 GB"]]


def test_a_job_without_a_place_is_told_to_end_when_it_gets_one():
    assert stopped_line(state("STOPPED")) == "job train-1: stopped"
    said = stopped_line(state("PENDING"))
    assert said.startswith("job train-1: told to end; the cluster has no place for it yet")
    assert stopped_line(state("RUNNING")).startswith("job train-1: told to end; it still runs")


def test_who_waits_for_a_place_is_told_what_to_do():
    assert waiting_lines([state("RUNNING"), state("FAILED")]) == []
    (line,) = waiting_lines([state("PENDING"), state("RUNNING"), state("PENDING", id="map-1")])
    assert line.startswith("waiting for a place in the cluster: train-1, map-1; ")
    assert "`atlasbasset resources`" in line
