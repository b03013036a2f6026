"""Transient faults of object stores: retries, and how a persistent fault is reported.

The backends repeat a request that was throttled, failed on the server or lost its connection,
with increasing waits. For S3 we ask for 7 attempts in place of 5: 30 s of waiting
on average before a request is given up. botocore's older retry mode is kept, since the "standard"
one shares a budget between requests: with dozens in progress a short outage uses it up in a second.
An interrupted response is fetched again by s3fs, up to 5 times. ``AWS_MAX_ATTEMPTS``,
``AWS_RETRY_MODE`` and ``config_kwargs`` in fsspec's configuration take precedence.

A fault that outlasts this is an AtlasError of one sentence, never "the store is damaged".
"""

from __future__ import annotations

import errno
import io
import os
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Self, cast

from fsspec.config import conf
from zarr.abc.store import RangeByteRequest, Store, SuffixByteRequest
from zarr.storage import WrapperStore

from atlasstore.errors import AccessDeniedError, AtlasError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence
    from pathlib import Path

    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

__all__ = [
    "RemoteFile",
    "RemoteStore",
    "denied",
    "is_denial",
    "is_remote",
    "outage_errors",
    "s3_options",
]

_ATTEMPTS = 7
_OWN_SETTINGS = ("AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE")

_CLIENTS = (
    *("aiobotocore", "aiohttp", "azure", "botocore", "gcsfs", "google", "httpx", "httpx2"),
    *("huggingface_hub", "requests", "urllib3"),
)
"""Packages whose errors mean that a request did not succeed."""
_DENIALS = frozenset(
    {
        "NoCredentialsError",
        "PartialCredentialsError",
        "CredentialRetrievalError",
        "NoAuthTokenError",
        "TokenRetrievalError",
        "UnauthorizedSSOTokenError",
        "SSOTokenLoadError",
        "ProfileNotFound",
        "DefaultCredentialsError",
        "RefreshError",
        "ClientAuthenticationError",
        "CredentialUnavailableError",
    }
)
"""What botocore, google-auth and azure raise of credentials that are absent or refused."""
_PASSING = frozenset(
    getattr(errno, name)
    for name in ("EBUSY", "EIO", "EREMOTEIO", "ETIMEDOUT", "ECONNRESET", "ECONNREFUSED", "EPIPE")
    if hasattr(errno, name)
)
"""As what s3fs raises 500, 503 and unknown codes, and lost connections."""


def s3_options() -> dict[str, Any]:
    """Return what s3fs is given in addition to its own configuration.

    It asks for a file's size before it reads a whole one, so as to read it in several parts at
    once. Our pieces are a few MB and many are under way together: one request each is enough.
    """
    options: dict[str, Any] = {"max_concurrency": 1}
    if not any(name in os.environ for name in _OWN_SETTINGS):
        retries = {"mode": "legacy", "total_max_attempts": _ATTEMPTS}
        options["config_kwargs"] = {
            "retries": retries,
            **conf.get("s3", {}).get("config_kwargs", {}),
        }
    return options


@contextmanager
def outage_errors(url: str | Path) -> Iterator[None]:
    """Turn what a backend raises of a fault that lasts into an AtlasError of one sentence.

    Files that are absent or there already stay what they are.

    Raises
    ------
    AccessDeniedError
        When permission or credentials are lacking.
    AtlasError
        When requests fail for another reason.
    """
    try:
        yield
    except Exception as error:
        if is_denial(error):
            raise denied(url, error) from error
        if not (is_remote(url) and _is_outage(error)):
            raise
        raise AtlasError(
            f"{url} cannot be reached ({_reason(error)}), though requests were repeated for a "
            "while; see whether the store is up and endpoint and credentials are right, then run "
            "the same again."
        ) from error


def is_denial(error: BaseException) -> bool:
    """Whether an error means that permission or credentials are lacking."""
    if isinstance(error, AtlasError):
        return False
    codes = {_status(error)}
    answer = getattr(error.__cause__ or error, "response", None)
    if not isinstance(answer, dict):  # of requests and httpx
        codes.add(getattr(answer, "status_code", None))
    if isinstance(answer, dict):  # botocore's; an answer to HEAD has no words, only its status
        codes.add(answer.get("Error", {}).get("Code"))
        codes = {403 if code == "400" else code for code in codes}
    return (
        isinstance(error, PermissionError)
        or type(error).__name__ in _DENIALS
        or bool(codes & {401, 403, "401", "403"})
    )


def _status(error: BaseException) -> Any:
    """Return the code of an answer; aiohttp's errors have two names for it and warn of one."""
    named = (getattr(error, name, None) for name in ("status", "status_code"))
    found = next((code for code in named if code is not None), None)
    return getattr(error, "code", None) if found is None else found


def denied(url: str | Path, error: BaseException) -> AccessDeniedError:
    """Return what is said when `url` may not be read or written."""
    if not is_remote(url):
        return AccessDeniedError(
            f"{url} may not be read or written by this user ({_reason(error)}); change its "
            "permissions, or run as a user who may."
        )
    return AccessDeniedError(
        f"Access to {url} was denied ({_refusal(error)}): the credentials are absent, expired or "
        "have no permission for it; sign in or renew them (for S3 AWS_PROFILE, AWS_ACCESS_KEY_ID "
        "or `aws sso login`), see that they may list and read it, then run the same again."
    )


def is_remote(url: str | Path) -> bool:
    """Whether requests over a network read and write `url`."""
    return "://" in str(url) and not str(url).startswith(("file:", "memory:"))


def _is_outage(error: Exception) -> bool:
    if isinstance(error, AtlasError):
        return False
    if isinstance(error, OSError) and error.errno in _PASSING:
        return True
    package = type(error).__module__.partition(".")[0]
    return isinstance(error, ConnectionError | TimeoutError) or package in _CLIENTS


def _refusal(error: BaseException) -> str:
    """Return why access was denied; an answer to HEAD has no words, so what was asked is told."""
    cause = error.__cause__ or error
    answer, asked = getattr(cause, "response", None), str(getattr(cause, "operation_name", ""))
    if not asked.startswith("Head") or not isinstance(answer, dict):
        return _reason(error)
    code = str(answer.get("Error", {}).get("Code"))
    return f"{asked}, which asks whether it is there, got status {code}{_OF_HEAD.get(code, '')}"


_OF_HEAD = {
    "400": ", as for a token that has expired or is malformed",
    "403": ", as for want of s3:GetObject, or of s3:ListBucket where nothing is there",
}
"""What S3 means by an answer without words."""


def _reason(error: BaseException) -> str:
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(said.split()).rstrip(".") or type(error).__name__


class RemoteFile(io.RawIOBase):
    """A file on the network that is open for reading; see `outage_errors`."""

    def __init__(self, file: IO[bytes], url: str | Path) -> None:
        self._file, self._url = file, url

    def readable(self) -> bool:
        """Whether it can be read: yes."""
        return True

    def seekable(self) -> bool:
        """Whether it can be read from anywhere: yes."""
        return True

    def read(self, size: int | None = -1) -> bytes:
        """Return the next `size` bytes, or all that follow."""
        with outage_errors(self._url):
            return self._file.read(-1 if size is None else size)

    def readall(self) -> bytes:
        """Return all that follow."""
        return self.read()

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with the next bytes; return how many."""
        with outage_errors(self._url):
            return cast("io.RawIOBase", self._file).readinto(buffer) or 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place in the file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the place in the file."""
        return self._file.tell()

    def close(self) -> None:
        """Close it."""
        self._file.close()
        super().close()


def _asked(found: Buffer | None, byte_range: ByteRequest | None) -> Buffer | None:
    """Return what was asked for: web servers that know no ranges answer with the whole value."""
    if found is not None and isinstance(byte_range, RangeByteRequest):
        start, end = byte_range.start, byte_range.end
        return found[start:end] if len(found) > end - start else found
    if found is not None and isinstance(byte_range, SuffixByteRequest):
        return found[max(len(found) - byte_range.suffix, 0) :]
    return found


def _first(errors: BaseExceptionGroup[AtlasError]) -> AtlasError:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


class RemoteStore(WrapperStore[Store]):
    """A zarr store on the network; see `outage_errors`."""

    def __init__(self, store: Store, url: str) -> None:
        super().__init__(store)
        self._url = url

    def _with_store(self, store: Store) -> Self:
        return type(self)(store, self._url)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return a stored value."""
        with outage_errors(self._url):
            return _asked(await self._store.get(key, prototype, byte_range), byte_range)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return parts of stored values."""
        with outage_errors(self._url):
            return await self._store.get_partial_values(prototype, key_ranges)

    async def get_ranges(
        self,
        key: str,
        byte_ranges: Sequence[ByteRequest | None],
        *,
        prototype: BufferPrototype,
        **limits: int | None,
    ) -> AsyncGenerator[Sequence[tuple[int, Buffer | None]], None]:
        """Return parts of one stored value, each by `get`: as zarr 3.4 asks for parts of shards."""
        plain: Any = Store
        given = {name: value for name, value in limits.items() if value is not None}
        try:
            async for found in plain.get_ranges(
                self, key, byte_ranges, prototype=prototype, **given
            ):
                yield found
        except BaseExceptionGroup as group:
            ours = group.subgroup(AtlasError)
            if ours is None:  # zarr looks in it for files that are absent
                raise
            raise _first(ours) from group

    async def _get_many(
        self, requests: Iterable[tuple[str, BufferPrototype, ByteRequest | None]]
    ) -> AsyncGenerator[tuple[str, Buffer | None], None]:
        with outage_errors(self._url):
            async for found in self._store._get_many(requests):
                yield found

    async def exists(self, key: str) -> bool:
        """Whether `key` is there."""
        with outage_errors(self._url):
            return bool(await self._store.exists(key))

    async def set(self, key: str, value: Buffer) -> None:
        """Store a value."""
        with outage_errors(self._url):
            await self._store.set(key, value)

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Store a value unless there is one."""
        with outage_errors(self._url):
            await self._store.set_if_not_exists(key, value)

    async def delete(self, key: str) -> None:
        """Delete a value."""
        with outage_errors(self._url):
            await self._store.delete(key)

    async def delete_dir(self, prefix: str) -> None:
        """Delete all below `prefix`."""
        with outage_errors(self._url):
            await self._store.delete_dir(prefix)

    async def is_empty(self, prefix: str) -> bool:
        """Whether nothing is below `prefix`."""
        with outage_errors(self._url):
            return bool(await self._store.is_empty(prefix))

    async def list(self) -> AsyncIterator[str]:
        """Yield every key."""
        with outage_errors(self._url):
            async for key in self._store.list():
                yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Yield the keys below `prefix`."""
        with outage_errors(self._url):
            async for key in self._store.list_prefix(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names directly below `prefix`."""
        with outage_errors(self._url):
            async for name in self._store.list_dir(prefix):
                yield name
