"""Ray Jobs on a running cluster: submitted once, followed through lost connections, stopped."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
import zipfile
from contextlib import contextmanager
from logging import getLogger
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlasbasset.cluster.event_log import RUN_VARIABLE
from atlasbasset.cluster.job import state_of
from atlasbasset.cluster.ray_session import token_if_there
from atlasstore.errors import AtlasError, UserInputError
from atlasstore.text_units import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from atlasbasset.cluster.job import ClusterJob, JobState

__all__ = ["JobClient"]

_AGAIN = ("FAILED", "STOPPED")
_STOP_WAIT_S = 40
"""From SIGTERM to SIGKILL: a training writes a checkpoint meanwhile. Ray's own are 3 seconds."""
_AGENT_WAIT_S = 120
_NO_AGENT = "No available agent"
_TALKATIVE = (
    "ray.dashboard.modules.job.sdk",
    "ray.dashboard.modules.dashboard_sdk",
    "ray._private.runtime_env.packaging",
)
"""Loggers that tell of every connection and file."""


class JobClient:
    """The jobs of one cluster.

    Parameters
    ----------
    address
        Of the dashboard, ``http://HOST:8265``; None for what RAY_ADDRESS says, or this machine's.
    retry_s, give_up_s
        Seconds between two requests to a cluster out of reach, and until it is given up.

    Raises
    ------
    AtlasError
        Nobody answers there, or the token is refused.
    """

    def __init__(
        self, address: str | None = None, *, retry_s: float = 2.0, give_up_s: float = 600.0
    ) -> None:
        self._retry_s, self._give_up_s = retry_s, give_up_s
        self.address = (
            address
            or os.environ.get("RAY_API_SERVER_ADDRESS")
            or os.environ.get("RAY_ADDRESS")
            or "http://127.0.0.1:8265"
        )
        if not self.address.startswith(("http://", "https://")):
            raise UserInputError(
                f"the address must be that of the cluster's dashboard, such as "
                f"http://127.0.0.1:8265, got {self.address!r}."
            )
        token_if_there()
        from ray.job_submission import JobSubmissionClient

        for name in _TALKATIVE:
            getLogger(name).setLevel("WARNING")
        with self._answers():
            self._client = JobSubmissionClient(self.address)

    def submit(self, job: ClusterJob, *, again: bool = False) -> tuple[str, bool]:
        """Submit a job unless it is there already; return its id, and whether it is new.

        A job that failed or was stopped is submitted again under the next number, and so is one
        that succeeded where `again` says so.
        """
        name = self._next_name(job.name, again=again)
        if name in self._states_by_id():
            return name, False
        environment: dict[str, Any] = {
            "env_vars": {
                **job.variables,
                RUN_VARIABLE: name,
                "RAY_JOB_STOP_WAIT_TIME_S": str(_STOP_WAIT_S),
            }
        }
        with tempfile.TemporaryDirectory() as folder, self._answers():
            if job.shipment.files:
                job.shipment.copy_to(Path(folder, "inputs"))
                environment["working_dir"] = str(Path(folder, "inputs"))
            if job.wheel is not None:
                environment["py_modules"] = _unpacked(job.wheel, Path(folder, "wheel"))
            is_new = self._submit(
                entrypoint=job.entrypoint,
                submission_id=name,
                runtime_env=environment,
                entrypoint_num_cpus=job.cpus or None,
                entrypoint_num_gpus=job.gpus or None,
            )
        return name, is_new

    def _submit(self, *, submission_id: str, **given: Any) -> bool:
        """Submit a job, whether it is new; wait for the agent of a head that has just started."""
        until = time.monotonic() + _AGENT_WAIT_S
        while True:
            try:
                self._client.submit_job(submission_id=submission_id, **given)
            except RuntimeError as error:
                if submission_id in self._states_by_id():  # another was faster
                    return False
                if _NO_AGENT not in str(error) or time.monotonic() > until:
                    raise
                time.sleep(self._retry_s)
            else:
                return True

    def _next_name(self, name: str, *, again: bool) -> str:
        """Return the id of the attempt that counts: the last one, or the one after its end."""
        states, attempt, number = self._states_by_id(), name, 1
        while (following := f"{name}-{number + 1}") in states:
            attempt, number = following, number + 1
        if attempt not in states:
            return attempt
        is_over = states[attempt].has_ended if again else states[attempt].status in _AGAIN
        return following if is_over else attempt

    def _states_by_id(self) -> dict[str, JobState]:
        return {state.id: state for state in self.states()}

    def states(self) -> list[JobState]:
        """Return every job that was submitted, oldest first."""
        with self._answers():
            found = [state_of(job) for job in self._client.list_jobs() if job.submission_id]
        return sorted(found, key=lambda state: state.started_s or 0)

    def state(self, job_id: str | None = None) -> JobState:
        """Return how a job stands; of None: the newest.

        Raises
        ------
        UserInputError
            There is none of this id.
        """
        states = self.states()
        for state in reversed(states):
            if job_id in (None, state.id):
                return state
        known = ", ".join(state.id for state in states) or "none"
        raise UserInputError(f"{self.address} knows no job {job_id or ''}; it has: {known}.")

    def log(self, job_id: str) -> str:
        """Return what a job has printed so far."""
        with self._answers():
            return str(self._client.get_job_logs(job_id))

    def stop(self, job_id: str) -> JobState:
        """Ask a job to end, and wait until it has; one that has no place yet ends when it gets one.

        Returns
        -------
        How it stands then.
        """
        has_place = self.state(job_id).status != "PENDING"
        with self._answers():
            self._client.stop_job(job_id)
        until = time.monotonic() + (_STOP_WAIT_S + 20 if has_place else self._retry_s)
        while not (state := self.state(job_id)).has_ended and time.monotonic() < until:
            time.sleep(0.5)
        return state

    def wait_until_started(self, job_id: str, wait_s: float) -> None:
        """Wait until a job runs; stop it where the cluster has no place for it.

        Raises
        ------
        UserInputError
            It has not begun in `wait_s` seconds.
        """
        until = time.monotonic() + wait_s
        while self.state(job_id).status == "PENDING":
            if time.monotonic() > until:
                self.stop(job_id)
                raise UserInputError(
                    f"the cluster had no place for job {job_id} in {duration(wait_s)}, and it was "
                    "told to end; `atlasbasset resources` shows what there is: ask for less, add "
                    "nodes, or wait longer by --wait."
                )
            time.sleep(0.5)

    def follow(self, job_id: str, on_text: Callable[[str], None]) -> JobState:
        """Pass on what a job prints until it ends, also over lost connections; return its end.

        Raises
        ------
        AtlasError
            The cluster was out of reach for `give_up_s`.
        """
        from aiohttp import ClientError

        once, lost_since = _Once(on_text), None
        while True:
            try:
                asyncio.run(self._tail(job_id, once))
                if (state := self.state(job_id)).has_ended:
                    return state
                lost_since = None
            except UserInputError:  # a new head does not know the job
                raise
            except (AtlasError, OSError, RuntimeError, ClientError) as error:
                lost_since = lost_since or time.monotonic()
                if time.monotonic() - lost_since > self._give_up_s:
                    raise self._unreachable(error) from error
            time.sleep(self._retry_s)

    async def _tail(self, job_id: str, once: _Once) -> None:
        once.begin()
        async for text in self._client.tail_job_logs(job_id):
            once.pass_on(text)

    def nodes(self) -> list[dict[str, Any]]:
        """Return each node that is alive: name, address, whether it is the head, and resources."""
        from ray.util.state import list_nodes

        with self._answers():
            found = list_nodes(address=self.address, filters=[("state", "=", "ALIVE")], detail=True)
        return [
            {
                "name": node.node_name,
                "ip": node.node_ip,
                "head": node.is_head_node,
                "resources": dict(node.resources_total),
            }
            for node in found
        ]

    @contextmanager
    def _answers(self) -> Iterator[None]:
        """Tell in a sentence that nobody answers."""
        try:
            yield
        except AtlasError:
            raise
        except Exception as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> AtlasError:
        said = " ".join(str(error).split())[:300].rstrip(".")
        return AtlasError(
            f"the cluster at {self.address} does not do as asked ({said}); check the address and "
            "the tunnel to it, and that ~/.ray/auth_token is the cluster's."
        )


def _unpacked(wheel: Path, folder: Path) -> list[str]:
    """Unpack a wheel; return its packages, and its metadata, which knows the version.

    Given the wheel itself, Ray would install all it depends on once more for the job.
    """
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return [str(path) for path in sorted(folder.iterdir())]


class _Once:
    """Passes on a log that is read again from its beginning after each lost connection."""

    def __init__(self, on_text: Callable[[str], None]) -> None:
        self._on_text, self._passed, self._seen = on_text, 0, 0

    def begin(self) -> None:
        self._seen = 0

    def pass_on(self, text: str) -> None:
        new = text[max(0, self._passed - self._seen) :]
        self._seen += len(text)
        self._passed = max(self._passed, self._seen)
        if new:
            self._on_text(new)
