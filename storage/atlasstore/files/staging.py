"""Atomic output: a store, a folder or a file appears whole or not at all.

On a local disk it is written in a hidden folder next to its final place and renamed at the end,
which is atomic. The folder is locked for as long as its process lives, so that the next one that
writes there deletes what a killed one has left. An object store has no rename: there a store is
written in place, its finishing attributes last (see `formats`), and deleted when the work fails.
"""

from __future__ import annotations

import asyncio
import errno
import glob
import os
import shutil
import tempfile
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from atlasstore.errors import StoreExistsError, UserInputError
from atlasstore.files import remote, urls
from atlasstore.files.locks import lock_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["refuse_existing", "staged", "staged_file", "staged_path"]

_WRITES_END_S = 20.0


def refuse_existing(url: str | Path) -> None:
    """Refuse an output where something exists, or that cannot be made there.

    Raises
    ------
    StoreExistsError
        When something exists at `url`.
    UserInputError
        When a local one would lie below a file.
    AccessDeniedError
        When its folder may not be written to.
    """
    if urls.is_local(url):
        _check_folder(urls.local_path(url).absolute(), url)
    if urls.exists(url):
        raise StoreExistsError(
            f"{url} exists already and nothing is overwritten; choose another output, or delete it "
            "first."
        )


def _check_folder(path: Path, url: str | Path) -> None:
    """Check the nearest folder above a path that is there: what lacks below it is made."""
    above = next(folder for folder in path.parents if folder.exists())
    if not above.is_dir():
        raise UserInputError(f"{url} would lie below {above}, which is a file; name another place.")
    if not os.access(above, os.W_OK | os.X_OK):
        raise remote.denied(above, PermissionError("it may not be written to"))


@contextmanager
def staged(url: str | Path) -> Iterator[str]:
    """Yield the URL to write a store to; it is at `url` when the block ends without an error.

    On any exception, also an interrupt, what was written is deleted.

    Raises
    ------
    StoreExistsError
        When something exists at `url`, before or after the work.
    """
    if urls.is_local(url):
        with staged_path(urls.local_path(url)) as path:
            yield str(path)
        return
    refuse_existing(url)
    try:
        yield str(url)
    except BaseException:
        _let_writes_end()
        urls.delete(url)
        raise


@contextmanager
def staged_path(final: Path) -> Iterator[Path]:
    """Yield the path to write a file or a folder to, as `staged`; nothing is stored there yet."""
    refuse_existing(final)
    folder = _made_folder(final)
    lock = lock_folder(folder)
    try:
        yield folder / final.name
        refuse_existing(final)
        (folder / final.name).rename(final)
    except BaseException:
        _let_writes_end()
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


@contextmanager
def staged_file(url: str | Path) -> Iterator[Path]:
    """Yield the path of this machine to write a file to; it is at `url` when the block ends.

    An object store takes whole files: it gets the file at the end.

    Raises
    ------
    StoreExistsError
        As `staged`.
    """
    with staged(url) as place, tempfile.TemporaryDirectory() as folder:
        if urls.is_local(place):
            yield urls.local_path(place)
            return
        path = Path(folder, "file")
        yield path
        fs, target = urls.filesystem(place)
        with remote.outage_errors(place):
            fs.put_file(str(path), target)


def _let_writes_end() -> None:
    """Wait for what zarr's own thread is still writing: an interrupt stops its caller alone."""
    from zarr.core import sync

    if sync.loop[0] is not None:
        sync.sync(_others_ended())


async def _others_ended() -> None:
    if others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others, timeout=_WRITES_END_S)


def _made_folder(final: Path) -> Path:
    """Make the folder to write in; delete those of processes that are no more."""
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        for path in final.parent.glob(f".{glob.escape(final.name)}.{'?' * 32}.partial"):
            _delete_left_over(path)
        folder = final.with_name(f".{final.name}.{uuid.uuid4().hex}.partial")
        folder.mkdir()
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise UserInputError(
            f"{final.parent} cannot be written to ({error}); choose a folder of yours, or another "
            "output."
        ) from error
    return folder


def _delete_left_over(folder: Path) -> None:
    """Delete a folder whose lock went with its process; without locks nobody can tell."""
    if folder.is_dir() and (lock := lock_folder(folder)) is not None:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)
