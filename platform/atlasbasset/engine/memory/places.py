"""Where a worker keeps labels and sequences."""

from __future__ import annotations

from typing import Literal

__all__ = ["CodePlace", "LabelPlace"]

LabelPlace = Literal["device", "ram", "streamed"]
CodePlace = Literal["device", "ram"]
