"""`log_to`: a subscriber that sends events to trackers, and shows them as well."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from atlasbasset.loggers.sink import EventLog
from atlasbasset.loggers.trackers import TRACKERS
from atlasstore.errors import AtlasError, UserInputError
from atlasstore.events import Notice
from atlasstore.progress import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from atlasbasset.loggers.sink import Sink
    from atlasstore.events import Subscriber

__all__ = ["check_targets", "log_to"]


def check_targets(targets: Sequence[str]) -> None:
    """Raise UserInputError unless each target names a tracker and a place."""
    for target in targets:
        tracker, _, place = target.partition(":")
        if tracker not in TRACKERS or not place:
            raise UserInputError(
                f"{target!r} is no place to log to; give tensorboard:DIR, mlflow:URI or "
                "wandb:PROJECT."
            )


@contextmanager
def log_to(*targets: str, on_event: Subscriber | None = None) -> Iterator[Subscriber]:
    """Send the events of a training or a job to trackers of experiments.

    Parameters
    ----------
    targets
        ``tensorboard:DIR``, ``mlflow:URI`` (``mlflow:http://host:5000``,
        ``mlflow:sqlite:///runs.db``; experiment by ``MLFLOW_EXPERIMENT_NAME``) or
        ``wandb:PROJECT`` (``WANDB_MODE=offline`` without network); each needs the extra of its
        name.
    on_event
        Called with every event as well; by default a bar is shown on a terminal or in a notebook.

    Yields
    ------
    Subscriber
        To be given as ``on_event``. A tracker that fails meanwhile is left out from then on, with a
        notice: the work goes on.

    Examples
    --------
    >>> with log_to("tensorboard:runs/pbmc") as on_event:  # doctest: +SKIP
    ...     atlasbasset.train("atlas.zarr", out="model.zarr", on_event=on_event)

    Raises
    ------
    UserInputError
        A target is of another form, or its tracker refuses it.
    MissingExtraError
        The tracker's package is not installed.
    """
    check_targets(targets)
    with shown(on_event) as subscriber, ExitStack() as stack:
        logs = [stack.enter_context(_opened(target, subscriber)) for target in targets]

        def every(event: object) -> None:
            for log in logs:
                log(event)
            subscriber(event)

        yield every


@contextmanager
def _opened(target: str, tell: Subscriber) -> Iterator[Subscriber]:
    """Begin a run, and end it when the work has ended."""
    tracker, _, place = target.partition(":")
    try:
        sink = TRACKERS[tracker](place)
    except AtlasError:
        raise
    except Exception as error:  # whatever the tracker's client raises
        raise UserInputError(f"{target} cannot be logged to ({_short(error)}).") from error
    log = _Careful(target, sink, tell)
    try:
        yield log
    except BaseException:
        log.close(failed=True)
        raise
    log.close(failed=False)


class _Careful:
    """Events to a sink until it fails: no tracker may end a training."""

    def __init__(self, target: str, sink: Sink, tell: Subscriber) -> None:
        self._target, self._sink, self._tell = target, sink, tell
        self._log: EventLog | None = EventLog(sink)

    def __call__(self, event: object) -> None:
        if self._log is not None:
            try:
                self._log(event)
            except Exception as error:  # noqa: BLE001 - whatever the tracker's client raises
                self._give_up(error)

    def close(self, *, failed: bool) -> None:
        if self._log is not None:
            try:
                self._sink.close(failed=failed)
            except Exception as error:  # noqa: BLE001
                self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._log = None
        said = f"{self._target} has failed ({_short(error)})"
        self._tell(Notice(f"{said}; nothing more is logged there, the work goes on."))


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split()).rstrip('.')}"
