"""Changes of what an HDF5 file holds: values, types, shapes, declared sizes, links, attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from fuzz.changes import BYTES, ODD_TEXTS, Change, pick, sealed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fuzz.changes import Numbers

__all__ = ["HDF5"]

_ODD_INTS = (-1, 0, 1, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, -(2**31), -(2**63), 10**6)
_ODD_FLOATS = (np.nan, np.inf, -np.inf, -1.0, 0.5, 1e300, -0.0, 2.0**63, 2.0**53 + 2, 1e-300)
_TYPES = ("i1", "u1", ">i4", "i8", "u8", "f2", "f4", "f8", ">f8", "c8", "?", "S3", "V4", "O")
_ODD_ATTRIBUTES = (
    0, -1, 10**15, np.nan, "", "csr_matrix", "array", "dataframe", "nonsense", "0.1.0", "9.9.9",
    [], [1, 2], ["a"], [10**12, 10**12], b"\xff", True,
)  # fmt: skip


def _datasets(file: h5py.File) -> list[h5py.Dataset]:
    found: list[Any] = []
    file.visititems(lambda _, item: found.append(item))
    return [item for item in found if isinstance(item, h5py.Dataset)]


def _members(file: h5py.File) -> list[str]:
    found: list[str] = []
    file.visit(found.append)
    return found


def _within(change: Callable[[h5py.File, Numbers], None]) -> Callable[[Path, Numbers], None]:
    def apply(path: Path, numbers: Numbers) -> None:
        with h5py.File(path, "r+") as file:
            change(file, numbers)

    return apply


def _replaced(file: h5py.File, dataset: h5py.Dataset, **options: Any) -> None:
    """Put another dataset in the place of one, with its attributes."""
    name, attributes = dataset.name, dict(dataset.attrs)
    del file[name]
    made = file.create_dataset(name, **options)
    made.attrs.update(attributes)


def _odd_value(dataset: h5py.Dataset, number: int) -> Any:
    kind = dataset.dtype.kind
    if kind in "iu":
        info = np.iinfo(dataset.dtype)
        odd = [v for v in (*_ODD_INTS, dataset.size) if info.min <= v <= info.max]
        return pick(odd, number)
    if kind == "f":
        return pick(_ODD_FLOATS, number)
    if kind == "b":
        return bool(number % 2)
    text = pick(ODD_TEXTS, number).encode()
    return text.replace(b"\0", b"?") if kind == "O" else text


def _change_value(file: h5py.File, numbers: Numbers) -> None:
    dataset = pick(_datasets(file), numbers[0])
    values = dataset[()]
    if dataset.ndim == 0:
        dataset[()] = _odd_value(dataset, numbers[1])
    elif dataset.size:
        values.reshape(-1)[numbers[2] % dataset.size] = _odd_value(dataset, numbers[1])
        dataset[...] = values


def _change_all(file: h5py.File, numbers: Numbers) -> None:
    dataset = pick(_datasets(file), numbers[0])
    dataset[...] = _odd_value(dataset, numbers[1])


def _copy_value(file: h5py.File, numbers: Numbers) -> None:
    dataset = pick(_datasets(file), numbers[0])
    if dataset.ndim and dataset.size:
        values = dataset[()]
        flat = values.reshape(-1)
        flat[numbers[1] % dataset.size] = flat[numbers[2] % dataset.size]
        dataset[...] = values


def _change_type(file: h5py.File, numbers: Numbers) -> None:
    dataset = pick(_datasets(file), numbers[0])
    kind = pick(_TYPES, numbers[1])
    values = dataset[()]
    with np.errstate(all="ignore"):
        if kind == "O":
            made = np.array([str(v) for v in np.ravel(values)], dtype=object)
            _replaced(file, dataset, data=made, dtype=h5py.string_dtype())
        else:
            _replaced(file, dataset, data=np.asarray(values).astype(kind))


def _change_shape(file: h5py.File, numbers: Numbers) -> None:
    dataset = pick(_datasets(file), numbers[0])
    values = dataset[()]
    flat = np.ravel(values)
    made = (
        flat[:-1], np.concatenate([flat, flat[:1]]), flat[:0], flat[None], flat[:, None],
        np.repeat(flat, 1000), flat[: len(flat) // 2],
    )  # fmt: skip
    new = pick(made, numbers[1])
    dtype = h5py.string_dtype() if dataset.dtype.kind == "O" else dataset.dtype
    _replaced(file, dataset, data=new, dtype=dtype)


def _declare(file: h5py.File, numbers: Numbers) -> None:
    """Declare far more than is stored."""
    dataset = pick(_datasets(file), numbers[0])
    shape = (10 ** (3 + numbers[1] % 13), *dataset.shape[1:])
    chunks = tuple(min(size, 1 + numbers[2] % (1 << 20)) for size in shape)
    dtype = h5py.string_dtype() if dataset.dtype.kind == "O" else dataset.dtype
    _replaced(file, dataset, shape=shape, dtype=dtype, chunks=chunks)


def _compress(file: h5py.File, numbers: Numbers) -> None:
    dataset = pick(_datasets(file), numbers[0])
    if not dataset.ndim or not dataset.size:
        return
    dtype = h5py.string_dtype() if dataset.dtype.kind == "O" else dataset.dtype
    options = pick(({"compression": "gzip"}, {"fletcher32": True}, {"shuffle": True}), numbers[1])
    _replaced(file, dataset, data=dataset[()], dtype=dtype, chunks=True, **options)


def _delete(file: h5py.File, numbers: Numbers) -> None:
    del file[pick(_members(file), numbers[0])]


def _rename(file: h5py.File, numbers: Numbers) -> None:
    name = pick(_members(file), numbers[0])
    odd = pick(ODD_TEXTS, numbers[1]).replace("\0", "").replace("/", "_")[:200] or "x"
    file.move(name, f"{name.rpartition('/')[0]}/{odd}")


def _swap_members(file: h5py.File, numbers: Numbers) -> None:
    names = _members(file)
    a, b = pick(names, numbers[0]), pick(names, numbers[1])
    if a != b and not a.startswith(b) and not b.startswith(a):
        file.move(a, "swapped")
        file.move(b, a)
        file.move("swapped", b)


def _link(file: h5py.File, numbers: Numbers) -> None:
    name = pick(_members(file), numbers[0])
    del file[name]
    links = (
        h5py.ExternalLink("/etc/hostname", "/x"), h5py.SoftLink("/nowhere"), h5py.SoftLink("/"),
        h5py.SoftLink(f"/{name}"), file["/"],
    )  # fmt: skip
    file[name] = pick(links, numbers[1])


def _store_outside(file: h5py.File, numbers: Numbers) -> None:
    dataset = pick([d for d in _datasets(file) if d.dtype.kind != "O"], numbers[0])
    size = h5py.h5f.UNLIMITED
    _replaced(file, dataset, shape=dataset.shape, dtype=dataset.dtype,
              external=[("/etc/hostname", 0, size)])  # fmt: skip


def _change_attribute(file: h5py.File, numbers: Numbers) -> None:
    held = [file, *(file[name] for name in _members(file))]
    places = [(item, key) for item in held for key in item.attrs]
    if not places:
        return
    item, key = pick(places, numbers[0])
    del item.attrs[key]
    if numbers[2] % 4:
        item.attrs[key] = pick(_ODD_ATTRIBUTES, numbers[1])


def _deepen(file: h5py.File, numbers: Numbers) -> None:
    """Put a member below many groups, in its own place."""
    name = pick(_members(file), numbers[0])
    file.move(name, "moved")
    file.move("moved", f"{name}/{'/'.join('g' * (1 + numbers[1] % 300))}")


HDF5 = (
    *BYTES,
    *sealed([c for c in BYTES if c.name in ("cut", "empty")]),
    Change("a value", _within(_change_value)),
    Change("a value once more", _within(_change_value)),
    Change("all values", _within(_change_all)),
    Change("copied value", _within(_copy_value)),
    Change("type", _within(_change_type)),
    Change("shape", _within(_change_shape)),
    Change("declared size", _within(_declare)),
    Change("filter", _within(_compress), is_sealed=True),
    Change("delete", _within(_delete)),
    Change("rename", _within(_rename)),
    Change("swap members", _within(_swap_members)),
    Change("link", _within(_link)),
    Change("stored outside", _within(_store_outside)),
    Change("attribute", _within(_change_attribute)),
    Change("deep groups", _within(_deepen)),
)
