"""What went wrong, as one message and an exit code.

0 done; 2 the person's input is wrong (one sentence, nothing half-written); 130 interrupted by
Ctrl-C and 143 by SIGTERM; 1 anything else. But for 2 the message adds what is safe and how to
resume (`safe`); what an error of ours was given by others (its notes: the last lines of a log)
follows line by line.
"""

from __future__ import annotations

import errno
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atlasjobs.option_names import with_options
from atlasjobs.safe import what_is_safe

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DONE", "FAILED", "WRONG_INPUT", "Failure", "failure_of", "interrupted", "tell_error"]

DONE, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a verb ended early."""

    exit_code: int
    message: str


def failure_of(error: BaseException, *, verb: str, params: Mapping[str, Any]) -> Failure:
    """Return how `error` is shown.

    Parameters
    ----------
    error
        What the verb raised.
    verb
        The verb's name.
    params
        The verb's parameters, for the name of its output.
    """
    from atlasstore.errors import AtlasError, UserInputError

    if isinstance(error, UserInputError):
        return Failure(WRONG_INPUT, with_options(_one_line(str(error))))
    if isinstance(error, KeyboardInterrupt):
        return interrupted(INTERRUPTED, verb=verb, params=params)
    safe = what_is_safe(verb, params)
    if isinstance(error, AtlasError):
        noted = "".join(f"\n  {_one_line(note)}" for note in getattr(error, "__notes__", ()))
        return Failure(FAILED, f"{_one_line(str(error))} {safe}{noted}")
    return Failure(FAILED, f"{_short(error)} {safe} For the traceback, add --debug.")


def interrupted(exit_code: int, *, verb: str, params: Mapping[str, Any]) -> Failure:
    """Return how an interrupt by a signal is shown; parameters as for `failure_of`."""
    return Failure(exit_code, f"Interrupted. {what_is_safe(verb, params)}")


def tell_error(message: str) -> None:
    """Print a message to standard error."""
    word = "error:"
    if sys.stderr.isatty() and "NO_COLOR" not in os.environ:
        word = f"\x1b[1;31m{word}\x1b[0m"
    sys.stderr.write(f"{word} {_shown(message)}\n")


def _short(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "The machine's memory is used up; give the job more, or use more workers."
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"The disk is full ({_one_line(str(error))})."
    return f"{type(error).__name__}: {_one_line(str(error)).rstrip('.')}."


def _one_line(message: str) -> str:
    return " ".join(message.split())


def _shown(text: str) -> str:
    """Return text without credentials; imported here, as the program starts without stores."""
    from atlasstore.redaction import shown

    return shown(text)
