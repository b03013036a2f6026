"""One door to paths and cloud URLs: a path, ``s3://``, ``gs://``, ``az://``, ``memory://``.

Everything that touches bytes outside a zarr array goes through here, so that a missing extra, a
credential or an endpoint override (``AWS_ENDPOINT_URL``) is dealt with once.
"""

from __future__ import annotations

import glob
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl

import fsspec
import zarr
from fsspec.implementations.local import LocalFileSystem
from zarr.storage import FsspecStore, LocalStore

from atlasstore.errors import (
    AccessDeniedError,
    CorruptStoreError,
    MissingExtraError,
    NotAStoreError,
    extra_packages,
)
from atlasstore.files import remote

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarr.abc.store import Store

__all__ = [
    "absolute",
    "create_group",
    "delete",
    "exists",
    "filesystem",
    "is_local",
    "join",
    "list_names",
    "lists_nothing",
    "local_path",
    "open_group",
    "path_end",
    "read_bytes",
    "read_files",
    "stands_for",
    "stored_bytes",
    "write_bytes",
    "zarr_store",
]

_HTTP = ("http://", "https://")
_NO_METADATA = (ValueError, TypeError, LookupError, AttributeError, RecursionError, OverflowError)
"""What zarr raises on metadata that is no JSON, or not that of a group."""
_EXTRA_BY_SCHEME = {
    "s3": "s3",
    "gs": "gcs",
    "gcs": "gcs",
    "az": "azure",
    "abfs": "azure",
    "hf": "hub",
}


def is_local(url: str | Path) -> bool:
    """Whether `url` is a path (or ``file://``) on this machine."""
    text = str(url)
    return "://" not in text or text.startswith("file://")


def local_path(url: str | Path) -> Path:
    """Return the path of a local `url`."""
    return Path(str(url).removeprefix("file://"))


def absolute(url: str | Path) -> str:
    """Return a local path as an absolute one, and any other URL as it is: for other processes."""
    return str(local_path(url).absolute()) if is_local(url) else str(url)


def join(url: str | Path, *parts: str) -> str:
    """Return `url` with `parts` below it, by forward slashes; a query stays behind them."""
    path, query = _split(url)
    return "/".join([path.rstrip("/"), *parts]) + query


def path_end(url: str | Path) -> str:
    """Return `url` in lower case up to the end of its path, which says what is stored there."""
    return _split(url)[0].rstrip("/").lower()


def _split(url: str | Path) -> tuple[str, str]:
    """Return a URL up to the end of its path, and the query behind it: a signature, a version."""
    text = str(url)
    path, _, query = text.partition("?")
    if path.startswith(_HTTP):
        path = path.partition("#")[0]
    elif is_local(text) or "=" not in query:  # a name with a question mark, or a pattern
        return text, ""
    return path, text[len(path) :]


def filesystem(url: str | Path) -> tuple[fsspec.AbstractFileSystem, str]:
    """Return the fsspec file system of `url` and the path inside it.

    Raises
    ------
    MissingExtraError
        When the backend of the URL's scheme is not installed.
    """
    if is_local(url):  # as it is: to fsspec, :: stands between two URLs
        local = LocalFileSystem()
        return local, str(local._strip_protocol(str(url)))
    try:
        fs, path = fsspec.core.url_to_fs(str(url), **_options(url))
    except ImportError as error:
        scheme = str(url).split("://", maxsplit=1)[0]
        extra = _EXTRA_BY_SCHEME.get(scheme, "s3")
        raise MissingExtraError(
            f"{scheme}:// URLs need an optional package; install it with: "
            f"pip install {extra_packages(extra)}."
        ) from error
    return fs, str(path)


def exists(url: str | Path) -> bool:
    """Whether anything is stored at `url` (a file, a folder, a key prefix)."""
    fs, path = filesystem(url)
    fs.invalidate_cache()
    with remote.outage_errors(url):
        return bool(fs.exists(path))


def stored_bytes(url: str | Path) -> int:
    """Return the size of the file at `url`, or of all files below it; 0 for nothing.

    Of a server that lists no files, that of a file alone.
    """
    fs, path = filesystem(url)
    fs.invalidate_cache()
    with remote.outage_errors(url):
        if lists_nothing(url):
            return int(fs.info(path).get("size") or 0) if fs.exists(path) else 0
        return int(fs.du(path)) if fs.exists(path) else 0


def lists_nothing(url: str | Path) -> bool:
    """Whether `url` is on a web server, which gives files by name; a list of them is no rule."""
    return str(url).startswith(_HTTP)


def stands_for(url: str | Path) -> str:
    """Return the file to look at for what lies at `url`: itself, wherever it is seen.

    Servers of files know no folders: a zarr group is there when its root metadata is.
    """
    if not is_local(url) and not exists(url):
        for name in ("zarr.json", ".zmetadata", ".zgroup"):
            if exists(join(url, name)):
                return join(url, name)
    return str(url)


def list_names(url: str | Path) -> list[str]:
    """Return the sorted names directly below `url`; empty when there is nothing, or no listing."""
    fs, path = filesystem(url)
    fs.invalidate_cache()
    try:
        with remote.outage_errors(url):
            found = fs.ls(path, detail=False)
    except FileNotFoundError:
        return []
    except AccessDeniedError:  # a public bucket gives files, and no list of them
        if lists_nothing(url):
            return []
        raise
    names = (str(p).rstrip("/").rsplit("/", maxsplit=1)[-1] for p in found)
    return sorted(name for name in names if name)


def delete(url: str | Path) -> None:
    """Remove what is at `url` and below; nothing there, or no longer, is no error."""
    fs, path = filesystem(url)
    fs.invalidate_cache()
    with remote.outage_errors(url), suppress(FileNotFoundError):
        if fs.exists(path):  # elsewhere a path is a pattern to fsspec
            fs.rm(path if is_local(url) else glob.escape(path), recursive=True)


def read_bytes(url: str | Path) -> bytes:
    """Return the whole content of one file.

    Raises
    ------
    NotAStoreError
        When there is no such file, or it is a folder.
    """
    fs, path = filesystem(url)
    try:
        with remote.outage_errors(url):
            return bytes(fs.cat_file(path))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotAStoreError(f"{url} does not exist; check the path or URL.") from error
    except IsADirectoryError as error:
        raise NotAStoreError(f"{url} is a folder where a file is needed.") from error


def read_files(folder: str | Path, names: Sequence[str]) -> dict[str, bytes]:
    """Return the content of files directly below `folder`, by name; many are asked for at once.

    Raises
    ------
    FileNotFoundError
        When one is absent.
    CorruptStoreError
        When one is a folder.
    """
    fs, path = filesystem(folder)
    try:
        with remote.outage_errors(folder):
            paths = [f"{path}/{name}" for name in names]
            found = fs.cat_ranges(paths, None, None, on_error="raise")
            if failed := next((one for one in found if isinstance(one, Exception)), None):
                raise failed
    except IsADirectoryError as error:
        raise CorruptStoreError(
            f"A folder is where {folder} has files ({error}); the folder is damaged: delete what "
            "is in the way, and run the same command again."
        ) from error
    return dict(zip(names, found, strict=True))


def write_bytes(url: str | Path, content: bytes) -> None:
    """Write one file so that a reader sees the old content or the new, never a part.

    Local files go to a unique name in the same folder, then are renamed; object stores put whole
    objects.
    """
    if not is_local(url):
        fs, path = filesystem(url)
        with remote.outage_errors(url):
            fs.pipe_file(path, content)
        return
    target = local_path(url)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def zarr_store(url: str | Path, *, read_only: bool) -> Store:
    """Return the zarr store object for `url`."""
    if is_local(url):
        return LocalStore(local_path(url), read_only=read_only)
    filesystem(url)  # a missing extra gets its own sentence
    if str(url).startswith("memory:"):
        return FsspecStore.from_url(str(url), read_only=read_only)
    options = {**_options(url), "asynchronous": True}
    place, query = _split(url)
    if query and place.startswith(_HTTP):  # goes with every request
        options["params"] = dict(parse_qsl(query.lstrip("?"), keep_blank_values=True))
    else:
        place = str(url)
    store = FsspecStore.from_url(place, storage_options=options, read_only=read_only)
    return remote.RemoteStore(store, str(url))


def _options(url: str | Path) -> dict[str, Any]:
    """Return what a backend is given in addition to its own configuration."""
    return remote.s3_options() if str(url).startswith(("s3:", "s3a:")) else {}


def open_group(
    url: str | Path, *, mode: Literal["r", "r+"] = "r", use_consolidated: bool | None = None
) -> zarr.Group:
    """Open an existing zarr v3 group at `url` (``mode`` "r" or "r+").

    With `use_consolidated` False members are looked up one by one, so that new ones can be made.

    Raises
    ------
    NotAStoreError
        When there is no zarr group.
    CorruptStoreError
        When its metadata is no JSON, or not that of a group.
    """
    store = zarr_store(url, read_only=mode == "r")
    try:
        with remote.outage_errors(url):
            return zarr.open_group(
                store, mode=mode, zarr_format=3, use_consolidated=use_consolidated
            )
    except (FileNotFoundError, zarr.errors.ContainsArrayError) as error:
        raise NotAStoreError(_no_group(url)) from error
    except _NO_METADATA as error:
        raise CorruptStoreError(
            f"{url} has metadata that cannot be read ({type(error).__name__}: {error}); the store "
            "is damaged: make it again or copy it again."
        ) from error


def _no_group(url: str | Path) -> str:
    """Say that nothing is at `url`, or that what is there is no zarr group."""
    with suppress(AccessDeniedError):  # S3 denies what is absent where nobody may list
        if not lists_nothing(url) and not exists(url):
            return f"{url} does not exist; check the path or URL."
    return f"{url} is not a zarr store; give the URL of an atlas, model or result."


def create_group(url: str | Path) -> zarr.Group:
    """Create an empty zarr v3 group at `url`, replacing nothing."""
    return zarr.create_group(zarr_store(url, read_only=False), zarr_format=3)
