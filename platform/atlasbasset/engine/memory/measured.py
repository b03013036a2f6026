"""What a worker has taken, measured."""

from __future__ import annotations

import sys

import torch

__all__ = ["peak_bytes"]

_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


def peak_bytes(device: torch.device) -> int | None:
    """Return the most memory that this process has held: of its GPU, or resident on CPU.

    None where the system does not say (Windows).
    """
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT
