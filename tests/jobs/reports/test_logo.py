from __future__ import annotations

import sys

import numpy as np
import pytest
from matplotlib.image import imread

from atlasjobs.reports import logo
from atlasstore.errors import MissingExtraError, UserInputError
from atlasstore.events import Progress
from atlasstore.results.ism_result import IsmResult
from small_ism import make_ism, normalised

pytest.importorskip("logomaker", reason="logomaker is not installed")


def test_a_picture_per_region(tmp_path, rng):
    codes = rng.integers(0, 5, (2, 40), dtype=np.uint8)
    scores = normalised(rng.normal(size=(2, 40, 4, 2)))
    result = IsmResult.open(make_ism(tmp_path / "r", codes, scores, ["B cell", "T cell"]))
    seen = []
    made = logo.save_logos(result, tmp_path / "logos", most_bp=12, on_event=seen.append)
    assert [path.rpartition("/")[2] for path in made] == [
        "chr1_1000-1040.png",
        "chr1_11000-11040.png",
    ]
    for path in made:
        picture = imread(path)
        assert picture.shape[0] > 200
        assert picture.std() > 0.05
    assert seen[-1] == Progress("drawing logos", 2, 2, "regions")


def test_logos_need_groups_and_the_extra(monkeypatch):
    with pytest.raises(UserInputError, match="give --group-by, or leave out --plot pictures"):
        logo.check_logos("pictures", None)
    logo.check_logos("pictures", "cell_type")
    monkeypatch.setitem(sys.modules, "logomaker", None)
    with pytest.raises(MissingExtraError, match="Drawing logos needs logomaker"):
        logo.check_logos("pictures", "cell_type")
