"""How the program and its verbs end: every error becomes one message and an exit code.

`Verb` catches what its work raises, because it knows the verb and its output; `Program` prints the
message, also for a misused command line, and exits. Signals are heard by `Interrupts`: once one has
come, whatever ends the verb is shown as an interrupt.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

from atlasjobs.closed_pipe import leave_quietly, reader_is_gone
from atlasjobs.failures import (
    DONE,
    WRONG_INPUT,
    Failure,
    failure_of,
    interrupted,
    tell_error,
)
from atlasjobs.interrupts import Interrupts
from atlasjobs.next_commands import next_line
from atlasjobs.option_names import naming_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ["Program", "Verb", "Verbs", "as_written"]

_BEFORE = "Interrupted before anything was done; run the same command again."


class _VerbFailed(Exception):
    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Verb(TyperCommand):
    """A command whose errors are shown with the verb's own words."""

    def __init__(self, name: str | None, *, params: Sequence[Any] = (), **options: Any) -> None:
        super().__init__(name, params=as_written(params), **options)

    def invoke(self, ctx: Any) -> None:
        """Do the verb's work, and name the command that follows it."""
        try:
            with naming_options(self.params):
                _tell_next(str(self.name), ctx.params, super().invoke(ctx))
        except (typer.Exit, typer.Abort):
            raise
        except (Exception, KeyboardInterrupt, SystemExit) as error:
            if _is_usage(error):
                raise
            if isinstance(error, BrokenPipeError) and reader_is_gone():
                leave_quietly()
            if ctx.params.get("debug"):
                sys.stderr.write(_shown("".join(traceback.format_exception(error))))
            raise _VerbFailed(self._failure(ctx, error)) from error

    def _failure(self, ctx: Any, error: BaseException) -> Failure:
        verb, signals = str(self.name), ctx.find_object(Interrupts)
        if signals is not None and signals.received:
            return interrupted(signals.exit_code, verb=verb, params=ctx.params)
        if isinstance(error, SystemExit):
            raise error
        with naming_options(self.params):
            return failure_of(error, verb=verb, params=ctx.params)


def as_written(params: Sequence[Any]) -> list[Any]:
    """Return parameters whose help is shown as it is written: brackets in it are no markup."""
    from rich.markup import escape

    for param in params:
        if getattr(param, "help", None):
            param.help = escape(param.help)
    return list(params)


def _tell_next(verb: str, params: Mapping[str, Any], found: object) -> None:
    """Print what to run next, where the verb's text goes."""
    if (line := next_line(verb, params, found)) is not None:
        typer.echo(_shown(line), err=params.get("json") == "-")


class Verbs(MutableMapping[str, Any]):
    """Commands by their names, each made when it is first asked for: 2 ms a verb.

    Parameters
    ----------
    names
        In the order of the help.
    build
        Name -> command.
    """

    def __init__(self, names: Sequence[str], build: Callable[[str], Any]) -> None:
        self._build = build
        self._made: dict[str, Any] = dict.fromkeys(names)

    def __getitem__(self, name: str) -> Any:
        if self._made[name] is None:
            self._made[name] = self._build(name)
        return self._made[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._made[name] = command

    def __delitem__(self, name: str) -> None:
        del self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)


class Program(TyperGroup):
    """The whole program."""

    verbs: Verbs
    """Its commands; set where they are listed."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = self.verbs

    def main(self, args: Sequence[str] | None = None, **options: Any) -> Any:  # type: ignore[override]
        """Run a command line; exit with its code, or return it where `standalone_mode` is false."""
        standalone = options.pop("standalone_mode", True)
        with Interrupts() as interrupts:
            code = self._run(args, interrupts, options)
            if standalone:
                sys.exit(code)
        return code

    def _run(
        self, args: Sequence[str] | None, interrupts: Interrupts, options: dict[str, Any]
    ) -> int:
        try:
            found = super().main(args, standalone_mode=False, obj=interrupts, **options)
        except _VerbFailed as failed:
            return _tell(failed.failure)
        except (KeyboardInterrupt, typer.Abort):
            return _tell(Failure(interrupts.exit_code, _BEFORE))
        except BrokenPipeError:
            leave_quietly()
        except Exception as error:
            if not _is_usage(error):
                raise
            return _tell(_usage_failure(error))
        if interrupts.received and found:  # before the verb's work began: the library returns 130
            return _tell(Failure(interrupts.exit_code, _BEFORE))
        return found if isinstance(found, int) else DONE


def _is_usage(error: BaseException) -> bool:
    """Whether the command-line library refuses the command line (its classes are not public)."""
    return hasattr(error, "format_message") and hasattr(error, "exit_code")


def _usage_failure(error: Any) -> Failure:
    message = " ".join(str(error.format_message()).split())
    if not message:  # a bare `atlasbasset`: the library has shown the help
        return Failure(WRONG_INPUT, "")
    ctx = getattr(error, "ctx", None)
    command = ctx.command_path if ctx is not None else "atlasbasset"
    end = "" if message.endswith((".", "?")) else "."
    return Failure(WRONG_INPUT, f"{message}{end} See: {command} --help")


def _tell(failure: Failure) -> int:
    if failure.message:
        tell_error(failure.message)
    return failure.exit_code


def _shown(text: str) -> str:
    """Return text without credentials; imported here, as the program starts without stores."""
    from atlasstore.redaction import shown

    return shown(text)
