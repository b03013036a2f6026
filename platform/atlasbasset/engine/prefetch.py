"""Preparing the next item in a thread while the current one is used."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

__all__ = ["Prefetch"]

T = TypeVar("T")
_END = object()


class Prefetch(Generic[T]):
    """Iterate over `items`, always making one ahead; one item and the one in use exist at once.

    Attributes
    ----------
    waited_s
        Seconds the user spent waiting for items, the first one included.
    """

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items
        self.waited_s = 0.0

    def __iter__(self) -> Generator[T, None, None]:
        """Yield the items; an error while making one is raised where it would be used."""
        with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as thread:
            coming = thread.submit(next, self._items, _END)
            try:
                while True:
                    began = time.perf_counter()
                    item = coming.result()
                    self.waited_s += time.perf_counter() - began
                    if item is _END:
                        return
                    coming = thread.submit(next, self._items, _END)
                    yield item  # type: ignore[misc]
            finally:
                coming.cancel()
