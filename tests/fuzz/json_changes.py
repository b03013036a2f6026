"""Changes of JSON values; in the root metadata of stores with a digest that fits, or without."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from atlasstore.zarrio.metadata import DIGEST, digest
from fuzz.changes import ODD_TEXTS, Change, on_bytes, pick

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fuzz.changes import Numbers

__all__ = ["JSON", "METADATA", "changed_json"]

_LONG, _DEEP = "\u0001long\u0001", "\u0001deep\u0001"
"""Stand for what `json` itself does not write."""
_ODD = (
    None, True, False, 0, -1, 1, 3, 1.5, -0.0, 10**6, 10**9, 2**31, 2**53 + 1, 2**63, 10**15,
    10**40, 1e308, float("nan"), float("inf"), "", [], {}, [[]], [None], ["a"], [0], [-1],
    {"": None}, _LONG, _DEEP,
)  # fmt: skip


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (container, key) of everything below a value."""
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in list(keys):
        yield value, key
        yield from _places(value[key])


def _change(value: Any, numbers: Numbers) -> None:
    places = list(_places(value))
    if not places:
        return
    container, key = pick(places, numbers[0])
    how = numbers[1] % 8
    if how < 4:
        container[key] = pick(_ODD, numbers[2])
    elif how == 4:
        container[key] = pick(ODD_TEXTS, numbers[2])
    elif how == 5:
        del container[key]
    elif how == 6:
        other, at = pick(places, numbers[2])
        container[key] = json.loads(json.dumps(other[at]))
    else:
        container[key] = [container[key]] * (numbers[2] % 3)


def _written(value: Any) -> bytes:
    text = json.dumps(value).replace(json.dumps(_LONG), "9" * 5000)
    return text.replace(json.dumps(_DEEP), "[" * 2000 + "]" * 2000).encode()


def changed_json(content: bytes, numbers: Numbers) -> bytes:
    """Return JSON with one value changed."""
    value = json.loads(content)
    _change(value, numbers)
    return _written(value)


def _metadata(*, keep: bool) -> Any:
    def apply(folder: Path, numbers: Numbers) -> None:
        path = folder / "zarr.json"
        root = json.loads(path.read_text())
        _change(root, numbers)
        attributes = root.get("attributes")
        if isinstance(attributes, dict) and attributes.pop(DIGEST, None) and keep:
            attributes[DIGEST] = digest(json.loads(_written(root)))
        path.write_bytes(_written(root))

    return apply


JSON = (
    Change("a value", on_bytes(changed_json)),
    Change("a value once more", on_bytes(changed_json)),
    Change("deep", on_bytes(lambda _, n: b"[" * (n[0] % 200_000))),
)
METADATA = (
    Change("root without digest", _metadata(keep=False)),
    Change("root with a digest", _metadata(keep=True)),
)
"""Not sealed: whoever writes the digest, or leaves it out, may write other values."""
