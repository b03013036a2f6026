"""What is fuzzed: valid files, how they may be changed, and how they are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from fuzz.changes import Change

__all__ = ["Step", "Target", "steps_of"]

Step = tuple[str, str, int, int, int]
"""File, change, and the change's three numbers."""
_MOST_STEPS = 3


@dataclass(frozen=True)
class Target:
    """One reader."""

    name: str
    make: Callable[[Path], None]
    """Write the valid files into a folder; in a process of its own."""
    read: Callable[[Path], str]
    """Read them as a user would; return all that was read as text."""
    files: Mapping[str, tuple[Change, ...]]
    """File (or folder) -> changes of it."""
    is_input: bool = True
    """Whether only a `UserInputError` is right where the files are refused."""

    def change(self, folder: Path, steps: Sequence[Step]) -> bool:
        """Change the files in `folder`; return whether every step is sealed."""
        sealed, plain = [], set()
        for file, name, *numbers in steps:
            found = [c for c in self.files[file] if c.label == name]
            found[0].apply(folder / file, (numbers[0], numbers[1], numbers[2]))
            sealed.append(found[0].is_sealed and file not in plain)
            plain |= {file} if found[0].unseals else set()
        return all(sealed)


def steps_of(target: Target) -> st.SearchStrategy[list[Step]]:
    """Return a strategy of one to three changes of a target's files."""
    numbers = st.integers(0, 2**32 - 1)
    changes = [(file, c.label) for file, found in target.files.items() for c in found]
    one = st.tuples(st.sampled_from(changes), numbers, numbers, numbers)
    flat = one.map(lambda drawn: (*drawn[0], *drawn[1:]))
    return st.lists(flat, min_size=1, max_size=_MOST_STEPS)
