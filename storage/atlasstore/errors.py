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
    └── CorruptStoreError                      stored bytes are not what was written

Every message says what was got, what is allowed and what to do next. All of them take one
string, so they pickle across processes as they are; URLs in it lose their credentials.
"""

from __future__ import annotations

from atlasstore.redaction import shown

__all__ = [
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

    def __str__(self) -> str:
        return shown(super().__str__())

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


class CorruptStoreError(AtlasError):
    """Stored bytes are not what was written; the message names the array and chunk."""

    kind = "corrupt"
