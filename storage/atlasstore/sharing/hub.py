"""Models in a repository of Hugging Face: written there as one commit, read from there as anywhere.

Reading needs nothing special: ``hf://owner/name`` is a URL like others once the extra is installed.
Writing does: a repository takes commits, so all files go there in one, and nobody sees a part. The
token is found as the hub's own tools find it (``HF_TOKEN``, or ``hf auth login``), never stored.
"""

from __future__ import annotations

import importlib
import re
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from atlasstore.cards.store_card import CARD, card_of
from atlasstore.errors import (
    AtlasError,
    MissingExtraError,
    StoreExistsError,
    UserInputError,
    extra_packages,
)
from atlasstore.events import Progress
from atlasstore.files import remote, urls
from atlasstore.sharing.contents import contents_of
from atlasstore.sharing.file_copy import copied, digest_of
from atlasstore.zarrio.overlay import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atlasstore.events import Subscriber

__all__ = ["HUB", "Repository", "check_sign_in", "commit_store", "pinned"]

HUB = "hf://"
_URL = re.compile(
    r"hf://(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^@/\s]+))?(?P<folder>(?:/[^/\s]+)*)/?"
)
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Repository:
    """A place in a repository of models."""

    name: str
    """``owner/name``."""
    revision: str | None
    """Branch, tag or commit; None for the main branch."""
    folder: str
    """Below the repository; "" for its root."""

    @classmethod
    def of(cls, url: str) -> Self:
        """Read ``hf://owner/name[@revision][/folder]``.

        Raises
        ------
        UserInputError
            It is no such URL.
        """
        found = _URL.fullmatch(url)
        if found is None:
            raise UserInputError(
                f"{url} is no repository of models; give hf://owner/name, with @branch behind it "
                "for another version and /folder for a place in it."
            )
        return cls(found["name"], found["revision"], found["folder"].strip("/"))

    def url(self, revision: str | None = None) -> str:
        """Return the URL, at a revision of its own or the given one."""
        version = revision or self.revision
        at = "" if version is None else f"@{version}"
        return HUB + "/".join([f"{self.name}{at}", *([self.folder] if self.folder else [])])

    def path(self, name: str) -> str:
        """Return a file's path in the repository."""
        return f"{self.folder}/{name}" if self.folder else name


def check_sign_in(url: str) -> None:
    """Ask the hub whether it knows the token that is found here; nothing is written.

    Raises
    ------
    UserInputError
        The URL is no repository, or there is no token.
    AccessDeniedError
        The hub does not know the token.
    MissingExtraError
        The hub's package is not installed.
    """
    api, place = _api(), Repository.of(url)
    absent = importlib.import_module("huggingface_hub.errors").LocalTokenNotFoundError
    with remote.outage_errors(url):
        try:
            api.whoami()
        except absent as error:
            raise UserInputError(
                f"there is no token to push to {place.url()} with; set HF_TOKEN, or sign in by "
                "`hf auth login`."
            ) from error


def pinned(url: str) -> str:
    """Return the URL of a repository at the commit that it names now.

    What is read by it stays the same whatever is pushed meanwhile.
    """
    api, place = _api(), Repository.of(url)
    absent = importlib.import_module("huggingface_hub.errors").RepositoryNotFoundError
    with remote.outage_errors(url):
        try:
            info = api.repo_info(place.name, revision=place.revision)
        except absent as error:
            raise UserInputError(
                f"{url} is no repository that can be read; check its name, and sign in for a "
                "private one (HF_TOKEN, or hf auth login)."
            ) from error
    return place.url(str(info.sha))


def commit_store(source: str, url: str, *, is_private: bool, on_event: Subscriber) -> str:
    """Put a store into a repository as one commit, and read it back; return its URL there.

    Parameters
    ----------
    source
        Path or URL of the store.
    url
        ``hf://owner/name``; made when absent, as is a branch behind ``@``.
    is_private
        Whether a new repository is seen by its owner alone.
    on_event
        Called with `Progress`.

    Raises
    ------
    StoreExistsError
        A store is there at that revision.
    MissingExtraError
        The hub's package is not installed.
    AtlasError
        The hub cannot be reached, or holds other bytes than were sent.
    """
    api, place = _api(), Repository.of(url)
    with tempfile.TemporaryDirectory(prefix="atlasbasset-") as folder, remote.outage_errors(url):
        files = _files(source, Path(folder), on_event)
        _make_room(api, place, is_private=is_private)
        if urls.exists(urls.join(place.url(), ROOT)):
            raise StoreExistsError(
                f"{place.url()} holds a store already and nothing is overwritten; push to a branch "
                f"of its own, such as {HUB}{place.name}@v2."
            )
        made = _committed(api, place, files)
        there = place.url(made)
        _compare(files, there, on_event)
    return there


def _files(source: str, folder: Path, on_event: Subscriber) -> Mapping[str, Path]:
    """Return the store's files on this machine by name, and its card."""
    found = contents_of(source)
    files = {}
    for done, name in enumerate(found.names):
        if urls.is_local(source):
            files[name] = urls.local_path(urls.join(source, name))
        else:
            files[name] = folder / name
            copied(urls.join(source, name), str(files[name]))
        on_event(Progress("reading", done + 1, len(found.names), "files"))
    written = dict(found.pointers)
    if CARD not in files:
        written[CARD] = card_of(source).markdown().encode()
    for name, content in written.items():
        files[name] = folder / name
        urls.write_bytes(files[name], content)
    return files


def _make_room(api: Any, place: Repository, *, is_private: bool) -> None:
    """Make the repository and its branch where they are not there."""
    api.create_repo(place.name, private=is_private, exist_ok=True)
    if place.revision is not None:
        api.create_branch(place.name, branch=place.revision, exist_ok=True)


def _committed(api: Any, place: Repository, files: Mapping[str, Path]) -> str:
    """Commit all files; return the commit's id."""
    hub = _hub()
    operations = [
        hub.CommitOperationAdd(path_in_repo=place.path(name), path_or_fileobj=str(path))
        for name, path in sorted(files.items())
    ]
    made = api.create_commit(
        place.name,
        operations,
        commit_message="A model of atlasbasset",
        revision=place.revision,
    )
    return str(made.oid)


def _compare(files: Mapping[str, Path], there: str, on_event: Subscriber) -> None:
    """Read every file back and compare it with what was sent."""

    def differs(name: str) -> bool:
        return digest_of(urls.join(there, name)) != digest_of(str(files[name]))

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for done, (name, is_other) in enumerate(zip(files, pool.map(differs, files), strict=True)):
            if is_other:
                raise AtlasError(
                    f"{there}/{name} holds other bytes than were sent; delete the repository or "
                    "branch and push again."
                )
            on_event(Progress("reading back", done + 1, len(files), "files"))


def _hub() -> Any:
    try:
        return importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise MissingExtraError(
            "hf:// URLs need an optional package; install it with: "
            f"pip install {extra_packages('hub')}."
        ) from error


def _api() -> Any:
    return _hub().HfApi()
