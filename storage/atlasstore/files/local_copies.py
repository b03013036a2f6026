"""Remote files that are needed as files of this machine: fetched once, or for a moment.

A genome is read at random, by many processes of a node: it is fetched into the user's cache folder
by the first of them, while the others wait. A BAM file is read once: it is fetched, and removed.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from atlasstore.errors import AtlasError, NotAStoreError
from atlasstore.files import remote, urls
from atlasstore.files.json_text import parsed_json
from atlasstore.files.user_cache import user_cache
from atlasstore.redaction import shown
from atlasstore.text_units import size

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["local_copy", "temporary_copy"]

_CHUNK_BYTES = 8 << 20
_VERSION = ("size", "ETag", "etag", "LastModified", "last_modified", "mtime", "md5Hash", "created")
"""What the backends tell of a file that changes with its content."""


def local_copy(url: str | Path) -> Path:
    """Return the path of a file: its own, or that of a copy in the user's cache folder.

    The copy is used again as long as neither it nor what is at `url` has changed.

    Raises
    ------
    NotAStoreError
        When there is no such file.
    AtlasError
        When it cannot be fetched whole.
    """
    if urls.is_local(url):
        return urls.local_path(url)
    info = _info(url)
    name = str(url).partition("?")[0].rstrip("/").rpartition("/")[2]
    version = [shown(str(url)), *(str(info.get(key)) for key in _VERSION)]
    key = hashlib.sha256(json.dumps(version).encode()).hexdigest()[:24]
    folder = user_cache() / "atlasbasset" / "files" / key
    folder.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(folder / ".lock"):
        if not _is_as_fetched(folder, name):
            _fetch_into(folder, name, url, info)
    return folder / name


@contextmanager
def temporary_copy(url: str | Path) -> Iterator[Path]:
    """Yield the path of a file: its own, or that of a copy that goes with the block.

    Raises
    ------
    NotAStoreError, AtlasError
        As `local_copy` does.
    """
    if urls.is_local(url):
        yield urls.local_path(url)
        return
    with tempfile.NamedTemporaryFile(prefix="atlasbasset-") as file:
        _copy(url, _info(url), file)
        file.flush()
        yield Path(file.name)


def _info(url: str | Path) -> dict[str, Any]:
    fs, path = urls.filesystem(url)
    fs.invalidate_cache()
    try:
        with remote.outage_errors(url):
            found = dict(fs.info(path))
    except FileNotFoundError as error:
        raise NotAStoreError(f"{url} does not exist; check the URL.") from error
    if found.get("type") == "directory":
        raise NotAStoreError(f"{url} is a folder where a file is needed.")
    return found


def _is_as_fetched(folder: Path, name: str) -> bool:
    """Whether the copy is there and nobody has changed it."""
    try:
        noted = parsed_json((folder / "fetched.json").read_text())
        found = (folder / name).stat()
    except (OSError, ValueError):
        return False
    return [found.st_size, found.st_mtime_ns] == [noted["bytes"], noted["mtime_ns"]]


def _fetch_into(folder: Path, name: str, url: str | Path, info: dict[str, Any]) -> None:
    partial = folder / f".{uuid.uuid4().hex}.partial"
    try:
        with partial.open("wb") as file:
            checksum = _copy(url, info, file)
        partial.replace(folder / name)
    finally:
        partial.unlink(missing_ok=True)
    found = (folder / name).stat()
    noted = {
        "url": shown(str(url)),
        "sha256": checksum,
        "bytes": found.st_size,
        "mtime_ns": found.st_mtime_ns,
    }
    urls.write_bytes(folder / "fetched.json", json.dumps(noted, indent=1).encode())


def _copy(url: str | Path, info: dict[str, Any], file: IO[bytes]) -> str:
    """Write what is at `url` to a file; return its SHA-256."""
    fs, path = urls.filesystem(url)
    digest, n_bytes = hashlib.sha256(), 0
    with remote.outage_errors(url), fs.open(path, "rb", block_size=_CHUNK_BYTES) as source:
        while chunk := source.read(_CHUNK_BYTES):
            digest.update(chunk)
            n_bytes += file.write(chunk)
    expected = info.get("size")
    if expected is not None and n_bytes != expected:
        raise AtlasError(
            f"{url} was fetched in part: {size(n_bytes)} of {size(expected)}; run the same again."
        )
    return digest.hexdigest()


@contextmanager
def _one_at_a_time(place: Path) -> Iterator[None]:
    """Hold a lock of this machine within the block; wait for it."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    with place.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
