"""What a verb would do, known before it begins: checked input, sizes, and the way to run it.

A verb builds its plan and runs it; ``--dry-run`` prints the same plan. So checks and sizes are
computed in one place::

    plan = atlasbasset.plan_denoise(model, atlas, out="denoised.zarr")
    print(plan)             # lines of what and value
    plan.as_json()          # the same numbers, JSON values
    plan.run()              # what atlasbasset.denoise(...) does
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from atlasstore.notebook import html_table
from atlasstore.progress import shown

if TYPE_CHECKING:
    from atlasstore.events import Subscriber

__all__ = ["Lines", "Plan", "aligned"]

Lines = Sequence[tuple[str, str]]
"""What, and its value with its unit."""

Report = TypeVar("Report", covariant=True)


class Plan(ABC, Generic[Report]):
    """Checked input of a verb. Making one writes nothing; `run` does the verb's work."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What would be done, in a few words."""

    @abstractmethod
    def lines(self) -> Lines:
        """Return what will be read, written and held, for people."""

    @abstractmethod
    def values(self) -> Mapping[str, Any]:
        """Return the same numbers by name, JSON values; units stand in the names."""

    @abstractmethod
    def _run(self, on_event: Subscriber) -> Report:
        """Do the work."""

    def run(self, *, on_event: Subscriber | None = None) -> Report:
        """Do what is planned.

        Parameters
        ----------
        on_event
            Called with every event; by default a bar is shown on a terminal or in a notebook.

        Returns
        -------
        report
            What the verb of this plan returns.
        """
        with shown(on_event) as subscriber:
            return self._run(subscriber)

    def as_json(self) -> dict[str, Any]:
        """Return JSON values, as ``--dry-run --json`` writes them."""
        return {"dry_run": True, **self.values()}

    def __str__(self) -> str:
        return "\n".join([self.title, *aligned(self.lines())])

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.title}>"

    def _repr_html_(self) -> str:
        return html_table(self.title, self.lines())


def aligned(lines: Lines) -> list[str]:
    """Return a text for each line, the values below one another."""
    width = max((len(name) for name, _ in lines), default=0)
    return [f"  {name:<{width}}  {value}" for name, value in lines]
