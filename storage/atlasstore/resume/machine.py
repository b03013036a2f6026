"""What a process may use for a stage of units."""

from __future__ import annotations

from dataclasses import dataclass

from atlasstore.errors import TooLittleMemoryError

__all__ = ["SLACK_BYTES", "Machine"]

SLACK_BYTES = 80 << 20
"""Of compiled code and the allocator."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a stage may use."""

    memory_bytes: int
    """The bound on the whole process."""
    held_bytes: int
    """What the process holds already."""
    cores: int
    """Workers at most."""

    @property
    def free_bytes(self) -> int:
        """What is left for workers."""
        return self.memory_bytes - self.held_bytes - SLACK_BYTES

    def workers(self, share_bytes: int, *, stage: str) -> int:
        """Return how many workers fit, each with `share_bytes`.

        Raises
        ------
        TooLittleMemoryError
            When not even one does.
        """
        if share_bytes > self.free_bytes:
            least = -(-(self.held_bytes + SLACK_BYTES + share_bytes) // 10**6)
            raise TooLittleMemoryError(
                f"{self.memory_bytes / 1e6:,.0f} MB of memory are too few for {stage}; give at "
                f"least {least:,} MB (--memory {least}MB)."
            )
        return max(1, min(self.cores, self.free_bytes // max(1, share_bytes)))

    def peak_bytes(self, workers: int, share_bytes: int) -> int:
        """Return the memory expected at most."""
        return self.held_bytes + SLACK_BYTES + workers * share_bytes
