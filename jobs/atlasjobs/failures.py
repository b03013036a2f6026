"""What went wrong, as one message and an exit code.

0 done; 2 the person's input is wrong (one sentence, nothing half-written); 130 interrupted; 1
anything else. For 1 and 130 the message goes on with what is safe and how to resume; what an error
of ours was told by others (its notes: the last lines of a log) follows line by line.
"""

from __future__ import annotations

import errno
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DONE", "FAILED", "INTERRUPTED", "WRONG_INPUT", "Failure", "failure_of", "tell_error"]

DONE, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130

_ALL_OR_NOTHING = "{out} was not written; run the same command again."
_JOB = "Finished work is kept next to {out}: the same command resumes it."
_SAFE = {
    "train": "{out} is kept: the same command resumes from its newest checkpoint.",
    "demo": "Finished stages in {out} are kept: the same command resumes from there.",
    "simulate": _ALL_OR_NOTHING,
    "preprocess": _JOB,
    "denoise": _JOB,
    "motifs": _JOB,
    "ism": _JOB,
    "variants": _JOB,
    "match": _ALL_OR_NOTHING,
    "discover": _ALL_OR_NOTHING,
    "map": _JOB,
    "import-weights": _ALL_OR_NOTHING,
    "inspect": "Nothing was changed.",
    "evaluate": "Nothing was changed; run the same command again.",
}
"""Verb -> what is safe and how to resume; `{out}` is the verb's output."""
_INPUTS_SAFE = "The inputs are untouched; run the same command again."


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a verb ended early."""

    exit_code: int
    message: str


def failure_of(error: BaseException, *, verb: str, params: Mapping[str, Any]) -> Failure:
    """Return how `error` is told.

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

    safe = _SAFE.get(verb, _INPUTS_SAFE).format(out=params.get("out"))
    if isinstance(error, UserInputError):
        return Failure(WRONG_INPUT, _one_line(str(error)))
    if isinstance(error, KeyboardInterrupt):
        return Failure(INTERRUPTED, f"Interrupted. {safe}")
    if isinstance(error, AtlasError):
        noted = "".join(f"\n  {_one_line(note)}" for note in getattr(error, "__notes__", ()))
        return Failure(FAILED, f"{_one_line(str(error))} {safe}{noted}")
    return Failure(FAILED, f"{_short(error)} {safe} For the traceback, add --debug.")


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
