"""Loci: which are shown, of which groups, with which values."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from atlasbasset.verbs.report.findings.loci import loci_of, named_loci
from atlasbasset.verbs.report.findings.missing import Missing
from atlasbasset.verbs.report.page.charts.loci import locus_figure
from atlasbasset.verbs.shared.track_set import TrackSet
from atlasstore.errors import UserInputError
from small_report import TYPES


@pytest.fixture(scope="module")
def tracks(stores):
    return TrackSet.open(stores.tracks)


def test_by_default_peaks_that_differ_are_shown_with_their_surroundings(tracks) -> None:
    found = loci_of(tracks, (), model="model")
    assert len(found) == len(tracks.loci) == len({one.peak.highest for one in found})
    for locus, peak in zip(found, tracks.loci, strict=True):
        assert (locus.peak.start, locus.peak.end) == (peak.start, peak.end)
        assert locus.region.start == max(0, peak.start - 5_000)
        assert locus.groups == TYPES
        assert locus.kinds == ("denoised", "observed", "predicted")


def test_values_are_those_of_the_files(tracks) -> None:
    (locus,) = loci_of(tracks, ["chrI:0-3,000"], model="model")
    drawn = np.full(3_000, np.nan)
    for start, end, value in locus.tracks[TYPES[1], "observed"]:
        drawn[start:end] = value
    assert np.array_equal(drawn, tracks.values(TYPES[1], "observed", locus.region), equal_nan=True)
    denoised = np.stack([tracks.values(name, "denoised", locus.region) for name in TYPES])
    widest = np.nanmax(np.ptp(denoised, axis=0))
    high, low = locus.peak.values["denoised"]
    assert high - low == pytest.approx(widest)
    text = locus.peak.highest
    assert f"in {text} ({high:.2f})" in locus_figure(locus, 1).says
    assert "; it was observed open in " in locus_figure(locus, 1).says


def test_of_many_groups_those_that_tell_most_are_shown(tracks) -> None:
    groups = tracks.about["groups"]
    many = [{**groups[i % 3], "name": f"group {i}"} for i in range(12)]
    (locus,) = loci_of(
        TrackSet(tracks.url, {**tracks.about, "groups": many}), ["chrI:0-3000"], model="m"
    )
    assert len(locus.groups) == 6
    assert {locus.peak.highest, locus.peak.lowest} <= set(locus.groups)
    assert "Of 12 groups the 6 are shown" in locus_figure(locus, 1).says


def test_between_peaks_nothing_differs(tracks) -> None:
    (locus,) = loci_of(tracks, ["chrI:510-690"], model="m")
    assert locus.peak is None
    assert locus.kinds == ("predicted",)
    assert locus_figure(locus, 1).says.startswith("No peak lies here.")


def test_one_group_is_described_without_another(tracks) -> None:
    one = TrackSet(tracks.url, {**tracks.about, "groups": tracks.about["groups"][:1]})
    (locus,) = loci_of(one, ["chrI:0-3000"], model="m")
    assert "is at " in locus_figure(locus, 1).says


def test_a_gene_is_drawn_over_the_part_that_is_shown(tracks) -> None:
    (locus,) = loci_of(tracks, ["chrI:500-1500"], model="m")
    genes = locus_figure(locus, 1).plot.data[-1]
    assert list(genes.x) == [500, 1500, None]


def test_tracks_without_loci_say_what_to_do(tracks) -> None:
    old = TrackSet(tracks.url, {**tracks.about, "loci": []})
    assert isinstance(missing := loci_of(old, (), model="m"), Missing)
    assert "--loci" in missing.command


def test_a_locus_that_is_too_long_is_refused(tracks) -> None:
    assert named_loci(tracks, ["chrI:0-2,000"], most_bp=2_000)
    with pytest.raises(UserInputError, match=r"has 2,001 bp, but a figure shows at most 2,000"):
        named_loci(tracks, ["chrI:0-2001"], most_bp=2_000)


def test_tracks_of_another_model_are_told(stores, tmp_path) -> None:
    import shutil

    import atlasbasset
    from atlasbasset.verbs.report.findings.cells import sample_cells
    from atlasbasset.verbs.report.findings.findings import _of_other_models

    plan = atlasbasset.plan_report(stores.model, stores.tracks, out=tmp_path / "page.html")
    cells = sample_cells(plan.given.model.loaded, plan.keys, max_cells=9, seed=0)
    assert _of_other_models(plan.given, cells) == []
    other = Path(shutil.copytree(stores.tracks, tmp_path / "other"))
    about = json.loads((other / "tracks.json").read_text())
    about["model_identity"]["cells"] = "0" * 64
    (other / "tracks.json").write_text(json.dumps(about))
    given = replace(plan.given, tracks=TrackSet.open(other))
    assert _of_other_models(given, cells) == [str(other)]
