"""How well cells of a type lie together: a model's embeddings, and baselines on the same labels.

Baselines need counts alone: SnapATAC2's spectral embedding and scvi-tools' PeakVI join where these
packages are installed, and the script says where they are not. One of them is what a model comes to
whose sequences say nothing: free peaks, weights by the rule of `train`. Of each model: its cells as
`train` left them, as `map --split all` solves them on all peaks, and as they would be without peak
deviations; with --sweep also other weights and a prior with the cells' own covariance; each in
several metrics.

    python benchmarks/embedding_quality.py counts.h5ad --label-key cell_type
    python benchmarks/embedding_quality.py sim.zarr --label-key cell_type --train MODELS
        [--trunk small] [--change epochs=16] [--seeds 0 1 2 3 4] [--sweep]

With --train baselines are measured in the same run. Models are trained where the folder MODELS does
not have them. Baselines see all peaks (with --training-peaks those), as mapped cells do, models
their training peaks alone; auROC is on all others.
Rare types have at most 2 % of the cells; their recall is the share of their cells that a vote of
the five nearest finds.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import anndata
import harness
import numpy as np
import scipy.sparse as sp
from embedding_variants import DEVIATING, L2, PLAIN, Cells, Trained, variants
from sklearn.metrics import recall_score
from sklearn.neighbors import KNeighborsClassifier

import atlasbasset
from atlasbasset.core.config import TrunkConfig
from atlasbasset.engine.config import TrainConfig
from atlasbasset.engine.peak_deviations import DeviationSettings
from atlasbasset.metrics import (
    FactoredScores,
    SparseLabels,
    cluster_agreement,
    evaluate_scores,
    label_score,
)
from atlasbasset.metrics.baselines import baselines, logistic_factorisation, unit_rows
from atlasstore import Atlas

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from numpy.typing import NDArray

RARE = 0.02
"""Share of the cells up to which a type is rare."""
CLUSTERED = (PLAIN, DEVIATING)
"""Solves whose cells are clustered."""
ALL_PEAKS = "mapped, all peaks"
"""Cells solved on the peaks that training held out as well."""
TRUNKS = {
    "full": TrunkConfig(),
    "small": TrunkConfig(
        stem_filters=96, tower_filters=(96, 108, 121, 136, 152, 171), prebottleneck_filters=96
    ),
}
"""The published trunk, and one of a third of its width."""


class Data(NamedTuple):
    """Labelled cells."""

    name: str
    is_open: sp.csr_array
    """(N, P)"""
    types: NDArray[np.object_]


def read(path: str, label_key: str) -> Data:
    """Read counts.h5ad or an atlas."""
    found = anndata.read_h5ad(path) if path.endswith(".h5ad") else Atlas.open(path).to_anndata()
    where = Path(path)
    name = where.stem if where.stem != "counts" else where.parent.name
    return Data(name, sp.csr_array(found.X != 0), found.obs[label_key].astype(str).to_numpy(object))


def measures(
    table: NDArray[np.float32], types: NDArray[np.object_], *, cluster: bool = True
) -> dict[str, float]:
    """Return label scores, ARI, AMI and, where types are rare, their recall."""
    found = {f"label score k={k}": v for k, v in label_score(table, types).mean.items()}
    if cluster:
        clusters = cluster_agreement(table, types)
        found |= {"ARI": clusters.ari, "AMI": clusters.ami}
    rare = [name for name in sorted(set(types)) if (types == name).mean() <= RARE]
    if rare:
        voted = KNeighborsClassifier(5, algorithm="brute").fit(table, types).predict(None)
        found["rare recall"] = recall_score(types, voted, labels=rare, average="macro")
    return found


def without_sequences(
    data: Data, *, skip: Collection[str] = ()
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield every baseline that can be had here, but for those to skip."""
    if OURS not in skip:
        yield from baselines(data.is_open)
    if WITHOUT not in skip:
        found = by_the_rule(data)
        yield from ((WITHOUT, found), (f"{WITHOUT}, unit", unit_rows(found)))
        yield f"{WITHOUT}, centred, unit", unit_rows(found - found.mean(0))
    for name, (package, embed) in PEERS.items():
        if name in skip:
            continue
        if find_spec(package) is None:
            print(f"{name}: left out, {package} is not installed")
        else:
            yield name, embed(_anndata(data))


def by_the_rule(data: Data) -> NDArray[np.float32]:
    """Return the cells of a model whose sequences say nothing: free peaks, weights by the rule."""
    n_cells, n_peaks = data.is_open.shape
    settings = DeviationSettings(L2, 0, open_share=data.is_open.nnz / (n_cells * n_peaks))
    cells, peaks = settings.weights(n_peaks, n_cells)
    found = logistic_factorisation(data.is_open, l2=cells, l2_peaks=2 * peaks, rounds=6)
    return found.embedding.numpy().astype(np.float32)


def spectral(cells: anndata.AnnData) -> NDArray[np.float32]:
    import snapatac2

    return np.asarray(snapatac2.tl.spectral(cells, features=None, inplace=False)[1], np.float32)


def peakvi(cells: anndata.AnnData) -> NDArray[np.float32]:
    import scvi

    scvi.settings.seed = 0
    scvi.model.PEAKVI.setup_anndata(cells)
    model = scvi.model.PEAKVI(cells)
    model.train(enable_progress_bar=False)
    return np.asarray(model.get_latent_representation(), np.float32)


def _anndata(data: Data) -> anndata.AnnData:
    return anndata.AnnData(sp.csr_matrix(data.is_open.astype(np.float32)))


OURS, WITHOUT = "atlasbasset.metrics", "without sequences, by the rule"
PEERS = {"SnapATAC2 spectral": ("snapatac2", spectral), "PeakVI": ("scvi", peakvi)}
"""Baselines of other packages."""


def of_training_peaks(url: str, data: Data) -> Data:
    """Return what a model sees of an atlas's labels."""
    rows = np.flatnonzero(Atlas.open(url).var["split"] == "train")
    return data._replace(is_open=data.is_open[:, rows])


def trained(args: argparse.Namespace, seed: int) -> str:
    """Return a model's path, after training where it is not there."""
    changes = "-".join([args.trunk, *args.change, f"seed{seed}"])
    out = Path(args.train) / f"{Path(args.data).stem}-{changes}.zarr"
    settings = {k: json.loads(v) for k, v in (change.split("=", 1) for change in args.change)}
    config = TrainConfig(trunk=TRUNKS[args.trunk], seed=seed, **settings)
    atlasbasset.train(args.data, out=str(out), config=config)
    return str(out)


def of_models(args: argparse.Namespace, data: Data) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield what every seed's model comes to, by solve and metric."""
    atlas = Atlas.open(args.data)
    others = np.flatnonzero(atlas.var["split"] != "train")
    held_out = SparseLabels(data.is_open[:, others].T)
    for seed in args.seeds:
        url = trained(args, seed)
        for metric, table in on_all_peaks(url, atlas):
            yield f"{ALL_PEAKS} | {metric}", measures(table, data.types)
        model = Trained.of(url, atlas, data.is_open)
        for cells in variants(model, sweep=args.sweep):
            yield cells.name, predicted(model, cells, held_out)
            for metric, table in cells.by_metric():
                cluster = cells.name in CLUSTERED
                yield (
                    f"{cells.name} | {metric}",
                    measures(table, data.types, cluster=cluster),
                )


def on_all_peaks(url: str, atlas: Atlas) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield a model's cells by metric, as `map --split all` solves them."""
    out = f"{url.removesuffix('.zarr')}-all.zarr"
    atlasbasset.map_cells(url, atlas, out=out, split="all")
    found = atlasbasset.load_model(out).cell_embedding
    yield from (("raw", found), ("unit", unit_rows(found)))
    yield "centred, unit", unit_rows(found - found.mean(0))


def predicted(model: Trained, cells: Cells, labels: SparseLabels) -> dict[str, float]:
    """Return auROC on the held-out peaks, which have their sequences alone."""
    scores = FactoredScores(model.of_others(cells), cells.embedding, cells.intercept)
    found = evaluate_scores(scores, labels)
    return {
        "auROC per cell": found.mean_auroc_per_cell,
        "auROC per peak": found.mean_auroc_per_peak,
    }


def main() -> None:
    """Measure and append rows to results/embedding_quality.csv."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", help="an atlas, or .h5ad for baselines alone")
    parser.add_argument("--label-key", required=True)
    parser.add_argument("--train", metavar="FOLDER", help="of models, measured after the baselines")
    parser.add_argument("--trunk", choices=TRUNKS, default="full")
    parser.add_argument("--change", nargs="*", default=[], metavar="SETTING=JSON")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--sweep", action="store_true")
    parser.add_argument("--skip", nargs="+", default=[], choices=[OURS, WITHOUT, *PEERS])
    parser.add_argument(
        "--training-peaks", action="store_true", help="baselines see these alone, as models do"
    )
    args = parser.parse_args()
    data, found = read(args.data, args.label_key), defaultdict[tuple[str, str], list[float]](list)
    seen = of_training_peaks(args.data, data) if args.training_peaks else data
    without = (
        (name if seen is data else f"{name}, training peaks", measures(table, data.types))
        for name, table in without_sequences(seen, skip=args.skip)
    )
    models = of_models(args, data) if args.train else ()
    for name, values in itertools.chain(without, models):
        print(name, {key: round(value, 3) for key, value in values.items()}, flush=True)
        for key, value in values.items():
            found[name, key].append(value)
    config: dict[str, Any] = {"data": data.name, "cells": len(data.types)}
    if args.train:
        config |= {"trunk": args.trunk, "change": args.change, "seeds": args.seeds}
    harness.append("embedding_quality", [
        harness.row("embedding_quality", name, key, "1", len(set(data.types)), values,
                    by_seed=[round(value, 4) for value in values], **config)
        for (name, key), values in found.items()
    ])  # fmt: skip


if __name__ == "__main__":
    main()
