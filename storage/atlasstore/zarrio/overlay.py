"""Creating a file only where there is none, and stores that are written over what is left of them.

Object stores have no rename. There a store is published by its root metadata, written last and
only where there is none yet, which S3, Google Cloud Storage and Azure enforce on their side: of two
writers one creates it. Until then there is no root, so nobody opens the store.

A job that was killed is written over itself, and two equal jobs may write at the same time: the
same values go to the same names, and nothing is ever deleted that the other one has written. Where
their hardware makes the last bits differ, of a shard the first that was stored stays.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from zarr.abc.store import Store
from zarr.core.sync import sync
from zarr.storage import WrapperStore

from atlasstore.files import urls
from atlasstore.files.create import create_bytes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

__all__ = ["ROOT", "FirstStays", "HeldRoot", "WrittenOver"]

ROOT = "zarr.json"
"""Root metadata of a zarr v3 store."""


class FirstStays(WrapperStore[Store]):
    """A store that writes a value only where there is none.

    Attributes
    ----------
    refused
        Keys that held a value already, which stayed.
    """

    def __init__(self, store: Store, url: str | Path) -> None:
        super().__init__(store)
        self._url = url
        self.refused: set[str] = set()

    def _with_store(self, store: Store) -> Self:
        return type(self)(store, self._url)

    async def set(self, key: str, value: Buffer) -> None:
        """Write a value unless there is one."""
        url, content = urls.join(self._url, key), value.to_bytes()
        if not await asyncio.to_thread(create_bytes, url, content):
            self.refused.add(key)


class HeldRoot(WrapperStore[Store]):
    """A store whose root metadata stays in memory: `root`."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.root: Buffer | None = None

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return the stored value, or the held root."""
        if key == ROOT:
            return self.root
        return await super().get(key, prototype, byte_range)

    async def exists(self, key: str) -> bool:
        """Whether `key` is there."""
        return self.root is not None if key == ROOT else await super().exists(key)

    async def set(self, key: str, value: Buffer) -> None:
        """Store, or hold, a value."""
        if key == ROOT:
            self.root = value
        else:
            await super().set(key, value)

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Store a value unless there is one."""
        if not await self.exists(key):
            await self.set(key, value)


class WrittenOver(WrapperStore[Store]):
    """A store that sees only what is written through it, over what is stored there.

    zarr and anndata take it for an empty one; neither reads or deletes what others have written.
    Wrapped in `HeldRoot`, nobody can open the store before its root is written.

    Parameters
    ----------
    store
        What is stored there.
    holds_metadata
        Whether metadata stays in memory until `flush`. That of an array or group is written first
        bare, then with its attributes; an equal job must never meet the bare one.
    """

    def __init__(self, store: Store, *, holds_metadata: bool = False) -> None:
        super().__init__(store)
        self._holds_metadata = holds_metadata
        self._own: set[str] = set()
        self._metadata: dict[str, Buffer] = {}

    def _with_store(self, store: Store) -> Self:
        return type(self)(store, holds_metadata=self._holds_metadata)

    def flush(self) -> None:
        """Write the metadata that was held, each file once."""
        for key, value in sorted(self._metadata.items()):
            sync(self._store.set(key, value))

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return a value that was written through this store."""
        if key in self._metadata:
            return self._metadata[key]
        return await super().get(key, prototype, byte_range) if key in self._own else None

    async def exists(self, key: str) -> bool:
        """Whether `key` was written through this store."""
        return key in self._own

    async def set(self, key: str, value: Buffer) -> None:
        """Write a value, replacing what is stored there."""
        if self._holds_metadata and key.endswith(ROOT):
            self._metadata[key] = value
        else:
            await super().set(key, value)
        self._own.add(key)

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Write a value unless one was written through this store."""
        if key not in self._own:
            await self.set(key, value)

    async def delete_dir(self, prefix: str) -> None:
        """Delete nothing: others may have written it."""

    async def is_empty(self, prefix: str) -> bool:
        """Whether nothing was written below `prefix` through this store."""
        return not any(key.startswith(prefix) for key in self._own)

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Yield the keys below `prefix` that were written through this store."""
        for key in sorted(self._own):
            if key.startswith(prefix):
                yield key
