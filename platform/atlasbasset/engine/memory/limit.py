"""The memory limit of a run: the given bytes, or most of this machine's free memory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

import torch

from atlasbasset.cluster.ray_session import ray_session
from atlasbasset.cluster.worker_probe import probe_worker
from atlasstore.events import ignore
from atlasstore.memory import free_bytes, parse_size

__all__ = ["MemoryLimit", "memory_limit", "run_limit", "worker_device"]

_USABLE = 90
"""Percent of the free memory that a run may plan with."""


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """What a run may take."""

    ram_bytes: int
    device_bytes: int | None = None
    """Of each worker's GPU; None where workers compute on CPUs."""
    shared: bool = True
    """Whether all workers together have `ram_bytes` (one machine), rather than each."""

    def ram_of_each(self, workers: int) -> int:
        """Return what one of `workers` may take."""
        return self.ram_bytes // workers if self.shared else self.ram_bytes


def run_limit(
    memory: str | int | None = None,
    *,
    workers: int,
    launcher: Literal["auto", "process", "ray"] = "auto",
    gpus_per_worker: float = 0,
    cpus_per_worker: float = 1,
) -> MemoryLimit:
    """Return what a run may take, launched as `train` would launch it; parameters are `train`'s.

    On a Ray cluster elsewhere (``RAY_ADDRESS``) a worker is started to look: this machine, the
    cluster's head, may have neither its memory nor its GPU.

    Raises
    ------
    UserInputError
        `memory` is no size, or the cluster has no worker such as is asked for.
    AtlasError
        The cluster cannot be joined.
    """
    ray = launcher == "ray" or (launcher == "auto" and workers > 1)
    if ray and os.environ.get("RAY_ADDRESS", "local") not in ("", "local"):
        return _limit_elsewhere(memory, cpus=cpus_per_worker, gpus=gpus_per_worker)
    device = worker_device(workers, ray=ray, gpus_per_worker=gpus_per_worker)
    return memory_limit(memory, device=device)


def _limit_elsewhere(memory: str | int | None, *, cpus: float, gpus: float) -> MemoryLimit:
    """Return what each worker of the cluster that is named may take."""
    given = None if memory is None else parse_size(memory)
    if given is not None and not gpus:
        return MemoryLimit(given, shared=False)
    with ray_session({}, ignore):
        found = probe_worker(cpus, gpus)
    gpu = None if found.gpu_bytes is None else found.gpu_bytes * _USABLE // 100
    ram = found.free_bytes * _USABLE // 100 // found.workers_on_node
    return MemoryLimit(given or ram, gpu, shared=False)


def memory_limit(memory: str | int | None = None, *, device: torch.device) -> MemoryLimit:
    """Return what a run may take: what is given, else nine tenths of what is free here and now.

    Parameters
    ----------
    memory
        What *each* worker may take, in bytes or as ``"8GB"``; None for what the machine (or its
        control group) has free.
    device
        Where a worker computes; of a CUDA device its free memory counts as well.

    Raises
    ------
    UserInputError
        `memory` is no size.
    """
    gpu = None
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        gpu = int(free) * _USABLE // 100
    if memory is not None:
        return MemoryLimit(parse_size(memory), gpu, shared=False)
    return MemoryLimit(free_bytes() * _USABLE // 100, gpu)


def worker_device(workers: int, *, ray: bool = False, gpus_per_worker: float = 0) -> torch.device:
    """Return the kind of device that workers will compute on, as far as it can be seen from here.

    Ray's workers have GPUs when they are asked for; they are taken to be like this machine's. Local
    processes have one each, or none has.
    """
    here = torch.cuda.device_count() if torch.cuda.is_available() else 0
    wanted = gpus_per_worker > 0 if ray else here >= workers
    return torch.device("cuda", 0) if wanted and here else torch.device("cpu")
