"""Which job made a file or a folder of files: a record beside it, ``OUT.job.json``.

A store holds its job's identity itself; a table of text cannot without ceasing to be one, and a
folder of tracks is put on web servers as it is. The record is written once the output is there. It
gives the output's size, so that it does not speak for what has replaced it; without the record the
output is whole, and a thing that exists like any other.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from atlasbasset.batch.job_identity import refuse_other
from atlasstore.errors import CorruptStoreError, NotAStoreError
from atlasstore.files import urls
from atlasstore.files.json_text import parsed_json
from atlasstore.files.sealed import read_sealed, write_sealed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from atlasbasset.batch.job_identity import JobIdentity

__all__ = ["finished_report", "record_url", "write_record"]


def record_url(out: str | Path) -> str:
    """Return the record of the job that made `out`."""
    return f"{str(out).rstrip('/')}.job.json"


def write_record(out: str, identity: JobIdentity, report: Mapping[str, Any]) -> None:
    """Record that the job has made `out`, and what it reported."""
    said = {"job": identity.as_json(), "bytes": urls.stored_bytes(out), "report": report}
    write_sealed(record_url(out), json.dumps(said, indent=1).encode())


def finished_report(out: str | Path, identity: JobIdentity) -> dict[str, Any] | None:
    """Return what the very same job reported when it made `out`; None where nothing says so.

    Raises
    ------
    StoreExistsError
        Another job has made it.
    """
    try:
        said = parsed_json(read_sealed(record_url(out)))
    except (NotAStoreError, CorruptStoreError):
        return None
    if not urls.exists(out) or urls.stored_bytes(out) != said["bytes"]:
        return None
    refuse_other(out, said["job"], identity)
    return dict(said["report"])
