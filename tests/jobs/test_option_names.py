"""Sentences of the library name options as the command line does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import typer.main

from atlasjobs.cli import app
from atlasjobs.option_names import naming_options, with_options

if TYPE_CHECKING:
    from pathlib import Path

    from command import Atlasbasset


def said(verb: str, sentence: str) -> str:
    with naming_options(typer.main.get_group(app).commands[verb].params):
        return with_options(sentence)


@pytest.mark.parametrize(
    ("verb", "sentence", "shown"),
    [
        ("evaluate", "name the column (label_key).", "name the column (--label-key)."),
        ("evaluate", "the column (label_key, batch_key)", "the column (--label-key, --batch-key)"),
        ("evaluate", "labels (label_key) or RNA (rna).", "labels (--label-key) or RNA (--rna)."),
        ("ism", "by (genome) or (atlas, peaks)", "by (--genome) or (--atlas, --peaks)"),
        ("match", "n_null must be 1 or more, got 0.", "--n-null must be 1 or more, got 0."),
        ("train", "lower max_shift_bp, or stop.", "lower --max-shift-bp, or stop."),
        ("preprocess", "leave out --strict (strict=False).", "leave out --strict."),
        ("evaluate", "not an argument (model, atlas)", "not an argument (model, atlas)"),
        ("evaluate", "no 'label_key' in a/label_key.csv", "no 'label_key' in a/label_key.csv"),
        ("evaluate", "of another verb (n_null)", "of another verb (n_null)"),
    ],
)  # fmt: skip
def test_a_sentence(verb: str, sentence: str, shown: str) -> None:
    assert said(verb, sentence) == shown


def test_without_a_verb_a_sentence_stays() -> None:
    assert with_options("name the column (label_key).") == "name the column (label_key)."


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--cluster",), "name the column of labels (--label-key)."),
        (("--retrain",), "ask for these (--baselines)."),
        (("--obs", "cells.csv"), "a table of cells (--obs) is there for its labels"),
        (("--rna-layer", "x"), "(--rna-layer, --rna-embedding, --genes) are those of the RNA"),
    ],
)
def test_evaluate_names_options(
    trained: Path, atlasbasset: Atlasbasset, options: tuple[str, ...], message: str
) -> None:
    done = atlasbasset("evaluate", trained / "model.zarr", trained / "atlas.zarr", *options)
    assert done.code == 2
    assert message in done.err


def test_notices_name_options(trained: Path, atlasbasset: Atlasbasset) -> None:
    given = (trained / "model.zarr", trained / "atlas.zarr", "--split", "valid", "--baselines")
    done = atlasbasset("evaluate", *given)
    assert done.code == 0, done.err
    assert "need labels (--label-key)" in done.out
