from __future__ import annotations

import base64
import io
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from atlasbasset.verbs.report.given import Evaluated
from atlasbasset.verbs.report.page.charts.glyphs import outline, placed
from atlasbasset.verbs.report.page.charts.predictions import cell_auroc_figure
from atlasbasset.verbs.report.page.document import Csv
from atlasbasset.verbs.report.page.palette import category_style
from atlasbasset.verbs.report.page.text import figure, label, plain_text


def read(csv: Csv) -> pd.DataFrame:
    kind, _, content = csv.href.partition(",")
    assert kind == "data:text/csv;base64"
    return pd.read_csv(io.BytesIO(base64.b64decode(content)))


def test_a_csv_holds_what_is_drawn() -> None:
    columns = {"cell": ["a,b", 'c"d'], "x": np.array([1.23456789, np.nan]), "n": np.array([1, 2])}
    found = read(Csv.of("data.csv", columns))
    assert found["cell"].tolist() == ["a,b", 'c"d']
    assert found["x"].tolist() == pytest.approx([1.2346, np.nan], nan_ok=True)
    assert found["n"].tolist() == [1, 2]


def test_a_large_csv_is_thinned_and_says_so() -> None:
    csv = Csv.of("data.csv", {"x": np.arange(300_000) + 1_000_000})
    assert len(csv.content) <= 2_000_000
    assert csv.cut == "one row in 2 of 300,000, to bound the page"
    assert read(csv)["x"].diff().dropna().unique().tolist() == [2]


def test_text_has_no_credentials_and_no_control_characters() -> None:
    found = plain_text("s3://bucket/a?X-Amz-Signature=abc \x1b[31m")
    assert "abc" not in found
    assert "\x1b" not in found


def test_labels_are_no_markup_for_plotly() -> None:
    assert label("<b>T & B</b>") == "&lt;b&gt;T &amp; B&lt;/b&gt;"
    assert len(label("x" * 500)) == 60


def test_figures_that_are_not_known() -> None:
    assert [figure(value) for value in (0.12345, None, float("nan"))] == [
        "0.123",
        "unknown",
        "unknown",
    ]


def test_categories_differ_in_colour_or_symbol() -> None:
    styles = [category_style(place) for place in range(114)]
    assert len(set(styles)) == 114
    assert category_style(-1) not in styles


@pytest.mark.parametrize("letter", "ACGT")
def test_letters_fill_their_box(letter) -> None:
    shape = outline(letter)
    np.testing.assert_allclose([shape.min(0), shape.max(0)], [[0, 0], [1, 1]])
    x, y = placed(letter, np.array([10.0, 20.0]), np.array([2.0, -3.0]))
    per_letter = len(shape) + 1
    assert np.isnan(x[per_letter - 1])
    up, down = y[: per_letter - 1], y[per_letter:-1]
    assert (up.min(), up.max()) == (0, 2)
    assert (down.min(), down.max()) == (-3, 0)
    assert np.nanmax(np.abs(x[:per_letter] - 10)) == pytest.approx(0.46)


def area(x: np.ndarray, y: np.ndarray) -> float:
    """Of a polygon, by the shoelace formula; a hole joined by a line counts as none."""
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def test_the_hole_of_an_a_is_left_out() -> None:
    shape = outline("A")
    assert 0.4 < area(*shape.T) < 0.55  # 0.59 with it


def test_points_are_of_other_predictors() -> None:
    """The model is a distribution already, and its cells on fewer reads are in the table."""
    names = ["model", "model, unit rows", "model, cells solved on 5% of reads", "6-mer ridge"]
    names += ["model, cells solved on shuffled labels", "depth alone"]
    rows = [{"name": name, "auroc_per_cell": 0.6} for name in names]
    rows[1]["auroc_per_cell"] = None
    auroc = np.array([0.6, 0.7, np.nan])
    quality = SimpleNamespace(auroc_per_cell=auroc)
    found = SimpleNamespace(
        quality=quality, reference=None, certainty=SimpleNamespace(auroc_per_cell=None),
        rows=range(3), n_split=3,
    )  # fmt: skip
    given = [Evaluated("e.json", {"baselines": {"rows": rows}})]
    drawn = cell_auroc_figure(found, SimpleNamespace(names=("a", "b", "c")), given)
    points = [trace.name for trace in drawn.plot.data if trace.mode == "markers"]
    assert [name.partition(" (")[0] for name in points] == names[3:]
