"""`denoise`: predicted accessibility of chosen peaks in chosen cells, as an AnnData zarr."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlasbasset.verbs.denoise.plan import DenoisePlan, plan_denoise
from atlasbasset.verbs.denoise.report import DenoiseReport

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from atlasbasset.core.compute import Compute, ConvolutionChoice
    from atlasbasset.inference.model import Model, Scale
    from atlasbasset.verbs.denoise.work import DenseType
    from atlasstore.atlas.atlas import Atlas
    from atlasstore.events import Subscriber

__all__ = ["DenoisePlan", "DenoiseReport", "denoise", "plan_denoise"]


def denoise(
    model: str | Path | Model,
    atlas: str | Path | Atlas,
    *,
    out: str | Path,
    peaks: str | Path | Sequence[str] | None = None,
    cells: str | Path | Sequence[str] | None = None,
    genes: str | Path | None = None,
    scale: Scale = "linear",
    dtype: DenseType = "float32",
    dense: bool = True,
    sequence_only: bool = False,
    compute: Compute = "fp32",
    convolution: ConvolutionChoice = "auto",
    workers: int = 0,
    gpus_per_worker: float = 0,
    cpus_per_worker: float = 1,
    on_event: Subscriber | None = None,
) -> DenoiseReport:
    """Predict the accessibility of an atlas's peaks in a model's cells.

    Killed, the same call resumes with the shards that are missing; finished, it does nothing.

    Parameters
    ----------
    model
        A model, or the URL of its store.
    atlas
        The atlas with the peaks' sequences, or its URL; its cells are not looked at, and more of
        them may be added meanwhile.
    out
        URL of the new result: an AnnData zarr, cells x peaks.
    peaks
        A BED file (every peak of the atlas that overlaps one of its intervals, in the atlas's
        order), or a list of the atlas's peak names; all by default.
    cells
        A text file of cell names, one a line, or a list; all by default. The result keeps the
        list's order.
    genes
        A GTF or GFF3 file: columns are genes in place of peaks, each the mean over the peaks within
        2 kb of its TSS; genes without one are left out.
    scale
        "linear" (``h . W``, sequencing depth left out), "sigmoid" of that, or "probability":
        sigmoid(``h . W + b``). Batch terms are left out on every scale (docs/method.md,
        "Denoising"); `Model.predict` has them.
    dtype
        Of the dense table: "float32"; "float16" (a value within 1 part in 2,048); "uint8", in 256
        steps. A step of a sigmoid or probability is 1/255, the value ``X / 255``, within 1/510. On
        the linear scale the steps divide what a peak's values span over the chosen cells: the value
        is ``X * var["scbasset_scale"] + var["scbasset_offset"]``, within half of that scale.
    dense
        Whether to write the dense table X as well as the factored form, which takes 132 bytes a
        cell and 128 a peak.
    sequence_only
        Whether to leave out the peaks' deviations from their sequences, where the model has some
        (`TrainConfig.peak_deviations`). They are used for the very peaks that it was trained on.
    compute
        Arithmetic of the convolutions, as for `load_model`; a `Model` keeps its own. "auto" is
        decided in this process, for all workers.
    convolution
        How float32 convolutions on CPU are computed: "direct", "minimal" (fewer multiplications),
        or "auto", what is faster on this machine.
    workers
        Ray Data actors that share the peaks, then the shards; 0 works in this process. The result
        is the same, bit for bit where as many CPU threads compute.
    gpus_per_worker, cpus_per_worker
        What each worker reserves; a worker embeds on its GPU if it has one.
    on_event
        Called with `Progress` and `Notice`; by default a bar is shown on a terminal or in a
        notebook.

    Examples
    --------
    >>> report = denoise(
    ...     "model.zarr", "atlas.zarr", out="denoised.zarr", peaks=["chr1:100-400"]
    ... )  # doctest: +SKIP
    >>> anndata.read_zarr(report.result)  # doctest: +SKIP

    Raises
    ------
    UserInputError
        When peaks, cells, genes, scale, dtype or the atlas's window do not fit, an unfinished job
        of other arguments exists at `out`, or workers could not be had or could not reach what they
        need.
    StoreExistsError
        When something other than this job's result exists at `out`.
    """
    plan = plan_denoise(
        model,
        atlas,
        out=out,
        peaks=peaks,
        cells=cells,
        genes=genes,
        scale=scale,
        dtype=dtype,
        dense=dense,
        sequence_only=sequence_only,
        compute=compute,
        convolution=convolution,
        workers=workers,
        gpus_per_worker=gpus_per_worker,
        cpus_per_worker=cpus_per_worker,
    )
    return plan.run(on_event=on_event)
