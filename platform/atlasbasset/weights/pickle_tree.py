"""A pickle read as plain data: nothing that it names is imported, and nothing is called.

A pickle is a program for a stack machine. This reader runs the instructions that put values
together (text, numbers, tuples, lists, dicts) and *notes* those that would name, call or change
something: a name becomes `Name`, a call becomes `Call` with its arguments, an object's state is
noted on its `Call`. What the caller does not know it ignores. So a file can do no more here than
describe values; files that use other instructions are refused.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Call", "Name", "Persistent", "read_pickle_tree"]


@dataclass(frozen=True, slots=True)
class Name:
    """What the pickle names, such as ``torch._utils._rebuild_tensor_v2``."""

    dotted: str


@dataclass(slots=True, eq=False)
class Call:
    """A call the pickle asks for; it is not made."""

    function: Any
    args: tuple[Any, ...]
    items: dict[Any, Any] = field(default_factory=dict)
    """Items set on the object (an OrderedDict's entries)."""
    state: Any = None
    """State handed to the object (a numpy array's values)."""


@dataclass(frozen=True, slots=True)
class Persistent:
    """A reference to bytes outside of the pickle (a tensor's storage)."""

    key: Any


class _Mark:
    """Where a run of values on the stack begins."""


_MARK = _Mark()


class _Machine:
    """The stack and the memo, and one method for each kind of instruction."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def above_mark(self) -> list[Any]:
        """Take everything above the last mark off the stack, and the mark."""
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1
        values = self.stack[at + 1 :]
        del self.stack[at:]
        return values

    def take(self, count: int) -> tuple[Any, ...]:
        """Take `count` values off the stack, in their order."""
        if len(self.stack) < count:
            raise IndexError("the stack is empty")
        values = tuple(self.stack[len(self.stack) - count :])
        del self.stack[len(self.stack) - count :]
        return values

    def set_items(self, flat: list[Any]) -> None:
        """Set key, value, key, value, ... on the dict (or noted object) on top of the stack."""
        target = self.stack[-1]
        items = target.items if isinstance(target, Call) else target
        items.update(zip(flat[::2], flat[1::2], strict=True))

    def note_state(self) -> None:
        """Note the state of the object below it."""
        (state,) = self.take(1)
        if isinstance(self.stack[-1], Call):
            self.stack[-1].state = state

    def note_call(self) -> None:
        """Note a call: function and arguments."""
        function, args = self.take(2)
        self.stack.append(Call(function, tuple(args)))


def _pushed(value: Callable[[Any], Any]) -> Callable[[_Machine, Any], None]:
    return lambda machine, arg: machine.stack.append(value(arg))


def _tuple(count: int) -> Callable[[_Machine, Any], None]:
    return lambda machine, _: machine.stack.append(machine.take(count))


def _remember(machine: _Machine, arg: Any) -> None:
    machine.memo[len(machine.memo) if arg is None else arg] = machine.stack[-1]


def _append(machine: _Machine, values: list[Any]) -> None:
    machine.stack[-1].extend(values)


_NUMBERS = ("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT")
_TEXTS = ("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING")
_BYTES = ("BINBYTES", "SHORT_BINBYTES", "BINBYTES8")

_INSTRUCTIONS: dict[str, Callable[[_Machine, Any], object]] = {
    **{name: _pushed(lambda arg: arg) for name in (*_NUMBERS, *_TEXTS, *_BYTES)},
    "NONE": _pushed(lambda _: None),
    "NEWTRUE": _pushed(lambda _: True),
    "NEWFALSE": _pushed(lambda _: False),
    "MARK": _pushed(lambda _: _MARK),
    "EMPTY_DICT": _pushed(lambda _: {}),
    "EMPTY_LIST": _pushed(lambda _: []),
    "EMPTY_TUPLE": _tuple(0),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "TUPLE": lambda m, _: m.stack.append(tuple(m.above_mark())),
    "APPEND": lambda m, _: _append(m, list(m.take(1))),
    "APPENDS": lambda m, _: _append(m, m.above_mark()),
    "SETITEM": lambda m, _: m.set_items(list(m.take(2))),
    "SETITEMS": lambda m, _: m.set_items(m.above_mark()),
    "GLOBAL": _pushed(lambda arg: Name(arg.replace(" ", "."))),
    "STACK_GLOBAL": lambda m, _: m.stack.append(Name(".".join(m.take(2)))),
    "REDUCE": lambda m, _: m.note_call(),
    "NEWOBJ": lambda m, _: m.note_call(),
    "BUILD": lambda m, _: m.note_state(),
    "BINPERSID": lambda m, _: m.stack.append(Persistent(*m.take(1))),
    "BINPUT": _remember,
    "LONG_BINPUT": _remember,
    "MEMOIZE": _remember,
    "BINGET": lambda m, arg: m.stack.append(m.memo[arg]),
    "LONG_BINGET": lambda m, arg: m.stack.append(m.memo[arg]),
    "PROTO": lambda _m, _: None,
    "FRAME": lambda _m, _: None,
}


def read_pickle_tree(content: bytes) -> Any:
    """Return what a pickle describes.

    Raises
    ------
    ValueError
        When the bytes are no pickle, or one with instructions that are not read here.
    """
    machine = _Machine()
    try:
        for opcode, arg, _ in pickletools.genops(content):
            if opcode.name == "STOP":
                break
            _INSTRUCTIONS[opcode.name](machine, arg)
        return machine.stack[-1]
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"the pickle cannot be read as data ({error!r})") from error
