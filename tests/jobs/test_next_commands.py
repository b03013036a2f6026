"""Every verb names the next command, which the program would accept."""

from __future__ import annotations

import shlex

import pytest
import typer.main

from atlasjobs.cli import app
from atlasjobs.next_commands import NEXT, next_line

VERBS = set(typer.main.get_group(app).commands)
PARAMS = {"out": "a b.zarr", "model": "m.zarr", "store": "s", "result": "i.zarr", "path": "w.h5"}


def test_every_verb_has_one():
    assert {key.split()[0] for key in NEXT} == VERBS


@pytest.mark.parametrize("key", [key for key, template in NEXT.items() if template])
def test_it_would_be_accepted(key):
    verb, _, found = key.partition(" ")
    line = next_line(verb, PARAMS, found or None)
    program, *arguments = shlex.split(line.removeprefix("next: "))
    assert program == "atlasbasset"
    group = typer.main.get_group(app)
    context = group.make_context("atlasbasset", list(arguments))
    group.get_command(context, arguments[0]).make_context(
        arguments[0], arguments[1:], parent=context
    )


def test_names_are_filled_in_and_quoted():
    assert next_line("train", {"out": "a b.zarr"}) == (
        "next: atlasbasset embed 'a b.zarr' --out cells.h5ad"
    )
    assert next_line("embed", {"model": "m", "atlas": None}).endswith("evaluate m ATLAS")
    assert next_line("simulate", {"out": "my sim"}).startswith(
        "next: atlasbasset preprocess 'my sim/counts.h5ad' --genome"
    )
    assert next_line("report", {"model": "m"}).endswith(
        "ism m --genome GENOME.fa --regions REGIONS.bed --out ism.zarr"
    )


def test_a_table_of_cells_is_handed_on_where_one_was_given():
    given = {"model": "m", "atlas": "a", "group_by": "leiden"}
    assert next_line("differential", given).endswith("tracks m a --group-by leiden --out tracks")
    with_table = next_line("differential", {**given, "obs": "my cells.csv"})
    assert with_table.endswith("tracks m a --obs 'my cells.csv' --group-by leiden --out tracks")


def test_evaluate_hands_on_labels_and_batches():
    given = {"model": "m", "atlas": "a"}
    assert next_line("evaluate", given).endswith("report m a --out report.html")
    given |= {"label_key": "cell type", "batch_key": "donor", "obs": "t.csv"}
    assert next_line("evaluate", given).endswith(
        "report m a --obs t.csv --label-key 'cell type' --batch-key donor --out report.html"
    )


def test_what_a_verb_found_is_filled_in():
    assert next_line("embed", {"model": "m", "atlas": None}, {"atlas": "a"}).endswith("m a")
    assert next_line("embed", {"model": "m", "atlas": "b"}, {"atlas": "a"}).endswith("m b")
    assert next_line("embed", {"model": "m"}, {"atlas": None}).endswith("m ATLAS")


@pytest.mark.parametrize(
    ("found", "then"),
    [
        ("AnnData of peaks", "preprocess s --genome GENOME.fa --out atlas.zarr"),
        ("BED", "ism MODEL --genome GENOME.fa --regions s --out ism.zarr"),
        ("differential peaks", "tracks MODEL ATLAS --group-by COLUMN --out tracks"),
    ],
)
def test_after_inspect(found, then):
    assert next_line("inspect", PARAMS, found) == f"next: atlasbasset {then}"
    assert next_line("inspect", PARAMS, "atlasbasset report 0.1") is None


def test_none_after_a_dry_run_or_an_unknown_verb():
    assert next_line("train", {"out": "m", "dry_run": True}) is None
    assert next_line("no-such-verb", {}) is None
    assert next_line("submit", {"words": ("train", "a")}) is None
