"""What every plan can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atlasstore.events import Progress, ignore
from atlasstore.plans import Plan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atlasstore.events import Subscriber
    from atlasstore.plans import Lines


@dataclass(frozen=True, eq=False, repr=False)
class CountPlan(Plan[int]):
    n: int

    @property
    def title(self) -> str:
        return f"Would count to {self.n}"

    def lines(self) -> Lines:
        return [("to", str(self.n)), ("memory", "none")]

    def values(self) -> Mapping[str, Any]:
        return {"n": self.n}

    def _run(self, on_event: Subscriber) -> int:
        on_event(Progress("counting", self.n, self.n, "numbers"))
        return self.n


def test_a_plan_is_read_as_lines_and_as_json() -> None:
    plan = CountPlan(3)
    assert str(plan) == "Would count to 3\n  to      3\n  memory  none"
    assert repr(plan) == "<CountPlan: Would count to 3>"
    assert plan.as_json() == {"dry_run": True, "n": 3}


def test_running_a_plan_tells_its_events() -> None:
    told: list[object] = []
    assert CountPlan(3).run(on_event=told.append) == 3
    assert told == [Progress("counting", 3, 3, "numbers")]
    assert CountPlan(4).run(on_event=ignore) == 4
