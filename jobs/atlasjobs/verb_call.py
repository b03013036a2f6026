"""What a verb's command line reads, writes and reserves, before it runs anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atlasstore.errors import UserInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import typer

__all__ = ["NOT_ON_A_CLUSTER", "VerbCall", "verb_call"]

NOT_ON_A_CLUSTER = ("demo", "submit", "status", "logs", "stop", "resources", "watch")
"""Verbs that follow or start work rather than do it, and the demo, which is for one machine."""
_OUTPUTS = {"out", "json", "plot"}
_STANDARD_OUTPUT = ("json", "-")
"""Of a job: its log."""
_SAMPLES = "INPUT..."
_INPUTS = {
    *("ATLAS", "MODEL", "RESULT", "STORE", _SAMPLES, "[ATLAS] [RESULT]...", "CELLS"),
    *("SOURCE", "PREFIX"),
    *("FASTA", "BED", "FILE", "GTF", "MEME", "WEIGHTS"),
}
"""What the help calls a path or URL that is read."""
_NAMES_OR_FILES = {"PEAKS"}
"""What it calls names, regions or files of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerbCall:
    """One command line of a verb."""

    words: tuple[str, ...]
    """The verb and its arguments, as typed."""
    reads: tuple[str, ...] = ()
    """Paths and URLs of inputs."""
    samples: tuple[str, ...] = ()
    """Those of them that may be patterns or sample sheets."""
    writes: tuple[str, ...] = ()
    """Paths and URLs of outputs."""
    workers: int = 0
    """Processes that Ray starts; 0: the verb works in its own process."""
    least_workers: int = 0
    """With how many the work can begin."""
    cpus_per_worker: float = 1
    gpus_per_worker: float = 0

    @property
    def verb(self) -> str:
        """The verb's name."""
        return self.words[0]


def verb_call(ctx: typer.Context, words: Sequence[str]) -> VerbCall:
    """Parse a verb's command line without running it.

    Parameters
    ----------
    ctx
        Of the command that got the words; its program knows the verbs.
    words
        The verb and its arguments.

    Raises
    ------
    UserInputError
        There is no such verb, or it is none for a cluster. A misused option is refused as the verb
        itself refuses it.
    """
    program: Any = ctx.find_root().command
    known = [name for name in program.commands if name not in NOT_ON_A_CLUSTER]
    if not words or words[0] not in known:
        got = f"got {words[0]!r}" if words else "got nothing"
        raise UserInputError(f"a verb must follow --, one of {', '.join(known)}; {got}.")
    verb, *rest = words
    command = program.commands[verb]
    with command.make_context(verb, list(rest), parent=ctx) as parsed:
        return _call(command, parsed.params, tuple(words))


def _call(command: Any, values: dict[str, Any], words: tuple[str, ...]) -> VerbCall:
    if values.get("launcher") == "auto":  # also one worker is Ray's: the head has no GPU
        words = (*words, "--launcher", "ray")
    workers = int(values.get("workers") or 0)
    return VerbCall(
        words=words,
        reads=tuple(_places(command, values, _is_read)),
        samples=tuple(_places(command, values, _are_samples)),
        writes=(*_places(command, values, _is_written), *_logs(values.get("log_to") or ())),
        workers=workers,
        least_workers=int(values.get("min_workers") or workers),
        cpus_per_worker=float(values.get("cpus_per_worker") or 1),
        gpus_per_worker=float(values.get("gpus_per_worker") or 0),
    )


def _logs(targets: Sequence[str]) -> Iterator[str]:
    """Yield the places of trackers that are files: TensorBoard's folder, MLflow's or its SQLite."""
    for target in targets:
        tracker, _, place = target.partition(":")
        if tracker == "mlflow":
            place = place.removeprefix("sqlite:///").removeprefix("file://").removeprefix("file:")
        if tracker == "tensorboard" or (tracker == "mlflow" and ":" not in place):
            yield place


def _is_written(verb: str, param: Any) -> bool:
    return param.name in _OUTPUTS or (verb, param.name) == ("export-weights", "path")


def _is_read(verb: str, param: Any) -> bool:
    return param.metavar in _INPUTS | _NAMES_OR_FILES and not _is_written(verb, param)


def _are_samples(_: str, param: Any) -> bool:
    return bool(param.metavar == _SAMPLES)


def _places(
    command: Any, values: dict[str, Any], wanted: Callable[[str, Any], bool]
) -> Iterator[str]:
    for param in command.params:
        if wanted(command.name, param):
            found = values.get(param.name) or ()
            texts = [str(one) for one in ([found] if isinstance(found, str) else found)]
            if (param.name, *texts) == _STANDARD_OUTPUT:
                continue
            yield from _files(texts) if param.metavar in _NAMES_OR_FILES else texts


def _files(wanted: Sequence[str]) -> list[str]:
    """Return those of the texts, names or files, that are files."""
    if not wanted:
        return []
    from atlasstore.sharing.selection import is_file_of_columns

    return [text for text in wanted if is_file_of_columns(text)]
