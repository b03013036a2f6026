"""A verb's command line as a job of a cluster, and how the job stands, in lines."""

from __future__ import annotations

import sys
import zipfile
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from atlasjobs.closed_pipe import leave_quietly
from atlasjobs.failures import DONE, FAILED, WRONG_INPUT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from atlasbasset.cluster.job import ClusterJob, JobState
    from atlasjobs.output.console import Output
    from atlasjobs.verb_call import VerbCall

__all__ = [
    "NODE_COLUMNS",
    "cluster_job",
    "exit_code",
    "job_file",
    "job_table",
    "node_rows",
    "passed_on",
    "refuse_unused",
    "state_values",
    "stopped_line",
    "submitted",
    "waiting_lines",
]

_NOTHING_SUBMITTED = "a file is printed and nothing is submitted; leave it out"
_NOT_IN_A_FILE = {
    "wheel": "nodes run what is installed there; install the wheel in their image or environment",
    "credentials": "a file keeps no keys; give the nodes a role, or name a Secret in it",
    "cpus": "set the cores of the job's own process in what is printed",
    "gpus": "set the GPUs of the job's own process in what is printed",
    **dict.fromkeys(("address", "detach", "again", "json"), _NOTHING_SUBMITTED),
}
"""Options of `submit` that are refused with ``--as``, and what to do."""
NODE_COLUMNS = ("node", "address", "role", "CPUs", "GPUs", "memory")


def cluster_job(
    call: VerbCall,
    *,
    wait_s: float,
    wheel: str | None = None,
    variables: Mapping[str, str],
    env: Sequence[str] = (),
    cpus: float | None = None,
    gpus: float = 0,
) -> ClusterJob:
    """Return what is submitted for a verb's command line.

    Parameters
    ----------
    env
        Those of the `variables` that were asked for by name.

    Raises
    ------
    UserInputError
        An input cannot be shipped, an output would be lost, or there is no such wheel.
    """
    from atlasbasset.cluster.job import ClusterJob
    from atlasbasset.cluster.job_id import job_id
    from atlasbasset.cluster.manifests import entrypoint
    from atlasbasset.cluster.shipped import shipment

    shipped, code = shipment(call.reads, call.writes, samples=call.samples), _wheel(wheel)
    usual = 0 if call.workers else 1
    cpus = usual if cpus is None else cpus
    name = job_id(
        call.words,
        shipment=shipped,
        wheel=code,
        sent={name: variables[name] for name in env},
        resources={} | ({"cpus": cpus} if cpus != usual else {}) | ({"gpus": gpus} if gpus else {}),
    )
    return ClusterJob(
        name=name,
        entrypoint=entrypoint(call.words, wait_s),
        shipment=shipped,
        wheel=code,
        variables=variables,
        cpus=cpus,
        gpus=gpus,
    )


def _wheel(path: str | None) -> Path | None:
    from atlasstore.errors import UserInputError

    if path is None:
        return None
    if not (path.endswith(".whl") and zipfile.is_zipfile(path)):
        raise UserInputError(f"{path} is no wheel; make one by `make wheel`, which tells its name.")
    return Path(path)


def refuse_unused(given: Mapping[str, Any], kind: str) -> None:
    """Refuse options of `submit` that do nothing to a file.

    Parameters
    ----------
    given
        Those on the command line.
    kind
        Of the file.

    Raises
    ------
    UserInputError
        There is one.
    """
    from atlasstore.errors import UserInputError

    _wheel(given.get("wheel"))
    for name, reason in _NOT_IN_A_FILE.items():
        if name in given:
            raise UserInputError(f"--{name} has no effect with --as {kind}: {reason}.")


def job_file(
    call: VerbCall,
    kind: Literal["rayjob", "slurm"],
    *,
    wait_s: float | None = None,
    variables: Mapping[str, str] | None = None,
) -> str:
    """Return the manifest or script that runs a verb's command line.

    Parameters
    ----------
    wait_s
        How long the nodes may take to come; by default as long as clouds commonly need.
    variables
        Environment variables of the job, by name.

    Raises
    ------
    UserInputError
        Pods would not find an input, or an output would be lost.
    """
    from atlasbasset.cluster.manifests import JobFile, rayjob, slurm_script
    from atlasbasset.cluster.shipped import check_for_pods

    job = JobFile(
        words=call.words,
        workers=call.workers,
        cpus=call.cpus_per_worker,
        gpus=call.gpus_per_worker,
        variables=variables or {},
    )
    if wait_s is not None:
        job = replace(job, wait_s=wait_s)
    if kind == "slurm":  # whose nodes share the directory that the script is submitted from
        return slurm_script(job)
    check_for_pods(call.reads, call.writes)
    return rayjob(job)


def submitted(
    job: ClusterJob,
    output: Output,
    *,
    address: str | None,
    wait_s: float,
    detach: bool,
    again: bool = False,
) -> JobState:
    """Submit a job, or find it where it is, and follow it unless `detach`.

    With `again` one that has ended is not found but submitted once more.
    """
    from atlasbasset.cluster.job_client import JobClient

    client = JobClient(address)
    job_id, is_new = client.submit(job, again=again)
    for path in job.shipment.files if is_new else ():
        output.line(f"shipped {path}")
    state = client.state(job_id)
    output.line(f"job {job_id}: {'submitted' if is_new else f'{state.status.lower()}, as it was'}")
    if not detach:
        if job.cpus or job.gpus:  # of others the job itself says how long it waits
            client.wait_until_started(job_id, wait_s)
        state = client.follow(job_id, passed_on)
        output.line(f"job {job_id}: {state.status.lower()}")
    output.json(state_values(state))
    return state


def passed_on(text: str) -> None:
    """Print a part of a job's log as it came."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:  # which would look like a lost connection to who follows the job
        leave_quietly()


def exit_code(state: JobState) -> int:
    """Return how a command ends that followed a job: as the job did."""
    if not state.has_ended or state.status == "SUCCEEDED":
        return DONE
    return WRONG_INPUT if state.exit_code == WRONG_INPUT else FAILED


def state_values(state: JobState) -> dict[str, Any]:
    """Return a job's state as JSON values."""
    return {
        "id": state.id,
        "status": state.status,
        "entrypoint": state.entrypoint,
        "started_s": state.started_s,
        "ended_s": state.ended_s,
        "exit_code": state.exit_code,
    }


def stopped_line(state: JobState) -> str:
    """Return how a job stands that was told to end."""
    if state.has_ended:
        return f"job {state.id}: {state.status.lower()}"
    if state.status == "PENDING":
        return (
            f"job {state.id}: told to end; the cluster has no place for it yet, so it ends, with "
            "nothing done, when it gets one or Ray gives up on it."
        )
    return (
        f"job {state.id}: told to end; it still runs, and `atlasbasset status {state.id}` tells "
        "when it has ended."
    )


def waiting_lines(states: Sequence[JobState]) -> list[str]:
    """Return a sentence on the jobs that have no place in the cluster; none where all have one."""
    waiting = ", ".join(state.id for state in states if state.status == "PENDING")
    if not waiting:
        return []
    return [
        f"waiting for a place in the cluster: {waiting}; `atlasbasset resources` shows what there "
        "is, `atlasbasset stop JOB` withdraws one."
    ]


def job_table(states: Sequence[JobState]) -> tuple[list[str], list[list[str]]]:
    """Return the columns of a table of jobs, and a row for each: what it runs to the left."""
    said = [_said(state) for state in states]
    width = max(map(len, ["command", *said]))
    rows = [
        [state.id, state.status.lower(), _clock(state.started_s), _took(state), f"{one:<{width}}"]
        for state, one in zip(states, said, strict=True)
    ]
    return ["job", "status", "begun", "time", f"{'command':<{width}}"], rows


def _said(state: JobState) -> str:
    return state.entrypoint.rpartition(" -- ")[2]


def _clock(unix_s: float | None) -> str:
    if unix_s is None:
        return "-"
    return datetime.fromtimestamp(unix_s).astimezone().strftime("%Y-%m-%d %H:%M")


def _took(state: JobState) -> str:
    import time

    from atlasstore.text_units import duration

    if state.started_s is None:
        return "-"
    return duration((state.ended_s or time.time()) - state.started_s)


def node_rows(nodes: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return a row for each node."""
    from atlasstore.text_units import size

    return [
        [
            node["name"],
            node["ip"],
            "head" if node["head"] else "worker",
            f"{node['resources'].get('CPU', 0):g}",
            f"{node['resources'].get('GPU', 0):g}",
            size(node["resources"].get("memory", 0)),
        ]
        for node in nodes
    ]
