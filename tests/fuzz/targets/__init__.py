"""All that is fuzzed, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fuzz.targets.archives import ARCHIVES
from fuzz.targets.genomes import GENOMES
from fuzz.targets.inputs import INPUTS
from fuzz.targets.stores import STORES

if TYPE_CHECKING:
    from fuzz.target import Target

__all__ = ["TARGETS"]

TARGETS: dict[str, Target] = {t.name: t for t in (*INPUTS, *GENOMES, *STORES, *ARCHIVES)}
