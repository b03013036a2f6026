"""From a damaged newest checkpoint to the one before, which its writer has kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlasstore.errors import CorruptStoreError
from atlasstore.files import urls
from atlasstore.models.checkpoint import Checkpoint, checkpoint_of, point_to
from atlasstore.zarrio import arrays

if TYPE_CHECKING:
    from collections.abc import Callable

    from atlasstore.models.model_store import ModelStore

__all__ = ["check_checkpoint", "fall_back"]


def check_checkpoint(
    store: ModelStore, checkpoint: Checkpoint, on_block: Callable[[int], None] = lambda _: None
) -> None:
    """Read every byte of a checkpoint.

    Parameters
    ----------
    on_block
        Called with the number of blocks read.

    Raises
    ------
    CorruptStoreError
        Something is missing or is not what was written.
    """
    for file in checkpoint.checksums:
        checkpoint.tensors(file.removesuffix(".safetensors"))
    group = urls.open_group(checkpoint.url)
    for name in checkpoint.tables:
        arrays.check_chunks(arrays.member(group, name, url=checkpoint.url), url=checkpoint.url)
    for block in store.blocks:
        for name in checkpoint.tables:
            checkpoint.rows(name, block.start, block.stop)
        on_block(block.index + 1)


def fall_back(store: ModelStore) -> str | None:
    """Make the checkpoint before the newest one where the newest is damaged; one process only.

    Returns
    -------
    str or None
        A warning, where that was done; None where the newest is whole or there is none.

    Raises
    ------
    CorruptStoreError
        The newest is damaged, and none before it is whole.
    """
    try:
        newest = store.latest()
        if newest is not None:
            check_checkpoint(store, newest)
    except CorruptStoreError as damage:
        before = _whole_before(store)
        if before is None:
            raise
        point_to(store.url, before)
        return (
            f"Warning: the newest checkpoint of {store.url} is damaged ({str(damage).rstrip('.')})."
            f" Training goes on from the one before, after epoch {before.state.get('epoch')}. See "
            "to the disk."
        )
    return None


def _whole_before(store: ModelStore) -> Checkpoint | None:
    """Return the last whole checkpoint; the damaged one is not among them."""
    names = urls.list_names(urls.join(store.url, "checkpoints"))
    for name in sorted(filter(str.isdecimal, names), key=int, reverse=True):
        try:
            found = checkpoint_of(store.url, name)
            check_checkpoint(store, found)
        except CorruptStoreError:
            continue
        return found
    return None
