"""Tracks read where they are: on a web server that answers ranges, and in a bucket."""

from __future__ import annotations

import numpy as np
import pytest

import atlasbasset
from atlasbasset.verbs.shared.track_set import TrackSet
from atlasstore.events import ignore
from atlasstore.files import urls
from atlasstore.inspect_store import inspect_store
from flaky_s3 import s3_behind_proxy
from small_tracks import GROUPS, served


def all_values(tracks: TrackSet) -> np.ndarray:
    place = tracks.region("chrI:1,000-6,000")
    return np.stack([tracks.values(g, kind, place) for g in GROUPS for kind in tracks.kinds])


def test_values_on_a_web_server_are_read_by_ranges(made) -> None:
    here = all_values(TrackSet.open(made.out))
    with served(made.out) as server:
        there = all_values(TrackSet.open(server.url))
        found = inspect_store(server.url)
        answers = list(server.answers)
    np.testing.assert_array_equal(here, there)
    assert np.isfinite(here).any()
    asked = [(given, status) for path, given, status in answers if path.endswith(".bw") and given]
    assert asked
    assert {status for _, status in asked} == {206}
    assert found.format == "tracks"
    assert list(found.sizes["groups"]) == list(GROUPS)


@pytest.mark.s3
@pytest.mark.slow
def test_tracks_are_written_to_a_bucket_and_read_there(made) -> None:
    with pytest.MonkeyPatch.context() as environment, s3_behind_proxy(environment):
        url = "s3://bucket/tracks"
        report = atlasbasset.tracks(
            made.model, made.atlas, group_by="cell_type", out=url, genome=made.genome,
            genes=made.genes, genome_wide=["chrI:1,000-6,000", "chrII:0-2050"], step_bp=100,
            with_sequence=True, convolution="direct", on_event=ignore,
        )  # fmt: skip
        assert report.n_files == len([path for path in made.out.rglob("*") if path.is_file()])
        here, there = (all_values(TrackSet.open(one)) for one in (made.out, url))
        np.testing.assert_array_equal(here, there)
        assert inspect_store(url).sizes["group_by"] == "cell_type"
        assert not urls.exists(f"{url}.partial/run.json")
