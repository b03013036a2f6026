"""`inspect` of what our verbs write beside stores."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from atlasstore.errors import CorruptStoreError, UserInputError
from atlasstore.files.sealed import write_sealed
from atlasstore.inspect_store import inspect_store
from atlasstore.resume.ledger import Ledger
from http_folder import served

ABOUT = {
    "group_by": "cell_type",
    "groups": [{"name": "B", "n_cells": 7, "files": {}}, {"name": "T", "n_cells": 5, "files": {}}],
    "kinds": [{"name": "denoised"}, {"name": "observed"}],
    "annotations": [{"name": "Peaks", "file": "peaks.bed.gz"}],
    "made_of": {"model": "m", "atlas": "a"},
    "provenance": {"seed": None},
}


def tracks(folder):
    folder.mkdir()
    (folder / "tracks.json").write_text(json.dumps(ABOUT))
    (folder / "index.html").write_text("<html>")
    return folder


def test_tracks_on_disk_and_on_a_web_server_that_lists_nothing(tmp_path):
    here = inspect_store(tracks(tmp_path / "t"))
    with served(tmp_path) as address:
        there = inspect_store(f"{address}/t")
    for found in (here, there):
        assert (found.format, found.version) == ("tracks", None)
        assert found.sizes["groups"] == {"B": 7, "T": 5}
        assert found.sizes["kinds"] == ["denoised", "observed"]
        assert found.provenance["made_of"] == {"model": "m", "atlas": "a"}
    assert there.sizes["page"].startswith("http")


def test_damaged_tracks_are_told(tmp_path):
    (tracks(tmp_path / "t") / "tracks.json").write_text("{")
    with pytest.raises(CorruptStoreError, match="make or copy it again"):
        inspect_store(tmp_path / "t")


def test_an_unfinished_job_names_its_verb(tmp_path):
    out = tmp_path / "peaks.tsv"
    with Ledger.open(out, config={"verb": "differential"}, inputs=["memory://x"]):
        found = inspect_store(f"{out}.partial")
    assert found.format == "unfinished job"
    assert found.sizes["verb"] == "differential"
    assert found.sizes["inputs"] == ["memory://x"]


def record(out, report):
    job = {"config": {"verb": "differential"}, "inputs": [{"url": "a.zarr/var"}]}
    said = {"job": job, "bytes": out.stat().st_size, "report": report}
    write_sealed(f"{out}.job.json", json.dumps(said, indent=1).encode())
    return f"{out}.job.json"


def test_the_record_of_a_finished_job(tmp_path):
    out = tmp_path / "d.tsv"
    out.write_text("peak\n")
    url = record(out, {"out": "d.tsv", "n_rows": 1, "groups": ["B"]})
    found = inspect_store(url)
    assert found.format == "record of a finished job"
    wanted = {"verb": "differential", "output": str(out), "output_as_made": True, "n_rows": 1}
    assert found.sizes == {**wanted, "inputs": ["a.zarr/var"]}
    out.write_text("another\n")
    assert inspect_store(url).sizes["output_as_made"] is False


def test_a_record_that_is_damaged_or_anothers(tmp_path):
    out = tmp_path / "d.tsv"
    out.write_text("peak\n")
    Path(record(out, {})).rename(tmp_path / "other.job.json")
    with pytest.raises(CorruptStoreError, match="no record of a finished job, or not as it was"):
        inspect_store(tmp_path / "other.job.json")
    (tmp_path / "plain.job.json").write_text('{"a": 1}')
    assert inspect_store(tmp_path / "plain.job.json").format == "JSON"


def test_tables_of_ours_by_their_columns(tmp_path):
    peaks = ["peak", "chrom", "group", "reference", "effect", "model_effect", "p", "q"]
    pd.DataFrame(columns=peaks).to_csv(tmp_path / "a.tsv", sep="\t", index=False)
    motifs = ["motif", "tf", "group", "reference", "effect", "standard_error", "p", "q"]
    pd.DataFrame(columns=motifs).to_parquet(tmp_path / "b.parquet")
    assert inspect_store(tmp_path / "a.tsv").format == "differential peaks"
    assert inspect_store(tmp_path / "b.parquet").format == "differential motifs (parquet)"


def test_pages_of_ours_by_their_generator(tmp_path):
    page = '<html><meta name="generator" content="atlasbasset report 0.1"><title>Worm</title>'
    (tmp_path / "r.html").write_text(page)
    found = inspect_store(tmp_path / "r.html")
    assert (found.format, found.sizes) == ("atlasbasset report 0.1", {"title": "Worm"})


@pytest.mark.parametrize(
    ("name", "kind"), [("truth.json", "simulated data"), ("patterns.h5", "discovered motifs")]
)
def test_other_folders_by_a_file_in_them(tmp_path, name, kind):
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / name).touch()
    assert inspect_store(tmp_path / "f").format == kind


def test_a_bigwig_by_its_head(tmp_path):
    bigtools = pytest.importorskip("pybigtools", reason="pybigtools is not installed")
    rows = [("chr1", 0, 10, 0.5), ("chr1", 20, 30, 1.5)]
    bigtools.open(str(tmp_path / "a.bw"), "w").write({"chr1": 100}, iter(rows))
    found = inspect_store(tmp_path / "a.bw")
    assert found.format == "bigWig"
    assert found.sizes["version"] == 4
    (tmp_path / "b.bw").write_bytes(b"no bigWig at all")
    with pytest.raises(UserInputError, match="no bigWig"):
        inspect_store(tmp_path / "b.bw")
