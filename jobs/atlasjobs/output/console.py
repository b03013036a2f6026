"""A verb's output: text, progress and JSON.

Text goes to standard output, on a terminal with colour and live bars, otherwise plain; with
``--json -`` standard output carries the JSON alone and the text goes to standard error.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.text import Text

from atlasjobs.failures import tell_error
from atlasjobs.output import json_output
from atlasstore.redaction import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from atlasjobs.output.json_output import JsonReport
    from atlasjobs.output.lines import Planned
    from atlasstore.events import Subscriber
    from atlasstore.plans import Lines, Plan

__all__ = ["Output"]

Report = TypeVar("Report")


class Output:
    """The output of one verb.

    Parameters
    ----------
    json_target
        Value of ``--json``: a path or URL, ``-``, or None.
    """

    def __init__(self, json_target: str | None = None) -> None:
        self._json_target = json_target
        self.console = Console(stderr=json_target == "-", highlight=False, soft_wrap=True)

    @property
    def is_live(self) -> bool:
        """Whether text goes to a terminal that can redraw."""
        return self.console.is_terminal and not self.console.is_dumb_terminal

    def line(self, text: str = "", *, style: str = "") -> None:
        """Print one line; brackets are no markup."""
        self.console.print(Text(shown(text), style=style))

    def facts(self, title: str, rows: Lines) -> None:
        """Print a title and aligned lines of what and value."""
        self.line(title, style="bold")
        width = max((len(name) for name, _ in rows), default=0)
        for name, value in rows:
            self.console.print(Text.assemble((f"  {name:<{width}}  ", "cyan"), shown(value)))

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print aligned columns: the first to the left, the others, figures, to the right."""
        widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
        for number, (first, *others) in enumerate((header, *rows)):
            cells = (f"{cell:>{width + 2}}" for cell, width in zip(others, widths[1:], strict=True))
            self.line(f"  {first:<{widths[0]}}{''.join(cells)}", style="" if number else "dim")

    def error(self, message: str) -> None:
        """Print one sentence on what went wrong to standard error."""
        tell_error(message)

    def report(self, title: str, rows: Lines, report: JsonReport) -> None:
        """Print a report, and write it where ``--json`` said."""
        self.facts(title, rows)
        self.json(report.as_json())

    def plan(self, plan: Planned) -> None:
        """Print what ``--dry-run`` found, and write it where ``--json`` said."""
        self.report(f"{plan.title} (dry run: nothing is written)", plan.lines(), plan)

    def carry_out(
        self,
        plan: Plan[Report],
        *,
        dry_run: bool,
        epochs: int | None = None,
        log_to: Sequence[str] | None = None,
    ) -> Report | None:
        """Run a plan and show its events; print it, and return None, with ``--dry-run``.

        Parameters
        ----------
        epochs
            As for `watching`.
        log_to
            Trackers that the events go to as well.
        """
        from atlasbasset.loggers.log_to import check_targets
        from atlasbasset.loggers.log_to import log_to as logging_to

        check_targets(log_to or ())
        if dry_run:
            self.plan(plan)
            return None
        with (
            self.watching(epochs=epochs) as view,
            logging_to(*(log_to or ()), on_event=view) as on_event,
        ):
            return plan.run(on_event=on_event)

    def json(self, values: Mapping[str, object]) -> None:
        """Write `values` where ``--json`` said, if it did."""
        if self._json_target is not None:
            json_output.write(values, self._json_target, stdout=sys.stdout)

    @contextmanager
    def watching(self, *, epochs: int | None = None) -> Iterator[Subscriber]:
        """Show the events of work: bars on a terminal, now and then a line elsewhere.

        Parameters
        ----------
        epochs
            Epochs at most, for a training whose workers do not say.
        """
        from atlasjobs.output.progress import LiveView, PlainView

        view = LiveView(self, epochs) if self.is_live else PlainView(self, epochs)
        with view:
            yield _logged(view)


def _logged(view: Subscriber) -> Subscriber:
    """Return a view whose events are also logged as JSON, where ``ATLASBASSET_LOG`` says so."""
    if not os.environ.get("ATLASBASSET_LOG"):
        return view
    from atlasbasset.cluster.event_log import logged

    return logged(view)
