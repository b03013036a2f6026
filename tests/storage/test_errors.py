"""Errors: how the packages of an extra are named."""

from __future__ import annotations

import shlex
import tomllib
from pathlib import Path

import pytest

from atlasstore.errors import extra_packages

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@pytest.mark.parametrize(
    "extra", ["s3", "gcs", "azure", "bam", "dask", "interpret", "eval", "report"]
)
def test_the_packages_of_an_extra_are_those_of_pyproject(extra: str) -> None:
    assert sorted(shlex.split(extra_packages(extra))) == sorted(EXTRAS[extra])


def test_they_are_quoted_for_a_shell() -> None:
    assert extra_packages("s3") == f"'{EXTRAS['s3'][0]}'"
