"""A training's memory plan as lines for a user and as JSON values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atlasstore.text_units import count, size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atlasbasset.engine.memory.parts import Part
    from atlasbasset.engine.memory.plan import MemoryPlan
    from atlasstore.plans import Lines

__all__ = ["memory_lines", "memory_values"]


def memory_lines(plan: MemoryPlan) -> Lines:
    """Return what the fullest worker holds, part by part, then each phase's additional needs."""
    held = [(part.name, _amount(part) + _where(plan, part.name)) for part in plan.held]
    added = [(phase.name, f"{_amount(phase)} in addition") for phase in plan.phases]
    return [*held, *added, ("memory", _peak(plan)), *_gpu_row(plan)]


def memory_values(plan: MemoryPlan) -> Mapping[str, Any]:
    """Return the plan as JSON values, bytes of the fullest worker."""
    return {
        **plan.layout._asdict(),
        "ram_bytes": plan.ram_bytes,
        "device_bytes": plan.device_bytes,
        "ram_limit_bytes": plan.limit.ram_of_each(plan.sizes.workers),
        "device_limit_bytes": plan.limit.device_bytes,
        "held": [part._asdict() for part in plan.held],
        "phases": [phase._asdict() for phase in plan.phases],
    }


def _amount(part: Part) -> str:
    """Return ``3.1 GB``, ``3.1 GB on the GPU``, or both."""
    ram = size(part.ram_bytes) if part.ram_bytes or not part.device_bytes else ""
    gpu = f"{size(part.device_bytes)} on the GPU" if part.device_bytes else ""
    return " and ".join(filter(None, (ram, gpu)))


def _where(plan: MemoryPlan, name: str) -> str:
    if name != "labels":
        return ""
    if plan.layout.labels == "streamed":
        return f", read {count(plan.layout.group_peaks)} peaks at a time, one group ahead"
    return ", read once"


def _peak(plan: MemoryPlan) -> str:
    room = plan.limit.ram_of_each(plan.sizes.workers)
    return f"at most {size(plan.ram_bytes)} per worker of {size(room)} that it may take"


def _gpu_row(plan: MemoryPlan) -> Lines:
    if plan.limit.device_bytes is None:
        return []
    peak, room = size(plan.device_bytes), size(plan.limit.device_bytes)
    return [("GPU memory", f"at most {peak} of {room} on each GPU")]
