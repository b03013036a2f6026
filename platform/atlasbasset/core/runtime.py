"""The runtime interface of training: rank, number of workers, sums over workers.

One loop serves one process, torch.distributed (gloo, NCCL) and Ray Train, which sets up the same
process group. Workers exchange the embeddings of a batch (B x 32) and the trunk's gradient in a
step, so a sum is the only collective: a gather is a sum of pieces padded with zeros.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["DistributedRuntime", "LocalRuntime", "Runtime", "share_of"]


class Runtime(Protocol):
    """One worker's view of the run."""

    @property
    def rank(self) -> int:
        """0 .. world - 1; rank 0 also writes what is written once."""
        ...

    @property
    def world(self) -> int:
        """Number of workers."""
        ...

    @property
    def device(self) -> torch.device:
        """Where this worker computes."""
        ...

    def sum_(self, tensor: Tensor) -> Tensor:
        """Sum over all workers in place and return it."""
        ...

    def barrier(self) -> None:
        """Wait for every worker."""
        ...


@dataclass(frozen=True)
class LocalRuntime:
    """One worker in this process."""

    device: torch.device
    rank: int = 0
    world: int = 1

    def sum_(self, tensor: Tensor) -> Tensor:
        """Return `tensor`: there is nothing to add."""
        return tensor

    def barrier(self) -> None:
        """Return at once."""


class DistributedRuntime:
    """A worker of an initialised torch.distributed process group."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    @property
    def rank(self) -> int:
        """Number of the worker, 0 .. world - 1."""
        return dist.get_rank()

    @property
    def world(self) -> int:
        """Number of workers."""
        return dist.get_world_size()

    @property
    def device(self) -> torch.device:
        """Where this worker computes."""
        return self._device

    def sum_(self, tensor: Tensor) -> Tensor:
        """Sum over all workers in place and return it."""
        dist.all_reduce(tensor)
        return tensor

    def barrier(self) -> None:
        """Wait for every worker."""
        dist.barrier()


def share_of(n_rows: int, rank: int, world: int) -> slice:
    """Return the rows of rank `rank` when `n_rows` are dealt out evenly in contiguous runs."""
    return slice(n_rows * rank // world, n_rows * (rank + 1) // world)


def gather_rows(local: Tensor, share: slice, n_rows: int, runtime: Runtime) -> Tensor:
    """Return all workers' rows, (n_rows, ...); `share` says which are this worker's."""
    if runtime.world == 1:
        return local
    whole = local.new_zeros((n_rows, *local.shape[1:]))
    whole[share] = local
    return runtime.sum_(whole)


Reducer = Callable[[Tensor], Tensor] | None


def reducer(runtime: Runtime) -> Reducer:
    """Return the sum the trunk's normalisation needs; None for one worker."""
    return None if runtime.world == 1 else runtime.sum_
