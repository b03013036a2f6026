"""The errors that users see, as one tree.

::

    AtlasError
    ├── UserInputError (ValueError)            the input is wrong: one sentence, exit 2
    │   ├── CountsError                        a count matrix or fragment file
    │   ├── PeaksError                         peak coordinates
    │   ├── GenomeError                        the FASTA
    │   ├── MotifError                         a MEME file
    │   ├── StoreExistsError (FileExistsError)
    │   ├── NotAStoreError (FileNotFoundError)
    │   ├── FormatVersionError                 written by a newer atlasbasset
    │   ├── MissingExtraError (ImportError)    an optional dependency is not installed
    │   └── TooLittleMemoryError               the bound on memory is below what the work needs
    ├── AccessDeniedError                      permission or credentials are lacking
    └── CorruptStoreError                      stored bytes are not what was written

Every message says what was got, what is allowed and what to do next. All of them take one
string, so they pickle across processes as they are; URLs in it lose their credentials, and what it
quotes of a file its control characters.
"""

from __future__ import annotations

import shlex
from importlib.metadata import requires

from packaging.requirements import Requirement

from atlasstore.redaction import legible, shown

__all__ = [
    "AccessDeniedError",
    "AtlasError",
    "CorruptStoreError",
    "CountsError",
    "FormatVersionError",
    "GenomeError",
    "MissingExtraError",
    "MotifError",
    "NotAStoreError",
    "PeaksError",
    "StoreExistsError",
    "TooLittleMemoryError",
    "UserInputError",
    "extra_packages",
]


class AtlasError(Exception):
    """Base of every error atlasbasset raises on purpose."""

    kind: str = "error"

    def __str__(self) -> str:
        return legible(shown(super().__str__()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __reduce__(self) -> tuple[type[AtlasError], tuple[str]]:
        # of its own: what Dask does with exceptions fails for those that are OSErrors too
        return type(self), (str(self),)


class UserInputError(AtlasError, ValueError):
    """The person's input is wrong; nothing was written."""

    kind = "input"


class CountsError(UserInputError):
    """A count matrix, fragment file or barcode list cannot be used."""

    kind = "counts"


class PeaksError(UserInputError):
    """Peak coordinates cannot be read or do not fit."""

    kind = "peaks"


class GenomeError(UserInputError):
    """The genome FASTA cannot be read or does not fit the peaks."""

    kind = "genome"


class MotifError(UserInputError):
    """A motif file cannot be read."""

    kind = "motif"


class StoreExistsError(UserInputError, FileExistsError):
    """The output exists already."""

    kind = "store-exists"


class NotAStoreError(UserInputError, FileNotFoundError):
    """There is no finished atlasbasset store at this URL."""

    kind = "not-a-store"


class FormatVersionError(UserInputError):
    """The store was written in a newer format than this version reads."""

    kind = "format-version"


class MissingExtraError(UserInputError, ImportError):
    """An optional dependency is needed; the message carries the pip command."""

    kind = "missing-extra"


class TooLittleMemoryError(UserInputError):
    """The bound on memory is below what the work needs; the message says what is enough."""

    kind = "memory"


class AccessDeniedError(AtlasError):
    """Permission or credentials are lacking; nothing is said of what is stored there."""

    kind = "denied"


class CorruptStoreError(AtlasError):
    """Stored bytes are not what was written; the message names the array and chunk."""

    kind = "corrupt"


def of_class(name: str, message: str) -> AtlasError:
    """Return an error that another process raised: of its class by name, or the base class."""
    known = globals().get(name) if name in __all__ else None
    found: AtlasError = (known or AtlasError)(message)
    return found


def extra_packages(extra: str) -> str:
    """Return the packages of an extra as pip's arguments.

    They are named one by one because atlasbasset itself is on no package index: the command works
    wherever it was installed from.

    Parameters
    ----------
    extra
        The extra's name ("s3").

    Returns
    -------
    arguments
        Quoted for a shell: ``'s3fs>=2025.3'``.
    """
    needed = [Requirement(line) for line in requires("atlasbasset") or ()]
    of_extra = [
        f"{one.name}{one.specifier}"
        for one in needed
        if one.marker
        and not one.marker.evaluate({"extra": ""})
        and one.marker.evaluate({"extra": extra})
    ]
    return shlex.join(of_extra)
