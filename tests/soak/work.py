"""The verbs that are disturbed, on one tiny atlas; what each stores is compared bit for bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

import atlasbasset
from atlasstore.files import urls
from atlasstore.genome.motifs import Motif, write_meme
from small_atlas import make_peaks, random_chromosomes, write_fasta
from small_model import random_weights, write_model
from store_bits import learned, mapped, stored
from tiny import TRUNK, WINDOW, atlas, config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from atlasstore.events import Subscriber

N_CELLS, N_PEAKS = 24, 100
EPOCHS = 3


@dataclass(frozen=True)
class Inputs:
    """Where lies what verbs read."""

    model: str
    atlas: str
    folder: str
    """Of files on the local disk, which all nodes share."""


@dataclass(frozen=True)
class Task:
    """One run of a verb."""

    verb: str
    inputs: Inputs
    out: str
    workers: int = 0
    """Processes beside the driver; of Ray where `ray` is set."""
    ray: bool = False
    moment: int | None = None
    """At which event that tells of progress the driver stops and says so; 0: before publishing."""


def make_inputs(root: str, folder: Path) -> Inputs:
    """Write an atlas and a model below the URL `root`, and files into `folder`."""
    rng = np.random.default_rng(0)
    made = Inputs(urls.join(root, "model"), urls.join(root, "atlas"), str(folder))
    atlas(made.atlas, n_cells=N_CELLS, n_peaks=N_PEAKS, min_blocks=16)
    write_model(made.model, random_weights(rng, N_CELLS, config=TRUNK), config=TRUNK)
    chromosomes = random_chromosomes(rng, {"chrI": 10_500, "chrII": 10_500}, letters=b"ACGT")
    write_fasta(folder / "genome.fa", chromosomes)
    write_meme(folder / "m.meme", [Motif("M1", "GATA1", np.eye(4)[[2, 0, 3, 0]] * 0.9 + 0.025)])
    starts = range(900, 3900, 600)
    (folder / "regions.bed").write_text("".join(f"chrI\t{s}\t{s + 40}\n" for s in starts))
    counts = rng.poisson(0.3, (30, 40)).astype(np.float32)
    cells = pd.DataFrame(index=[f"cell{i}" for i in range(30)])
    table = anndata.AnnData(sparse.csr_matrix(counts), obs=cells, var=make_peaks(40))
    table.write_h5ad(folder / "counts.h5ad")
    return made


def do(task: Task, on_event: Subscriber) -> None:
    """Run the verb."""
    VERBS[task.verb](task, on_event=on_event)


def bits(task: Task) -> Any:
    """What the verb has stored but for its card, which names inputs: the bucket has its own."""
    if task.verb == "train":
        return learned(task.out)
    found = (mapped if task.verb == "map" else stored)(task.out)
    found.pop("README.md", None)
    return found


def _preprocess(task: Task, **more: Any) -> object:
    folder = task.inputs.folder
    return atlasbasset.preprocess(
        f"{folder}/counts.h5ad",
        genome=f"{folder}/genome.fa",
        out=task.out,
        window_bp=WINDOW,
        min_cell_fraction=0,
        workers=task.workers,
        **more,
    )


def _train(task: Task, **more: Any) -> object:
    launcher = "ray" if task.ray else "process"
    more |= {"workers": max(1, task.workers), "launcher": launcher}
    settings = config(epochs=EPOCHS, patience=EPOCHS, checkpoint_s=1.0)
    return atlasbasset.train(task.inputs.atlas, out=task.out, config=settings, **more)


def _job(verb: Callable[..., object], **options: Any) -> Callable[..., object]:
    def run(task: Task, **more: Any) -> object:
        given = (task.inputs.model, task.inputs.atlas)
        return verb(*given, out=task.out, workers=task.workers, **options, **more)

    return run


def _motifs(task: Task, **more: Any) -> object:
    motifs = f"{task.inputs.folder}/m.meme"
    return _job(atlasbasset.motif_activity, motifs=motifs, n_backgrounds=8)(task, **more)


def _ism(task: Task, **more: Any) -> object:
    folder = task.inputs.folder
    return atlasbasset.ism(
        task.inputs.model,
        genome=f"{folder}/genome.fa",
        regions=f"{folder}/regions.bed",
        out=task.out,
        workers=task.workers,
        compute="fp32",
        **more,
    )


VERBS: dict[str, Callable[..., object]] = {
    "preprocess": _preprocess,
    "train": _train,
    "map": _job(atlasbasset.map_cells, compute="fp32", l2=3.0),
    "denoise": _job(atlasbasset.denoise, compute="fp32", dtype="uint8"),
    "motifs": _motifs,
    "ism": _ism,
}
