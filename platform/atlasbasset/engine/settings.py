"""Settings of a dataclass, each declared once: type, default, bounds and help at its field.

::

    @documented
    @dataclass(frozen=True, kw_only=True, slots=True)
    class TrainConfig:
        epochs: Annotated[int, Setting("Epochs at most.", above=0)] = 8

`declared` lists them: the class's documentation, its checks, the command line's options and their
help follow from that list.
"""

from __future__ import annotations

import math
import textwrap
from dataclasses import MISSING, dataclass, fields
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    NamedTuple,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

from atlasstore.errors import UserInputError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Declared", "Setting", "check_settings", "declared", "documented"]

_Class = TypeVar("_Class", bound=type)


@dataclass(frozen=True, slots=True)
class Setting:
    """What is known of a field in addition to its type and default."""

    help: str
    """One or two sentences, with the unit."""
    panel: str = ""
    """Heading under which the command line lists it."""
    above: float | None = None
    """Lower bound, exclusive."""
    least: float | None = None
    """Lower bound, inclusive."""
    below: float | None = None
    """Upper bound, exclusive; goes with `least`."""
    metavar: str | None = None
    """What the command line's help shows in place of the type."""

    @property
    def bounds(self) -> str:
        """Say what is allowed; empty where everything is."""
        if self.below is not None:
            return f"in [{self.least:g}, {self.below:g})"
        if self.above is not None:
            return f"above {self.above:g}"
        return "" if self.least is None else f"{self.least:g} or more"

    def allows(self, value: float) -> bool:
        """Whether a number is within the bounds."""
        return (
            (self.above is None or value > self.above)
            and (self.least is None or value >= self.least)
            and (self.below is None or value < self.below)
        )


class Declared(NamedTuple):
    """A setting as it stands in its class."""

    name: str
    kind: Any
    """Its type, as annotated."""
    default: Any
    setting: Setting

    @property
    def choices(self) -> tuple[str, ...]:
        """The allowed words of a `Literal`; empty for another type."""
        return get_args(self.kind) if get_origin(self.kind) is Literal else ()

    @property
    def kind_text(self) -> str:
        """Its type as documentation shows it."""
        if self.choices:
            return "{" + ", ".join(repr(choice) for choice in self.choices) + "}"
        return str(self.kind) if isinstance(self.kind, UnionType) else str(self.kind.__name__)

    def check(self, value: Any) -> None:
        """Raise UserInputError unless `value` is allowed."""
        if self.choices and value not in self.choices:
            allowed = ", ".join(self.choices)
            raise UserInputError(f"{self.name} must be one of {allowed}, got {value!r}.")
        if isinstance(value, float) and not math.isfinite(value):
            raise UserInputError(f"{self.name} must be a finite number, got {value}.")
        if isinstance(value, int | float) and not self.setting.allows(value):
            raise UserInputError(f"{self.name} must be {self.setting.bounds}, got {value}.")


def declared(cls: type) -> Mapping[str, Declared]:
    """Return the settings of a dataclass by name, in the order of its fields."""
    hints = get_type_hints(cls, include_extras=True)
    found = {}
    for field in fields(cls):
        kind, *notes = get_args(hints[field.name]) or (None,)
        for note in notes:
            if isinstance(note, Setting):
                found[field.name] = Declared(field.name, kind, field.default, note)
    return found


def check_settings(config: Any) -> None:
    """Raise UserInputError unless every setting of `config` has a value that is allowed."""
    for name, setting in declared(type(config)).items():
        setting.check(getattr(config, name))


def documented(cls: _Class) -> _Class:
    """Add the settings to a class's documentation, as numpydoc's section on attributes."""
    lines = ["", "Attributes", "----------"]
    for name, found in declared(cls).items():
        default = "" if found.default is MISSING else f", default {found.default!r}"
        bounds = f" ({found.setting.bounds})" if found.setting.bounds else ""
        lines.append(f"{name} : {found.kind_text}{default}")
        text = f"{found.setting.help.rstrip('.')}{bounds}."
        lines += textwrap.wrap(text, 92, initial_indent="    ", subsequent_indent="    ")
    cls.__doc__ = f"{textwrap.dedent(cls.__doc__ or '').rstrip()}\n" + "\n".join(lines) + "\n"
    return cls
