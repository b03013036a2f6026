"""``--config``: strict, and below the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from command import Atlasbasset

Plan = Callable[..., dict[str, Any]]


@pytest.fixture
def plan(tmp_path: Path, tiny: Path, atlasbasset: Atlasbasset) -> Plan:
    """Plans a training with a TOML file; returns its recipe."""

    def _plan(toml: str, *more: object) -> dict[str, Any]:
        file = tmp_path / "run.toml"
        file.write_text(toml)
        done = atlasbasset(
            "train", tiny / "atlas.zarr", "--dry-run", "--json", "-", "--config", file, *more
        )
        assert done.code == 0, done.err
        return dict(json.loads(done.out)["config"])

    return _plan


def refusal(toml: str, tmp_path: Path, atlasbasset: Atlasbasset) -> str:
    file = tmp_path / "run.toml"
    file.write_text(toml)
    done = atlasbasset("train", "a.zarr", "--out", "b.zarr", "--config", file)
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    assert str(file) in done.err
    return done.err


def test_values_come_from_the_file_and_the_command_line_wins(plan: Plan, tmp_path: Path) -> None:
    toml = f"""
        out = "{tmp_path}/m.zarr"
        epochs = 7
        batch-size = 9
        learning_rate = 0.5
        reverse-complement = false
    """
    recipe = plan(toml, "--batch-size", 11)
    assert recipe["epochs"] == 7
    assert recipe["batch_size"] == 11
    assert recipe["learning_rate"] == 0.5
    assert recipe["reverse_complement"] is False
    assert recipe["patience"] == 50


def test_an_unknown_key_is_named_with_the_nearest_known(
    tmp_path: Path, atlasbasset: Atlasbasset
) -> None:
    said = refusal("epoch = 3", tmp_path, atlasbasset)
    assert "'epoch'" in said
    assert "did you mean 'epochs'" in said


def test_a_key_that_is_like_none_lists_the_known(tmp_path: Path, atlasbasset: Atlasbasset) -> None:
    said = refusal("zzz = 3", tmp_path, atlasbasset)
    assert "batch-size" in said


@pytest.mark.parametrize(
    "toml",
    [
        "epochs = [1, 2]",
        "epochs = true",
        "reverse-complement = 1",
        "[epochs]\nn = 1",
        "epochs = 'many'",
        "epochs = 1\nepochs = 2",
        "config = 'other.toml'",
    ],
)
def test_what_the_command_line_could_not_say_is_refused(
    toml: str, tmp_path: Path, atlasbasset: Atlasbasset
) -> None:
    file = tmp_path / "run.toml"
    file.write_text(toml)
    done = atlasbasset("train", "a.zarr", "--out", "b.zarr", "--config", file)
    assert done.code == 2
    assert len(done.err.splitlines()) == 1


def test_a_missing_file_is_named(atlasbasset: Atlasbasset) -> None:
    done = atlasbasset("train", "a.zarr", "--out", "b", "--config", "no.toml")
    assert done.code == 2
    assert "no.toml" in done.err


def test_lists_map_onto_repeatable_options(
    tiny: Path, tmp_path: Path, atlasbasset: Atlasbasset
) -> None:
    file = tmp_path / "run.toml"
    sim = tiny / "sim"
    file.write_text(
        f"""
        inputs = ["{sim}/counts.h5ad"]
        genome = "{sim}/genome.fa"
        out = "{tmp_path}/atlas.zarr"
        holdout = ["chr1", "chr2"]
        split-fractions = [0.5, 0.25, 0.25]
        """
    )
    done = atlasbasset("preprocess", "--config", file, "--dry-run", "--json", "-")
    assert done.code == 0, done.err
    assert json.loads(done.out)["splits"] == {"train": 24, "valid": 12, "test": 24}
