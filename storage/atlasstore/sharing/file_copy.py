"""One file copied as a stream, and the SHA-256 of one, wherever they lie."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from atlasstore.errors import AtlasError, NotAStoreError
from atlasstore.files import remote, urls
from atlasstore.text_units import count

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["copied", "digest_of"]

_CHUNK_BYTES = 8 << 20


def copied(source: str, target: str) -> tuple[str, int]:
    """Stream one file to another place; return the SHA-256 and number of the bytes read.

    Raises
    ------
    NotAStoreError
        There is no such file.
    AtlasError
        It cannot be read whole, or not be written.
    """
    fs, path = urls.filesystem(target)
    if urls.is_local(target):
        urls.local_path(target).parent.mkdir(parents=True, exist_ok=True)
    digest, n_bytes = hashlib.sha256(), 0
    with remote.outage_errors(target), fs.open(path, "wb") as file:
        for chunk in _chunks(source):
            digest.update(chunk)
            n_bytes += len(chunk)
            file.write(chunk)
    return digest.hexdigest(), n_bytes


def digest_of(url: str) -> str:
    """Return the SHA-256 of a file's content."""
    digest = hashlib.sha256()
    for chunk in _chunks(url):
        digest.update(chunk)
    return digest.hexdigest()


def _chunks(url: str) -> Iterator[bytes]:
    """Yield the content of a file; a short answer of a server is an error."""
    fs, path = urls.filesystem(url)
    fs.invalidate_cache(path)
    try:
        with remote.outage_errors(url), fs.open(path, "rb", block_size=_CHUNK_BYTES) as file:
            left = getattr(file, "size", None)
            while chunk := file.read(_CHUNK_BYTES):
                left = None if left is None else left - len(chunk)
                yield chunk
    except FileNotFoundError as error:
        raise NotAStoreError(
            f"{url} is gone: the store was changed or is damaged; run the same command again."
        ) from error
    if left:
        raise AtlasError(f"{url} was read in part ({count(left)} bytes lack); run the same again.")
