"""Inputs of a job that lie on the submitting machine: shipped with it, or refused with the reason.

A file below the working directory keeps its relative path, so that the command line stays as it
was typed. Everything else must be a URL, or an absolute path that the nodes share.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from atlasbasset.cluster.input_files import files_of_input
from atlasstore.errors import UserInputError
from atlasstore.files import urls
from atlasstore.text_units import size

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

__all__ = [
    "MOST_SHIPPED_BYTES",
    "Shipment",
    "check_for_pods",
    "is_key",
    "shared_variables",
    "shipment",
]

MOST_SHIPPED_BYTES = 100 << 20
"""What Ray's own storage on the head can be asked to hold for a job."""
_MOST_NAMED = 4
_ELSE = "give a URL that the nodes can read, or an absolute path that they share"
_PLACES = (
    *("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION"),
    *("AWS_NO_SIGN_REQUEST", "AZURE_STORAGE_ACCOUNT_NAME", "GOOGLE_CLOUD_PROJECT"),
    *("STORAGE_EMULATOR_HOST", "FSSPEC_S3_ENDPOINT_URL", "ATLASBASSET_LOG"),
)
"""Variables that say where storage and the log are; none is secret."""
_CREDENTIALS = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    *("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_CONNECTION_STRING"),
    *("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "HF_TOKEN"),
)
_KEY_WORDS = ("KEY", "TOKEN", "SECRET", "PASSWORD")


@dataclass(frozen=True, slots=True)
class Shipment:
    """Files that go with a job."""

    files: tuple[Path, ...] = ()
    """Relative to the working directory."""

    def digest(self) -> str:
        """Return the SHA-256 of names and content."""
        found = hashlib.sha256()
        for path in self.files:
            found.update(f"{path}\0{path.stat().st_size}\0".encode())
            found.update(path.read_bytes())
        return found.hexdigest()

    def copy_to(self, folder: Path) -> None:
        """Copy the files below `folder`."""
        for path in self.files:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / path)


def shipment(
    reads: Iterable[str], writes: Iterable[str], *, samples: Collection[str] = ()
) -> Shipment:
    """Return what must be shipped so that a job elsewhere finds its inputs.

    Parameters
    ----------
    reads, writes
        Paths and URLs as typed.
    samples
        Those of `reads` that may be patterns or sample sheets: what they stand for goes along.

    Raises
    ------
    UserInputError
        An output would be lost with the node that writes it, or an input is neither there for the
        nodes nor small enough to be shipped.
    """
    for place in writes:
        _check_output(place)
    found: set[Path] = set()
    for place in filter(_is_own, reads):
        found.update(_files(place, may_stand_for_more=place in samples))
    files = sorted(found)
    total = sum(path.stat().st_size for path in files)
    if total > MOST_SHIPPED_BYTES:
        names = ", ".join(map(str, files[:_MOST_NAMED])) + (", ..." * (len(files) > _MOST_NAMED))
        raise UserInputError(
            f"{names}: {size(total)} are too much to ship with a job, at most "
            f"{size(MOST_SHIPPED_BYTES)}; {_ELSE}."
        )
    return Shipment(tuple(files))


def check_for_pods(reads: Iterable[str], writes: Iterable[str]) -> None:
    """Refuse what a manifest cannot bring along.

    Raises
    ------
    UserInputError
        An output would be lost, or an input lies on this machine alone.
    """
    for place in writes:
        _check_output(place)
    for place in reads:
        if _is_own(place):
            raise UserInputError(f"{place} is on this machine alone, unseen by pods; {_ELSE}.")


def _check_output(place: str) -> None:
    if place.startswith("memory:") or (
        urls.is_local(place) and not urls.local_path(place).is_absolute()
    ):
        raise UserInputError(
            f"{place} would be written on a node of the cluster and lost with it; write to a URL "
            "(s3://, gs://, az://), or to an absolute path that the nodes share."
        )


def _is_own(place: str) -> bool:
    """Whether a place is only on this machine."""
    if place.startswith("memory:"):
        raise UserInputError(f"{place} is in the memory of a process; {_ELSE}.")
    return urls.is_local(place) and not urls.local_path(place).is_absolute()


def _files(place: str, *, may_stand_for_more: bool) -> list[Path]:
    """Return the files of an input on this machine alone, each of which can be shipped."""
    names = files_of_input(place, is_own=_is_own) if may_stand_for_more else [place]
    for name in names:
        named = name if name == place else f"{place} stands for {name}, which"
        _check_file(Path(name), named=named)
    return [Path(name) for name in names]


def _check_file(path: Path, *, named: str) -> None:
    if ".." in path.parts:
        raise UserInputError(
            f"{named} is not below this directory, and would have another place on the nodes; run "
            f"the command from a directory above it, or {_ELSE}."
        )
    if not path.exists():
        raise UserInputError(f"{named} does not exist here; check the path, or {_ELSE}.")
    if path.is_dir():
        raise UserInputError(f"{named} is a folder, and only single files are shipped; {_ELSE}.")


def is_key(name: str) -> bool:
    """Whether an environment variable is one of a cloud's keys, or called like one."""
    return name in _CREDENTIALS or any(word in name for word in _KEY_WORDS)


def shared_variables(
    environment: Mapping[str, str], *, credentials: bool = False, more: Iterable[str] = ()
) -> dict[str, str]:
    """Return the environment variables that go with a job.

    Parameters
    ----------
    environment
        Of this process.
    credentials
        Also the cloud's keys. Whoever can see the cluster's jobs sees them: roles of the nodes are
        better.
    more
        Names of further variables.

    Raises
    ------
    UserInputError
        One of `more` is not set.
    """
    absent = [name for name in more if name not in environment]
    if absent:
        raise UserInputError(f"{absent[0]} is not set here, so it cannot go with the job; set it.")
    names = [*_PLACES, *(_CREDENTIALS if credentials else ()), *more]
    return {name: environment[name] for name in names if name in environment}
