"""A job that makes a file or a folder of files: resumed like one that makes a store.

Its stages leave their numbers in the job's scratch folder; the file is made of them at the end, in
one go, and appears whole. A record beside it says which job made it (`batch.file_record`): run
again, a finished job has nothing to do, and another one is refused. On a local disk the job notes
the output's digest before it appears: one that was killed before the record knows it again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from atlasbasset.batch.file_record import (
    finished_report,
    note_output,
    noted_report,
    record_url,
    write_record,
)
from atlasbasset.batch.job import end_finished
from atlasbasset.batch.scratch import check_scratch
from atlasbasset.batch.stages import JobStages
from atlasstore.events import Notice
from atlasstore.files import urls
from atlasstore.files.staging import refuse_existing
from atlasstore.resume.ledger import Ledger, is_begun

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from atlasbasset.batch.executor import WorkerPool
    from atlasbasset.batch.job_identity import JobIdentity
    from atlasstore.events import Subscriber

__all__ = ["FileJob", "FileWork", "is_file_finished", "refuse_file", "run_file_job"]

_WRITING = "writing"
"""Receipt of the step at which nothing is left to do but to write the files."""


class _Report(Protocol):
    def as_json(self) -> dict[str, Any]: ...


Found = TypeVar("Found", bound=_Report)
Made = TypeVar("Made", bound=_Report, covariant=True)


class FileWork(Protocol[Made]):
    """What a job that makes a file does, and which job it is."""

    @property
    def identity(self) -> JobIdentity:
        """As for `run_job`."""

    def run(self, job: FileJob, /) -> Made:
        """Do the job's stages; then put the output there whole (`staged`, `staged_file`).

        `FileJob.begin_writing` comes between, and `FileJob.note` just before the output appears.
        """


def refuse_file(out: str | Path) -> None:
    """Raise StoreExistsError when something is stored at `out` of which no job says anything.

    Where one has begun or finished, `run_file_job` looks at what is there.
    """
    if not (is_begun(out) or urls.exists(record_url(out))):
        refuse_existing(out)


def is_file_finished(out: str | Path, identity: Callable[[], JobIdentity]) -> bool:
    """Whether the very same job has made the file or folder at `out`.

    Parameters
    ----------
    out
        URL of the file or folder.
    identity
        Called only where a job's record is: what makes two runs the same job.

    Raises
    ------
    StoreExistsError
        Another job has made it.
    """
    return urls.exists(record_url(out)) and finished_report(out, identity()) is not None


def run_file_job(
    out: str | Path,
    work: FileWork[Found],
    *,
    pool: WorkerPool,
    read_report: Callable[[Mapping[str, Any]], Found],
    on_event: Subscriber,
) -> Found:
    """Make the file or folder at `out` unless the very same job has, or resume what is left of it.

    Parameters
    ----------
    out
        URL of the file or folder.
    work
        What is done.
    pool, on_event
        As for `run_job`.
    read_report
        Makes what `work.run` returned of its ``as_json()``.

    Returns
    -------
    Found
        What `work.run` returned, now or when the same job made `out` before; then a `Notice` says
        so.

    Raises
    ------
    StoreExistsError
        When something is stored at `out`.
    UserInputError
        As by `run_job`.
    """
    identity = work.identity
    if (report := finished_report(out, identity)) is not None:
        end_finished(out, identity, on_event)
        return read_report(report)
    if not is_begun(out):
        refuse_existing(out)
    pool.worker_url(out)
    with Ledger.open(out, config=identity.whole_config, inputs=identity.places) as ledger:
        if (noted := noted_report(ledger.url, ledger.out)) is not None:
            found = read_report(noted)
            on_event(Notice(f"{out} was whole when an earlier run ended; nothing was done again."))
        else:
            _clear(ledger)
            with pool.session(on_event):
                found = work.run(FileJob(ledger, pool, on_event))
        write_record(ledger.out, identity, found.as_json())
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

    def note(self, place: str | Path, report: _Report) -> None:
        """Note what is about to appear as the output, and what is reported of it.

        Parameters
        ----------
        place
            The file or folder, whole, where it is before it appears.
        report
            What `make` is going to return.
        """
        if urls.is_local(self._ledger.out):
            note_output(self._ledger.url, str(place), report.as_json())


def _clear(ledger: Ledger) -> None:
    """Delete what a killed run was putting on an object store, or its folder if it had ended.

    And the record of an output that has been deleted since.
    """
    if ledger.receipt(_WRITING) is not None:
        if not urls.is_local(ledger.out):
            urls.delete(ledger.out)
        elif urls.exists(ledger.out):
            ledger.publish()
    refuse_existing(ledger.out)
    urls.delete(record_url(ledger.out))
