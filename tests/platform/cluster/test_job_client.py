"""Submitted once, followed over lost connections, stopped: against a stand-in for Ray's client."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from atlasbasset.cluster.job import ClusterJob
from atlasbasset.cluster.job_client import JobClient
from atlasbasset.cluster.shipped import Shipment
from atlasstore.errors import AtlasError, UserInputError


@dataclass
class Jobs:
    """What Ray's JobSubmissionClient does, for one process."""

    address: str = "http://head:8265"
    found: dict[str, SimpleNamespace] = field(default_factory=dict)
    environments: list[dict[str, Any]] = field(default_factory=list)
    files: list[list[str]] = field(default_factory=list)
    tails: list[list[str | Exception]] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)

    def put(self, job_id: str, status: str, exit_code: int | None = None) -> None:
        self.found[job_id] = SimpleNamespace(
            submission_id=job_id,
            status=status,
            entrypoint="python -m x -- train a",
            message="",
            start_time=1000 * len(self.found) + 1000,
            end_time=None,
            driver_exit_code=exit_code,
        )

    def list_jobs(self) -> list[SimpleNamespace]:
        return list(self.found.values())

    def submit_job(self, *, submission_id: str, runtime_env: dict[str, Any], **_: object) -> str:
        if submission_id in self.found:
            raise RuntimeError("there is a job of this id")
        self.environments.append(runtime_env)
        folder = runtime_env.get("working_dir")
        shown = sorted(Path(folder).rglob("*")) if folder else []
        self.files.append([str(path.relative_to(folder)) for path in shown if path.is_file()])
        self.modules = [Path(path).name for path in runtime_env.get("py_modules", [])]
        self.put(submission_id, "RUNNING")
        return submission_id

    def stop_job(self, job_id: str) -> bool:
        self.stopped.append(job_id)
        if self.found[job_id].status == "RUNNING":
            self.found[job_id].status = "STOPPED"
        return True

    async def tail_job_logs(self, job_id: str):
        for text in self.tails.pop(0):
            if isinstance(text, Exception):
                raise text
            if text == "END":
                self.found[job_id].status = "SUCCEEDED"
            else:
                yield text


@pytest.fixture
def jobs(monkeypatch) -> Jobs:
    import ray.job_submission

    jobs = Jobs()
    monkeypatch.setattr(ray.job_submission, "JobSubmissionClient", lambda _: jobs)
    return jobs


@pytest.fixture
def client(jobs: Jobs) -> JobClient:
    return JobClient("http://head:8265", retry_s=0.01)


JOB = ClusterJob(name="train-1", entrypoint="true")


def test_submitting_twice_is_submitting_once(client, jobs):
    assert client.submit(JOB) == ("train-1", True)
    assert client.submit(JOB) == ("train-1", False)
    jobs.found["train-1"].status = "SUCCEEDED"
    assert client.submit(JOB) == ("train-1", False)
    assert len(jobs.environments) == 1
    assert jobs.environments[0]["env_vars"]["RAY_JOB_STOP_WAIT_TIME_S"] == "40"


@pytest.mark.parametrize("ended", ["FAILED", "STOPPED"])
def test_after_a_failure_the_next_number_is_submitted(client, jobs, ended):
    jobs.put("train-1", ended)
    jobs.put("train-1-2", ended)
    assert client.submit(JOB) == ("train-1-3", True)


def test_a_job_that_ended_runs_again_when_told_so(client, jobs):
    jobs.put("train-1", "SUCCEEDED")
    assert client.submit(JOB) == ("train-1", False)
    assert client.submit(JOB, again=True) == ("train-1-2", True)
    assert client.submit(JOB, again=True) == ("train-1-2", False), "it runs"
    assert client.submit(JOB) == ("train-1-2", False), "the last attempt counts"
    jobs.found["train-1-2"].status = "SUCCEEDED"
    assert client.submit(JOB, again=True) == ("train-1-3", True)


def test_of_two_at_once_one_is_new(client, jobs, monkeypatch):
    submit = jobs.submit_job

    def raced(**given: Any) -> str:
        jobs.put("train-1", "PENDING")  # the other was faster
        return submit(**given)

    monkeypatch.setattr(jobs, "submit_job", raced)
    assert client.submit(JOB) == ("train-1", False)


def test_a_head_that_has_just_started_is_waited_for(client, jobs, monkeypatch):
    submit_job, asked = jobs.submit_job, []

    def starting(**given: Any) -> str:
        asked.append(given["submission_id"])
        if len(asked) < 3:
            raise RuntimeError("status code 500: No available agent to submit job, try again")
        return submit_job(**given)

    monkeypatch.setattr(jobs, "submit_job", starting)
    assert client.submit(JOB) == (JOB.name, True)
    assert len(asked) == 3
    monkeypatch.setattr("atlasbasset.cluster.job_client._AGENT_WAIT_S", -1)
    jobs.found.clear()
    asked.clear()
    with pytest.raises(AtlasError, match="No available agent"):
        client.submit(JOB)


def test_files_and_a_wheel_go_along(client, jobs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wanted.bed").write_text("x")
    wheel = tmp_path / "atlasbasset-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in ("atlasjobs/cli.py", "atlasbasset-0.1.0.dist-info/METADATA"):
            archive.writestr(name, "")
    shipment = Shipment((Path("wanted.bed"),))
    client.submit(ClusterJob(name="a", entrypoint="true", shipment=shipment, wheel=wheel))
    assert jobs.files == [["wanted.bed"]]
    assert jobs.modules == ["atlasbasset-0.1.0.dist-info", "atlasjobs"]


def test_a_log_is_told_once_over_lost_connections(client, jobs):
    jobs.put("train-1", "RUNNING")
    jobs.tails = [
        ["one\n", "tw", RuntimeError("closed")],
        [OSError("no route")],
        ["one\ntwo\n", "thr"],
        ["one\ntwo\nthree\n", "END"],
    ]
    said: list[str] = []
    assert client.follow("train-1", said.append).status == "SUCCEEDED"
    assert "".join(said) == "one\ntwo\nthree\n"


def test_a_cluster_that_stays_away_is_given_up(jobs):
    client = JobClient("http://head:8265", retry_s=0.01, give_up_s=0.0)
    jobs.put("train-1", "RUNNING")
    jobs.tails = [[OSError("no route")]] * 3
    with pytest.raises(AtlasError, match=r"http://head:8265 does not do as asked \(no route\)"):
        client.follow("train-1", print)


def test_a_job_that_gets_no_place_ends_with_a_sentence(client, jobs):
    jobs.put("embed-1", "PENDING")
    with pytest.raises(UserInputError, match=r"no place for job embed-1 in 0.0 s, and it was told"):
        client.wait_until_started("embed-1", 0.0)
    assert jobs.stopped == ["embed-1"]


def test_the_newest_job_is_meant_without_an_id_and_an_unknown_one_is_refused(client, jobs):
    with pytest.raises(UserInputError, match="it has: none"):
        client.state()
    jobs.put("a", "SUCCEEDED")
    jobs.put("b", "FAILED", exit_code=2)
    assert client.state().id == "b"
    assert client.state("a").status == "SUCCEEDED"
    with pytest.raises(UserInputError, match="knows no job c; it has: a, b"):
        client.state("c")


def test_stopping_waits_for_the_end(client, jobs):
    jobs.put("a", "RUNNING")
    assert client.stop("a").status == "STOPPED"


def test_nobody_there_is_told_in_a_sentence():
    with pytest.raises(AtlasError, match="check the address and the tunnel"):
        JobClient("http://127.0.0.1:9")
    with pytest.raises(UserInputError, match="must be that of the cluster's dashboard"):
        JobClient("10.0.0.1:6379")
