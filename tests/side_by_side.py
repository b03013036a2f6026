"""Which tests run in one process when several run side by side (pytest-xdist)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    import pytest
    from xdist.remote import Producer

TOGETHER = {
    "tests/faults/test_s3.py": "S3",
    "tests/faults/test_jobs_s3.py": "S3",
    "tests/storage/files/test_remote.py": "S3",
    **dict.fromkeys(
        (
            "tests/platform/verbs/report/findings/test_checks.py",
            "tests/platform/verbs/report/findings/test_loci.py",
            "tests/platform/verbs/report/findings/test_parts.py",
            "tests/platform/verbs/report/findings/test_predictions.py",
            "tests/platform/verbs/report/page/test_in_browser.py",
            "tests/platform/verbs/report/test_plan.py",
        ),
        "report",
    ),
}
"""Files that share what is costly to make."""

FIRST = (
    "tests/faults/test_signals.py",
    "S3",
    "tests/platform/engine/test_training.py",
    "report",
)
"""What takes longest: begun last, one process would work on it while the others have ended."""


class FilesTogether(LoadScopeScheduling):
    """The tests of a file are one unit of work, and so are those of files in `TOGETHER`.

    xdist's own groups (``--dist loadgroup``) need a mark on every test, and are silently not made
    by xdist 3.8 with pytest 9.2.
    """

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False  # the order of collection holds

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)


def unit_of(nodeid: str) -> str:
    """Return the name of what runs in one process."""
    file = nodeid.partition("::")[0]
    return TOGETHER.get(file, file)


def longest_first(items: list[pytest.Item]) -> None:
    """Move what takes longest to the front."""
    place = {name: at for at, name in enumerate(FIRST)}
    items.sort(key=lambda item: place.get(unit_of(item.nodeid), len(FIRST)))
