"""Tables of results in small pieces, so that little data makes many of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atlasstore.zarrio import table_plan

if TYPE_CHECKING:
    from collections.abc import Callable


def small_tables(
    put: Callable[[Any, str, int], None], *, chunk_bytes: int, shard_bytes: int
) -> None:
    """Bound the pieces that `plan_table` makes; `put` is a MonkeyPatch's `setattr`."""
    put(table_plan, "CHUNK_BYTES", chunk_bytes)
    put(table_plan, "SHARD_BYTES", shard_bytes)
