"""Numbers as a user reads them: bytes, seconds, counts."""

from __future__ import annotations

import math

__all__ = ["count", "counted", "duration", "rate", "share", "size", "stored_text"]

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400
_BYTE_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


def count(value: float) -> str:
    """Return a whole number with thousands set apart: ``1,234,567``."""
    return f"{value:,.0f}"


def counted(value: float, units: str) -> str:
    """Return a number of units, named in the plural: ``4 cells``, of one ``1 cell``."""
    first, blank, rest = units.partition(" ")
    return f"{count(value)} {first.removesuffix('s') if value == 1 else first}{blank}{rest}"


def rate(per_s: float, unit: str) -> str:
    """Return how many a second: ``1,234 cells/s``; two figures of slow ones, ``0.52 regions/s``."""
    return f"{count(per_s) if per_s >= 10 else format(per_s, '.2g')} {unit}/s"


def size(n_bytes: float) -> str:
    """Return bytes in decimal units, three figures: ``9.62 MB``."""
    power = min(int(math.log10(max(n_bytes, 1)) // 3), len(_BYTE_UNITS) - 1)
    scaled = n_bytes / 1000**power
    digits = 0 if power == 0 else max(0, 2 - int(math.log10(max(scaled, 1))))
    return f"{scaled:,.{digits}f} {_BYTE_UNITS[power]}"


def stored_text(n_bytes: int) -> str:
    """Return the size of a store; of a server that lists no files it is not known, 0."""
    return size(n_bytes) if n_bytes else "not known: the server lists no files"


def duration(seconds: float) -> str:
    """Return a time in at most two units: ``0.8 s``, ``42 s``, ``3 min 05 s``, ``2 d 4 h``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _MINUTE_S:
        return f"{whole} s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min {whole % _MINUTE_S:02d} s"
    if whole < _DAY_S:
        return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S:02d} min"
    return f"{whole // _DAY_S} d {whole % _DAY_S // _HOUR_S} h"


def share(value: float) -> str:
    """Return a share 0..1 in percent: ``5.3 %``."""
    return f"{100 * value:.3g} %"
