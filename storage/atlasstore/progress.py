"""Bars for people who call functions from a notebook, a terminal or a script.

`shown(None)` is what functions do when they are called without ``on_event``: bars on standard error
where a person looks at it (a terminal or a notebook), nothing elsewhere. Pass
`atlasstore.events.ignore` for silence.
"""

from __future__ import annotations

import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from atlasstore.events import Notice, Progress, ignore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atlasstore.events import Subscriber

__all__ = ["Bars", "shown"]

_EVERY_S = 0.2


@contextmanager
def shown(on_event: Subscriber | None) -> Iterator[Subscriber]:
    """Yield `on_event`; in place of None bars that end with the block, or `ignore`.

    Examples
    --------
    >>> from atlasstore.events import Progress
    >>> with shown(print) as on_event:
    ...     on_event(Progress("reading counts", 2, 4, "cells"))
    Progress(stage='reading counts', done=2, total=4, unit='cells', n_bytes=0)
    """
    if on_event is not None:
        yield on_event
    elif not _is_watched():
        yield ignore
    else:
        with Bars() as bars:
            yield bars


def _is_watched() -> bool:
    """Whether a person sees standard error as it is written: a terminal, or a notebook's kernel."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


class Bars:
    """A subscriber that draws a bar for each stage, with the time left.

    Events of other packages are drawn when they have a method ``shown()`` that returns a `Progress`
    or a `Notice`, or None for nothing.
    """

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # without ipywidgets its text bars do as well
            from tqdm.auto import tqdm
        self._tqdm, self._bars = tqdm, dict[str, Any]()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for bar in self._bars.values():
            bar.close()
        self._bars.clear()

    def __call__(self, event: object) -> None:
        """Draw one event; what is not known is passed over."""
        found = event.shown() if hasattr(event, "shown") else event
        if isinstance(found, Progress):
            self._draw(found)
        elif isinstance(found, Notice):
            self._tqdm.write(found.message, file=sys.stderr)

    def _draw(self, event: Progress) -> None:
        bar = self._bars.get(event.stage)
        if bar is None:
            bar = self._bars[event.stage] = self._tqdm(
                desc=event.stage,
                total=event.total,
                initial=event.done,
                unit=f" {event.unit}",
                mininterval=_EVERY_S,
                leave=True,
            )
        bar.update(event.done - bar.n)
        if event.done >= event.total:
            self._bars.pop(event.stage).close()
