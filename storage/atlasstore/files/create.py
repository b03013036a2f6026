"""Creating a file only if it does not exist: of two writers, one succeeds."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from atlasstore.files import remote, urls

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["create_bytes"]

_AZURE = ("az:", "abfs:", "abfss:", "adl:")


def create_bytes(url: str | Path, content: bytes) -> bool:
    """Write a file unless there is one; return whether it was written.

    On S3, Google Cloud Storage and Azure the server decides, on other backends a look beforehand.
    """
    if urls.is_local(url):  # a lock keeps others out there
        is_free = not urls.exists(url)
        if is_free:
            urls.write_bytes(url, content)
        return is_free
    fs, path = urls.filesystem(url)
    # adlfs has a word of its own
    how: dict[str, Any] = (
        {"overwrite": False} if str(url).startswith(_AZURE) else {"mode": "create"}
    )
    try:
        with remote.outage_errors(url):
            fs.pipe_file(path, content, **how)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno != errno.EINVAL or not urls.exists(url):  # s3fs: the precondition failed
            raise
        return False
    return True
