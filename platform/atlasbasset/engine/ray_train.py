"""Ray Train: the same loop in a worker group that is restarted when a worker or node dies.

Ray sets up the process group and watches the workers; checkpoints are ours (the model store), so a
restarted group goes on from the newest one whatever Ray still knows of the run before.
"""

from __future__ import annotations

import os
import uuid
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from atlasbasset.core.runtime import DistributedRuntime, LocalRuntime
from atlasbasset.engine.config import TrainConfig
from atlasbasset.engine.events import EpochEnd
from atlasbasset.engine.launch import followed, use_threads
from atlasbasset.engine.loop import Run, train_worker
from atlasstore import urls
from atlasstore.errors import UserInputError
from atlasstore.events import Notice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ray.train.torch import TorchTrainer

    from atlasstore.events import Subscriber

__all__ = ["run_ray"]


def run_ray(
    run: Run,
    workers: int,
    on_event: Subscriber,
    *,
    gpus_per_worker: float = 0,
    cpus_per_worker: float = 1,
    max_failures: int = 8,
) -> None:
    """Train with `workers` Ray Train workers; starts or joins Ray.

    Parameters
    ----------
    gpus_per_worker, cpus_per_worker
        What each worker reserves.
    max_failures
        How often the worker group is restarted before the run is given up.

    Raises
    ------
    UserInputError
        When a Ray started here has not what the workers need.
    """
    resources = {"CPU": cpus_per_worker} | ({"GPU": gpus_per_worker} if gpus_per_worker else {})
    with _ray(on_event, {name: workers * amount for name, amount in resources.items()}):
        trainer = _trainer(run, workers, resources, max_failures)
        with followed(run.model_url, on_event):
            trainer.fit()
    urls.delete(_ray_folder(run.model_url))


@contextmanager
def _ray(on_event: Subscriber, needed: dict[str, float]) -> Iterator[None]:
    """Join the cluster that is there or start one here, which ends with the block."""
    import ray

    os.environ.setdefault("RAY_AUTH_MODE", "token")  # said, not left to Ray's version
    joined = ray.is_initialized()
    if not joined:
        ray.init(log_to_driver=False, configure_logging=False)
        joined = not ray._private.worker._global_node.head
    try:
        _check_resources(needed, ray.cluster_resources(), on_event, joined=joined)
        yield
    finally:
        if not joined:
            ray.shutdown()


def _check_resources(
    needed: dict[str, float], present: dict[str, float], on_event: Subscriber, *, joined: bool
) -> None:
    """Refuse what a Ray of this machine can never give; a cluster may still grow."""
    short = {name: amount for name, amount in needed.items() if present.get(name, 0) < amount}
    if not short:
        return
    said = " and ".join(
        f"{amount:g} {name}s (there are {present.get(name, 0):g})" for name, amount in short.items()
    )
    if not joined:
        raise UserInputError(
            f"the workers need {said} on this machine; ask for fewer --workers, or join a larger "
            "Ray cluster by RAY_ADDRESS."
        )
    on_event(Notice(f"Waiting for the Ray cluster to have {said}."))


def _trainer(
    run: Run, workers: int, resources: dict[str, float], max_failures: int
) -> TorchTrainer:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    gpu = "GPU" in resources
    return TorchTrainer(
        _train_function,
        train_loop_config=_payload(run, int(resources["CPU"])),
        scaling_config=ScalingConfig(
            num_workers=workers, use_gpu=gpu, resources_per_worker=resources
        ),
        torch_config=TorchConfig(backend="nccl" if gpu else "gloo"),
        run_config=RunConfig(
            name=f"atlasbasset-{uuid.uuid4().hex[:12]}",
            failure_config=FailureConfig(max_failures=max_failures),
            **_ray_storage(run.model_url),
        ),
    )


def _payload(run: Run, threads: int) -> dict[str, Any]:
    values = asdict(run)
    values["config"] = run.config.as_json()
    return {"run": values, "threads": threads}


def _train_function(payload: dict[str, Any]) -> None:
    import ray.train
    import ray.train.torch

    use_threads(max(1, payload["threads"]))
    values = payload["run"]
    run = Run(values["atlas_url"], values["model_url"], TrainConfig.from_json(values["config"]))

    def report(event: object) -> None:
        if isinstance(event, EpochEnd):
            ray.train.report(dict(event.record))

    device = ray.train.torch.get_device()
    several = torch.distributed.is_available() and torch.distributed.is_initialized()
    train_worker(run, DistributedRuntime(device) if several else LocalRuntime(device), report)


def _ray_folder(model_url: str) -> str:
    return urls.join(model_url, "ray")


def _ray_storage(model_url: str) -> dict[str, Any]:
    """Where Ray keeps its own small records: beside the checkpoints, reachable by every node."""
    folder = _ray_folder(model_url)
    if urls.is_local(model_url):
        return {"storage_path": str(urls.local_path(folder).absolute())}
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    fs, path = urls.filesystem(folder)
    return {"storage_path": path, "storage_filesystem": PyFileSystem(FSSpecHandler(fs))}
