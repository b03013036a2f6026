"""Receipts of a stage's units, many to a file, written where the units were done.

::

    <stage>/<first unit>-<random>.json      [[index, unit, receipt], ...], sealed

A receipt is taken when it is of the unit that the job has at this index now.
"""

from __future__ import annotations

import json
import uuid
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from atlasstore.errors import CorruptStoreError
from atlasstore.files import urls
from atlasstore.files.json_text import parsed_json
from atlasstore.files.sealed import unsealed, write_sealed
from atlasstore.redaction import shown_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["Receipts", "Row", "write_receipts"]

_FILES_AT_ONCE = 256

Row = tuple[int, "Mapping[str, int]", "Mapping[str, Any]"]
"""Index of a unit, the unit, its receipt."""


class Receipts:
    """The receipts of one stage.

    Parameters
    ----------
    url
        Folder of this stage of this job alone.
    units
        The stage's units.

    Attributes
    ----------
    url
        The folder.
    done
        Which units have a receipt, bool (n_units,).
    """

    def __init__(self, url: str, units: Sequence[Mapping[str, int]]) -> None:
        self.url, self._units = url, units
        self.done: NDArray[np.bool_] = np.zeros(len(units), bool)
        for index, _ in self:
            self.done[index] = True

    def mark(self, indices: NDArray[np.int64]) -> None:
        """Note that units are done, their receipts written."""
        self.done[indices] = True

    def undo(self, indices: Sequence[int]) -> None:
        """Let units be done again; their receipts stay, and equal those that will follow."""
        self.done[np.asarray(indices, np.int64)] = False

    def __iter__(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Yield (index, receipt), read again from the files; a unit done twice comes twice."""
        for content in _contents(self.url):
            for index, unit, receipt in content:
                if 0 <= index < len(self._units) and self._units[index] == unit:
                    yield index, receipt

    def load(self) -> list[Mapping[str, Any]]:
        """Return all receipts in the order of the units.

        Raises
        ------
        CorruptStoreError
            One is missing.
        """
        found = dict(self)
        if missing := len(self._units) - len(found):
            raise CorruptStoreError(
                f"{self.url} lacks the receipts of {missing:,} of {len(self._units):,} units; "
                "run the same command again."
            )
        return [found[index] for index in range(len(self._units))]


def write_receipts(url: str, rows: Iterable[Row]) -> str:
    """Write receipts to a file of their own below `url`, and return its URL."""
    values = [[index, dict(unit), shown_values(receipt)] for index, unit, receipt in rows]
    name = f"{values[0][0]:09d}-{uuid.uuid4().hex}.json"
    content = json.dumps(values, separators=(",", ":"))
    write_sealed(urls.join(url, name), content.encode())
    return urls.join(url, name)


def _contents(url: str) -> Iterator[list[Any]]:
    """Yield the files of a folder, parsed, some of them in memory at a time."""
    names = iter(
        name
        for name in urls.list_names(url)
        if name.endswith(".json") and not name.startswith(".")  # a killed process's half file
    )
    while some := list(islice(names, _FILES_AT_ONCE)):
        found = urls.read_files(url, some)
        for name in sorted(found):
            try:
                content = [
                    [int(index), dict(unit), dict(receipt)]
                    for index, unit, receipt in parsed_json(unsealed(found[name], name))
                ]
            except (ValueError, TypeError) as error:
                raise CorruptStoreError(
                    f"{urls.join(url, name)} cannot be read ({error}); a disk or a power failure "
                    "has damaged it: delete the file and run the same command again."
                ) from error
            yield content
