"""What makes two runs the same job, and whether such a job has published its store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atlasstore.errors import NotAStoreError, StoreExistsError
from atlasstore.files import urls
from atlasstore.resume.identity import job_difference, job_identity
from atlasstore.resume.ledger import open_finished
from atlasstore.zarrio import formats

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["IDENTITY", "JobIdentity", "is_published", "refuse_other"]

IDENTITY = "job"
"""Where a store's provenance keeps what makes another run the same job."""


@dataclass(frozen=True, slots=True)
class JobIdentity:
    """What makes two runs the same job."""

    verb: str
    config: Mapping[str, Any]
    """Whatever changes the result, JSON values: resolved options, fingerprint of the model, seed;
    not workers or memory."""
    inputs: Sequence[str]
    """URLs of the files and stores that are read and must stay as they are."""

    @property
    def whole_config(self) -> dict[str, Any]:
        """The configuration with the verb."""
        return {"verb": self.verb, **self.config}

    @property
    def places(self) -> list[str]:
        """The inputs, local paths made absolute."""
        return [urls.absolute(url) for url in self.inputs]

    def as_json(self) -> dict[str, Any]:
        """Return what is compared and stored."""
        return job_identity(self.whole_config, self.places)


def is_published(out: str | Path, identity: JobIdentity) -> bool:
    """Whether the job's store is there, finished; raise StoreExistsError for another store."""
    try:
        info = formats.check(open_finished(out), url=str(out))
    except NotAStoreError:
        return False
    refuse_other(out, info.provenance.get(IDENTITY), identity)
    return True


def refuse_other(out: str | Path, made_by: Mapping[str, Any] | None, identity: JobIdentity) -> None:
    """Raise StoreExistsError unless what `out` says of its job is this job's identity."""
    if made_by is None:
        differs = "not by a job of this kind"
    else:
        differs = job_difference(made_by, identity.as_json())
    if differs:
        raise StoreExistsError(
            f"{out} exists already, made by another job ({differs}), and nothing is overwritten; "
            "choose another output, or delete it first."
        )
