from __future__ import annotations

import sys

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from atlasjobs.reports import logo
from atlasstore.errors import MissingExtraError, UserInputError
from atlasstore.events import Progress
from atlasstore.results.ism_result import IsmResult
from small_ism import make_ism, normalised

pytest.importorskip("logomaker", reason="logomaker is not installed")


def test_the_stretch_that_matters_most(rng):
    matters = np.zeros((50, 2), np.float32)
    matters[31:35] = [[-3, 0]] * 4
    start, stop = logo.most_important(matters, 4)
    assert (start, stop) == (31, 35)
    assert logo.most_important(matters, 80) == (0, 50)
    assert logo.most_important(matters[:1], 1) == (0, 1)


def test_letters_are_as_high_as_they_matter():
    ax = Figure().subplots()
    codes = np.array([0, 2, 4, 3], np.uint8)
    logo.draw_logo(codes, np.array([1, -2, 5, 0.5], np.float32), start=100, ax=ax)
    boxes = [patch.get_extents().transformed(ax.transData.inverted()) for patch in ax.patches]
    drawn = sorted((round((b.x0 + b.x1) / 2), round(b.y0, 2), round(b.y1, 2)) for b in boxes)
    assert [box for box in drawn if box[1] != box[2]] == [(100, 0, 1), (101, -2, 0), (103, 0, 0.5)]
    assert ax.get_xlim() == (99.5, 103.5)


def test_a_picture_per_region(tmp_path, rng, monkeypatch):
    monkeypatch.setattr(logo, "_MOST_BP", 12)
    codes = rng.integers(0, 5, (2, 40), dtype=np.uint8)
    scores = normalised(rng.normal(size=(2, 40, 4, 2)))
    result = IsmResult.open(make_ism(tmp_path / "r", codes, scores, ["B cell", "T cell"]))
    seen = []
    made = logo.save_logos(result, tmp_path / "logos", on_event=seen.append)
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
