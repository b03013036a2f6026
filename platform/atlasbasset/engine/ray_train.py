"""Ray Train: the same loop in a worker group that is restarted when a worker or node dies.

Ray sets up the process group and watches the workers; checkpoints are ours (the model store), so a
restarted group resumes from the newest one, regardless of what Ray knows of the earlier run.
"""

from __future__ import annotations

import os
import socket
import threading
import uuid
from concurrent.futures import Future, wait
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from atlasbasset.cluster.event_log import handed_on, logged
from atlasbasset.cluster.metrics import TrainingMetrics
from atlasbasset.cluster.ray_session import ray_session
from atlasbasset.core.runtime import DistributedRuntime, LocalRuntime
from atlasbasset.engine.config import TrainConfig
from atlasbasset.engine.events import EpochEnd, StepDone
from atlasbasset.engine.interrupts import EndAsked
from atlasbasset.engine.launch import END_S, followed, use_threads
from atlasbasset.engine.loop import Run, train_worker
from atlasstore.errors import AtlasError
from atlasstore.files import urls

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ray.train.torch import TorchTrainer

    from atlasstore.events import Subscriber

__all__ = ["run_ray"]

_LAST_LINES = 12
_ECHOES = ("gloo", "NCCL", "Connection reset", "Connection closed", "ActorDied")


def run_ray(
    run: Run,
    workers: int,
    on_event: Subscriber,
    *,
    gpus_per_worker: float = 0,
    cpus_per_worker: float = 1,
    min_workers: int | None = None,
    resize_check_s: float = 60.0,
    max_failures: int = 8,
) -> None:
    """Train with `workers` Ray Train workers; starts or joins Ray.

    Parameters
    ----------
    gpus_per_worker, cpus_per_worker
        What each worker reserves.
    min_workers
        Continue with as few as this many when nodes are lost, and with up to `workers` when some
        come back; None: always `workers`.
    resize_check_s
        Seconds between looks for more workers, with `min_workers`.
    max_failures
        How often the worker group is restarted before the run is given up.

    Raises
    ------
    UserInputError
        When a Ray started here has not what the workers need.
    """
    resources = {"CPU": cpus_per_worker} | ({"GPU": gpus_per_worker} if gpus_per_worker else {})
    least = min_workers or workers
    size: dict[str, Any] = {"num_workers": workers}
    if least < workers:
        size = {
            "num_workers": (least, workers),
            "elastic_resize_monitor_interval_s": resize_check_s,
        }
    name = f"atlasbasset-{uuid.uuid4().hex[:12]}"
    try:
        with ray_session({r: least * amount for r, amount in resources.items()}, on_event):
            trainer = _trainer(run, name, size, resources, max_failures)
            with followed(run.model_url, on_event):
                _fit(trainer, _end_url(run.model_url, name))
    finally:
        urls.delete(_ray_folder(run.model_url))


def _fit(trainer: TorchTrainer, end_url: str) -> None:
    """Train; an interrupt lets the workers write a checkpoint and end.

    In a thread of its own: in the main one Ray would make Ctrl-C an end without a checkpoint.
    """
    from ray.train import WorkerGroupError

    fitted: Future[None] = Future()

    def fit() -> None:
        try:
            trainer.fit()
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            fitted.set_exception(error)
        else:
            fitted.set_result(None)

    threading.Thread(target=fit, daemon=True, name="ray-train").start()
    try:
        fitted.result()
    except WorkerGroupError as error:
        raise _failure(error.worker_failures) from error
    except KeyboardInterrupt:
        urls.write_bytes(end_url, b"")
        wait([fitted], timeout=END_S)
        raise


def _failure(failures: Mapping[int, Exception]) -> AtlasError:
    """Return what a worker failed of, with the end of its traceback, its rank and its node.

    Where one fails the others lose their connection to it: theirs are the later words.
    """
    texts = {rank: str(failures[rank]).strip().splitlines() for rank in sorted(failures)}
    rank = next((r for r, lines in texts.items() if not _is_echo(lines)), min(texts))
    said = next((ln for ln in reversed(texts[rank]) if not ln.startswith("rank ")), "it ended")
    failed = AtlasError(f"training failed in worker {rank}: {said.strip().rstrip('.')}.")
    for line in texts[rank][-_LAST_LINES:]:
        failed.add_note(line)
    return failed


def _is_echo(lines: Sequence[str]) -> bool:
    return any(word in line for line in lines[-3:] for word in _ECHOES)


def _trainer(
    run: Run, name: str, size: dict[str, Any], resources: dict[str, float], max_failures: int
) -> TorchTrainer:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    gpu = "GPU" in resources
    return TorchTrainer(
        _train_function,
        train_loop_config=_payload(run, name, int(resources["CPU"])),
        scaling_config=ScalingConfig(use_gpu=gpu, resources_per_worker=resources, **size),
        torch_config=TorchConfig(backend="nccl" if gpu else "gloo"),
        run_config=RunConfig(
            name=name,
            failure_config=FailureConfig(max_failures=max_failures),
            **_ray_storage(run.model_url),
        ),
    )


def _payload(run: Run, name: str, threads: int) -> dict[str, Any]:
    values = asdict(run)
    values["config"] = run.config.as_json()
    return {
        "run": values,
        "threads": threads,
        "end": _end_url(run.model_url, name),
        "environment": handed_on(),
    }


def _train_function(payload: dict[str, Any]) -> None:
    import ray.train
    import ray.train.torch

    os.environ.update(payload["environment"])
    use_threads(max(1, payload["threads"]))
    values = payload["run"]
    run = Run(**{**values, "config": TrainConfig.from_json(values["config"])})

    rank = ray.train.get_context().get_world_rank()
    metrics = TrainingMetrics(rank)

    def report(event: object) -> None:
        if isinstance(event, StepDone):
            metrics.step(event.sequences_per_s)
        elif isinstance(event, EpochEnd):
            metrics.epoch(event.record)
            ray.train.report(dict(event.record))

    device = ray.train.torch.get_device()
    several = torch.distributed.is_available() and torch.distributed.is_initialized()
    runtime = DistributedRuntime(device) if several else LocalRuntime(device)
    end_asked, on_event = EndAsked(payload["end"]), logged(report, rank=rank)
    try:
        train_worker(run, runtime, on_event, end_asked=end_asked, node_leaves=_node_leaves)
    except Exception as error:
        error.add_note(f"rank {rank} on {socket.gethostname()}")
        raise


def _node_leaves() -> bool:
    """Whether Ray knows that a node of this run will be taken away (alpha in Ray 2.60)."""
    import ray.train

    asked = getattr(ray.train, "get_preemption_info", None)
    return asked is not None and asked() is not None


def _ray_folder(model_url: str) -> str:
    return urls.join(model_url, "ray")


def _end_url(model_url: str, name: str) -> str:
    """Return the file that asks the workers of one run to end."""
    return urls.join(_ray_folder(model_url), f"{name}.end")


def _ray_storage(model_url: str) -> dict[str, Any]:
    """Where Ray keeps its own small records: next to the checkpoints, reachable by every node."""
    folder = _ray_folder(model_url)
    if urls.is_local(model_url):
        return {"storage_path": str(urls.local_path(folder).absolute())}
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    fs, path = urls.filesystem(folder)
    return {"storage_path": path, "storage_filesystem": PyFileSystem(FSSpecHandler(fs))}
