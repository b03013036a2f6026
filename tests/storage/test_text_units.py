from __future__ import annotations

import pytest

from atlasstore.text_units import count, counted, duration, rate, share, size


@pytest.mark.parametrize(
    ("value", "units", "text"),
    [
        (1, "groups", "1 group"),
        (0, "groups", "0 groups"),
        (2_000, "cells", "2,000 cells"),
        (1, "cells of adata", "1 cell of adata"),
        (1, "", "1 "),
    ],
)
def test_counted(value: float, units: str, text: str) -> None:
    assert counted(value, units) == text


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.00 kB"),
        (12_345, "12.3 kB"),
        (236e9, "236 GB"),
        (5e18, "5,000 PB"),
    ],
)
def test_size(n_bytes: float, text: str) -> None:
    assert size(n_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.96, "10.0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.7, "1 h 00 min"),
        (7380, "2 h 03 min"),
        (187_200, "2 d 4 h"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_count_and_share() -> None:
    assert count(1_114_621) == "1,114,621"
    assert share(0.0534) == "5.34 %"


@pytest.mark.parametrize(
    ("per_s", "text"),
    [(0.5234, "0.52 cells/s"), (9.96, "10 cells/s"), (12_345.6, "12,346 cells/s")],
)
def test_rate(per_s: float, text: str) -> None:
    assert rate(per_s, "cells") == text
