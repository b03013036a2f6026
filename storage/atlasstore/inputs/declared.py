"""What a stored array says of itself, held against what is stored and what memory there is.

A few bytes of metadata can declare any size. Everything that is read is looked at first: a file of
an HDF5 file's outside (external links and storage, virtual datasets) is refused, since it may be
any file of the machine, and so is an array that is larger than its stored bytes can hold, or than
memory where it is read whole.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import h5py
import zarr

from atlasstore import memory
from atlasstore.errors import CountsError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["check_inside", "check_room", "check_slice", "refuse_links"]

_MOST_COMPRESSED = 1 << 20
"""Times that any codec makes an array smaller; constant values come near it."""
_SMALL = 1 << 26
"""Bytes of an array that nobody needs to wonder at."""


def refuse_links(group: Any, *, name: str) -> None:
    """Raise CountsError when a member of an HDF5 group is in another file."""
    if not isinstance(group, h5py.Group):
        return
    for member in group:
        link = group.get(member, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise _outside(name, f"{group.name.rstrip('/')}/{member}", str(link.filename))


def check_inside(node: Any, *, name: str, whole: bool = True) -> None:
    """Check all that lies at and below `node`, an HDF5 or zarr group or array.

    Parameters
    ----------
    node
        What is going to be read.
    name
        Of the input, for messages.
    whole
        Whether its arrays are read whole.

    Raises
    ------
    CountsError
        When something is in another file, is declared larger than it can be, or holds itself.
    """
    for array in _arrays(node, name, set(), ()):
        _check_storage(array, name)
        if whole:
            check_room(array.dtype.itemsize * prod(array.shape), what=array.name, name=name)


def check_room(n_bytes: int, *, what: str, name: str) -> None:
    """Raise CountsError when `n_bytes` are more than the memory that is free."""
    if n_bytes > _SMALL and n_bytes > (free := memory.free_bytes()):
        raise CountsError(
            f"{name} declares {what} of {_size(n_bytes)}, but {_size(free)} of memory are free; "
            "see whether the file is whole, or use a larger machine."
        )


def check_slice(arrays: tuple[Any, ...], start: int, stop: int, *, name: str) -> None:
    """Raise CountsError unless [start, stop) of all arrays fits into memory at once."""
    n_bytes = sum(array.dtype.itemsize for array in arrays) * (stop - start)
    check_room(n_bytes, what=f"entries {start} to {stop}", name=name)


def _arrays(node: Any, name: str, seen: set[int], above: tuple[int, ...]) -> Iterator[Any]:
    """Yield the arrays at and below `node`, each once.

    HDF5 groups may be members of each other, also of those that they are inside (`above`): who
    follows that never ends.
    """
    if isinstance(node, (h5py.Dataset, zarr.Array)):
        yield node
        return
    if isinstance(node, h5py.Group):
        address = int(h5py.h5o.get_info(node.id).addr)
        if address in above:
            raise CountsError(
                f"{name} has {node.name}, a group inside itself; the file is damaged: write it "
                "again, or copy or download it again."
            )
        if address in seen:
            return
        seen.add(address)
        above = (*above, address)
        refuse_links(node, name=name)
    for member in node:
        yield from _arrays(node[member], name, seen, above)


def _check_storage(array: Any, name: str) -> None:
    n_bytes = array.dtype.itemsize * prod(array.shape)
    if isinstance(array, h5py.Dataset):
        if array.external:
            raise _outside(name, array.name, str(array.external[0][0]))
        if array.is_virtual:
            raise _outside(name, array.name, "other files")
        stored = array.id.get_storage_size()
        if n_bytes > _SMALL and n_bytes > stored * _MOST_COMPRESSED:
            raise CountsError(
                f"{name} declares {array.name} of shape {array.shape}, {_size(n_bytes)}, but "
                f"stores {_size(stored)} of it; the file is damaged: copy or download it again."
            )
    if array.chunks:
        chunk = array.dtype.itemsize * prod(array.chunks)
        check_room(chunk, what=f"a chunk of {array.name}", name=name)


def _outside(name: str, where: str, file: str) -> CountsError:
    return CountsError(
        f"{name} has {where} in another file ({file}), which is not read; write it again with all "
        "of its data inside."
    )


def _size(n_bytes: int) -> str:
    if n_bytes < 10_000_000:
        return f"{n_bytes:,} bytes"
    return f"{n_bytes / 1e9:,.2f} GB"
