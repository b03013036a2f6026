"""One folder of tracks for all tests here."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import pytest

from small_tracks import make_tracks

if TYPE_CHECKING:
    from small_tracks import Made


@pytest.fixture(scope="package")
def made(tmp_path_factory) -> Made:
    pytest.importorskip("pybigtools", reason="extra tracks is not installed")
    if importlib.util.find_spec("igv_notebook") is None:
        pytest.skip("extra tracks is not installed")
    return make_tracks(tmp_path_factory.mktemp("tracks"))
