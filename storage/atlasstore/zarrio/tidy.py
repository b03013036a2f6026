"""Any table of a person made into one that a store holds: names that are legal, columns of a type.

Nothing is refused and no value is dropped. A name that cannot be stored is changed, and so is the
name of one of two columns that differ only by case: file systems and zarr's consolidated metadata
take the two for one. A column becomes a category of text, a number, or a boolean or integer with
missing values.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from natsort import natsorted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Column = pd.Series[Any]

__all__ = ["Tidy", "as_category", "set_aside", "stack", "tidy", "with_legal_names"]

_MOST_BYTES = 200
"""Of a name: a file's name has 255 at most."""
_RESERVED = {"", ".", "..", "_index", "zarr.json"}
_EXACT = 1 << 53
"""Whole numbers up to here are floats without loss."""


@dataclass(frozen=True)
class Tidy:
    """A table that can be stored."""

    table: pd.DataFrame
    """Its columns under the names that they are stored by."""
    shown: dict[str, str] = field(default_factory=dict)
    """Stored name -> name, where it differs only so that no two are alike but for case."""
    notices: tuple[str, ...] = ()
    """One sentence for each name or kind of column that was changed."""

    @property
    def named(self) -> pd.DataFrame:
        """The table with its columns by the names that a reader sees."""
        return self.table.rename(columns=self.shown)


def tidy(table: pd.DataFrame) -> Tidy:
    """Return `table` with names and columns that can be stored, its index as text.

    Parameters
    ----------
    table
        Columns of any names and kinds; the names may repeat.
    """
    legal, notices = with_legal_names(table)
    columns = [_typed(legal.iloc[:, at]) for at in range(legal.shape[1])]
    stored = _unlike_but_for_case(list(legal.columns))
    index = pd.Index([_clean(str(name)) for name in table.index], dtype=object)
    if isinstance(table.index.name, str) and _is_free(table.index.name, stored):
        index.name = table.index.name
    made = dict(zip(stored, (column.array for column in columns), strict=True))
    shown = {new: old for new, old in zip(stored, legal.columns, strict=True) if new != old}
    alike = [
        f"The column {old!r} is stored as {new!r}: another one differs from it only by case."
        for new, old in shown.items()
    ]
    return Tidy(pd.DataFrame(made, index=index), shown, (*notices, *alike))


def with_legal_names(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return `table` with names that can be stored, each once, and a sentence for each change.

    Its numbers are in this machine's byte order then.
    """
    names: list[str] = []
    wanted = [_legal(name) for name in table.columns]
    for at, (name, given) in enumerate(zip(wanted, table.columns, strict=True)):
        others = {*names, *(wanted[at + 1 :] if name != given else ())}
        names.append(_free_name(name, others))
    notices = [
        f"The column {given!r} is called {name!r}: "
        + ("its name is there twice." if name != _legal(given) else "its name cannot be stored.")
        for given, name in zip(table.columns, names, strict=True)
        if name != str(given)
    ]
    renamed = table.copy(deep=False)
    renamed.columns = pd.Index(names, dtype=object)
    foreign = {n: d.newbyteorder("=") for n, d in renamed.dtypes.items() if _is_foreign(d)}
    return renamed.astype(foreign), notices


def _is_foreign(dtype: Any) -> bool:
    """Whether numbers are in the byte order of other machines, which pandas cannot compute with."""
    return isinstance(dtype, np.dtype) and not dtype.isnative


def stack(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the rows of all tables; a column that a table lacks is missing there.

    Columns of one kind in all tables keep it. Others are objects, each value as it was: pandas
    would make floats of whole numbers, and drop what it takes for empty.
    """
    names = list(dict.fromkeys(name for table in tables for name in table.columns))
    differing = [n for n in names if len({str(t[n].dtype) if n in t else "" for t in tables}) > 1]
    differing += [n for n in names if n not in differing and _is_category(tables[0][n])]
    plain = [_with_objects(table.reindex(columns=names), differing) for table in tables]
    return pd.concat(plain)


def _is_category(column: Column) -> bool:
    return isinstance(column.dtype, pd.CategoricalDtype)


def _with_objects(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    return table.astype(dict.fromkeys(names, object))


def set_aside(table: pd.DataFrame, name: str, *, taken: Iterable[str] = ()) -> pd.DataFrame:
    """Return a copy in which an own column `name` is called ``input_NAME``, to make room.

    Where that name is a column's already, or one of `taken`, it is ``input_input_NAME``, and so on.
    """
    used, free = {*table.columns, *taken}, f"input_{name}"
    while free in used:
        free = f"input_{free}"
    return table.rename(columns={name: free}).copy()


def _free_name(name: str, taken: Iterable[str]) -> str:
    """Return `name`, with ``_2``, ``_3``, ... behind it where it is taken."""
    used, number, free = set(taken), 1, name
    while free in used:
        number += 1
        free = f"{name}_{number}"
    return free


def _legal(name: object) -> str:
    text = _clean(str(name))
    text = "".join("_" if c in "/\\" or unicodedata.category(c) == "Cc" else c for c in text)
    text = _cut(text.strip().rstrip("."))
    if text.lower() in _RESERVED or text.startswith("__"):
        text = f"input{text}" if text.startswith("_") else f"input_{text}"
    return text


def _cut(text: str) -> str:
    return text.encode()[:_MOST_BYTES].decode(errors="ignore")


def _is_free(name: str, taken: Iterable[str]) -> bool:
    return _legal(name) == name and _folded(name) not in set(map(_folded, taken))


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


def _unlike_but_for_case(names: list[str]) -> list[str]:
    """Return names no two of which differ only by case; of two, the one in small letters stays."""
    stored, used = list(names), set[str]()
    for at in sorted(range(len(names)), key=lambda at: names[at] != names[at].lower()):
        number = 1
        while _folded(stored[at]) in used:
            number += 1
            stored[at] = f"{names[at]}_{number}"
        used.add(_folded(stored[at]))
    return stored


def _typed(column: Column) -> Column:
    """Return a column of a dtype that can be stored."""
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _with_typed_categories(column)
    if isinstance(dtype, pd.SparseDtype):
        return _typed(pd.Series(np.asarray(column.array), index=column.index))
    if isinstance(dtype, np.dtype) and dtype.kind in "biuf" and dtype.itemsize <= 8:
        return column
    if _is_number(dtype):
        return _numbers(column)
    if dtype.kind == "O":
        return _of_objects(column)
    return _text(column)


def _is_number(dtype: Any) -> bool:
    return bool(pd.api.types.is_bool_dtype(dtype) or pd.api.types.is_numeric_dtype(dtype)) and (
        getattr(dtype, "kind", "O") in "biuf"
    )


def _numbers(column: Column) -> Column:
    """Return booleans and whole numbers as they are, missing ones too, and all else as float64."""
    kind = column.dtype.kind
    if kind == "f":
        return pd.Series(column.to_numpy(np.float64, na_value=np.nan), index=column.index)
    dtype: Any = column.dtype
    if isinstance(dtype, pd.ArrowDtype):
        dtype = {"b": pd.BooleanDtype(), "u": pd.UInt64Dtype()}.get(kind, pd.Int64Dtype())
    numbers = column.astype(dtype)
    return numbers if numbers.isna().any() else numbers.astype(dtype.numpy_dtype)


def _of_objects(column: Column) -> Column:
    found = column[column.notna()]
    kinds = {type(value) for value in found}
    if kinds and all(issubclass(kind, (bool, np.bool_)) for kind in kinds):
        return _numbers(column.where(column.notna(), pd.NA).astype("boolean"))
    if kinds and all(issubclass(kind, (bool, int, float, np.bool_, np.number)) for kind in kinds):
        return _of_numbers(column, found)
    return _text(column)


def _of_numbers(column: Column, found: Column) -> Column:
    """Return Python's numbers of several kinds as one column; text where a float would round."""
    if any(isinstance(value, (complex, np.complexfloating)) for value in found):
        return _text(column)
    whole = all(isinstance(value, (bool, int, np.bool_, np.integer)) for value in found)
    if whole and all(abs(int(value)) < 1 << 63 for value in found):
        values = [pd.NA if pd.isna(value) else int(value) for value in column]
        return _numbers(pd.Series(pd.array(values, dtype="Int64"), index=column.index))
    rounds = (isinstance(v, (int, np.integer)) and abs(int(v)) > _EXACT for v in found)
    if any(rounds):
        return _text(column)
    return pd.Series(pd.to_numeric(column, errors="coerce").astype(np.float64), index=column.index)


def as_category(column: Column) -> Column:
    """Return a column of text as a category, in natural order (donor2 before donor10)."""
    return _text(column)


def _text(column: Column) -> Column:
    """Return the values' text as a category; missing values stay missing."""
    missing = column.isna().to_numpy()
    values = [None if gone else _as_text(v) for v, gone in zip(column, missing, strict=True)]
    codes, texts = pd.factorize(np.array(values, dtype=object))
    return pd.Series(_category(codes, list(texts)), index=column.index)


def _with_typed_categories(column: Column) -> Column:
    """Return a category whose categories are text, numbers or booleans."""
    categories = column.cat.categories
    if isinstance(categories.dtype, np.dtype) and categories.dtype.kind in "biuf":
        return column
    codes = column.cat.codes.to_numpy()
    texts = [_as_text(value) for value in categories]
    made = _category(codes, texts, is_ordered=column.cat.ordered)
    return pd.Series(made, index=column.index)


def _category(
    codes: np.ndarray[Any, Any], texts: list[str], *, is_ordered: bool | None = None
) -> pd.Categorical[Any]:
    """Return a category of texts, of which several may be equal; in natural order by default."""
    order = list(dict.fromkeys(texts)) if is_ordered is not None else natsorted(set(texts))
    number = {text: at for at, text in enumerate(order)}
    of_code = np.array([*(number[text] for text in texts), -1], np.int64)
    index = pd.Index(order, dtype=object)
    return pd.Categorical.from_codes(of_code[codes], categories=index, ordered=bool(is_ordered))


def _as_text(value: object) -> str:
    if isinstance(value, bytes):
        return _clean(value.decode(errors="backslashreplace"))
    return _clean(str(value))


def _clean(text: str) -> str:
    """Return text that can be encoded, without the NUL that ends text in HDF5."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "")
