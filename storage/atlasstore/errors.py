"""The errors a person meets, as one tree.

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
string, so they pickle across processes as they are.
"""

from __future__ import annotations

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
]


class AtlasError(Exception):
    """Base of every error atlasbasset raises on purpose."""

    kind: str = "error"


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
    """Permission or credentials are lacking; nothing is said of what lies there."""

    kind = "denied"


class CorruptStoreError(AtlasError):
    """Stored bytes are not what was written; the message names the array and chunk."""

    kind = "corrupt"
