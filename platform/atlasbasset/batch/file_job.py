"""A job that makes a file or a folder of files: resumed like one that makes a store.

Its stages leave their numbers in the job's scratch folder; the file is made of them at the end, in
one go, and appears whole. Unlike a store, a file does not say which job made it: run again, a
finished job is refused, as anything else that exists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from atlasbasset.batch.scratch import check_scratch
from atlasbasset.batch.stages import JobStages
from atlasstore.files import urls
from atlasstore.files.staging import refuse_existing
from atlasstore.resume.ledger import Ledger, is_begun

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from atlasbasset.batch.executor import WorkerPool
    from atlasbasset.batch.job_identity import JobIdentity
    from atlasstore.events import Subscriber

__all__ = ["FileJob", "refuse_file", "run_file_job"]

_WRITING = "writing"
"""Receipt of the step at which nothing is left to do but to write the files."""

Found = TypeVar("Found")


def refuse_file(out: str | Path) -> None:
    """Raise StoreExistsError when something is stored at `out`, unless a job is to be resumed.

    Then `run_file_job` looks at what is there.
    """
    if not is_begun(out):
        refuse_existing(out)


def run_file_job(
    out: str | Path,
    make: Callable[[FileJob], Found],
    *,
    identity: JobIdentity,
    pool: WorkerPool,
    on_event: Subscriber,
) -> Found:
    """Make the file or folder at `out`, or resume what is left of it.

    Parameters
    ----------
    out
        URL of the file or folder.
    make
        Does the job's stages; then, after `FileJob.begin_writing`, puts the output there whole
        (`staged`, `staged_file`).
    identity, pool, on_event
        As for `run_job`.

    Returns
    -------
    Found
        What `make` returned.

    Raises
    ------
    StoreExistsError
        When something is stored at `out`.
    UserInputError
        As by `run_job`.
    """
    refuse_file(out)
    pool.worker_url(out)
    with Ledger.open(out, config=identity.whole_config, inputs=identity.places) as ledger:
        _clear(ledger)
        with pool.session(on_event):
            found = make(FileJob(ledger, pool, on_event))
        ledger.publish()
    return found


class FileJob(JobStages):
    """A job at work whose output is a file or a folder of files."""

    def begin_writing(self) -> None:
        """Check what the stages have left; from here on the output may be there, in part or whole.

        Raises
        ------
        CorruptStoreError
            A piece of the scratch folder is missing.
        """
        check_scratch(self.scratch)
        self.once(_WRITING, lambda: None)


def _clear(ledger: Ledger) -> None:
    """Delete what a killed run was putting on an object store, or its folder if it had ended."""
    if ledger.receipt(_WRITING) is not None:
        if not urls.is_local(ledger.out):
            urls.delete(ledger.out)
        elif urls.exists(ledger.out):
            ledger.publish()
    refuse_existing(ledger.out)
