"""The figure of a locus draws what the files hold."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.patches import Rectangle, StepPatch

from atlasbasset.pl import locus
from atlasstore.errors import NotAStoreError, UserInputError
from small_ism import make_ism, normalised
from small_tracks import GROUPS


def test_tracks_of_a_kind_have_one_scale_and_the_values_of_the_files(made) -> None:
    figure = locus(made.out, "chrI:1,000-3,000", groups=GROUPS[:2], kinds=["observed"])
    first, second = figure.axes
    assert first.get_ylim() == second.get_ylim()
    shares = made.labels[made.group == 0].mean(0)
    (drawn,) = (patch for patch in first.patches if isinstance(patch, StepPatch))
    values = drawn.get_data()[0]
    assert len(values) == 2000
    assert values[200:500] == pytest.approx(shares[2])  # the peak at 1,200
    assert (values[500:700] == 0).all()
    assert first.get_ylabel().startswith(GROUPS[0])


def test_genes_and_mutagenesis_lie_below(made, tmp_path) -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (1, 40), dtype=np.uint8)
    scores = normalised(rng.normal(size=(1, 40, 4, len(GROUPS))))
    ism = make_ism(tmp_path / "ism.zarr", codes, scores, GROUPS)
    with pytest.raises(UserInputError, match=r"no region of .* lies on chrI"):
        locus(made.out, "chrI:900-1,100", kinds=["denoised"], ism=ism)
    figure = locus(made.out, "chrI:900-1,100", kinds=["denoised"], genes=made.genes)
    assert len(figure.axes) == len(GROUPS) + 1
    assert [text.get_text() for text in figure.axes[-1].texts] == ["ALPHA >"]
    figure.savefig(tmp_path / "locus.png")


def test_mutagenesis_is_drawn_where_its_bases_lie(made, tmp_path, monkeypatch) -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (1, 40), dtype=np.uint8)
    scores = normalised(rng.normal(size=(1, 40, 4, len(GROUPS))))
    monkeypatch.setattr("small_ism.CHROM", "chrI")
    ism = make_ism(tmp_path / "ism.zarr", codes, scores, GROUPS)
    figure = locus(made.out, "chrI:900-1,100", kinds=["denoised"], groups=GROUPS[2:3], ism=ism)
    bars = [patch for patch in figure.axes[-1].patches if isinstance(patch, Rectangle)]
    assert [bar.get_x() for bar in bars] == pytest.approx(np.arange(1000, 1040))
    wanted = scores[0, np.arange(40), codes[0], 2]
    assert [bar.get_height() for bar in bars] == pytest.approx(wanted, rel=1e-5)


def test_what_is_not_there_is_refused(made, tmp_path) -> None:
    with pytest.raises(UserInputError, match="no group 'absent'"):
        locus(made.out, "chrI", groups=["absent"])
    with pytest.raises(UserInputError, match="no kind 'absent'; the tracks have denoised"):
        locus(made.out, "chrI", kinds=["absent"])
    with pytest.raises(NotAStoreError, match=r"has no tracks\.json"):
        locus(tmp_path, "chrI")
