"""What tests of the engine and of jobs share: a small Ray of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ray_cluster import own_ray

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest) -> Iterator[None]:
    """A Ray of two cores; what the test module defines travels to its workers by value."""
    with own_ray():
        import ray

        ray.cloudpickle.register_pickle_by_value(request.module)
        yield
