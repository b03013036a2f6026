"""The card of a store, made of what the store says of itself, and its place in the store.

A card repeats, it adds no fact but what a person says: a store whose card is lost or changed is
whole, and the same card can be written again. Nothing reads it to open a store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atlasstore.cards.card import Card, Said, Section, said_in
from atlasstore.cards.peak_lines import peak_lines
from atlasstore.errors import AccessDeniedError, NotAStoreError, UserInputError
from atlasstore.files import urls
from atlasstore.lineage import lineage, lineage_lines
from atlasstore.models.measures import MEASURES, measures
from atlasstore.models.model_store import ModelStore
from atlasstore.results.result import Result
from atlasstore.store_kinds import kind_of
from atlasstore.text_units import count, share
from atlasstore.zarrio import formats

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from atlasstore.plans import Lines
    from atlasstore.store_kinds import Shape

__all__ = ["CARD", "card_of", "holds_text", "kind_name", "refresh_card", "write_card"]

CARD = "README.md"
"""The card's name in a store; Hugging Face and GitHub show it."""
_NAMES = {formats.ATLAS: "Atlas", formats.MODEL: "Model", formats.RESULT: "Result"}
_RESULTS = {
    "denoised": "Denoised accessibility",
    "gene_accessibility": "Accessibility of genes",
    "tf_activity": "TF activity",
    "ism": "In-silico mutagenesis",
    "variants": "Effects of variants",
}
_FIGURES = {
    "loss": "loss",
    "train_auroc": "training auROC",
    "valid_auroc_per_cell": "validation auROC per cell",
    "valid_auroc_per_peak": "validation auROC per peak",
}
_SHOWN_BATCHES = 20
_CODE = {
    formats.ATLAS: """
import atlasstore

atlas = atlasstore.open(URL)  # URL: where this folder lies
atlas.obs, atlas.var, atlas.labels(0)

# without atlasbasset
import anndata, zarr

cells = anndata.io.read_elem(zarr.open_group(URL, mode="r")["obs"])
""",
    formats.MODEL: """
import atlasbasset

model = atlasbasset.load_model(URL)  # URL: where this folder lies
model.obs, model.cell_embedding, model.embed(["ACGT" * 336])

# without atlasbasset
import anndata, zarr

cells = anndata.io.read_elem(zarr.open_group(URL, mode="r")["obs"])
""",
    formats.RESULT: """
import anndata

adata = anndata.read_zarr(URL)  # URL: where this folder lies; anndata alone

# with atlasbasset: checked, lazy, X predicted where it is not stored
import atlasstore

adata = atlasstore.open(URL).to_anndata()
""",
}


def card_of(url: str | Path) -> Card:
    """Return the card of the store at `url`, with what a person said in the one that is there.

    Examples
    --------
    >>> print(card_of("denoised.zarr").markdown())  # doctest: +SKIP

    Raises
    ------
    NotAStoreError, FormatVersionError
        As `atlasstore.open`.
    """
    return _card(str(url), _said(str(url)) or Said())


def write_card(
    url: str | Path, *, licence: str | None = None, description: str | None = None
) -> Card:
    """Write a store's card into it; what is not given stays as a person said it before.

    Parameters
    ----------
    url
        Path or URL of an atlas, model or result.
    licence
        Such as "CC-BY-4.0"; "" takes it back.
    description
        A few sentences for those who find the store; "" takes it back.

    Examples
    --------
    >>> write_card("model.zarr", licence="CC-BY-4.0")  # doctest: +SKIP

    Raises
    ------
    NotAStoreError, FormatVersionError
        As `atlasstore.open`.
    UserInputError
        A person wrote the README that is there.
    """
    said = _said(str(url))
    if said is None:
        raise UserInputError(
            f"{urls.join(url, CARD)} was not written by atlasbasset and is left as it is; rename "
            "or delete it to have a card."
        )
    card = _card(str(url), said.updated(licence, description))
    urls.write_bytes(urls.join(url, CARD), card.markdown().encode())
    return card


def refresh_card(url: str | Path) -> None:
    """Write the card of a store that has just been made or changed; a person's README stays."""
    if (said := _said(str(url))) is not None:
        card = _card(str(url), said)
        urls.write_bytes(urls.join(url, CARD), card.markdown().encode())


def _said(url: str) -> Said | None:
    """Return what persons said in the card; None where the README is not ours."""
    try:
        return said_in(urls.read_bytes(urls.join(url, CARD)).decode(errors="replace"))
    except (NotAStoreError, AccessDeniedError):  # S3 denies what is absent where nobody may list
        return Said()


def _card(url: str, said: Said) -> Card:
    kind, info = kind_of(url)
    store = kind.open(url)
    name = kind_name(store, info.format)
    sections = (
        Section("Data", [*_licence(said), *_data(store, info)]),
        Section("Training", _training(measures(store)) if isinstance(store, ModelStore) else []),
        Section("Training of the model it was made from", _training(_source_measures(info))),
        Section("Checks", _checks(store, info)),
        Section("Made from", [*lineage_lines(lineage(info.provenance)), *_how(info)]),
    )
    return Card(
        f"{name}: {holds_text(kind.shape(store))}",
        info.format.replace(".", "-"),
        said,
        sections,
        _CODE[info.format],
    )


def kind_name(store: Any, format_name: str) -> str:
    """Return what a store is, as a heading: "Model", "Denoised accessibility"."""
    if isinstance(store, Result):
        return _RESULTS.get(store.kind, f"Result of the kind {store.kind}")
    return _NAMES[format_name]


def holds_text(shape: Shape) -> str:
    """Return an axis after the other: "9 cells x 60 peaks"."""
    return " x ".join(f"{count(length)} {axis}" for axis, length in shape)


def _licence(said: Said) -> Lines:
    return [("licence", said.licence or "not stated; ask whoever shares it")]


def _data(store: Any, info: formats.StoreInfo) -> Lines:
    lines = [("format", f"{info.format} version {info.version}")]
    if isinstance(store, Result):
        lines.append(("scale", str(store.about.get("scale", "not recorded"))))
        lines.append(("tables", ", ".join(store.tables)))
    elif not isinstance(store, ModelStore):
        lines.append(("open pairs of cell and peak", share(store.density)))
        lines.append(("window", f"{store.window_bp:,} bp, {store.flank_bp} bp stored beside it"))
    else:
        lines += _model_data(store)
    return lines


def _model_data(store: ModelStore) -> Lines:
    """Return what a model was trained on, as far as it is recorded."""
    atlas, train = store.config.get("atlas"), store.config.get("train")
    lines = [("cells", count(store.n_cells))]
    n_peaks, n_positives = (_of(atlas, name) for name in ("n_peaks", "n_positives"))
    if n_peaks:
        lines.append(("peaks of its atlas", count(n_peaks)))
        open_share = share(n_positives / (n_peaks * store.n_cells)) if n_positives else "none"
        lines.append(("open pairs of cell and peak", open_share))
    if window_bp := _of(train.get("trunk") if isinstance(train, dict) else None, "window_bp"):
        lines.append(("window", f"{window_bp:,} bp"))
    if store.batches:
        named = ", ".join(store.batches[:_SHOWN_BATCHES])
        more = ", ..." if len(store.batches) > _SHOWN_BATCHES else ""
        lines.append(("batches of cells", f"{count(len(store.batches))}: {named}{more}"))
    return lines


def _of(values: Any, name: str) -> int:
    """Return a number that a store holds, 0 where it does not."""
    found = values.get(name) if isinstance(values, dict) else None
    return found if isinstance(found, int) else 0


def _source_measures(info: formats.StoreInfo) -> Mapping[str, Any]:
    """Return what the training of the model reached that a store was made from."""
    model = info.provenance.get("model")
    found = model.get(MEASURES) if isinstance(model, dict) else None
    return found if isinstance(found, dict) else {}


def _training(measured: Mapping[str, Any]) -> Lines:
    n_epochs = _of(measured, "epochs")
    lines = [("epochs", count(n_epochs))] if n_epochs else []
    if measured.get("mapped"):
        lines.append(("cells", "mapped onto the trunk of another model"))
    found = ((label, measured.get(name)) for name, label in _FIGURES.items())
    return [*lines, *((label, _figure(v)) for label, v in found if isinstance(v, float))]


def _checks(store: Any, info: formats.StoreInfo) -> Lines:
    lines = [("integrity", "atlasbasset inspect URL --verify reads and checks every byte")]
    if isinstance(store, Result) and "largest_error" in store.about:
        lines.append(("largest error of encoded values", _figure(store.about["largest_error"])))
    if info.format == formats.ATLAS:
        lines += peak_lines(info.provenance.get("peak_check"), store.n_peaks)
    return lines


def _figure(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _how(info: formats.StoreInfo) -> Lines:
    """Return seed and versions; not the time, so that equal jobs write equal cards."""
    made = info.provenance
    packages = made.get("packages")
    versions = packages.items() if isinstance(packages, dict) else ()
    return [
        ("seed", "none" if made.get("seed") is None else str(made["seed"])),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions)),
    ]
