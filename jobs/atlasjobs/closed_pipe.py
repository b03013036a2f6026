"""A reader of our output that is gone (``atlasbasset ... | head``): the program ends quietly.

Rich ends the program by itself; what is printed past it (JSON, a job's log, the next command) comes
here.
"""

from __future__ import annotations

import os
import select
from typing import NoReturn

from atlasjobs.failures import FAILED

__all__ = ["leave_quietly", "reader_is_gone"]

_OUTPUTS = (1, 2)


def reader_is_gone() -> bool:
    """Whether nobody reads standard output or standard error; a broken pipe may be another's."""
    return bool(_closed())


def leave_quietly() -> NoReturn:
    """End without a word."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in _closed():
        os.dup2(nowhere, descriptor)  # what is still to be flushed
    raise SystemExit(FAILED)


def _closed() -> list[int]:
    poll = select.poll()
    for descriptor in _OUTPUTS:
        poll.register(descriptor, 0)  # errors and hang-ups are always told
    ended = select.POLLERR | select.POLLHUP
    return [descriptor for descriptor, events in poll.poll(0) if events & ended]
