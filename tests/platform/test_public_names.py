"""What a person finds in the packages by completion."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib.metadata import version

import pytest

import atlasbasset
import atlasstore

VERBS = {
    "denoise": "plan_denoise",
    "differential": "plan_differential",
    "discover": "plan_discover",
    "embed": "plan_embed",
    "evaluate": "plan_evaluate",
    "ism": "plan_ism",
    "map_cells": "plan_map_cells",
    "match": "plan_match",
    "motif_activity": "plan_motifs",
    "report": "plan_report",
    "tracks": "plan_tracks",
    "train": "plan_train",
    "variants": "plan_variants",
}


@pytest.mark.parametrize("package", [atlasbasset, atlasstore])
def test_completion_shows_the_public_names(package) -> None:
    assert set(dir(package)) == {*package.__all__, "__doc__", "__version__"}
    assert package.__version__ == version("atlasbasset")
    for name in package.__all__:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        package.absent  # noqa: B018


def test_the_names_of_verbs_are_there_too() -> None:
    assert atlasbasset.motifs is atlasbasset.motif_activity
    assert atlasbasset.map is atlasbasset.map_cells


@pytest.mark.parametrize("verb", VERBS)
def test_a_plan_takes_what_its_verb_takes(verb: str) -> None:
    function, plan = getattr(atlasbasset, verb), getattr(atlasbasset, VERBS[verb])
    taken = dict(inspect.signature(function).parameters)
    taken.pop("on_event", None)
    assert list(taken.items()) == list(inspect.signature(plan).parameters.items())


@pytest.mark.parametrize("package", [atlasbasset, atlasstore])
def test_every_public_function_has_an_example(package) -> None:
    for name in package.__all__:
        value = getattr(package, name)
        if inspect.isfunction(value):
            assert "Examples\n" in str(value.__doc__), f"{name} has no example"


SLOW = {"anndata", "dask", "matplotlib", "numba", "ray", "scipy.stats", "sklearn", "torch"}


@pytest.mark.parametrize(
    ("module", "needed"),
    [
        ("atlasbasset", set()),
        ("atlasstore", set()),
        ("atlasbasset.engine.loop", {"numba", "torch"}),  # what every worker waits for
    ],
)
def test_importing_stays_quick(module: str, needed: set[str]) -> None:
    code = f"import sys, {module}; dir({module}); print(*sorted({SLOW!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == needed
