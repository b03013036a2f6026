"""What Ray is asked for."""

from __future__ import annotations

import pytest

from atlasbasset.cluster.ray_session import _check_resources
from atlasstore.errors import UserInputError
from atlasstore.events import Notice


def test_a_ray_of_this_machine_is_not_asked_for_more_than_it_has():
    with pytest.raises(UserInputError, match="need 3 CPUs \\(there are 2\\)"):
        _check_resources({"CPU": 3}, {"CPU": 2.0}, print, joined=False)
    _check_resources({"CPU": 2}, {"CPU": 2.0}, print, joined=False)


def test_a_cluster_may_still_grow():
    said = []
    _check_resources({"CPU": 2, "GPU": 4}, {"CPU": 2.0}, said.append, joined=True)
    assert said == [Notice("Waiting for the Ray cluster to have 4 GPUs (there are 0).")]
