"""Which job made a file or a folder of files: a record beside it, ``OUT.job.json``.

A store holds its job's identity itself; a table of text cannot without ceasing to be one, and a
folder of tracks is put on web servers as it is. The record is written once the output is there. It
gives the output's size, so that it does not speak for what has replaced it; without the record the
output is whole, and a thing that exists like any other.

A job that is killed between the two has left its folder, with a note of the output's digest: what
has these very bytes is its own, and the same job goes on to the record.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from atlasbasset.batch.job_identity import refuse_other
from atlasstore.errors import CorruptStoreError, NotAStoreError
from atlasstore.files import urls
from atlasstore.files.json_text import parsed_json
from atlasstore.files.sealed import read_sealed, write_sealed
from atlasstore.zarrio.formats import describe_input

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from atlasbasset.batch.job_identity import JobIdentity

__all__ = ["finished_report", "note_output", "noted_report", "record_url", "write_record"]

_NOTE = "output.json"


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


def note_output(folder: str, place: str, report: Mapping[str, Any]) -> None:
    """Note in a job's folder the digest of what is at `place`, about to appear, and its report."""
    said = {"sha256": describe_input(place)["sha256"], "report": report}
    write_sealed(urls.join(folder, _NOTE), json.dumps(said, indent=1).encode())


def noted_report(folder: str, out: str) -> dict[str, Any] | None:
    """Return the report that was noted of what is at `out`; None where it is not those bytes."""
    try:
        said = parsed_json(read_sealed(urls.join(folder, _NOTE)))
    except (NotAStoreError, CorruptStoreError):
        return None
    if not urls.exists(out) or describe_input(out)["sha256"] != said["sha256"]:
        return None
    return dict(said["report"])
