"""``ism``, ``match`` and ``discover`` on the command line."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from atlasbasset.verbs.ism.work import ism_tables, mutation_bytes
from atlasjobs.commands.annotate import annotate
from atlasjobs.commands.discover import discover
from atlasjobs.commands.ism import ism
from atlasjobs.commands.match import match
from atlasjobs.program import Program, Verb
from atlasstore.genome.motifs import Motif, write_meme
from atlasstore.results.ism_result import IsmResult
from command import Run, snapshot
from small_atlas import random_chromosomes, write_fasta
from small_model import TINY, random_weights, write_model

app = typer.Typer(cls=Program)
for verb in (annotate, ism, match, discover):
    app.command(verb.__name__, cls=Verb)(verb)


def run(*arguments):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return Run(done.exit_code, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ism")
    rng = np.random.default_rng(8)
    obs = pd.DataFrame({"cell_type": ["B", "T"] * 4}, index=[f"cell{i}" for i in range(8)])
    write_model(folder / "model", random_weights(rng, 8), obs=obs)
    write_fasta(folder / "genome.fa", random_chromosomes(rng, {"chr1": 2000}, letters=b"ACGT"))
    (folder / "regions.bed").write_text("chr1\t500\t600\nchr1\t900\t1000\n")
    write_meme(folder / "m.meme", [Motif("M1", "GATA1", np.eye(4)[[2, 0, 3, 0]] * 0.9 + 0.025)])
    return folder


def given(folder):
    where = ("--genome", folder / "genome.fa", "--regions", folder / "regions.bed")
    return (folder / "model", *where, "--group-by", "cell_type", "--span", 60)


@pytest.fixture(scope="module")
def made(folder):
    done = run("ism", *given(folder), "--out", folder / "ism.zarr", "--json", folder / "ism.json")
    assert done.code == 0, done.err
    assert "2 groups by cell_type" in done.out
    assert json.loads((folder / "ism.json").read_text())["n_regions"] == 2
    return folder / "ism.zarr"


def test_a_plan_touches_nothing(folder):
    before = snapshot(folder)
    planned = run("ism", *given(folder), "--out", folder / "x", "--dry-run", "--json", "-")
    assert planned.code == 0, planned.err
    values = json.loads(planned.out)
    assert (values["n_regions"], values["span_bp"], values["n_groups"]) == (2, 60, 2)
    assert "180 substitutions" in planned.err
    assert values["memory_bytes"] > mutation_bytes(TINY, ism_tables(2, 60, width=5, n_groups=2))
    assert "per worker plus the program" in planned.err
    assert snapshot(folder) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--workers", -1), "workers must be 0"),
        (("--workers", 1, "--cpus-per-worker", 0), "more than 0 CPUs"),
        (("--gpus-per-worker", 1), "without workers"),
        (("--workers", 1, "--out", "memory://ism-plan"), "memory of this process"),
    ],
)
def test_a_plan_refuses_workers_as_the_run_does(folder, tmp_path, options, message):
    for how in (("--dry-run",), ()):
        done = run("ism", *given(folder), "--out", tmp_path / "x", *options, *how)
        assert done.code == 2, done.out
        assert message in done.err
    assert not list(tmp_path.iterdir())


def test_a_finished_result_says_so(folder, made):
    again = run("ism", *given(folder), "--out", made)
    assert again.code == 0, again.err
    assert "is finished" in again.out


def test_logos(folder, made):
    pytest.importorskip("logomaker", reason="logomaker is not installed")
    drawn = run("ism", *given(folder), "--out", made, "--plot", folder / "logos")
    assert drawn.code == 0, drawn.err
    assert sorted(p.name for p in (folder / "logos").iterdir()) == [
        "chr1_500-600.png",
        "chr1_900-1000.png",
    ]
    refused = run("ism", *given(folder)[:5], "--out", folder / "y", "--plot", folder / "logos")
    assert refused.code == 2
    assert "give --group-by" in refused.err


def test_match(folder, made, tmp_path):
    pytest.importorskip("memelite", reason="memelite is not installed")
    options = ("--motifs", folder / "m.meme", "--hit-p", 0.3, "--max-p", 1)
    planned = run("match", made, *options, "--out", tmp_path / "t.csv", "--dry-run")
    assert planned.code == 0, planned.err
    assert "10,000 chance sites" in planned.out
    done = run("match", made, *options, "--out", tmp_path / "t.csv", "--group", "T")
    assert done.code == 0, done.err
    found = pd.read_csv(tmp_path / "t.csv")
    assert set(found["tf"]) == {"GATA1"}
    assert set(found["group"]) == {"T"}
    refused = run("match", made, *options, "--out", tmp_path / "u.csv", "--group", "NK")
    assert refused.code == 2
    assert "its groups: B, T" in refused.err


def test_discover_needs_more(made, tmp_path):
    pytest.importorskip("modiscolite", reason="modisco-lite is not installed")
    refused = run("discover", made, "--group", "T", "--out", tmp_path / "d", "--dry-run")
    assert refused.code == 2
    assert "room for" in refused.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--genome", "g.fa"), "given were (--genome)"),
        (("--genome", "none.fa", "--regions", "r.bed"), "r.bed does not exist"),
        ((), "given were none of them"),
    ],
)
def test_wrong_input_is_one_sentence(folder, tmp_path, options, message):
    done = run("ism", folder / "model", "--out", tmp_path / "r", *options)
    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err
    assert not list(tmp_path.iterdir())


def test_annotate_then_group_by(folder, tmp_path):
    cells = tmp_path / "cells.csv"
    cells.write_text("cell,leiden\ncell0,2\ncell1,10\ncell2,2\n")
    before = snapshot(folder)
    planned = run("annotate", folder / "model", cells, "--dry-run")
    assert planned.code == 0, planned.err
    assert "3 of " in planned.out
    assert snapshot(folder) == before
    shutil.copytree(folder / "model", tmp_path / "model")
    done = run("annotate", tmp_path / "model", cells, "--json", "-")
    assert done.code == 0, done.err
    assert json.loads(done.out)["columns"] == {"leiden": 3}
    again = run("annotate", tmp_path / "model", cells)
    assert again.code == 2
    assert "has all columns of the table already" in again.err
    options = ("--genome", folder / "genome.fa", "--regions", folder / "regions.bed", "--span", 4)
    for name, how in (("a", ()), ("b", ("--obs", cells))):
        model = tmp_path / "model" if name == "a" else folder / "model"
        made = run("ism", model, *options, "--group-by", "leiden", *how, "--out", tmp_path / name)
        assert made.code == 0, made.err
        assert "cells have no label in 'leiden'" in made.out + made.err
    found, other = (pd.DataFrame(IsmResult.open(tmp_path / n).groups) for n in "ab")
    assert found.index.tolist() == other.index.tolist() == ["2", "10"]
