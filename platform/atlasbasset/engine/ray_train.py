"""Ray Train: the same loop in a worker group that is restarted when a worker or node dies.

Ray sets up the process group and watches the workers; checkpoints are ours (the model store), so a
restarted group goes on from the newest one whatever Ray still knows of the run before.
"""

from __future__ import annotations

import uuid
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from atlasbasset.core.runtime import DistributedRuntime, LocalRuntime
from atlasbasset.engine.config import TrainConfig
from atlasbasset.engine.events import EpochEnd
from atlasbasset.engine.launch import followed, use_threads
from atlasbasset.engine.loop import Run, train_worker
from atlasstore import urls

if TYPE_CHECKING:
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
    max_failures
        How often the worker group is restarted before the run is given up.
    """
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    if not ray.is_initialized():
        ray.init(log_to_driver=False, configure_logging=False)
    resources = {"CPU": cpus_per_worker}
    if gpus_per_worker:
        resources["GPU"] = gpus_per_worker
    trainer = TorchTrainer(
        _train_function,
        train_loop_config=_payload(run, int(cpus_per_worker)),
        scaling_config=ScalingConfig(
            num_workers=workers, use_gpu=bool(gpus_per_worker), resources_per_worker=resources
        ),
        torch_config=TorchConfig(backend="nccl" if gpus_per_worker else "gloo"),
        run_config=RunConfig(
            name=f"atlasbasset-{uuid.uuid4().hex[:12]}",
            failure_config=FailureConfig(max_failures=max_failures),
            **_ray_storage(run.model_url),
        ),
    )
    with followed(run.model_url, on_event):
        trainer.fit()


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


def _ray_storage(model_url: str) -> dict[str, Any]:
    """Where Ray keeps its own small records: beside the checkpoints, reachable by every node."""
    folder = urls.join(model_url, "ray")
    if urls.is_local(model_url):
        return {"storage_path": str(urls.local_path(folder).absolute())}
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    fs, path = urls.filesystem(folder)
    return {"storage_path": path, "storage_filesystem": PyFileSystem(FSSpecHandler(fs))}
