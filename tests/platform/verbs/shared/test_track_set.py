"""Reading a folder of tracks."""

from __future__ import annotations

import numpy as np
import pytest

from atlasbasset.verbs.shared.track_set import TrackSet, pieces
from atlasstore.errors import CorruptStoreError, NotAStoreError

NAN = float("nan")


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([0.5, 0.5, 0.2], [(10, 12, 0.5), (12, 13, 0.2)]),
        ([NAN, 0.0, 0.0, NAN, NAN, 1.0], [(11, 13, 0.0), (15, 16, 1.0)]),
        ([NAN, NAN], []),
    ],
)
def test_pieces_are_runs_of_equal_values(values, found) -> None:
    assert pieces(np.array(values), 10) == found


def test_a_folder_without_tracks_is_named(tmp_path) -> None:
    with pytest.raises(NotAStoreError, match=r"has no tracks\.json"):
        TrackSet.open(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"groups": [1], "kinds": []}'])
def test_a_damaged_folder_is_told(tmp_path, text) -> None:
    (tmp_path / "tracks.json").write_text(text)
    with pytest.raises(CorruptStoreError, match=r"tracks\.json cannot be read"):
        TrackSet.open(tmp_path)
