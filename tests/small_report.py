"""A small model with everything that a report shows, and names that are markup."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

import atlasbasset
from atlasstore.atlas.atlas import Atlas
from atlasstore.events import ignore
from atlasstore.models.model_store import ModelStore
from atlasstore.results.writer import create_result, finish_result
from atlasstore.zarrio import formats
from small_atlas import make_atlas, random_chromosomes, random_labels, write_fasta
from small_ism import make_ism, normalised
from small_model import TINY, random_weights, write_model

if TYPE_CHECKING:
    from pathlib import Path

N_CELLS, N_PEAKS = 64, 80
HOSTILE = "<script>alert(1)</script>"
"""The name of a cell type, a batch, a TF and a group: shown, and never run."""
TYPES = (HOSTILE, "T & B <b>cells</b>", "monocytes")
TFS = ("GATA1", HOSTILE, "CTCF")
EPOCHS = tuple(
    {
        "epoch": epoch,
        "loss": 0.7 / epoch,
        "penalty": 0.0,
        "train_auroc": 0.5 + 0.05 * epoch,
        "valid_auroc_per_cell": 0.5 + 0.04 * epoch,
        "valid_auroc_per_peak": 0.5 + 0.03 * epoch,
        "workers": 1,
        "sequences_per_s": 20.0,
        "seconds": 10.0,
        "seconds_waiting": 1.0,
        "seconds_measuring": 2.0,
    }
    for epoch in (1, 2, 3)
)
SOLVED = {
    "epoch": 3,
    "loss": 0.2,
    "n_converged": N_CELLS,
    "seconds": 4.0,
    "train_auroc": 0.7,
    "valid_auroc_per_cell": 0.63,
    "valid_auroc_per_peak": 0.6,
    "peak_deviations": {"weight": 3.5, "rounds": 4, "explained": 0.41},
}


@dataclass(frozen=True)
class Stores:
    """URLs of what a report takes."""

    model: str
    atlas: str
    activity: str
    ism: str
    tracks: str
    evaluation: str

    @property
    def beside(self) -> tuple[str, ...]:
        return self.atlas, self.activity, self.ism, self.tracks, self.evaluation


def cell_table(depth: np.ndarray) -> pd.DataFrame:
    index = [f"cell{i}" for i in range(N_CELLS)]
    return pd.DataFrame(
        {
            "n_peaks": depth,
            "cell_type": pd.Categorical([TYPES[i % 3] for i in range(N_CELLS)]),
            "donor": pd.Categorical([("one", HOSTILE)[i // 3 % 2] for i in range(N_CELLS)]),
        },
        index=index,
    )


def make_stores(folder: Path) -> Stores:
    rng = np.random.default_rng(7)
    labels = random_labels(rng, N_CELLS, N_PEAKS, 0.4)
    codes = rng.integers(0, 4, (N_PEAKS, TINY.window_bp + 6), dtype=np.uint8)
    obs = cell_table(labels.sum(1))
    weights = random_weights(rng, N_CELLS)
    stores = Stores(
        model=write_model(folder / "model.zarr", weights, obs=obs),
        atlas=make_atlas(folder / "atlas.zarr", labels, codes),
        activity=make_activity(str(folder / "activity.zarr"), obs, weights.embedding, rng),
        ism=make_regions(folder / "ism.zarr", rng),
        tracks=str(folder / "tracks"),
        evaluation=str(folder / "evaluation.json"),
    )
    record_training(stores.model)
    make_tracks(stores, folder)
    baseline = {"name": HOSTILE, "auroc_per_cell": 0.55, "label_score": {"10": 0.4}}
    values = {
        "model": HOSTILE,
        "split": "test",
        "prediction": {"auroc_per_cell": 0.61, "auroc_per_peak": None},
        "labels": None,
        "baselines": {"rows": [baseline], "left_out": []},
    }
    (folder / "evaluation.json").write_text(json.dumps(values))
    return stores


def make_tracks(stores: Stores, folder: Path) -> None:
    """Write tracks, predicted along the genome too, with a gene."""
    atlas = Atlas.open(stores.atlas)
    chrom, end = str(atlas.var["chrom"].iloc[0]), int(atlas.var["end"].max()) + 500
    genome = write_fasta(
        folder / "genome.fa",
        random_chromosomes(
            np.random.default_rng(3), dict.fromkeys(atlas.var["chrom"].unique(), end)
        ),
    )
    gene = f'gene_id "g1"; gene_name "{HOSTILE}";'
    (folder / "genes.gtf").write_text(f"{chrom}\t.\tgene\t101\t{end - 99}\t.\t-\t.\t{gene}\n")
    atlasbasset.tracks(
        stores.model,
        atlas,
        group_by="cell_type",
        out=stores.tracks,
        genome=genome,
        genes=folder / "genes.gtf",
        genome_wide=[f"{chrom}:0-{min(end, 12_000)}"],
        step_bp=200,
        convolution="direct",
        on_event=ignore,
    )


def record_training(url: str) -> None:
    """Give a model with random weights the record of a training."""
    store = ModelStore.open(url)
    before = store.newest()
    writer = store.write_checkpoint(1)
    tables = {name: before.rows(name, 0, store.n_cells) for name in before.tables}
    writer.begin({name: values.shape[1:] for name, values in tables.items()})
    for name, values in tables.items():
        for block in store.blocks:
            writer.write_rows(name, block.start, values[block.start : block.stop])
    writer.write_tensors("trunk", before.tensors("trunk"))
    writer.commit({**before.state, "history": list(EPOCHS), "final_solve": SOLVED})


def make_activity(
    url: str, obs: pd.DataFrame, embedding: np.ndarray, rng: np.random.Generator
) -> str:
    effects = rng.normal(size=(len(TFS), embedding.shape[1])).astype(np.float32)
    raw = embedding @ effects.T
    names = [f"motif{i}" for i in range(len(TFS))]
    var = pd.DataFrame(
        {"motif": names, "tf": TFS, "mean": raw.mean(0), "sd": raw.std(0)}, index=TFS
    )
    create_result(
        url,
        kind="tf_activity",
        obs=obs,
        var=var,
        obsm={"X_scbasset": embedding},
        varm={"scbasset_sequence": effects},
        about={"scale": "linear"},
    )
    finish_result(url, formats.provenance([], {"motifs": HOSTILE}, 0), shards=[])
    return url


def make_regions(url: Path, rng: np.random.Generator) -> str:
    codes = rng.integers(0, 5, (2, 40), dtype=np.uint8)
    scores = normalised(rng.normal(size=(2, 40, 4, 3)))
    return make_ism(url, codes, scores, TYPES)
