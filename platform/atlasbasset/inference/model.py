"""A trained model in memory, for notebooks and for every verb that predicts.

Letters: B sequences, N cells, L window in bp, E = 32. Everything here is inference: the trunk is
in evaluation mode (running statistics, no dropout, no augmentation).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, get_args

import numpy as np
import torch

from atlasbasset.core.compute import Compute, ConvolutionChoice, compute_dtype_for
from atlasbasset.core.trunk import Trunk
from atlasbasset.engine.checkpoints import cells_from, trunk_from
from atlasbasset.engine.config import TrainConfig
from atlasbasset.engine.convolution_choice import check_convolution, convolution_for
from atlasbasset.inference.peak_deviations import PeakDeviations
from atlasbasset.inference.selection import selected_rows
from atlasbasset.inference.sequence_input import checked_sequences, input_batches
from atlasstore.errors import UserInputError
from atlasstore.models.model_store import ModelStore
from atlasstore.notebook import html_table, named
from atlasstore.text_units import count
from atlasstore.zarrio import metadata

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from atlasbasset.core.config import TrunkConfig
    from atlasstore.models.checkpoint import Checkpoint

__all__ = [
    "SCALES",
    "Embedder",
    "LoadedTrunk",
    "Model",
    "Scale",
    "as_model",
    "check_compute",
    "check_scale",
    "load_model",
    "load_trunk",
    "trunk_config",
]

Scale = Literal["linear", "sigmoid", "probability"]
SCALES: tuple[Scale, ...] = ("linear", "sigmoid", "probability")

_BATCH = 256


@dataclass(frozen=True, eq=False, slots=True)
class Model:
    """A trained model; made by `load_model`.

    The cells' table is small (132 bytes per cell) and held whole.
    """

    store: ModelStore
    """Where it came from."""
    trunk: Trunk
    """The sequence network, in evaluation mode."""
    cell_embedding: NDArray[np.float32]
    """W: float32 (N, E)."""
    intercept: NDArray[np.float32]
    """b: float32 (N,)."""
    batch: NDArray[np.int64] | None
    """int64 (N,), each cell's row of `batches`; None without batch correction."""
    batch_embedding: NDArray[np.float32] | None
    """V: float32 (n_batches, E); None without batch correction."""
    batch_intercept: NDArray[np.float32] | None
    """c: float32 (n_batches,); None without batch correction."""
    compute_dtype: torch.dtype
    """Arithmetic of the convolutions."""
    deviations: PeakDeviations | None = None
    """Of its atlas's peaks; predictions of sequences do without."""

    def __repr__(self) -> str:
        return f"Model({self.store.url!r}: {self.n_cells} cells)"

    def _repr_html_(self) -> str:
        rows = [
            ("cells", f"{count(self.n_cells)}, embedded in {self.cell_embedding.shape[1]} numbers"),
            ("window", f"{count(self.window_bp)} bp"),
            ("batches", named(self.batches)),
            ("obs", named(self.obs.columns)),
            ("obsm", named(tuple(self.obsm))),
            ("peak deviations", "none" if self.deviations is None else "of its atlas's peaks"),
            ("computes", f"{self.compute_dtype} on {self.trunk.bottleneck.weight.device}"),
            ("made", str(self.store.provenance.get("created", "unknown"))),
        ]
        return html_table(f"Model {self.url}", rows)

    @property
    def url(self) -> str:
        """Where the model's store is."""
        return self.store.url

    @property
    def config(self) -> Mapping[str, Any]:
        """The resolved configuration, JSON values; ``config["train"]`` is the recipe."""
        return self.store.config

    @property
    def batches(self) -> tuple[str, ...]:
        """Names of the batches; empty without batch correction."""
        return self.store.batches

    @property
    def obs(self) -> pd.DataFrame:
        """One row per cell."""
        return self.store.obs

    @property
    def obs_names(self) -> pd.Index[str]:
        """Names of the cells."""
        return self.store.obs.index

    @property
    def obsm(self) -> Mapping[str, NDArray[Any]]:
        """Maps of the cells that `annotate` stored (``X_umap``, ...), (N, dims) each."""
        return self.store.obsm

    @property
    def n_cells(self) -> int:
        """N."""
        return len(self.intercept)

    @property
    def window_bp(self) -> int:
        """L: length of the sequences it reads, bp."""
        return self.trunk.config.window_bp

    @torch.no_grad()
    def embed(self, sequences: Any) -> NDArray[np.float32]:
        """Embed sequences (the bottleneck's output, h).

        Parameters
        ----------
        sequences
            A list of str of L bases (any case; letters other than A, C, G, T are unknown); codes,
            integers (B, L), 0..3 for A, C, G, T and 4 for unknown; or one-hot, bool or float
            (B, L, 4), in which four falses (or zeros), or 0.25 each, mean unknown.

        Returns
        -------
        numpy.ndarray
            float32, shape (B, E).

        Raises
        ------
        UserInputError
            When the sequences are of another form or length.
        """
        checked = checked_sequences(sequences, window_bp=self.window_bp)
        device = self.trunk.bottleneck.weight.device
        parts = [
            self.trunk(x, compute_dtype=self.compute_dtype).cpu().numpy()
            for x in input_batches(checked, batch=_BATCH, device=device, dtype=self.compute_dtype)
        ]
        empty = np.empty((0, self.trunk.config.embedding_dim), np.float32)
        return np.concatenate([empty, *parts])

    def predict(
        self, sequences: Any, cells: ArrayLike | None = None, scale: Scale = "linear"
    ) -> NDArray[np.float32]:
        """Predict the accessibility of sequences in cells.

        Parameters
        ----------
        sequences
            As for `embed`.
        cells
            Names, a boolean mask (N,), or indices; all by default.
        scale
            "linear": ``h . W``, without the intercept, so sequencing depth is left out
            (docs/method.md, "Denoising"). "sigmoid": the sigmoid of that. "probability":
            sigmoid(``h . W + b``), with batch correction also the cell's batch terms: the chance of
            a fragment in that cell at its depth and in its batch.

        Returns
        -------
        numpy.ndarray
            float32, shape (B, cells).

        Raises
        ------
        UserInputError
            For sequences or cells that do not fit, or another `scale`.
        """
        check_scale(scale)
        rows = selected_rows(self.obs_names, cells, unit="cells")
        return self.predict_embedded(self.embed(sequences), rows, scale=scale)

    def predict_embedded(
        self, h: NDArray[np.float32], rows: NDArray[np.int64], *, scale: Scale = "linear"
    ) -> NDArray[np.float32]:
        """Predict from embeddings `h` (B, E) for the cells of `rows`; float32 (B, len(rows))."""
        check_scale(scale)
        if scale != "probability":
            logits = h @ self.cell_embedding[rows].T
            return logits if scale == "linear" else _sigmoid(logits)
        embedding, intercept = self.table(rows)
        return _sigmoid(h @ embedding.T + intercept)

    def table(
        self, rows: NDArray[np.int64] | slice = slice(None)
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (W, b) of cells as they act, each cell's batch terms added."""
        embedding, intercept = self.cell_embedding[rows], self.intercept[rows]
        if self.batch is None or self.batch_embedding is None or self.batch_intercept is None:
            return embedding, intercept
        batch = self.batch[rows]
        return embedding + self.batch_embedding[batch], intercept + self.batch_intercept[batch]


def check_scale(scale: str) -> None:
    """Raise UserInputError unless `scale` is one of `SCALES`."""
    if scale not in SCALES:
        raise UserInputError(f"scale must be one of {', '.join(SCALES)}, got {scale!r}.")


def check_compute(compute: str) -> None:
    """Raise UserInputError unless `compute` is an arithmetic of the convolutions."""
    if compute not in get_args(Compute):
        raise UserInputError(f"compute must be auto, bf16 or fp32, got {compute!r}.")


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = torch.from_numpy(logits).sigmoid().numpy()
    return found


def load_model(
    url: str | Path,
    *,
    compute: Compute = "fp32",
    convolution: ConvolutionChoice = "auto",
    device: str | torch.device | None = None,
) -> Model:
    """Load the newest checkpoint of a model store.

    Parameters
    ----------
    url
        Path or URL of a model store.
    compute
        Arithmetic of the convolutions: "fp32" (the published models'), "bf16", or "auto" (bf16
        where the hardware has it: faster, h within about 1 %).
    convolution
        How float32 convolutions on CPU are computed: "direct", "minimal" (fewer multiplications,
        h within about 1e-5), or "auto", what is faster on this machine.
    device
        Where the trunk computes; a GPU where there is one, by default.

    Examples
    --------
    >>> model = load_model("model.zarr")  # doctest: +SKIP
    >>> model.cell_embedding.shape  # doctest: +SKIP
    >>> model.predict(["ACGT" * 336], cells=["cell1", "cell2"])  # doctest: +SKIP

    Raises
    ------
    NotAStoreError
        Nothing is there, it is no model, or its training has not finished an epoch.
    FormatVersionError
        It was written by a newer atlasbasset.
    CorruptStoreError
        Its bytes are not what was written.
    """
    store = ModelStore.open(url)
    checkpoint = store.newest()
    loaded = _trunk_of(store, checkpoint, compute, convolution, device)
    cells = cells_from(checkpoint, store.n_cells)
    return Model(
        store=store,
        trunk=loaded.trunk,
        cell_embedding=cells["embedding"],
        intercept=cells["intercept"],
        batch=store.obs["scbasset_batch"].to_numpy(np.int64) if store.batches else None,
        batch_embedding=cells.get("batch_embedding"),
        batch_intercept=cells.get("batch_intercept"),
        compute_dtype=loaded.compute_dtype,
        deviations=PeakDeviations.of(checkpoint),
    )


class LoadedTrunk(NamedTuple):
    """A model's trunk without its cells."""

    trunk: Trunk
    compute_dtype: torch.dtype
    """Arithmetic of the convolutions."""


class Embedder(Protocol):
    """What embeds sequences: a `Model`, or its trunk alone."""

    @property
    def trunk(self) -> Trunk:
        """The network."""
        ...

    @property
    def compute_dtype(self) -> torch.dtype:
        """Arithmetic of the convolutions."""
        ...


def load_trunk(
    url: str | Path,
    *,
    compute: Compute = "fp32",
    convolution: ConvolutionChoice = "auto",
    device: str | torch.device | None = None,
) -> LoadedTrunk:
    """Load the trunk of a model store's newest checkpoint; see `load_model`."""
    store = ModelStore.open(url)
    return _trunk_of(store, store.newest(), compute, convolution, device)


def _trunk_of(
    store: ModelStore,
    checkpoint: Checkpoint,
    compute: str,
    convolution: str,
    device: str | torch.device | None,
) -> LoadedTrunk:
    check_compute(compute)
    check_convolution(convolution)
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    config, weights = trunk_config(store), trunk_from(checkpoint)
    try:
        trunk = Trunk(config)
        trunk.load_state_dict(weights)
    except (RuntimeError, TypeError, ValueError) as error:  # of another architecture
        raise metadata.damaged(store.url, f"its trunk does not fit its config ({error})") from error
    trunk.eval().requires_grad_(requires_grad=False).to(place)
    dtype = compute_dtype_for(compute, place)
    trunk.convolution = convolution_for(convolution, dtype, place)
    return LoadedTrunk(trunk, dtype)


def trunk_config(store: ModelStore) -> TrunkConfig:
    """Return the architecture of a stored model.

    Raises
    ------
    CorruptStoreError
        When its config describes none.
    """
    beside = store.config.get("stem_pool_lead")  # where it stood before the trunk's own settings
    try:
        trunk = TrainConfig.from_json(dict(store.config["train"])).trunk
        return trunk if beside is None else replace(trunk, stem_pool_lead=int(beside))
    except (LookupError, ValueError, TypeError, AttributeError, ArithmeticError) as error:
        raise metadata.damaged(store.url, f"its config is of no model ({error})") from error


def as_model(
    model: str | Path | Model,
    *,
    compute: Compute = "fp32",
    convolution: ConvolutionChoice = "auto",
) -> Model:
    """Return `model`, loaded when a URL is given."""
    if isinstance(model, Model):
        return model
    return load_model(model, compute=compute, convolution=convolution)
