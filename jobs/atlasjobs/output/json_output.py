"""Reports as JSON that any reader takes: no NaN, no numpy types, no credentials in URLs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from atlasstore.redaction import shown

if TYPE_CHECKING:
    from typing import TextIO

__all__ = ["JsonReport", "as_text", "plain", "write"]


class JsonReport(Protocol):
    """What every verb returns."""

    def as_json(self) -> Mapping[str, Any]:
        """Return JSON values."""
        ...


def plain(value: Any) -> Any:
    """Return `value` of JSON types only; NaN and infinities become None, as JSON has neither."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int)) else shown(value)


def as_text(values: Mapping[str, Any]) -> str:
    """Return indented JSON."""
    return json.dumps(plain(values), indent=2) + "\n"


def write(values: Mapping[str, Any], target: str, *, stdout: TextIO) -> None:
    """Write JSON to the path or URL `target`, replacing it whole; ``-`` is `stdout`."""
    if target == "-":
        stdout.write(as_text(values))
        stdout.flush()
        return
    from atlasstore.files import urls

    urls.write_bytes(target, as_text(values).encode())
