"""What a killed job has left is damaged before it is resumed: the same result, or an error.

Every file between the stages is lost, cut or changed before the last stage, and every file of the
store is lost before publishing.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

import atlasbasset
from atlasbasset.batch.job import ResumableJob
from atlasstore.errors import AtlasError
from atlasstore.genome.motifs import Motif, write_meme
from atlasstore.models.model_store import ModelStore
from atlasstore.resume.ledger import partial_url
from small_atlas import make_atlas, random_chromosomes, random_labels, write_fasta
from small_model import TINY, random_weights, write_model

N, P = 9, 12
SLOW = ["motifs", "motifs sigmoid", "ism", "variants", "map"]
NAMES = ["denoise", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


class Killed(BaseException):
    """As by a signal: nothing that catches errors sees it."""


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """Name -> a job that takes `out`."""
    folder, rng = tmp_path_factory.mktemp("stores"), np.random.default_rng(8)
    codes = rng.integers(0, 5, (P, TINY.window_bp + 6), dtype=np.uint8)
    model = write_model(folder / "model", random_weights(rng, N))
    atlas = make_atlas(folder / "atlas", random_labels(rng, N, P), codes)
    chromosomes = random_chromosomes(rng, {"chrI": 1000}, letters=b"ACGT")
    genome = write_fasta(folder / "g.fa", chromosomes)
    (folder / "r.bed").write_text("chrI\t400\t410\nchrI\t600\t610\n")
    ref = chromosomes["chrI"][499].upper()
    alt = "A" if ref != "A" else "C"
    (folder / "v.vcf").write_text(
        f"##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\nchrI\t500\t.\t{ref}\t{alt}\n"
    )
    write_meme(folder / "m.meme", [Motif("M1", "TF1", rng.dirichlet(np.ones(4), 7))])
    motifs = partial(
        atlasbasset.motif_activity, model, atlas, motifs=folder / "m.meme", n_backgrounds=4
    )
    variants = partial(
        atlasbasset.variants, model, vcf=folder / "v.vcf", genome=genome, scale="sigmoid"
    )
    return {
        "denoise": partial(atlasbasset.denoise, model, atlas, dtype="uint8"),
        "motifs": partial(motifs, scale="linear"),
        "motifs sigmoid": partial(motifs, scale="sigmoid"),
        "ism": partial(atlasbasset.ism, model, genome=genome, regions=folder / "r.bed"),
        "variants": variants,
        "map": partial(atlasbasset.map_cells, model, atlas),
    }


def values(out):
    """All that a reader of the result sees."""
    if (Path(out) / "checkpoints").exists():
        checkpoint = ModelStore.open(out).newest()
        return {name: checkpoint.rows(f"cells/{name}", 0, N) for name in ("embedding", "intercept")}
    found = anndata.read_zarr(out)
    tables = {"X": found.X, **dict(found.obsm), **dict(found.varm), **dict(found.layers)}
    frames = {"obs": found.obs, "var": found.var}
    return {name: v for name, v in {**tables, **frames}.items() if v is not None}


def assert_same(found, right):
    assert found.keys() == right.keys()
    for name, value in right.items():
        if isinstance(value, pd.DataFrame):
            pd.testing.assert_frame_equal(found[name], value)
        else:
            np.testing.assert_array_equal(found[name], value, err_msg=name)


def stop_before(monkeypatch, step):
    """Kill the job when it comes to its last stage or to publishing."""

    def killed(*_, **__):
        raise Killed

    def run(job, name, units, work, *, stage):
        seen.append(name)
        if step == len(seen):
            raise Killed
        return plain(job, name, units, work, stage=stage)

    plain, seen = ResumableJob.run, []
    monkeypatch.setattr(ResumableJob, "run", run)
    if step is None:
        monkeypatch.setattr(ResumableJob, "publish", killed)
    return seen


def damages(content):
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    return [None, content[:middle], flipped]


@pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning")  # of a member without metadata
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("part", "is_last"), [("scratch", False), pytest.param("store", True, marks=pytest.mark.slow)]
)
def test_no_damage_passes_for_values(jobs, name, part, is_last, tmp_path, monkeypatch):
    job, left = jobs[name], Path(partial_url(tmp_path / "r"))
    with monkeypatch.context() as patch:
        stages = stop_before(patch, -1)
        job(out=tmp_path / "whole")
    right = values(tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_before(patch, None if is_last else len(stages))
        with pytest.raises(Killed):
            job(out=tmp_path / "r")
    kept = shutil.move(left, tmp_path / "kept")
    files = sorted(path for path in (kept / part).rglob("*") if path.is_file())
    assert files
    for file in files:
        for damage in [None] if is_last else damages(file.read_bytes()):
            shutil.copytree(kept, left)
            path = left / file.relative_to(kept)
            path.unlink() if damage is None else path.write_bytes(damage)
            is_mended = part == "store" or file.name != "zarr.json"
            try:
                job(out=tmp_path / "r")
            except AtlasError:
                assert not is_mended, f"{file} {'lost' if damage is None else 'damaged'}"
            else:
                assert_same(values(tmp_path / "r"), right)
            for place in (left, tmp_path / "r"):
                shutil.rmtree(place, ignore_errors=True)
